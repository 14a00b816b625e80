"""A device that is not there: arrays that behave like CuPy's where it hurts.

They refuse to become NumPy arrays unasked, refuse to meet host arrays in an operation, and their
namespace has only the names and keyword arguments of the installed cupy, which imports without a
GPU. What passes here has no stray ``np.`` call, no hidden transfer and no keyword that CuPy lacks.
"""

import inspect
import operator
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, ClassVar

import cupy
import cupyx.scipy.fft
import cupyx.scipy.ndimage
import numpy as np
import scipy.fft
import scipy.ndimage

from picket_gpu.device.backend import Backend
from picket_gpu.device.operations import Operations

FROM_HOST = {"asarray", "array", "ascontiguousarray"}  # take host arrays, as in CuPy


class DeviceArray:
    """A NumPy array behind a wall.

    Attributes:
        waits: how often the host has had to wait for a device array's contents, by all.
    """

    waits = 0
    _memory: ClassVar[dict[str, int]] = {"live": 0, "peak": 0}
    _counted: ClassVar[set[int]] = set()

    @classmethod
    @contextmanager
    def counting(cls) -> Iterator[dict[str, int]]:
        """The bytes of all device arrays at their most, under ``peak`` at the end."""
        before = cls._memory["peak"] = cls._memory["live"]
        result: dict[str, int] = {}
        yield result
        result["peak"] = cls._memory["peak"] - before

    __array_ufunc__ = None  # NumPy's ufuncs and operators keep off

    def __init__(self, host: np.ndarray) -> None:
        self._host = host
        while isinstance(host.base, np.ndarray):
            host = host.base
        if id(host) not in self._counted:
            self._counted.add(id(host))
            self._memory["live"] += host.nbytes
            self._memory["peak"] = max(self._memory["peak"], self._memory["live"])
            weakref.finalize(host, self._forget, id(host), host.nbytes)

    @classmethod
    def _forget(cls, number: int, size: int) -> None:
        cls._counted.discard(number)
        cls._memory["live"] -= size

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("implicit conversion of a device array to NumPy")

    def __getattr__(self, name: str) -> Any:
        if not hasattr(cupy.ndarray, name):
            raise AttributeError(f"cupy.ndarray has no attribute {name!r}")
        value = getattr(self._host, name)
        if callable(value):
            return _guarded(value, getattr(cupy.ndarray, name))
        return DeviceArray(value) if isinstance(value, np.ndarray) else value

    def get(
        self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True
    ) -> np.ndarray:
        DeviceArray.waits += blocking
        if out is None:
            return self._host.copy()
        assert out.flags.c_contiguous
        out[...] = self._host
        return out

    def set(self, array: np.ndarray, stream: Any = None) -> None:
        assert array.flags.c_contiguous
        assert array.shape == self._host.shape
        self._host[...] = array

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Any:
        raise TypeError("iteration over a device array is a transfer an element")

    def __int__(self) -> int:
        DeviceArray.waits += 1
        return int(self._host)

    def __float__(self) -> float:
        DeviceArray.waits += 1
        return float(self._host)

    def __bool__(self) -> bool:
        DeviceArray.waits += 1
        return bool(self._host)

    def __getitem__(self, key: Any) -> "DeviceArray":
        return _wrap(self._host[_unwrap(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self._host[_unwrap(key)] = _unwrap(value)


def _unwrap(value: Any) -> Any:
    if isinstance(value, DeviceArray):
        return value._host
    if isinstance(value, np.ndarray):
        raise TypeError("a host array meets a device array")
    if isinstance(value, tuple | list):
        return type(value)(_unwrap(item) for item in value)
    return value


def _sent(value: Any) -> Any:
    """What arrives on the device: a copy of a host array, a device array as it is."""
    if isinstance(value, DeviceArray):
        return value._host
    return value.copy() if isinstance(value, np.ndarray) else value


def _wrap(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_wrap(item) for item in value)
    return DeviceArray(np.asarray(value)) if isinstance(value, np.ndarray | np.generic) else value


@cache
def _takes(twin: Any, keyword: str) -> bool:
    try:
        known = inspect.signature(twin).parameters
    except (TypeError, ValueError):  # ufuncs and methods without a signature
        return True
    return keyword in known or any(p.kind is p.VAR_KEYWORD for p in known.values())


def _guarded(function: Any, twin: Any, from_host: bool = False) -> Any:
    """``function`` on device arrays, with the keywords of its CuPy ``twin`` only."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if twin in (cupy.flatnonzero, cupy.nonzero):  # the size of the result is asked for
            DeviceArray.waits += 1
        for name in kwargs:
            if not _takes(twin, name):
                raise TypeError(f"cupy's {function.__name__} has no argument {name!r}")
        if not from_host:
            args, kwargs = _unwrap(args), {name: _unwrap(v) for name, v in kwargs.items()}
        else:
            args = tuple(_sent(a) for a in args)
        return _wrap(function(*args, **kwargs))

    return call


def _operator(name: str) -> Any:
    function = getattr(operator, name, None) or getattr(operator, name.strip("_"))

    def apply(self: DeviceArray, other: Any = None) -> Any:
        arguments = (
            (self._host,)
            if name in ("__neg__", "__invert__")
            else (
                self._host,
                _unwrap(other),
            )
        )
        return _wrap(function(*arguments))

    return apply


def _reflected(name: str) -> Any:
    function = getattr(operator, name)
    return lambda self, other: _wrap(function(_unwrap(other), self._host))


def _in_place(name: str) -> Any:
    function = getattr(operator, name)

    def apply(self: DeviceArray, other: Any) -> DeviceArray:
        self._host = function(self._host, _unwrap(other))
        return self

    return apply


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "matmul", "xor", "and_", "or_",
              "rshift", "lshift", "pow"):  # fmt: skip
    _dunder = _name.strip("_")
    setattr(DeviceArray, f"__{_dunder}__", _operator(f"__{_dunder}__"))
    setattr(DeviceArray, f"__r{_dunder}__", _reflected(f"__{_dunder}__"))
    setattr(DeviceArray, f"__i{_dunder}__", _in_place(f"__i{_dunder}__"))
for _name in ("lt", "le", "gt", "ge", "eq", "ne", "neg", "invert"):
    setattr(DeviceArray, f"__{_name}__", _operator(f"__{_name}__"))


class Namespace:
    """The part of a NumPy-like module that its CuPy ``twin`` has too."""

    def __init__(self, module: Any, twin: Any) -> None:
        self._module, self._twin = module, twin

    def __getattr__(self, name: str) -> Any:
        if not hasattr(self._twin, name):
            raise AttributeError(f"{self._twin.__name__} has no attribute {name!r}")
        value, twin = getattr(self._module, name), getattr(self._twin, name)
        if inspect.ismodule(value):
            return Namespace(value, twin)
        if isinstance(value, type) or not callable(value):
            return value
        return _guarded(value, twin, from_host=name in FROM_HOST)


class DeviceNumpy(Namespace):
    """The namespace of the double.

    ``memory`` is the largest array, in bytes, that it can allocate with ``empty``.
    """

    def __init__(self, memory: int = 2**40) -> None:
        super().__init__(np, cupy)
        self._memory = memory

    @staticmethod
    def asnumpy(array: DeviceArray) -> np.ndarray:
        DeviceArray.waits += 1
        return array._host.copy()

    def empty(self, shape: Any, dtype: Any = float) -> DeviceArray:
        array = np.empty(shape, dtype)
        if array.nbytes > self._memory:
            raise MemoryError("the double's memory is full")
        array.view(np.uint8).fill(255)  # NaN: nobody may count on zeros
        return DeviceArray(array)


class TwoBuffers:
    """Transfers as a GPU does them at their earliest: what is sent next overwrites at once."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._buffers = [np.empty(shape, dtype=np.float32) for _ in range(2)]
        self._turn = 0

    def begin(self, array: np.ndarray) -> None:
        self._turn = 1 - self._turn
        self._sent = self._buffers[self._turn][: len(array)]
        self._sent[...] = array

    def finish(self) -> DeviceArray:
        return DeviceArray(self._sent)


class DeviceDouble(Backend):
    """A GPU backend on the double."""

    name = "gpu"
    streams = True
    correlates = True
    batches = False

    def __init__(self, operations: Any = Operations, memory: int = 2**40) -> None:
        """
        Args:
            operations: `Operations`, or what makes kernels that run on the double's arrays.
        """
        ndimage = Namespace(scipy.ndimage, cupyx.scipy.ndimage)
        fft = Namespace(scipy.fft, cupyx.scipy.fft)
        super().__init__("a double", DeviceNumpy(memory), ndimage, fft=fft)
        self.operations = operations(self.xp, ndimage)
        self.budgets: list[int] = []

    def limit(self, budget: int) -> None:
        self.budgets.append(budget)

    def download(self, array: DeviceArray, out: np.ndarray | None = None) -> np.ndarray:
        host = self.xp.asnumpy(array)
        if out is None:
            return host
        out[...] = host
        return out

    def transfers(self, shape: tuple[int, ...]) -> TwoBuffers:
        return TwoBuffers(shape)
