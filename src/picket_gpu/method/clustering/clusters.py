"""Two clusters by k-means: a plane halfway between two centres."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from picket_gpu.device.backend import Backend
from picket_gpu.device.operations import Array, Scratch
from picket_gpu.method.labels import Decision
from picket_gpu.method.streams import affine


@dataclass(frozen=True)
class KMeans:
    """Two fitted clusters.

    Attributes:
        centres: (2, raw) float64, raw features.
        metric: (raw, raw) float64, R'R.
        iterations: Lloyd iterations, of the band or of all windows.
        converged: whether at most one label in a million changed in the last one.
        inside: (k + 1, k + 1) float64, sum over cluster 1 of (z, 1)(z, 1)', for a mixture to start
            from. None where it was not asked for, or did not come with the last pass.
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

    def decision(self, backend: Backend) -> Decision:
        """By the side of the plane. The score is d0 / (d0 + d1), distances to the two centres."""
        xp = backend.xp
        plane = backend.upload(self.plane.astype(np.float32))
        # When first wanted: each pass of the fit makes a decision, and only labelling scores it.
        from_middle = cache(lambda: backend.upload(self._from_middle.T.astype(np.float32)))
        ones = cache(lambda: xp.ones(from_middle().shape[1], dtype="float32"))
        away = self.centres[1] - self.centres[0]
        quarter = float(away @ self.metric @ away) / 4

        def relative_distance(x: Array, margin: Array, scratch: Scratch) -> Array:
            # d0^2 and d1^2 are the mean of the two plus and minus the margin, and that mean is the
            # squared distance to the point between the centres plus (distance of centres / 2)^2.
            y = affine(backend, x, from_middle(), scratch)
            mean = backend.operations.sums_of_squares(y, ones(), scratch) + quarter
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
