"""What is chosen by heights, by plain loops."""

from collections.abc import Sequence

import numpy as np

from picket_gpu.particles.candidates import Candidates


def otsu_of(heights: np.ndarray) -> float:
    """The middle of the gap that leaves the least variance within both sides."""
    ordered = np.sort(heights)
    within = [
        ordered[:split].var() * split + ordered[split:].var() * (len(ordered) - split)
        for split in range(1, len(ordered))
    ]
    split = int(np.argmin(within)) + 1
    return float(ordered[split - 1 : split + 1].mean())


def zero_and_unit_of(heights: np.ndarray) -> tuple[float, float]:
    zero = otsu_of(heights)
    return zero, (heights[heights >= zero].mean() - heights[heights < zero].mean()) / 2


def spread(
    points: np.ndarray, heights: np.ndarray, spacing: float, size: Sequence[float]
) -> list[int]:
    """The highest points that keep a distance, highest first."""
    kept: list[int] = []
    for place in np.argsort(-heights, kind="stable").tolist():
        apart = [np.linalg.norm((points[place] - points[other]) * size) for other in kept]
        if min(apart, default=np.inf) >= spacing * (1 - 1e-12):
            kept.append(place)
    return kept


def distances(points: np.ndarray, size: Sequence[float]) -> np.ndarray:
    """Between each two of some points."""
    difference = (points[:, None] - points) * np.array(size)
    squares = (difference**2).sum(axis=2)
    return np.sqrt(squares[np.triu_indices(len(points), 1)])


def both(each: Sequence[Candidates], diameter: float) -> list[tuple[np.ndarray, np.ndarray, int]]:
    """Points, heights and the number of picks of each tomogram, from two sources of all."""
    units = []
    for number in (0, 1):
        own = [one.heights[number, one.source == number] for one in each]
        units.append(zero_and_unit_of(np.concatenate(own)))
    joined = []
    for one in each:
        a, b = (
            np.clip((one.heights[number] - zero) / unit, -3, 3)
            for number, (zero, unit) in enumerate(units)
        )
        mean = (a + b) / 2
        kept = spread(one.points, mean, 0.4 * diameter, one.voxel_size)
        joined.append((one.points[kept], mean[kept], one.voxel_size))
    zero, unit = zero_and_unit_of(np.concatenate([heights for _, heights, _ in joined]))
    found = []
    for points, heights, size in joined:
        kept = spread(points, heights, 0.8 * diameter, size)
        scaled = (heights[kept] - zero) / unit
        found.append((points[kept], scaled, int(np.count_nonzero(scaled >= 0))))
    return found
