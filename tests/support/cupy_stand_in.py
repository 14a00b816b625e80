"""A module with the part of CuPy that `gpu.GPUBackend` calls, on the device double.

It shows that the backend's own steps hang together (allocator, limit, streams, pinned memory,
modules); that the names are CuPy's own is checked elsewhere, what they do only on a GPU.
"""

import ctypes
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from types import SimpleNamespace
from typing import Any

import cupy
import numpy as np
import scipy.fft
import scipy.ndimage

from tests.support.cuda_on_host import HostModule, load
from tests.support.device_double import DeviceNumpy, Namespace

LOG: list[str] = []  # what was asked of streams and pools, in order


class CUDARuntimeError(RuntimeError):
    pass


class Memory:
    """A block of the device: `cupy.cuda.Memory`."""

    capacity = 2**30
    live = 0
    _addresses = count(512, 512)

    def __init__(self, size: int) -> None:
        if Memory.live + size > Memory.capacity:
            raise CUDARuntimeError("cudaErrorMemoryAllocation: out of memory")
        Memory.live += size
        self.size = size
        self.ptr = next(self._addresses)
        weakref.finalize(self, Memory._forget, size)

    @staticmethod
    def _forget(size: int) -> None:
        Memory.live -= size


class MemoryPointer:
    """A block, or one that goes back to its pool as soon as nobody has this."""

    def __init__(self, mem: Memory, offset: int) -> None:
        self.mem = mem
        self.ptr = mem.ptr + offset


class Pool:
    """A model of `cupy.cuda.MemoryPool` as of CuPy 14.2, but for blocks that are split.

    Sizes are rounded up to 512 bytes, the smallest free block that is large enough is used again,
    and free blocks go back to the device when they are told to, or where the limit or the device
    leaves no room for a new one. A new block is in the total before the allocator is asked for it.
    """

    def __init__(self, allocator: Callable[[int], MemoryPointer] | None = None) -> None:
        self._allocator = allocator or (lambda size: MemoryPointer(Memory(size), 0))
        self._free: list[Memory] = []
        self._total = self._limit = 0

    def malloc(self, size: int) -> MemoryPointer:
        size = -(-size // 512) * 512
        fitting = [block for block in self._free if block.size >= size]
        if fitting:
            block = min(fitting, key=lambda block: block.size)
            self._free.remove(block)
        else:
            block = self._new(size)
        pointer = MemoryPointer(block, 0)
        weakref.finalize(pointer, self._free.append, block)
        return pointer

    def _new(self, size: int) -> Memory:
        if self._limit and self._total + size > self._limit:
            self._give_back()
        if self._limit and self._total + size > self._limit:
            raise MemoryError("the pool's limit")
        self._total += size
        try:
            try:
                return self._allocator(size).mem
            except CUDARuntimeError:
                self._give_back()
                return self._allocator(size).mem
        except CUDARuntimeError as error:
            self._total -= size
            raise MemoryError("the device is full") from error

    def _give_back(self) -> None:
        self._total -= sum(block.size for block in self._free)
        self._free.clear()

    def set_limit(self, size: int) -> None:
        LOG.append(f"limit {size}")
        self._limit = size

    def free_all_blocks(self) -> None:
        LOG.append("free")
        self._give_back()

    def total_bytes(self) -> int:
        return self._total


class Event(str):
    """The name of its stream."""

    def synchronize(self) -> None:
        LOG.append(f"host waits for {self}")


class Stream:
    """Streams by name; the null stream is "kernels"."""

    null: "Stream"

    def __init__(self, non_blocking: bool = False) -> None:
        self.name = "copies" if non_blocking else "kernels"

    def __enter__(self) -> "Stream":
        STREAMS.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        STREAMS.pop()

    def record(self) -> Event:
        LOG.append(f"record {self.name}")
        return Event(self.name)

    def wait_event(self, event: str) -> None:
        LOG.append(f"{self.name} wait for {event}")

    def synchronize(self) -> None:
        LOG.append(f"synchronize {self.name}")


Stream.null = Stream()
STREAMS = [Stream.null]  # the current one is the last
ALLOCATORS: list[Any] = [Pool().malloc]


class Device:
    def __init__(self, number: int) -> None:
        self.number = number

    @property
    def mem_info(self) -> tuple[int, int]:
        return Memory.capacity - Memory.live, Memory.capacity

    def __enter__(self) -> "Device":
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Module:
    """RawModule: kernels for this machine's processor."""

    def __init__(self, code: str, options: tuple[str, ...]) -> None:
        (side,) = (int(o.removeprefix("-DSIDE=")) for o in options if o.startswith("-DSIDE="))
        self._module: HostModule = load(side)
        self._side = side
        self.get_function = self._module.get_function

    def get_global(self, name: str) -> Any:
        def copy_from_host_async(address: int, size: int) -> None:
            LOG.append(f"filter on {STREAMS[-1].name}")
            values = (ctypes.c_float * (size // 4)).from_address(address)
            self._module.set_global(name, np.array(values, dtype=np.float32))

        return SimpleNamespace(copy_from_host_async=copy_from_host_async)


class StandIn(DeviceNumpy):
    """The module ``cupy``."""

    RawModule = Module

    def __init__(self) -> None:
        super().__init__()
        pinned = SimpleNamespace(free_all_blocks=lambda: None)
        plans = SimpleNamespace(clear=lambda: None)
        self.fft = SimpleNamespace(config=SimpleNamespace(get_plan_cache=lambda: plans))
        self.get_default_memory_pool = Pool
        self.get_default_pinned_memory_pool = lambda: pinned
        self.__version__ = "0 (a stand-in)"
        self._core = SimpleNamespace(
            get_compute_type=lambda dtype: "default",
            set_compute_type=lambda dtype, kind: LOG.append(f"compute in {kind}"),
            _routines_linalg=SimpleNamespace(COMPUTE_TYPE_TF32="tf32"),
        )
        self.cuda = SimpleNamespace(
            Device=Device,
            Memory=Memory,
            MemoryPointer=MemoryPointer,
            MemoryPool=Pool,
            alloc=lambda size: ALLOCATORS[-1](size),
            PinnedMemory=_pin,
            PinnedMemoryPointer=lambda memory, offset: memory,
            Stream=Stream,
            get_current_stream=lambda: STREAMS[-1],
            # For the whole process, and CuPy's own: cuML imports the real module.
            get_allocator=cupy.cuda.get_allocator,
            set_allocator=cupy.cuda.set_allocator,
            using_allocator=_using_allocator,
            runtime=SimpleNamespace(
                CUDARuntimeError=CUDARuntimeError,
                getDeviceProperties=lambda number: {"name": b"double"},
            ),
        )


def _pin(size: int) -> bytearray:
    LOG.append("pin")
    return bytearray(size)


@contextmanager
def _using_allocator(allocator: Any) -> Iterator[None]:
    LOG.append("allocator")
    ALLOCATORS.append(allocator)
    try:
        yield
    finally:
        ALLOCATORS.pop()


def cupyx() -> Any:
    import cupyx.scipy.fft
    import cupyx.scipy.ndimage

    fft = Namespace(scipy.fft, cupyx.scipy.fft)
    ndimage = Namespace(scipy.ndimage, cupyx.scipy.ndimage)
    return SimpleNamespace(scipy=SimpleNamespace(fft=fft, ndimage=ndimage))
