"""The innermost loops as CUDA kernels, with their source in `kernels.cu`."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from picket_gpu.device.operations import Array, Box, Draw, NearPlaces, Operations, Scratch, Shape

SOURCE = Path(__file__).with_name("kernels.cu")
_THREADS = 256  # per block
_WARP = 32
_RUN = 16  # planes of labels per thread
OPTIONS = ("--std=c++14", f"-DRUN={_RUN}")  # of the compiler, beside the window side


class Module(Protocol):
    """Compiled kernels."""

    def get_function(self, name: str) -> Callable[[tuple[int, ...], tuple[int, ...], Any], None]:
        """A kernel; call it with a grid, a block and its arguments."""

    def set_global(self, name: str, values: np.ndarray) -> None:
        """Copy ``values`` from host memory to an array of the module."""


class CudaOperations(Operations):
    """`Operations` as kernels. Offsets are 64-bit, as in the kernels' signatures."""

    def __init__(self, xp: Any, ndimage: Any, load: Callable[[int], Module], warp: int = _WARP):
        """
        Args:
            load: compiles `kernels.cu` for a window side.
            warp: number of threads for one window in ``responsibilities``.
        """
        super().__init__(xp, ndimage)
        self._load = cache(load)
        self._warp = warp

    def _launch(self, name: str, side: int, threads: int, *arguments: Any) -> None:
        """Run a kernel in ``threads`` threads; integers are passed as 64-bit ones. Kernels that are
        the same for every side come from the module for 3."""
        blocks = -(-threads // _THREADS)
        typed = tuple(np.int64(a) if type(a) is int else a for a in arguments)
        self._load(side).get_function(name)((blocks,), (_THREADS,), typed)

    def draw(self, start: int, stop: int, draw: Draw) -> Array:
        count = stop - start
        out = self.xp.empty(count, dtype="int64")
        key = np.uint64(draw.key)
        numbers = (start, count, draw.count, draw.total, draw.phase, key, int(draw.wraps))
        self._launch("draw", 3, count, *numbers, out)
        return out

    def box_windows(self, slab: Array, box: Box, side: int, scratch: Scratch) -> Array:
        depth, height, width = (s.stop - s.start for s in box)
        count = depth * height * width
        out = scratch.array("windows", (side**3 + 1, count))
        corner = (s.start for s in box)
        shape = (*slab.shape[1:], *corner, height, width, count)
        self._launch("box_windows", side, count, slab, *shape, out)
        return out

    def windows_at(
        self, slab: Array, index: Array, grid: Shape, plane: int, side: int, scratch: Scratch
    ) -> Array:
        count = len(index)
        out = scratch.array("windows", (side**3 + 1, count))
        shape = (plane, *grid[1:], count)
        self._launch("windows_at", side, count, slab, *slab.shape[1:], index, *shape, out)
        return out

    def box_lines(self, slab: Array, box: Box, across: Array, side: int, scratch: Scratch) -> Array:
        """From windows, since the kernel of `magnitudes` reads each window's own lines."""
        return self.lines(self.box_windows(slab, box, side, scratch), across, side, scratch)

    def magnitudes(
        self, lines: Array, along: Array, zero: Array, middle: float, scratch: Scratch
    ) -> Array:
        side = len(zero)
        count = lines.shape[1] // side
        out = scratch.array("magnitudes", ((side**3 + 1) // 2 + 1, count))
        waves = along[1]  # the lowest frequency, from which the kernel has all others
        self._launch("magnitudes", side, count, lines, waves, np.float32(middle), count, out)
        return out

    def sums_of_squares(self, z: Array, weights: Array, scratch: Scratch) -> Array:
        count, size = z.shape
        out = scratch.array("sums", (count,))
        self._launch("sums_of_squares", 3, count * self._warp, z, weights, size, count, out)
        return out

    def responsibilities(self, z: Array, product: Array, scratch: Scratch) -> Array:
        count, size = z.shape
        entropy = scratch.array("entropy", (count,))
        threads = count * self._warp
        self._launch("responsibilities", 3, threads, z, product, size, count, entropy)
        return entropy

    def label_by_plane(self, slab: Array, plane: np.ndarray, side: int, labels: Array) -> None:
        module = self._load(side)
        module.set_global("FILTER", plane[:-1].astype(np.float32))
        _, rows, columns = (np.int64(n) for n in slab.shape)
        depth, height, width = labels.shape
        bias = np.float32(-plane[-1])
        block = (_WARP, _THREADS // _WARP)
        grid = (-(-width // block[0]), -(-height // block[1]), -(-depth // _RUN))
        kernel = module.get_function("label_by_plane")
        kernel(grid, block, (slab, rows, columns, np.int64(depth), bias, labels))

    def near_places(self, capacity: int) -> NearPlaces:
        return _NearPlaces(self, capacity)


class _NearPlaces(NearPlaces):
    """Keeps its count on the device until the end, so that the host need not wait per tile."""

    def __init__(self, operations: CudaOperations, capacity: int) -> None:
        super().__init__(operations.xp, capacity)
        self._launch = operations._launch
        self._count = self._xp.zeros(1, dtype="uint64")
        self._places = self._xp.empty(capacity, dtype="int64")

    def add(self, margin: Array, width: float, base: int) -> None:
        count, capacity = len(margin), self._capacity
        arguments = (margin, np.float32(width), base, count, capacity, self._count, self._places)
        self._launch("add_near", 3, count, *arguments)

    def finish(self, download: Callable[[Array], np.ndarray]) -> np.ndarray:
        self.found = int(download(self._count)[0])
        return np.sort(download(self._places[: min(self.found, self._capacity)]))
