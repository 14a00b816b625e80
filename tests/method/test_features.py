from itertools import product

import numpy as np
import pytest

from picket_gpu.device.operations import Operations, Scratch
from picket_gpu.method.features import FFTs, Gabor, Intensities
from picket_gpu.method.features.ffts import magnitudes_by_fft
from picket_gpu.method.features.gabor import gabor_filters

SIDES = [3, 5, 7]


def random_windows(side, n=200):
    return np.random.default_rng(side).random((n, side**3), dtype=np.float32)


def raw(mode, windows, side, offset=0.0):
    """Raw features of windows given as rows; ``offset`` was subtracted from them."""
    augmented = np.vstack([windows.T, np.ones(len(windows), dtype=np.float32)])
    extract = mode.extractor(Operations(np, None), side, offset)
    x = extract.of_windows(np.ascontiguousarray(augmented), Scratch(np))
    assert x.dtype == np.float32
    assert (x[-1] == 1).all()
    return x[:-1].T


def reported(mode, windows, side, offset=0.0):
    x = raw(mode, windows, side, offset)
    return x @ mode.reported_from_raw(np.cov(x.T.astype(np.float64), bias=True), side).T


def distances(features):
    return ((features[:, None] - features[None]) ** 2).sum(-1)


@pytest.mark.parametrize("side", SIDES)
def test_fft_features_keep_the_distances_of_numpy_fft_magnitudes(side):
    windows = random_windows(side, 40)
    cubes = windows.astype(np.float64).reshape(-1, side, side, side)
    expected = np.abs(np.fft.fftn(cubes, axes=(1, 2, 3))).reshape(len(windows), -1)
    features = reported(FFTs(), windows, side)
    assert features.shape[1] == (side**3 + 1) // 2
    np.testing.assert_allclose(distances(features), distances(expected), rtol=1e-4, atol=1e-5)
    # The same values, each pair once.
    np.testing.assert_allclose(
        np.sort((features**2).sum(1)), np.sort((expected**2).sum(1)), rtol=1e-5
    )


@pytest.mark.parametrize("side", SIDES)
def test_fft_features_do_not_depend_on_what_was_subtracted(side):
    windows = random_windows(side)
    offset = 0.375
    centred = raw(FFTs(), windows - np.float32(offset), side, offset)
    np.testing.assert_allclose(centred, raw(FFTs(), windows, side), atol=2e-5 * side**3)


@pytest.mark.parametrize("side", SIDES)
def test_the_matrix_product_and_the_fft_make_the_same_features(side):
    windows = random_windows(side)
    augmented = np.vstack([windows.T, np.ones(len(windows), dtype=np.float32)])
    twin = magnitudes_by_fft(np, augmented, side, 0.25)
    expected = raw(FFTs(), windows, side, 0.25)
    np.testing.assert_allclose(twin[:-1].T, expected, atol=1e-6 * side**3)
    assert twin.dtype == np.float32
    assert (twin[-1] == 1).all()


BOXES = {
    "one plane": (slice(2, 3), slice(0, 8), slice(0, 9)),
    "several planes": (slice(0, 4), slice(0, 8), slice(0, 9)),
    "rows of a plane": (slice(5, 6), slice(3, 7), slice(0, 9)),
    "part of rows": (slice(1, 3), slice(2, 3), slice(4, 8)),
    "one window": (slice(6, 7), slice(7, 8), slice(8, 9)),
}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES)
def test_fft_features_of_a_box_are_those_of_its_windows(noise, side, box):
    operations, scratch = Operations(np, None), Scratch(np)
    # Not contiguous, as no slab promises to be, with 7 x 8 x 9 windows.
    slab = noise[:, :, ::-1][: 6 + side, : 7 + side, : 8 + side]
    windows = operations.box_windows(slab, box, side, Scratch(np))
    extract = FFTs().extractor(operations, side, 0.25)
    features = extract.of_box(slab, box, scratch).copy()
    assert features.dtype == np.float32
    assert (features[-1] == 1).all()
    # float32 sums of side**3 numbers of size one.
    tolerance = side**3 * np.finfo(np.float32).eps
    np.testing.assert_allclose(features, extract.of_windows(windows, scratch), atol=tolerance)
    twin = magnitudes_by_fft(np, windows.astype(np.float64), side, 0.25)
    np.testing.assert_allclose(features, twin, atol=tolerance)


def gabor_by_formula(f, side):
    """The formula of the semantics page, voxel by voxel."""
    h = side // 2
    sigma = h / 3
    values = []
    for p, q, r in product(range(side), repeat=3):
        phase = 2 * np.pi * (f[0] * p + f[1] * q + f[2] * r) * side / (side - 1)
        squared = (p - h) ** 2 + (q - h) ** 2 + (r - h) ** 2
        values.append(np.cos(phase) * np.exp(-squared / (4 * sigma**2)))
    return np.array(values)


@pytest.mark.parametrize("side", SIDES)
def test_gabor_filters_follow_the_formula(side):
    frequency = np.linspace(0, 0.5, 4)
    bank = gabor_filters(side, 4, np.arange(64))
    for row, f in zip(bank, product(frequency, repeat=3), strict=True):
        np.testing.assert_allclose(row, gabor_by_formula(f, side), atol=1e-12)


@pytest.mark.parametrize("parallel", [1, 7, 1000])
def test_gabor_keeps_the_filters_of_highest_standard_deviation(parallel):
    windows = random_windows(5, 400)
    mode = Gabor(num_sinusoids=5, num_output_features=20, num_parallel_filters=parallel)
    responses = windows.astype(np.float64) @ gabor_filters(5, 5, np.arange(125)).T
    highest = np.argsort(-responses.std(axis=0), kind="stable")[:20]
    np.testing.assert_allclose(reported(mode, windows, 5), responses[:, highest], atol=1e-4)


def test_gabor_never_selects_by_rounding_noise():
    # Of windows that are all alike but for their mean, most filters' variance is 0 up to rounding.
    # Below 0 its root would be NaN, which sorts above everything.
    windows = np.outer(np.linspace(0, 1, 50), np.ones(125)).astype(np.float32)
    filters = Gabor().reported_from_raw(np.cov(windows.T.astype(np.float64), bias=True), 5)
    sums = abs(gabor_filters(5, 10, np.arange(1000)).sum(axis=1))
    assert np.isfinite(filters).all()
    np.testing.assert_allclose(np.sort(abs(filters.sum(axis=1))), np.sort(sums)[-64:], rtol=1e-6)


def test_intensities_are_the_voxels():
    windows = random_windows(5)
    assert (reported(Intensities(), windows, 5) == windows).all()


@pytest.mark.parametrize(
    ("mode", "d"), [(FFTs(), 125), (Gabor(num_output_features=9), 9), (Intensities(), 125)]
)
def test_number_of_features_as_reported(mode, d):
    assert mode.num_features(5) == d


def test_batches_are_never_larger_than_asked_for():
    assert FFTs(n_fft_subsets=64).batch_limit(6400) == 100
    assert FFTs(n_fft_subsets=64).batch_limit(6401) == 101  # 64 subsets hold 6401 windows
    assert FFTs(n_fft_subsets=64).batch_limit(3) == 1  # fewer windows than subsets
    assert Gabor(num_neighborhoods_subsets=5).batch_limit(100) == 20
    assert Intensities().batch_limit(100) == 100
