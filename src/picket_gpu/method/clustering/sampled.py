"""Expectation maximisation on all windows, or with a sample of them between passes over all.

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

from picket_gpu.console import Reporter
from picket_gpu.device.backend import Precision
from picket_gpu.method.clustering.em import (
    Components,
    Sums,
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
# Iterations from one pass over all windows to the next, at first and at most: few at first, as
# those change most and what goes wrong there grows.
FIRST_STEPS, MOST_STEPS = 2, 8
CLEAR = 0.07  # mean entropy of the responsibilities, in nats, below which a small sample will do
MOST_DRIFT = 0.2  # mean log-likelihood by which a sample may err from one pass to the next
BEYOND = 2  # iterations after a pass for which what it corrected still holds


class Progress(NamedTuple):
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

    def corrected(self, end: Sums, exact: Sums) -> "_Estimate":
        """With the drift that a pass found where this estimate has ``end`` for ``exact``."""
        change = end.moments - self.known.moments
        return replace(self, drift=exact.minus(end), change=change)

    def at(self, components: Components) -> Sums:
        """The E-step at ``components``."""
        moved = self.over_sample(components).minus(self.of_sample).times(self.weight)
        if self.drift is not None and self.change is not None:
            length = float((self.change**2).sum())  # 0 where no responsibility has changed
            way = float((moved.moments * self.change).sum()) / length if length else 0.0
            moved = moved.plus(self.drift.times(min(max(way, 0.0), 1.5)))
        return self.known.plus(moved)


@dataclass(frozen=True)
class EM:
    """EM on all windows, or with a sample in between."""

    features: WhitenedFeatures
    whitening: Whitening
    reporter: Reporter
    precision: Precision

    def on_all(self, at: Progress, most: int | None = None) -> Progress:
        """Every iteration over all windows; if told, up to iteration ``most``."""

        def sums_at(components: Components) -> Sums:
            return expect(self.features, components, self.precision)

        most = MAX_ITERATIONS if most is None else most
        while at.iterations < most and not at.settled and not self._empty(at.sums):
            at = self._iterate(self._ordered(at), sums_at, 1)
        return at

    def with_samples(
        self, start: Progress, samples: Sequence[WhitenedFeatures], plane: np.ndarray
    ) -> Progress:
        """Most iterations over the first of ``samples``, or over the last one if that is too few.

        Args:
            start: sums over all windows at the clusters on either side of ``plane``.
        """
        sample, *larger = samples
        plain = at = start  # plain: on all windows in every iteration so far
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
            bound = self._bound(components, exact)
            unclear = exact.entropy > CLEAR * self.features.count
            if larger and at is start and (unclear or not abs(bound - end.bound) < MOST_DRIFT):
                sample = larger.pop()
                of_sample = start_from_clusters(sample, plane)
                estimate = self._estimate(sample, at, of_sample)
                end = self._with(end, components, estimate.at(components))
            if not abs(bound - end.bound) < MOST_DRIFT:
                if end.iterations == at.iterations + 1:
                    return self.on_all(at)
                steps = (end.iterations - at.iterations) // 2
                continue
            corrected = estimate.corrected(end.sums, exact)
            again = end.iterations - at.iterations + BEYOND * end.settled
            at = self._iterate(at, corrected.at, again)
            reached = at.components
            if reached is None:
                return at
            # The log-likelihood need not rise to its end, and where it turns a sample may see it
            # settle. That is believed where it did so without what the pass corrected too, and
            # stays settled. Where it does not stay, EM on all windows tells whether it stops there.
            believed = end.settled and abs(at.iterations - end.iterations) <= BEYOND
            if at.settled and believed:
                if self._iterate(at, corrected.at, 1).settled:
                    return at
                plain = at = self.on_all(plain, at.iterations)
                if at.settled or at.components is None:
                    return at
                of_sample = expect(sample, at.components, self.precision)
                continue
            # What follows starts from here, by the sums of the pass.
            of_sample = estimate.over_sample(reached)
            since = of_sample.minus(estimate.over_sample(components)).times(estimate.weight)
            at = self._with(at, reached, exact.plus(since))._replace(settled=False)
            if larger and steps == MOST_STEPS:  # it takes long: little tells the clusters apart
                sample = larger.pop()
                of_sample = expect(sample, reached, self.precision)
            steps = min(2 * steps, MOST_STEPS)
        return at

    def _estimate(self, sample: WhitenedFeatures, at: Progress, of_sample: Sums) -> _Estimate:
        weight = self.features.count / sample.count
        return _Estimate(sample, self.precision, weight, at.sums, of_sample)

    def _with(self, at: Progress, components: Components, sums: Sums) -> Progress:
        """``at`` by other sums at its ``components``."""
        return at._replace(sums=sums, bound=self._bound(components, sums))

    def _iterate(self, at: Progress, sums_at: Callable[[Components], Sums], steps: int) -> Progress:
        """At most ``steps`` iterations, fewer where the log-likelihood settles."""
        for _ in range(min(steps, MAX_ITERATIONS - at.iterations)):
            if self._empty(at.sums):
                return at
            components = maximise(at.sums.moments, self.whitening.total, self.whitening.ridge)
            sums = sums_at(components)
            bound = self._bound(components, sums)
            settled = abs(bound - at.bound) < TOLERANCE
            at = Progress(components, sums, bound, at.iterations + 1, settled)
            self.reporter.status(f"GMM iteration {at.iterations}, log-likelihood {bound:.4f}")
            if settled:
                break
        return at

    def _ordered(self, at: Progress) -> Progress:
        """With that component summed whose rounding spoils the other's sums less."""
        if exceeds(at.sums.moments, self.whitening.total):
            return at._replace(sums=at.sums.exchanged(self.whitening.total))
        return at

    def _empty(self, sums: Sums) -> bool:
        return sums.empties(self.features.count)

    def _bound(self, components: Components, sums: Sums) -> float:
        """In reported features, less the dropped directions."""
        return components.bound(sums, self.whitening.total) + self.whitening.log_jacobian
