"""The steps of expectation maximisation for two Gaussian components with full covariances.

With two components the E-step is one quadratic form, the log-odds of component 1, and the M-step
one weighted sum of (z, 1)(z, 1)'; the other component's is the total minus it.
"""

from typing import Any, NamedTuple

import numpy as np

from picket_gpu.device.backend import Precision
from picket_gpu.device.operations import Array, Scratch
from picket_gpu.method.streams import WhitenedFeatures
from picket_gpu.method.whitening import NEGLIGIBLE, RIDGE

ROUNDING = 1e-6  # relative rounding error of a float32 sum


class TwoGaussians(NamedTuple):
    """The components of a GMM: two weighted Gaussian densities.

    Attributes:
        log_odds: (k + 1, k + 1) float64; (z, 1)' log_odds (z, 1) are a window's log-odds of
            component 1.
        precision: (k + 1, k + 1), of component 0, whose log weighted density is constant -
            0.5 (z, 1)' precision (z, 1).
        constant: see ``precision``.
    """

    log_odds: np.ndarray
    precision: np.ndarray
    constant: float

    @classmethod
    def undivided(cls, size: int) -> "TwoGaussians":
        """Every window in component 0, before the first E-step; (size, size) arrays."""
        log_odds = np.zeros((size, size))
        log_odds[-1, -1] = -1
        return cls(log_odds, np.zeros_like(log_odds), -np.inf)

    def bound(self, sums: "Sums", total: np.ndarray) -> float:
        """Mean over windows of the evidence lower bound (Neal & Hinton 1998), in z.

        With responsibilities from an E-step at these densities it is the log-likelihood.

        Args:
            sums: sums over all windows, at any responsibilities.
            total: sum of (z, 1)(z, 1)' over all windows.
        """
        count = float(total[-1, -1])
        gain = float((self.log_odds * sums.moments).sum()) + sums.entropy
        return self.constant - 0.5 * float((self.precision * total).sum()) / count + gain / count


class Sums(NamedTuple):
    """Sums over windows at their responsibilities r for component 1.

    Attributes:
        moments: sum of r (z, 1)(z, 1)', (k + 1, k + 1) float64.
        entropy: sum of the entropies of r, in nats.
    """

    moments: np.ndarray
    entropy: float

    def plus(self, other: "Sums") -> "Sums":
        """Sums over the windows of both."""
        return Sums(self.moments + other.moments, self.entropy + other.entropy)

    def minus(self, other: "Sums") -> "Sums":
        """Sums over the windows that are not in ``other``."""
        return Sums(self.moments - other.moments, self.entropy - other.entropy)

    def times(self, factor: float) -> "Sums":
        """Sums if each window stands for ``factor`` windows."""
        return Sums(factor * self.moments, factor * self.entropy)

    def exchanged(self, total: np.ndarray) -> "Sums":
        """Sums with the components exchanged; ``total`` is over the same windows."""
        return Sums(total - self.moments, self.entropy)

    def empties(self, count: float) -> bool:
        """Whether a component has less than one of ``count`` windows."""
        return not 1 <= self.moments[-1, -1] <= count - 1


def start_from_clusters(features: WhitenedFeatures, plane: np.ndarray) -> Sums:
    """Sums at responsibilities of 1 where plane . (z, 1) > 0, else 0."""
    backend, xp = features.backend, features.backend.xp
    side = backend.upload(plane.astype(np.float32))

    def moments(z: Array, scratch: Scratch) -> Array:
        return moments_of(xp, z, (z @ side) > 0, scratch)

    return Sums(backend.download(sum(features.map(moments))), 0.0)


def moments_of(xp: Any, z: Array, chosen: Array, scratch: Scratch) -> Array:
    """Sum of (z, 1)(z, 1)' over the ``chosen`` windows, (windows,) bool; float64 on the device."""
    ones = chosen.astype(z.dtype)[:, None]
    inside = xp.multiply(z, ones, out=scratch.array("product", z.shape))
    return (inside.T @ inside).astype(xp.float64)


