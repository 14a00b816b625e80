"""The list of tomograms that RELION 5 keeps: tomograms.star.

Its table is a loop of columns such as _rlnTomoName, a line a tomogram (RELION 5, tomography
tutorial). The library starfile would bring pandas for one table.
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

# A quote ends a value only before white space; inside of a value it is a letter, as # is.
_WORD = re.compile(r"""'(.*?)'(?!\S)|"(.*?)"(?!\S)|(#.*|\S+)""")


class StarTomogram(NamedTuple):
    """A tomogram of the list.

    Attributes:
        voxel_size: angstrom, of all axes; None where the list does not tell.
    """

    name: str | None
    path: Path
    voxel_size: float | None


class _Table(NamedTuple):
    columns: list[str]
    rows: list[list[str]]


def read_tomograms(path: Path) -> list[StarTomogram]:
    """The tomograms of a star file: the denoised ones where it has them.

    Their paths start at RELION's project, which is looked for upwards from the star file; the
    working directory comes first.

    Raises:
        PicketError: the file cannot be read, has no such column, no rows or one of another length,
            or names a file that is not there.
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
    """All loops of a star file."""
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
    told = Path(row[DENOISED] if DENOISED in row else row[WHOLE])
    places = [Path(), star.parent, *star.absolute().parents]
    path = next((place / told for place in places if os.path.exists(place / told)), None)
    if path is None:
        raise PicketError(
            f"{star}: {told} was not found in the working directory or above the STAR file; "
            "run from RELION's project directory"
        )
    try:
        size = float(row[PIXEL]) * float(row[BINNING])
    except (KeyError, ValueError):
        size = 0
    return StarTomogram(row.get(NAME), path, size if size > 0 else None)
