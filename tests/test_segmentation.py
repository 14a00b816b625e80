"""The method as a whole: the reference's labels, oracles, and what must not change a label."""

from functools import cache

import h5py
import mrcfile
import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture

from benchmarks import sklearn_recipe
from picket_gpu import PicketError, segment
from picket_gpu.device.select import select_backend
from picket_gpu.method.features import FFTs, Gabor, Intensities
from picket_gpu.method.memory import plan_memory
from picket_gpu.method.preprocess import prepare
from picket_gpu.method.recipe import Recipe
from picket_gpu.method.volume import ResidentVolume
from picket_gpu.method.windows import fit_windows
from picket_gpu.method.workflows import PreparedTomogram, Settings, run_workflows
from tests.support.data import DATA
from tests.support.features import symmetric_inverse

WORKFLOWS = [(m, c) for m in ("ffts", "gabor", "intensities") for c in ("kmeans", "gmm")]


@cache
def six(name):
    """Labels of a tomogram by all six workflows."""
    volume = mrcfile.read(DATA / f"{name}.mrc")
    backend = select_backend("cpu")
    windows = fit_windows(volume.shape, 5)
    plan = plan_memory(backend, windows, 2)
    modes = [FFTs(), Gabor(), Intensities()]
    with backend.exclusive():
        prepared = prepare(backend, volume, 2.0, plan)
        results = run_workflows(
            backend, PreparedTomogram(prepared, windows, plan), modes, Settings(["kmeans", "gmm"])
        )
        return {(r.mode.mode, r.method): r.labels for r in results}


@cache
def golden_run(name):
    """Our labels over the core and the reference's, by workflow."""
    labels = six(name)
    golden = np.load(DATA / "golden" / f"{name}.npz")
    h = int(golden["half"])
    shape = golden["shape"] - 2 * h
    pairs = {}
    for workflow, ours in labels.items():
        bits = np.unpackbits(golden["_".join(workflow)])[: shape.prod()].reshape(shape)
        pairs[workflow] = ours[h:-h, h:-h, h:-h], bits.astype(np.int8)
    return pairs


@pytest.mark.parametrize("name", ["hiv_vlp_40A", "phantom_a"])
@pytest.mark.parametrize("workflow", WORKFLOWS, ids="-".join)
def test_labels_are_the_references(name, workflow):
    ours, reference = golden_run(name)[workflow]
    agreement = (ours == reference).mean()
    dice = 2 * ((ours == 1) & (reference == 1)).sum() / ((ours == 1).sum() + reference.sum())
    assert agreement >= (0.9985 if workflow[1] == "kmeans" else 0.999)
    assert dice >= 0.997


@pytest.fixture(scope="module")
def small(phantom):
    """A piece of the phantom, 24 x 30 x 36."""
    return phantom[4:28, 20:50, 30:66]


@pytest.fixture(scope="module")
def plain(small):
    """Labels of ``small`` by a workflow, under no further settings."""

    @cache
    def labels(mode, method):
        found = segment(small, features=mode, clustering=method, device="cpu")
        found.flags.writeable = False
        return found

    return labels


@pytest.mark.parametrize("mode", ["ffts", "gabor", "intensities"])
def test_each_step_of_the_recipe_on_a_small_volume(small, plain, mode):
    """scikit-learn on the feature matrix, run to the same fixed point, the same mixture start."""
    windows = sklearn_recipe.window_matrix(sklearn_recipe.normalised(small), 5)
    features = sklearn_recipe.features_of(mode, windows, 5)
    judge = KMeans(2, n_init=1, tol=0, random_state=0).fit(features)
    start = judge.labels_
    mixture = GaussianMixture(
        2,
        weights_init=[(start == k).mean() for k in (0, 1)],
        means_init=judge.cluster_centers_,
        precisions_init=[
            symmetric_inverse(
                np.cov(features[start == k].T, bias=True) + 1e-6 * np.eye(features.shape[1])
            )
            for k in (0, 1)
        ],
    ).fit(features)
    for method, expected in (("kmeans", start), ("gmm", mixture.predict(features))):
        ours = plain(mode, method)[2:-2, 2:-2, 2:-2].ravel()
        agreement = (ours == expected).mean()
        assert max(agreement, 1 - agreement) > 0.9995, method


