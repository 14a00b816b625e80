from typing import Any


def rmm_cupy_allocator(nbytes: int) -> Any:
    raise AssertionError("an array of somebody else by RMM")
