"""What the record says of the software and the machine of a run."""

import os
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# Asked for one by one: to read what all installed packages say of themselves takes a while.
PACKAGES: tuple[str, ...] = (
    *("picket-gpu", "numpy", "scipy", "h5py", "mrcfile", "zarr", "fsspec", "s3fs", "tifffile"),
    *("distributed", "dask-cuda", "cupy", "cupy-cuda12x", "cupy-cuda13x"),
    *("cuml", "cuml-cu12", "cuml-cu13", "rmm", "rmm-cu12", "rmm-cu13"),
)
COMMIT = "PICKET_GPU_COMMIT"


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Of those ``packages`` that are installed."""
    found = {}
    for name in packages:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def commit() -> str | None:
    """Of the repository that the package runs from, if it does; "-dirty" where files differ."""
    root = Path(__file__).parents[3]
    if (told := os.environ.get(COMMIT)) or not (root / ".git").exists():
        return told or None  # a copy without its history can be told
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        process = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return process.stdout.strip() or None


def peak_host_bytes() -> int | None:
    """The most memory that this process has held so far; None on Windows, which does not tell."""
    if sys.platform == "win32":
        return None
    import resource  # not on Windows

    with suppress(OSError):  # Linux, whose ru_maxrss begins with that of the parent
        for line in Path("/proc/self/status").read_bytes().splitlines():
            if line.startswith(b"VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
