"""Threads and memory that this process may use, also in a container or under a batch system.

These set limits by control groups (Linux). See the kernel's documentation, admin-guide/cgroup-v1
and cgroup-v2: a group's limits hold for all groups below it, so the smallest one on the way up
counts.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from math import ceil
from pathlib import Path

NONE = 2**60  # bytes; version 1 writes this or more for no limit


def available_threads() -> int:
    """Number of threads that this process may keep busy."""
    # The variable by which users and Slurm scripts already limit numerical threads.
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = cpu_quota()
    return max(1, min(allowed or 1, allowed or 1 if quota is None else ceil(quota)))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Number of CPUs that this process may keep busy on average; None without a quota.

    Args:
        root: root of the file system.
    """
    quotas = []
    for group in _groups(root, "cpu"):
        with suppress(OSError, ValueError):
            quota, period = (group / "cpu.max").read_text().split()
            if quota != "max":
                quotas.append(int(quota) / int(period))
        with suppress(OSError, ValueError):
            microseconds = int((group / "cpu.cfs_quota_us").read_text())
            if microseconds > 0:
                quotas.append(microseconds / int((group / "cpu.cfs_period_us").read_text()))
    return min(quotas, default=None)


def memory_limit(root: Path = Path("/")) -> int | None:
    """Bytes that this process and others of its group may use; None without a limit.

    Args:
        root: root of the file system.
    """
    limits = []
    for group in _groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with suppress(OSError, ValueError):  # "max" is no number
                limits.append(int((group / name).read_text()))
    return min((limit for limit in limits if limit < NONE), default=None)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Directories of this process's control group for a controller, and of all groups above it."""
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
        mounts = (root / "proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return  # no Linux
    paths: dict[str, str] = {}
    for line in groups:
        _, controllers, path = line.split(":", 2)
        paths |= dict.fromkeys(controllers.split(",") if controllers else ["unified"], path)
    for line in mounts:
        mount, _, kind = line.partition(" - ")
        fields, (system, _, options) = mount.split(), kind.split()[:3]
        name = "unified" if system == "cgroup2" else controller
        known = system == "cgroup2" or (system == "cgroup" and controller in options.split(","))
        if not known or name not in paths:
            continue
        top = root / fields[4].lstrip("/")
        # A container sees its own group as the top, or its path as the host has it.
        inside = paths[name].removeprefix(fields[3] if fields[3] != "/" else "").strip("/")
        group = top / inside if (top / inside).is_dir() else top
        while True:
            yield group
            if group == top or top not in group.parents:
                break
            group = group.parent
