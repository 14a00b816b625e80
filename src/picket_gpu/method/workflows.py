"""All workflows on one prepared volume: statistics, clusterers, labels of each feature mode."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from picket_gpu.console import SILENT, Reporter
from picket_gpu.device.backend import Backend, Precision
from picket_gpu.method.clustering import GaussianMixture, KMeans, Method, fit_gmm, fit_kmeans
from picket_gpu.method.feature_mode import FeatureMode
from picket_gpu.method.labels import label_volume
from picket_gpu.method.memory import FLOAT, MemoryPlan
from picket_gpu.method.neighborhoods import WindowSet, all_windows
from picket_gpu.method.preprocess import PreparedVolume
from picket_gpu.method.streams import RawFeatures, Tally, WhitenedFeatures
from picket_gpu.method.whitening import Whitening, scale_features

MOST_HALVINGS = 8  # of tiles, where memory runs out

Result = TypeVar("Result")


@dataclass(frozen=True)
class Segmentation:
    """Labels of one volume by one workflow.

    Attributes:
        mode: feature mode.
        method: clustering method.
        labels: int8, shape of the volume; 0 background, 1 the rarer cluster, -1 no window.
        scores: float16 in [0, 1], how sure label 1 is, above 0.5 where it is given; None if not
            asked for.
        model: the fitted clusters.
        num_windows: windows used for fitting.
        timings: seconds for ``features`` (statistics and scaling, which the methods of a mode
            share), ``clustering`` (a mixture's includes its k-means where that was not asked for)
            and ``labels`` (of all methods in one pass, divided evenly).
        passes: how often the features of a window were computed, on average: for statistics and
            labels, divided evenly among the methods of a mode, and for clustering, where a
            mixture's include its k-means if that was not asked for.
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
    """What is asked of all workflows of a volume, whatever their feature mode.

    Attributes:
        methods: clustering methods.
        precision: of the mixture's products, where the device offers more than one.
        scores: those of ``methods`` that also tell how sure each label is.
    """

    methods: Sequence[Method]
    precision: Precision = "float32"
    scores: Collection[Method] = ()


@dataclass(frozen=True)
class PreparedTomogram:
    """A tomogram ready for its workflows.

    Attributes:
        volume: blurred and normalised grey values.
        windows: those used for fitting. Their seed is that of k-means++ too.
        memory: how the budget is spent on it.
        to_label: bool, broadcast to the volume's shape: which voxels get labels; None for all that
            have a window.
        name: what to call it in an error.
        moments: of the raw features of ``windows`` by their kind, filled as they become known.
    """

    volume: PreparedVolume
    windows: WindowSet
    memory: MemoryPlan
    to_label: np.ndarray | None = None
    name: str = "volume"
    moments: dict[str, np.ndarray] = field(default_factory=dict)


def run_workflows(
    backend: Backend,
    tomogram: PreparedTomogram,
    modes: Sequence[FeatureMode],
    settings: Settings,
    reporter: Reporter = SILENT,
) -> Iterator[Segmentation]:
    """All workflows on one tomogram, one feature mode after the other.

    To be consumed inside ``backend.exclusive()``. Where memory runs out, tiles are halved, and the
    fit or the labelling of a feature mode is begun again.

    Args:
        reporter: is told of each step.

    Raises:
        PicketError: the windows used for fitting are all alike.
    """
    memory = tomogram.memory
    for mode in modes:
        job = ModeJob(backend, tomogram, mode, settings, memory, reporter)
        job, fit = _until_it_fits(job, ModeJob.fit)
        job, results = _until_it_fits(job, ModeJob.label, fit)
        memory = job.memory
        del fit  # and what it keeps
        while results:  # none is kept here: they are as large as a quarter of the volume
            yield results.pop(0)


def _until_it_fits(
    job: "ModeJob", stage: Callable[..., Result], *arguments: Any
) -> tuple["ModeJob", Result]:
    """What ``stage`` makes of the job, and the job with tiles of the size that went."""
    for _ in range(MOST_HALVINGS):
        try:
            with job.backend.memory_errors():
                return job, stage(job, *arguments)
        except MemoryError:
            if job.tile_windows == 1:
                raise
        # Outside the handler, whose traceback would keep arrays.
        job = replace(job, memory=job.memory.with_less(job.tile_windows // 2))
        job.backend.release()
        job.reporter.line(
            f"  out of memory: continuing with tiles of {job.memory.tile_windows} neighborhoods"
        )
    with job.backend.memory_errors():
        return job, stage(job, *arguments)


@dataclass(frozen=True)
class _Fit:
    """Models of one feature mode, what they were fitted on, and the seconds and passes they
    took."""

    models: dict[Method, KMeans | GaussianMixture]
    windows: RawFeatures
    features: float
    clustering: dict[Method, float]
    features_passes: float
    clustering_passes: dict[Method, float]


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
        """Windows of a tile, at most, by memory and, on a CPU, by the settings of the mode."""
        return self._tile_windows(self.tomogram.windows)

    def fit(self) -> _Fit:
        """Fit the clusterers: statistics of the features, their whitening, k-means, mixture."""
        mode, windows, reporter = self.mode, self.tomogram.windows, self.reporter
        clock = _Clock(self.backend)
        tally = Tally()
        kept = self._kept_windows()
        features = self._features(windows, tally, kept)
        total = self._moments(features)
        statistics_passes = tally.lap() / windows.count
        reported, whitening = scale_features(mode, total, windows.side, self.tomogram.name)
        reporter.line(f"Features array of shape: ({windows.count}, {whitening.num_features})")
        statistics = clock.lap()

        # Where raw features are fewer than voxels, more windows take the same memory.
        few = self.memory.subset_windows * (windows.side**3 + 1) // len(total)
        subset = self._features(windows.sample(min(few, windows.count)), tally)
        methods = self.settings.methods
        start: WhitenedFeatures | None = None
        if "gmm" in methods:
            whitened, samples = self._whitened(features, whitening, kept)
            # Without samples ``whitened`` keeps what takes k-means' memory too.
            start = whitened if samples else WhitenedFeatures(features, whitening.matrix)
        kmeans = fit_kmeans(features, subset, reported, total[-1], windows.seed, reporter, start)
        models: dict[Method, KMeans | GaussianMixture] = {"kmeans": kmeans}
        seconds: dict[Method, float] = {"kmeans": clock.lap()}
        passes: dict[Method, float] = {"kmeans": tally.lap() / windows.count}
        if "gmm" in methods:
            precision = self.settings.precision
            models["gmm"] = fit_gmm(whitened, whitening, kmeans, samples, reporter, precision)
            shared = 0 if "kmeans" in methods else 1
            seconds["gmm"] = clock.lap() + shared * seconds["kmeans"]
            passes["gmm"] = tally.lap() / windows.count + shared * passes["kmeans"]
        return _Fit(models, features, statistics, seconds, statistics_passes, passes)

    def label(self, fit: _Fit) -> list[Segmentation]:
        """Label all voxels, by all methods in one pass."""
        backend, tomogram, mode = self.backend, self.tomogram, self.mode
        methods = self.settings.methods
        scores = [method in self.settings.scores for method in methods]
        clock = _Clock(backend)
        self.reporter.status(f"{mode.mode}: labels")
        decisions = [fit.models[method].decision(backend) for method in methods]
        windows, tally = tomogram.windows, Tally()
        everything = self._features(all_windows(windows.volume_shape, windows.side), tally)
        everything.take_over(fit.windows)
        voxels = mode.raw_kind == "voxels"
        volumes = label_volume(everything, decisions, voxels, scores, tomogram.to_label)
        seconds = {"features": fit.features, "labels": clock.lap() / len(methods)}
        shared = (fit.features_passes + tally.lap() / everything.count) / len(methods)
        return [
            Segmentation(
                mode,
                method,
                *volume,
                fit.models[method],
                windows.count,
                seconds | {"clustering": fit.clustering[method]},
                shared + fit.clustering_passes[method],
            )
            for method, volume in zip(methods, volumes, strict=True)
        ]

    def _features(
        self, windows: WindowSet, tally: Tally | None = None, kept_windows: int = 0
    ) -> RawFeatures:
        """Raw features of some windows of the tomogram."""
        backend, volume = self.backend, self.tomogram.volume
        extract = self.mode.extractor(backend.operations, windows.side, volume.offset)
        size = self._tile_windows(windows)
        return RawFeatures(backend, volume.volume, windows, extract, size, tally, kept_windows)

    def _kept_windows(self) -> int:
        """How many of the windows used for fitting have their raw features kept."""
        if not self.mode.keeps_raw:
            return 0
        count = self.tomogram.windows.count
        return self.memory.kept_raw(count, self._raw_bytes, "gmm" in self.settings.methods)

    @property
    def _raw_bytes(self) -> int:
        """Of the raw features of a window, in a mode that keeps them: they are the reported ones,
        and a 1."""
        return (self.mode.num_distinct(self.tomogram.windows.side) + 1) * FLOAT

    def _whitened(
        self, features: RawFeatures, whitening: Whitening, kept: int
    ) -> tuple[WhitenedFeatures, list[WhitenedFeatures]]:
        """Whitened features of all windows used for fitting, and of samples of them that stay in
        memory; none where all would.

        Args:
            kept: windows whose raw features are kept.
        """
        windows, memory, matrix = self.tomogram.windows, self.memory, whitening.matrix
        left = memory.mixture_bytes - kept * self._raw_bytes
        samples = []
        for size in memory.samples(windows.count, whitening.size * FLOAT):
            cache = min(size * whitening.size * FLOAT, left)
            left -= cache
            sample = self._features(windows.sample(size), features.tally)
            samples.append(WhitenedFeatures(sample, matrix, cache))
        if samples:  # some of all are kept during k-means already
            left = 0 if self.mode.keeps_raw else min(memory.cache_bytes, left)
        return WhitenedFeatures(features, matrix, left), samples

    def _tile_windows(self, windows: WindowSet) -> int:
        most = self.memory.tile_windows
        return min(most, self.mode.batch_limit(windows.count)) if self.backend.batches else most

    def _moments(self, features: RawFeatures) -> np.ndarray:
        """Of the raw features used for fitting, which feature modes of one kind share."""
        known, kind = self.tomogram.moments, self.mode.raw_kind
        if kind not in known:
            self.reporter.status(f"{self.mode.mode}: statistics of the features")
            known[kind] = features.moments()
        return known[kind]


class _Clock:
    """Seconds from one lap to the next, of work that is done."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._last = time.perf_counter()

    def lap(self) -> float:
        self._backend.synchronize()
        last, self._last = self._last, time.perf_counter()
        return self._last - last
