"""Padding is found where it is, nowhere else, and then has no say in anything."""

import warnings
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import pytest
from scipy import ndimage

from picket_gpu import PicketError, run_s1, segment
from picket_gpu.device.select import select_backend
from picket_gpu.method.blur import Keep
from picket_gpu.method.memory import plan_memory
from picket_gpu.method.padding import (
    SAMPLE,
    _even_voxels,
    _inside,
    clear_of,
    find_padding,
    grey_limits,
)
from picket_gpu.method.preprocess import prepare
from picket_gpu.method.windows import fit_windows
from tests.support.data import DATA
from tests.support.pages import data_of

SHAPE = (28, 48, 50)
Z, Y, X = np.indices(SHAPE)
CORNERS = np.abs(Y - 24) + np.abs(X - 25) > 30
PLACES = {
    "corners": CORNERS,
    "strip": X > 40,
    "planes": np.abs(Z - 13.5) > 11,
    "ball": (Z - 14) ** 2 + (Y - 24) ** 2 + (X - 25) ** 2 < 81,
}


@pytest.fixture(scope="module")
def sample():
    """Dark balls in noise of a standard deviation of 1 about 20."""
    rng = np.random.default_rng(0)
    grey = rng.normal(20, 1, SHAPE)
    for _ in range(9):
        z, y, x = (rng.uniform(5, n - 5) for n in SHAPE)
        grey[(Z - z) ** 2 + (Y - y) ** 2 + (X - x) ** 2 < 16] -= 3
    return grey.astype(np.float32)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("value", [0, 20, -1000, 255])
def test_padding_of_any_value_is_found_to_the_voxel(sample, place, value):
    found = find_padding(np.where(PLACES[place], np.float32(value), sample))
    assert (found.mask == PLACES[place]).all()
    assert found.values == (value,)
    assert found.share == PLACES[place].mean()


def test_padding_of_two_values(sample):
    grey = np.where(X > 42, np.float32(5), np.where(Z < 3, np.float32(0), sample))
    found = find_padding(grey)
    assert set(found.values) == {0, 5}
    assert (found.mask == ((X > 42) | (Z < 3))).all()


@pytest.mark.parametrize("value", [-128, 0, 127])
def test_padding_of_bytes(sample, value):
    grey = np.round((sample - 20) * 8).clip(-126, 126)
    found = find_padding(np.where(CORNERS, value, grey).astype(np.int8))
    assert found.values == (value,)
    assert (found.mask >= CORNERS).all()
    assert (found.mask & ~CORNERS).mean() < 0.01  # voxels that happen to have the value


def test_padding_with_a_breath_of_noise(sample):
    noise = np.random.default_rng(1).normal(0, 1e-6, SHAPE)
    found = find_padding(np.where(CORNERS, noise, sample).astype(np.float32))
    assert (found.mask == CORNERS).all()


@pytest.mark.parametrize("middle", [0, 20])
def test_a_taper_goes_with_the_padding(sample, middle):
    away = ndimage.distance_transform_edt(~CORNERS)
    taper = np.clip(away / 6, 0, 1)
    found = find_padding((middle + (sample - middle) * taper).astype(np.float32))
    assert found.mask[away <= 3].all()
    assert not found.mask[away > 10].any()


def test_the_rim_of_an_interpolation_goes_with_it(sample):
    padded = np.where(CORNERS, np.float32(0), sample)
    turned = ndimage.rotate(padded, 9, axes=(1, 2), reshape=False, order=1)
    found = find_padding(turned)
    assert (turned[~found.mask] > 12).all()  # within 7 standard deviations of 20, about


def test_volumes_without_padding_have_none(sample, phantom, hiv):
    volumes = [sample, phantom, hiv, np.round(sample)]
    for volume in (phantom, hiv):
        smooth = ndimage.gaussian_filter(volume.astype(np.float32), 2)
        unit = (smooth - smooth.min()) / np.ptp(smooth)
        volumes += [np.round(unit * levels) for levels in (6, 30, 255)]  # denoised, as bytes
    assert [find_padding(volume) for volume in volumes] == [None] * len(volumes)


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint16"])
@pytest.mark.parametrize("shape", [(1, 9, 40), (8, 1, 7), (9, 30, 31), (50, 20, 6)])
def test_places_inside_are_an_erosion(shape, dtype):
    rng = np.random.default_rng(0)
    grey = (rng.random(shape) < 0.04).astype(dtype)  # mostly one value, as in padding
    inside, count = _inside(grey, 0.0, 1e-4)
    assert (inside == ndimage.binary_erosion(grey == 0, np.ones((3, 3, 3)), border_value=1)).all()
    assert count == np.count_nonzero(inside)


