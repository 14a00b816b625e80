"""The memory of a device is measured apart from its time."""

import sys
import time
from types import SimpleNamespace

import pytest

from benchmarks.speed import measure
from benchmarks.speed.cases import Case
from benchmarks.speed.machine import device_memory


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
