import numpy as np
import pytest

from picket_gpu.errors import PicketError
from picket_gpu.method.memory import MemoryPlan
from picket_gpu.method.preprocess import prepare

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
