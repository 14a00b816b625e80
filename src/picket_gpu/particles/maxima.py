"""Local maxima of a map, in slabs: plateaus once, positions between voxels, at least a spacing
apart."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from picket_gpu.device.backend import Backend
from picket_gpu.device.operations import Array, Shape
from picket_gpu.particles.means import MeansOfSlab

# Maps are rounded to multiples of this: well above the rounding of an FFT, so that a plateau is
# one, and what is 0 is 0; well below what heights tell.
STEP = 2.0**-16
ASKED = 256  # points whose neighbors are found at a time: few, as those of some may be many


class Runs(NamedTuple):
    """Voxels side by side along x that are maxima of one height; mostly one.

    Attributes:
        first: (n, 3) int64, the first voxel, (z, y, x).
        length: (n,) int64, voxels.
        height: (n,) float32.
        shift: (n, 3) float64, from the first voxel to the top, (z, y, x), half a voxel at most.
    """

    first: np.ndarray
    length: np.ndarray
    height: np.ndarray
    shift: np.ndarray


def find_runs(backend: Backend, values: Array, slab: MeansOfSlab) -> Runs:
    """Voxels inside, above 0 and not lower than any of the 26 around them that are inside.

    Args:
        values: made of the slab's means, in their shape, float32.
    """
    xp, inside, low = backend.xp, slab.inside, slab.low
    own = slice(slab.first - low, slab.last - low)
    planes, rows, columns = values.shape
    nothing = np.float32(-np.inf)  # lower than any maximum: around all of it, and outside
    padded = xp.full((planes + 2, rows + 2, columns + 2), nothing, dtype="float32")
    core = padded[1:-1, 1:-1, 1:-1]
    rounded = xp.rint(values * np.float32(1 / STEP)) * np.float32(STEP)
    core[...] = xp.where(inside, rounded, nothing)
    del rounded
    highest = _highest_around(xp, padded)
    top = xp.zeros(padded.shape, dtype=bool)
    mine = top[1:-1, 1:-1, 1:-1][own]
    mine[...] = (core[own] == highest[own]) & (core[own] > 0)
    top = top.reshape(-1)
    begins = xp.flatnonzero(top[1:] & ~top[:-1]) + 1
    ends = xp.flatnonzero(top[:-1] & ~top[1:]) + 1
    strides = ((rows + 2) * (columns + 2), columns + 2, 1)
    flat = padded.reshape(-1)
    height = backend.download(flat[begins])
    shift = [
        _parabola(backend.download(flat[begins - s]), height, backend.download(flat[begins + s]))
        for s in strides
    ]
    begin = backend.download(begins)
    first = np.stack(np.unravel_index(begin, padded.shape), axis=1) - 1
    first[:, 0] += low
    return Runs(first, backend.download(ends) - begin, height, np.stack(shift, axis=1))


def join(runs: Iterable[Runs]) -> Runs:
    """The runs of all slabs, which come in the order of planes."""
    none = np.empty(0, dtype=np.int64)
    empty = Runs(np.empty((0, 3), dtype=np.int64), none, np.empty(0, "float32"), np.empty((0, 3)))
    return Runs(*(np.concatenate(parts) for parts in zip(empty, *runs, strict=True)))


def merge_plateaus(runs: Runs, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """One point for each plateau: of maxima that touch by faces.

    It is the plateau's voxel nearest to its centre of mass. Where that is the first of its run, as
    it is for all plateaus of one or two voxels, it is shifted to the top of the parabola.

    Args:
        runs: in the order of voxels.
        shape: of the map.

    Returns:
        Points, (m, 3) float64, and heights, (m,) float64.
    """
    if len(runs.length) == 0:
        return np.empty((0, 3)), np.empty(0)
    count, plateau = _touching(runs, shape)
    size = np.bincount(plateau, runs.length, count)
    middle = runs.first + 0.0
    middle[:, 2] += (runs.length - 1) / 2
    centre = np.stack(
        [np.bincount(plateau, runs.length * middle[:, a], count) / size for a in range(3)], axis=1
    )[plateau]
    # Of voxels as near, the first.
    along = np.clip(np.ceil(centre[:, 2] - runs.first[:, 2] - 0.5), 0, runs.length - 1)
    nearest = runs.first + 0.0
    nearest[:, 2] += along
    distance = np.sum((nearest - centre) ** 2, axis=1)
    order = np.lexsort((distance, plateau))
    chosen = order[np.unique(plateau[order], return_index=True)[1]]
    points = nearest + np.where(along[:, None] == 0, runs.shift, 0)
    return points[chosen], runs.height[chosen].astype(np.float64)


def keep_spaced(points: np.ndarray, spacing: float) -> np.ndarray:
    """Greedily, those that are not nearer than ``spacing`` to a kept one before them.

    Args:
        points: (m, 3), the highest first, in the units of ``spacing``.

    Returns:
        (m,) bool.
    """
    tree = cKDTree(points)
    kept = np.ones(len(points), dtype=bool)
    nearer = spacing * (1 - 1e-12)  # a spacing apart is not nearer, whatever rounding did
    for begin in range(0, len(points), ASKED):
        asked = begin + np.flatnonzero(kept[begin : begin + ASKED])
        near = tree.query_ball_point(points[asked], nearer)
        for number, others in zip(asked, near, strict=True):
            if kept[number]:
                kept[others] = False
                kept[number] = True
    return kept


def _highest_around(xp: Any, values: Array) -> Array:
    """The highest of 3^3 values around each but those at the faces."""
    for axis in range(3):
        across = xp.moveaxis(values, axis, 0)
        highest = xp.maximum(xp.maximum(across[:-2], across[1:-1]), across[2:])
        values = xp.moveaxis(highest, 0, axis)
    return values


def _parabola(before: np.ndarray, top: np.ndarray, after: np.ndarray) -> np.ndarray:
    """From a maximum to the top of the parabola through three values, float64, at most 0.5.

    0 where a neighbor is no value, or all are alike.
    """
    some = np.isfinite(before) & np.isfinite(after)
    left = np.where(some, top - before, 0).astype(np.float64)
    right = np.where(some, top - after, 0).astype(np.float64)
    curvature = left + right  # of values that are not higher: 0 or more
    return (left - right) / 2 / np.where(curvature > 0, curvature, 1)


def _touching(runs: Runs, shape: Shape) -> tuple[int, np.ndarray]:
    """Number of plateaus, and the plateau of each run."""
    rows, columns = shape[1:]
    begin = (runs.first[:, 0] * rows + runs.first[:, 1]) * columns + runs.first[:, 2]
    last = begin + runs.length - 1
    ones, others = [], []
    for stride, axis in ((rows * columns, 0), (columns, 1)):
        inner = np.flatnonzero(runs.first[:, axis] < shape[axis] - 1)
        low = np.searchsorted(last, begin[inner] + stride)
        high = np.searchsorted(begin, last[inner] + stride, "right")
        touched = np.maximum(high - low, 0)
        ones.append(np.repeat(inner, touched))
        start = np.repeat(low - np.cumsum(touched) + touched, touched)
        others.append(start + np.arange(len(start)))
    one, other = np.concatenate(ones), np.concatenate(others)
    n = len(begin)
    pairs = coo_array((np.ones(len(one), dtype=bool), (one, other)), shape=(n, n))
    count, plateau = connected_components(pairs, directed=False)
    return int(count), plateau