@pytest.mark.parametrize("workflow", WORKFLOWS, ids="-".join)
@pytest.mark.parametrize("side", [3, 5, 7])
def test_border_background_and_type(small, plain, workflow, side):
    mode, method = workflow
    options = {"features": mode, "clustering": method, "neighborhood_size": side}
    labels = plain(*workflow) if side == 5 else segment(small, device="cpu", **options)
    h = side // 2
    inside = np.zeros(small.shape, dtype=bool)
    inside[h:-h, h:-h, h:-h] = True
    assert labels.dtype == np.int8
    assert labels.shape == small.shape
    assert (labels[~inside] == -1).all()
    assert set(np.unique(labels[inside])) == {0, 1}
    assert (labels == 0).sum() >= (labels == 1).sum()


def agree(a, b):
    return (a == b).mean()


@pytest.mark.parametrize("workflow", WORKFLOWS, ids="-".join)
def test_same_seed_same_labels_and_any_tile_size(small, plain, workflow, monkeypatch):
    mode, method = workflow
    first = plain(*workflow)
    again = segment(small, features=mode, clustering=method, seed=0, device="cpu")
    assert (first == again).all()
    settings = {"ffts": {"n_fft_subsets": 7}, "gabor": {"num_neighborhoods_subsets": 311}}
    features = {"mode": mode, **settings.get(mode, {})}
    tiled = segment(small, features=features, clustering=method, device="cpu")
    assert agree(first, tiled) >= 0.9999
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert (segment(small, features=mode, clustering=method, device="cpu") == first).all()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["kmeans", "gmm"])
def test_other_seeds_end_at_the_same_kmeans(phantom, method):
    labels = [segment(phantom, clustering=method, seed=s, device="cpu") for s in (0, 1, 2)]
    assert agree(labels[0], labels[1]) >= 0.9999
    assert agree(labels[0], labels[2]) >= 0.9999


def test_more_memory_to_keep_features_in_changes_no_label(small):
    lean = segment(small, features="ffts", memory_budget=150 * 2**20, device="cpu")
    rich = segment(small, features="ffts", memory_budget=2**31, device="cpu")
    assert (lean == rich).all()


def test_z_limits_change_the_fit_and_not_where_labels_are(phantom):
    everywhere = six("phantom_a")["intensities", "gmm"]
    limited = segment(phantom, lower=10, upper=22, device="cpu")
    assert ((limited == -1) == (everywhere == -1)).all()
    assert 0.8 < agree(limited, everywhere) < 1


def test_z_limits_fit_on_that_section_alone(phantom):
    # What lies outside the limits must not matter to the fit, once blur and scaling are done.
    backend, part = select_backend("cpu"), phantom[:, :48, 20:68]
    windows = fit_windows(part.shape, 5, 8, 32)
    plan = plan_memory(backend, windows, 1)
    prepared = prepare(backend, part, 2.0, plan)
    spoilt = prepared.volume.data.copy()
    spoilt[:8] = 0.5
    labels = []
    for data in (prepared.volume.data, spoilt):
        volume = prepared._replace(volume=ResidentVolume(data))
        (result,) = run_workflows(
            backend, PreparedTomogram(volume, windows, plan), [Intensities()], Settings(["gmm"])
        )
        labels.append(result.labels)
    assert (labels[0][10:] == labels[1][10:]).all()


def test_a_cap_fits_on_that_many_windows(phantom):
    backend = select_backend("cpu")
    windows = fit_windows(phantom.shape, 5, cap=20_000)
    plan = plan_memory(backend, windows, 1)
    prepared = prepare(backend, phantom, 2.0, plan)
    (result,) = run_workflows(
        backend, PreparedTomogram(prepared, windows, plan), [FFTs()], Settings(["gmm"])
    )
    assert result.num_windows == 20_000
    assert 0.98 < agree(result.labels, six("phantom_a")["ffts", "gmm"]) < 1


@pytest.mark.parametrize("workflow", WORKFLOWS, ids="-".join)
def test_brightness_and_contrast_do_not_matter(small, plain, workflow):
    mode, method = workflow
    scaled = segment(small * 37.5 + 1000, features=mode, clustering=method, device="cpu")
    assert (
        agree(plain(*workflow), scaled) >= 0.999
    )  # 1000 leaves float32 four digits of the contrast


