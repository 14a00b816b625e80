"""All of S1 on arrays that take nothing from NumPy for granted; see device_double.py."""

import numpy as np
import pytest

pytest.importorskip("cupy", reason="the double takes its names and keywords from cupy")
from device_double import DeviceArray, device_double

from picket_gpu.backend import select_backend
from picket_gpu.features import FFTs, Gabor, Intensities
from picket_gpu.memory import plan_memory
from picket_gpu.neighborhoods import fit_windows
from picket_gpu.preprocess import prepare
from picket_gpu.segmentation import segment_prepared


def all_labels(backend, volume, budget=None, **limits):
    windows = fit_windows(volume.shape, 5, **limits)
    plan = plan_memory(backend, windows, 2, budget)
    modes = [FFTs(), Gabor(), Intensities()]
    with backend.exclusive():
        prepared = prepare(backend, volume, 2.0)
        results = segment_prepared(backend, prepared, windows, modes, ["kmeans", "gmm"], plan)
        return {(r.mode.mode, r.method): r.labels for r in results}


@pytest.mark.parametrize(
    "options", [{}, {"cap": 3000, "lower": 3}, {"budget": 2**30}], ids=["all", "sample", "cache"]
)
def test_six_workflows_run_on_the_device_and_give_the_same_labels(phantom, options):
    small = phantom[4:28, 20:50, 30:66]
    device = all_labels(device_double(), small, **options)
    host = all_labels(select_backend("cpu"), small, **options)
    assert device.keys() == host.keys()
    assert len(device) == 6
    for workflow, labels in device.items():
        assert isinstance(labels, np.ndarray)
        assert (labels == host[workflow]).mean() >= 0.9999, workflow


@pytest.fixture
def xp():
    return device_double().xp


def test_the_double_refuses_what_a_device_refuses(xp):
    device, host = xp.asarray(np.ones(3)), np.ones(3)
    for forbidden in (
        lambda: np.asarray(device),
        lambda: np.exp(device),
        lambda: device + host,
        lambda: host + device,
        lambda: xp.exp(host),
        lambda: list(device),
        lambda: xp.take(device, xp.asarray(np.zeros(1, int)), mode="clip"),
    ):
        with pytest.raises(TypeError):
            forbidden()
    with pytest.raises(AttributeError):
        _ = xp.vecdot_or_whatever_cupy_lacks
    assert isinstance(device + 1, DeviceArray)
    assert isinstance(device.sum(), DeviceArray)
    assert float(device.sum()) == 3
