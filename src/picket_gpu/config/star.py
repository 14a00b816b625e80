"""The lists of tomograms that RELION 5 and IsoNet keep: tomograms.star.

Its table is a loop of columns such as _rlnTomoName, with a line per tomogram (RELION 5, tomography
tutorial; prepare_star of IsoNet 1 and 2). The library starfile (0.5.13) cannot be used: it turns
o'brien.mrc into o"brien.mrc and a#1.mrc into a, completes a short row with blanks, puts a second
loop of a block into the rows of the first, finds no tables in a file that is not UTF-8, and after
an error returns the old content when the same file is read again.
"""

import os
import re
from contextlib import suppress
from math import isfinite, prod
from pathlib import Path
from typing import NamedTuple

from picket_gpu.config.inputs import LEAST_LENGTH, MOST_LENGTH
from picket_gpu.errors import PicketError
from picket_gpu.files.location import expanded, stem_of

WHOLE = "_rlnTomoReconstructedTomogram"
HALF, DENOISED = f"{WHOLE}Half1", f"{WHOLE}Denoised"
NAME, PIXEL, BINNING = "_rlnTomoName", "_rlnTomoTiltSeriesPixelSize", "_rlnTomoTomogramBinning"
SIZES = ("_rlnTomoSizeZ", "_rlnTomoSizeY", "_rlnTomoSizeX")  # in unbinned voxels
# In place of a tomogram: RELION's Denoise writes N/A, IsoNet None, pandas the others.
NOTHING = {"", "n/a", "none", "nan", "<na>"}
LARGEST = 2**26  # characters

# A quote ends a value only before white space; inside a value it is a letter, and so is #.
_WORD = re.compile(r"""'(.*?)'(?!\S)|"(.*?)"(?!\S)|(#.*|\S+)""")


class StarTomogram(NamedTuple):
    """A tomogram of the list.

    Attributes:
        name: name in RELION, or the stem of IsoNet's input; None if the list has no names.
        path: path from the working directory; as listed if no such file was found.
        voxel_size: voxel size of all axes, in angstrom; None if the list has none.
        centre: where RELION counts from, (z, y, x) in voxels; None if the list does not say.
        warnings: what is odd about it, a line each.
        fault: why it cannot be used; None if it can.
    """

    name: str | None
    path: Path
    voxel_size: float | None = None
    centre: tuple[float, float, float] | None = None
    warnings: tuple[str, ...] = ()
    fault: str | None = None


class _Program(NamedTuple):
    """A program that keeps such lists.

    Attributes:
        name: its name.
        tomograms: columns of paths, the most processed first, with what each makes of a tomogram.
        sizes: columns whose product is the voxel size.
    """

    name: str
    tomograms: dict[str, str]
    sizes: tuple[str, ...]


RELION = _Program("RELION", {DENOISED: "denoised", WHOLE: "reconstructed"}, (PIXEL, BINNING))
# Of IsoNet 1 (rlnMicrographName) and 2, whose rlnTomoName is a path.
INPUTS = (NAME, "_rlnMicrographName")
ISONET = _Program(
    "IsoNet",
    {
        "_rlnCorrectedTomoName": "corrected",
        "_rlnDenoisedTomoName": "denoised",
        "_rlnDeconvTomoName": "deconvolved",
        **dict.fromkeys(INPUTS, "reconstructed"),
    },
    ("_rlnPixelSize",),
)
_OF_ISONET = {"_rlnIndex", "_rlnPixelSize"}  # which RELION's lists of tomograms lack


class _Table(NamedTuple):
    columns: list[str]
    rows: list[list[str]]


def read_tomograms(path: Path) -> list[StarTomogram]:
    """Read the tomograms of a STAR file, in the most processed form that is there.

    This is the denoised one in RELION's lists; the corrected, denoised or deconvolved one in those
    of IsoNet. Paths start at the directory in which the program ran. It is searched for in the
    working directory, then in the STAR file's directory and those above it.

    Raises:
        PicketError: the file cannot be read, has no column of tomograms, no rows or one of another
            length.
    """
    program, (columns, rows) = _list_of_tomograms(path)
    if not rows:
        raise PicketError(f"{path}: lists no tomograms; make them in {program.name} first")
    for number, row in enumerate(rows, 1):
        if len(row) != len(columns):
            raise PicketError(
                f"{path}: row {number} has {len(row)} values for {len(columns)} columns; write the "
                f"file again with {program.name}, or put text with blanks in quotes"
            )
    listed = [dict(zip(columns, row, strict=True)) for row in rows]
    used = [
        column
        for column in program.tomograms
        if any(not _is_nothing(row.get(column, "")) for row in listed)
    ]
    used = used or [column for column in program.tomograms if column in columns]
    return [_tomogram(path, number, program, row, used) for number, row in enumerate(listed, 1)]


