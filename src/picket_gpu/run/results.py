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
            raise PicketError(f"{self.path}: holds no scores; run again with scores: true")
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


class S1Run(list[SegmentationResult]):
    """The segmentations of a run, in the order of inputs, modes and methods.

    Attributes:
        failures: what is missing, and why.
        warnings: what is odd about the tomograms, a line each.
    """

    def __init__(
        self,
        results: Iterable[SegmentationResult] = (),
        failures: Iterable[Failure] = (),
        warnings: Iterable[str] = (),
    ) -> None:
        super().__init__(results)
        self.failures = list(failures)
        self.warnings = list(warnings)
