"""Picked particles."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

VoxelSize: TypeAlias = tuple[float, float, float]  # (z, y, x)


@dataclass(frozen=True)
class Picks:
    """Candidates for particles, highest first, and which of them are picked.

    Attributes:
        candidates: (m, 3) float64, (z, y, x) in voxels; 0 is the centre of the first voxel.
        candidate_heights: (m,) float64, descending: how much a ball of the particle's size stands
            out from what is around it, as the function that picked says.
        threshold: least height of a candidate that is picked.
        count: number of candidates that are picked.
        label: label of the particles; 1 where there are no labels.
        dark: whether particles are darker than what is around them; None where that is not known.
        candidate_diameters: (m,) float64, of each, in the units of the voxel size; None where all
            are picked by one diameter.
        separation: share of the variance of heights that lies between those above the threshold
            and those below; None where there are not both.
        first: number of candidates that are too high to be picked; the ``count`` after them are.
    """

    candidates: np.ndarray
    candidate_heights: np.ndarray
    threshold: float
    count: int
    label: int = 1
    dark: bool | None = None
    separation: float | None = None
    candidate_diameters: np.ndarray | None = None
    first: int = 0

    @property
    def coordinates(self) -> np.ndarray:
        """Centres of the picked particles, (n, 3) float64, (z, y, x) in voxels."""
        return self.candidates[self._picked]

    @property
    def diameters(self) -> np.ndarray | None:
        """Diameters of the picked particles, (n,) float64; None where all are alike."""
        return None if self.candidate_diameters is None else self.candidate_diameters[self._picked]

    @property
    def heights(self) -> np.ndarray:
        """Heights of the picked particles, (n,) float64."""
        return self.candidate_heights[self._picked]

    @property
    def _picked(self) -> slice:
        return slice(self.first, self.first + self.count)
