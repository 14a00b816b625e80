"""k-means with two clusters.

Two centres divide space by a plane, so a clustering is one vector: label 1 where
plane . (x, 1) > 0. An iteration needs the sum over one cluster; the other follows from the total.
Nothing but raw features is needed: distances between reported features R x are those of x in the
metric R'R.

Few windows lie near the plane, and only those change sides when it moves a little. So a pass over
all windows also collects the nearest ones, the band; Lloyd's iterations then run on the band in
memory, until it settles. If the plane moves far, changes outside the band are estimated by a subset
of the windows. The next pass over all windows shows whether that was right, and at the end no
label changes in an iteration over all of them: a fixed point of Lloyd's algorithm, reached in a few
passes instead of about thirty.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from picket_gpu.console import SILENT, Reporter
from picket_gpu.device.operations import Array, Scratch
from picket_gpu.method.clustering.em import moments_of
from picket_gpu.method.clustering.lloyd import (
    MAX_ITERATIONS,
    KMeans,
    Moving,
    fit_in_memory,
    iterate,
    margin_of,
)
from picket_gpu.method.streams import RawFeatures, WhitenedFeatures

START_WINDOWS = 4096  # windows from which k-means++ draws two
TOLERANCE = 1e-6  # fraction of the labels that may change in the last iteration


def fit_kmeans(
    features: RawFeatures,
    subset: RawFeatures,
    reported: np.ndarray,
    total: np.ndarray,
    seed: int,
    reporter: Reporter = SILENT,
    whitened: WhitenedFeatures | None = None,
) -> KMeans:
    """Iterate from a k-means++ start to a fixed point of Lloyd's algorithm.

    Iterations run on a subset first: most of them are spent far from the fixed point.

    Args:
        features: raw features of all windows used for fitting.
        subset: those of a few windows; the band has about as many.
        reported: (d, raw) float64, R, from raw features to reported ones.
        total: (raw + 1,) sum of (x, 1) over ``features``.
        seed: seed of k-means++.
        reporter: shows each pass over all windows.
        whitened: whitened features of all windows, if a GMM follows: the last pass then computes
            `KMeans.inside`.
    """
    backend = features.backend
    few = subset.together()
    mean = total[:-1] / total[-1]
    some = backend.download(few[:-1, :: -(-few.shape[1] // START_WINDOWS)])
    metric = reported.T @ reported
    centres = _plus_plus(some, mean, metric, np.random.default_rng(seed))
    model = fit_in_memory(backend, few, KMeans(centres, metric, 0, converged=False))
    return _refine(features, few, replace(model, iterations=0), total, reporter, whitened)


def _refine(
    features: RawFeatures,
    few: Array,
    model: KMeans,
    total: np.ndarray,
    reporter: Reporter,
    whitened: WhitenedFeatures | None,
) -> KMeans:
    """Iterate over all windows, from ``model`` to a fixed point.

    Args:
        few: (raw + 1, m) float32 on the device, (x, 1) of an even sample of the windows.
    """
    backend, xp = features.backend, features.backend.xp
    tolerance = TOLERANCE * features.count
    most = few.shape[1] + few.shape[1] // 4  # windows of the band, at most
    fraction = min(1.0, few.shape[1] / features.count)
    estimate = True  # changes outside the band, after the first pass; they are few later
    back: KMeans | None = None  # the model before the estimate
    likely_last = False
    while model.iterations < MAX_ITERATIONS:
        margin = margin_of(backend, few, model)
        width = float(xp.quantile(xp.abs(margin), fraction))
        seen = _pass(features, model, width, most, whitened if likely_last else None)
        if not 1 <= seen.ones[-1] <= total[-1] - 1:  # a cluster emptied
            if back is None:
                break
            model, back = back, None
            continue
        # Gives the next band's width more precisely than the few windows of the subset in it.
        fraction = min(1.0, fraction * few.shape[1] / max(seen.near, 1))
        outside = xp.abs(margin) > width
        moving = [Moving(seen.band)]
        if estimate:
            moving.append(Moving(few, features.count / few.shape[1], outside))
        settled = seen.ones - sum(
            part.ones(backend, part.labels(backend, model)) for part in moving
        )
        last = model
        model, changed = iterate(backend, moving, last, settled, total, tolerance)
        if model.iterations == last.iterations:
            break  # a cluster emptied
        reporter.status(f"k-means iteration {model.iterations}, {changed} labels changed")
        now = margin_of(backend, few, model)
        whole = seen.near <= most
        if model.iterations == last.iterations + 1 and model.converged:
            # A fixed point of all windows, if none outside the band has changed. None has if the
            # band holds all windows that are near, and the plane moved by less than its width.
            # Else a pass counts the changes.
            still = whole and float(xp.abs(now - margin).max()) < width
            if still or _changes(features, last, model) <= tolerance:
                return replace(model, inside=seen.inside)
        likely_last = whole and not bool((outside & ((now > 0) != (margin > 0))).any())
        back, estimate = last if estimate else None, False
    return replace(model, converged=False)


def _plus_plus(
    x: np.ndarray, mean: np.ndarray, metric: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Draw two of the windows ``x``, (raw, windows), by k-means++ (Arthur & Vassilvitskii 2007)."""
    first = x[:, rng.integers(x.shape[1])]
    away = x - first[:, None]
    distance = np.maximum(((metric @ away) * away).sum(axis=0), 0)
    if not distance.any():  # all alike, unlike the mean over all windows
        return np.stack([first, mean])
    second = x[:, rng.choice(x.shape[1], p=distance / distance.sum())]
    return np.stack([first, second]).astype(np.float64)


