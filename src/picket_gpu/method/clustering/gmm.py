"""A Gaussian mixture model (GMM) with two full covariances."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from picket_gpu.console import SILENT, Reporter
from picket_gpu.device.backend import Backend, Precision
from picket_gpu.device.operations import Array, Scratch
from picket_gpu.method.clustering.em import (
    Sums,
    TwoGaussians,
    exceeds,
    maximise,
    start_from_clusters,
)
from picket_gpu.method.clustering.lloyd import KMeans
from picket_gpu.method.clustering.sampled_em import EM, Progress
from picket_gpu.method.labels import Decision
from picket_gpu.method.streams import WhitenedFeatures, affine
from picket_gpu.method.whitening import Whitening

TEMPERATURE = 32  # divides the log-odds of scores


@dataclass(frozen=True)
class GaussianMixture:
    """A fitted GMM.

    Attributes:
        whitening: gives the coordinates z of the fit.
        log_odds: (k + 1, k + 1) float64; (z, 1)' log_odds (z, 1) are a window's log-odds of
            component 1.
        log_likelihood: mean over windows at the last E-step, in reported features, less the dropped
            directions.
        iterations: EM iterations.
        converged: whether the mean log-likelihood changed by less than 1e-3 in the last one. False
            if a component emptied, which ends the fit.
    """

    whitening: Whitening
    log_odds: np.ndarray
    log_likelihood: float
    iterations: int
    converged: bool

    def decision(self, backend: Backend) -> Decision:
        """Decide by log-odds. The score is 1 / (1 + exp(-log-odds / TEMPERATURE)).

        In tens of dimensions nearly all posteriors are 0 or 1, so that their mean around a particle
        would say little more than the labels.
        """
        xp = backend.xp
        # In the eigenbasis log-odds are a sum of squares; turning z to it costs nothing.
        values, basis = np.linalg.eigh(self.log_odds)
        weights = backend.upload(values.astype(np.float32))
        matrix = backend.upload((self.whitening.matrix.T @ basis).astype(np.float32))

        def decide(x: Array, scratch: Scratch) -> Array:
            turned = affine(backend, x, matrix, scratch)
            return backend.operations.sums_of_squares(turned, weights, scratch)

        def tempered(_: Array, odds: Array, __: Scratch) -> Array:
            decay = xp.exp(-xp.abs(odds) / TEMPERATURE)
            return xp.where(odds > 0, 1, decay) / (1 + decay)

        return Decision(decide, tempered)


def fit_gmm(
    features: WhitenedFeatures,
    whitening: Whitening,
    start: KMeans,
    samples: Sequence[WhitenedFeatures] = (),
    reporter: Reporter = SILENT,
    precision: Precision = "float32",
) -> GaussianMixture:
    """Expectation maximisation from the clusters of ``start``.

    Args:
        features: whitened features of all windows used for fitting.
        whitening: the whitening of ``features``.
        start: clusters whose labels are the first responsibilities.
        samples: features of samples of the windows: a small one, and a larger one for clusters that
            are not clear. Without samples, every iteration sees all windows.
        reporter: shows each iteration.
        precision: precision of the products of an iteration, if the device has more than one.
            Features and final labels come from float32 products in any case.
    """
    em = EM(features, whitening, reporter, precision)
    plane = whitening.plane(start.centres)
    known = start.inside
    sums = start_from_clusters(features, plane) if known is None else Sums(known, 0.0)
    if exceeds(sums.moments, whitening.total):
        sums, plane = sums.exchanged(whitening.total), -plane
    undivided = TwoGaussians.undivided(len(whitening.total))
    at = Progress(undivided, sums, bound=-np.inf, iterations=0, settled=False)
    at = em.with_samples(at, samples, plane) if samples else em.on_all(at)
    gaussians = at.gaussians  # of the last E-step, where a component emptied
    if not at.sums.empties(features.count):
        gaussians = maximise(at.sums.moments, whitening.total, whitening.ridge)
    log_odds = gaussians.log_odds
    return GaussianMixture(whitening, log_odds, at.bound, at.iterations, at.settled)
