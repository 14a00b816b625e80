"""One case of a suite: its tomogram, its labels, its agreement with the case that judges it."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mrcfile

from benchmarks.speed.cases import DEMO_SHAPE, Case, Shape
from benchmarks.speed.measure import agreement, run_case
from benchmarks.volumes import DEMO, VOXEL_SIZE, demo_volume


def measure_case(case: Case, directory: Path, done: dict[str, Any]) -> dict[str, Any]:
    """Figures of ``case``, among them the agreement with its judge, if that is ``done``.

    Args:
        directory: where tomograms and labels go, those of the judge included.
    """
    if case.kmeans_engine == "cuml" and find_spec("cuml") is None:
        return {"missing": "cuML is not installed"}
    place = labels_of(case.name, directory)
    place.mkdir(exist_ok=True)
    figures = run_case(case, tomogram(case.shape, directory), place)
    judged = case.judge and "error" not in figures and "seconds" in done.get(case.judge, {})
    if judged and (judge := labels_of(case.judge, directory)).exists():
        figures["agreement"] = agreement(case, place, judge)
    return figures


def labels_of(case: str | None, directory: Path) -> Path:
    """Where the labels of a case go."""
    return directory / str(case).replace("/", "_")


def tomogram(shape: Shape, directory: Path) -> Path:
    """The file of a volume of ``shape``, written when first asked for."""
    if shape == DEMO_SHAPE:
        return DEMO
    file = directory / f"{'x'.join(map(str, shape))}.mrc"
    if not file.exists():
        mrcfile.write(file, demo_volume(shape), voxel_size=VOXEL_SIZE)
    return file
