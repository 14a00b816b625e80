"""Python runs this at its start while a visit is rehearsed: ``cupy`` is then the tests' stand-in.

It holds the processes, files and limits of a visit to account on a machine without a GPU. Figures
made so are those of a CPU that plays a GPU, and are marked so.
"""

import sys
import time
from types import SimpleNamespace
from typing import Any

import cupy
import cupyx.scipy.fft
import cupyx.scipy.ndimage  # noqa: F401
import numpy as np

from tests.support import cupy_stand_in
from tests.support.device_double import DeviceArray, Namespace


class Device(cupy_stand_in.Device):
    def __init__(self, number: int = 0) -> None:
        super().__init__(number)


class Event:
    """A moment: work is done when the call that begins it returns."""

    def record(self) -> None:
        self.milliseconds = 1000 * time.perf_counter()

    def synchronize(self) -> None:
        pass


class StandIn(cupy_stand_in.StandIn):
    """As much of CuPy as finding a GPU, watching its memory and timing kernels call too."""

    __name__ = "cupy"
    ndarray = DeviceArray  # which no library takes for NumPy's

    @staticmethod
    def RawKernel(code: str, name: str) -> Any:
        return lambda grid, block, arguments: None

    def __init__(self) -> None:
        super().__init__()
        self.fft.rfftn = Namespace(np.fft, cupy.fft).rfftn
        self.cuda.Device = Device
        self.cuda.Event = Event
        self.cuda.get_elapsed_time = lambda begin, end: end.milliseconds - begin.milliseconds
        self.cuda.compiler = SimpleNamespace(CompileException=ZeroDivisionError)
        runtime: Any = self.cuda.runtime
        runtime.driverGetVersion = lambda: 1
        runtime.getDeviceCount = lambda: 1
        runtime.getDeviceProperties = lambda number: {"name": b"CPU stand-in"}


sys.modules["cupy"] = StandIn()  # type: ignore[assignment]
sys.modules["cupyx"] = cupy_stand_in.cupyx()
