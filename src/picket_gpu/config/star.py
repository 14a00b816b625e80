"""The list of tomograms that RELION 5 keeps: tomograms.star.

Its global block is a loop of columns such as _rlnTomoName (RELION 5, subtomogram tutorial). The
library starfile would bring pandas for one table.
"""

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from picket_gpu.errors import PicketError

NAME, PATH = "_rlnTomoName", "_rlnTomoReconstructedTomogram"
PIXEL, BINNING = "_rlnTomoTiltSeriesPixelSize", "_rlnTomoTomogramBinning"
LARGEST = 2**26  # bytes


class StarTomogram(NamedTuple):
    """A tomogram of the list.

    Attributes:
        voxel_size: angstrom, (z, y, x); None where the list does not tell.
    """

    name: str | None
    path: Path
    voxel_size: tuple[float, float, float] | None


def read_tomograms(path: Path) -> list[StarTomogram]:
    """The tomograms of a star file.

    Their paths start at RELION's project, which is looked for upwards from the star file; the
    working directory comes first.

    Raises:
        PicketError: the file cannot be read, has no such column, or names a file that is not there.
    """
    try:
        with path.open(encoding="utf-8") as file:
            lines = file.read(LARGEST).splitlines()
        rows = list(_rows(lines))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text that can be taken apart"
        raise PicketError(f"{path}: cannot be read as a star file ({reason})") from None
    found = [row for row in rows if PATH in row]
    if not found:
        raise PicketError(
            f"{path}: has no column {PATH}; reconstruct tomograms in RELION first, or list files"
        )
    return [_tomogram(path, row) for row in found]


def _rows(lines: list[str]) -> Iterator[dict[str, str]]:
    """Rows of all loops, by the names of their columns."""
    columns: list[str] = []
    for line in lines:
        words = shlex.split(line, comments=True)
        if not words:
            continue
        if words[0] == "loop_" or words[0].startswith("data_"):
            columns = []
        elif words[0].startswith("_"):  # outside of a loop a value follows
            columns = [*columns, words[0]] if len(words) == 1 else []
        elif len(words) == len(columns):
            yield dict(zip(columns, words, strict=True))


def _tomogram(star: Path, row: dict[str, str]) -> StarTomogram:
    told = Path(row[PATH])
    places = [Path(), star.parent, *star.absolute().parents]
    path = next((place / told for place in places if os.path.exists(place / told)), None)
    if path is None:
        raise PicketError(
            f"{star}: {told} is neither in the working directory nor above the star file; run in "
            f"RELION's project directory"
        )
    try:
        size = float(row[PIXEL]) * float(row[BINNING])
    except (KeyError, ValueError):
        return StarTomogram(row.get(NAME), path, None)
    return StarTomogram(row.get(NAME), path, (size, size, size) if size > 0 else None)
