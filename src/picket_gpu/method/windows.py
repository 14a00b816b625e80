"""Windows (neighborhoods): sets of them, their tiles, and gathering a tile from the volume.

The volume is the compact form of all its windows: 4 bytes per voxel against 500. So windows are
never stored; every pass gathers tiles that stay in cache, and reduces them to sums.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from math import gcd, prod
from typing import TypeAlias

import numpy as np

from picket_gpu.device.operations import Array, Box, Draw, Operations, Scratch, Shape
from picket_gpu.errors import PicketError
from picket_gpu.method.feature_mode import Extractor
from picket_gpu.method.volume import Slab

# Windows of one tile: a box of the window grid, or a run of positions in a sorted sample.
Tile: TypeAlias = Box | range
ALIGNED = 4  # windows, so that rows of a tile's arrays begin at multiples of 16 bytes
DRAWN_AT_ONCE = 2**20
MOST_DRAWN = 2**63  # windows of a sample times all windows: the draw computes in 64 bits


@dataclass(frozen=True)
class WindowSet:
    """Windows that lie inside ``volume[lower:upper]``, or a sample of them.

    Attributes:
        volume_shape: shape of the whole volume, (z, y, x).
        side: window side in voxels, odd.
        lower: first z-slice of the range.
        upper: end of the range, exclusive.
        cap: greatest number of windows; None for all. If there are more, exactly ``cap`` distinct
            ones are drawn, uniformly, as a function of ``seed`` alone.
        seed: seed of the draw.
    """

    volume_shape: Shape
    side: int
    lower: int
    upper: int
    cap: int | None = None
    seed: int = 0

    @property
    def grid(self) -> Shape:
        """Number of windows along (z, y, x)."""
        _, y, x = self.volume_shape
        margin = self.side - 1
        return (self.upper - self.lower - margin, y - margin, x - margin)

    @property
    def count(self) -> int:
        """Number of windows in the set."""
        return prod(self.grid) if self.cap is None else min(self.cap, prod(self.grid))

    @cached_property
    def _draw(self) -> Draw:
        return Draw(self.count, prod(self.grid), self.seed)

    def sample(self, cap: int) -> "WindowSet":
        """Draw at most ``cap`` of the windows, uniformly, as a function of the seed alone."""
        return replace(self, cap=cap)

    def tiles(self, size: int, step: int) -> Iterator[Tile]:
        """Cut the windows into pieces of at most ``size``, in C order of the window grid.

        All but the last pieces have a multiple of `ALIGNED` windows, if ``size`` allows it. The
        windows of a piece begin in the same slab, on planes of the volume from one multiple of
        ``step`` to the next.
        """
        edges = _edges(self.lower, self.lower + self.grid[0], step)
        if self.count == prod(self.grid):
            for first, last in pairwise(edges):
                yield from _boxes(self.grid, slice(first - self.lower, last - self.lower), size)
        else:
            yield from _runs([self._first_place_from(edge) for edge in edges], size)

    def first_planes(self, tiles: Sequence[Tile]) -> list[int]:
        """For each of ``tiles``, the plane of the volume on which its first window begins."""
        starts = [tile.start for tile in tiles if isinstance(tile, range)]
        if not starts:
            return [self.lower + tile[0].start for tile in tiles if not isinstance(tile, range)]
        numbers = self._numbers(np.array(starts))
        planes: list[int] = (self.lower + numbers // (self.grid[1] * self.grid[2])).tolist()
        return planes

    def features(self, extract: Extractor, slab: Slab, tile: Tile, scratch: Scratch) -> Array:
        """Compute the raw features of a tile's windows.

        Args:
            extract: computes raw features from windows.
            slab: planes of the volume that hold the tile's windows.

        Returns:
            (raw + 1, windows) float32 in ``scratch``; the last row is 1.
        """
        plane, grid, side = self.lower - slab.first, self.grid, self.side
        if isinstance(tile, range):
            operations = extract.operations
            index = self._index(operations, tile)
            windows = operations.windows_at(slab.data, index, grid, plane, side, scratch)
            return extract.of_windows(windows, scratch)
        z, y, x = tile
        box = (slice(z.start + plane, z.stop + plane), y, x)
        return extract.of_box(slab.data, box, scratch)

    def choose(self, tiles: list[Tile], places: np.ndarray, size: int) -> "ChosenWindows":
        """Choose some of the windows.

        Args:
            tiles: tiles of this set, of at most ``size`` windows.
            places: number of the tile * ``size`` + position in the tile, ascending.
        """
        ends = np.searchsorted(places, np.arange(len(tiles) + 1) * size)
        parts = [
            self._numbers_in(tiles[number], places[ends[number] : ends[number + 1]] - number * size)
            for number in np.flatnonzero(np.diff(ends))
        ]
        index = np.sort(np.concatenate([np.empty(0, dtype=np.int64), *parts]))
        return ChosenWindows(self.volume_shape, self.side, self.lower, self.upper, index=index)

    def _numbers_in(self, tile: Tile, inside: np.ndarray) -> np.ndarray:
        """Numbers in the window grid of the windows at positions ``inside`` a tile."""
        if isinstance(tile, range):
            return self._numbers(tile.start + inside)
        z, y, x = np.unravel_index(inside, tuple(s.stop - s.start for s in tile))
        corner = (z + tile[0].start, y + tile[1].start, x + tile[2].start)
        numbers: np.ndarray = np.ravel_multi_index(corner, self.grid)
        return numbers

    def _numbers(self, places: np.ndarray) -> np.ndarray:
        """Numbers in the window grid of the sampled windows at some positions."""
        return self._draw.numbers(places)

    def _index(self, operations: Operations, tile: range) -> Array:
        """Numbers in the window grid of a tile's windows, on the device."""
        return operations.draw(tile.start, tile.stop, self._draw)

    def _first_place_from(self, plane: int) -> int:
        """The first position in the sample whose window begins on ``plane`` or beyond."""
        number = (plane - self.lower) * self.grid[1] * self.grid[2]
        draw = self._draw
        return bisect_left(
            range(self.count), number, key=lambda place: int(draw.numbers(np.array([place]))[0])
        )