def total_of(features: WhitenedFeatures) -> np.ndarray:
    """Sum of (z, 1)(z, 1)' over all windows of ``features``, (k + 1, k + 1) float64."""
    backend, xp = features.backend, features.backend.xp
    return backend.download(sum(features.map(lambda z, _: (z.T @ z).astype(xp.float64))))


def expect(
    features: WhitenedFeatures, gaussians: TwoGaussians, precision: Precision = "float32"
) -> Sums:
    """The E-step over all windows of ``features``."""
    backend, xp = features.backend, features.backend.xp
    form = backend.upload(gaussians.log_odds.astype(np.float32))

    def step(z: Array, scratch: Scratch) -> tuple[Array, Array]:
        # In this product only, since whitening needs all of float32.
        with backend.precision(precision):
            product = xp.matmul(z, form, out=scratch.array("product", z.shape))
            entropy = backend.operations.responsibilities(z, product, scratch)
            # With the root of r on both sides, BLAS can use the product's symmetry.
            moments = xp.matmul(product.T, product)
        return moments.astype(xp.float64), entropy.sum(dtype=xp.float64)

    moments, entropy = xp.zeros(gaussians.log_odds.shape), xp.zeros(())
    for tile_moments, tile_entropy in features.map(step):
        moments += tile_moments
        entropy = entropy + tile_entropy
    return Sums(backend.download(moments), float(entropy))


def maximise(moments: np.ndarray, total: np.ndarray, ridge: np.ndarray) -> TwoGaussians:
    """The M-step.

    Args:
        moments: sum of r (z, 1)(z, 1)' for component 1.
        total: sum of (z, 1)(z, 1)'.
        ridge: (k,) added to the diagonal of both covariances.
    """
    precision1, constant1 = _component(moments, total[-1, -1], ridge)
    precision0, constant0 = _component(total - moments, total[-1, -1], ridge)
    log_odds = 0.5 * (precision0 - precision1)
    log_odds[-1, -1] += constant1 - constant0
    return TwoGaussians(log_odds, precision0, constant0)


def exceeds(one: np.ndarray, total: np.ndarray) -> bool:
    """Whether to sum the other component in place of component 1, to lose fewer digits.

    The component that is not summed is a difference, and loses digits in the direction where the
    summed one is nearly the total. Only directions that matter beside the ridge count. The summed
    one must be larger by more than rounding errors; else components could be exchanged in every
    iteration, and EM would not settle.
    """
    whole = np.diag(total)
    matters = whole > NEGLIGIBLE / RIDGE * whole[-1]
    part = np.diag(one)[matters] / whole[matters]
    return bool(part.max() + part.min() > 1 + ROUNDING)


def _component(moments: np.ndarray, count: float, ridge: np.ndarray) -> tuple[np.ndarray, float]:
    """A component's log weighted density in z, constant - 0.5 (z, 1)' precision (z, 1).

    Args:
        moments: sum of r (z, 1)(z, 1)'.
        count: number of windows.
        ridge: (k,) added to the covariance's diagonal.
    """
    weight = moments[-1, -1]
    mean = moments[:-1, -1] / weight
    covariance = moments[:-1, :-1] / weight - np.outer(mean, mean)
    # In units of the ridge no eigenvalue of the sum is below 1, despite rounding.
    root = np.sqrt(ridge)
    variance, basis = np.linalg.eigh(covariance / np.outer(root, root))
    variance = np.maximum(variance, 0) + 1
    factor = basis / np.sqrt(variance) / root[:, None]
    factor = np.vstack([factor, -mean @ factor])
    log_determinant = float(np.log(variance).sum() + np.log(ridge).sum())
    constant = float(np.log(weight / count)) - 0.5 * (
        log_determinant + len(ridge) * float(np.log(2 * np.pi))
    )
    return factor @ factor.T, constant
