"""Windows (neighborhoods): which ones, in what tiles, and gathering a tile from the volume.

The volume is the compact form of all its windows: 4 bytes a voxel against 500. So windows are never
stored; every pass over them gathers tiles, sized to stay in cache, and reduces them to sums.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

from picket_gpu.backend import Array, Scratch
from picket_gpu.errors import PicketError

Shape: TypeAlias = tuple[int, int, int]
# Windows of one tile: a box of the window grid, or a run of places in a sorted sample.
Tile: TypeAlias = tuple[slice, slice, slice] | range


@dataclass(frozen=True)
class WindowSet:
    """Windows of side ``side`` that lie wholly inside ``volume[lower:upper]``, or a sample of them.

    Attributes:
        volume_shape: of the whole volume, (z, y, x).
        side: window side in voxels, odd.
        lower, upper: bounds of the section on z, half-open.
        cap: at most this many windows; None for all. A smaller cap than there are windows draws
            exactly ``cap`` distinct ones, uniformly, as a function of ``seed`` alone.
        seed: of the draw.
    """

    volume_shape: Shape
    side: int
    lower: int
    upper: int
    cap: int | None = None
    seed: int = 0

    @property
    def grid(self) -> Shape:
        """Windows along (z, y, x) of the section."""
        _, y, x = self.volume_shape
        margin = self.side - 1
        return (self.upper - self.lower - margin, y - margin, x - margin)

    @property
    def count(self) -> int:
        """Number of windows in the set."""
        return prod(self.grid) if self.cap is None else min(self.cap, prod(self.grid))

    def tiles(self, size: int) -> Iterator[Tile]:
        """The windows in pieces of at most ``size``, in C order of the window grid."""
        if self.count < prod(self.grid):
            for start in range(0, self.count, size):
                yield range(start, min(start + size, self.count))
        else:
            yield from _boxes(self.grid, size)

    def gather(self, xp: Any, volume: Array, tile: Tile, scratch: Scratch) -> Array:
        """Voxels of a tile's windows, and a row of ones.

        Args:
            volume: the whole volume, (z, y, x) float32.

        Returns:
            (side**3 + 1, windows) float32, an array of ``scratch``. Row (p * side + q) * side + r
            holds voxel (p, q, r) of each window; the last row is 1, so that affine maps are plain
            products.
        """
        section = volume[self.lower : self.upper]
        if isinstance(tile, range):
            total = prod(self.grid)
            index = sample(xp, tile.start, tile.stop, self.count, total, self.seed)
            return _gather_scattered(xp, section, index, self.grid, self.side, scratch)
        return _gather_box(xp, section, tile, self.side, scratch)


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
        shape: of the volume, (z, y, x).
        side: window side in voxels, odd.
        lower, upper: bounds of the section on z, 0-based, half-open; None for the volume's end.
        cap: at most this many windows.
        seed: of the draw under a cap.
        name: what to call the volume in an error.

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
            f"{name}: z-slices {first} to {last} are too thin for a neighborhood of {side}; "
            f"set lower_z-slice_limit and upper_z-slice_limit at least {side} apart"
            if depth >= side
            else f"{name}: {depth} z-slices are fewer than neighborhood_size {side}"
        )
    if min(shape[1:]) < side:
        raise PicketError(
            f"{name}: {shape[1]} x {shape[2]} voxels in y and x are fewer than "
            f"neighborhood_size {side}; use a smaller neighborhood"
        )
    windows = WindowSet(shape, side, first, last, cap, seed)
    if windows.count < 2:
        raise PicketError(f"{name}: has a single window of {side} voxels; two clusters need two")
    return windows


def all_windows(shape: Shape, side: int) -> WindowSet:
    """Every window of the volume, one for each voxel that gets a label."""
    return WindowSet(shape, side, 0, shape[0])


def sample(xp: Any, start: int, stop: int, count: int, total: int, seed: int) -> Array:
    """Places ``start`` to ``stop`` of a sorted draw of ``count`` distinct numbers below ``total``.

    Systematic strata with a random phase, one uniform draw in each: stratum i runs from
    (i * total + phase) // count to the next stratum's begin, the last one wrapping around to the
    front. With a uniform phase every number is drawn with probability count / total exactly. The
    draws are a hash of (seed, i), so any part can be had on any device without the rest.

    Returns:
        int64, ascending.
    """
    key = _hash_int(seed)
    phase = _hash_int(key) % total

    def draw(stratum: Array) -> Array:
        begin = (stratum * total + phase) // count
        width = ((stratum + 1) * total + phase) // count - begin
        noise = _hash(xp, stratum.astype(xp.uint64) + xp.uint64(key))
        return begin + (noise % width.astype(xp.uint64)).astype(xp.int64)

    last = xp.arange(count - 1, count, dtype=xp.int64)
    wraps = int(draw(last)[0]) >= total  # the last stratum's draw belongs to the front
    stratum = xp.arange(start, stop, dtype=xp.int64) - int(wraps)
    index = draw(stratum % count)
    return xp.where(stratum < 0, index - total, index)


def _hash(xp: Any, x: Array) -> Array:
    """SplitMix64 (Steele, Lea & Flood 2014) of a uint64 array."""
    x = x * xp.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> xp.uint64(30))) * xp.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> xp.uint64(27))) * xp.uint64(0x94D049BB133111EB)
    return x ^ (x >> xp.uint64(31))


def _hash_int(x: int) -> int:
    """`_hash` of one number."""
    mask = (1 << 64) - 1
    x = ((x + 1) * 0x9E3779B97F4A7C15) & mask
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
    return x ^ (x >> 31)


def _boxes(grid: Shape, size: int) -> Iterator[tuple[slice, slice, slice]]:
    """Boxes of at most ``size`` windows that cover ``grid``: planes, or rows, or parts of rows."""
    z, y, x = grid
    step_x = min(x, size)
    step_y = max(1, min(y, size // x))
    step_z = max(1, min(z, size // (y * x)))
    # Even steps: 96 rows in pieces of 48, not of 85 and 11.
    step_x, step_y, step_z = (
        -(-n // -(-n // step)) for n, step in ((x, step_x), (y, step_y), (z, step_z))
    )
    for k in range(0, z, step_z):
        for j in range(0, y, step_y):
            for i in range(0, x, step_x):
                yield (
                    slice(k, min(k + step_z, z)),
                    slice(j, min(j + step_y, y)),
                    slice(i, min(i + step_x, x)),
                )


def _gather_box(
    xp: Any, volume: Array, box: tuple[slice, slice, slice], side: int, scratch: Scratch
) -> Array:
    windows = xp.lib.stride_tricks.sliding_window_view(volume, (side, side, side))[box]
    out = scratch.array("windows", (side**3 + 1, prod(windows.shape[:3])))
    # A strided copy, one run of the volume after the other.
    out[:-1].reshape(side, side, side, *windows.shape[:3])[...] = windows.transpose(
        3, 4, 5, 0, 1, 2
    )
    out[-1] = 1
    return out


def _gather_scattered(
    xp: Any, volume: Array, index: Array, grid: Shape, side: int, scratch: Scratch
) -> Array:
    """As `_gather_box`, for windows ``index`` of the C-ordered ``grid``."""
    _, rows, columns = volume.shape
    z, rest = xp.divmod(index, grid[1] * grid[2])
    y, x = xp.divmod(rest, grid[2])
    corner = (z * rows + y) * columns + x
    p, q, r = (xp.arange(side, dtype=xp.int64).reshape(shape) for shape in _AXES)
    inside = ((p * rows + q) * columns + r).reshape(-1, 1)
    out = scratch.array("windows", (side**3 + 1, len(index)))
    place = xp.add(corner, inside, out=scratch.array("places", (side**3, len(index)), "int64"))
    xp.take(volume.reshape(-1), place, out=out[:-1])
    out[-1] = 1
    return out


_AXES = ((-1, 1, 1), (1, -1, 1), (1, 1, -1))
