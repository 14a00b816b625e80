"""CSV, for tables and scripts."""

import csv
from pathlib import Path

import numpy as np

from picket_gpu.files.atomic import atomic_file
from picket_gpu.particles.particles import COLUMNS, Particles


def write_csv(path: Path, particles: Particles) -> None:
    """Write a line a particle, highest score first, below a line of `COLUMNS`.

    x, y, z are voxels; 0 is the centre of the first voxel. The angstrom are where the tomogram's
    file places the particle: they hold the file's origin. A number is as long as it takes to read
    the same float64 back.
    """
    picks = particles.picks
    table = np.column_stack([particles.positions(), picks.heights, picks.coordinates[:, ::-1]])
    with (
        atomic_file(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(table.tolist())


def read_csv(path: Path) -> np.ndarray:
    """(n, 7) float64, a row a particle, columns as in `COLUMNS`, highest score first.

    Raises:
        ValueError: it is not what `write_csv` writes.
    """
    with path.open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    if tuple(head) != COLUMNS:
        raise ValueError(f"columns {','.join(head)}")
    table = np.array(rows, dtype=np.float64).reshape(len(rows), len(COLUMNS))
    if not np.isfinite(table).all():
        raise ValueError("a number is not finite")
    order = np.argsort(-table[:, COLUMNS.index("score")], kind="stable")
    sorted_table: np.ndarray = table[order]
    return sorted_table
