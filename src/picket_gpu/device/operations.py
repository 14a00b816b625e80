"""The innermost loops in array form, for NumPy and CuPy arrays alike.

`cuda.CudaOperations` has the same as CUDA kernels; tests compare each kernel with its form here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = Any  # numpy.ndarray or cupy.ndarray
Shape: TypeAlias = tuple[int, int, int]
Box: TypeAlias = tuple[slice, slice, slice]

_AT_ONCE = 2**17  # numbers of a spectrum that stay in a core's cache until squared and added


class Scratch:
    """Named work arrays of one worker.

    A tile's arrays are a few MB each. If they were allocated for every tile, page faults could cost
    more than the arithmetic: a pass took two to three times as long.
    """

    def __init__(self, xp: Any) -> None:
        self._xp = xp
        self._buffers: dict[str, Array] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: str = "float32") -> Array:
        """A C-contiguous array of ``shape``, contents undefined.

        It shares memory with the last one of that name, whose contents are lost.
        """
        size = prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < size or buffer.dtype != dtype:
            self._buffers.pop(name, None)  # freed before the new one is allocated
            self._buffers[name] = buffer = self._xp.empty(size, dtype=dtype)
        return buffer[:size].reshape(shape)


@dataclass(frozen=True)
class Draw:
    """A sorted draw of ``count`` distinct numbers below ``total``, uniform, a function of ``seed``.

    Systematic strata with a random phase, one uniform draw in each: stratum i runs from
    (i * total + phase) // count to the next stratum's begin, the last one wrapping around to the
    front. With a uniform phase every number is drawn with probability count / total exactly. The
    draws are a hash of (seed, i), so any part can be computed on any device without the rest.
    """

    count: int
    total: int
    seed: int

    @cached_property
    def key(self) -> int:
        """Key of the hash, below 2**64."""
        return _hash_int(self.seed)

    @cached_property
    def phase(self) -> int:
        """Begin of stratum 0."""
        return _hash_int(self.key) % self.total

    @cached_property
    def wraps(self) -> bool:
        """Whether the number of the last stratum wraps around to the front."""
        last = np.arange(self.count - 1, self.count)
        return int(_from_strata(np, last, self)[0]) >= self.total

    def numbers(self, places: np.ndarray) -> np.ndarray:
        """The numbers at some positions, int64; the smallest is at position 0."""
        numbers: np.ndarray = _drawn(np, places.astype(np.int64), self)
        return numbers


class Operations:
    """The innermost loops. Windows and raw features are columns, coordinates z are rows.

    Attributes:
        xp: the array module.
        ndimage: the scipy.ndimage that goes with it.
    """

    def __init__(self, xp: Any, ndimage: Any) -> None:
        self.xp = xp
        self.ndimage = ndimage

    def draw(self, start: int, stop: int, draw: Draw) -> Array:
        """Numbers ``start`` to ``stop`` of a draw, ascending, int64."""
        return _drawn(self.xp, self.xp.arange(start, stop, dtype=self.xp.int64), draw)

    def box_windows(self, slab: Array, box: Box, side: int, scratch: Scratch) -> Array:
        """Gather the windows whose first voxels are in ``box`` of ``slab``, with a row of ones.

        Returns:
            (side**3 + 1, windows) float32, an array of ``scratch``. Row (p * side + q) * side + r
            has voxel (p, q, r) of each window; the last row is 1, so that affine maps are products.
        """
        views = self.xp.lib.stride_tricks.sliding_window_view(slab, (side, side, side))[box]
        out = scratch.array("windows", (side**3 + 1, prod(views.shape[:3])))
        # A strided copy, one run of the volume after the other.
        out[:-1].reshape(side, side, side, *views.shape[:3])[...] = views.transpose(
            3, 4, 5, 0, 1, 2
        )
        out[-1] = 1
        return out

    def windows_at(
        self, slab: Array, index: Array, grid: Shape, plane: int, side: int, scratch: Scratch
    ) -> Array:
        """Gather windows by number, as `box_windows`.

        Args:
            index: int64, numbers in the C-ordered ``grid``.
            plane: plane of ``slab`` at which the grid begins; it can be negative.
        """
        xp = self.xp
        _, rows, columns = slab.shape
        z, rest = xp.divmod(index, grid[1] * grid[2])
        y, x = xp.divmod(rest, grid[2])
        corner = ((z + plane) * rows + y) * columns + x
        out = scratch.array("windows", (side**3 + 1, len(index)))
        flat = slab.reshape(-1)
        # Voxel by voxel: the positions of all voxels at once take more memory and time.
        for row, (p, q, r) in enumerate(np.ndindex(side, side, side)):
            out[row] = flat[(p * rows + q) * columns + r :][corner]
        out[-1] = 1
        return out

    def lines(self, windows: Array, across: Array, side: int, scratch: Scratch) -> Array:
        """DFT of windows over z and y.

        Args:
            windows: (side**3 + 1, windows) float32.
            across: (side**2, side**2). Its rows are the real and the imaginary part of each
                frequency, then zero frequency, real.

        Returns:
            (side**2, side * windows) float32 in ``scratch``, the window index running fastest.
        """
        columns = windows[:-1].reshape(side**2, -1)
        return self.xp.matmul(across, columns, out=scratch.array("lines", columns.shape))

    def box_lines(self, slab: Array, box: Box, across: Array, side: int, scratch: Scratch) -> Array:
        """DFT over z and y of the windows whose first voxels are in ``box`` of ``slab``.

        Windows in a row along x overlap. Each side x side column is transformed once, for all
        windows that contain it, in place of ``side`` times.

        Returns:
            (side**2, side, rows, windows of a row) float32, a view of an array of ``scratch``.
        """
        z, y, x = box
        corners = slab[z, y, x.start : x.stop + side - 1]
        # Not sliding_window_view, for whose 10 us the other threads of Python would wait.
        strided = self.xp.lib.stride_tricks.as_strided
        shape, strides = corners.shape, corners.strides
        gathered = scratch.array("windows", (side, side, *shape))
        gathered[...] = strided(corners, gathered.shape, (*strides[:2], *strides))
        columns = gathered.reshape(side**2, -1)
        shared = scratch.array("lines", columns.shape)
        self.xp.matmul(across, columns, out=shared)
        frequency, step = shared.strides
        windows = (shape[0] * shape[1], shape[2] - side + 1)
        return strided(shared, (side**2, side, *windows), (frequency, step, shape[2] * step, step))

    def magnitudes(
        self, lines: Array, along: Array, zero: Array, middle: float, scratch: Scratch
    ) -> Array:
        """Complete the DFT over x, and take magnitudes, with a row of ones.

        Args:
            lines: from `lines` or `box_lines`.
            along: (2 * side, 2 * side), the DFT of a complex line, real parts above imaginary ones;
                its second row is a period of the cosine, then of the sine.
            zero: (side, side), the DFT of the line at zero frequency: real parts of 0 to
                side // 2, imaginary parts of 1 to side // 2.
            middle: added to the sum over all voxels.

        Returns:
            ((side**3 + 1) / 2 + 1, windows) float32, an array of ``scratch``.
        """
        xp = self.xp
        side, pairs = len(zero), len(lines) // 2
        half, n = side // 2, lines.size // side**3
        out = scratch.array("magnitudes", (pairs * side + half + 2, n))
        squares = out[: pairs * side].reshape(pairs, side, n)
        step = max(1, _AT_ONCE // (2 * side * n))
        for first in range(0, pairs, step):
            part = lines[2 * first : 2 * min(first + step, pairs)].reshape(-1, 2 * side, n)
            spectrum = scratch.array("spectrum", part.shape)
            xp.matmul(along, part, out=spectrum)
            xp.multiply(spectrum, spectrum, out=spectrum)
            xp.add(spectrum[:, :side], spectrum[:, side:], out=squares[first : first + step])
        central = zero @ lines[-1].reshape(side, n)
        central[0] += middle
        xp.multiply(central, central, out=central)
        out[pairs * side : -1] = central[: half + 1]
        out[pairs * side + 1 : -1] += central[half + 1 :]
        xp.sqrt(out[:-1], out=out[:-1])
        out[-1] = 1
        return out

    def sums_of_squares(self, z: Array, weights: Array, scratch: Scratch) -> Array:
        """Sum over k of weights[k] z[k]^2 of each row, (windows,) float32.

        Args:
            z: (windows, k) float32.
            weights: (k,) float32.
        """
        squares = self.xp.multiply(z, z, out=scratch.array("squares", z.shape))
        return squares @ weights

    def responsibilities(self, z: Array, product: Array, scratch: Scratch) -> Array:
        """Compute the responsibilities r of component 1, whose log-odds are z . product.

        Args:
            z: (windows, k) float32.
            product: z times the quadratic form, as z; overwritten by sqrt(r) z.

        Returns:
            (windows,) float32, entropy of r in nats.
        """
        xp = self.xp
        odds = xp.einsum("ij,ij->i", product, z)
        decay = xp.exp(-xp.abs(odds))
        responsibility = xp.where(odds > 0, 1, decay) / (1 + decay)
        xp.multiply(z, xp.sqrt(responsibility)[:, None], out=product)
        return xp.log1p(decay) + xp.abs(odds) * decay / (1 + decay)

    def label_by_plane(self, slab: Array, plane: np.ndarray, side: int, labels: Array) -> None:
        """Label windows w by a correlation with one filter: 1 where plane . (w, 1) > 0.

        Args:
            slab: (planes + side - 1, y, x) float32.
            plane: (side**3 + 1,) in host memory.
            labels: (planes, y - side + 1, x - side + 1) int8, written to; a view of an array whose
                planes have the rows and columns of ``slab``.
        """
        xp, half = self.xp, side // 2
        weights = xp.asarray(plane[:-1].astype(np.float32).reshape(side, side, side))
        margin = self.ndimage.correlate(slab, weights, mode="constant")
        inside = margin[half:-half, half:-half, half:-half]
        labels[...] = inside > np.float32(-plane[-1])

    def near_places(self, capacity: int) -> "NearPlaces":
        """A collector of the positions of at most ``capacity`` windows."""
        return NearPlaces(self.xp, capacity)


class NearPlaces:
    """Collects the positions of windows near a plane, from the tiles of a pass in any order.

    Attributes:
        found: after `finish`, the number of windows near the plane, including those left out.
    """

    def __init__(self, xp: Any, capacity: int) -> None:
        self.found = 0
        self._xp = xp
        self._capacity = capacity
        self._found: list[Array] = []

    def add(self, margin: Array, width: float, base: int) -> None:
        """Add the positions ``base`` + i where \\|margin[i]\\| <= ``width``."""
        self._found.append(self._xp.flatnonzero(self._xp.abs(margin) <= width) + base)

    def finish(self, download: Callable[[Array], np.ndarray]) -> np.ndarray:
        """The positions, ascending, int64, in host memory, some left out beyond the capacity."""
        places = np.sort(download(self._xp.concatenate(self._found)))
        self.found = len(places)
        return places[: self._capacity]


def _drawn(xp: Any, places: Array, draw: Draw) -> Array:
    stratum = places - int(draw.wraps)
    number = _from_strata(xp, stratum % draw.count, draw)
    return xp.where(stratum < 0, number - draw.total, number)


def _from_strata(xp: Any, stratum: Array, draw: Draw) -> Array:
    begin = (stratum * draw.total + draw.phase) // draw.count
    width = ((stratum + 1) * draw.total + draw.phase) // draw.count - begin
    noise = _hash(xp, stratum.astype(xp.uint64) + xp.uint64(draw.key))
    return begin + (noise % width.astype(xp.uint64)).astype(xp.int64)


def _hash(xp: Any, x: Array) -> Array:
    """SplitMix64 (Steele, Lea & Flood 2014) of a uint64 array."""
    x = x * xp.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> xp.uint64(30))) * xp.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> xp.uint64(27))) * xp.uint64(0x94D049BB133111EB)
    return x ^ (x >> xp.uint64(31))


def _hash_int(x: int) -> int:
    """`_hash` of one number, with 1 added first."""
    mask = (1 << 64) - 1
    x = ((x + 1) * 0x9E3779B97F4A7C15) & mask
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
    return x ^ (x >> 31)
