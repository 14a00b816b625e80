"""Long runs do not grow; benchmarks.soak has longer ones, and the figures."""

import os
from pathlib import Path

import pytest

from benchmarks.soak import growth, soak
from picket_gpu.device.limits import available_threads
from tests.support.data import untraced

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks /proc"),
]
# What a run keeps of a tomogram, results and record of six segmentations, is some 30 KB: 1% in all.
GROWTH = 0.05


@pytest.mark.parametrize("workers", [None, 2])
def test_forty_tomograms_hold_no_more_than_twenty(monkeypatch, workers):
    monkeypatch.setattr(os, "environ", untraced())
    if workers:
        pytest.importorskip("distributed")
    series = soak(40, workers)
    assert len(series) == 1 + (workers or 0)
    for name, blocks in series.items():
        assert len(blocks) == 4
        assert growth(blocks, lambda use: use.memory) <= GROWTH, name
        # Two may be open at the time that they are counted, and the threads of tiles, of
        # compression and of reading ahead may run.
        first, *later = blocks
        assert max(use.files for use in later) <= first.files + 2, name
        running = 2 * available_threads() + 1
        assert max(use.threads for use in later) <= first.threads + running, name
