"""STAR for RELION 5, which extracts subtomograms at these coordinates."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from picket_gpu.particles.particles import Particles
from picket_gpu.particles.star_table import NAME, SCORE, read_table, write_star

CENTRED = tuple(f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ")


class STAR:
    """A table ``particles`` of names, centred coordinates and scores, with six decimals.

    RELION 5 measures coordinates in angstrom from the tomogram's centre, which it puts at half the
    number of voxels, where the centre of the first voxel is 0 (its tomogram_set.cpp,
    particle_set.cpp and reconstruct_tomogram.cpp): of 200 voxels, at the centre of number 100; of
    201, between numbers 100 and 101. The origin in the tomogram's file does not count.

    RELION counts unbinned voxels. Where binning did not divide their number, RELION rounded it. The
    centre is exact where the tomogram has a ``centre``, as from RELION's list; otherwise
    coordinates are off by half of what was rounded: less than half a binned voxel. RELION's own
    Pick job (get_particle_poses) adds one unbinned voxel on each axis; Extract does not subtract
    it.

    The table is the only one in the file, because Import reads the first. Extract reads the file
    too, and makes the optics table from tomograms.star. There are no orientations, which nothing
    here determines, and no rlnCoordinateX, which would be in voxels of the unbinned tomogram.
    Import of several files ends at one without rows (import_coordinates.cpp).
    """

    several: ClassVar = True
    holds_none: ClassVar = False

    @staticmethod
    def write(path: Path, lists: Sequence[Particles]) -> None:
        """Write the table.

        Raises:
            PicketError: a STAR file cannot hold the tomogram's name.
        """
        write_star(path, lists, _centred, NAME)

    @staticmethod
    def read(path: Path) -> tuple[str | None, np.ndarray, np.ndarray]:
        """Read the tomogram's name, None if there are no particles; coordinates; and scores.

        Coordinates are (n, 3) float64, (x, y, z), in angstrom from the tomogram's centre; scores
        are (n,) float64.

        Raises:
            KeyError, ValueError: the file is not as `write` makes it for one tomogram.
        """
        table = read_table(path, NAME)
        name, *others = dict.fromkeys(table[NAME]) or (None,)
        if others:
            raise ValueError(f"particles of {1 + len(others)} tomograms")
        centred = table[[*CENTRED]].to_numpy(dtype=np.float64)
        return name, centred, table[SCORE].to_numpy(dtype=np.float64)


def _centred(particles: Particles) -> dict[str, np.ndarray]:
    centred = particles.angstrom(particles.coordinates, particles.relion_centre)
    return dict(zip(CENTRED, centred.T, strict=True))
