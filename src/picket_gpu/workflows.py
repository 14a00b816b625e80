"""All workflows on one prepared volume: statistics, clusterers, labels of each feature mode."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from picket_gpu.backend import Backend, KMeansEngine, Lloyd, Precision
from picket_gpu.clustering import GaussianMixture, KMeans, Method, fit_gmm, fit_kmeans
from picket_gpu.console import SILENT, Reporter
from picket_gpu.errors import PicketError
from picket_gpu.features import FeatureMode
from picket_gpu.labels import label_volume
from picket_gpu.memory import MemoryPlan
from picket_gpu.neighborhoods import WindowSet, all_windows
from picket_gpu.preprocess import Prepared
from picket_gpu.streams import Coordinates, RawFeatures
from picket_gpu.whitening import Whitening, covariance_of, whiten

MOST_HALVINGS = 8  # of tiles, where memory runs out
# Total variance of windows that differ by float32 rounding only, beside the mean square of their
# features, or beside the squared range of the voxels where those are near 0.
ALIKE = 1e-13

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
    """

    mode: FeatureMode
    method: Method
    labels: np.ndarray
    scores: np.ndarray | None
    model: KMeans | GaussianMixture
    num_windows: int
    timings: dict[str, float]


def segment_prepared(
    backend: Backend,
    prepared: Prepared,
    windows: WindowSet,
    modes: Sequence[FeatureMode],
    methods: Sequence[Method],
    plan: MemoryPlan,
    reporter: Reporter = SILENT,
    name: str = "volume",
    precision: Precision = "float32",
    kmeans_engine: KMeansEngine = "auto",
    scores: bool = False,
    moments: dict[str, np.ndarray] | None = None,
    wanted: np.ndarray | None = None,
) -> Iterator[Segmentation]:
    """All workflows of ``modes`` and ``methods`` on one volume, one after the other.

    To be consumed inside ``backend.exclusive()``. Where memory runs out, tiles are halved, and the
    fit or the labelling of a feature mode is begun again.

    Args:
        prepared: blurred and normalised.
        windows: those used for fitting. Their seed is that of k-means++ too.
        plan: of memory.
        reporter: is told of each step.
        name: what to call the volume in an error.
        precision: of the mixture's products, where the device offers more than one.
        kmeans_engine: "cuml" makes it an error that a library's k-means cannot be used.
        scores: whether to tell how sure each label is.
        moments: of raw features by their kind, from earlier calls on the same windows; filled as
            they become known.
        wanted: bool, broadcast to the volume's shape: which voxels get labels; all of those that
            have a window unless told.

    Raises:
        PicketError: the windows used for fitting are all alike, or as told of ``kmeans_engine``.
    """
    moments = {} if moments is None else moments
    for mode in modes:
        job = ModeJob(
            backend,
            prepared,
            windows,
            mode,
            plan,
            reporter,
            name,
            precision,
            kmeans_engine,
            scores,
            wanted,
        )
        job, fit = _until_it_fits(job, ModeJob.fit, methods, moments)
        job, results = _until_it_fits(job, ModeJob.label, methods, fit)
        plan = job.plan
        while results:  # none is kept here: they are as large as a quarter of the volume
            yield results.pop(0)


