"""Expectation maximisation on all windows, or with a sample of them between passes over all.

EM needs ten to twenty-five iterations. With a sample, most of them see only that, kept in memory,
and every few iterations a pass over all windows follows:

1. Propose: iterate by an estimate of the sums over all windows, those of the last pass plus the
   change of the sample's sums since then (a control variate; Chen et al. 2018, Stochastic EM with
   variance reduction). The sample's error is that of the change, not of the sums.
2. Check: a pass over all windows shows the error of the estimate at the last iteration, its drift.
   If the drift is large, propose again, fewer iterations.
3. Correct: repeat the iterations without a further pass, and take from each estimate its part of
   the drift, in proportion to how far the sums have changed by then.

The path and its end are then those of EM on all windows, but for errors of second order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from picket_gpu.console import Reporter
from picket_gpu.device.backend import Precision
from picket_gpu.method.clustering.em import (
    Sums,
    TwoGaussians,
    exceeds,
    expect,
    maximise,
    start_from_clusters,
    total_of,
)
from picket_gpu.method.streams import WhitenedFeatures
from picket_gpu.method.whitening import Whitening

MAX_ITERATIONS = 100
TOLERANCE = 1e-3  # change of the mean log-likelihood at which EM stops
# Iterations between passes over all windows, at first and at most. Few at first: the first ones
# change most, and errors made there grow.
FIRST_STEPS, MOST_STEPS = 2, 8
CLEAR = 0.07  # mean entropy of the responsibilities, in nats, up to which a small sample is enough
MOST_DRIFT = 0.2  # largest accepted error of an estimate, in mean log-likelihood
BEYOND = 2  # iterations after a pass for which its correction still holds


class Progress(NamedTuple):
    """EM after some iterations.

    Attributes:
        gaussians: those of the last E-step; before the first, `TwoGaussians.undivided`.
        sums: sums over all windows of that E-step, exact or estimated.
        bound: mean log-likelihood at ``gaussians``.
        iterations: number of iterations so far.
        settled: whether the last iteration changed ``bound`` by less than the tolerance.
    """

    gaussians: TwoGaussians
    sums: Sums
    bound: float
    iterations: int
    settled: bool


@dataclass(frozen=True)
class _Estimate:
    """Sums over all windows, estimated from a sample.

    Attributes:
        sample: some of the windows.
        precision: of the products of an E-step.
        weight: number of windows that one of the sample stands for.
        known: sums over all windows at the last pass.
        of_sample: sums over the sample at the same responsibilities.
        drift: error of the estimate at the end of ``change``; None until a pass has shown it.
        change: change of the moments from ``known`` to the pass that showed the drift.
        made: sums over the sample by the bytes of the log-odds, since iterations are repeated.
    """

    sample: WhitenedFeatures
    precision: Precision
    weight: float
    known: Sums
    of_sample: Sums
    drift: Sums | None = None
    change: np.ndarray | None = None
    made: dict[bytes, Sums] = field(default_factory=dict)

    def at(self, gaussians: TwoGaussians) -> Sums:
        """Estimate the E-step at ``gaussians`` over all windows."""
        moved = self.since(self.of_sample, gaussians)
        if self.drift is not None and self.change is not None:
            length = float((self.change**2).sum())  # 0 if no responsibility has changed
            way = float((moved.moments * self.change).sum()) / length if length else 0.0
            moved = moved.plus(self.drift.times(min(max(way, 0.0), 1.5)))
        return self.known.plus(moved)

    def since(self, before: Sums, gaussians: TwoGaussians) -> Sums:
        """Estimate the change of the sums over all windows, from ``before`` over the sample to
        those at ``gaussians``."""
        return self.over_sample(gaussians).minus(before).times(self.weight)

    def over_sample(self, gaussians: TwoGaussians) -> Sums:
        """The E-step at ``gaussians`` over the sample."""
        key = gaussians.log_odds.tobytes()
        if key not in self.made:
            self.made[key] = expect(self.sample, gaussians, self.precision)
        return self.made[key]


class _Proposal(NamedTuple):
    """Iterations by an estimate, and the pass over all windows that checked their end.

    Attributes:
        start: EM before the iterations.
        end: EM after them, by the estimate.
        exact: sums over all windows at the end.
        bound: mean log-likelihood by the exact sums.
    """

    start: Progress
    estimate: _Estimate
    end: Progress
    exact: Sums
    bound: float

    @property
    def holds(self) -> bool:
        """Whether the estimate is good enough to be corrected; not if its bound is NaN."""
        return abs(self.bound - self.end.bound) < MOST_DRIFT

    @property
    def steps(self) -> int:
        """Number of iterations."""
        return self.end.iterations - self.start.iterations

    def corrected(self) -> _Estimate:
        """The estimate, corrected by the drift that the pass has shown."""
        change = self.end.sums.moments - self.estimate.known.moments
        return replace(self.estimate, drift=self.exact.minus(self.end.sums), change=change)


@dataclass(frozen=True)
class EM:
    """EM on all windows, or with a sample of them between passes over all."""

    features: WhitenedFeatures
    whitening: Whitening
    reporter: Reporter
    precision: Precision

    def on_all(self, at: Progress, most: int | None = None) -> Progress:
        """Iterate over all windows, up to iteration ``most``, by default `MAX_ITERATIONS`."""
        most = MAX_ITERATIONS if most is None else most
        while at.iterations < most and not at.settled and not self._empty(at.sums):
            at = self._iterate(self._ordered(at), self._exact, 1)
        return at

    def with_samples(
        self, start: Progress, samples: Sequence[WhitenedFeatures], plane: np.ndarray
    ) -> Progress:
        """Iterate over the first of ``samples``, or the last one where that is too few, with passes
        over all windows in between.

        Args:
            start: has the sums over all windows of the clusters on either side of ``plane``.
        """
        small, *larger = samples
        plain = at = start  # plain: reached by iterations over all windows alone
        estimate = self._estimate(small, start, start_from_clusters(small, plane))
        steps = FIRST_STEPS
        while at.iterations < MAX_ITERATIONS and not self._empty(at.sums):
            at, estimate = self._ordered_both(at, estimate)
            proposal = self._propose(at, estimate, steps)
            if larger and at is start and not (proposal.holds and self._clear(proposal.exact)):
                sample = larger.pop()
                estimate = self._estimate(sample, at, start_from_clusters(sample, plane))
                proposal = self._by_other(proposal, estimate)
            if not proposal.holds:
                if proposal.steps == 1:
                    return self.on_all(at)
                steps = proposal.steps // 2
                continue
            corrected = proposal.corrected()
            at = self._correct(proposal, corrected)
            if at.settled:
                if self._iterate(at, corrected.at, 1).settled:
                    return at
                # It does not stay settled: EM on all windows shows whether it stops there.
                plain = at = self.on_all(plain, at.iterations)
                if at.settled:
                    return at
                of_sample = expect(estimate.sample, at.gaussians, self.precision)
                estimate = self._estimate(estimate.sample, at, of_sample)
                continue
            at, estimate = self._from_pass(proposal, at)
            if larger and steps == MOST_STEPS:  # it takes long: little tells the clusters apart
                sample = larger.pop()
                of_sample = expect(sample, at.gaussians, self.precision)
                estimate = self._estimate(sample, at, of_sample)
            steps = min(2 * steps, MOST_STEPS)
        return at

    def _propose(self, at: Progress, estimate: _Estimate, steps: int) -> _Proposal:
        """Make ``steps`` iterations by the estimate, and check their end by a pass."""
        end = self._iterate(at, estimate.at, steps)
        exact = self._exact(end.gaussians)
        return _Proposal(at, estimate, end, exact, self._bound(end.gaussians, exact))

    def _by_other(self, proposal: _Proposal, estimate: _Estimate) -> _Proposal:
        """The same iterations, their end by another estimate."""
        end = self._with(proposal.end, estimate.at(proposal.end.gaussians))
        return proposal._replace(estimate=estimate, end=end)

    def _correct(self, proposal: _Proposal, corrected: _Estimate) -> Progress:
        """Repeat the iterations by the corrected estimate.

        The log-likelihood need not rise until EM stops, and where it turns, its change by a sample
        may fall below the tolerance by accident. So the result is settled only if the iterations
        settled without the correction too, and about as early.
        """
        start, _, end, *_ = proposal
        at = self._iterate(start, corrected.at, proposal.steps + BEYOND * end.settled)
        believed = end.settled and abs(at.iterations - end.iterations) <= BEYOND
        return at._replace(settled=at.settled and believed)

    def _from_pass(self, proposal: _Proposal, at: Progress) -> tuple[Progress, _Estimate]:
        """``at`` by the sums of the pass, close to it, and the estimate that starts there."""
        estimate = proposal.estimate
        at_pass = estimate.over_sample(proposal.end.gaussians)
        at = self._with(at, proposal.exact.plus(estimate.since(at_pass, at.gaussians)))
        return at, self._estimate(estimate.sample, at, estimate.over_sample(at.gaussians))

    def _estimate(self, sample: WhitenedFeatures, at: Progress, of_sample: Sums) -> _Estimate:
        weight = self.features.count / sample.count
        return _Estimate(sample, self.precision, weight, at.sums, of_sample)

    def _iterate(
        self, at: Progress, sums_at: Callable[[TwoGaussians], Sums], steps: int
    ) -> Progress:
        """Make ``steps`` iterations, fewer if the log-likelihood settles or a component empties."""
        for _ in range(min(steps, MAX_ITERATIONS - at.iterations)):
            if self._empty(at.sums):
                return at
            gaussians = maximise(at.sums.moments, self.whitening.total, self.whitening.ridge)
            sums = sums_at(gaussians)
            bound = self._bound(gaussians, sums)
            settled = abs(bound - at.bound) < TOLERANCE
            at = Progress(gaussians, sums, bound, at.iterations + 1, settled)
            self.reporter.status(f"GMM iteration {at.iterations}, log-likelihood {bound:.4f}")
            if settled:
                break
        return at

    def _exact(self, gaussians: TwoGaussians) -> Sums:
        """The E-step over all windows."""
        return expect(self.features, gaussians, self.precision)

    def _ordered(self, at: Progress) -> Progress:
        """Sum the component whose rounding spoils the other's sums less."""
        if exceeds(at.sums.moments, self.whitening.total):
            return at._replace(sums=at.sums.exchanged(self.whitening.total))
        return at

    def _ordered_both(self, at: Progress, estimate: _Estimate) -> tuple[Progress, _Estimate]:
        """`_ordered`, and the estimate that starts there."""
        ordered = self._ordered(at)
        if ordered is at:
            return at, estimate
        of_sample = estimate.of_sample.exchanged(total_of(estimate.sample))
        return ordered, self._estimate(estimate.sample, ordered, of_sample)

    def _with(self, at: Progress, sums: Sums) -> Progress:
        """``at`` by other sums."""
        return at._replace(sums=sums, bound=self._bound(at.gaussians, sums))

    def _empty(self, sums: Sums) -> bool:
        return sums.empties(self.features.count)

    def _clear(self, sums: Sums) -> bool:
        """Whether responsibilities are so near 0 and 1 that a small sample is enough."""
        return sums.entropy <= CLEAR * self.features.count

    def _bound(self, gaussians: TwoGaussians, sums: Sums) -> float:
        """Mean log-likelihood in reported features, less the dropped directions."""
        return gaussians.bound(sums, self.whitening.total) + self.whitening.log_jacobian
