from types import SimpleNamespace

import numpy as np
import pytest

from picket_gpu.device.select import select_backend
from picket_gpu.errors import PicketError
from picket_gpu.method.features import FFTs, Intensities
from picket_gpu.method.labels import core
from picket_gpu.method.memory import MemoryPlan, plan_memory
from picket_gpu.method.preprocess import prepare
from picket_gpu.method.windows import fit_windows
from picket_gpu.method.workflows import PreparedTomogram, Settings, run_workflows
from tests.support import float32_blur

WHOLE = MemoryPlan(2**30, 5, 100, 100, 0, 0, blur_planes=10**6)


def blur_by_sum(volume, sigma):
    """Half-sample symmetric Gaussian blur cut at 4 sigma, axis by axis, in float64."""
    radius = int(4 * sigma + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    out = volume.astype(np.float64)
    for axis in range(3):
        padding = [(radius, radius) if a == axis else (0, 0) for a in range(3)]
        padded = np.pad(out, padding, mode="symmetric")
        windows = np.lib.stride_tricks.sliding_window_view(padded, len(kernel), axis=axis)
        out = windows @ kernel
    return out


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "float16", "float32", "float64"])
def test_blurred_then_scaled_to_0_1_whatever_the_type(backend, noise, dtype):
    volume = (noise * 100).astype(dtype)
    result = prepare(backend, volume, 2.0, WHOLE)
    blurred = blur_by_sum(volume, 2.0)
    expected = (blurred - blurred.min()) / (blurred.max() - blurred.min())
    assert result.volume.data.dtype == np.float32
    np.testing.assert_allclose(result.volume.data + result.offset, expected, atol=2e-5)


def test_sigma_0_does_not_blur_and_leaves_the_input_alone(backend, noise):
    before = noise.copy()
    result = prepare(backend, noise, 0.0, WHOLE)
    expected = (noise - noise.min()) / (noise.max() - noise.min())
    np.testing.assert_allclose(result.volume.data + result.offset, expected, atol=1e-6)
    assert (noise == before).all()


def test_the_result_is_centred(backend, noise):
    assert abs(prepare(backend, noise, 2.0, WHOLE).volume.data.mean(dtype=np.float64)) < 1e-7


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "NaN"), (np.inf, "NaN or infinite"), (3e38, "too large")]
)
def test_values_that_cannot_be_scaled_are_refused(backend, noise, value, message):
    noise[3, 4, 5] = value
    noise[5, 4, 3] = -value
    with pytest.raises(PicketError, match=message), np.errstate(invalid="ignore", over="ignore"):
        prepare(backend, noise, 0.0, WHOLE)


def test_a_constant_volume_is_refused(backend):
    with pytest.raises(PicketError, match="vol: is constant"):
        prepare(backend, np.full((9, 9, 9), 7, dtype=np.int16), 2.0, WHOLE, "vol")


SCIPY = select_backend("cpu").ndimage
FILTERS = {"sums in double": SCIPY.gaussian_filter, "sums in float32": float32_blur.gaussian_filter}


@pytest.mark.parametrize("blur", FILTERS.values(), ids=FILTERS)
def test_a_large_offset_of_grey_values_changes_no_label(backend, phantom, blur):
    grey = phantom[4:24, 20:54, 20:54]
    grey = np.round(255 * (grey - grey.min()) / np.ptp(grey)).astype(np.float32)
    raised = grey + np.float32(255 * 6e4)
    assert (raised - raised.min() == grey).all()  # float32 holds both exactly
    windows = fit_windows(grey.shape, 5)
    plan = plan_memory(backend, windows, 2)

    def labels(volume):
        tomogram = PreparedTomogram(prepare(backend, volume, 2.0, plan), windows, plan)
        modes = [FFTs(n_fft_subsets=8), Intensities()]
        results = run_workflows(backend, tomogram, modes, Settings(["kmeans", "gmm"]))
        return {(r.mode.mode, r.method): core(r.labels, 5) for r in results}

    with backend.exclusive():
        expected = labels(grey)
        backend.ndimage = SimpleNamespace(gaussian_filter=blur)
        for workflow, found in labels(raised).items():
            assert (found == expected[workflow]).mean() >= 0.9999, workflow


@pytest.mark.parametrize("place", [(0, 0, 0), (6, 7, 7)], ids=["first", "middle"])
def test_a_bright_voxel_leaves_the_others_their_digits(backend, noise, place):
    noise[place] = 1e4
    result = prepare(backend, noise, 1.0, WHOLE)
    expected = blur_by_sum(noise, 1.0)
    span, far = np.ptp(expected), np.s_[11:]  # beyond the bright voxel's blur
    expected = (expected - expected.min()) / span - result.offset
    # A subtracted 1e4 would leave the others an error of 1e-3 before scaling, in place of 1e-7.
    np.testing.assert_allclose(result.volume.data[far] * span, expected[far] * span, atol=3e-5)
