"""Results of a run."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from picket_gpu.config.s1 import S1Config
from picket_gpu.errors import Failure, PicketError
from picket_gpu.files.location import Location
from picket_gpu.files.segmentations import read_labels, read_scores
from picket_gpu.method.clustering import Method
from picket_gpu.particles.formats.csv import CSV
from picket_gpu.particles.write import Picking
from picket_gpu.run.found import FoundSegmentation
from picket_gpu.run.picking import PickingPlan
from picket_gpu.run.plan import TomogramPlan


@dataclass(frozen=True)
class SegmentationResult:
    """Segmentation of one tomogram by one workflow.

    Attributes:
        path: segmentation file; the HDF5 file if one was saved.
        tomogram: path or URL of the tomogram, as in the configuration.
        name: name of the tomogram in reports.
        mode: feature mode.
        method: clustering method.
        timings: seconds per stage: ``features``, ``clustering``, ``labels``, ``files``, and
            ``volume`` for reading, blurring and scaling the tomogram, which its workflows share.
        foreground_fraction: fraction of the labelled voxels with label 1, 0 to 1.
        iterations: number of iterations of the clustering method.
        converged: whether the clustering method met its stopping rule.
        neighborhood_size: side of a neighborhood in voxels.
        passes: mean number of times that the features of a neighborhood were computed; None if
            ``reused``.
        reused: whether an earlier run with the same settings had made the segmentation.
    """

    path: Path
    tomogram: Location
    name: str
    mode: str
    method: Method
    timings: dict[str, float]
    foreground_fraction: float
    iterations: int
    converged: bool
    neighborhood_size: int
    passes: float | None = None
    reused: bool = False

    @property
    def share(self) -> float:
        """Old name of ``foreground_fraction``, to be removed after one release."""
        return self.foreground_fraction

    @property
    def earlier(self) -> bool:
        """Old name of ``reused``, to be removed after one release."""
        return self.reused

    @property
    def seconds(self) -> float:
        """Seconds for this segmentation, without stage ``volume``."""
        return sum(seconds for stage, seconds in self.timings.items() if stage != "volume")

    @property
    def labels(self) -> np.ndarray:
        """Labels, int8, (z, y, x): 1 foreground, 0 background, -1 unlabelled.

        Each access reads the file, because the labels of many tomograms do not fit in memory.
        """
        return read_labels(self.path, self.neighborhood_size)

    @property
    def scores(self) -> np.ndarray:
        """Scores, float16, (z, y, x), 0 to 1: how certain it is that a voxel is foreground.

        Each access reads the file.

        Raises:
            PicketError: no scores were saved.
        """
        scores = read_scores(self.path)
        if scores is None:
            raise PicketError(f"{self.path}: contains no scores; run again with scores: true")
        return scores


def result_of(
    config: S1Config,
    plan: TomogramPlan,
    workflow: tuple[str, Method],
    attributes: dict[str, Any],
    timings: dict[str, float],
    passes: float | None = None,
    reused: bool = False,
) -> SegmentationResult:
    """The result of a workflow (feature mode, clustering method) whose files exist."""
    mode, method = workflow
    files = plan.files.of(mode, method)
    return SegmentationResult(
        path=files.get("hdf5") or next(iter(files.values())),
        tomogram=plan.header.path,
        name=plan.entry.label,
        mode=mode,
        method=method,
        timings=timings,
        foreground_fraction=attributes["share_of_label_1"],
        iterations=attributes["iterations"],
        converged=attributes["converged"],
        neighborhood_size=config.neighborhood_size,
        passes=passes,
        reused=reused,
    )


@dataclass(frozen=True)
class ParticleResult:
    """Particles of one tomogram, picked from one workflow or from the tomogram itself.

    Attributes:
        path: CSV file; the other files have the same name with another extension.
        tomogram: path or URL of the tomogram, as in the configuration.
        name: name of the tomogram in reports.
        mode: feature mode of the workflow; "tomogram" if picked from the tomogram itself.
        method: clustering method of the workflow; "ball" if picked from the tomogram itself.
        count: number of particles picked.
        threshold: least height of a candidate that is picked.
        label: label of the particles.
        candidates: number of candidates.
        seconds: seconds for picking and writing files.
        reused: whether an earlier run with the same settings had picked the particles.
    """

    path: Path
    tomogram: Location
    name: str
    mode: str
    method: str
    count: int
    threshold: float
    label: int
    candidates: int
    seconds: float
    reused: bool = False

    @property
    def earlier(self) -> bool:
        """Old name of ``reused``, to be removed after one release."""
        return self.reused

    @property
    def coordinates(self) -> np.ndarray:
        """Centres, (n, 3) float64, (z, y, x) in voxels; 0 is the centre of the first voxel.

        Each access reads the file.
        """
        return CSV.read(self.path)[:, [6, 5, 4]]

    @property
    def heights(self) -> np.ndarray:
        """Heights, (n,) float64, descending. Each access reads the file."""
        return CSV.read(self.path)[:, 3]


def picked_result(
    plan: TomogramPlan | FoundSegmentation, picking: PickingPlan, told: Picking, seconds: float
) -> ParticleResult:
    """The result of picking from a workflow whose files exist."""
    mode, method = picking.workflow
    return ParticleResult(
        path=picking.files["csv"],
        tomogram=plan.header.path,
        name=plan.entry.label,
        mode=mode,
        method=method,
        count=told.picked,
        threshold=told.threshold,
        label=told.label,
        candidates=told.candidates,
        seconds=seconds,
        reused=picking.earlier is not None,
    )


class S1Run(list[SegmentationResult]):
    """Segmentations of a run: a list in the order of inputs, feature modes and methods.

    Attributes:
        failures: failed tomograms or feature modes, with their errors.
        warnings: warnings about the tomograms, one line each.
        particles: picked particles, in the order of inputs and workflows.
    """

    def __init__(
        self,
        results: Iterable[SegmentationResult] = (),
        failures: Iterable[Failure] = (),
        warnings: Iterable[str] = (),
        particles: Iterable[ParticleResult] = (),
    ) -> None:
        super().__init__(results)
        self.failures = list(failures)
        self.warnings = list(warnings)
        self.particles = list(particles)
