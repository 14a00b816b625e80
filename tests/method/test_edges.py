"""Volumes at the edge of what numbers can do: labels, one line of error, or word of no convergence;
never NaN, a warning of NumPy or a crash."""

import json
from dataclasses import replace

import numpy as np
import pytest

from picket_gpu import PicketError, run_s1
from picket_gpu.device.select import select_backend
from picket_gpu.method.clustering import fit_kmeans, kmeans, lloyd, sampled_em
from picket_gpu.method.features import FFTs, Gabor, Intensities
from picket_gpu.method.labels import core
from picket_gpu.method.memory import plan_memory
from picket_gpu.method.preprocess import prepare
from picket_gpu.method.windows import fit_windows
from picket_gpu.method.workflows import PreparedTomogram, Settings, run_workflows
from tests.support.features import GivenFeatures

SHAPE = (14, 15, 16)
MODES = [FFTs(n_fft_subsets=8), Gabor(), Intensities()]
EPS = np.finfo(np.float32).eps


def of_ulps(base, most):
    """``base`` and up to ``most`` of the next float32 numbers."""
    steps = np.random.default_rng(0).integers(0, most + 1, SHAPE)
    return (np.float32(base) + steps * np.spacing(np.float32(base))).astype(np.float32)


def with_spot(background, value):
    volume = np.full(SHAPE, background, dtype=np.float32)
    volume[7, 7, 7] = value
    return volume


NOISE = np.random.default_rng(0).standard_normal(SHAPE)
CAUCHY = np.random.default_rng(1).standard_cauchy(SHAPE)
INDEX = np.indices(SHAPE)
BLOCK = np.random.default_rng(2).standard_normal((7, 5, 4))
VOLUMES = {
    "one ulp": of_ulps(1, 1),
    "three ulps": of_ulps(1e6, 3),
    "a bright voxel": with_spot(0, 1),
    "a voxel bright as a million": with_spot(1000, 1e6),
    "checkerboard": INDEX.sum(0) % 2,
    "coarse checkerboard": (INDEX // 3).sum(0) % 2,
    "stripes": INDEX[0] % 2,
    "cauchy": CAUCHY,
    "cauchy cubed": CAUCHY**3,
    "1e30": NOISE * 1e30,
    "1e-30": NOISE * 1e-30,
    "subnormal": NOISE * 1e-42,
    "a large offset": 1e30 + NOISE * 1e24,
    "two values": (NOISE > 1).astype(np.uint8),
    "a step": INDEX[2] > 8,
    "a ramp": INDEX[0].astype(float),
    "repeated": np.tile(BLOCK, (2, 3, 4)),
    "two windows": NOISE[:5, :5, :6],
}

of_every_mode = pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.mode)
of_every_volume = pytest.mark.parametrize("name", VOLUMES)
blurred_or_not = pytest.mark.parametrize("sigma", [0.0, 2.0])


def both(volume, mode, sigma=2.0, **limits):
    """Segmentations by k-means and by the mixture, with scores."""
    backend = select_backend("cpu", threads=1)
    windows = fit_windows(volume.shape, 5, **limits)
    plan = plan_memory(backend, windows, 6, sigma=sigma)
    with backend.exclusive():
        prepared = prepare(backend, volume, sigma, plan)
        methods = ["kmeans", "gmm"]
        results = run_workflows(
            backend,
            PreparedTomogram(prepared, windows, plan),
            [mode],
            Settings(methods, scores=methods),
        )
        return list(results)


def assert_sound(results, shape):
    """A label for each voxel that has a window, a score that agrees, and models without NaN."""
    for result in results:
        labels = core(result.labels, 5)
        assert ((labels == 0) | (labels == 1)).all()
        assert (result.labels == -1).sum() == np.prod(shape) - labels.size
        assert (core(result.scores, 5) > 0.5).tolist() == (labels == 1).tolist()
        assert ((result.scores >= 0) & (result.scores <= 1)).all()
    by_kmeans, mixture = results
    assert np.isfinite(by_kmeans.model.centres).all()
    assert np.isfinite(mixture.model.log_odds).all()
    assert not by_kmeans.model.converged or 0 < core(by_kmeans.labels, 5).mean() <= 0.5


@of_every_volume
@of_every_mode
@blurred_or_not
def test_every_voxel_gets_a_label(name, mode, sigma):
    volume = VOLUMES[name]
    assert_sound(both(volume, mode, sigma), volume.shape)


@pytest.mark.parametrize("name", ["one ulp", "cauchy cubed", "two values"])
@pytest.mark.parametrize("cap", [3, 20, 60])
@of_every_mode
def test_fewer_windows_than_features(name, cap, mode):
    assert_sound(both(VOLUMES[name], mode, 0.0, cap=cap), SHAPE)


@pytest.mark.parametrize("cap", [20, 60])
@of_every_mode
@blurred_or_not
def test_the_mixture_settles_where_each_component_has_few_windows(cap, mode, sigma):
    """Each window is far outside the other component's, whose covariance is the ridge there. So
    responsibilities are 0 and 1, and stay: the second iteration changes nothing."""
    for name in ("one ulp", "1e30", "cauchy"):
        model = both(VOLUMES[name], mode, sigma, cap=cap)[1].model
        assert model.converged
        assert model.iterations <= 10


@of_every_mode
@blurred_or_not
def test_the_mixture_settles_where_its_components_are_alike(mode, sigma):
    """One window in each: no direction tells which of them rounding spoils more."""
    assert both(VOLUMES["two windows"], mode, sigma)[1].model.converged


