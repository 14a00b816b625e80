"""CSV, for tables and scripts."""

import csv
from pathlib import Path

import numpy as np

from picket_gpu.files.atomic import atomic_file
from picket_gpu.particles.particle_set import ParticleSet

COLUMNS = ("x_angstrom", "y_angstrom", "z_angstrom", "score", "x", "y", "z")


def write_csv(path: Path, particles: ParticleSet) -> None:
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
    """(n, 7) float64, a row a particle, columns as in `COLUMNS`."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(COLUMNS))
