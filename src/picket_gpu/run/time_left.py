"""The time that the rest of a run will take, from the tomograms that are done."""

from collections.abc import Iterable
from math import prod

from picket_gpu.run.plan import TomogramPlan

LEAST_DONE = 2  # tomograms before an estimate is made


class TimeLeft:
    """Seconds per unit of work so far, times the work that is left.

    The work of a tomogram is its voxels by its feature modes and one more, for reading, blurring,
    picking and the page. What an earlier run has done is no work.
    """

    def __init__(self, plans: Iterable[TomogramPlan]) -> None:
        self._left = {plan.index: _work(plan) for plan in plans if not plan.is_done}
        self._seconds = self._work = 0.0
        self._measured = 0

    def done(self, index: int, seconds: float | None, workers: int = 1) -> float | None:
        """Seconds that the other tomograms will take; None if too few are done, or none is left.

        Args:
            index: index of the tomogram that is done.
            seconds: seconds that it took; None if it failed, which says nothing of the others.
            workers: number of tomograms that run at a time.
        """
        work = self._left.pop(index, None)
        if work is not None and seconds is not None:
            self._seconds += seconds
            self._work += work
            self._measured += 1
        if self._measured < LEAST_DONE or not self._left:
            return None
        tomograms, left = len(self._left), sum(self._left.values())
        # The other workers are halfway through theirs, on average.
        begun = min(workers - 1, tomograms) / 2 * left / tomograms
        return self._seconds / self._work * (left - begun) / min(workers, tomograms)


def _work(plan: TomogramPlan) -> int:
    return prod(plan.header.shape) * plan.steps
