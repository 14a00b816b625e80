"""Picked particles."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Picks:
    """Candidates for particles, highest first, and which of them are picked.

    Attributes:
        candidates: (m, 3) float64, (z, y, x) in voxels; 0 is the centre of the first voxel.
        candidate_heights: (m,) float64, descending: how much a ball of the particle's size stands
            out from what is around it, at most 1.
        threshold: height from which candidates are picked.
        count: how many of the first candidates are picked.
        label: the cluster that they are of; 1 where there are no clusters.
    """

    candidates: np.ndarray
    candidate_heights: np.ndarray
    threshold: float
    count: int
    label: int = 1

    @property
    def coordinates(self) -> np.ndarray:
        """(n, 3) float64, (z, y, x) in voxels, of what is picked."""
        return self.candidates[: self.count]

    @property
    def heights(self) -> np.ndarray:
        """(n,) float64, of what is picked."""
        return self.candidate_heights[: self.count]
