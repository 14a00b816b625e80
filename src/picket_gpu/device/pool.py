"""The device memory of one GPU backend."""

from typing import Any


class DevicePool:
    """A pool of CuPy's that knows its peak, and from which RAPIDS can take memory too.

    Not CuPy's default pool, whose limit would also be that of other arrays of the process.

    Attributes:
        peak_bytes: the most that the pool has held, blocks without an array included.
    """

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self._pool = cupy.cuda.MemoryPool(self._grow)
        self._lent: dict[int, Any] = {}
        self.peak_bytes = 0

    def malloc(self, size: int) -> Any:
        """A `cupy.cuda.MemoryPointer` to ``size`` bytes, as CuPy's allocators give.

        Raises:
            MemoryError: the limit or the device does not allow it.
        """
        return self._pool.malloc(size)

    def limit(self, budget: int) -> None:
        """Hold at most ``budget`` bytes from now on; 0 for as many as the device has."""
        self._pool.set_limit(size=budget)

    def release(self) -> None:
        """Give back to the device what no array uses."""
        self._pool.free_all_blocks()

    def _grow(self, size: int) -> Any:
        """A block of the device. Its size is in the pool's total by now."""
        cuda = self._cupy.cuda
        memory = cuda.MemoryPointer(cuda.Memory(size), 0)
        # Here and not from time to time: where memory is short the pool shrinks by itself too.
        self.peak_bytes = max(self.peak_bytes, self._pool.total_bytes())
        return memory

    def resource(self, rmm: Any) -> Any:
        """A memory resource of RMM that takes its memory from this pool.

        With a pool of its own, RMM would keep what cuML frees from CuPy, and the other way round.
        Streams are ignored, so work must be on streams that the legacy default stream waits for,
        as those of cuML are, and arrays of CuPy on that one.
        """
        resource = rmm.mr.CallbackMemoryResource(self._lend, self._take_back)
        # RAFT's handle of a thread points to the resource that it met first, for good.
        _RESOURCES.append(resource)
        return resource

    def _lend(self, size: int, stream: Any) -> int:
        memory = self.malloc(size)
        self._lent[memory.ptr] = memory
        return int(memory.ptr)

    def _take_back(self, address: int, size: int, stream: Any) -> None:
        self._lent.pop(address, None)  # of no bytes there may be several, at 0


_RESOURCES: list[Any] = []
