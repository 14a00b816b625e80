"""How well points agree with annotations: pairs of both, precision, recall and F1, on arrays."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

import numpy as np
from scipy.spatial import cKDTree

Distance: TypeAlias = float | np.ndarray  # of all true points, or one for each


@dataclass(frozen=True)
class Agreement:
    """Numbers of points, and of those that are right; of several tomograms, their sums.

    Attributes:
        picks: number of points that were picked.
        truth: number of true points.
        found: number of true points with a pick of their own.
    """

    picks: int = 0
    truth: int = 0
    found: int = 0

    @classmethod
    def of(cls, picks: np.ndarray, true: np.ndarray, distance: Distance) -> Self:
        """That of points; arguments are those of `match`."""
        return cls(len(picks), len(true), int((match(picks, true, distance) >= 0).sum()))

    def __add__(self, other: "Agreement") -> "Agreement":
        return Agreement(
            self.picks + other.picks, self.truth + other.truth, self.found + other.found
        )

    @property
    def precision(self) -> float:
        """Share of the picks that are right; 0 where there are none."""
        return self.found / max(1, self.picks)

    @property
    def recall(self) -> float:
        """Share of the true points that are found; 0 where there are none."""
        return self.found / max(1, self.truth)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 where there are neither picks nor truth."""
        return self.f(1)

    def f(self, beta: float) -> float:
        """F-beta, in which recall counts beta times as much as precision (van Rijsbergen 1979)."""
        weight = beta**2
        return (1 + weight) * self.found / (self.picks + weight * self.truth or 1)


def match(picks: np.ndarray, true: np.ndarray, distance: Distance) -> np.ndarray:
    """Pair points within a distance of one another, each point in one pair at most.

    There are as many pairs as there can be, and likewise among the first pick, the first two, and
    so on: a pick gets a pair where an augmenting path from it ends at a true point without one
    (Berge 1957), and does not lose it to later picks. Of several true points without a pair it gets
    the nearest.

    Args:
        picks: (n, 3), in any unit, those first that matter most.
        true: (m, 3).
        distance: within which a pick finds a true point; of all, or of each, (m,).

    Returns:
        (n,) int64, the number of the true point of each pick; -1 where it has none.
    """
    partner = np.full(len(picks), -1)
    if not (len(picks) and len(true)):
        return partner
    near: dict[int, list[int]] = {}
    around = cKDTree(picks).query_ball_point(true, distance)
    for point, numbers in enumerate(around):
        for number in numbers:
            near.setdefault(number, []).append(point)
    owner = np.full(len(true), -1)
    # No augmenting path can lead through what a search in vain has seen.
    closed = np.zeros(len(true), dtype=bool)
    for number in sorted(near):
        origin: dict[int, int] = {}  # the pick that a true point was reached from
        waiting, end = deque([number]), -1
        while waiting and end < 0:
            pick = waiting.popleft()
            points = [point for point in near[pick] if not closed[point] and point not in origin]
            origin |= dict.fromkeys(points, pick)
            free = [point for point in points if owner[point] < 0]
            if free:
                end = min(free, key=lambda point: float(np.sum((true[point] - picks[pick]) ** 2)))
            waiting.extend(int(owner[point]) for point in points)
        if end < 0:
            closed[list(origin)] = True
        while end >= 0:
            pick = origin[end]
            owner[end], partner[pick], end = pick, end, int(partner[pick])
    return partner


@dataclass(frozen=True)
class Curve:
    """Agreement at every threshold of the heights of candidates, of one tomogram or of several.

    Attributes:
        heights: (k,) float64, descending: the height of the last candidate that is picked.
        picks: (k,), how many are picked.
        found: (k,), how many true points these find.
        truth: number of true points.
    """

    heights: np.ndarray
    picks: np.ndarray
    found: np.ndarray
    truth: int

    @classmethod
    def of(cls, heights: np.ndarray, right: np.ndarray, truth: int) -> Self:
        """That of candidates.

        Args:
                heights: (n,), in any order.
            right: (n,) bool, which have a pair among those at least as high.
            truth: number of true points.
        """
        return cls._of_steps(heights, np.ones(len(heights), int), right, truth)

    @classmethod
    def joined(cls, curves: Sequence[Self]) -> Self:
        """That of several tomograms together, at one threshold in all."""
        return cls._of_steps(
            np.concatenate([one.heights for one in curves]),
            np.concatenate([np.diff(one.picks, prepend=0) for one in curves]),
            np.concatenate([np.diff(one.found, prepend=0) for one in curves]),
            sum(one.truth for one in curves),
        )

    @classmethod
    def _of_steps(
        cls, heights: np.ndarray, picks: np.ndarray, found: np.ndarray, truth: int
    ) -> Self:
        """From what each height adds, in any order."""
        order = np.argsort(-heights, kind="stable")
        heights = heights[order]
        last = np.flatnonzero(np.append(heights[1:] != heights[:-1], True)[: len(heights)])
        return cls(
            heights[last], np.cumsum(picks[order])[last], np.cumsum(found[order])[last], truth
        )

    def best(self, beta: float = 1) -> tuple[float, Agreement] | None:
        """The threshold with the largest F-beta, and what is right there; None without candidates.

        It has as few digits as tell it from the next lower candidate.
        """
        if not len(self.heights):
            return None
        each = [self._at(number) for number in range(len(self.heights))]
        best = max(range(len(each)), key=lambda number: each[number].f(beta))
        least = self.heights[best + 1] if best + 1 < len(each) else -np.inf
        return between(float(least), float(self.heights[best])), each[best]

    def at(self, threshold: float) -> Agreement:
        """What is right at a threshold."""
        count = int(np.searchsorted(-self.heights, -threshold, side="right"))
        return self._at(count - 1) if count else Agreement(0, self.truth, 0)

    def some(self, count: int) -> list[float]:
        """So many thresholds at most, evenly from the first pick to twice as many as are true."""
        end = int(np.searchsorted(self.picks, 2 * self.truth, side="right"))
        if not len(self.heights):
            return []
        numbers = np.unique(np.linspace(0, max(0, end - 1), count).round().astype(int))
        lower = np.append(self.heights[1:], -np.inf)
        return [between(float(lower[n]), float(self.heights[n])) for n in numbers]

    def _at(self, number: int) -> Agreement:
        return Agreement(int(self.picks[number]), self.truth, int(self.found[number]))


def between(least: float, most: float) -> float:
    """A number above one and up to another, with few digits, near the middle of them."""
    if least == -np.inf:
        least = most - (abs(most) or 1) / 10
    middle = (least + most) / 2
    for digits in range(17):
        if least < (rounded := round(middle, digits)) <= most:
            return rounded
    return most
