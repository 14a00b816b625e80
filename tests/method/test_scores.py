"""How sure a label is: against oracles, and in agreement with the label wherever one looks."""

from dataclasses import replace
from functools import cache
from unittest.mock import patch

import h5py
import mrcfile
import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import multivariate_normal
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture

from benchmarks import sklearn_recipe
from picket_gpu import PicketError, run_s1
from picket_gpu.console import SILENT
from picket_gpu.device.operations import Operations
from picket_gpu.device.select import select_backend
from picket_gpu.method import labels as labels_module
from picket_gpu.method.features import FFTs, Gabor, Intensities
from picket_gpu.method.labels import core, label_volume
from picket_gpu.method.memory import plan_memory
from picket_gpu.method.preprocess import prepare
from picket_gpu.method.windows import all_windows, fit_windows
from picket_gpu.method.workflows import ModeJob, PreparedTomogram, Settings, run_workflows
from tests.support.cuda_on_host import COMPILER, kernels_on_host
from tests.support.data import DATA
from tests.support.features import symmetric_inverse

WORKFLOWS = [(m, c) for m in ("ffts", "gabor", "intensities") for c in ("kmeans", "gmm")]


def segmentations(volume, backend, scores=True, seed=0, slab=None):
    windows = fit_windows(volume.shape, 5, seed=seed)
    plan = plan_memory(backend, windows, 6)
    if slab:
        plan = replace(plan, slab_planes=slab)
    modes = [FFTs(n_fft_subsets=8), Gabor(), Intensities()]
    with backend.exclusive():
        prepared = prepare(backend, volume, 2.0, plan)
        results = run_workflows(
            backend,
            PreparedTomogram(prepared, windows, plan),
            modes,
            Settings(["kmeans", "gmm"], scores=["kmeans", "gmm"] if scores else []),
        )
        return {(r.mode.mode, r.method): r for r in results}


def on_cpu(scores=True, seed=0):
    return counted_on_cpu(scores, seed)[0]


@cache
def counted_on_cpu(scores, seed):
    """The segmentations, and how often clusters were exchanged."""
    real = labels_module._exchange
    with patch.object(labels_module, "_exchange", side_effect=real) as exchange:
        return segmentations(piece(), select_backend("cpu"), scores, seed), exchange.call_count


@cache
def piece():
    """A piece of the phantom, 24 x 30 x 36."""
    return mrcfile.read(DATA / "phantom_a.mrc")[4:28, 20:50, 30:66]


def assert_sound(result):
    labels, scores = result.labels, result.scores
    assert scores.dtype == np.float16
    assert ((labels == 1) == (scores > 0.5)).all()
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert (scores[labels == -1] == 0).all()


@pytest.mark.parametrize("workflow", WORKFLOWS, ids="-".join)
@pytest.mark.parametrize("seed", range(6))
def test_a_label_is_1_where_the_score_is_above_one_half(seed, workflow):
    # Which cluster is renamed depends on the seed, the scores must not: one not exchanged is wrong
    # by about 1, another start of the mixture by far less.
    result = on_cpu(seed=seed)[workflow]
    assert_sound(result)
    first = on_cpu()[workflow].scores.astype(np.float32)
    assert np.abs(result.scores - first).max() < 0.05


def test_the_seeds_tried_exchange_clusters_and_do_not():
    counts = [counted_on_cpu(True, seed)[1] for seed in range(6)]
    assert max(counts) > 0
    assert min(counts) < 6


@pytest.mark.parametrize("workflow", WORKFLOWS, ids="-".join)
def test_scores_change_no_label(workflow):
    plain = on_cpu(scores=False)[workflow]
    assert plain.scores is None
    assert (plain.labels == on_cpu()[workflow].labels).all()


