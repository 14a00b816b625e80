"""A device: its arrays, memory and threads. Chosen once and passed to all functions."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

import numpy as np
import scipy.fft
import scipy.ndimage
from threadpoolctl import threadpool_limits

from picket_gpu.device.limits import memory_limit
from picket_gpu.device.operations import Array, Operations, Scratch
from picket_gpu.errors import PicketError

KMeansEngine: TypeAlias = Literal["auto", "cuml", "native"]
Precision: TypeAlias = Literal["float32", "tf32"]
# Lloyd's iterations of a library on device arrays: from points (m, d), two centres (2, d) and the
# greatest number of iterations to labels (m,).
Lloyd: TypeAlias = Callable[[Array, Array, int], Array]
MIB = 1024**2
Item = TypeVar("Item")
Result = TypeVar("Result")


class Transfers(Protocol):
    """Transfers of host arrays to the device, one ahead of the one in use."""

    def begin(self, array: np.ndarray) -> None:
        """Begin to send ``array``, while the one before is still in use."""

    def finish(self) -> Array:
        """The array that was sent last, on the device. The next one overwrites the one before."""


class Backend:
    """The CPU, with NumPy; other devices derive from it.

    Attributes:
        name: "cpu" or "gpu".
        reason: why this device is used, as text.
        xp: the array module.
        ndimage: the scipy.ndimage that goes with it.
        fft: the scipy.fft that goes with it.
        operations: the innermost loops.
        workers: number of tiles computed at the same time; 1 on a GPU, which is parallel within a
            tile.
        batches: whether the subsets of the settings limit tiles. They save memory of a CPU; on a
            GPU they would make tiles of small volumes too small to keep it busy.
        tile_bytes: size of the voxels of a tile's windows. On a CPU a tile should stay in cache; a
            GPU needs many more windows at a time to be busy.
        streams: whether a volume beyond the memory budget is streamed from host memory.
        correlates: whether a correlation is the faster way to labels of a linear decision. On a CPU
            it takes three times as long as windows.
        download_bytes: size of the arrays that are downloaded at a time, while the next ones are
            computed; None if that gains nothing.
        lloyd: k-means of cuML, if it is used.
        transfers: if the device ``streams``, makes `Transfers` of float32 arrays of at most a given
            shape.
    """

    name: str = "cpu"
    streams = False
    correlates = False
    batches = True
    tile_bytes = 2 * MIB
    download_bytes: int | None = None
    lloyd: Lloyd | None = None
    transfers: Callable[[tuple[int, ...]], Transfers]

    def __init__(
        self,
        reason: str,
        xp: Any = np,
        ndimage: Any = scipy.ndimage,
        workers: int = 1,
        fft: Any = scipy.fft,
    ) -> None:
        self.reason = reason
        self.xp = xp
        self.ndimage = ndimage
        self.fft = fft
        self.operations = Operations(xp, ndimage)
        self.workers = workers
        self._idle: list[Scratch] = []

    def default_budget(self, volume: int, needed: int, extra: int = 0) -> int:
        """Default memory for arrays, in bytes.

        Args:
            volume: bytes of the float32 volume.
            needed: bytes that a run needs at least.
            extra: further bytes that make it faster.

        Raises:
            PicketError: this container or job may not use as much as is needed.
        """
        limit = memory_limit()
        if limit is not None and needed > limit:
            raise PicketError(
                f"memory_budget: {-(-needed // MIB)} MiB are needed, more than the "
                f"{limit // MIB} MiB that this container or job may use; request more memory, "
                "or bin the tomogram"
            )
        budget = needed + volume + extra
        return budget if limit is None else min(budget, limit)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Inside, computations may run. BLAS uses one thread, since tiles run in threads of our
        own, which also share elementwise work that BLAS threads would leave to one core."""
        with threadpool_limits(1):
            yield

    @contextmanager
    def memory_errors(self) -> Iterator[None]:
        """Inside, errors of libraries that the device's memory is full become a MemoryError."""
        yield

    def peak_bytes(self) -> int | None:
        """Most bytes of the device's memory that arrays have held; None on a CPU."""
        return None

    def limit(self, budget: int) -> None:
        """Limit arrays to ``budget`` bytes from now on; no effect on a CPU."""

    def release(self) -> None:
        """Free all memory that no array uses."""
        self._idle.clear()

    def synchronize(self) -> None:
        """Wait until all work that was begun is done, for timings."""

    def upload(self, array: Any) -> Array:
        """Copy ``array`` to the device, C-contiguous; the array itself if it is there already."""
        return self.xp.ascontiguousarray(self.xp.asarray(array))

    def download(self, array: Array, out: np.ndarray | None = None) -> np.ndarray:
        """Copy ``array`` to host memory, to ``out`` if given; else on a CPU the array itself."""
        if out is None:
            return array  # type: ignore[no-any-return]
        out[...] = array
        return out

    def begin_download(self, array: Array, out: np.ndarray) -> None:
        """Copy ``array`` to ``out``, C-contiguous, by the end of `finish_downloads` at the latest.

        ``array`` must not change until then.
        """
        self.download(array, out)

    def finish_downloads(self) -> None:
        """Wait until all downloads are in host memory."""

    def host_empty(self, shape: tuple[int, ...]) -> np.ndarray:
        """A float32 array in host memory from which copies to the device are fast."""
        return np.empty(shape, dtype=np.float32)

    @contextmanager
    def precision(self, precision: Precision) -> Iterator[None]:
        """Inside, matrix products have this precision, if the device has it."""
        yield

    def map(
        self, function: Callable[[Item, Scratch], Result], items: Iterable[Item]
    ) -> Iterator[Result]:
        """Apply ``function(item, scratch)`` to ``items``; results in order, few alive at a time.

        The order makes sums over tiles independent of the number of workers. Results must not be
        arrays of ``scratch``, which the next item overwrites, and ``function`` must not call map.
        """

        def work(item: Item) -> Result:
            try:
                scratch = self._idle.pop()
            except IndexError:
                scratch = Scratch(self.xp)
            try:
                return function(item, scratch)
            finally:
                self._idle.append(scratch)

        if self.workers == 1:
            yield from map(work, items)
            return
        pending: deque[Future[Result]] = deque()
        try:
            for item in items:
                pending.append(self._threads.submit(work, item))
                if len(pending) > 2 * self.workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:  # no item is at work, or begins, after an error
            for future in pending:
                future.cancel()
            wait(pending)

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        """Kept, since starting threads for each pass takes as long as a tile."""
        return ThreadPoolExecutor(self.workers)
