"""A Gaussian mixture with two full covariances.

With two components the E-step is one quadratic form, the log-odds of component 1, and the M-step
one weighted sum of (z, 1)(z, 1)'; the other component's is the total minus it. Which component is
called 1, and summed, is decided anew in each iteration, so that the difference does not cancel.
"""

from dataclasses import dataclass

import numpy as np

from picket_gpu.console import SILENT, Reporter
from picket_gpu.device.backend import Backend, Precision
from picket_gpu.device.operations import Array, Scratch
from picket_gpu.method.clustering.kmeans import KMeans
from picket_gpu.method.labels import Decision
from picket_gpu.method.streams import WhitenedFeatures, whitened
from picket_gpu.method.whitening import NEGLIGIBLE, RIDGE, Whitening

MAX_ITERATIONS = 100
ROUNDING = 1e-6  # share of a float32 sum that says nothing
TOLERANCE = 1e-3  # change of the mean log-likelihood at which EM stops


@dataclass(frozen=True)
class GaussianMixture:
    """A fitted mixture.

    Attributes:
        whitening: its z are those of the fit.
        log_odds: (k + 1, k + 1) float64; (z, 1)' log_odds (z, 1) are a window's log-odds of
            component 1.
        log_likelihood: mean over windows at the last E-step, in reported features, less the dropped
            directions.
        iterations: EM iterations.
        converged: whether the mean log-likelihood changed by less than 1e-3 in the last one. False
            also where a component emptied, which ends the fit.
    """

    whitening: Whitening
    log_odds: np.ndarray
    log_likelihood: float
    iterations: int
    converged: bool

    def decision(self, backend: Backend) -> Decision:
        """By log-odds. The score is the posterior of component 1."""
        xp = backend.xp
        matrix = backend.upload(self.whitening.matrix.T.astype(np.float32))
        log_odds = backend.upload(self.log_odds.astype(np.float32))

        def decide(x: Array, scratch: Scratch) -> Array:
            z = whitened(backend, x, matrix, scratch)
            product = xp.matmul(z, log_odds, out=scratch.array("product", z.shape))
            return backend.operations.row_dots(z, product, scratch)

        def posterior(_: Array, odds: Array, __: Scratch) -> Array:
            decay = xp.exp(-xp.abs(odds))
            return xp.where(odds > 0, 1, decay) / (1 + decay)

        return Decision(decide, posterior)


def fit_gmm(
    features: WhitenedFeatures,
    whitening: Whitening,
    start: KMeans,
    reporter: Reporter = SILENT,
    precision: Precision = "float32",
) -> GaussianMixture:
    """Expectation maximisation from the clusters of ``start``.

    Args:
        features: of all windows used for fitting.
        whitening: that of the features.
        start: its labels are the first responsibilities.
        reporter: is told of each iteration.
        precision: of the products of an iteration, where the device offers more than one. The
            features, and the labels in the end, come from float32 products in any case.
    """
    part = _cluster_moments(features, whitening.plane(start.centres))
    log_odds = np.zeros(part.shape)
    log_odds[-1, -1] = -1  # all background, should a component be empty from the start
    likelihood, iteration, converged = -np.inf, 0, False
    while iteration < MAX_ITERATIONS and not converged and not _empty(part, features.count):
        log_odds, base = _maximise(part, whitening)
        part, gain = _expect(features, log_odds, precision)
        previous = likelihood
        likelihood = base + gain / features.count + whitening.log_jacobian
        converged = abs(likelihood - previous) < TOLERANCE
        iteration += 1
        reporter.status(f"mixture iteration {iteration}, log-likelihood {likelihood:.4f}")
    if not _empty(part, features.count):
        log_odds, _ = _maximise(part, whitening)
    return GaussianMixture(whitening, log_odds, likelihood, iteration, converged)


def _empty(part: np.ndarray, count: int) -> bool:
    """Whether a component holds less than one window."""
    return not 1 <= part[-1, -1] <= count - 1


def _cluster_moments(features: WhitenedFeatures, plane: np.ndarray) -> np.ndarray:
    """Sum of (z, 1)(z, 1)' over the windows where plane . (z, 1) > 0."""
    backend, xp = features.backend, features.backend.xp
    side = backend.upload(plane.astype(np.float32))

    def moments(z: Array, scratch: Scratch) -> Array:
        chosen = ((z @ side) > 0).astype(z.dtype)
        inside = xp.multiply(z, chosen[:, None], out=scratch.array("product", z.shape))
        return (inside.T @ inside).astype(xp.float64)

    return backend.download(sum(features.map(moments)))


def _expect(
    features: WhitenedFeatures, log_odds: np.ndarray, precision: Precision = "float32"
) -> tuple[np.ndarray, float]:
    """Sums over windows of r (z, 1)(z, 1)', r the responsibility of component 1, and of
    log(p / p0), p the density and p0 component 0's share of it.

    log(p / p0) is r log-odds plus the entropy of r. The sum of the first part is taken from the
    moments in float64: rounded log-odds can be as far off as the stopping rule is fine.
    """
    backend, xp = features.backend, features.backend.xp
    form = backend.upload(log_odds.astype(np.float32))

    def expect(z: Array, scratch: Scratch) -> tuple[Array, Array]:
        # Here only: whitening needs all of float32.
        with backend.precision(precision):
            product = xp.matmul(z, form, out=scratch.array("product", z.shape))
            entropy = backend.operations.responsibilities(z, product, scratch)
            # The root on both sides lets BLAS use the product's symmetry.
            moments = xp.matmul(product.T, product)
        return moments.astype(xp.float64), entropy.sum(dtype=xp.float64)

    moments, entropy = xp.zeros(log_odds.shape), xp.zeros(())
    for tile_moments, tile_entropy in features.map(expect):
        moments += tile_moments
        entropy = entropy + tile_entropy
    moments = backend.download(moments)
    return moments, float((log_odds * moments).sum()) + float(entropy)


def _maximise(part: np.ndarray, whitening: Whitening) -> tuple[np.ndarray, float]:
    """Log-odds of component 1, and the mean log weighted density of component 0.

    Args:
        part: sum of r (z, 1)(z, 1)' for one of the components, which need not remain component 1.
    """
    total = whitening.total
    one, zero = part, total - part
    if _exceeds(one, total):
        one, zero = zero, one
    precision1, constant1 = _component(one, total[-1, -1], whitening.ridge)
    precision0, constant0 = _component(zero, total[-1, -1], whitening.ridge)
    log_odds = 0.5 * (precision0 - precision1)
    log_odds[-1, -1] += constant1 - constant0
    return log_odds, constant0 - 0.5 * float((precision0 * total).sum()) / float(total[-1, -1])


def _exceeds(one: np.ndarray, total: np.ndarray) -> bool:
    """Whether rounding of the summed component spoils the other more than the other's would it.

    It does most in the direction where a component is largest beside the other. Only directions
    that matter beside the ridge are asked, and it must be larger by more than rounding is: else the
    two would be exchanged in every iteration, and EM never settle.
    """
    whole = np.diag(total)
    matters = whole > NEGLIGIBLE / RIDGE * whole[-1]
    share = np.diag(one)[matters] / whole[matters]
    return bool(share.max() + share.min() > 1 + ROUNDING)


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
    # In units of the ridge no eigenvalue of the sum is below 1, whatever rounding did.
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
