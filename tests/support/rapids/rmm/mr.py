from collections.abc import Callable
from typing import Any


class CudaMemoryResource:
    """The one that is current where nobody has set another."""


class CallbackMemoryResource:
    """Memory by two functions of Python."""

    def __init__(
        self,
        allocate_func: Callable[[int, Any], int],
        deallocate_func: Callable[[int, int, Any], None],
    ) -> None:
        self._allocate_func = allocate_func
        self._deallocate_func = deallocate_func

    def allocate(self, nbytes: int, stream: Any = None) -> int:
        return self._allocate_func(nbytes, stream)

    def deallocate(self, ptr: int, nbytes: int, stream: Any = None) -> None:
        self._deallocate_func(ptr, nbytes, stream)


_current: list[Any] = [CudaMemoryResource()]


def get_current_device_resource() -> Any:
    return _current[0]


def set_current_device_resource(mr: Any) -> None:
    _current[0] = mr
