"""A Gaussian mixture with two full covariances, by expectation maximisation in a few passes.

EM needs some ten to twenty-five iterations. Here most of them see a sample of the windows, which is
kept in memory, and a pass over all windows is made every few iterations only. In between, sums over
all windows are estimated by those of the last pass plus what the sample's have changed since then
(a control variate; Chen et al. 2018, Stochastic EM with variance reduction): the sample's error is
that of the change, not of the sums.

The next pass tells by how much the estimate was off at its end. The iterations since the last one
are then repeated, corrected by that in proportion to how far they have gone, at no further pass;
so the path, and where it ends, are those of EM on all windows but for errors of second order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from picket_gpu.console import SILENT, Reporter
from picket_gpu.device.backend import Backend, Precision
from picket_gpu.device.operations import Array, Scratch
from picket_gpu.method.clustering.clusters import KMeans
from picket_gpu.method.clustering.em import (
    Components,
    Sums,
    exceeds,
    expect,
    maximise,
    start_from_clusters,
    total_of,
)
from picket_gpu.method.labels import Decision
from picket_gpu.method.streams import WhitenedFeatures, affine
from picket_gpu.method.whitening import Whitening

MAX_ITERATIONS = 100
TOLERANCE = 1e-3  # change of the mean log-likelihood at which EM stops
# Iterations from one pass over all windows to the next, at first and at most: few at first, as
# those change most and what goes wrong there grows.
FIRST_STEPS, MOST_STEPS = 2, 8
CLEAR = 0.035  # mean entropy of the responsibilities, in nats, below which a small sample will do
MOST_DRIFT = 0.2  # mean log-likelihood by which a sample may err from one pass to the next
TEMPERATURE = 32  # of scores
BEYOND = 2  # iterations after a pass for which what it corrected still holds


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
        """By log-odds. The score is 1 / (1 + exp(-log-odds / TEMPERATURE)).

        In tens of dimensions posteriors are nearly all 0 or 1: the mean of them around a particle
        tells little more than labels do.
        """
        xp = backend.xp
        # In the eigenbasis log-odds are a sum of squares, and to turn to it costs nothing.
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
        features: of all windows used for fitting.
        whitening: that of the features.
        start: its labels are the first responsibilities.
        samples: of the windows, drawn evenly: few, and more of them for where clusters are not
            clear. Without any, every iteration sees all windows.
        reporter: is told of each iteration.
        precision: of the products of an iteration, where the device offers more than one. The
            features, and the labels in the end, come from float32 products in any case.
    """
    em = _EM(features, whitening, reporter, precision)
    plane = whitening.plane(start.centres)
    known = start.inside
    sums = start_from_clusters(features, plane) if known is None else Sums(known, 0.0)
    if exceeds(sums.moments, whitening.total):
        sums, plane = sums.exchanged(whitening.total), -plane
    at = _Progress(None, sums, -np.inf, 0, False)
    at = em.with_samples(at, samples, plane) if samples else em.on_all(at)
    if not at.sums.empties(features.count):
        log_odds = maximise(at.sums.moments, whitening.total, whitening.ridge).log_odds
    elif at.components is not None:
        log_odds = at.components.log_odds
    else:  # a component was empty from the start
        log_odds = np.zeros_like(whitening.total)
        log_odds[-1, -1] = -1
    return GaussianMixture(whitening, log_odds, at.bound, at.iterations, at.settled)


class _Progress(NamedTuple):
    """Where EM is.

    Attributes:
        components: of the last E-step; None before the first.
        sums: of that E-step.
        bound: mean log-likelihood at the components.
        settled: whether the last iteration changed it by less than the tolerance.
    """

    components: Components | None
    sums: Sums
    bound: float
    iterations: int
    settled: bool


@dataclass(frozen=True)
class _Estimate:
    """Sums over all windows, estimated by those of a sample.

    Attributes:
        sample: some of the windows.
        precision: of its products.
        weight: how many windows one of them stands for.
        known: sums over all windows at some components.
        of_sample: those over the sample at the same ones.
        drift: by how much the estimate was off at the end of ``change``, once that is known.
        change: of the moments, from the known ones to where the drift was found.
        made: sums over the sample by the components' log-odds, for those that come again.
    """

    sample: WhitenedFeatures
    precision: Precision
    weight: float
    known: Sums
    of_sample: Sums
    drift: Sums | None = None
    change: np.ndarray | None = None
    made: dict[bytes, Sums] = field(default_factory=dict)

    def over_sample(self, components: Components) -> Sums:
        """The E-step at ``components`` over the sample."""
        key = components.log_odds.tobytes()
        if key not in self.made:
            self.made[key] = expect(self.sample, components, self.precision)
        return self.made[key]

    def at(self, components: Components) -> Sums:
        """The E-step at ``components``."""
        moved = self.over_sample(components).minus(self.of_sample).times(self.weight)
        if self.drift is not None and self.change is not None:
            length = float((self.change**2).sum())  # 0 where no responsibility has changed
            way = float((moved.moments * self.change).sum()) / length if length else 0.0
            moved = moved.plus(self.drift.times(min(max(way, 0.0), 1.5)))
        return self.known.plus(moved)