@dataclass(frozen=True, eq=False)
class ChosenWindows(WindowSet):
    """Windows by their numbers.

    Attributes:
        index: numbers in the C-ordered window grid, ascending, uint32 or int64, in host memory.
    """

    index: np.ndarray = field(kw_only=True)

    @property
    def count(self) -> int:
        return len(self.index)

    def sample(self, cap: int) -> "WindowSet":
        if cap >= self.count:
            return self
        draw, index = Draw(cap, self.count, self.seed), np.empty(cap, self.index.dtype)
        for run in _runs([0, cap], DRAWN_AT_ONCE):
            index[run.start : run.stop] = self.index[draw.numbers(np.array(run))]
        return replace(self, index=index)

    def tiles(self, size: int, step: int) -> Iterator[Tile]:
        edges = np.array(_edges(self.lower, self.lower + self.grid[0], step))
        numbers = (edges - self.lower) * (self.grid[1] * self.grid[2])
        # Of another type, searchsorted would copy the index.
        places = np.searchsorted(self.index, numbers.astype(self.index.dtype))
        yield from _runs(places.tolist(), size)

    def _numbers(self, places: np.ndarray) -> np.ndarray:
        numbers: np.ndarray = self.index[places].astype(np.int64)
        return numbers

    def _index(self, operations: Operations, tile: range) -> Array:
        numbers = self.index[tile.start : tile.stop].astype(np.int64, copy=False)
        return operations.xp.asarray(numbers)


def fit_windows(
    shape: Shape,
    side: int,
    lower: int | None = None,
    upper: int | None = None,
    cap: int | None = None,
    seed: int = 0,
    name: str = "volume",
) -> WindowSet:
    """The windows used for fitting.

    Args:
        shape: shape of the volume, (z, y, x).
        side: window side in voxels, odd.
        lower: first z-slice of the range, from 0; None for the volume's first.
        upper: end of the range, exclusive; None for the volume's end.
        cap: greatest number of windows; None for all.
        seed: seed of the draw, if there are more.
        name: name of the volume in errors.

    Raises:
        PicketError: the bounds are outside the volume, or a window does not fit.
    """
    depth = shape[0]
    for key, bound in (("lower", lower), ("upper", upper)):
        if bound is not None and not 0 <= bound <= depth:
            raise PicketError(
                f"{name}: {key}_z-slice_limit {bound} is outside the volume; use 0 to {depth}"
            )
    first, last = lower or 0, depth if upper is None else upper
    if last - first < side:
        raise PicketError(
            f"{name}: z-slices {first} to {last} are fewer than neighborhood_size {side}; set "
            f"lower_z-slice_limit and upper_z-slice_limit at least {side} apart"
            if depth >= side
            else f"{name}: {depth} z-slices are fewer than neighborhood_size {side}; use a "
            "smaller neighborhood_size"
        )
    if min(shape[1:]) < side:
        raise PicketError(
            f"{name}: {shape[1]} x {shape[2]} voxels in y and x are fewer than "
            f"neighborhood_size {side}; use a smaller neighborhood_size"
        )
    windows = WindowSet(shape, side, first, last, cap, seed)
    if windows.count < prod(windows.grid) >= MOST_DRAWN // windows.count:
        raise PicketError(
            f"{name}: {windows.count} of {prod(windows.grid)} neighborhoods are too many to "
            "sample; use a max_num_neighborhoods_for_fitting below "
            f"{MOST_DRAWN // prod(windows.grid)}"
        )
    if windows.count < 2:
        raise PicketError(
            f"{name}: has room for one neighborhood of {side} voxels only; two "
            "clusters need at least 2"
        )
    return windows


