"""The method on arrays: a volume in, labels out, no files."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from picket_gpu.backend import Backend, KMeansEngine, Precision, select_backend
from picket_gpu.clustering import GaussianMixture, KMeans, Method, fit_gmm, fit_kmeans
from picket_gpu.console import SILENT, Reporter
from picket_gpu.errors import PicketError, first_fault
from picket_gpu.features import MODES, FeatureMode, FeatureParams
from picket_gpu.labels import label_volume
from picket_gpu.memory import MemoryPlan, check_library, plan_memory
from picket_gpu.neighborhoods import WindowSet, all_windows, fit_windows
from picket_gpu.preprocess import Prepared, prepare
from picket_gpu.streams import Coordinates, RawFeatures
from picket_gpu.whitening import Whitening, covariance_of, whiten

ALIKE = 1e-13  # total variance of windows that differ by float32 rounding only


@dataclass(frozen=True)
class Segmentation:
    """Labels of one volume by one workflow.

    Attributes:
        mode: feature mode.
        method: clustering method.
        labels: int8, shape of the volume; 0 background, 1 the rarer cluster, -1 no window.
        model: the fitted clusters.
        num_windows: windows used for fitting.
        timings: seconds for ``features`` (statistics and scaling), ``clustering`` (a mixture's
            includes its k-means where that was not asked for) and ``labels``.
    """

    mode: FeatureMode
    method: Method
    labels: np.ndarray
    model: KMeans | GaussianMixture
    num_windows: int
    timings: dict[str, float]


def segment(
    volume: np.ndarray,
    *,
    features: str | dict[str, Any] | FeatureMode = "intensities",
    clustering: Method = "gmm",
    neighborhood_size: int = 5,
    lower: int | None = None,
    upper: int | None = None,
    max_num_neighborhoods_for_fitting: int | None = None,
    blur_sigma: float = 2.0,
    seed: int = 0,
    device: str = "auto",
    memory_budget: int | None = None,
    kmeans_engine: KMeansEngine = "auto",
    precision: Precision = "float32",
) -> np.ndarray:
    """Segment a tomogram in memory into background and the rest.

    Args:
        volume: grey values, (z, y, x), any real type, NumPy or CuPy.
        features: "ffts", "gabor" or "intensities", or a mapping with the settings of one as in the
            YAML file, such as ``{"mode": "gabor", "num_sinusoids": 6}``, or its model.
        clustering: "kmeans" or "gmm".
        neighborhood_size: window side in voxels, odd, at least 3.
        lower, upper: z-slices used for fitting, 0-based, half-open; labels are given everywhere.
        max_num_neighborhoods_for_fitting: windows used for fitting, at most.
        blur_sigma: of the Gaussian blur, in voxels; 0 for none.
        seed: of the sample of windows and of k-means++.
        device: "auto", "cpu", "gpu", or "gpu:N" for GPU N of those that CuPy sees, from 0.
        memory_budget: bytes for all arrays on the device; None for a default.
        kmeans_engine: "cuml" for cuML's k-means on a GPU, "native" for ours, "auto" for cuML's
            where it is installed and the feature matrix fits the budget.
        precision: "tf32" lets a GPU round the operands of the mixture's products to TF32.

    Returns:
        int8 labels in the volume's shape: 0 for the more populous cluster, 1 for the other, -1
        nearer than neighborhood_size // 2 to a face.

    Raises:
        PicketError: an argument is out of range, or the volume cannot be segmented.
    """
    mode = _feature_mode(features)
    if clustering not in ("kmeans", "gmm"):
        raise PicketError(f"clustering: must be 'kmeans' or 'gmm' (got {clustering!r})")
    if neighborhood_size < 3 or neighborhood_size % 2 == 0:
        raise PicketError(f"neighborhood_size: must be odd, 3 or more (got {neighborhood_size})")
    if volume.ndim != 3:
        raise PicketError(f"volume: must have 3 dimensions, z, y, x (got {volume.ndim})")
    cap = max_num_neighborhoods_for_fitting
    if cap is not None and cap < 2:
        raise PicketError(f"max_num_neighborhoods_for_fitting: must be 2 or more (got {cap})")
    if precision not in ("float32", "tf32"):
        raise PicketError(f"precision: must be 'float32' or 'tf32' (got {precision!r})")
    if kmeans_engine not in ("auto", "cuml", "native"):
        raise PicketError(
            f"kmeans_engine: must be 'auto', 'cuml' or 'native' (got {kmeans_engine!r})"
        )
    backend = select_backend(device, kmeans_engine)
    windows = fit_windows(volume.shape, neighborhood_size, lower, upper, cap, seed)
    plan = plan_memory(backend, windows, 1, memory_budget, blur_sigma)
    if kmeans_engine == "cuml":
        check_library(plan, windows, [mode])
    with backend.exclusive():
        prepared = prepare(backend, volume, blur_sigma, plan)
        (result,) = segment_prepared(
            backend, prepared, windows, [mode], [clustering], plan, precision=precision
        )
    return result.labels


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
) -> Iterator[Segmentation]:
    """All workflows of ``modes`` and ``methods`` on one volume, one after the other.

    To be consumed inside ``backend.exclusive()``. Where memory runs out, tiles are halved and the
    feature mode is begun again.

    Args:
        prepared: blurred and normalised.
        windows: those used for fitting. Their seed is that of k-means++ too.
        plan: of memory.
        reporter: is told of each step.
        name: what to call the volume in an error.
        precision: of the mixture's products, where the device offers more than one.

    Raises:
        PicketError: the windows used for fitting are all alike.
    """
    moments: dict[str, np.ndarray] = {}
    for mode in modes:
        while True:
            job = _ModeJob(backend, prepared, windows, mode, plan, reporter, name, precision)
            try:
                results = job.run(methods, moments)
                break
            except MemoryError:
                if plan.tile_windows == 1:
                    raise
            # Outside the handler, whose traceback would keep the arrays.
            del job
            plan = plan.halved()
            backend.release()
            reporter.line(f"  out of memory: tiles of {plan.tile_windows} windows from here on")
        yield from results


@dataclass(frozen=True)
class _ModeJob:
    """The workflows of one feature mode on one volume."""

    backend: Backend
    prepared: Prepared
    windows: WindowSet
    mode: FeatureMode
    plan: MemoryPlan
    reporter: Reporter
    name: str
    precision: Precision

    def run(self, methods: Sequence[Method], moments: dict[str, np.ndarray]) -> list[Segmentation]:
        """Fit and label.

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
        seconds = {"features": clock.lap()}

        subset = self._stream(replace(windows, cap=plan.subset_windows))
        lloyd = backend.lloyd if plan.holds_matrix(windows.count, len(reported)) else None
        models: dict[Method, KMeans | GaussianMixture] = {}
        kmeans = fit_kmeans(
            features, subset, reported, total[-1], windows.seed, self.reporter, lloyd
        )
        models["kmeans"] = kmeans
        fitting: dict[Method, float] = {"kmeans": clock.lap()}
        if "gmm" in methods:
            coordinates = Coordinates(features, whitening.matrix, plan.cache_bytes)
            models["gmm"] = fit_gmm(coordinates, whitening, kmeans, self.reporter, self.precision)
            fitting["gmm"] = clock.lap() + (0 if "kmeans" in methods else fitting["kmeans"])
            del coordinates  # and what it keeps

        self.reporter.status(f"{mode.mode}: labels")
        decisions = [models[method].decision(backend) for method in methods]
        everything = self._stream(all_windows(windows.volume_shape, windows.side))
        volumes = label_volume(everything, decisions, mode.raw_kind == "voxels")
        seconds["labels"] = clock.lap() / len(methods)
        return [
            Segmentation(
                mode,
                method,
                labels,
                models[method],
                windows.count,
                seconds | {"clustering": fitting[method]},
            )
            for method, labels in zip(methods, volumes, strict=True)
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
    if not np.trace(covariance) > ALIKE:
        raise PicketError(
            f"{name}: the windows used for fitting are all alike; widen the z-slice limits"
        )
    reported = mode.reported_from_raw(covariance, side)
    return reported, whiten(total, reported, mode.num_features(side))


def _feature_mode(features: str | dict[str, Any] | FeatureMode) -> FeatureMode:
    if isinstance(features, FeatureMode):
        return features
    settings = {"mode": features} if isinstance(features, str) else features
    try:
        mode: FeatureMode = TypeAdapter(FeatureParams).validate_python(settings)
    except ValidationError as error:
        raise PicketError(f"features: {first_fault(error, MODES)}") from None
    return mode


class _Clock:
    """Seconds from one lap to the next, of work that is done."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._last = time.perf_counter()

    def lap(self) -> float:
        self._backend.synchronize()
        last, self._last = self._last, time.perf_counter()
        return self._last - last