@dataclass(frozen=True)
class _EM:
    """EM on all windows, or with a sample in between."""

    features: WhitenedFeatures
    whitening: Whitening
    reporter: Reporter
    precision: Precision

    def on_all(self, at: _Progress, most: int = MAX_ITERATIONS) -> _Progress:
        """Up to iteration ``most``, each over all windows."""

        def sums_at(components: Components) -> Sums:
            return expect(self.features, components, self.precision)

        while at.iterations < most and not at.settled and not self._empty(at.sums):
            at = self._iterate(self._ordered(at), sums_at, 1)
        return at

    def with_samples(
        self, at: _Progress, samples: Sequence[WhitenedFeatures], plane: np.ndarray
    ) -> _Progress:
        """Most iterations over a sample, the first unless a pass finds that clusters are not clear.

        Args:
            at: sums over all windows at the clusters on either side of ``plane``.
        """
        start = at
        sample, *larger = samples
        of_sample = start_from_clusters(sample, plane)
        steps = FIRST_STEPS
        while at.iterations < MAX_ITERATIONS and not self._empty(at.sums):
            ordered = self._ordered(at)
            if ordered is not at:
                at, of_sample = ordered, of_sample.exchanged(total_of(sample))
            # Of the sums at the last pass; ``at`` may have gone a little beyond it.
            estimate = self._estimate(sample, at, of_sample)
            end = self._iterate(at, estimate.at, steps)
            components = end.components
            if components is None:  # for the type checker; ``at`` is not empty
                return at
            exact = expect(self.features, components, self.precision)
            if larger and exact.entropy > CLEAR * self.features.count:
                sample = larger.pop()
                of_sample = start_from_clusters(sample, plane)
                estimate = self._estimate(sample, at, of_sample)
                sums = estimate.at(components)
                end = end._replace(sums=sums, bound=self._bound(components, sums))
            larger.clear()  # it is asked once, where all samples can begin
            bound = self._bound(components, exact)
            if not abs(bound - end.bound) < MOST_DRIFT:
                if end.iterations == at.iterations + 1:
                    return self.on_all(at)
                steps = (end.iterations - at.iterations) // 2
                continue
            there = estimate.over_sample(components)
            change = end.sums.moments - at.sums.moments
            estimate = replace(estimate, drift=exact.minus(end.sums), change=change)
            again = end.iterations - at.iterations + BEYOND * end.settled
            at = self._iterate(at, estimate.at, again)
            if at.components is None:
                return at
            # The log-likelihood need not rise to its end, and where it turns a sample may see it
            # settle. That is believed only where it did so without what the pass corrected too.
            believed = end.settled and abs(at.iterations - end.iterations) <= BEYOND
            if at.settled and believed:
                if self._iterate(at, estimate.at, 1).settled:
                    return at
                # About to change again: it turns. Only EM on all windows tells if it stops there.
                at = self.on_all(start, at.iterations)
                if at.settled or at.components is None:
                    return at
                of_sample = expect(sample, at.components, self.precision)
                continue
            # What follows starts from here, by the sums of the pass.
            of_sample = estimate.over_sample(at.components)
            sums = exact.plus(of_sample.minus(there).times(estimate.weight))
            bound = self._bound(at.components, sums)
            at = at._replace(sums=sums, bound=bound, settled=False)
            steps = min(2 * steps, MOST_STEPS)
        return at

    def _estimate(self, sample: WhitenedFeatures, at: _Progress, of_sample: Sums) -> _Estimate:
        weight = self.features.count / sample.count
        return _Estimate(sample, self.precision, weight, at.sums, of_sample)

    def _iterate(
        self, at: _Progress, sums_at: Callable[[Components], Sums], steps: int
    ) -> _Progress:
        """At most ``steps`` iterations, fewer where the log-likelihood settles."""
        for _ in range(min(steps, MAX_ITERATIONS - at.iterations)):
            if self._empty(at.sums):
                return at
            components = maximise(at.sums.moments, self.whitening.total, self.whitening.ridge)
            sums = sums_at(components)
            bound = self._bound(components, sums)
            settled = abs(bound - at.bound) < TOLERANCE
            at = _Progress(components, sums, bound, at.iterations + 1, settled)
            self.reporter.status(f"GMM iteration {at.iterations}, log-likelihood {bound:.4f}")
            if settled:
                break
        return at

    def _ordered(self, at: _Progress) -> _Progress:
        """With that component summed whose rounding spoils the other's sums less."""
        if exceeds(at.sums.moments, self.whitening.total):
            return at._replace(sums=at.sums.exchanged(self.whitening.total))
        return at

    def _empty(self, sums: Sums) -> bool:
        return sums.empties(self.features.count)

    def _bound(self, components: Components, sums: Sums) -> float:
        """In reported features, less the dropped directions."""
        return components.bound(sums, self.whitening.total) + self.whitening.log_jacobian