def _until_it_fits(
    job: "ModeJob", stage: Callable[..., Result], *arguments: Any
) -> tuple["ModeJob", Result]:
    """What ``stage`` makes of the job, and the job with tiles of the size that went."""
    for _ in range(MOST_HALVINGS):
        try:
            return job, stage(job, *arguments)
        except MemoryError:
            if job.tile_windows == 1:
                raise
        # Outside the handler, whose traceback would keep arrays.
        job = replace(job, plan=job.plan.with_less(job.tile_windows // 2))
        job.backend.release()
        job.reporter.line(f"  out of memory: tiles of {job.plan.tile_windows} windows from here on")
    return job, stage(job, *arguments)


@dataclass(frozen=True)
class _Fit:
    """Models of one feature mode, and the seconds they took."""

    models: dict[Method, KMeans | GaussianMixture]
    features: float
    clustering: dict[Method, float]


@dataclass(frozen=True)
class ModeJob:
    """The workflows of one feature mode on one volume."""

    backend: Backend
    prepared: Prepared
    windows: WindowSet
    mode: FeatureMode
    plan: MemoryPlan
    reporter: Reporter
    name: str
    precision: Precision
    kmeans_engine: KMeansEngine
    scores: bool
    wanted: np.ndarray | None = None

    @property
    def tile_windows(self) -> int:
        """Windows of a tile, at most, by memory and by the settings of the mode."""
        return min(self.plan.tile_windows, self.mode.batch_limit(self.windows.count))

    def fit(self, methods: Sequence[Method], moments: dict[str, np.ndarray]) -> _Fit:
        """Fit the clusterers.

        Args:
            moments: of raw features by their kind, filled as they become known.
        """
        backend, windows, mode, plan = self.backend, self.windows, self.mode, self.plan
        clock = _Clock(backend)
        features = self._stream(windows)
        if mode.raw_kind not in moments:
            self.reporter.status(f"{mode.mode}: statistics of the features")
            moments[mode.raw_kind] = features.moments()
        total = moments[mode.raw_kind]
        reported, whitening = _scale(mode, total, windows.side, self.name)
        self.reporter.line(f"Features array of shape: ({windows.count}, {whitening.num_features})")
        statistics = clock.lap()

        subset = self._stream(windows.sample(plan.subset_windows))
        lloyd = self._library(len(reported))
        kmeans = fit_kmeans(
            features, subset, reported, total[-1], windows.seed, self.reporter, lloyd
        )
        models: dict[Method, KMeans | GaussianMixture] = {"kmeans": kmeans}
        seconds: dict[Method, float] = {"kmeans": clock.lap()}
        if "gmm" in methods:
            coordinates = Coordinates(features, whitening.matrix, plan.cache_bytes)
            models["gmm"] = fit_gmm(coordinates, whitening, kmeans, self.reporter, self.precision)
            seconds["gmm"] = clock.lap() + (0 if "kmeans" in methods else seconds["kmeans"])
        return _Fit(models, statistics, seconds)

    def _library(self, features: int) -> Lloyd | None:
        """A library's k-means, where there is one and it can have that many features."""
        lloyd = self.backend.lloyd
        if lloyd is None or self.plan.holds_matrix(self.windows.count, features):
            return lloyd
        if self.kmeans_engine == "cuml":
            raise PicketError(
                f"kmeans_engine: cuml: {self.name}: its matrix does not fit in memory; use auto"
            )
        self.reporter.line(f"  {self.mode.mode}: the matrix is too large for cuML; k-means by us")
        return None

    def label(self, methods: Sequence[Method], fit: _Fit) -> list[Segmentation]:
        """Label all voxels, by all methods in one pass."""
        backend, windows, mode = self.backend, self.windows, self.mode
        clock = _Clock(backend)
        self.reporter.status(f"{mode.mode}: labels")
        decisions = [fit.models[method].decision(backend) for method in methods]
        everything = self._stream(all_windows(windows.volume_shape, windows.side))
        voxels = mode.raw_kind == "voxels"
        volumes = label_volume(everything, decisions, voxels, self.scores, self.wanted)
        seconds = {"features": fit.features, "labels": clock.lap() / len(methods)}
        return [
            Segmentation(
                mode,
                method,
                *volume,
                fit.models[method],
                windows.count,
                seconds | {"clustering": fit.clustering[method]},
            )
            for method, volume in zip(methods, volumes, strict=True)
        ]

    def _stream(self, chosen: WindowSet) -> RawFeatures:
        backend, mode = self.backend, self.mode
        extract = mode.extractor(backend.operations, chosen.side, self.prepared.offset)
        tile_windows = min(self.plan.tile_windows, mode.batch_limit(chosen.count))
        return RawFeatures(backend, self.prepared.volume, chosen, extract, tile_windows)


def _scale(
    mode: FeatureMode, total: np.ndarray, side: int, name: str
) -> tuple[np.ndarray, Whitening]:
    """Matrix from raw to reported features, and their whitening, from the raw moments."""
    covariance = covariance_of(total)
    mean_square = np.trace(total[:-1, :-1]) / total[-1, -1]
    if not np.trace(covariance) > ALIKE * max(mean_square, 1):
        raise PicketError(
            f"{name}: the windows used for fitting are all alike; widen the z-slice limits"
        )
    reported = mode.reported_from_raw(covariance, side)
    return reported, whiten(total, reported, mode.num_features(side))


class _Clock:
    """Seconds from one lap to the next, of work that is done."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._last = time.perf_counter()

    def lap(self) -> float:
        self._backend.synchronize()
        last, self._last = self._last, time.perf_counter()
        return self._last - last
