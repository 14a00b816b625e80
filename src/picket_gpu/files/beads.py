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
        for centre, diameter in zip(beads.centres, beads.diameters, strict=True):
            angstrom: list[float | str] = [""] * 4
            if subject.is_scaled:
                place = (centre * size)[::-1] + np.array(subject.origin)
                angstrom = [*place.tolist(), float(diameter * np.cbrt(size.prod()))]
            writer.writerow([*angstrom, *centre[::-1].tolist(), float(diameter)])
    return path