def test_labels_without_scores_take_one_filter_whatever_else_has_scores():
    pytest.importorskip("cupy", reason="the double takes its names and keywords from cupy")
    from tests.support.device_double import DeviceDouble

    def needed(*_):
        raise AssertionError("features were computed for it")

    backend, volume = DeviceDouble(), piece()
    windows = fit_windows(volume.shape, 5)
    plan = plan_memory(backend, windows, 4)
    with backend.exclusive():
        tomogram = PreparedTomogram(prepare(backend, volume, 2.0, plan), windows, plan)
        settings = Settings(["kmeans", "gmm"], scores=["gmm"])
        job = ModeJob(backend, tomogram, Intensities(), settings, plan, SILENT)
        fit = job.fit()
        expected = job.label(fit)
        kmeans, gmm = (fit.models[method].decision(backend) for method in settings.methods)
        kmeans = kmeans._replace(of_features=needed, score=needed)
        features = job._features(all_windows(volume.shape, 5))
        found = label_volume(features, [kmeans, gmm], True, [False, True])
    assert found[0].scores is None
    assert found[1].scores is not None
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.labels == theirs.labels).all()


@pytest.mark.parametrize(
    "mode", ["gabor", *(pytest.param(m, marks=pytest.mark.slow) for m in ("ffts", "intensities"))]
)
def test_scores_are_those_of_the_textbook(mode):
    """Distances and tempered posteriors in float64 from the whole feature matrix."""
    windows = sklearn_recipe.window_matrix(sklearn_recipe.normalised(piece()), 5)
    features = sklearn_recipe.features_of(mode, windows, 5)
    judge = KMeans(2, n_init=1, tol=0, random_state=0).fit(features)
    rarer = int(judge.labels_.mean() < 0.5)
    distance = judge.transform(features)
    expected = distance[:, 1 - rarer] / distance.sum(axis=1)
    ours = core(on_cpu()[mode, "kmeans"].scores, 5).ravel()
    # float16 next to 0.5, and centres that a label in a million would move.
    assert np.abs(ours - expected).max() < 2e-3

    start, ridge = judge.labels_, 1e-6 * np.eye(features.shape[1])
    mixture = GaussianMixture(
        2,
        weights_init=[(start == k).mean() for k in (0, 1)],
        means_init=judge.cluster_centers_,
        precisions_init=[
            symmetric_inverse(np.cov(features[start == k].T, bias=True) + ridge) for k in (0, 1)
        ],
    ).fit(features)
    rarer = int((mixture.predict(features) == 1).mean() < 0.5)
    # Posteriors of a mixture at log-odds of hundreds are 0 or 1; the densities tell more.
    densities = np.stack(
        [
            np.log(weight) + multivariate_normal(mean, covariance).logpdf(features)
            for weight, mean, covariance in zip(
                mixture.weights_, mixture.means_, mixture.covariances_, strict=True
            )
        ]
    )
    log_odds = densities[rarer] - densities[1 - rarer]
    expected = expit(log_odds / 32)
    ours = core(on_cpu()[mode, "gmm"].scores, 5).ravel()
    # In float32 and with directions of a thousandth of the ridge left out.
    assert np.abs(ours - expected).mean() < 1e-3
    assert np.quantile(np.abs(ours - expected), 0.999) < 1e-2


@pytest.mark.parametrize("slab", [None, 6])
@pytest.mark.parametrize(
    "operations",
    [
        Operations,
        pytest.param(
            kernels_on_host, marks=pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")
        ),
    ],
)
def test_a_device_gives_the_same_scores(operations, slab):
    pytest.importorskip("cupy", reason="the double takes its names and keywords from cupy")
    from tests.support.device_double import DeviceDouble

    device = segmentations(piece(), DeviceDouble(operations), slab=slab)
    for workflow, result in device.items():
        assert_sound(result)
        difference = np.abs(result.scores.astype(np.float32) - on_cpu()[workflow].scores)
        assert np.quantile(difference, 0.999) < 2e-3, workflow


