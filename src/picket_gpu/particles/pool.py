"""What particles of a tomogram are picked from: candidates, what is left out, and what ranks them.

By heights on a `Scale`, or by a person's `Answers`, which also hold for the places they are about.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from scipy.spatial import cKDTree

from picket_gpu.particles.candidates import (
    LEAST_SEPARATION,
    MERGED,
    Candidates,
    Scale,
    Sized,
    choose,
    picks_between,
    spacings,
)
from picket_gpu.particles.choices import SAME, Answers, probabilities
from picket_gpu.particles.descriptors import standardised
from picket_gpu.particles.picks import Picks
from picket_gpu.particles.threshold import otsu, separation


@dataclass(frozen=True)
class Pool:
    """Candidates, those of them that may be picked, and what they are ranked by.

    Attributes:
        candidates: all.
        excluded: (m,) bool, those that settings leave out.
        claimed: (m,) bool, those at the places of other particles.
        scale: of the tomogram, or of its dataset.
        fingerprint: digest of everything that the candidates depend on.
        answers: of a person, if they are to rank or to correct.
        common: automatic threshold of probabilities, if it is that of the dataset.
    """

    candidates: Candidates
    excluded: np.ndarray
    claimed: np.ndarray
    scale: Scale
    fingerprint: str
    answers: Answers | None = None
    common: float | None = None

    @classmethod
    def of(
        cls,
        candidates: Candidates,
        excluded: np.ndarray,
        claimed: np.ndarray,
        fingerprint: str,
        answers: Answers | None = None,
    ) -> Self:
        """A pool on the scale of its own candidates."""
        scale = Scale.of([candidates.without(excluded | claimed)])
        return cls(candidates, excluded, claimed, scale, fingerprint, answers)

    def alone(self) -> Self:
        """The same on the scale of its own candidates."""
        return replace(self, scale=Scale.of([self.free]), common=None)

    @property
    def has_two_hills(self) -> bool:
        """Whether heights fall into two groups, which a threshold of their own can part."""
        if self.candidates.floor is not None:
            return True
        own = choose(self.free).separation
        return own is not None and own >= LEAST_SEPARATION

    @property
    def free(self) -> Candidates:
        """Candidates that may be picked."""
        return self.candidates.without(self.excluded | self.claimed)

    @property
    def is_learned(self) -> bool:
        """Whether answers rank the candidates, by probabilities in place of heights."""
        return self.answers is not None and self.answers.rank

    def looks(self, places: Sized) -> np.ndarray | None:
        """Standardised descriptors of all `free` candidates as `Candidates.ranked` gives them,
        (m, 23) float64; None where there are none."""
        found = self.free.descriptors
        return None if found is None else standardised(found[places.numbers], places.heights)

    def ranked(self) -> Sized:
        """`free` candidates in the order of heights, or of probabilities to be what answers want.

        Raises:
            ValueError: candidates have no descriptors, which probabilities need.
        """
        places = self.free.ranked(self.scale)
        if self.answers is None or not self.answers.rank:
            return places
        looks = self.looks(places)
        if looks is None:
            raise ValueError("candidates have no descriptors")
        odds = self.answers.odds(looks, places.heights)
        places = places._replace(heights=probabilities(odds))
        return places.take(np.argsort(-odds, kind="stable"))

    def choose(self, settings: Mapping[str, Any]) -> Picks:
        """Pick by ``threshold``, ``max_height`` and ``max_particles`` of settings."""
        names = ("threshold", "max_height", "max_particles")
        chosen = {name: settings[name] for name in names if settings.get(name) is not None}
        if self.answers is None:
            return choose(self.free, scale=self.scale, **chosen)
        places = self.ranked()
        least = self.scale.threshold
        if self.is_learned:
            least = otsu(places.heights) if self.common is None else self.common
        told = chosen.get("threshold", "auto")
        least = least if isinstance(told, str) else float(told)
        parts = separation(places.heights, least)
        most, number = chosen.get("max_height"), chosen.get("max_particles")
        places = self._as_answered(self.answers, places, least, most, number)
        return picks_between(self.free, places, least, most, number, parts)

    def _as_answered(
        self,
        answers: Answers,
        places: Sized,
        least: float,
        most: float | None,
        count: int | None,
    ) -> Sized:
        """Places with good answers in the range of what is picked, also where that is a number of
        the highest, and without bad ones.

        A good answer where there is no candidate adds its place, from which others keep the
        spacing. A bad one takes away what is merged with its place. Where the nearest candidate may
        not be picked, nothing is added.
        """
        candidates, size = self.candidates, np.array(self.candidates.voxel_size)
        barred = self.excluded | self.claimed
        added: list[int] = []
        good = np.zeros(len(places.points), dtype=bool)
        bad = np.zeros(len(places.points), dtype=bool)
        of_each = places.points * size, self._spacings(places.diameters)
        for number, point in enumerate(answers.points):
            distances = np.linalg.norm(of_each[0] - point * size, axis=1)
            if not answers.good[number]:
                bad |= distances < MERGED * of_each[1]
                continue
            apart = np.linalg.norm(places.points - point, axis=1)
            if len(apart) and apart.min() <= SAME:
                good[np.argmin(apart)] = True
            elif not self._is_barred(point, barred):
                added.append(number)
        points = answers.points[added]
        diameters = self._diameters_at(points)
        gone = bad & ~good
        for point, spacing in zip(points * size, self._spacings(diameters), strict=True):
            distances = np.linalg.norm(of_each[0] - point, axis=1)
            gone |= (distances < (of_each[1] + spacing) / 2 * (1 - 1e-12)) & ~good
        highest = 1.0 if self.is_learned else float(places.heights.max(initial=least))
        limit = np.inf if most is None else most
        if count is not None:
            others = places.heights[~gone & ~good & (places.heights <= limit)]
            left = max(0, count - len(points) - int(good.sum()))
            least = max([least, *others[left : left + 1]])
        heights = np.where(good, np.clip(places.heights, least, limit), places.heights)
        none = np.full(len(points), len(candidates.points))
        new = Sized(points, np.full(len(points), min(highest, limit)), diameters, none)
        kept = Sized(places.points, heights, places.diameters, places.numbers).take(~gone)
        both = Sized(*(np.concatenate(pair) for pair in zip(new, kept, strict=True)))
        first = np.concatenate([np.ones(len(points), bool), good[~gone]])
        return both.take(np.lexsort((~first, -both.heights)))

    def _spacings(self, diameters: np.ndarray) -> np.ndarray:
        return spacings(diameters, self.candidates.spacing)

    def _is_barred(self, point: np.ndarray, barred: np.ndarray) -> bool:
        """Whether the candidate nearest to a place, if it is one with it, may not be picked."""
        candidates, size = self.candidates, np.array(self.candidates.voxel_size)
        if not len(barred):
            return False
        distances = np.linalg.norm((candidates.points - point) * size, axis=1)
        nearest = int(np.argmin(distances))
        reach = MERGED * self._spacings(candidates.diameters[nearest : nearest + 1])[0]
        return bool(barred[nearest] and distances[nearest] < reach)

    def _diameters_at(self, points: np.ndarray) -> np.ndarray:
        """Diameters for places without a candidate: those of the nearest ones."""
        candidates, size = self.candidates, np.array(self.candidates.voxel_size)
        if not len(points):
            return np.empty(0)
        if not len(candidates.points):
            return np.zeros(len(points))
        nearest = cKDTree(candidates.points * size).query(points * size)[1]
        found: np.ndarray = candidates.diameters[nearest]
        return found
