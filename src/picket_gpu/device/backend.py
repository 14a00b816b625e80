"""Where S1 runs: arrays, memory and threads of a device. Chosen once, passed on everywhere."""

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
    """Host arrays on their way to the device, one ahead of the one in use."""

    def begin(self, array: np.ndarray) -> None:
        """Send ``array``, while the one before is still in use."""

    def finish(self) -> Array:
        """The array sent last, on the device. The one before is overwritten by the next."""


class Backend:
    """The CPU, with NumPy; other devices derive from it.

    Attributes:
        name: "cpu" or "gpu".
        reason: why this one, for people.
        xp: the array module.
        ndimage: the scipy.ndimage that goes with it.
        fft: the scipy.fft that goes with it.
        operations: the innermost loops.
        workers: tiles computed at the same time; 1 on a GPU, whose tiles are parallel inside.
        batches: whether the settings' subsets bound tiles. They are for a CPU's memory; on a GPU
            they would make tiles of small volumes too small to keep it busy.
        tile_bytes: voxels of a tile's windows that keep this device busy, in bytes. On a CPU a tile
            should stay in cache; a GPU wants many more windows at a time.
        streams: whether a volume beyond the memory budget is streamed from host memory.
        correlates: whether labels of a linear decision come faster from a correlation than from
            windows. On a CPU they take three times as long.
        download_bytes: of arrays that come down at a time, while the next ones are computed; None
            where that gains nothing.
        lloyd: k-means of cuML, if it is to be used.
        transfers: where it ``streams``, transfers of float32 arrays of at most a given shape.
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

    def default_budget(self, volume: int, needed: int, wanted: int = 0) -> int:
        """Memory for arrays where the user does not say, in bytes.

        Args:
            volume: bytes of the float32 volume.
            needed: bytes without which it does not go.
            wanted: bytes that would make it faster.

        Raises:
            PicketError: they are more than this container may use.
        """
        limit = memory_limit()
        if limit is not None and needed > limit:
            raise PicketError(
                f"memory_budget: {-(-needed // MIB)} MiB are needed, more than the "
                f"{limit // MIB} MiB that this container or job may use; request more memory, "
                "or bin the tomogram"
            )
        budget = needed + volume + wanted
        return budget if limit is None else min(budget, limit)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Inside, computations may begin. BLAS keeps to one thread: tiles run in threads of our
        own, which also cover the elementwise work that BLAS threads would leave on one core."""
        with threadpool_limits(1):
            yield

    @contextmanager
    def memory_errors(self) -> Iterator[None]:
        """Inside, every error that says that the device's memory is full is a MemoryError."""
        yield

    def peak_bytes(self) -> int | None:
        """The most memory of the device that arrays have held, where that is not the host's."""
        return None

    def limit(self, budget: int) -> None:
        """Let arrays take ``budget`` bytes from now on, where the device can tell."""

    def release(self) -> None:
        """Give back all memory that no array uses."""
        self._idle.clear()

    def synchronize(self) -> None:
        """Wait until what was begun is done, for clocks."""

    def upload(self, array: Any) -> Array:
        """``array`` on the device, C-contiguous; the array itself where it already is."""
        return self.xp.ascontiguousarray(self.xp.asarray(array))

    def download(self, array: Array, out: np.ndarray | None = None) -> np.ndarray:
        """``array`` in host memory, in ``out`` if given; else on a CPU the array itself."""
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
        """Wait until what was begun is in host memory."""

    def host_empty(self, shape: tuple[int, ...]) -> np.ndarray:
        """A float32 array in host memory that can be sent to the device fast."""
        return np.empty(shape, dtype=np.float32)

    @contextmanager
    def precision(self, precision: Precision) -> Iterator[None]:
        """Matrix products inside are of this precision, where the device has it."""
        yield

    def map(
        self, function: Callable[[Item, Scratch], Result], items: Iterable[Item]
    ) -> Iterator[Result]:
        """``function(item, scratch)`` over ``items``, results in order, few alive at a time.

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
        finally:  # none is at work any more, or begins, when an error is told
            for future in pending:
                future.cancel()
            wait(pending)

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        """Kept: to start threads for each pass takes as long as a tile."""
        return ThreadPoolExecutor(self.workers)