# Files.


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run")
    with mrcfile.new(directory / "vol.mrc") as mrc:
        mrc.set_data(piece())
        mrc.voxel_size = (13.48, 10.0, 7.84)  # x, y, z
        mrc.header.origin = (-11.5, 22.0, 33.25)
        mrc.nstart = (3, -4, 5)
    config = {
        "dataset_name": "set",
        "inputs": [{"tomogram": directory / "vol.mrc"}],
        "feature_extraction_params": [{"mode": "intensities"}],
        "output_dir": directory,
        "device": "cpu",
        "scores": True,
    }
    return config, run_s1(config, quiet=True)


def test_files_hold_the_scores(run):
    _, results = run
    for result in results:
        expected = on_cpu()["intensities", result.method]
        with h5py.File(result.path) as file:
            dataset = file["segmentations/particle_score"]
            assert (dataset.dtype, dataset.compression) == (np.float16, "gzip")
            written = dataset[()]
            assert "centres" in str(file["segmentations"].attrs["particle_score_is"]) or (
                result.method == "gmm"
                and file["segmentations"].attrs["particle_score_is"]
                == "1 / (1 + exp(-log-odds of label 1 / 32))"
            )
            labels = file["segmentations/semantic_segmentation"][()]
        assert np.abs(written - expected.scores.astype(np.float32)).max() < 0.05  # other tiles
        assert ((labels == 1) == (written > 0.5)).all()
        assert (result.scores == written).all()


def test_score_mrc_is_valid_and_keeps_the_geometry(run, capsys):
    config, results = run
    path = results[1].path.with_name("segmentation_0_intensities_gmm_score.mrc")
    assert mrcfile.validate(path)
    with mrcfile.open(path) as ours, mrcfile.open(config["inputs"][0]["tomogram"]) as theirs:
        assert ours.header.mode == 12
        assert (ours.data == results[1].scores).all()
        for field in ("cella", "origin", "nxstart", "nystart", "nzstart", "mx", "my", "mz"):
            assert ours.header[field] == theirs.header[field], field
        precise = ours.data.astype(np.float64)
        assert ours.header.dmin == precise.min()
        assert ours.header.dmax == precise.max()
        assert ours.header.dmean == pytest.approx(precise.mean(), rel=1e-6)
        assert ours.header.rms == pytest.approx(precise.std(), rel=1e-6)


@pytest.mark.parametrize(
    ("save", "endings"), [(["mrc"], {".mrc", "_score.mrc"}), (["hdf5"], {".h5"})]
)
def test_scores_go_into_the_kinds_of_files_that_are_saved(run, tmp_path, save, endings):
    config, reference = run
    results = run_s1(config | {"save": save, "output_dir": tmp_path, "report": False}, quiet=True)
    stem = "segmentation_0_intensities_"
    expected = {f"{stem}{method}{end}" for method in ("kmeans", "gmm") for end in endings}
    assert {path.name for path in (tmp_path / "set").iterdir()} == expected | {"run.json"}
    for ours, theirs in zip(results, reference, strict=True):
        assert (ours.scores == theirs.scores).all()
        assert (ours.labels == theirs.labels).all()


def test_overwriting_leaves_no_file_that_contradicts_the_new_ones(run, tmp_path):
    config = run[0] | {"output_dir": tmp_path, "report": False}
    run_s1(config, quiet=True)
    changes = {"scores": False, "save": ["mrc"], "blur_sigma": 1.0}
    result = run_s1(config | changes, overwrite=True, quiet=True)[0]
    names = {path.name for path in (tmp_path / "set").iterdir()}
    assert names == {
        "run.json",
        *(f"segmentation_0_intensities_{m}.mrc" for m in ("kmeans", "gmm")),
    }
    with pytest.raises(PicketError, match="contains no scores"):
        _ = result.scores


@pytest.mark.parametrize("save", [["mrc"], ["hdf5"]])
def test_without_scores_asking_for_them_is_an_error(run, tmp_path, save):
    config, _ = run
    changes = {"save": save, "output_dir": tmp_path, "scores": False, "report": False}
    result = run_s1(config | changes, quiet=True)[0]
    with pytest.raises(PicketError, match="contains no scores; run again with scores: true"):
        _ = result.scores
