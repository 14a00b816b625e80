"""The table of gold beads that were left out of a tomogram: beads_{i}.csv."""

import csv
from pathlib import Path

import numpy as np

from picket_gpu.files.atomic import atomic_file
from picket_gpu.files.filenames import beads_name
from picket_gpu.files.segmentation import Subject
from picket_gpu.method.beads import Beads

# As files of particles have them; angstrom are left empty where the voxel size is not known.
COLUMNS = (
    *("x_angstrom", "y_angstrom", "z_angstrom", "diameter_angstrom"),
    *("x", "y", "z", "diameter"),
)


def write_beads(subject: Subject, beads: Beads | None) -> Path | None:
    """Write a line for each bead, the largest first; without beads, remove an earlier table.

    x, y, z are in voxels; 0 is the centre of the first voxel. The angstrom include the origin in
    the tomogram's file.

    Returns:
        The file, in the directory of the subject, which is made; None without beads.
    """
    path = subject.directory / beads_name(subject.index)
    if beads is None:
        path.unlink(missing_ok=True)
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        size = np.array(subject.voxel_size)
        lengths = (beads.diameters * np.cbrt(size.prod())).tolist()
        places = np.column_stack([subject.in_file(beads.centres), lengths]).tolist()
        angstrom = places if subject.is_scaled else [[""] * 4] * len(places)
        voxels = np.column_stack([beads.centres[:, ::-1], beads.diameters]).tolist()
        writer.writerows([*known, *own] for known, own in zip(angstrom, voxels, strict=True))
    return path