@of_every_volume
@blurred_or_not
def test_kmeans_that_converged_is_at_a_fixed_point(name, sigma):
    """From a start on few windows. Judged in float64; a window nearer to the plane than float32 can
    tell may be on either side."""
    volume = VOLUMES[name]
    backend = select_backend("cpu", threads=1)
    windows = fit_windows(volume.shape, 5)
    plan = replace(plan_memory(backend, windows, 1, sigma=sigma), subset_windows=60)
    prepared = prepare(backend, volume, sigma, plan)
    (result,) = run_workflows(
        backend, PreparedTomogram(prepared, windows, plan), [Intensities()], Settings(["kmeans"])
    )
    assert result.model.converged
    cubes = np.lib.stride_tricks.sliding_window_view(prepared.volume.data, (5, 5, 5))
    points = cubes.reshape(-1, 125).astype(np.float64)
    labels = core(result.labels, 5).ravel()
    centres = np.stack([points[labels == k].mean(axis=0) for k in (0, 1)])
    away = centres[1] - centres[0]
    margin = (points - centres.mean(axis=0)) @ away
    moved = (margin > 0) != labels
    # Two products of 126 terms, and centres that are means of values as exact.
    rounding = 4 * 126 * EPS * np.abs(away).sum()
    assert (np.abs(margin[moved]) <= rounding).all()


@of_every_mode
def test_equal_windows_have_equal_labels(mode):
    """Of a volume of equal blocks, windows a block apart are the same."""
    for result in both(VOLUMES["repeated"], mode, 0.0):
        labels = core(result.labels, 5)
        depth, rows, columns = BLOCK.shape
        assert (labels[depth:] == labels[:-depth]).all()
        assert (labels[:, rows:] == labels[:, :-rows]).all()
        assert (labels[..., columns:] == labels[..., :-columns]).all()


# What cannot be segmented.


def refusal(volume, mode, sigma=2.0, **limits):
    with pytest.raises(PicketError) as error:
        both(volume, mode, sigma, **limits)
    assert "\n" not in str(error.value)
    return str(error.value)


@of_every_mode
@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_a_section_whose_windows_are_alike_is_refused_by_every_mode(mode, level):
    """Whatever its grey value: what differs is the rounding of the features."""
    volume = np.full((30, *SHAPE[1:]), level)
    volume[:4] = NOISE[:4] / 10 + 0.5
    volume[0, 0, :2] = -1, 2
    message = refusal(volume, mode, 0.0, lower=6)
    assert "identical" in message


def test_windows_that_are_each_other_s_cyclic_shifts_have_the_same_dft():
    volume = np.tile(NOISE[:5, :5, :5], (3, 3, 3))
    assert "identical" in refusal(volume, FFTs(n_fft_subsets=8), 0.0)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
@blurred_or_not
def test_values_beyond_float32_are_refused_without_a_warning(value, sigma):
    volume = NOISE.copy()
    volume[3, 3, 3], volume[8, 8, 8] = value, -value
    assert "too large for float32" in refusal(volume, Intensities(), sigma)


@of_every_mode
def test_a_volume_of_one_value_is_refused(mode):
    assert "is constant" in refusal(np.full(SHAPE, 1e30), mode)


# Methods that do not converge say so.


def test_kmeans_of_windows_all_on_one_side_ends_and_says_so():
    """The subset that it starts on is split where no other window is."""
    rng = np.random.default_rng(0)
    far, few = rng.random((3000, 4)) + 100, rng.standard_normal((50, 4))
    backend = select_backend("cpu", threads=1)
    stream, subset = GivenFeatures(backend, far), GivenFeatures(backend, few)
    total = stream.moments()[-1]
    model = fit_kmeans(stream, subset, np.eye(4), total, 0)
    assert not model.converged


def test_kmeans_that_makes_no_step_ends_and_says_so(monkeypatch):
    """Rounding can empty a cluster in the band that was not empty in the pass."""
    points = np.random.default_rng(0).standard_normal((500, 4))
    stream = GivenFeatures(select_backend("cpu", threads=1), points)
    monkeypatch.setattr(kmeans, "iterate", lambda backend, moving, model, *_: (model, 0))
    model = fit_kmeans(stream, stream, np.eye(4), stream.moments()[-1], 0)
    assert (model.iterations, model.converged) == (0, False)


@pytest.mark.parametrize("method", ["kmeans", "gmm"])
def test_a_method_that_does_not_converge_says_so_everywhere(
    tmp_path, monkeypatch, capsys, phantom, method
):
    for module in {"kmeans": (kmeans, lloyd), "gmm": (sampled_em,)}[method]:
        monkeypatch.setattr(module, "MAX_ITERATIONS", 1)
    np.save(tmp_path / "a.npy", phantom[:20, :30, :30])
    config = {
        "dataset_name": "set",
        "inputs": [{"tomogram": str(tmp_path / "a.npy"), "voxel_size": 10}],
        "feature_extraction_params": [{"mode": "intensities"}],
        "output_dir": str(tmp_path),
        "device": "cpu",
    }
    found = {result.method: result for result in run_s1(config)}
    told = capsys.readouterr().out
    assert [name for name, result in found.items() if not result.converged] == [method]
    assert told.count("1 (not converged)") == 1
    assert told.count(f"intensities {method}:") == told.count("NOT CONVERGED") == 1
    (unit,) = json.loads((tmp_path / "set" / "run.json").read_text())["units"]
    assert unit["warnings"] == [f"{method} did not converge"]
    assert [s["method"] for s in unit["segmentations"] if not s["converged"]] == [method]
