"""Whitening: coordinates of raw features in which float32 is enough.

Raw features have variances up to 13 beside 1e-12, with a ridge of 1e-6: a float32 Cholesky factor
of their covariance breaks down. In the eigenbasis of the total covariance, scaled to unit variance,
the two clusters' moments are near one. Directions whose variance is far below the ridge are left
out, since both components have the ridge's variance there.
"""

from dataclasses import dataclass

import numpy as np

from picket_gpu.errors import PicketError
from picket_gpu.method.feature_mode import FeatureMode

RIDGE = 1e-6  # added to the diagonal of both covariances, in reported features
NEGLIGIBLE = 1e-9  # variance below which a direction is dropped, a thousandth of the ridge
# Total variance up to which windows differ by float32 rounding only, as a fraction of the mean
# square of their features, or of the squared range of the voxels if features are near 0.
ALIKE = 1e-13


@dataclass(frozen=True)
class Whitening:
    """An affine map of raw features x to coordinates z.

    z = (reported features - mean) rotated and divided by sqrt(``scale``), with a 1 appended, so
    that an affine function of z is a vector and a quadratic one a symmetric matrix.

    Attributes:
        matrix: (k + 1, raw + 1) float64, from (raw features, 1) to (z, 1).
        scale: (k,) variance plus ridge of each direction. The squared distance between two windows'
            reported features is the sum of scale * (difference in z)^2.
        total: (k + 1, k + 1), sum of (z, 1)(z, 1)' over the windows used for fitting.
        num_features: number of reported features, d.
    """

    matrix: np.ndarray
    scale: np.ndarray
    total: np.ndarray
    num_features: int

    @property
    def size(self) -> int:
        """Number of coordinates of a window, the appended 1 included."""
        return len(self.matrix)

    @property
    def ridge(self) -> np.ndarray:
        """The ridge in z, (k,)."""
        return RIDGE / self.scale

    def plane(self, centres: np.ndarray) -> np.ndarray:
        """The plane halfway between two windows, (2, raw) raw features, as (k + 1,) for (z, 1).

        Halfway by the distances of reported features, less the dropped directions.
        """
        z0, z1 = centres @ self.matrix[:-1, :-1].T + self.matrix[:-1, -1]
        normal = self.scale * (z1 - z0)
        return np.append(normal, -0.5 * normal @ (z0 + z1))

    @property
    def log_jacobian(self) -> float:
        """log |dz/d(reported)| over the kept directions."""
        return -0.5 * float(np.log(self.scale).sum())


def covariance_of(moments: np.ndarray) -> np.ndarray:
    """Covariance from the sum of (x, 1)(x, 1)', (raw + 1, raw + 1) -> (raw, raw) float64."""
    mean = moments[:-1, -1] / moments[-1, -1]
    covariance: np.ndarray = moments[:-1, :-1] / moments[-1, -1] - np.outer(mean, mean)
    return covariance


def whiten(moments: np.ndarray, reported_from_raw: np.ndarray, num_features: int) -> Whitening:
    """The whitening for raw features with these moments.

    Args:
        moments: sum of (x, 1)(x, 1)' over the windows used for fitting, (raw + 1, raw + 1) float64.
        reported_from_raw: (m, raw).
        num_features: number of reported features, d.
    """
    mean = moments[:-1, -1] / moments[-1, -1]
    covariance = reported_from_raw @ covariance_of(moments) @ reported_from_raw.T
    variance, basis = np.linalg.eigh(covariance)
    needed = int((variance > NEGLIGIBLE).sum())
    # Filled up to a multiple of 8 with the appended 1, since matrix products then run faster, by
    # directions that exist in place of zeros.
    kept = min(-(-(needed + 1) // 8) * 8 - 1, len(variance))
    variance, basis = variance[::-1][:kept], basis[:, ::-1][:, :kept]
    scale = np.maximum(variance, 0) + RIDGE
    matrix = np.zeros((kept + 1, len(moments)))
    matrix[:-1, :-1] = (basis / np.sqrt(scale)).T @ reported_from_raw
    matrix[:-1, -1] = -matrix[:-1, :-1] @ mean
    matrix[-1, -1] = 1
    total = matrix @ moments @ matrix.T
    return Whitening(matrix, scale, total, num_features)


def scale_features(
    mode: FeatureMode, total: np.ndarray, side: int, name: str
) -> tuple[np.ndarray, Whitening]:
    """Choose the matrix from raw to reported features, and their whitening, by the raw moments.

    Args:
        total: sum of (x, 1)(x, 1)' over the windows used for fitting, (raw + 1, raw + 1) float64.
        side: window side in voxels.
        name: name of the volume in errors.

    Raises:
        PicketError: the windows are all alike.
    """
    covariance = covariance_of(total)
    mean_square = np.trace(total[:-1, :-1]) / total[-1, -1]
    if not np.trace(covariance) > ALIKE * max(mean_square, 1):
        raise PicketError(
            f"{name}: all neighborhoods used for fitting are identical, as in padding; change "
            "the z-slice limits or the mask"
        )
    reported = mode.reported_from_raw(covariance, side)
    return reported, whiten(total, reported, mode.num_features(side))
