"""What candidates look like, in 23 numbers each, by which answers for some tell of others.

They are read from the tomogram that is at hand, blurred as for its segmentations, in voxels around
each candidate: 96 directions evenly over the sphere, at 0 to 2 radii of a particle in steps of 0.2.
"""

from functools import cache
from math import pi, sqrt
from typing import Any

import numpy as np

from picket_gpu.device.backend import Backend
from picket_gpu.device.operations import Array, Scratch
from picket_gpu.particles.picks import VoxelSize

COUNT = 23  # with the height, which is number `HEIGHT` from 0
HEIGHT = 19
RAW = COUNT - 1
CUT = 4.0  # of standardised numbers
UNITS = 8000  # of a standardised number, which are whole, so that 16 bits hold it

DIRECTIONS = 96
STEPS = np.arange(11) * 0.2  # radii of spheres around a candidate, in those of a particle
_BALL, _SHELL, _OUTSIDE = slice(1, 6), slice(5, 9), slice(8, 11)  # of `STEPS`
_BEYOND = slice(6, 9)  # the shell of what a ball is compared with
_SHAPE = slice(1, 7)  # whose values tell the shape
_PARTS = 16  # of a tile: a chunk takes about ten arrays at a time
_LEAST = 1e-12


def describe(
    points: np.ndarray,
    diameters: np.ndarray,
    heights: np.ndarray,
    voxel_size: VoxelSize,
    tomogram: Array,
    backend: Backend,
) -> np.ndarray:
    """Numbers 1 to 19 and 21 to 23 of candidates, as they are before `standardised`.

    With s the voxels of a sphere, b the mean of s from 1.6 to 2 radii, and u directions:

    - 1 to 11: the mean of s on each sphere.
    - 12 to 14: eigenvalues l1 <= l2 <= l3 of the sum of w u u', w = (s - b) r^4 to a radius r of
      1.2, as l3 - l1, l2 - l1, and their sum, each over the sum of \\|w\\|.
    - 15: the length of the sum of (s - b) r^3 u, over the same.
    - 16, 17: the mean slope in the ball, to 1 radius, and in the shell from there to 1.6.
    - 18, 19: the mean square of what a voxel differs from its six neighbors, likewise.
    - 21: the mean of s in the ball less that from 1.2 to 1.6.
    - 22, 23: the heights in the tomogram, and in the scores, 0 without any.

    The method was found with the unblurred tomogram: 1 to 19 and 21 from a blur of 1 voxel, and 18
    and 19 from what that blur takes away. The blur of 2 voxels that a run has at hand does as well,
    .861 and .868 F1 after 20 answers where kinds do not count, .932 and .946 for one kind of two:
    benchmarks/README.md.

    Args:
        points: (m, 3), (z, y, x) in voxels.
        diameters: (m,), of each, in the units of ``voxel_size``, (z, y, x).
        heights: (1 or 2, m), in the tomogram alone, or in scores and tomogram.
        tomogram: (z, y, x) float32, at least 3 voxels a side, blurred, on the host or the device.
        backend: where to compute, if the tomogram is there; else it is done on the host.

    Returns:
        (m, 22) float32, in any units.
    """
    found = np.zeros((len(points), RAW), dtype=np.float32)
    on_host = isinstance(tomogram, np.ndarray)
    # Neighbors in memory are read together.
    order = np.lexsort(np.rint(points).T[::-1])
    reach = diameters[:, None] / 2 / np.array(voxel_size)
    at_once = max(1, backend.tile_bytes // (_PARTS * 8 * DIRECTIONS * len(STEPS)))
    chunks = [order[first : first + at_once] for first in range(0, len(order), at_once)]

    def work(chunk: np.ndarray, _: Scratch) -> np.ndarray:
        xp = np if on_host else backend.xp
        around = _Around(xp, tomogram, points[chunk], reach[chunk])
        numbers = around.numbers()
        return _with_shape(numbers if on_host else backend.download(numbers))

    with backend.exclusive():
        for chunk, numbers in zip(chunks, backend.map(work, chunks), strict=True):
            found[chunk, : RAW - 2] = numbers
    found[:, RAW - 2] = heights[-1]
    if len(heights) > 1:
        found[:, RAW - 1] = heights[0]
    return found


def standardised(descriptors: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """The 23 numbers of candidates of one tomogram, each of mean 0 and deviation 1 over them all.

    Numbers are cut at 4 either way and are multiples of 1 / 8000, so that a page, which has them in
    16 bits, has the same.

    Args:
        descriptors: (m, 22), from `describe`.
        heights: (m,), number 20.

    Returns:
        (m, 23) float64.
    """
    numbers = np.insert(descriptors.astype(np.float64), HEIGHT, heights, axis=1)
    if not len(numbers):
        return numbers
    numbers -= numbers.mean(axis=0)
    deviation = numbers.std(axis=0)
    # What is the same in all but for rounding says nothing.
    numbers /= np.where(deviation > _LEAST, deviation, np.inf)
    rounded: np.ndarray = np.rint(UNITS * np.clip(numbers, -CUT, CUT)) / UNITS
    return rounded


@cache
def _directions() -> np.ndarray:
    """Unit vectors evenly over the sphere, (directions, 3) float64: a Fibonacci lattice."""
    number = np.arange(DIRECTIONS) + 0.5
    z = 1 - 2 * number / DIRECTIONS
    turn = number * pi * (1 + sqrt(5))
    across = np.sqrt(1 - z**2)
    return np.stack([z, across * np.sin(turn), across * np.cos(turn)], axis=1)


class _Around:
    """A volume around some points, read on spheres, (points, spheres, directions).

    Attributes:
        values: at the places themselves, by the slope from the nearest voxel.
        slopes: lengths of the slope at the nearest voxel.
        rough: what it differs from the mean of its six neighbors.
    """

    def __init__(self, xp: Any, volume: Array, points: np.ndarray, reach: np.ndarray) -> None:
        """Read the volume.

        Args:
            points: (m, 3), (z, y, x) in voxels.
            reach: (m, 3), radii of particles along each axis, voxels.
        """
        self.xp = xp
        flat, shape = volume.reshape(-1), volume.shape
        strides = (shape[1] * shape[2], shape[2], 1)
        spheres = xp.asarray(STEPS[:, None, None] * _directions())  # (spheres, directions, 3)
        place = 0
        beyond = []
        for axis in range(3):
            centre = xp.asarray(points[:, axis])[:, None, None]
            along = centre + xp.asarray(reach[:, axis])[:, None, None] * spheres[..., axis]
            nearest = xp.clip(xp.rint(along), 1, shape[axis] - 2)
            # Beyond the faces it goes on as it is there.
            beyond.append(xp.clip(along - nearest, -1, 1).astype("float32"))
            place = place + nearest.astype("int64") * strides[axis]
        middle = flat[place]
        self.values = middle.copy()
        squares, self.rough = xp.zeros_like(middle), -middle
        for stride, step in zip(strides, beyond, strict=True):
            before, after = flat[place - stride], flat[place + stride]
            slope = (after - before) / 2
            self.values += slope * step
            squares += slope * slope
            self.rough += (before + after) / 6
        self.slopes = xp.sqrt(squares)

    def numbers(self) -> Array:
        """All but the last two and the shape: (m, 30) float64: 12 to 15 are still to be made of the
        last 10, and of what precedes them."""
        xp, steps = self.xp, self.xp.asarray(STEPS)
        values = self.values.astype("float64")
        profile = values.mean(axis=2)
        beside = profile[:, _OUTSIDE].mean(axis=1)
        off = values[:, _SHAPE] - beside[:, None, None]
        u = xp.asarray(_directions())
        fourth = off * steps[_SHAPE, None] ** 4
        third = (off * steps[_SHAPE, None] ** 3).sum(axis=1)
        pairs = (u[:, :, None] * u[:, None, :]).reshape(DIRECTIONS, 9)
        return xp.concatenate(
            [
                profile,
                xp.stack(
                    [
                        self._mean(self.slopes, _BALL),
                        self._mean(self.slopes, _SHELL),
                        self._mean(self.rough**2, _BALL),
                        self._mean(self.rough**2, _SHELL),
                        self._mean(values, slice(0, 6)) - self._mean(values, _BEYOND),
                        xp.abs(fourth).sum(axis=(1, 2)),
                        xp.sqrt(((third @ u) ** 2).sum(axis=1)),
                    ],
                    axis=1,
                ),
                fourth.sum(axis=1) @ pairs,
            ],
            axis=1,
        )

    def _mean(self, values: Array, spheres: slice) -> Array:
        """Mean over a ball or a shell, (m,) float64."""
        weights = self.xp.asarray(STEPS[spheres] ** 2 / (STEPS[spheres] ** 2).sum())
        return values[:, spheres].astype("float64").mean(axis=2) @ weights


def _with_shape(numbers: np.ndarray) -> np.ndarray:
    """Numbers 1 to 19 and 21 from those of `_Around`, (m, 20)."""
    profile, rest, sums = np.split(numbers, [11, 18], axis=1)
    *plain, total, length = rest.T
    total = np.maximum(total, _LEAST)
    low, middle, high = np.linalg.eigvalsh(sums.reshape(-1, 3, 3)).T
    shape = [high - low, middle - low, low + middle + high, length]
    return np.column_stack([profile, *(each / total for each in shape), *plain])
