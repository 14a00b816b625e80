"""Candidates for particles, and which of them are picked by their heights.

`Candidates` are what takes time to find. Which of them are picked, by which `Scale` of heights, is
then chosen in no time: for one tomogram, or for all of a dataset alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Self, TypeAlias

import numpy as np
from scipy.spatial import cKDTree

from picket_gpu.particles.contrast import STEP
from picket_gpu.particles.picks import Picks, VoxelSize
from picket_gpu.particles.threshold import otsu, separation, zero_and_unit

# Of the diameter. The most that loses no touching spheres where the diameter is told by a quarter
# too large.
SPACING = 0.8
# Of a source's standardised heights, so that what is highest in one, as gold is, is not all.
CUT = 3.0
MERGED = 0.5  # of the spacing: candidates of two sources that are nearer are of one particle
# Of the variance of heights, between those above the threshold and those below. Heights spread
# evenly have 3/4, and a single hill that is alike on both sides has less.
LEAST_SEPARATION = 0.75
ASKED = 256  # points whose neighbors are found at a time: few, as those of some may be many
Threshold: TypeAlias = float | Literal["auto", "tomogram", "dataset"]


class Sized(NamedTuple):
    """Places: points (m, 3), heights (m,), the diameter of each, (m,), and its number among those
    that they are chosen from, (m,) int64."""

    points: np.ndarray
    heights: np.ndarray
    diameters: np.ndarray
    numbers: np.ndarray

    def take(self, chosen: np.ndarray) -> "Sized":
        """Those of an index or a mask."""
        return Sized(*(each[chosen] for each in self))


@dataclass(frozen=True)
class Candidates:
    """Places that stand out in scores, in the tomogram, or in either, before any is picked.

    Attributes:
        points: (m, 3) float64, (z, y, x) in voxels; 0 is the centre of the first voxel.
        diameters: (m,) float64, in the units of ``voxel_size``.
        heights: (sources, m) float64, at every place in every source; those of one source descend.
        source: (m,) int8, the source that a place is a maximum of.
        voxel_size: (z, y, x).
        spacing: least distance between two picks; None for 0.8 of the mean of their diameters.
        sizes: whether each has its own diameter.
        label: of the particles; 1 where there are no labels.
        dark: whether particles are darker than what is around them; None where that is not known.
        is_relative: whether heights count in those of the greatest.
        floor: automatic threshold where it is not Otsu's, and the least of all.
        most: share of the greatest height that the automatic threshold is at most; None for no
            limit.
        descriptors: (m, 22) float32, what they look like, as `descriptors.describe` says; None
            where no tomogram was at hand.
    """

    points: np.ndarray
    diameters: np.ndarray
    heights: np.ndarray
    source: np.ndarray
    voxel_size: VoxelSize
    spacing: float | None = None
    sizes: bool = False
    label: int = 1
    dark: bool | None = None
    is_relative: bool = False
    floor: float | None = None
    most: float | None = None
    descriptors: np.ndarray | None = None

    @property
    def is_scaled(self) -> bool:
        """Whether a `Scale` of others gives other heights."""
        return self.is_relative or len(self.heights) > 1

    def without(self, gone: np.ndarray) -> Self:
        """All but some, (m,) bool."""
        return replace(
            self,
            points=self.points[~gone],
            diameters=self.diameters[~gone],
            heights=self.heights[:, ~gone],
            source=self.source[~gone],
            descriptors=None if self.descriptors is None else self.descriptors[~gone],
        )

    def near(self, points: np.ndarray, reach: float | np.ndarray, share: float = 0.0) -> np.ndarray:
        """Which candidates are nearer to one of some points than a distance, (m,) bool.

        Args:
            points: (n, 3), (z, y, x) in voxels.
            reach: the distance from all points or from each, (n,), in the units of ``voxel_size``.
            share: of the candidate's diameter, which is added to it.
        """
        size, found = np.array(self.voxel_size), np.zeros(len(self.points), dtype=bool)
        if not len(self.points) or not len(points):
            return found
        own = share * self.diameters
        reaches = np.broadcast_to(reach, len(points))
        tree = cKDTree(self.points * size)
        for point, radius in zip(points * size, reaches, strict=True):
            around = np.array(tree.query_ball_point(point, radius + own.max()), dtype=np.int64)
            distance = np.linalg.norm(self.points[around] * size - point, axis=1)
            found[around[distance < (radius + own[around]) * (1 - 1e-12)]] = True
        return found

    def ranked(self, scale: "Scale") -> Sized:
        """One place for each candidate particle, the spacing apart, highest first, with heights on
        a scale."""
        places = self.joined(scale.sources)
        places = places._replace(heights=(places.heights - scale.zero) / scale.unit)
        return self._apart(places) if scale.sources else places

    def joined(self, sources: Sequence[tuple[float, float]]) -> Sized:
        """Places of all sources with one height, those of two sources near each other as one.

        Args:
            sources: zero and unit of the heights of each; none where there is one source.
        """
        numbers = np.arange(len(self.points))
        if not sources:
            return Sized(self.points, self.heights[0], self.diameters, numbers)
        cut = [
            np.clip((heights - zero) / unit, -CUT, CUT)
            for heights, (zero, unit) in zip(self.heights, sources, strict=True)
        ]
        height = np.mean(cut, axis=0)
        return self._apart(Sized(self.points, height, self.diameters, numbers), MERGED)

    def _apart(self, places: Sized, share: float = 1.0) -> Sized:
        return spaced(places, self.voxel_size, self.spacing, share)


class Scale(NamedTuple):
    """What heights of candidates are measured by, in one tomogram or in several.

    Attributes:
        sources: zero and unit of the heights in each of two sources; empty for one.
        zero, unit: what is subtracted from a candidate's height, and what it is divided by.
        threshold: the automatic one, of heights on this scale.
    """

    sources: tuple[tuple[float, float], ...]
    zero: float
    unit: float
    threshold: float

    @classmethod
    def of(cls, each: Sequence[Candidates]) -> Self:
        """The scale of candidates of one tomogram, or of several together, from equal settings.

        Heights in either of two sources are put in units in which Otsu's threshold is 0, and the
        means of the two classes that it makes are 1 and -1. A candidate's height is the mean of
        both, each cut at 3 either way, in such units of all candidates once more.
        """
        first = each[0]
        if len(first.heights) == 1:
            heights = np.concatenate([one.heights[0] for one in each])
            unit = float(heights.max(initial=STEP)) if first.is_relative else 1.0
            threshold = otsu(heights / unit) if first.floor is None else first.floor
            if first.most is not None:
                threshold = min(threshold, first.most * float(heights.max(initial=0.0)) / unit)
            return cls((), 0.0, unit, threshold)
        sources = tuple(
            zero_and_unit(
                np.concatenate([one.heights[number, one.source == number] for one in each])
            )
            for number in range(len(first.heights))
        )
        joined = np.concatenate([one.joined(sources).heights for one in each])
        return cls(sources, *zero_and_unit(joined), 0.0)


def choose(
    candidates: Candidates,
    threshold: Threshold = "auto",
    max_height: float | None = None,
    max_particles: int | None = None,
    scale: Scale | None = None,
) -> Picks:
    """Pick candidates of a height from the threshold to the greatest, as many as wanted.

    Args:
        threshold: words are that of the scale.
        scale: default: that of these candidates.
    """
    scale = Scale.of([candidates]) if scale is None else scale
    places = candidates.ranked(scale)
    least = scale.threshold
    if not isinstance(threshold, str):
        least = float(threshold) if candidates.floor is None else max(least, threshold)
    parts = separation(places.heights, least) if candidates.floor is None else None
    return picks_between(candidates, places, least, max_height, max_particles, parts)


def picks_between(
    candidates: Candidates,
    places: Sized,
    least: float,
    max_height: float | None,
    max_particles: int | None,
    parts: float | None,
) -> Picks:
    """Those of a height from the least to the greatest, as many as wanted.

    Args:
        places: highest first.
        parts: the separation of heights.
    """
    points, heights, diameters, _ = places
    first = 0 if max_height is None else int(np.count_nonzero(heights > max_height))
    count = max(int(np.count_nonzero(heights >= least)) - first, 0)
    if max_particles is not None:
        count = min(count, max_particles)
    return Picks(
        points,
        heights,
        least,
        count,
        candidates.label,
        candidates.dark,
        parts,
        diameters if candidates.sizes else None,
        first,
    )


def spaced(
    places: Sized, voxel_size: VoxelSize, spacing: float | None, share: float = 1.0
) -> Sized:
    """Places that keep a ``share`` of the spacing from higher ones, from the highest on.

    Distances are those of positions between voxels, so what is returned keeps the spacing.
    """
    places = places.take(np.argsort(-places.heights, kind="stable"))
    each = share * spacings(places.diameters, spacing)
    return places.take(keep_spaced(places.points * np.array(voxel_size), each))


def spacings(diameters: np.ndarray, spacing: float | None) -> np.ndarray:
    """The spacing that each place asks for, (m,): that of all, or 0.8 of its diameter."""
    return SPACING * diameters if spacing is None else np.full(len(diameters), spacing)


def keep_spaced(points: np.ndarray, spacing: float | np.ndarray) -> np.ndarray:
    """Which points to keep so that no two are nearer than ``spacing``, the first ones first.

    Args:
        points: (m, 3).
        spacing: of all, or of each, (m,): that of two is the mean of theirs.

    Returns:
        (m,) bool.
    """
    tree = cKDTree(points)
    kept = np.ones(len(points), dtype=bool)
    # A spacing apart is not nearer, whatever rounding did.
    nearer = np.broadcast_to(spacing, len(points)) * (1 - 1e-12)
    least, most = nearer.min(initial=np.inf), nearer.max(initial=0)
    for begin in range(0, len(points), ASKED):
        asked = begin + np.flatnonzero(kept[begin : begin + ASKED])
        near = tree.query_ball_point(points[asked], (nearer[asked] + most) / 2)
        for number, others in zip(asked, near, strict=True):
            if kept[number]:
                if least < most:
                    distance = np.linalg.norm(points[others] - points[number], axis=1)
                    others = np.array(others)[distance <= (nearer[others] + nearer[number]) / 2]
                kept[others] = False
                kept[number] = True
    return kept