def all_windows(shape: Shape, side: int) -> WindowSet:
    """Every window of the volume, one for each voxel that gets a label."""
    return WindowSet(shape, side, 0, shape[0])


def masked_windows(
    windows: WindowSet, mask: np.ndarray, name: str = "volume", where: str = "in the mask"
) -> WindowSet:
    """The windows whose centre is in a mask, at most ``windows.cap`` of them.

    Args:
        windows: the windows without the mask.
        mask: bool, (z, y, x), of the whole volume.
        name: name of the volume in errors.
        where: description of the mask in errors.

    Raises:
        PicketError: fewer than two windows are left.
    """
    centres = centres_in(windows, mask, name, where)
    plane = prod(windows.grid[1:])
    dtype = np.uint32 if prod(windows.grid) < 2**32 else np.int64
    index = np.empty(np.count_nonzero(centres), dtype)
    filled = 0
    for number, inside in enumerate(centres):  # plane by plane: little memory beside the index
        places = np.flatnonzero(inside)
        index[filled : filled + len(places)] = places + number * plane
        filled += len(places)
    chosen = ChosenWindows(
        windows.volume_shape,
        windows.side,
        windows.lower,
        windows.upper,
        seed=windows.seed,
        index=index,
    )
    return chosen if windows.cap is None else chosen.sample(windows.cap)


def centres_in(
    windows: WindowSet, mask: np.ndarray, name: str = "volume", where: str = "in the mask"
) -> np.ndarray:
    """View of a mask at the centres of windows, with arguments and errors of `masked_windows`."""
    half = windows.side // 2
    centres = mask[windows.lower + half : windows.upper - half, half:-half, half:-half]
    if (count := np.count_nonzero(centres)) < 2:
        raise PicketError(
            f"{name}: too few neighborhoods for fitting {where} ({count}, two clusters need "
            "at least 2); change the z-slice limits or the mask"
        )
    return centres


def _edges(first: int, last: int, step: int) -> list[int]:
    """``first``, the multiples of ``step`` between the two, and ``last``."""
    return [first, *range((first // step + 1) * step, last, step), last]


def _runs(edges: list[int], size: int) -> Iterator[range]:
    """Runs of at most ``size`` between one edge and the next."""
    if size > ALIGNED:
        size -= size % ALIGNED
    for first, last in pairwise(edges):
        for start in range(first, last, size):
            yield range(start, min(start + size, last))


def _boxes(grid: Shape, planes: slice, size: int) -> Iterator[Box]:
    """Boxes of at most ``size`` windows that cover ``planes`` of ``grid``: whole planes, whole rows
    or parts of rows."""
    z, y, x = planes.stop - planes.start, *grid[1:]
    step_x = _even_step(x, size, 1)
    step_y = _even_step(y, size // x, x)
    step_z = _even_step(z, size // (y * x), y * x)
    for k in range(planes.start, planes.stop, step_z):
        for j in range(0, y, step_y):
            for i in range(0, x, step_x):
                yield (
                    slice(k, min(k + step_z, planes.stop)),
                    slice(j, min(j + step_y, y)),
                    slice(i, min(i + step_x, x)),
                )


def _even_step(n: int, most: int, windows: int) -> int:
    """Step of at most ``most`` that cuts ``n`` into even pieces: 96 rows into 48 and 48, not 85
    and 11.

    Args:
        windows: number of windows in each of the ``n``.
    """
    if most >= n:
        return n
    multiple = ALIGNED // gcd(ALIGNED, windows)
    if most < multiple:
        multiple = 1
    most = max(1, most - most % multiple)
    even = -(-n // -(-n // most))
    return -(-even // multiple) * multiple
