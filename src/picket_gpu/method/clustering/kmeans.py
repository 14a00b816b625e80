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

from dataclasses import dataclass
from functools import cache

import numpy as np

from picket_gpu.console import SILENT, Reporter
from picket_gpu.device.backend import Backend, Lloyd
from picket_gpu.device.operations import Array, Scratch
from picket_gpu.method.clustering.library import centres_by_library
from picket_gpu.method.labels import Decision
from picket_gpu.method.streams import RawFeatures, whitened

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

    def decision(self, backend: Backend) -> Decision:
        """By the side of the plane. The score is d0 / (d0 + d1), distances to the two centres."""
        xp = backend.xp
        plane = backend.upload(self.plane.astype(np.float32))
        # When first wanted: each pass of the fit makes a decision, and only labelling scores it.
        from_middle = cache(lambda: backend.upload(self._from_middle.T.astype(np.float32)))
        away = self.centres[1] - self.centres[0]
        quarter = float(away @ self.metric @ away) / 4

        def relative_distance(x: Array, margin: Array, scratch: Scratch) -> Array:
            # d0^2 and d1^2 are the mean of the two plus and minus the margin, and that mean is the
            # squared distance to the point between the centres plus (distance of centres / 2)^2.
            y = whitened(backend, x, from_middle(), scratch)
            mean = backend.operations.row_dots(y, y, scratch) + quarter
            d0 = xp.sqrt(xp.maximum(mean + margin, 0))
            d1 = xp.sqrt(xp.maximum(mean - margin, 0))
            return d0 / (d0 + d1)

        return Decision(lambda x, _: plane @ x, relative_distance, self.plane)

    @property
    def _from_middle(self) -> np.ndarray:
        """(m, raw + 1), from (x, 1) to coordinates whose squares sum to the squared distance from
        the point between the centres."""
        squares, basis = np.linalg.eigh(self.metric)
        kept = squares > squares[-1] * np.finfo(np.float32).eps ** 2
        root = np.sqrt(squares[kept])[:, None] * basis[:, kept].T
        return np.hstack([root, -root @ self.centres.mean(axis=0)[:, None]])


def fit_kmeans(
    features: RawFeatures,
    subset: RawFeatures,
    reported: np.ndarray,
    total: np.ndarray,
    seed: int,
    reporter: Reporter = SILENT,
    lloyd: Lloyd | None = None,
) -> KMeans:
    """Lloyd's algorithm to its fixed point, from a k-means++ start.

    It runs on a subset first: the fixed point is the same, and most iterations are
    spent far from it.

    Args:
        features: of all windows used for fitting.
        subset: of few of them. As many windows make the band.
        reported: (d, raw) float64, R, from raw features to reported ones.
        total: (raw + 1,) sum of (x, 1) over ``features``.
        seed: of k-means++.
        reporter: is told of each pass over all windows.
        lloyd: k-means of a library, to do the work of the subset on the matrix of all windows.
            It starts from the same centres, and its end is checked and refined in the same way.
    """
    backend, xp = features.backend, features.backend.xp
    metric = reported.T @ reported
    few = subset.together()
    mean = total[:-1] / total[-1]
    some = backend.download(few[:-1, :: -(-few.shape[1] // START_WINDOWS)])
    centres = _plus_plus(some, mean, metric, np.random.default_rng(seed))
    start = KMeans(centres, metric, 0, False)
    if lloyd is None:
        few_total = backend.download(few.sum(axis=1, dtype=xp.float64))
        model, _ = _lloyd(backend, few, start, np.zeros_like(total), few_total, 0)
    else:
        reporter.status("k-means by cuML")
        centres = centres_by_library(lloyd, features, centres, reported, total, MAX_ITERATIONS)
        model = KMeans(centres, metric, 0, False)
    model = KMeans(model.centres, metric, 0, False)
    share = min(1.0, few.shape[1] / features.count)
    tolerance = TOLERANCE * features.count
    while model.iterations < MAX_ITERATIONS:
        width = float(xp.quantile(xp.abs(_margin(backend, few, model)), share))
        ones, band = _pass(features, model, width, _capacity(few))
        if not 1 <= ones[-1] <= total[-1] - 1:
            break  # a cluster emptied
        settled = ones - _sum_over(backend, band, _margin(backend, band, model) > 0)
        last = model
        model, changed = _lloyd(backend, band, last, settled, total, tolerance)
        if model.iterations == last.iterations:
            break  # a cluster emptied
        reporter.status(f"k-means iteration {model.iterations}, {changed} labels changed")
        if model.iterations == last.iterations + 1 and model.converged:
            # A fixed point already when all windows were asked, if none outside of the band has
            # changed since: none if the band has all that are near, and the plane moved by less
            # than its width. Else they are asked.
            moved = float(xp.abs(_margin(backend, few, model) - _margin(backend, few, last)).max())
            whole = band.shape[1] < _capacity(few)
            if (whole and moved < width) or _changes(features, last, model) <= tolerance:
                return model
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


def _capacity(few: Array) -> int:
    """Windows of the band, at most, by those of the subset, whose margins estimate its width."""
    return int(few.shape[1] + few.shape[1] // 4)


def _changes(features: RawFeatures, last: KMeans, model: KMeans) -> int:
    """How many labels of all windows differ between two models."""
    backend = features.backend
    before, after = (m.decision(backend).of_features for m in (last, model))

    def count(x: Array, _: int, scratch: Scratch) -> Array:
        differ = (before(x, scratch) > 0) != (after(x, scratch) > 0)
        return differ.sum(dtype="int64")

    return int(sum(features.map(count)))


def _pass(
    features: RawFeatures, model: KMeans, width: float, most: int
) -> tuple[np.ndarray, Array]:
    """Over all windows: the sum of (x, 1) over cluster 1, and (x, 1) of the band, windows where
    |plane . (x, 1)| <= ``width``, at most ``most`` of them, (raw + 1, m) float32 on the device.

    Which windows the band leaves out does not matter to what is true of it, only to how soon all
    is settled.
    """
    backend, xp = features.backend, features.backend.xp
    decide = model.decision(backend).of_features
    near = backend.operations.near_places(most)

    def collect(x: Array, number: int, scratch: Scratch) -> Array:
        margin = decide(x, scratch)
        near.add(margin, width, number * features.tile_windows)
        return (x @ (margin > 0).astype(x.dtype)).astype(xp.float64)

    ones = backend.download(sum(features.map(collect)))
    places = near.finish(backend.download)
    if len(places) == 0:
        return ones, xp.empty((len(ones), 0), dtype="float32")
    return ones, features.choose(places).together()
