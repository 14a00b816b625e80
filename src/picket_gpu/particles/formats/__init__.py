"""Formats of coordinates: a class each, which writes the particles of one tomogram.

A new format is a module here, its class in `FORMATS`, and its ending in `PARTICLES` of
`picket_gpu.files.filenames`.
"""

from pathlib import Path
from typing import Protocol

from picket_gpu.particles.formats.cmm import CMM
from picket_gpu.particles.formats.copick import Copick
from picket_gpu.particles.formats.csv import CSV
from picket_gpu.particles.formats.npz import NPZ
from picket_gpu.particles.formats.star import STAR
from picket_gpu.particles.formats.yaml import YAML
from picket_gpu.particles.particles import Particles


class Format(Protocol):
    """What the class of a format offers. Some can also read what they have written."""

    @staticmethod
    def write(path: Path, particles: Particles) -> None:
        """Write particles to ``path``, complete or not at all, in an existing directory.

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
}
