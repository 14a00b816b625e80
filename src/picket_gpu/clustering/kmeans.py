"""k-means with two clusters.

Two centres divide space by a plane, so a clustering is one vector: label 1 where
plane . (x, 1) > 0. An iteration needs the sum over one cluster; the other follows from the total.
Nothing but raw features is needed: distances between reported features R x are those of x in the
metric R'R.

Few windows lie near the plane, and only those change sides when it moves a little. So a pass over
all windows also collects the nearest ones, the band; Lloyd's iterations then run on the band in
memory, all other windows staying in their clusters, until it settles; and the next pass over all
windows tells whether that was right. Every step lowers the k-means cost, so the end is a fixed
point of Lloyd's algorithm, reached in a few passes instead of some thirty.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from picket_gpu.backend import Array, Backend, Scratch
from picket_gpu.console import SILENT, Reporter
from picket_gpu.neighborhoods import Tile
from picket_gpu.streams import RawFeatures

MAX_ITERATIONS = 300
START_WINDOWS = 4096  # of which k-means++ draws two
TOLERANCE = 1e-6  # share of labels that may still change in the last iteration


@dataclass(frozen=True)
class KMeans:
    """Two fitted clusters.

    Attributes:
        centres: (2, raw) float64, raw features.
        metric: (raw, raw) float64, R'R.
        iterations: Lloyd iterations, of the band or of all windows.
        converged: whether at most one label in a million changed in the last one.
    """

    centres: np.ndarray
    metric: np.ndarray
    iterations: int
    converged: bool

    @property
    def plane(self) -> np.ndarray:
        """(raw + 1,); a window belongs to cluster 1 where plane . (x, 1) > 0."""
        normal = self.metric @ (self.centres[1] - self.centres[0])
        return np.append(normal, -0.5 * normal @ self.centres.sum(axis=0))

    def decision(self, backend: Backend) -> Callable[[Array, Scratch], Array]:
        """A function from (x, 1), (raw + 1, windows), to (windows,), positive for cluster 1."""
        plane = backend.upload(self.plane.astype(np.float32))
        return lambda x, _: plane @ x


def fit_kmeans(
    features: RawFeatures,
    subset: RawFeatures,
    metric: np.ndarray,
    total: np.ndarray,
    seed: int,
    reporter: Reporter = SILENT,
) -> KMeans:
    """Lloyd's algorithm to its fixed point, from a k-means++ start.

    It runs on a subset first: the fixed point is the same, and most iterations are
    spent far from it.

    Args:
        features: of all windows used for fitting.
        subset: of few of them. As many windows make the band.
        metric: (raw, raw) float64, R'R for reported features R x.
        total: (raw + 1,) sum of (x, 1) over ``features``.
        seed: of k-means++.
        reporter: is told of each pass over all windows.
    """
    backend, xp = features.backend, features.backend.xp
    few = xp.concatenate(list(subset.map(lambda x, *_: x.copy())), axis=1)
    mean = total[:-1] / total[-1]
    some = backend.download(few[:-1, :: -(-few.shape[1] // START_WINDOWS)])
    centres = _plus_plus(some, mean, metric, np.random.default_rng(seed))
    few_total = backend.download(few.sum(axis=1, dtype=xp.float64))
    start = KMeans(centres, metric, 0, False)
    model, _ = _lloyd(backend, few, start, np.zeros_like(total), few_total, 0)
    model = KMeans(model.centres, metric, 0, False)
    share = min(1.0, few.shape[1] / features.count)
    tolerance = TOLERANCE * features.count
    while model.iterations < MAX_ITERATIONS:
        width = float(xp.quantile(xp.abs(_margin(backend, few, model)), share))
        ones, band = _pass(features, model, width)
        if not 1 <= ones[-1] <= total[-1] - 1:
            return model  # a cluster emptied
        settled = ones - _sum_over(backend, band, _margin(backend, band, model) > 0)
        before = model.iterations
        model, changed = _lloyd(backend, band, model, settled, total, tolerance)
        reporter.status(f"k-means iteration {model.iterations}, {changed} labels changed")
        if model.iterations == before + 1 and model.converged:
            return model  # a fixed point already when all windows were asked
    return KMeans(model.centres, metric, model.iterations, converged=False)


def _plus_plus(
    x: np.ndarray, mean: np.ndarray, metric: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Two of the windows ``x``, (raw, windows), by k-means++ (Arthur & Vassilvitskii 2007)."""
    first = x[:, rng.integers(x.shape[1])]
    away = x - first[:, None]
    distance = np.maximum(((metric @ away) * away).sum(axis=0), 0)
    if not distance.any():  # all alike, unlike the mean over all windows
        return np.stack([first, mean])
    second = x[:, rng.choice(x.shape[1], p=distance / distance.sum())]
    return np.stack([first, second]).astype(np.float64)


def _lloyd(
    backend: Backend,
    x: Array,
    model: KMeans,
    settled: np.ndarray,
    total: np.ndarray,
    tolerance: float,
) -> tuple[KMeans, int]:
    """Lloyd's iterations over the windows ``x``, (raw + 1, m) float32 on the device.

    Args:
        model: to start from. Its iterations count.
        settled: (raw + 1,) sum of (x, 1) over windows of cluster 1 that are not in ``x``.
        total: (raw + 1,) sum of (x, 1) over all windows.
        tolerance: labels that may change in the last iteration.

    Returns:
        The model, and how many labels its last iteration changed.
    """
    label = _margin(backend, x, model) > 0
    changed = 0
    while model.iterations < MAX_ITERATIONS:
        ones = settled + _sum_over(backend, x, label)
        zeros = total - ones
        if min(ones[-1], zeros[-1]) < 1:
            return model, changed
        centres = np.stack([zeros[:-1] / zeros[-1], ones[:-1] / ones[-1]])
        model = KMeans(centres, model.metric, model.iterations + 1, converged=False)
        before, label = label, _margin(backend, x, model) > 0
        changed = int(backend.xp.count_nonzero(before != label))
        if changed <= tolerance:
            return KMeans(centres, model.metric, model.iterations, converged=True), changed
    return model, changed


def _margin(backend: Backend, x: Array, model: KMeans) -> Array:
    """plane . (x, 1) of each window, positive in cluster 1."""
    return backend.upload(model.plane.astype(np.float32)) @ x


def _sum_over(backend: Backend, x: Array, chosen: Array) -> np.ndarray:
    """Sum of (x, 1) over the ``chosen`` windows, (raw + 1,) float64."""
    return backend.download(x @ chosen.astype(x.dtype)).astype(np.float64)


def _pass(features: RawFeatures, model: KMeans, width: float) -> tuple[np.ndarray, Array]:
    """Over all windows: the sum of (x, 1) over cluster 1, and (x, 1) of the band, the windows
    where |plane . (x, 1)| <= ``width``, (raw + 1, m) float32 on the device."""
    backend, xp = features.backend, features.backend.xp
    decide = model.decision(backend)

    def collect(x: Array, _: Tile, scratch: Scratch) -> tuple[Array, Array]:
        margin = decide(x, scratch)
        ones = x @ (margin > 0).astype(x.dtype)
        return ones.astype(xp.float64), x[:, xp.flatnonzero(xp.abs(margin) <= width)]

    ones, band = xp.zeros(len(model.plane)), []
    for tile_ones, near in features.map(collect):
        ones += tile_ones
        band.append(near)
    return backend.download(ones), xp.concatenate(band, axis=1)
