"""What a run gives back."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from picket_gpu.config.s1 import S1Config
from picket_gpu.errors import Failure, PicketError
from picket_gpu.files.location import Location
from picket_gpu.files.provenance import Provenance
from picket_gpu.files.read_segmentation import read_labels, read_scores
from picket_gpu.method.clustering import Method
from picket_gpu.particles.write import Picking
from picket_gpu.particles.writers.csv import read_csv
from picket_gpu.run.found import FoundSegmentation
from picket_gpu.run.picking import PickingPlan
from picket_gpu.run.plan import TomogramPlan


@dataclass(frozen=True)
class SegmentationResult:
    """One segmentation that a run has written.

    Attributes:
        path: its file, HDF5 where that was saved.
        tomogram: the tomogram's path or URL as in the configuration.
        name: what reports call the tomogram.
        mode: feature mode.
        method: clustering method.
        timings: seconds for ``features``, ``clustering``, ``labels`` and ``files``, and ``volume``:
            reading, blurring and scaling the tomogram, which its workflows share.
        share: of the labelled voxels, how many have label 1.
        iterations: of the clustering method.
        converged: whether it met its stopping rule.
        neighborhood_size: window side in voxels.
        passes: see `picket_gpu.method.workflows.Segmentation`; None if ``earlier``.
        earlier: whether it was there already, made by an earlier run with the same settings.
    """

    path: Path
    tomogram: Location
    name: str
    mode: str
    method: Method
    timings: dict[str, float]
    share: float
    iterations: int
    converged: bool
    neighborhood_size: int
    passes: float | None = None
    earlier: bool = False

    @property
    def seconds(self) -> float:
        """Time of this segmentation, that of the volume left out."""
        return sum(seconds for stage, seconds in self.timings.items() if stage != "volume")

    @property
    def labels(self) -> np.ndarray:
        """int8 labels, (z, y, x), read from the file: a hundred tomograms do not fit in memory."""
        return read_labels(self.path, self.neighborhood_size)

    @property
    def scores(self) -> np.ndarray:
        """float16 scores, (z, y, x), read from the file: how sure label 1 is, 0 to 1.

        Raises:
            PicketError: none were saved.
        """
        scores = read_scores(self.path)
        if scores is None:
            raise PicketError(f"{self.path}: contains no scores; run again with scores: true")
        return scores


def result_of(
    config: S1Config,
    plan: TomogramPlan,
    workflow: tuple[str, Method],
    provenance: Provenance,
    timings: dict[str, float],
    passes: float | None = None,
    earlier: bool = False,
) -> SegmentationResult:
    """The result of a workflow, feature mode and clustering method, whose files are there."""
    mode, method = workflow
    files = plan.files.of(mode, method)
    return SegmentationResult(
        path=files.get("hdf5") or next(iter(files.values())),
        tomogram=plan.header.path,
        name=plan.entry.label,
        mode=mode,
        method=method,
        timings=timings,
        share=provenance.share,
        iterations=provenance.iterations,
        converged=provenance.converged,
        neighborhood_size=config.neighborhood_size,
        passes=passes,
        earlier=earlier,
    )


@dataclass(frozen=True)
class ParticleResult:
    """Particles of one tomogram that a run has picked.

    Attributes:
        path: of the CSV file; others are beside it under the same name.
        tomogram: the tomogram's path or URL as in the configuration.
        name: what reports call the tomogram.
        mode: feature mode whose scores they are from; "tomogram" if from the tomogram itself.
        method: clustering method, likewise; "ball" if from the tomogram itself.
        count: of particles.
        threshold: height from which candidates are particles.
        label: the cluster that they are of.
        candidates: how many there were.
        seconds: spent on picking and on files.
        earlier: whether they were there already, picked by an earlier run with the same settings.
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
    earlier: bool = False

    @property
    def coordinates(self) -> np.ndarray:
        """(n, 3) float64, (z, y, x) in voxels, 0 the centre of the first; from the file."""
        return read_csv(self.path)[:, [6, 5, 4]]

    @property
    def heights(self) -> np.ndarray:
        """(n,) float64, descending, from the file."""
        return read_csv(self.path)[:, 3]


def picked_result(
    plan: TomogramPlan | FoundSegmentation, picking: PickingPlan, told: Picking, seconds: float
) -> ParticleResult:
    """The result of picking from a workflow, whose files are there."""
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
        earlier=picking.earlier is not None,
    )


class S1Run(list[SegmentationResult]):
    """The segmentations of a run, in the order of inputs, modes and methods.

    Attributes:
        failures: what is missing, and why.
        warnings: what is odd about the tomograms, a line each.
        particles: what was picked, in the order of inputs and of workflows.
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
