"""The list of tomograms that RELION 5 keeps: tomograms.star.

Its table is a loop of columns such as _rlnTomoName, with a line per tomogram (RELION 5, tomography
tutorial). The library starfile (0.5.13) cannot be used: it turns o'brien.mrc into o"brien.mrc and
a#1.mrc into a, completes a short row with blanks, puts a second loop of a block into the rows of
the first, finds no tables in a file that is not UTF-8, and after an error returns the old content
when the same file is read again.
"""

import os
import re
from pathlib import Path
from typing import NamedTuple

from picket_gpu.errors import PicketError

NAME = "_rlnTomoName"
WHOLE = "_rlnTomoReconstructedTomogram"
HALF, DENOISED = f"{WHOLE}Half1", f"{WHOLE}Denoised"
PIXEL, BINNING = "_rlnTomoTiltSeriesPixelSize", "_rlnTomoTomogramBinning"
LARGEST = 2**26  # characters

# A quote ends a value only before white space; inside a value it is a letter, and so is #.
_WORD = re.compile(r"""'(.*?)'(?!\S)|"(.*?)"(?!\S)|(#.*|\S+)""")


class StarTomogram(NamedTuple):
    """A tomogram of the list.

    Attributes:
        name: name in RELION; None if the list has no names.
        path: path from the working directory.
        voxel_size: voxel size of all axes, in angstrom; None if the list has none.
    """

    name: str | None
    path: Path
    voxel_size: float | None


class _Table(NamedTuple):
    columns: list[str]
    rows: list[list[str]]


def read_tomograms(path: Path) -> list[StarTomogram]:
    """Read the tomograms of a STAR file, denoised ones if it lists them.

    Their paths start at RELION's project directory. It is searched for in the working directory,
    then in the STAR file's directory and those above it.

    Raises:
        PicketError: the file cannot be read, has no column of tomograms, no rows or one of another
            length, or lists a file that does not exist.
    """
    tables = [table for table in _tables(path) if {WHOLE, HALF, DENOISED} & {*table.columns}]
    if not tables:
        raise PicketError(
            f"{path}: has no column {WHOLE}; reconstruct tomograms in RELION first, or list "
            "their files in inputs"
        )
    columns, rows = tables[0]
    if WHOLE not in columns and DENOISED not in columns:
        raise PicketError(
            f"{path}: lists only half tomograms ({HALF}); denoise them in RELION, or "
            "reconstruct full tomograms"
        )
    if not rows:
        raise PicketError(f"{path}: lists no tomograms; reconstruct them in RELION first")
    for number, row in enumerate(rows, 1):
        if len(row) != len(columns):
            raise PicketError(
                f"{path}: row {number} has {len(row)} values for {len(columns)} columns; the "
                "file is damaged, write it again with RELION"
            )
    return [_tomogram(path, dict(zip(columns, row, strict=True))) for row in rows]


def _tables(path: Path) -> list[_Table]:
    """All loops of a STAR file."""
    try:
        with path.open(encoding="utf-8") as file:
            lines = file.read(LARGEST).splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise PicketError(f"{path}: cannot be read as a STAR file ({reason})") from None
    tables: list[_Table] = []
    inside = False
    for words in filter(None, map(_words, lines)):
        alone = len(words) == 1
        if alone and (words[0] == "loop_" or words[0].startswith("data_")):
            inside = words[0] == "loop_"
            if inside:
                tables.append(_Table([], []))
        elif inside and alone and words[0].startswith("_") and not tables[-1].rows:
            tables[-1].columns.append(words[0])
        elif inside:
            tables[-1].rows.append(words)
    return tables


def _words(line: str) -> list[str]:
    matches = [match for match in _WORD.finditer(line) if not match[0].startswith("#")]
    return [match[match.lastindex or 0] for match in matches]


def _tomogram(star: Path, row: dict[str, str]) -> StarTomogram:
    listed = Path(row[DENOISED] if DENOISED in row else row[WHOLE])
    places = [Path(), star.parent, *star.absolute().parents]
    path = next((place / listed for place in places if os.path.exists(place / listed)), None)
    if path is None:
        raise PicketError(
            f"{star}: {listed} was not found in the working directory or above the STAR file; "
            "run from RELION's project directory"
        )
    try:
        size = float(row[PIXEL]) * float(row[BINNING])
    except (KeyError, ValueError):
        size = 0
    return StarTomogram(row.get(NAME), path, size if size > 0 else None)
