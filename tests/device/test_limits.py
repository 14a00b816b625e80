"""Limits of control groups, of both versions, as containers and batch systems set them."""

import os
from pathlib import Path

import pytest

from picket_gpu import PicketError
from picket_gpu.device import backend as backend_module
from picket_gpu.device import limits
from picket_gpu.device.limits import cpu_quota, memory_limit

V2 = "31 23 0:28 {inside} /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "32 31 0:29 {inside} /sys/fs/cgroup/{name} rw,relatime - cgroup cgroup rw,{options}\n"


def machine(root: Path, cgroup: str, mountinfo: str, files: dict[str, str]) -> Path:
    """A file system with these files, by their paths below /sys/fs/cgroup."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    (root / "proc/self/mountinfo").write_text("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n" + mountinfo)
    for name, content in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    return root


@pytest.mark.parametrize(
    ("files", "cpus", "memory"),
    [
        ({"a/b/cpu.max": "150000 100000", "a/b/memory.max": "1073741824"}, 1.5, 2**30),
        ({"a/b/cpu.max": "max 100000", "a/b/memory.max": "max"}, None, None),
        ({"a/cpu.max": "50000 100000", "a/b/cpu.max": "200000 100000"}, 0.5, None),
        ({"a/b/memory.max": "max", "a/memory.max": "4096", "memory.max": "8192"}, None, 4096),
        ({"other/cpu.max": "100 100000", "a/b/cpu.max": "nonsense"}, None, None),
    ],
)
def test_version_2(tmp_path, files, cpus, memory):
    (tmp_path / "sys/fs/cgroup/a/b").mkdir(parents=True)
    root = machine(tmp_path, "0::/a/b\n", V2.format(inside="/"), files)
    assert cpu_quota(root) == cpus
    assert memory_limit(root) == memory


@pytest.mark.parametrize("inside", ["/docker/x", "/"])
def test_version_2_in_a_container(tmp_path, inside):
    files = {"cpu.max": "300000 100000", "memory.max": "4096"}
    root = machine(tmp_path, "0::/\n", V2.format(inside=inside), files)
    assert (cpu_quota(root), memory_limit(root)) == (3.0, 4096)


def test_version_1(tmp_path):
    mounts = V1.format(inside="/", name="cpu,cpuacct", options="cpu,cpuacct")
    mounts += V1.format(inside="/", name="memory", options="memory")
    files = {
        "cpu,cpuacct/slurm/job/cpu.cfs_quota_us": "250000",
        "cpu,cpuacct/slurm/job/cpu.cfs_period_us": "100000",
        "cpu,cpuacct/cpu.cfs_quota_us": "-1",
        "memory/slurm/job/memory.limit_in_bytes": "9223372036854771712",
        "memory/slurm/memory.limit_in_bytes": str(2**33),
    }
    root = machine(tmp_path, "4:memory:/slurm/job\n1:cpu,cpuacct:/slurm/job\n", mounts, files)
    assert (cpu_quota(root), memory_limit(root)) == (2.5, 2**33)


def test_version_1_whose_group_is_named_as_the_host_has_it(tmp_path):
    mounts = V1.format(inside="/docker/x", name="memory", options="memory")
    files = {"memory/memory.limit_in_bytes": "4096"}
    root = machine(tmp_path, "4:memory:/docker/x\n", mounts, files)
    assert memory_limit(root) == 4096


def test_no_control_groups(tmp_path):
    assert (cpu_quota(tmp_path), memory_limit(tmp_path)) == (None, None)


def test_this_machine_can_be_asked():
    for limit in (cpu_quota(), memory_limit()):
        assert limit is None or limit > 0


@pytest.mark.parametrize(
    ("quota", "expected"), [(None, 8), (1.5, 2), (0.2, 1), (64.0, 8), (8.0, 8)]
)
def test_threads_are_as_many_as_the_quota_keeps_busy(monkeypatch, quota, expected):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(limits, "cpu_quota", lambda: quota)
    assert limits.available_threads() == expected
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert limits.available_threads() == 5


def test_the_default_budget_stays_below_the_limit(backend, monkeypatch):
    monkeypatch.setattr(backend_module, "memory_limit", lambda: 500)
    assert backend.default_budget(volume=100, needed=300) == 400
    assert backend.default_budget(volume=100, needed=450) == 500
    assert backend.default_budget(volume=100, needed=300, extra=70) == 470
    assert backend.default_budget(volume=100, needed=300, extra=170) == 500
    with pytest.raises(PicketError, match=r"^memory_budget: .* this container or job may use"):
        backend.default_budget(volume=100, needed=501)
