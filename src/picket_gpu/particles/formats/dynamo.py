"""Tables for Dynamo, and the list of the tomograms that they number."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from picket_gpu.files.atomic import atomic_file
from picket_gpu.files.location import absolute
from picket_gpu.particles.particles import Particles

FIRST = 1.0  # the pixel of the corner ("Volume center" in Dynamo's wiki)
# Columns, from 1 ("Table convention").
TAG, ALIGNED, SCORE, TOMOGRAM, X, Y, Z, PARTS, ANGSTROM = 1, 2, 10, 20, 24, 25, 26, 32, 36


class Dynamo:
    """A row for each particle: its number, score, tomogram and coordinates; the rest is 0.

    Tomograms have the number of their input, from 1. ``dtcrop`` puts the central voxel of a box,
    number N/2 + 1 of N, at a coordinate; it rounds it.
    """

    several: ClassVar = True
    holds_none: ClassVar = False

    @staticmethod
    def write(path: Path, lists: Sequence[Particles]) -> None:
        """Write the table, with 36 columns."""
        table = np.zeros((sum(one.count for one in lists), ANGSTROM))

        def column(number: int) -> np.ndarray:
            return table[:, number - 1]

        column(TAG)[:] = 1 + np.arange(len(table))
        column(ALIGNED)[:] = column(PARTS)[:] = 1
        column(SCORE)[:] = np.concatenate([one.heights for one in lists])
        column(TOMOGRAM)[:] = np.concatenate([[one.index + 1] * one.count for one in lists])
        column(ANGSTROM)[:] = np.concatenate([[one.voxel_size[2]] * one.count for one in lists])
        table[:, X - 1 : Z] = np.concatenate([one.coordinates for one in lists])[:, ::-1] + FIRST
        with atomic_file(path) as temporary:
            np.savetxt(temporary, table, fmt="%.8g")


class DynamoTomograms:
    """A line for each tomogram: its number in the table, and its file.

    Dynamo calls it tomogram-table map file; ``dtcrop MAP.doc TABLE.tbl FOLDER SIDE`` reads both.
    """

    several: ClassVar = True
    holds_none: ClassVar = False

    @staticmethod
    def write(path: Path, lists: Sequence[Particles]) -> None:
        """Write the lines."""
        lines = [f"{one.index + 1} {absolute(one.tomogram)}\n" for one in lists]
        with atomic_file(path) as temporary:
            temporary.write_text("".join(lines), encoding="utf-8")
