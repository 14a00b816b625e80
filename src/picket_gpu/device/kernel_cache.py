"""CuPy's cache of compiled kernels, without which CuPy cannot be imported."""

import os
from pathlib import Path


def provide_kernel_cache() -> None:
    """Let CuPy keep kernels in memory where its directory cannot be made.

    Call before CuPy is imported, and before Zarr, which imports CuPy where it is installed. A home
    directory may be missing or read-only in containers and on compute nodes.
    """
    if "CUPY_CACHE_DIR" in os.environ:
        return
    directory = Path(os.path.expanduser("~/.cupy/kernel_cache"))
    there = next(path for path in (directory, *directory.parents) if os.path.exists(path))
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        os.environ["CUPY_CACHE_DIR"] = os.path.abspath(os.sep)  # which exists; nothing is written
        os.environ["CUPY_CACHE_IN_MEMORY"] = "1"