def _changes(features: RawFeatures, last: KMeans, model: KMeans) -> int:
    """Count the labels of all windows that differ between two models."""
    backend = features.backend
    before, after = (m.decision(backend).of_features for m in (last, model))

    def count(x: Array, _: int, scratch: Scratch) -> Array:
        differ = (before(x, scratch) > 0) != (after(x, scratch) > 0)
        return differ.sum(dtype="int64")

    return int(sum(features.map(count)))


class _Pass(NamedTuple):
    """Results of a pass over all windows.

    Attributes:
        ones: (raw + 1,) float64, sum of (x, 1) over cluster 1.
        band: (raw + 1, m) float32 on the device, (x, 1) of windows near the plane.
        near: number of windows near the plane, including those that the band had no room for.
        inside: `KMeans.inside`; None without ``whitened``.
    """

    ones: np.ndarray
    band: Array
    near: int
    inside: np.ndarray | None


def _pass(
    features: RawFeatures,
    model: KMeans,
    width: float,
    most: int,
    whitened: WhitenedFeatures | None = None,
) -> _Pass:
    """Sum cluster 1 over all windows, and collect the band.

    Args:
        width: greatest |plane . (x, 1)| of the windows of the band.
        most: greatest number of windows of the band. It does not matter to the result which ones
            are left out, only to the number of passes.
        whitened: whitened features of the same windows.
    """
    backend, xp = features.backend, features.backend.xp
    decide = model.decision(backend).of_features
    near = backend.operations.near_places(most)

    def collect(x: Array, number: int, scratch: Scratch) -> tuple[Array, Array]:
        margin = decide(x, scratch)
        near.add(margin, width, number * features.tile_windows)
        chosen = margin > 0
        inside: Array = 0
        if whitened is not None:
            inside = moments_of(xp, whitened.of(x, number, scratch), chosen, scratch)
        return (x @ chosen.astype(x.dtype)).astype(xp.float64), inside

    ones: Array = 0
    inside: Array = 0
    for tile_ones, tile_inside in features.map(collect):
        ones, inside = ones + tile_ones, inside + tile_inside
    places = near.finish(backend.download)
    band = xp.empty((len(ones), 0), dtype="float32")
    if len(places):
        band = features.choose(places).together()
    inside = None if whitened is None else backend.download(inside)
    return _Pass(backend.download(ones), band, near.found, inside)
