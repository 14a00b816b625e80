"""Where the time of a stage goes: kernels against wall clock, and kernels by time and traffic.

    ncu ... python -m benchmarks.speed.profile SIZE

runs each stage once between marks; `by_kernel` starts it so, where Nsight Compute is installed.
"""

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.speed.machine import timed
from benchmarks.speed.stages import volume_stages
from picket_gpu.device.backend import Backend
from picket_gpu.device.select import select_backend

MARK = "stage_begins"
TIME, READ, WRITTEN = "gpu__time_duration.sum", "dram__bytes_read.sum", "dram__bytes_write.sum"
# Clocks stay as they are: the machine may be shared.
NCU = ["--csv", "--metrics", f"{TIME},{READ},{WRITTEN}", "--print-units", "base"]
NCU += ["--clock-control", "none", "--profile-from-start", "off"]


# Keeps the device busy while launches are queued.
SPIN = "spin"
SPIN_SOURCE = """
extern "C" __global__ void spin(unsigned long long nanoseconds)
{
    unsigned long long begin, now;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(begin));
    do
        asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
    while (now - begin < nanoseconds);
}
"""


def by_stage(backend: Backend, size: int) -> Iterator[dict[str, Any]]:
    """Seconds of each stage that is a pass, and of these those of its kernels.

    The rest is Python and launches.
    """
    kernels = 0.0

    def clock(backend: Backend, function: Callable[[], Any], repeats: int) -> float:
        nonlocal kernels
        seconds = timed(backend, function, repeats)
        kernels = median(kernel_seconds(backend, function, seconds) for _ in range(repeats))
        return seconds

    for stage in volume_stages(backend, size, clock):
        share = kernels / stage.seconds
        yield {"name": stage.name, "seconds": stage.seconds, "kernels": kernels, "share": share}


def kernel_seconds(backend: Backend, function: Callable[[], Any], seconds: float) -> float:
    """From the first to the last kernel of ``function``, all of them queued before the first one
    begins: behind one that spins for longer than ``function`` takes, ``seconds``.

    Where it waits for the device and then launches more, the gap before those counts too.
    """
    cuda = backend.xp.cuda
    spin = backend.xp.RawKernel(SPIN_SOURCE, SPIN)
    begin, end = cuda.Event(), cuda.Event()
    backend.synchronize()
    spin((1,), (1,), (np.uint64(1.5e9 * seconds + 1e6),))
    begin.record()
    function()
    end.record()
    end.synchronize()
    return float(cuda.get_elapsed_time(begin, end)) / 1000


def by_kernel(size: int, log: Path) -> dict[str, Any]:
    """The kernels of each stage, by Nsight Compute, whose output goes to ``log``.

    Raises:
        RuntimeError: the profiler, or what it ran, failed.
    """
    ncu = shutil.which("ncu") or shutil.which("/usr/local/cuda/bin/ncu")
    if ncu is None:
        return {"missing": "ncu (Nsight Compute) is not installed"}
    command = [ncu, *NCU, "--log-file", str(log), sys.executable, "-m", __name__, str(size)]
    root = Path(__file__).parents[2]
    process = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if process.returncode:
        raise RuntimeError((process.stderr + process.stdout + _text(log))[-2000:])
    return {"stages": kernels(_text(log).splitlines(), json.loads(process.stdout.splitlines()[-1]))}


def kernels(lines: Iterable[str], names: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Calls, microseconds and bytes of each kernel, longest first, of each stage of ``names``."""
    found: dict[str, dict[str, dict[str, float]]] = {name: {} for name in names}
    stage, of_stage = -1, {}
    for row in csv.DictReader(line for line in lines if line.startswith('"')):
        kernel, metric = row["Kernel Name"], row["Metric Name"]
        if MARK in kernel:
            if metric == TIME:
                stage += 1
                of_stage = found[names[stage]]
            continue
        figures = of_stage.setdefault(kernel, {"calls": 0, "microseconds": 0, "bytes": 0})
        value = float(row["Metric Value"].replace(",", ""))
        if metric == TIME:
            figures["calls"] += 1
            figures["microseconds"] += value / 1000  # base units: nanoseconds
        else:
            figures["bytes"] += value
    return {
        name: [
            {"kernel": kernel[:100], **figures}
            for kernel, figures in sorted(of.items(), key=lambda item: -item[1]["microseconds"])
        ]
        for name, of in found.items()
    }


def _text(log: Path) -> str:
    return log.read_text(errors="replace") if log.exists() else ""


def _run_marked(size: int) -> list[str]:
    """Run each stage once while the profiler looks; their names."""
    backend = select_backend("gpu", "native")
    xp = backend.xp
    mark = xp.RawKernel(f'extern "C" __global__ void {MARK}() {{}}', MARK)

    def clock(backend: Backend, function: Callable[[], Any], repeats: int) -> float:
        function()  # warm up
        backend.synchronize()
        xp.cuda.profiler.start()
        mark((1,), (1,), ())
        function()
        backend.synchronize()
        xp.cuda.profiler.stop()
        return 0.0

    return [stage.name for stage in volume_stages(backend, size, clock)]


if __name__ == "__main__":
    print(json.dumps(_run_marked(int(sys.argv[1]))))
