"""Particles, read back from their files."""

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from picket_gpu.errors import PicketError, one_line
from picket_gpu.files.filenames import PARTICLES
from picket_gpu.particles.writers.cmm import read_markers
from picket_gpu.particles.writers.csv import COLUMNS, read_csv


@dataclass(frozen=True)
class Spheres:
    """Particles as spheres.

    Attributes:
        coordinates: (n, 3) float64, (z, y, x) in voxels; 0 is the centre of the first voxel.
        scores: (n,) float64.
        diameter: angstrom; NaN where there are no particles.
    """

    coordinates: np.ndarray
    scores: np.ndarray
    diameter: float


def read_spheres(path: Path) -> Spheres:
    """Particles from a CSV file, and their diameter from the markers beside it.

    Raises:
        PicketError: one of both is missing, or is not what a run writes.
    """
    markers = path.with_suffix(PARTICLES["cmm"])
    reading = path
    try:
        table = read_csv(path)
        reading = markers
        diameter = read_markers(markers)[1] if len(table) else np.nan
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
