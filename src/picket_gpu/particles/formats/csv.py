"""CSV, for tables and scripts."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from picket_gpu.files.atomic import atomic_file
from picket_gpu.particles.particles import COLUMNS, SIZE, TOMOGRAM, Particles

_SCORE = COLUMNS.index("score")
_ANGSTROM, _VOXELS = slice(0, _SCORE), slice(_SCORE + 1, len(COLUMNS))


class CSV:
    """A line for each particle, highest score first, below a line of `COLUMNS`, to which `SIZE` is
    added where particles have sizes of their own.

    x, y, z are in voxels; 0 is the centre of the first voxel. The angstrom include the origin in
    the tomogram's file. Each number has the digits that give the same float64 when it is read.
    """

    several: ClassVar = True
    holds_none: ClassVar = True

    @staticmethod
    def write(path: Path, lists: Sequence[Particles], *, named: bool | None = None) -> None:
        """Write the table.

        Args:
            path: the file.
            lists: particles of each tomogram.
            named: whether a first column, `TOMOGRAM`, names the tomogram; default: where there are
                several.
        """
        named = len(lists) > 1 if named is None else named
        sized = any(particles.picks.diameters is not None for particles in lists)
        with (
            atomic_file(path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([*[TOMOGRAM] * named, *COLUMNS, *[SIZE] * sized])
            for particles in lists:
                table = particles.table[:, : len(COLUMNS)]
                if sized:
                    table = np.column_stack([table, particles.diameters])
                name = [particles.run_name] * named
                writer.writerows([*name, *row] for row in table.tolist())

    @staticmethod
    def read(path: Path) -> np.ndarray:
        """Read the table, (n, 7 or 8) float64, columns as in `COLUMNS`, highest score first.

        What a person has saved from a program for tables is read too: see `read_rows`; columns in
        any order, and others beside them. A row may lack its voxels or its angstrom, which are NaN
        then; one without a score has the highest of all.

        Raises:
            csv.Error, ValueError: the file has no such table.
        """
        head, rows = read_rows(path)
        names = [*COLUMNS, *[SIZE] * (SIZE in head)]
        if absent := [name for name in names if name not in head]:
            raise ValueError(f"no columns {', '.join(absent)}; it has {', '.join(head)}")
        places = [head.index(name) for name in names]
        cells = [[row[place].strip() for place in places] for row in rows]
        is_there = np.array([[cell != "" for cell in row] for row in cells], bool)
        is_there = is_there.reshape(len(rows), len(names))
        table = np.array([[cell or "0" for cell in row] for row in cells], np.float64)
        table = table.reshape(is_there.shape)
        if not np.isfinite(table).all():
            raise ValueError("a number is not finite")
        position = is_there[:, _ANGSTROM].all(axis=1) | is_there[:, _VOXELS].all(axis=1)
        for number in np.flatnonzero(~(position & is_there[:, len(COLUMNS) :].all(axis=1))):
            raise ValueError(f"a number is missing in the row {','.join(cells[number])}")
        for triple in (_ANGSTROM, _VOXELS):
            table[~is_there[:, triple].all(axis=1), triple] = np.nan
        scores, known = table[:, _SCORE], is_there[:, _SCORE]
        scores[~known] = scores[known].max() if known.any() else 0.0
        sorted_table: np.ndarray = table[np.argsort(-scores, kind="stable")]
        return sorted_table


def read_rows(path: Path) -> tuple[list[str], list[list[str]]]:
    """Names of columns, and cells of all rows that have any, as text.

    Programs for tables save with a byte order mark, and in many countries with semicolons or tabs,
    and commas in numbers.

    Raises:
        OSError, csv.Error, ValueError: the file is no table.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        first = file.readline()
        file.seek(0)
        mark = next((mark for mark in ";\t" if mark in first), ",")
        rows = [row for row in csv.reader(file, delimiter=mark) if any(map(str.strip, row))]
    head, *others = rows or [[]]
    for row in others:
        if len(row) < len(head):
            raise ValueError(f"a row has {len(row)} cells of {len(head)}: {mark.join(row)}")
    if mark != ",":
        others = [[re.sub(r"^([+-]?\d+),(\d)", r"\1.\2", cell) for cell in row] for row in others]
    return [name.strip() for name in head], others
