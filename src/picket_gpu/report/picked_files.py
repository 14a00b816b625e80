"""Picked particles, from the files that hold them."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

from picket_gpu.errors import PicketError, one_line
from picket_gpu.files.filenames import TomogramFiles
from picket_gpu.particles.formats.cmm import CMM
from picket_gpu.particles.formats.csv import COLUMNS, CSV
from picket_gpu.particles.particle_set import ParticleSet
from picket_gpu.particles.picks import Picks
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
    with _readable(files["csv"]):
        table = CSV.read(files["csv"])
    points = table[:, [COLUMNS.index(axis) for axis in "zyx"]]
    scores = table[:, COLUMNS.index("score")]
    # run.json has both too, but of one run only, while particles in a directory may be of several.
    name, diameter = subject.name, 0.0
    if files["cmm"].exists():
        with _readable(files["cmm"]):
            name, diameter = CMM.read(files["cmm"])
    picks = Picks(points, scores, float(scores[-1]) if len(scores) else 0.0, len(scores))
    particles = ParticleSet(picks, name, subject.shape, subject.voxel_size, origin, diameter)
    there = tuple(path.name for path in files.values() if path.exists())
    return PickedWorkflow(mode, method, particles, there)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Tell what is wrong with a file in one line."""
    try:
        yield
    except (OSError, LookupError, ValueError, csv.Error, ElementTree.ParseError) as error:
        raise PicketError(
            f"{path}: file of particles is truncated or damaged ({one_line(error)}); pick again, "
            "or move it away"
        ) from None
