"""STAR for RELION 5, which extracts subtomograms at these coordinates."""

import re
from pathlib import Path

import numpy as np

from picket_gpu.errors import PicketError
from picket_gpu.files.atomic import atomic_file
from picket_gpu.particles.particles import Particles

TABLE, NAME, SCORE = "particles", "rlnTomoName", "rlnAutopickFigureOfMerit"
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
    """

    @staticmethod
    def write(path: Path, particles: Particles) -> None:
        """Write the table.

        Raises:
            PicketError: a STAR file cannot hold the tomogram's name.
        """
        # Slow to import.
        import pandas as pd
        import starfile

        name = particles.run_name
        if (fault := name_fault(name)) is not None:
            raise PicketError(
                f"{path}: the name {name!r} has {fault}; set another name and run again"
            )
        picks = particles.picks
        centred = particles.angstrom(particles.coordinates, particles.relion_centre)
        # The name last, because a line that starts with data_ or _ would end the table.
        table = pd.DataFrame(
            dict(zip(CENTRED, centred.T, strict=True))
            | {SCORE: picks.heights, NAME: [name] * picks.count}
        )
        with atomic_file(path) as temporary:
            starfile.write({TABLE: table}, temporary)

    @staticmethod
    def read(path: Path) -> tuple[str | None, np.ndarray, np.ndarray]:
        """Read the tomogram's name, None if there are no particles; coordinates; and scores.

        Coordinates are (n, 3) float64, (x, y, z), in angstrom from the tomogram's centre; scores
        are (n,) float64.

        Raises:
            KeyError, ValueError: the file is not as `write` makes it.
        """
        import starfile  # slow to import

        table = starfile.read(path, always_dict=True, parse_as_string=[NAME])[TABLE]
        name, *others = dict.fromkeys(table[NAME]) or (None,)
        if others:
            raise ValueError(f"particles of {1 + len(others)} tomograms")
        centred = table[[*CENTRED]].to_numpy(dtype=np.float64)
        return name, centred, table[SCORE].to_numpy(dtype=np.float64)


def name_fault(name: str) -> str | None:
    """What is in a tomogram's name that a STAR file cannot hold; None if it can be held."""
    if (quote := re.search("[\"'#]", name)) is not None:
        return f"the character {quote[0]}"
    if re.search(r"[^\S ]", name):
        return "a tab" if "\t" in name else "a blank that is no space"
    if "  " in name:
        return "two spaces in a row"
    if name != name.strip():
        return "a space at its start or end"
    return None if name else "no letters"


def star_name(name: str) -> str | None:
    """A tomogram's name as a table has it, in quotes if need be; None for one that cannot be."""
    if name_fault(name) is not None:
        return None
    return f'"{name}"' if " " in name else name
