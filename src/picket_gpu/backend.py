"""Which array module S1 runs on, and why: decided once here, passed on everywhere.

cupy is imported in this file only. Array code elsewhere takes ``backend.xp`` and is written once
for NumPy and CuPy.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
import scipy.ndimage
from threadpoolctl import threadpool_limits

from picket_gpu.errors import PicketError

Array: TypeAlias = Any  # numpy.ndarray or cupy.ndarray
Device: TypeAlias = Literal["auto", "gpu", "cpu"]
MIB = 1024**2
Item = TypeVar("Item")
Result = TypeVar("Result")


class Scratch:
    """Named work arrays of one worker.

    A tile's arrays are a few MB each. Taken fresh from the system for every tile, their page faults
    can cost more than the arithmetic: a pass took two to three times as long.
    """

    def __init__(self, xp: Any) -> None:
        self._xp = xp
        self._buffers: dict[str, Array] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: str = "float32") -> Array:
        """A C-contiguous array of ``shape``, contents undefined.

        It shares memory with the last one of that name, which must be done with.
        """
        size = prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < size or buffer.dtype != dtype:
            self._buffers[name] = buffer = self._xp.empty(size, dtype=dtype)
        return buffer[:size].reshape(shape)


@dataclass(frozen=True)
class Backend:
    """An array module with what S1 needs around it.

    Attributes:
        name: "cpu" or "gpu".
        reason: why this one, for people.
        xp: numpy or cupy.
        ndimage: scipy.ndimage or cupyx.scipy.ndimage.
        workers: tiles computed at the same time; 1 on a GPU, whose tiles are parallel inside.
        tile_bytes: voxels of a tile's windows that keep this device busy, in bytes. On a CPU a tile
            should stay in cache; a GPU wants many more windows at a time.
        default_budget: memory for arrays where the user does not say, in bytes: a function of
            the bytes of the volume and of those that are needed.
    """

    name: Literal["cpu", "gpu"]
    reason: str
    xp: Any
    ndimage: Any
    workers: int
    tile_bytes: int
    default_budget: Callable[[int, int], int]
    _idle: list[Scratch] = field(default_factory=list, repr=False, compare=False)

    def upload(self, array: np.ndarray) -> Array:
        """``array`` on the device, C-contiguous; on a CPU the array itself where it already is."""
        return self.xp.ascontiguousarray(self.xp.asarray(array))

    def download(self, array: Array) -> np.ndarray:
        """``array`` in host memory."""
        return array if self.name == "cpu" else self.xp.asnumpy(array)  # type: ignore[no-any-return]

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep BLAS to one thread: tiles run in threads of our own, which also cover
        the elementwise work that BLAS threads would leave on one core."""
        if self.name == "gpu":
            yield
        else:
            with threadpool_limits(1):
                yield

    def map(
        self, function: Callable[[Item, Scratch], Result], items: Iterable[Item]
    ) -> Iterator[Result]:
        """``function(item, scratch)`` over ``items``, results in order, few alive at a time.

        The order makes sums over tiles independent of the number of workers. Results must not be
        arrays of ``scratch``, which the next item overwrites.
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
        with ThreadPoolExecutor(self.workers) as pool:
            pending: deque[Future[Result]] = deque()
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) > 2 * self.workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()


def select_backend(device: Device = "auto") -> Backend:
    """The backend for ``device``.

    Args:
        device: "cpu", "gpu", or "auto" for the GPU where CuPy finds one and the CPU elsewhere.

    Raises:
        PicketError: "gpu" was asked for and cannot be had; the message says what was found.
    """
    if device == "cpu":
        return _cpu("chosen by device: cpu")
    found = _gpu()
    if isinstance(found, Backend):
        return found
    if device == "gpu":
        raise PicketError(f"device: gpu cannot be used: {found}; use device: auto or cpu")
    return _cpu(found)


def _cpu(why: str) -> Backend:
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    # The variable by which users and Slurm scripts already limit numerical threads.
    asked = os.environ.get("OMP_NUM_THREADS", "")
    workers = int(asked) if asked.isdigit() and int(asked) > 0 else threads or 1
    return Backend(
        name="cpu",
        reason=f"CPU, {workers} thread{'s' * (workers != 1)} ({why})",
        xp=np,
        ndimage=scipy.ndimage,
        workers=workers,
        tile_bytes=2 * MIB,
        default_budget=lambda volume, needed: needed + volume,
    )


def _gpu() -> Backend | str:
    """The GPU backend, or what stands in its way."""
    try:
        import cupy
        import cupyx.scipy.ndimage
    except ImportError as error:
        return f"CuPy cannot be imported: {error}"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
        if count == 0:
            return "CuPy finds no CUDA device"
        device = cupy.cuda.Device()
        name = cupy.cuda.runtime.getDeviceProperties(device.id)["name"].decode()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"CuPy {cupy.__version__} finds no usable CUDA device: {error}"
    return Backend(
        name="gpu",
        reason=f"GPU {device.id}, {name} (the first that CuPy {cupy.__version__} sees)",
        xp=cupy,
        ndimage=cupyx.scipy.ndimage,
        workers=1,
        tile_bytes=64 * MIB,
        default_budget=lambda *_: cupy.cuda.Device().mem_info[0] * 4 // 5,
    )
