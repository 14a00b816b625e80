"""Picked particles, from the files that hold them."""

import csv
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from picket_gpu.errors import PicketError, one_line
from picket_gpu.files.filenames import TomogramFiles
from picket_gpu.particles.particle_set import ParticleSet
from picket_gpu.particles.picks import Picks
from picket_gpu.particles.writers.csv import COLUMNS
from picket_gpu.report.collect import Subject
from picket_gpu.report.picked import PickedWorkflow


def read_picked(
    subject: Subject, mode: str, method: str, origin: tuple[float, float, float]
) -> PickedWorkflow | None:
    """The particles of one workflow beside its segmentation; None where there are none.

    Files hold what is picked only: candidates below the threshold are gone, and the lowest score
    stands for it.

    Args:
        origin: angstrom, (x, y, z), of the centre of the tomogram's first voxel.

    Raises:
        PicketError: a file is not as it was written.
    """
    if not (mode.isalnum() and method.isalnum() and all(size > 0 for size in subject.voxel_size)):
        return None  # nothing can have been picked
    files = TomogramFiles(subject.directory, subject.index, []).particles(mode, method)
    if not files["csv"].exists():
        return None
    points, scores = _checked(files["csv"])
    name, diameter = subject.name, 0.0
    if files["cmm"].exists():
        name, diameter = _told(files["cmm"])
    picks = Picks(points, scores, float(scores[-1]) if len(scores) else 0.0, len(scores))
    particles = ParticleSet(picks, name, subject.shape, subject.voxel_size, origin, diameter)
    there = tuple(path.name for path in files.values() if path.exists())
    return PickedWorkflow(mode, method, particles, there)


def _checked(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (z, y, x) and scores in a CSV file, highest first."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            head, *rows = csv.reader(file)
        if tuple(head) != COLUMNS:
            raise ValueError(f"columns {','.join(head)}")
        table = np.array(rows, dtype=np.float64).reshape(len(rows), len(COLUMNS))
        if not np.isfinite(table).all():
            raise ValueError("a number is not finite")
    except (OSError, ValueError, csv.Error) as error:
        raise _unusable(path, error) from None
    table = table[np.argsort(-table[:, COLUMNS.index("score")], kind="stable")]
    return table[:, [COLUMNS.index(axis) for axis in "zyx"]], table[:, COLUMNS.index("score")]


def _told(path: Path) -> tuple[str, float]:
    """What markers tell and a CSV file does not: the tomogram's name, and the diameter.

    The diameter is 0.0 without markers. run.json has it too, but a file of one run only, while
    particles in a directory may be of several.
    """
    try:
        markers = ElementTree.parse(path).getroot()
        radius = max((float(each.attrib["radius"]) for each in markers.iter("marker")), default=0.0)
        if not 0 <= radius < np.inf:
            raise ValueError(f"radius {radius}")
        return markers.attrib["name"], 2 * radius
    except (OSError, ValueError, KeyError, ElementTree.ParseError) as error:
        raise _unusable(path, error) from None


def _unusable(path: Path, error: Exception) -> PicketError:
    return PicketError(
        f"{path}: file of particles is truncated or damaged ({one_line(error)}); pick again, "
        "or move it away"
    )