def _list_of_tomograms(path: Path) -> tuple[_Program, _Table]:
    """The first table of tomograms, and the program that made it."""
    halves = False
    for table in _tables(path):
        columns = {*table.columns}
        if columns >= _OF_ISONET and columns & {*ISONET.tomograms}:
            return ISONET, table
        if columns & {*RELION.tomograms}:
            return RELION, table
        halves = halves or HALF in columns
    if halves:
        raise PicketError(
            f"{path}: lists only half tomograms ({HALF}); denoise them in RELION, or "
            "reconstruct full tomograms"
        )
    raise PicketError(
        f"{path}: has no column {WHOLE}; reconstruct tomograms in RELION first, or list "
        "their files in inputs"
    )


def _tables(path: Path) -> list[_Table]:
    """All tables of a STAR file: loops, and lists of names with a value each, which are one row."""
    try:
        with path.open(encoding="utf-8") as file:
            lines = file.read(LARGEST).splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text; save it as UTF-8"
        raise PicketError(f"{path}: cannot be read as a STAR file ({reason})") from None
    tables: list[_Table] = []
    inside = False
    for words in filter(None, map(_words, lines)):
        alone, first = len(words) == 1, words[0].lower()
        if alone and (first == "loop_" or first.startswith("data_")):
            inside = first == "loop_"
            tables.append(_Table([], []))
        elif not inside and tables and len(words) == 2 and first.startswith("_"):
            column, value = words
            tables[-1].columns.append(column)
            tables[-1].rows[:] = [[*(tables[-1].rows or [[]])[0], value]]
        elif inside and alone and words[0].startswith("_") and not tables[-1].rows:
            tables[-1].columns.append(words[0])
        elif inside:
            tables[-1].rows.append(words)
    return tables


def _words(line: str) -> list[str]:
    matches = [match for match in _WORD.finditer(line) if not match[0].startswith("#")]
    return [match[match.lastindex or 0] for match in matches]


def _is_nothing(value: str) -> bool:
    return value.strip().lower() in NOTHING


def _tomogram(
    star: Path, number: int, program: _Program, row: dict[str, str], used: list[str]
) -> StarTomogram:
    """The tomogram of a row.

    Args:
        used: columns with the path of a tomogram in any row, the most processed first.
    """
    name = _name(program, row)
    called, best = f"{star}: {name or f'row {number}'}", program.tomograms[used[0]]
    lost: list[str] = []
    for column in used:
        listed = row[column]
        if _is_nothing(listed):
            continue
        path = _found(star, listed)
        if path is None:
            lost.append(listed)
            continue
        warning = None
        if lost:
            warning = f"{called}: {lost[0]} was not found; using {path}"
        elif column != used[0]:
            warning = f"{called} is not {best} ({row[used[0]]} in {used[0][1:]}); using {path}"
        warnings = () if warning is None else (warning,)
        return StarTomogram(name, path, _size(program, row), _centre(row), warnings)
    if lost:
        fault = (
            f"{called}: {lost[0]} was not found in the working directory or above the STAR file; "
            f"run from {program.name}'s project directory"
        )
        return StarTomogram(name, Path(lost[0]), fault=fault)
    fault = (
        f"{called} has no tomogram (N/A in {', '.join(column[1:] for column in used)}); make it in "
        f"{program.name}, or remove the row"
    )
    return StarTomogram(name or f"row {number}", Path("N/A"), fault=fault)


def _name(program: _Program, row: dict[str, str]) -> str | None:
    if program is RELION:
        return row.get(NAME)
    given = (row[column] for column in INPUTS if not _is_nothing(row.get(column, "")))
    return next((stem_of(Path(path)) for path in given), None)


def _found(star: Path, listed: str) -> Path | None:
    with suppress(ValueError):  # a variable that is not set: no such file
        listed = expanded(listed)
    places = [Path(), star.parent, *star.absolute().parents]
    return next((place / listed for place in places if os.path.exists(place / listed)), None)


def _size(program: _Program, row: dict[str, str]) -> float | None:
    size = prod(_number(row.get(column)) for column in program.sizes)
    return size if LEAST_LENGTH <= size <= MOST_LENGTH else None


def _centre(row: dict[str, str]) -> tuple[float, float, float] | None:
    """Half the unbinned voxels, which RELION counts coordinates from, in voxels of the file."""
    binning = _number(row.get(BINNING))
    z, y, x = (_number(row.get(column)) for column in SIZES)
    if min(z, y, x, binning) <= 0:
        return None
    return z / 2 / binning, y / 2 / binning, x / 2 / binning


def _number(text: str | None) -> float:
    """A number; 0 for what is none."""
    try:
        number = float(text or 0)
    except ValueError:
        return 0.0
    return number if isfinite(number) else 0.0
