"""Pinned host memory, by which a GPU's copies are fast and go on while it computes.

Pageable memory is copied at a fraction of the speed, and not in the background. Pinning memory
takes longer than a copy of it, so what is pinned stays and is used again.
"""

import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from picket_gpu.device.backend import MIB
from picket_gpu.device.operations import Array


class PinnedArrays:
    """Arrays in pinned memory. The memory of the last one that came free is kept for the next."""

    def __init__(self, cupy: Any) -> None:
        self._cuda = cupy.cuda
        self._free: tuple[Any, int] | None = None

    def empty(self, size: int) -> np.ndarray:
        """A float32 array of ``size`` elements, contents undefined.

        Raises:
            cupy.cuda.runtime.CUDARuntimeError: the system cannot pin as much.
        """
        free, self._free = self._free, None
        if free is None or not size <= free[1] <= 2 * size:  # not a large one for a small one
            del free  # before the new one is there
            # Not by CuPy's pool of pinned memory, which rounds up to a power of two.
            free = self._cuda.PinnedMemory(4 * size), size
        pointer = self._cuda.PinnedMemoryPointer(free[0], 0)
        array = np.frombuffer(pointer, dtype=np.float32, count=size)
        weakref.finalize(array, self._keep, free)  # all views of it have it as their base
        return array

    def _keep(self, memory: tuple[Any, int]) -> None:
        self._free = memory


class Staging:
    """Copies between the device and pageable host memory by way of pinned buffers, in turn.

    While a buffer is on its way the host fills or empties another one.
    """

    least = MIB  # of an array that goes up by staging; smaller ones are left to CuPy
    buffers = 8
    buffer_bytes = 8 * MIB
    # Arrays that together have at most so many bytes come down without waiting for one another:
    # four may end in a buffer that is nearly empty.
    at_once = 4 * buffer_bytes

    def __init__(self, cupy: Any, host_empty: Callable[[tuple[int, ...]], np.ndarray]) -> None:
        """
        Args:
            host_empty: makes a float32 array in pinned memory.
        """
        memory = host_empty((self.buffers * self.buffer_bytes // 4,)).view(np.uint8)
        self._cupy = cupy
        self._buffers = deque(_Buffer(part) for part in np.split(memory, self.buffers))
        self._stream = cupy.cuda.Stream(non_blocking=True)

    def upload(self, array: np.ndarray) -> Array:
        """``array`` on the device, C-contiguous, in order with what the current stream does."""
        stream = self._cupy.cuda.get_current_stream()
        there = self._cupy.empty(array.shape, dtype=array.dtype)
        target, source = there.reshape(-1), array.reshape(-1)
        for part in self._parts(source.size, source.itemsize):
            buffer = self._next()
            staged = buffer.part(source[part])
            staged[...] = source[part]
            target[part].set(staged, stream=stream)
            buffer.arrival = stream.record()
        return there

    def begin_download(self, array: Array, out: np.ndarray) -> None:
        """Copy ``array``, as it is after what the current stream has been told, to ``out``.

        Both are C-contiguous. ``out`` is complete after `finish_downloads`, and ``array`` must not
        change before.
        """
        self._stream.wait_event(self._cupy.cuda.get_current_stream().record())
        source, target = array.reshape(-1), out.reshape(-1)
        for part in self._parts(target.size, target.itemsize):
            buffer = self._next()
            buffer.out, buffer.source = target[part], source[part]
            buffer.source.get(stream=self._stream, out=buffer.part(buffer.out), blocking=False)
            buffer.arrival = self._stream.record()

    def finish_downloads(self) -> None:
        """Wait until all that was begun is in host memory."""
        for buffer in self._buffers:
            buffer.wait()

    def _parts(self, size: int, itemsize: int) -> Iterator[slice]:
        step = self.buffer_bytes // itemsize
        for begin in range(0, size, step):
            yield slice(begin, min(begin + step, size))

    def _next(self) -> "_Buffer":
        """The buffer that was used longest ago."""
        self._buffers.rotate(-1)
        buffer = self._buffers[-1]
        buffer.wait()
        return buffer


class _Buffer:
    """Pinned memory, and the transfer that it was last used for.

    Attributes:
        arrival: event after the transfer; None where there is none to wait for.
        out: where in pageable memory it goes on to; None if it came from there.
        source: the part of the device array, whose memory must not be anybody's before.
    """

    def __init__(self, memory: np.ndarray) -> None:
        self._memory = memory
        self.arrival: Any = None
        self.out: np.ndarray | None = None
        self.source: Array = None

    def part(self, like: np.ndarray) -> np.ndarray:
        """As much of the memory as ``like`` takes, as an array like it."""
        return self._memory[: like.nbytes].view(like.dtype)

    def wait(self) -> None:
        """Until the transfer is done, and what came down is where it belongs."""
        if self.arrival is not None:
            self.arrival.synchronize()
        if self.out is not None:
            self.out[...] = self.part(self.out)
        self.arrival = self.out = self.source = None
