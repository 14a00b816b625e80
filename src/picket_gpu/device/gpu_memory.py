"""Memory of a GPU backend: its pool on the device, pinned host memory, and copies between them.

A GPU copies pinned memory fast and while it computes; pageable memory at a fraction of the speed,
and not in the background. Pinning takes longer than a copy, so pinned memory is kept and reused.
"""

import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from picket_gpu.device.backend import MIB
from picket_gpu.device.operations import Array


class DevicePool:
    """A pool of CuPy's that records its peak.

    Not CuPy's default pool, whose limit would hold for other arrays of the process too.

    Attributes:
        peak_bytes: most bytes that the pool has held, unused blocks included.
    """

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self._pool = cupy.cuda.MemoryPool(self._grow)
        self.peak_bytes = 0

    def malloc(self, size: int) -> Any:
        """Allocate ``size`` bytes, as an allocator of CuPy does.

        Returns:
            A `cupy.cuda.MemoryPointer`.

        Raises:
            MemoryError: the limit or the device does not allow it.
        """
        return self._pool.malloc(size)

    def limit(self, budget: int) -> None:
        """Hold at most ``budget`` bytes from now on; 0 for no limit."""
        self._pool.set_limit(size=budget)

    def release(self) -> None:
        """Give unused blocks back to the device."""
        self._pool.free_all_blocks()

    def _grow(self, size: int) -> Any:
        """Allocate a block on the device. The pool's total already includes it."""
        cuda = self._cupy.cuda
        memory = cuda.MemoryPointer(cuda.Memory(size), 0)
        # Recorded here, since a pool that is short of memory also shrinks by itself.
        self.peak_bytes = max(self.peak_bytes, self._pool.total_bytes())
        return memory


class PinnedArrays:
    """Arrays in pinned memory. The memory of the last array that was freed is kept for the next."""

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
    """Copies between the device and pageable host memory through pinned buffers, used in turn.

    While one buffer is being copied, the host fills or empties another one.
    """

    least = MIB  # bytes; CuPy uploads smaller arrays
    buffers = 8
    buffer_bytes = 8 * MIB
    # Downloads of at most so many bytes together do not wait for one another: four arrays may each
    # end in a buffer that is nearly empty.
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
        """Copy ``array`` to the device, C-contiguous, in order with the current stream."""
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
        """Copy ``array`` to ``out``, after the work that the current stream already has.

        Both are C-contiguous. ``out`` is complete after `finish_downloads`; ``array`` must not
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
        """Wait until all downloads are in host memory."""
        for buffer in self._buffers:
            buffer.wait()

    def _parts(self, size: int, itemsize: int) -> Iterator[slice]:
        step = self.buffer_bytes // itemsize
        for begin in range(0, size, step):
            yield slice(begin, min(begin + step, size))

    def _next(self) -> "_Buffer":
        """The buffer that has not been used for longest, once it is free."""
        self._buffers.rotate(-1)
        buffer = self._buffers[-1]
        buffer.wait()
        return buffer


class _Buffer:
    """Pinned memory, and its last transfer.

    Attributes:
        arrival: event after the transfer; None if it is done.
        out: pageable memory that a download goes on to; None for an upload.
        source: part of the device array that is downloaded, kept so that its memory is not reused
            before.
    """

    def __init__(self, memory: np.ndarray) -> None:
        self._memory = memory
        self.arrival: Any = None
        self.out: np.ndarray | None = None
        self.source: Array = None

    def part(self, like: np.ndarray) -> np.ndarray:
        """The first bytes of the memory, as an array of the size and type of ``like``."""
        return self._memory[: like.nbytes].view(like.dtype)

    def wait(self) -> None:
        """Wait until the transfer is done, and pass a download on to pageable memory."""
        if self.arrival is not None:
            self.arrival.synchronize()
        if self.out is not None:
            self.out[...] = self.part(self.out)
        self.arrival = self.out = self.source = None


class Prefetch:
    """`Transfers` on a stream of their own, into two buffers in turn."""

    def __init__(self, cupy: Any, shape: tuple[int, ...]) -> None:
        self._cupy = cupy
        self._stream = cupy.cuda.Stream(non_blocking=True)  # first: __del__ needs it
        self._buffers = [cupy.empty(shape, dtype="float32") for _ in range(2)]
        self._turn = 0

    def begin(self, array: np.ndarray) -> None:
        self._turn = 1 - self._turn
        self._sent = self._buffers[self._turn][: len(array)]
        # After the kernels that read the buffer's last contents.
        self._stream.wait_event(self._cupy.cuda.get_current_stream().record())
        self._sent.set(array, stream=self._stream)
        self._arrival = self._stream.record()

    def __del__(self) -> None:
        self._stream.synchronize()  # before the buffers are reused

    def finish(self) -> Array:
        self._cupy.cuda.get_current_stream().wait_event(self._arrival)
        return self._sent