@pytest.mark.parametrize("workflow", WORKFLOWS, ids="-".join)
def test_a_shifted_volume_has_shifted_labels(phantom, workflow):
    # Fitted on the same windows, which lie 7 slices deeper, far from the ends and their blur.
    mode, method = workflow
    volume = np.tile(phantom[:, 20:60, 20:60], (2, 1, 1))
    labels = [
        segment(v, features=mode, clustering=method, lower=low, upper=low + 24, device="cpu")
        for v, low in ((volume, 20), (np.roll(volume, 7, axis=0), 27))
    ]
    assert agree(labels[0][20:44], labels[1][27:51]) >= 0.9999


@pytest.mark.parametrize("workflow", WORKFLOWS, ids="-".join)
def test_no_axis_is_special(small, plain, workflow):
    # Every mode's features are the same set after the axes are exchanged.
    mode, method = workflow
    exchanged = segment(small.T, features=mode, clustering=method, device="cpu")
    assert agree(plain(*workflow), exchanged.T) >= 0.999


def test_dense_bright_particles_are_found():
    rng = np.random.default_rng(5)
    grid = np.indices((24, 40, 40))
    truth = np.zeros((24, 40, 40), dtype=bool)
    for centre in ((8, 10, 10), (14, 28, 12), (12, 20, 30)):
        offsets = grid - np.array(centre)[:, None, None, None]
        truth |= (offsets**2).sum(0) < 30
    volume = rng.standard_normal(truth.shape) * 0.5 + 3 * truth
    labels = segment(volume, features="intensities", clustering="kmeans", device="cpu") == 1
    assert 2 * (labels & truth).sum() / (labels.sum() + truth.sum()) > 0.7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"features": "fft"}, "features"),
        ({"features": {"mode": "gabor", "sinusoids": 3}}, "unknown key"),
        ({"clustering": "dbscan"}, "clustering: must be 'kmeans' or 'gmm' .got 'dbscan'"),
        (
            {"max_num_neighborhoods_for_fitting": 0},
            "max_num_neighborhoods_for_fitting: must be 2 or more",
        ),
        ({"neighborhood_size": 4}, "neighborhood_size: must be odd"),
        ({"memory_budget": 1000}, "memory_budget: .* it needs"),
        ({"lower": 3, "upper": 5}, "fewer than neighborhood_size"),
        ({"precision": "float16"}, "precision: must be 'float32' or 'tf32'"),
        ({"kmeans_engine": "faiss"}, "kmeans_engine: must be"),
        ({"kmeans_engine": "cuml"}, "kmeans_engine: cuml"),
    ],
)
def test_bad_arguments_are_named(small, arguments, message):
    with pytest.raises(PicketError, match=message):
        segment(small, device="cpu", **arguments)


def test_what_is_not_a_volume_in_memory_is_refused(small, tmp_path):
    with pytest.raises(PicketError, match="volume: must have 3 dimensions"):
        segment(small[0], device="cpu")
    with h5py.File(tmp_path / "volume.h5", "w") as file:
        data = file.create_dataset("data", data=small)
        with pytest.raises(PicketError, match="volume: must be a NumPy array"):
            segment(data, device="cpu")


def test_a_mode_is_given_by_name_settings_or_model(small):
    forms = ("gabor", {"mode": "gabor"}, Gabor())
    first, *others = (segment(small, features=form, device="cpu") for form in forms)
    assert all((labels == first).all() for labels in others)


def test_a_section_of_one_grey_value_is_refused():
    volume = np.zeros((60, 12, 12), dtype=np.float32)
    volume[5, 5, 5] = 1
    with pytest.raises(PicketError, match="identical"):
        segment(volume, lower=40, upper=60, device="cpu")


def test_memory_has_the_masks_of_padding():
    volume = np.random.default_rng(0).random((20, 40, 40), dtype=np.float32)
    volume[:, :14] = 0
    backend, recipe = select_backend("cpu"), Recipe(fit_windows(volume.shape, 5), label_bytes=3)
    with backend.exclusive():
        memory = recipe.prepare(backend, volume).memory
    assert memory == recipe.memory(backend, excludes=True)
    assert memory.budget > recipe.memory(backend).budget
