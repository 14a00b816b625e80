"""What a measurement was made on, and the two rates that bound any program there."""

import platform
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from picket_gpu.device.backend import Backend
from picket_gpu.device.limits import available_threads
from picket_gpu.device.operations import Array
from picket_gpu.run.record import commit, versions

# By the names that pip and conda give them.
PACKAGES = ("picket-gpu", "numpy", "scipy", "scikit-learn")
PACKAGES += ("cupy", "cupy-cuda12x", "cupy-cuda13x", "cuml", "cuml-cu12", "cuml-cu13")


def describe(backend: Backend) -> dict[str, Any]:
    """Device, driver, versions, git commit, and measured rates."""
    return {**facts(backend), **rates(backend)}


def facts(backend: Backend) -> dict[str, Any]:
    """Device, driver, versions and git commit."""
    return {
        "device": backend.reason.partition(" (")[0],
        "processor": _processor(),
        "cores": available_threads(),
        "driver": _driver(backend),
        "python": platform.python_version(),
        "packages": versions(PACKAGES),
        "git_commit": commit(),
        "date": time.strftime("%Y-%m-%d"),
    }


def rates(
    backend: Backend, copy_bytes: int | None = None, matrix_side: int | None = None
) -> dict[str, float]:
    """Bytes read and written a second by a large copy, and operations a second by large matrix
    products in float32 and float64, all on all cores; and the error of the float32 product."""
    gpu = backend.name == "gpu"
    # On a CPU outside of ``exclusive``, which leaves BLAS one thread.
    with backend.exclusive() if gpu else nullcontext():
        copy_seconds, copied = _copy(backend, copy_bytes or (2**30 if gpu else 2**27))
        side = matrix_side or (8192 if gpu else 2048)
        normal = np.random.default_rng(0).standard_normal((side, side), dtype=np.float32)
        a = backend.upload(normal)
        single = timed(backend, lambda: a @ a)
        error = _product_error(a)
        a = a[: side // 2, : side // 2].astype("float64")
        double = timed(backend, lambda: a @ a)
    return {
        "bytes_per_second": copied / copy_seconds,
        "flops_per_second": 2 * side**3 / single,
        "float64_flops_per_second": 2 * (side // 2) ** 3 / double,
        "float32_error": error,
    }


def _product_error(a: Array) -> float:
    """Of a product of normal numbers, root mean square over that of the product.

    float32's is 1e-7 to 2e-6, by the order of its sums. Operands of 10 bits, as TF32 has them, err
    by 2e-4 each, and so their product by 3e-4, whose sign is random: with numbers of one sign it
    would cancel.
    """
    rows = slice(256)
    exact = a[rows].astype("float64") @ a.astype("float64")
    error = (a @ a)[rows] - exact
    return float((error * error).mean() / (exact * exact).mean()) ** 0.5


def _copy(backend: Backend, size: int) -> tuple[float, int]:
    source, target = (backend.xp.zeros(size // 4, dtype="float32") for _ in "ab")
    source += 1
    if backend.name == "gpu":
        return timed(backend, lambda: backend.xp.copyto(target, source)), 2 * size
    parts = np.array_split(np.arange(len(source)), backend.workers)
    pieces = [slice(int(part[0]), int(part[-1]) + 1) for part in parts]
    with ThreadPoolExecutor(backend.workers) as pool:
        seconds = timed(
            backend, lambda: list(pool.map(lambda p: np.copyto(target[p], source[p]), pieces))
        )
    return seconds, 2 * size


def timed(backend: Backend, function: Callable[[], Any], repeats: int = 5) -> float:
    """Median seconds of a function whose work is done when they are read; warmed up once."""
    seconds = []
    for _ in range(repeats + 1):
        backend.synchronize()
        started = time.perf_counter()
        function()
        backend.synchronize()
        seconds.append(time.perf_counter() - started)
    return median(seconds[1:])


def device_memory(device: str, run: Callable[[], Any]) -> dict[str, float]:
    """The most device memory in use during ``run`` beyond what was in use before, in MiB, as the
    driver tells it: arrays, libraries' work space and all. On a CPU nothing is run.

    To ask the driver all the time takes time, so this is no run to be timed.
    """
    if not device.startswith("gpu"):
        return {}
    import cupy

    before = least = cupy.cuda.Device().mem_info[0]
    done = threading.Event()

    def watch() -> None:
        nonlocal least
        while not done.wait(0.005):
            least = min(least, cupy.cuda.Device().mem_info[0])

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        run()
    finally:
        done.set()
        watcher.join()
    return {"peak_device_mib": (before - least) / 2**20}


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (info.read_text().splitlines() if info.exists() else [])
        if line.startswith("model name")
    ]
    return names[0] if names else platform.processor()


def _driver(backend: Backend) -> str | None:
    if backend.name != "gpu":
        return None
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True).stdout.split()
    except OSError:
        return None
    return found[0] if found else None
