"""From maxima of a map to picks: margin, spacing, threshold, number."""

from dataclasses import dataclass
from math import isfinite, prod
from typing import Literal

import numpy as np

from picket_gpu.device.operations import Shape
from picket_gpu.particles.ball import VoxelSize
from picket_gpu.particles.maxima import keep_spaced
from picket_gpu.particles.picks import Picks
from picket_gpu.particles.threshold import otsu

# Of the diameter. The most that loses no touching spheres where the diameter is told by a quarter
# too large.
SPACING = 0.8

Threshold = float | Literal["auto"]


@dataclass(frozen=True)
class Selection:
    """Criteria for particles; lengths are in the units of ``voxel_size``, (z, y, x).

    Raises:
        ValueError: one of them is out of range.
    """

    diameter: float
    voxel_size: VoxelSize = (1.0, 1.0, 1.0)
    spacing: float | None = None
    margin: float = 0.0
    threshold: Threshold = "auto"
    max_particles: int | None = None

    def __post_init__(self) -> None:
        size = self.voxel_size
        if len(size) != 3 or not all(isfinite(side) and side > 0 for side in size):
            raise ValueError(f"voxel_size: must be three numbers above 0, z, y, x (got {size})")
        if not (isfinite(self.diameter) and self.diameter >= 2 * min(size)):
            raise ValueError(f"diameter: must be at least 2 voxels (got {self.diameter})")
        if self.spacing is not None and not (isfinite(self.spacing) and self.spacing > 0):
            raise ValueError(f"spacing: must be above 0 (got {self.spacing})")
        if not (isfinite(self.margin) and self.margin >= 0):
            raise ValueError(f"margin: must be 0 or more (got {self.margin})")
        if isinstance(self.threshold, str):
            known = self.threshold == "auto"
        else:
            known = 0 <= self.threshold <= 1
        if not known:
            raise ValueError(f"threshold: must be 'auto' or 0 to 1 (got {self.threshold!r})")
        if self.max_particles is not None and self.max_particles < 1:
            raise ValueError(f"max_particles: must be 1 or more (got {self.max_particles})")

    @property
    def radius(self) -> float:
        return self.diameter / 2

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise a ValueError where the diameter cannot be meant for an array of ``shape``."""
        if len(shape) != 3 or prod(shape) == 0:
            raise ValueError(f"array: must have voxels along z, y and x (got shape {shape})")
        longest = max(n * side for n, side in zip(shape, self.voxel_size, strict=True))
        if self.diameter > longest:
            raise ValueError(
                f"diameter: must be at most the array's longest side, {longest:g} (got "
                f"{self.diameter:g}); use the units of voxel_size"
            )

    def candidates(
        self, points: np.ndarray, heights: np.ndarray, shape: Shape
    ) -> tuple[np.ndarray, np.ndarray]:
        """Maxima clear of the margin and, from the highest on, of higher ones.

        The margin goes first: what it takes away keeps nothing else from being picked. Distances
        are those of positions between voxels, so what is returned keeps the spacing.

        Args:
            points: (m, 3), voxels of a volume of ``shape``.
            heights: (m,).

        Returns:
            Those left, by descending height, and their heights.
        """
        size = np.array(self.voxel_size)
        low, high = (points + 0.5) * size, (np.array(shape) - 0.5 - points) * size
        clear = (np.minimum(low, high) >= self.margin).all(axis=1)
        points, heights = points[clear], heights[clear]
        order = np.argsort(-heights, kind="stable")
        points, heights = points[order], heights[order]
        spacing = SPACING * self.diameter if self.spacing is None else self.spacing
        kept = keep_spaced(points * size, spacing)
        return points[kept], heights[kept]

    def picks(self, points: np.ndarray, heights: np.ndarray) -> Picks:
        """Candidates, of which those from the threshold on are picked, as many as wanted."""
        threshold = otsu(heights) if self.threshold == "auto" else float(self.threshold)
        count = int(np.count_nonzero(heights >= threshold))
        if self.max_particles is not None:
            count = min(count, self.max_particles)
        return Picks(points, heights, threshold, count)
