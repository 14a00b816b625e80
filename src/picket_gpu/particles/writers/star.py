"""STAR for RELION 5, which extracts subtomograms at these coordinates."""

import re
from pathlib import Path

from picket_gpu.errors import PicketError
from picket_gpu.files.atomic import atomic_file
from picket_gpu.particles.particles import Particles

NAME, SCORE = "rlnTomoName", "rlnAutopickFigureOfMerit"
CENTRED = tuple(f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ")


def write_star(path: Path, particles: Particles) -> None:
    """Write a table ``particles`` of names, centred coordinates and scores, with six decimals.

    RELION 5 measures coordinates in angstrom from the tomogram's centre, which it puts at half the
    number of voxels, where the centre of the first voxel is 0 (its tomogram_set.cpp,
    particle_set.cpp and reconstruct_tomogram.cpp): of 200 voxels, at the centre of number 100; of
    201, between numbers 100 and 101. The origin in the tomogram's file does not count.

    RELION counts unbinned voxels. Where binning did not divide their number, it rounded, and the
    coordinates are off by half of what it rounded: less than half a binned voxel. RELION's own
    Pick job (get_particle_poses) adds one unbinned voxel on each axis; Extract does not take it
    away.

    The table is the file's first, for which Import looks, and its only one. Extract takes the file
    too: it makes the optics table from tomograms.star. There are no orientations, as nothing is
    known of them, and no rlnCoordinateX, which would be in voxels of the unbinned tomogram.

    Raises:
        PicketError: the tomogram's name cannot stand in a star file.
    """
    # Slow to import.
    import pandas as pd
    import starfile

    name = particles.run_name
    if star_name(name) is None:
        raise PicketError(
            f"{path}: {name!r} is not a valid tomogram name in a STAR file; set a name "
            "without quotes, # and tabs"
        )
    picks = particles.picks
    centred = particles.angstrom_from([n / 2 for n in particles.shape])
    # The name last, for a line that starts with data_ or _ would end the table.
    table = pd.DataFrame(
        dict(zip(CENTRED, centred.T, strict=True))
        | {SCORE: picks.heights, NAME: [name] * picks.count}
    )
    with atomic_file(path) as temporary:
        starfile.write({"particles": table}, temporary)


def star_name(name: str) -> str | None:
    """A tomogram's name as it stands in a table; None for one that cannot."""
    if not re.fullmatch(r"[^\s\"'#]+( [^\s\"'#]+)*", name):
        return None
    return f'"{name}"' if " " in name else name
