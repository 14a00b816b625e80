"""The memory of a device is measured apart from its time."""

import json
import sys
import time
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from benchmarks.speed import measure
from benchmarks.speed.cases import Case
from benchmarks.speed.machine import _product_error, device_memory
from benchmarks.tf32 import rounded


@pytest.fixture
def card(monkeypatch):
    """A module ``cupy`` of which only the memory can be asked; ``asked`` counts it."""
    state = SimpleNamespace(asked=0, free=2**30)

    class Device:
        @property
        def mem_info(self):
            state.asked += 1
            return state.free, 2**31

    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=SimpleNamespace(Device=Device)))
    return state


def test_the_most_memory_in_use_while_it_ran(card):
    def run():
        card.free -= 100 * 2**20
        time.sleep(0.1)
        card.free += 60 * 2**20

    assert device_memory("gpu", run) == {"peak_device_mib": 100}


def test_on_a_cpu_nothing_is_run_again(card):
    assert device_memory("cpu", lambda: pytest.fail("ran")) == {}
    assert card.asked == 0


def test_nobody_asks_for_the_memory_while_a_command_is_timed(card, tmp_path, monkeypatch):
    asked = []

    def command(*_, **__):
        time.sleep(0.05)
        asked.append(card.asked)

    monkeypatch.setattr(measure.subprocess, "run", command)
    case = Case("a", (4, 4, 4), device="gpu", through="cli", repeats=3)
    figures = measure.through_cli(case, tmp_path / "a.mrc", tmp_path)
    assert len(figures["all_seconds"]) == 3
    assert asked[:3] == [0, 0, 0]
    assert asked[3] > 1
    assert "peak_device_mib" in figures


@pytest.mark.parametrize(("seconds", "ran"), [(14.9, 1), (15.1, 0)])
def test_only_a_short_case_is_run_again_for_its_memory(card, tmp_path, seconds, ran):
    runs = []
    (tmp_path / "labels").mkdir()
    record = {"tomograms": [{"peak_device_bytes": peak} for peak in (2**30, 2**31, None)]}
    (tmp_path / "labels" / "run.json").write_text(json.dumps(record))
    case = Case("a", (4, 4, 4), device="gpu")
    memory = measure._memory(case, tmp_path, seconds, lambda: runs.append(1))
    assert len(runs) == ran
    assert memory["peak_pool_mib"] == 2048
    assert ("peak_device_mib" in memory) == bool(ran)


@pytest.mark.parametrize("shape", [(4, 5, 6), (512, 1024, 1024)], ids=["small", "large"])
def test_agreement_is_the_share_of_equal_labels(tmp_path, shape):
    case = Case("a", shape, modes=("ffts",), methods=("kmeans", "gmm"))
    ours = np.random.default_rng(0).integers(-1, 2, (20, 5, 6)).astype(np.int8)
    for name in ("ours", "theirs"):
        (tmp_path / name / "labels").mkdir(parents=True)
        for method in case.methods:
            with h5py.File(measure._labels_file(tmp_path / name, "ffts", method), "w") as file:
                file[f"{measure.GROUP}/{measure.DATASET}"] = ours if name == "ours" else 0 * ours
    share = (ours == 0).sum() / (ours >= 0).sum()
    found = measure.agreement(case, tmp_path / "ours", tmp_path / "theirs")
    assert found == {"ffts_kmeans": share, "ffts_gmm": share}


def test_a_product_of_tf32_shows_in_its_error():
    class Rounded(np.ndarray):
        def __matmul__(self, other):
            if self.dtype != np.float32:
                return np.asarray(self) @ np.asarray(other)
            return rounded(np.asarray(self)) @ rounded(np.asarray(other))

    a = np.random.default_rng(0).standard_normal((256, 256), dtype=np.float32)
    assert 1e-8 < _product_error(a) < 2e-6
    assert 2e-4 < _product_error(a.view(Rounded)) < 4e-4
