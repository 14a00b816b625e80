"""Choice of a backend by the name of a device."""

import re

from picket_gpu.device.backend import Backend, KMeansEngine
from picket_gpu.device.gpu import find_gpu
from picket_gpu.device.limits import available_threads
from picket_gpu.errors import PicketError

DEVICES = r"auto|cpu|gpu(:[0-9]{1,4})?"


def select_backend(
    device: str = "auto", kmeans_engine: KMeansEngine = "auto", threads: int | None = None
) -> Backend:
    """The backend for ``device``.

    Args:
        device: "cpu", "gpu" for the first GPU that CuPy sees, "gpu:1" for the second, or "auto" for
            "gpu" if it can be used, else "cpu".
        kmeans_engine: "cuml" for cuML's k-means, "native" for ours, "auto" for cuML's on a GPU if
            it is installed.
        threads: number of threads on a CPU; default: `available_threads`.

    Raises:
        PicketError: the device or cuML cannot be used; the message says why.
    """
    if not re.fullmatch(DEVICES, device):
        raise PicketError(f"device: must be auto, cpu, gpu or gpu:N (got {device!r})")
    if device == "cpu":
        found: Backend | str = "chosen by device: cpu"
    else:
        found = find_gpu(int(device.partition(":")[2] or 0), kmeans_engine)
    if isinstance(found, Backend):
        return found
    if device.startswith("gpu"):
        raise PicketError(f"device: {device} cannot be used: {found}; use device: auto or cpu")
    if kmeans_engine == "cuml":
        raise PicketError(f"kmeans_engine: cuml needs a GPU ({found}); use auto or native")
    threads = threads or available_threads()
    return Backend(f"CPU, {threads} thread{'s' * (threads != 1)} ({found})", workers=threads)
