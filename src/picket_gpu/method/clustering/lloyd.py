"""Lloyd's iterations over windows in memory."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from picket_gpu.device.backend import Backend
from picket_gpu.device.operations import Array
from picket_gpu.method.clustering.clusters import KMeans

MAX_ITERATIONS = 300


@dataclass(frozen=True)
class Moving:
    """Windows in memory that may change sides.

    Attributes:
        x: (raw + 1, m) float32 on the device.
        weight: how many windows each of them stands for.
        chosen: (m,) bool, which of them are meant; None for all.
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
    """Lloyd's iterations over the windows ``moving``.

    Args:
        model: to start from. Its iterations count.
        settled: (raw + 1,) sum of (x, 1) over cluster 1, less that over ``moving``.
        total: (raw + 1,) sum of (x, 1) over all windows.
        tolerance: labels that may change in the last iteration.

    Returns:
        The model, and how many labels its last iteration changed.
    """
    labels = [part.labels(backend, model) for part in moving]
    changed = 0
    while model.iterations < MAX_ITERATIONS:
        ones = settled + sum(
            part.ones(backend, label) for part, label in zip(moving, labels, strict=True)
        )
        zeros = total - ones
        if min(ones[-1], zeros[-1]) < 1:
            return model, changed
        centres = np.stack([zeros[:-1] / zeros[-1], ones[:-1] / ones[-1]])
        model = KMeans(centres, model.metric, model.iterations + 1, converged=False)
        before, labels = labels, [part.labels(backend, model) for part in moving]
        changed = sum(
            int(part.weight * (old != new).sum())
            for part, old, new in zip(moving, before, labels, strict=True)
        )
        if changed <= tolerance:
            return KMeans(centres, model.metric, model.iterations, converged=True), changed
    return model, changed


def margin_of(backend: Backend, x: Array, model: KMeans) -> Array:
    """plane . (x, 1) of each window, positive in cluster 1."""
    return backend.upload(model.plane.astype(np.float32)) @ x