@pytest.mark.parametrize("voxels", [1000, SAMPLE, 3 * SAMPLE])
def test_even_voxels_are_counted_and_taken_evenly(voxels):
    grey = np.random.default_rng(0).integers(0, 3, (19, voxels // 19 // 40, 40)).astype(np.int16)
    values = grey[:, :, :-1][grey[:, :, 1:] == grey[:, :, :-1]]
    expected = values[:: -(-len(values) // SAMPLE)]
    assert (_even_voxels(grey, 1e-4) == expected).all()
    assert _even_voxels(np.arange(24.0).reshape(2, 3, 4), 1e-4) is None


def test_differences_of_the_largest_numbers_are_no_warning(sample):
    grey = np.where(CORNERS, np.float32(0), sample)
    grey[14, 24, 24:26] = 3e38, -3e38
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert find_padding(grey).values == (0,)


def test_the_blur_of_kept_voxels_is_a_normalised_convolution(backend, sample):
    kept = ~CORNERS
    windows = fit_windows(SHAPE, 5)
    plan = plan_memory(backend, windows, 1)
    with backend.exclusive():
        keep = Keep(kept, 20.0)
        found = prepare(backend, np.where(kept, sample, 7e3), 2.0, plan, keep=keep)
    exact = np.where(kept, sample.astype(np.float64), 0)
    options = {"sigma": 2.0, "truncate": 4.0, "mode": "reflect"}
    weight = ndimage.gaussian_filter(kept.astype(np.float64), **options)
    blurred = ndimage.gaussian_filter(exact, **options) / np.maximum(weight, 1e-12)
    low, high = blurred[kept].min(), blurred[kept].max()
    expected = (blurred - low) / (high - low)
    found_grey = found.volume.data + found.offset
    np.testing.assert_allclose(found_grey[kept], expected[kept], atol=3e-5)


@pytest.mark.parametrize("method", ["kmeans", "gmm"])
def test_the_value_of_padding_changes_no_label(sample, method):
    labels = []
    for value in (0, 20, 300):
        padded = np.where(CORNERS, np.float32(value), sample)
        with pytest.warns(UserWarning, match="of the voxels are padding"):
            labels.append(segment(padded, clustering=method, device="cpu"))
    assert (labels[0] == labels[1]).all()
    assert (labels[0] == labels[2]).all()
    clear = clear_of(CORNERS, 5)
    inside = np.zeros(SHAPE, dtype=bool)
    inside[2:-2, 2:-2, 2:-2] = True
    assert ((labels[0] >= 0) == (clear & inside)).all()


def test_windows_that_touch_are_those_within_half_a_window():
    mask = np.zeros((9, 9, 9), dtype=bool)
    mask[4, 4, 4] = True
    touching = np.zeros_like(mask)
    touching[2:7, 2:7, 2:7] = True
    assert (clear_of(mask, 5) == ~touching).all()


def settings(**changes):
    return {
        "dataset_name": "set",
        "inputs": [{"tomogram": "a.mrc"}],
        "feature_extraction_params": [{"mode": "ffts"}, {"mode": "intensities"}],
        "output_dir": "out",
        "device": "cpu",
    } | changes


@pytest.fixture
def padded(tmp_path, monkeypatch, sample):
    monkeypatch.chdir(tmp_path)
    grey = np.where(CORNERS, np.float32(0), sample)
    mrcfile.write("a.mrc", grey, voxel_size=10)
    return grey


def test_a_run_tells_of_padding_everywhere(padded, capsys):
    run = run_s1(settings())
    share = f"{CORNERS.mean():.1%}"
    (warning,) = run.warnings
    assert warning.startswith(f"a.mrc: {share} of the voxels are padding with the value 0;")
    assert f"  warning: {warning}\n" in capsys.readouterr().out
    assert warning in Path("out/set/run.json").read_text()
    assert warning in Path("out/set/report.html").read_text()
    with h5py.File(run[0].path) as file:
        assert file["segmentations"].attrs["warnings"] == warning
        assert file["segmentations"].attrs["padding"] == "mask"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for result in run:
            mode = {"mode": result.mode}
            alone = segment(padded, features=mode, clustering=result.method, device="cpu")
            assert (alone == result.labels).all()


def test_a_page_made_again_knows_padding_where_only_masks_were_saved(padded):
    run_s1(settings(save=["mrc"]), quiet=True)
    page = Path("out/set/report.html")
    before = data_of(page.read_text())["workflows"]
    page.unlink()
    assert all(result.reused for result in run_s1(settings(save=["mrc"]), quiet=True))
    for one, other in zip(data_of(page.read_text())["workflows"], before, strict=True):
        assert (one["separation"], one["bits"]) == (other["separation"], other["bits"])


def test_keep_takes_padding_as_data(padded):
    run = run_s1(settings(padding="keep"), quiet=True)
    assert not [warning for warning in run.warnings if "padding" in warning]
    for result in run:
        labels = segment(
            padded,
            features={"mode": result.mode},
            clustering=result.method,
            padding="keep",
            device="cpu",
        )
        assert (labels == result.labels).all()
        assert (labels[2:-2, 2:-2, 2:-2] >= 0).all()


def test_padding_with_little_memory_is_streamed_and_the_same(sample):
    pytest.importorskip("cupy", reason="the double takes its names and keywords from cupy")
    from tests.support.device_double import DeviceDouble

    keep = Keep(~CORNERS, 20.0)
    prepared = []
    for slabs in (None, 9):
        backend = DeviceDouble()
        plan = plan_memory(backend, fit_windows(SHAPE, 5), 1)
        plan = type(plan)(**{**vars(plan), "slab_planes": slabs})
        with backend.exclusive():
            found = prepare(backend, sample, 2.0, plan, keep=keep)
            prepared.append((found.offset, found.volume.slab(0).data[:9]._host.copy()))
    assert abs(prepared[0][0] - prepared[1][0]) < 1e-7
    np.testing.assert_allclose(prepared[0][1], prepared[1][1], atol=2e-7)


def test_outside_can_be_padding_too(padded, sample):
    mrcfile.write("whole.mrc", sample, voxel_size=10)
    mrcfile.write("mask.mrc", (~CORNERS).astype(np.int8), voxel_size=10)
    entry = {"tomogram": "whole.mrc", "mask": "mask.mrc", "outside_is_padding": True}
    masked = run_s1(settings(inputs=[entry]), quiet=True)
    found = run_s1(settings(dataset_name="other"), quiet=True)
    for one, other in zip(masked, found, strict=True):
        assert (one.labels == other.labels).all()


def test_a_volume_of_padding_alone_is_an_error(padded):
    grey = np.zeros(SHAPE, np.float32)
    grey[12:15, 20:23, 20:23] = np.random.default_rng(0).random((3, 3, 3))
    mrcfile.write("a.mrc", grey, voxel_size=10, overwrite=True)
    with pytest.raises(PicketError, match=r"a\.mrc: "):
        run_s1(settings(), quiet=True)


def test_clip_cuts_grey_values_off_at_robust_standard_deviations(sample):
    low, high = grey_limits(sample, 5)
    noise = 1.4826 * np.median(np.abs(sample - np.median(sample)))
    assert abs(low - (np.median(sample) - 5 * noise)) < 0.05
    assert abs(high - (np.median(sample) + 5 * noise)) < 0.05
    hot = sample.copy()
    hot[5, 5, 5] = 1e6
    cold = sample.copy()
    cold[5, 5, 5] = high
    labels = [segment(grey, clip=5.0, beads="keep", device="cpu") for grey in (hot, cold)]
    assert (labels[0] == labels[1]).all()


def test_one_voxel_that_takes_the_whole_range_is_told(padded, sample):
    hot = sample.copy()
    hot[5, 5, 5] = 1e6
    mrcfile.write("a.mrc", hot, voxel_size=10, overwrite=True)
    (warning,) = run_s1(settings(beads="keep"), quiet=True).warnings
    assert "a.mrc: 99% of the voxels lie within " in warning
    assert "set beads: mask" in warning
    assert run_s1(settings(beads="keep", clip=5.0), quiet=True).warnings == []


def test_tomograms_without_outliers_are_not_warned_of():
    backend = select_backend("cpu")
    for name in ("phantom_a", "hiv_vlp_40A"):
        volume = mrcfile.read(DATA / f"{name}.mrc")
        plan = plan_memory(backend, fit_windows(volume.shape, 5), 1)
        assert prepare(backend, volume, 2.0, plan).central > 0.3
