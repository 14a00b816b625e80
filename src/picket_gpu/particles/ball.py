"""Balls and shells as weights of voxels, their edges soft."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

VoxelSize: TypeAlias = tuple[float, float, float]


def ball(radius: float, voxel_size: VoxelSize, edge: float = 1.0) -> np.ndarray:
    """Weights of a ball around the middle voxel.

    A weight falls linearly from 1 to 0 over ``edge`` voxels, of which the radius is the middle. On
    anisotropic voxels one voxel is what the way from the centre through a voxel takes for one step
    of the grid, so the edge is as soft along each axis.

    Args:
        radius: in the units of ``voxel_size``.
        voxel_size: (z, y, x).
        edge: width of the edge, voxels.

    Returns:
        (z, y, x) float32 of odd sides, as few as hold all weights above 0. They sum to 1.
    """
    return _normalised(_weights(radius, edge, voxel_size, _halves(radius, edge, voxel_size)))


def shell(inner: float, outer: float, voxel_size: VoxelSize, edge: float = 1.0) -> np.ndarray:
    """Weights of what a ball of radius ``outer`` has beyond one of radius ``inner``, as `ball`.

    Args:
        edge: width of the inner edge, voxels; the outer one is of one voxel.
    """
    halves = _halves(outer, 1.0, voxel_size)
    whole = _weights(outer, 1.0, voxel_size, halves)
    hole = _weights(inner, edge, voxel_size, halves)
    return _normalised(np.maximum(whole - hole, 0))


def _halves(radius: float, edge: float, voxel_size: VoxelSize) -> list[int]:
    """Voxels from the middle to the last weight above 0, along each axis."""
    return [int(np.ceil(radius / size + edge / 2)) - 1 for size in voxel_size]


def _weights(
    radius: float, edge: float, voxel_size: VoxelSize, halves: Sequence[int]
) -> np.ndarray:
    """Weights from 0 to 1, ``halves`` on either side of the middle."""
    steps = np.meshgrid(*(np.arange(-half, half + 1.0) for half in halves), indexing="ij")
    in_voxels = np.sqrt(sum(step**2 for step in steps))
    distance = np.sqrt(
        sum((step * size) ** 2 for step, size in zip(steps, voxel_size, strict=True))
    )
    in_voxels[tuple(halves)] = distance[tuple(halves)] = 1  # the centre: 0 of 0
    weights: np.ndarray = np.clip((radius / distance - 1) * in_voxels / edge + 0.5, 0, 1)
    weights[tuple(halves)] = 1
    return weights


def _normalised(weights: np.ndarray) -> np.ndarray:
    normalised: np.ndarray = weights / weights.sum()
    return normalised.astype(np.float32)
