"""Formats of coordinates: a class each, which writes the particles of one tomogram.

A new format is a module here, its class in `FORMATS`, and its ending in `PARTICLES` of
`picket_gpu.files.filenames`.
"""

from pathlib import Path
from typing import NamedTuple, Protocol
from xml.etree import ElementTree

import numpy as np

from picket_gpu.errors import PicketError, one_line
from picket_gpu.files.filenames import PARTICLES
from picket_gpu.particles.formats.cmm import CMM
from picket_gpu.particles.formats.copick import Copick
from picket_gpu.particles.formats.csv import COLUMNS, CSV
from picket_gpu.particles.formats.star import STAR
from picket_gpu.particles.formats.yaml import YAML
from picket_gpu.particles.particle_set import ParticleSet


class Format(Protocol):
    """What the class of a format offers. Some can also read what they have written."""

    @staticmethod
    def write(path: Path, particles: ParticleSet) -> None:
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
}


class Spheres(NamedTuple):
    """Particles as spheres.

    Attributes:
        coordinates: centres, (n, 3) float64, (z, y, x) in voxels; 0 is the centre of the first
            voxel.
        scores: (n,) float64, descending.
        diameter: angstrom; NaN if there are no particles.
    """

    coordinates: np.ndarray
    scores: np.ndarray
    diameter: float


def read_spheres(path: Path) -> Spheres:
    """Read particles from a CSV file, and their diameter from the markers (.cmm) beside it.

    Raises:
        PicketError: one of the two files is missing, or a run did not write it.
    """
    markers = path.with_suffix(PARTICLES["cmm"])
    reading = path
    try:
        table = CSV.read(path)
        reading = markers
        diameter = CMM.read(markers)[1] if len(table) else np.nan
    except FileNotFoundError:
        raise PicketError(
            f"{reading}: no such file; {path.name} holds the coordinates of the particles and "
            f"{markers.name} their diameter; run again to write both"
        ) from None
    except (OSError, LookupError, ValueError, ElementTree.ParseError) as error:
        raise PicketError(
            f"{reading}: is not a valid file of particles ({one_line(error)}); run again to "
            "write it"
        ) from None
    zyx = [COLUMNS.index(axis) for axis in "zyx"]
    return Spheres(table[:, zyx], table[:, COLUMNS.index("score")], diameter)
