"""Memory as the operating system counts it, and the plan that bounds it."""

import json
import subprocess
import sys

import mrcfile
import numpy as np
import pytest

from picket_gpu.device.backend import MIB
from picket_gpu.device.select import select_backend
from picket_gpu.errors import PicketError
from picket_gpu.method.memory import plan_memory
from picket_gpu.method.windows import fit_windows
from tests.support.data import untraced

MEASURE = """
import json, sys
from picket_gpu import run_s1
run_s1(json.loads(sys.argv[1]), quiet=True)
print([int(line.split()[1]) for line in open("/proc/self/status") if "VmHWM" in line][0] * 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("cap", [100_000_000, 300_000])
def test_peak_memory_is_within_four_volumes_and_600_mb(tmp_path, cap):
    shape = (80, 160, 160)  # 2 million windows; their features would take 2 GB in float64
    data = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    data[30:50, 50:90, 60:120] += 1
    mrcfile.write(tmp_path / "a.mrc", data)
    config = {
        "dataset_name": "set",
        "inputs": [{"tomogram": str(tmp_path / "a.mrc")}],
        "max_num_neighborhoods_for_fitting": cap,
        "feature_extraction_params": [{"mode": "ffts"}],
        "output_dir": str(tmp_path),
        "device": "cpu",
    }
    command = [sys.executable, "-c", MEASURE, json.dumps(config)]
    options = {"capture_output": True, "text": True, "check": True}
    result = subprocess.run(command, env=untraced(), **options)
    assert int(result.stdout) <= 4 * data.nbytes + 600e6


@pytest.mark.parametrize("cap", [None, 1000])
@pytest.mark.parametrize("side", [3, 5, 9])
@pytest.mark.parametrize("budget", [None, 300 * MIB, 4096 * MIB])
def test_the_plan_adds_up(cap, side, budget):
    backend = select_backend("cpu")
    windows = fit_windows((60, 70, 80), side, cap=cap)
    plan = plan_memory(backend, windows, 2, budget)
    volume = 60 * 70 * 80 * 4
    tiles = backend.workers * plan.tile_windows * side**3 * 4
    subset = plan.subset_windows * side**3 * 4
    assert volume + tiles + subset + plan.cache_bytes <= plan.budget
    assert plan.cache_bytes >= 0
    assert plan.subset_windows <= windows.count
    if budget:
        assert plan.budget == budget


@pytest.mark.parametrize("shape", [(32, 96, 96), (200, 928, 960), (512, 1024, 1024)])
@pytest.mark.parametrize("side", [3, 5, 9])
def test_the_default_is_within_four_volumes_and_400_mb(shape, side, monkeypatch):
    # Of the 600 MB that are allowed, 200 are for Python and its packages. Each thread has a tile.
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    plan = plan_memory(select_backend("cpu"), fit_windows(shape, side), 2)
    assert plan.budget <= 4 * np.prod(shape) * 4 + 400e6


def test_a_budget_below_the_volume_names_what_is_needed():
    windows = fit_windows((512, 512, 512), 5)
    with pytest.raises(PicketError, match=r"^memory_budget: 100 MiB .* it needs 1\d{3} MiB$"):
        plan_memory(select_backend("cpu"), windows, 2, 100 * MIB)
