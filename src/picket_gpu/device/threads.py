"""How many threads this process may keep busy."""

import os
from math import ceil

from picket_gpu.device.container import cpu_quota


def available_threads() -> int:
    """Threads that this process may keep busy."""
    # The variable by which users and Slurm scripts already limit numerical threads.
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = cpu_quota()
    return max(1, min(allowed or 1, allowed or 1 if quota is None else ceil(quota)))
