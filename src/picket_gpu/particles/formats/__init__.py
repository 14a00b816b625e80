"""Formats of coordinates: a class each, which writes the particles of tomograms.

A new format is a module here, its class in `FORMATS`, and its ending in `FURTHER` of
`picket_gpu.files.filenames`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Protocol

from picket_gpu.particles.formats.cmm import CMM
from picket_gpu.particles.formats.copick import Copick
from picket_gpu.particles.formats.csv import CSV
from picket_gpu.particles.formats.dynamo import Dynamo, DynamoTomograms
from picket_gpu.particles.formats.imod import IMOD
from picket_gpu.particles.formats.npz import NPZ
from picket_gpu.particles.formats.relion4 import RELION4
from picket_gpu.particles.formats.star import STAR
from picket_gpu.particles.formats.warp import Warp
from picket_gpu.particles.formats.yaml import YAML
from picket_gpu.particles.particles import Particles


class Format(Protocol):
    """What the class of a format offers. Some can also read what they have written.

    Attributes:
        several: whether a file can hold the particles of several tomograms.
        holds_none: whether a file is written where there are no particles.
    """

    several: ClassVar[bool]
    holds_none: ClassVar[bool]

    @staticmethod
    def write(path: Path, lists: Sequence[Particles]) -> None:
        """Write particles to ``path``, complete or not at all, in an existing directory.

        Args:
            path: the file.
            lists: particles of each tomogram, in this order; of one, unless the format holds
                ``several``.

        Raises:
            PicketError: the format cannot hold them.
        """


# By the kinds of files that `TomogramFiles.particles` names.
FORMATS: dict[str, type[Format]] = {
    "csv": CSV,
    "star": STAR,
    "cmm": CMM,
    "yaml": YAML,
    "copick": Copick,
    "candidates": NPZ,
    "warp": Warp,
    "relion4": RELION4,
    "imod": IMOD,
    "dynamo": Dynamo,
    "dynamo tomograms": DynamoTomograms,
}
