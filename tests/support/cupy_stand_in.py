"""A module with the part of CuPy that `gpu.GPUBackend` calls, on the device double.

It shows that the backend's own steps hang together (allocator, limit, streams, pinned memory,
modules); that the names are CuPy's own is checked elsewhere, what they do only on a GPU.
"""

import ctypes
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.fft
import scipy.ndimage

from tests.support.cuda_on_host import HostModule, load
from tests.support.device_double import DeviceNumpy, Namespace

LOG: list[str] = []  # what was asked of streams and pools, in order


class Pool:
    def malloc(self, size: int) -> None:
        raise AssertionError("arrays of the double come from NumPy")

    def set_limit(self, size: int) -> None:
        LOG.append(f"limit {size}")

    def free_all_blocks(self) -> None:
        LOG.append("free")

    def total_bytes(self) -> int:
        return 0


class Event(str):
    """The name of its stream."""

    def synchronize(self) -> None:
        LOG.append(f"host waits for {self}")


class Stream:
    def __init__(self, non_blocking: bool = False) -> None:
        self.name = "copies" if non_blocking else "kernels"

    def record(self) -> Event:
        LOG.append(f"record {self.name}")
        return Event(self.name)

    def wait_event(self, event: str) -> None:
        LOG.append(f"{self.name} wait for {event}")

    def synchronize(self) -> None:
        LOG.append(f"synchronize {self.name}")


class Device:
    def __init__(self, number: int) -> None:
        self.number = number
        self.mem_info = (2**30, 2**31)

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
        def copy_from_host(address: int, size: int) -> None:
            values = (ctypes.c_float * (size // 4)).from_address(address)
            self._module.set_global(name, np.array(values, dtype=np.float32))

        return SimpleNamespace(copy_from_host=copy_from_host)


class StandIn(DeviceNumpy):
    """The module ``cupy``."""

    RawModule = Module

    def __init__(self) -> None:
        super().__init__()
        kernels = Stream()
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
            MemoryPool=Pool,
            PinnedMemory=_pin,
            PinnedMemoryPointer=lambda memory, offset: memory,
            Stream=Stream,
            get_current_stream=lambda: kernels,
            using_allocator=_using_allocator,
            runtime=SimpleNamespace(
                CUDARuntimeError=ZeroDivisionError,
                getDeviceProperties=lambda number: {"name": b"double"},
            ),
        )


def _pin(size: int) -> bytearray:
    LOG.append("pin")
    return bytearray(size)


def _using_allocator(allocator: Any) -> Any:
    LOG.append("allocator")
    return nullcontext()


def cupyx() -> Any:
    import cupyx.scipy.fft
    import cupyx.scipy.ndimage

    fft = Namespace(scipy.fft, cupyx.scipy.fft)
    ndimage = Namespace(scipy.ndimage, cupyx.scipy.ndimage)
    return SimpleNamespace(scipy=SimpleNamespace(fft=fft, ndimage=ndimage))
