"""Two clusters by k-means, and Lloyd's iterations over windows in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from picket_gpu.device.backend import Backend
from picket_gpu.device.operations import Array, Scratch
from picket_gpu.method.labels import Decision
from picket_gpu.method.streams import affine

MAX_ITERATIONS = 300


@dataclass(frozen=True)
class KMeans:
    """Two fitted clusters.

    Attributes:
        centres: (2, raw) float64, raw features.
        metric: (raw, raw) float64, R'R.
        iterations: Lloyd iterations, over the band or over all windows.
        converged: whether at most one label in a million changed in the last one.
        inside: (k + 1, k + 1) float64, sum over cluster 1 of (z, 1)(z, 1)', from which a GMM can
            start; None if the last pass did not compute it.
    """

    centres: np.ndarray
    metric: np.ndarray
    iterations: int
    converged: bool
    inside: np.ndarray | None = None

    @property
    def plane(self) -> np.ndarray:
        """(raw + 1,); a window belongs to cluster 1 where plane . (x, 1) > 0."""
        normal = self.metric @ (self.centres[1] - self.centres[0])
        return np.append(normal, -0.5 * normal @ self.centres.sum(axis=0))

    @property
    def from_middle(self) -> np.ndarray:
        """(m, raw + 1), from (x, 1) to coordinates whose distances are those of the metric, with
        the point between the centres as origin."""
        squares, basis = np.linalg.eigh(self.metric)
        kept = squares > squares[-1] * np.finfo(np.float32).eps ** 2
        root = np.sqrt(squares[kept])[:, None] * basis[:, kept].T
        return np.hstack([root, -root @ self.centres.mean(axis=0)[:, None]])

    def decision(self, backend: Backend) -> Decision:
        """Decide by the side of the plane. The score is d0 / (d0 + d1), from the distances to the
        two centres."""
        xp = backend.xp
        plane = backend.upload(self.plane.astype(np.float32))
        # Made when first used: each pass of the fit makes a decision, only labelling scores it.
        from_middle = cache(lambda: backend.upload(self.from_middle.T.astype(np.float32)))
        ones = cache(lambda: xp.ones(from_middle().shape[1], dtype="float32"))
        away = self.centres[1] - self.centres[0]
        quarter = float(away @ self.metric @ away) / 4

        def relative_distance(x: Array, margin: Array, scratch: Scratch) -> Array:
            # d0^2 and d1^2 are their mean plus and minus the margin, and the mean is the squared
            # distance to the point between the centres plus (distance of the centres / 2)^2.
            y = affine(backend, x, from_middle(), scratch)
            mean = backend.operations.sums_of_squares(y, ones(), scratch) + quarter
            d0 = xp.sqrt(xp.maximum(mean + margin, 0))
            d1 = xp.sqrt(xp.maximum(mean - margin, 0))
            return d0 / (d0 + d1)

        return Decision(lambda x, _: plane @ x, relative_distance, self.plane)


@dataclass(frozen=True)
class Moving:
    """Windows in memory that may change sides.

    Attributes:
        x: (raw + 1, m) float32 on the device.
        weight: number of windows that each of them stands for.
        chosen: (m,) bool, the ones that count; None for all.
    """

    x: Array
    weight: float = 1.0
    chosen: Array | None = None

    def labels(self, backend: Backend, model: KMeans) -> Array:
        """(m,) bool, which are in cluster 1."""
        label = margin_of(backend, self.x, model) > 0
        return label if self.chosen is None else label & self.chosen

    def ones(self, backend: Backend, label: Array) -> np.ndarray:
        """Sum of (x, 1) over those with ``label``, (raw + 1,) float64."""
        total = backend.download(self.x @ label.astype(self.x.dtype)).astype(np.float64)
        return self.weight * total


def iterate(
    backend: Backend,
    moving: Sequence[Moving],
    model: KMeans,
    settled: np.ndarray,
    total: np.ndarray,
    tolerance: float,
) -> tuple[KMeans, int]:
    """Iterate over the windows ``moving``, while all others stay where they are.

    Args:
        model: start; its iterations count.
        settled: (raw + 1,) sum of (x, 1) over cluster 1, less that over ``moving``.
        total: (raw + 1,) sum of (x, 1) over all windows.
        tolerance: number of labels that may change in the last iteration.

    Returns:
        The model, and the number of labels that its last iteration changed.
    """
    labels = [part.labels(backend, model) for part in moving]
    changed = 0
    while model.iterations < MAX_ITERATIONS:
        ones = settled + sum(
            part.ones(backend, label) for part, label in zip(moving, labels, strict=True)
        )
        centres = _centres(ones, total)
        if centres is None:
            return model, changed
        model = KMeans(centres, model.metric, model.iterations + 1, converged=False)
        before, labels = labels, [part.labels(backend, model) for part in moving]
        changed = sum(
            int(part.weight * (old != new).sum())
            for part, old, new in zip(moving, before, labels, strict=True)
        )
        if changed <= tolerance:
            return KMeans(centres, model.metric, model.iterations, converged=True), changed
    return model, changed


def fit_in_memory(backend: Backend, x: Array, start: KMeans) -> KMeans:
    """Iterate over windows in memory until they settle, by cuML where the backend uses it.

    cuML settles by a rule of its own, so a fit goes on from there.

    Args:
        x: (raw + 1, m) float32 on the device, (x, 1) of each window.
        start: two of the windows as centres.

    Returns:
        Clusters of these windows; ``start`` if one would be empty.
    """
    windows = Moving(x)
    total = backend.download(x.sum(axis=1, dtype=backend.xp.float64))
    if backend.lloyd is None:
        model, _ = iterate(backend, [windows], start, np.zeros_like(total), total, tolerance=0)
        return model
    centres = start.from_middle @ np.vstack([start.centres.T, np.ones(2)])
    label = backend.lloyd(
        x.T @ backend.upload(start.from_middle.T.astype(np.float32)),
        backend.upload(centres.T.astype(np.float32)),
        MAX_ITERATIONS,
    )
    found = _centres(windows.ones(backend, label), total)
    return start if found is None else KMeans(found, start.metric, 0, converged=False)


def margin_of(backend: Backend, x: Array, model: KMeans) -> Array:
    """plane . (x, 1) of each window, positive in cluster 1."""
    return backend.upload(model.plane.astype(np.float32)) @ x


def _centres(ones: np.ndarray, total: np.ndarray) -> np.ndarray | None:
    """Means of both clusters, (2, raw), from the sums of (x, 1) over cluster 1 and over all
    windows; None if a cluster is empty."""
    zeros = total - ones
    if min(ones[-1], zeros[-1]) < 1:
        return None
    return np.stack([zeros[:-1] / zeros[-1], ones[:-1] / ones[-1]])
