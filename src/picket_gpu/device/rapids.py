"""cuML's k-means, in memory from CuPy's pool. RAPIDS is imported here and nowhere else."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from picket_gpu.device.operations import Array


class Rapids:
    """cuML's k-means."""

    def __init__(self, cupy: Any, malloc: Callable[[int], Any]) -> None:
        """
        Args:
            malloc: an allocator of CuPy.

        Raises:
            ImportError: cuML is not installed, or does not fit this machine.
        """
        with _without_effects(cupy):
            import rmm
            from cuml.cluster import KMeans
        self._kmeans = KMeans
        self._mr = rmm.mr
        self._resource = memory_resource(rmm, malloc)

    def lloyd(self, x: Array, centres: Array, max_iterations: int) -> Array:
        """Iterate from ``centres``; see `Lloyd`. x must be C-contiguous float32.

        cuML stops when the cost falls by less than ``tol`` of itself, or the squared shift of the
        centres is below ``tol``.
        """
        model = self._kmeans(
            n_clusters=2,
            init=centres,
            n_init=1,
            max_iter=max_iterations,
            tol=1e-7,
            output_type="cupy",
        )
        return model.fit(x).labels_

    @contextmanager
    def memory(self) -> Iterator[None]:
        """Inside, RAPIDS takes memory from the allocator."""
        before = self._mr.get_current_device_resource()
        self._mr.set_current_device_resource(self._resource)
        try:
            yield
        finally:
            self._mr.set_current_device_resource(before)


def memory_resource(rmm: Any, malloc: Callable[[int], Any]) -> Any:
    """A memory resource of RMM that takes its memory from an allocator of CuPy.

    If RMM had a pool of its own, CuPy could not use what cuML frees, nor the other way round.
    Streams are ignored, so work must be on streams that the legacy default stream waits for, as
    those of cuML are, and arrays of CuPy on that one.
    """
    lent: dict[int, Any] = {}

    def lend(size: int, stream: Any) -> int:
        memory = malloc(size)
        lent[memory.ptr] = memory
        return int(memory.ptr)

    def take_back(address: int, size: int, stream: Any) -> None:
        lent.pop(address, None)  # several allocations of no bytes may share the address 0

    resource = rmm.mr.CallbackMemoryResource(lend, take_back)
    _RESOURCES.append(resource)
    return resource


_RESOURCES: list[Any] = []  # kept, since RAFT's handle of a thread keeps a pointer to its first one


@contextmanager
def _without_effects(cupy: Any) -> Iterator[None]:
    """Inside, RAPIDS can be imported without further effects on the process.

    cuML sets CuPy's allocator to RMM's for the whole process; that is undone. Warnings of its
    packages are hidden, and a filter that makes errors of warnings does not stop the import.
    """
    before = cupy.cuda.get_allocator()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if cupy.cuda.get_allocator() is not before:
            cupy.cuda.set_allocator(before)
