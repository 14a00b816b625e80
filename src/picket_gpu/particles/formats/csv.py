"""CSV, for tables and scripts."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from picket_gpu.files.atomic import atomic_file
from picket_gpu.particles.particles import COLUMNS, SIZE, TOMOGRAM, Particles


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

        Raises:
            csv.Error, ValueError: the file is not as `write` makes it.
        """
        with path.open(newline="", encoding="utf-8") as file:
            head, *rows = csv.reader(file)
        if tuple(head) not in (COLUMNS, (*COLUMNS, SIZE)):
            raise ValueError(f"columns {','.join(head)}")
        table = np.array(rows, dtype=np.float64).reshape(len(rows), len(head))
        if not np.isfinite(table).all():
            raise ValueError("a number is not finite")
        order = np.argsort(-table[:, COLUMNS.index("score")], kind="stable")
        sorted_table: np.ndarray = table[order]
        return sorted_table
