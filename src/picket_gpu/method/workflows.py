"""All workflows on one prepared tomogram: fit and label, one feature mode after the other."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np

from picket_gpu.console import SILENT, Reporter
from picket_gpu.device.backend import Backend, Precision
from picket_gpu.method.beads import Beads
from picket_gpu.method.clustering import GaussianMixture, KMeans, Method, fit_gmm, fit_kmeans
from picket_gpu.method.feature_mode import FeatureMode
from picket_gpu.method.labels import label_volume
from picket_gpu.method.memory import FLOAT, MemoryPlan
from picket_gpu.method.preprocess import PreparedVolume
from picket_gpu.method.streams import RawFeatures, Tally, WhitenedFeatures
from picket_gpu.method.whitening import Whitening, scale_features
from picket_gpu.method.windows import WindowSet, all_windows

MOST_HALVINGS = 8  # of tiles, if memory runs out

Result = TypeVar("Result")


@dataclass(frozen=True)
class WorkflowResult:
    """Labels of one volume by one workflow.

    Attributes:
        mode: feature mode.
        method: clustering method.
        labels: int8, shape of the volume; 0 background, 1 foreground, -1 unlabelled.
        scores: float16 in [0, 1], shape of the volume, above 0.5 exactly where the label is 1; None
            if not in `Settings.scores`.
        model: the fitted clusters.
        num_windows: number of windows used for fitting.
        timings: seconds for ``features`` (statistics and whitening, which the methods of a mode
            share), ``clustering`` (a GMM's includes k-means if that is not one of the methods) and
            ``labels`` (one pass for all methods, divided evenly).
        passes: number of times that the features of a window were computed, on average: for
            statistics and labels, divided evenly among the methods of a mode, and for clustering; a
            GMM's include k-means if that is not one of the methods.
    """

    mode: FeatureMode
    method: Method
    labels: np.ndarray
    scores: np.ndarray | None
    model: KMeans | GaussianMixture
    num_windows: int
    timings: dict[str, float]
    passes: float


@dataclass(frozen=True)
class Settings:
    """Settings of all workflows of a tomogram, the same for every feature mode.

    Attributes:
        methods: clustering methods.
        precision: precision of the GMM's products, if the device has more than one.
        scores: those of ``methods`` that also give scores.
    """

    methods: Sequence[Method]
    precision: Precision = "float32"
    scores: Collection[Method] = ()


@dataclass(frozen=True)
class PreparedTomogram:
    """A tomogram ready for its workflows.

    Attributes:
        prepared: blurred and normalised grey values.
        windows: windows used for fitting; their seed is also that of k-means++.
        memory: sizes that keep it within the memory budget.
        to_label: bool, broadcast to the volume's shape, voxels that get labels; None for all that
            have a window.
        name: name in errors.
        beads: gold beads and hot voxels that are left out; None for none.
        warnings: what is odd about the tomogram, a line each.
        moments: moments of the raw features of ``windows``, by the kind of feature; filled by the
            first mode of a kind.
    """

    prepared: PreparedVolume
    windows: WindowSet
    memory: MemoryPlan
    to_label: np.ndarray | None = None
    name: str = "volume"
    beads: Beads | None = None
    warnings: tuple[str, ...] = ()
    moments: dict[str, np.ndarray] = field(default_factory=dict)


def run_workflows(
    backend: Backend,
    tomogram: PreparedTomogram,
    modes: Sequence[FeatureMode],
    settings: Settings,
    reporter: Reporter = SILENT,
) -> Iterator[WorkflowResult]:
    """Run all workflows on one tomogram, one feature mode after the other.

    Consume the iterator inside ``backend.exclusive()``. If memory runs out, tiles are halved, and
    the fit or the labelling of the feature mode starts again.

    Args:
        reporter: shows each step.

    Raises:
        PicketError: the windows used for fitting are all alike.
    """
    memory = tomogram.memory
    for mode in modes:
        job = ModeJob(backend, tomogram, mode, settings, memory, reporter)
        job, fit = _until_it_fits(job, ModeJob.fit)
        job, results = _until_it_fits(job, ModeJob.label, fit)
        memory = job.memory
        del fit  # and the features that it keeps
        while results:  # each is a quarter as large as the volume, so none is kept here
            yield results.pop(0)


def _until_it_fits(
    job: "ModeJob", stage: Callable[..., Result], *arguments: Any
) -> tuple["ModeJob", Result]:
    """Run a stage of the job, with smaller tiles if memory runs out.

    Returns:
        The job with the tiles that fitted, and the result.
    """
    for _ in range(MOST_HALVINGS):
        try:
            with job.backend.memory_errors():
                return job, stage(job, *arguments)
        except MemoryError:
            if job.tile_windows == 1:
                raise
        # Outside the handler, whose traceback would keep arrays alive.
        job = replace(job, memory=job.memory.with_less(job.tile_windows // 2))
        job.backend.release()
        job.reporter.line(
            f"  out of memory: continuing with tiles of {job.memory.tile_windows} neighborhoods"
        )
    with job.backend.memory_errors():
        return job, stage(job, *arguments)


@dataclass(frozen=True)
class _Fit:
    """The fitted models of one feature mode.

    Attributes:
        features: raw features of the windows used for fitting.
        statistics: seconds and passes for statistics and whitening.
        clustering: seconds and passes of each model.
    """

    models: dict[Method, KMeans | GaussianMixture]
    features: RawFeatures
    statistics: "_Cost"
    clustering: dict[Method, "_Cost"]


@dataclass(frozen=True)
class ModeJob:
    """The workflows of one feature mode on one tomogram."""

    backend: Backend
    tomogram: PreparedTomogram
    mode: FeatureMode
    settings: Settings
    memory: MemoryPlan
    reporter: Reporter

    @property
    def tile_windows(self) -> int:
        """Greatest number of windows of a tile, by memory and, on a CPU, the mode's settings."""
        return self._tile_windows(self.tomogram.windows)

    def fit(self) -> _Fit:
        """Fit the models: statistics of the features, whitening, k-means, GMM."""
        mode, windows, reporter = self.mode, self.tomogram.windows, self.reporter
        tally = Tally()
        meter = _Meter(self.backend, tally, windows.count)
        kept = self._kept_windows()
        features = self._features(windows, tally, kept)
        total = self._moments(features)
        reported, whitening = scale_features(mode, total, windows.side, self.tomogram.name)
        reporter.line(f"Features array of shape: ({windows.count}, {whitening.num_features})")
        statistics = meter.lap()

        # Where raw features are fewer than voxels, more windows take the same memory.
        few = self.memory.subset_windows * (windows.side**3 + 1) // len(total)
        subset = self._features(windows.sample(min(few, windows.count)), tally)
        start: WhitenedFeatures | None = None
        if "gmm" in self.settings.methods:
            whitened, samples = self._whitened(features, whitening, kept)
            # Without samples, ``whitened`` keeps features in memory that k-means needs.
            start = whitened if samples else WhitenedFeatures(features, whitening.matrix)
        kmeans = fit_kmeans(features, subset, reported, total[-1], windows.seed, reporter, start)
        models: dict[Method, KMeans | GaussianMixture] = {"kmeans": kmeans}
        costs: dict[Method, _Cost] = {"kmeans": meter.lap()}
        if "gmm" in self.settings.methods:
            precision = self.settings.precision
            models["gmm"] = fit_gmm(whitened, whitening, kmeans, samples, reporter, precision)
            costs["gmm"] = meter.lap()
            if "kmeans" not in self.settings.methods:
                costs["gmm"] = costs["gmm"].plus(costs["kmeans"])
        return _Fit(models, features, statistics, costs)

    def label(self, fit: _Fit) -> list[WorkflowResult]:
        """Label all voxels, by all methods in one pass."""
        backend, tomogram, mode = self.backend, self.tomogram, self.mode
        methods = self.settings.methods
        scores = [method in self.settings.scores for method in methods]
        windows, tally = tomogram.windows, Tally()
        everything = all_windows(windows.volume_shape, windows.side)
        meter = _Meter(backend, tally, everything.count)
        self.reporter.status(f"{mode.mode}: labels")
        decisions = [fit.models[method].decision(backend) for method in methods]
        features = self._features(everything, tally)
        features.take_over(fit.features)
        voxels = mode.raw_kind == "voxels"
        volumes = label_volume(features, decisions, voxels, scores, tomogram.to_label)
        labelling, statistics = meter.lap(), fit.statistics
        shared_passes = (statistics.passes + labelling.passes) / len(methods)
        return [
            WorkflowResult(
                mode,
                method,
                *volume,
                fit.models[method],
                windows.count,
                {
                    "features": statistics.seconds,
                    "labels": labelling.seconds / len(methods),
                    "clustering": fit.clustering[method].seconds,
                },
                shared_passes + fit.clustering[method].passes,
            )
            for method, volume in zip(methods, volumes, strict=True)
        ]

    def _features(
        self, windows: WindowSet, tally: Tally | None = None, kept_windows: int = 0
    ) -> RawFeatures:
        """Raw features of some windows of the tomogram."""
        backend, prepared = self.backend, self.tomogram.prepared
        extract = self.mode.extractor(backend.operations, windows.side, prepared.offset)
        size = self._tile_windows(windows)
        return RawFeatures(backend, prepared.volume, windows, extract, size, tally, kept_windows)

    def _kept_windows(self) -> int:
        """Number of windows used for fitting whose raw features are kept."""
        if not self.mode.keeps_raw:
            return 0
        count = self.tomogram.windows.count
        return self.memory.kept_raw(count, self._raw_bytes, "gmm" in self.settings.methods)

    @property
    def _raw_bytes(self) -> int:
        """Bytes of a window's raw features, and a 1, in a mode that keeps them."""
        return (self.mode.num_distinct(self.tomogram.windows.side) + 1) * FLOAT

    def _whitened(
        self, features: RawFeatures, whitening: Whitening, kept: int
    ) -> tuple[WhitenedFeatures, list[WhitenedFeatures]]:
        """Whitened features of all windows used for fitting, and of samples of them that stay in
        memory; no samples if all windows do.

        Args:
            kept: number of windows whose raw features are kept.
        """
        windows, memory, matrix = self.tomogram.windows, self.memory, whitening.matrix
        left = memory.gmm_bytes - kept * self._raw_bytes
        samples = []
        for size in memory.samples(windows.count, whitening.size * FLOAT):
            cache = min(size * whitening.size * FLOAT, left)
            left -= cache
            sample = self._features(windows.sample(size), features.tally)
            samples.append(WhitenedFeatures(sample, matrix, cache))
        if samples:  # features of the first of all windows are kept from k-means on
            left = 0 if self.mode.keeps_raw else min(memory.cache_bytes, left)
        return WhitenedFeatures(features, matrix, left), samples

    def _tile_windows(self, windows: WindowSet) -> int:
        most = self.memory.tile_windows
        return min(most, self.mode.batch_limit(windows.count)) if self.backend.batches else most

    def _moments(self, features: RawFeatures) -> np.ndarray:
        """Moments of the raw features used for fitting, which modes of one kind share."""
        known, kind = self.tomogram.moments, self.mode.raw_kind
        if kind not in known:
            self.reporter.status(f"{self.mode.mode}: statistics of the features")
            known[kind] = features.moments()
        return known[kind]


class _Cost(NamedTuple):
    """What a step took.

    Attributes:
        seconds: wall-clock time.
        passes: number of times that the features of a window were computed, on average.
    """

    seconds: float
    passes: float

    def plus(self, other: "_Cost") -> "_Cost":
        """Of both steps."""
        return _Cost(self.seconds + other.seconds, self.passes + other.passes)


class _Meter:
    """Measures one step after the other."""

    def __init__(self, backend: Backend, tally: Tally, windows: int) -> None:
        """
        Args:
            tally: counts the windows whose features are computed.
            windows: number of windows of a pass.
        """
        self._backend = backend
        self._tally = tally
        self._windows = windows
        self._last = time.perf_counter()

    def lap(self) -> _Cost:
        """The cost since the last lap, of all work begun until now."""
        self._backend.synchronize()
        last, self._last = self._last, time.perf_counter()
        return _Cost(self._last - last, self._tally.lap() / self._windows)
