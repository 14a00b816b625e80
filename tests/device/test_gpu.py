"""On a real GPU: `pytest -m gpu`. Elsewhere skipped, saying what stands in the way."""

import json
import subprocess
import sys
from dataclasses import replace

import mrcfile
import numpy as np
import pytest
import scipy.ndimage

from picket_gpu import PicketError, segment
from picket_gpu.device.backend import MIB
from picket_gpu.device.gpu import find_gpu
from picket_gpu.device.operations import Draw, Operations, Scratch
from picket_gpu.device.select import select_backend
from picket_gpu.method.features import FFTs, Gabor, Intensities
from picket_gpu.method.features.ffts import dft_matrices
from picket_gpu.method.labels import core
from picket_gpu.method.memory import plan_memory
from picket_gpu.method.preprocess import prepare
from picket_gpu.method.volume import StreamedVolume
from picket_gpu.method.windows import fit_windows
from picket_gpu.method.workflows import PreparedTomogram, Settings, run_workflows
from tests.support.data import DATA
from tests.support.rounding import exact_magnitudes

pytestmark = pytest.mark.gpu
WORKFLOWS = [(m, c) for m in ("ffts", "gabor", "intensities") for c in ("kmeans", "gmm")]
# Both are float32 and sum in other orders; the fixed point of k-means has 1e-6 of play.
AGREE = 0.9999


@pytest.fixture(scope="module")
def gpu():
    return select_backend("gpu", "native")


@pytest.fixture
def cupy():
    import cupy

    return cupy


class Lines(list):
    """A reporter that keeps the lines."""

    def line(self, text):
        self.append(text)

    def status(self, text):
        pass


def six(backend, volume, budget=None, plan=None, precision="float32", lines=None, **limits):
    """Labels of six workflows, and the most that its pool has held, in bytes."""
    windows = fit_windows(volume.shape, 5, **limits)
    plan = plan or plan_memory(backend, windows, 2, budget)
    if backend.name == "gpu":
        backend._pool.peak_bytes = 0
    with backend.exclusive():
        prepared = prepare(backend, volume, 2.0, plan)
        assert isinstance(prepared.volume, StreamedVolume) == (plan.slab_planes is not None)
        modes = [FFTs(), Gabor(), Intensities()]
        labels = {}
        for result in run_workflows(
            backend,
            PreparedTomogram(prepared, windows, plan),
            modes,
            Settings(["kmeans", "gmm"], precision=precision),
            Lines() if lines is None else lines,
        ):
            labels[result.mode.mode, result.method] = result.labels
    return labels, backend.peak_bytes()


def assert_agree(ours, expected, least=AGREE):
    assert ours.keys() == expected.keys()
    for workflow, labels in ours.items():
        assert (core(labels, 5) == core(expected[workflow], 5)).mean() >= least, workflow


@pytest.fixture(scope="module")
def on_cpu(hiv):
    return six(select_backend("cpu"), hiv)[0]


@pytest.fixture(scope="module")
def on_gpu(gpu, hiv):
    return six(gpu, hiv)[0]


def test_it_says_which_gpu_and_whose_kmeans(gpu):
    assert gpu.reason.startswith("GPU 0, ")
    assert "k-means by picket_gpu" in gpu.reason


def test_labels_are_those_of_the_cpu(on_gpu, on_cpu):
    assert_agree(on_gpu, on_cpu)


def test_labels_are_the_references(on_gpu):
    golden = np.load(DATA / "golden" / "hiv_vlp_40A.npz")
    h = int(golden["half"])
    shape = golden["shape"] - 2 * h
    for workflow, labels in on_gpu.items():
        bits = np.unpackbits(golden["_".join(workflow)])[: shape.prod()].reshape(shape)
        agreement = (labels[h:-h, h:-h, h:-h] == bits).mean()
        assert agreement >= (0.9985 if workflow[1] == "kmeans" else 0.999), workflow


def test_the_same_seed_gives_the_same_labels(gpu, hiv, on_gpu):
    assert_agree(six(gpu, hiv)[0], on_gpu, 1 - 1e-6)


def test_a_sample_is_that_of_the_cpu(gpu, hiv):
    limits = {"cap": 200_000, "lower": 20, "upper": 80, "seed": 5}
    assert_agree(six(gpu, hiv, **limits)[0], six(select_backend("cpu"), hiv, **limits)[0])


@pytest.mark.parametrize("slab", [8, 33])
def test_a_streamed_volume_gives_the_same_labels(gpu, hiv, on_gpu, slab):
    plan = plan_memory(gpu, fit_windows(hiv.shape, 5), 2)
    plan = replace(plan, slab_planes=slab, blur_planes=20, cache_bytes=0)
    assert_agree(six(gpu, hiv, plan=plan)[0], on_gpu, 1 - 1e-5)


def test_the_budget_holds(gpu):
    volume = np.random.default_rng(0).standard_normal((200, 512, 512), dtype=np.float32)
    for budget in (160 * MIB, 2048 * MIB):
        lines = Lines()
        _, peak = six(gpu, volume, budget=budget, cap=10**6, lines=lines)
        assert peak <= budget
        assert not any("out of memory" in line for line in lines)  # the plan was enough


def test_out_of_memory_halves_the_tiles_and_the_run_goes_on(gpu, hiv, monkeypatch):
    # Halving also halves what is kept, and with it the mixture's sample: another sample changes
    # more labels than rounding does. With nothing to keep, the sample is the least there is from
    # the start. What is left is rounding of sums over other tiles: 6e-7 of the labels on a CPU.
    plan = plan_memory(gpu, fit_windows(hiv.shape, 5), 2, 4096 * MIB)
    plan = replace(plan, cache_bytes=0, mixture_bytes=0)
    expected, _ = six(gpu, hiv, plan=plan)
    # A plan that promises more than there is.
    limit = gpu.limit
    monkeypatch.setattr(gpu, "limit", lambda _: limit(150 * MIB))
    greedy, lines = replace(plan, tile_windows=10**6), Lines()
    assert_agree(six(gpu, hiv, plan=greedy, lines=lines)[0], expected, 1 - 1e-5)
    assert any("out of memory" in line for line in lines)


def test_copies_by_staging(gpu, cupy):
    sent = np.random.default_rng(0).random((30, 512, 1023), dtype=np.float32)  # more than it holds
    out = np.zeros_like(sent)
    with gpu.exclusive():
        there = gpu.upload(sent)
        assert bool((there == cupy.asarray(sent)).all())
        for factor in (2, 3):
            gpu.begin_download(there * factor, out)
        gpu.finish_downloads()
    assert (out == 3 * sent).all()


def test_tf32_changes_few_labels(gpu, hiv, on_gpu, cupy):
    before = cupy._core.get_compute_type(np.float32)
    assert_agree(six(gpu, hiv, precision="tf32")[0], on_gpu, 0.9995)
    assert cupy._core.get_compute_type(np.float32) == before


def test_cuml_and_ours_give_the_same_segmentation(hiv, on_gpu):
    pytest.importorskip("cuml", reason="cuML is not installed")
    backend = select_backend("gpu", "cuml")
    assert "k-means by cuML" in backend.reason
    assert_agree(six(backend, hiv, budget=8192 * MIB)[0], on_gpu, 0.999)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids="-".join)
def test_segment_takes_numpy_and_cupy_arrays(phantom, cupy, workflow):
    mode, method = workflow
    host, device = (
        segment(v, features=mode, clustering=method, device="gpu")
        for v in (phantom, cupy.asarray(phantom))
    )
    assert isinstance(device, np.ndarray)
    assert (host == device).mean() >= 1 - 1e-6


def test_a_number_beyond_the_devices_is_an_error(cupy):
    count = cupy.cuda.runtime.getDeviceCount()
    with pytest.raises(PicketError, match=f"finds {count} CUDA device"):
        select_backend(f"gpu:{count}")
    assert "numbered from 0" in find_gpu(count)


def test_the_command_line_writes_six_segmentations(tmp_path, phantom):
    mrcfile.write(tmp_path / "a.mrc", phantom)
    config = {
        "dataset_name": "set",
        "inputs": [{"tomogram": "a.mrc"}],
        "output_dir": "out",
        "device": "gpu:0",
    }
    (tmp_path / "a.yaml").write_text(json.dumps(config))
    command = [sys.executable, "-m", "picket_gpu", "a.yaml"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert process.stdout.startswith("Device: GPU 0, ")
    assert len(list((tmp_path / "out/set").glob("*.h5"))) == 6


# Kernels, against the array forms on the same device.


@pytest.fixture(scope="module")
def pair(gpu):
    return gpu.operations, Operations(gpu.xp, gpu.ndimage), gpu.xp


def normal(xp, *shape):
    return xp.asarray(np.random.default_rng(0).standard_normal(shape, dtype=np.float32))


@pytest.mark.parametrize("side", [3, 5, 7, 9])
def test_gathering_kernels(pair, side):
    kernels, arrays, xp = pair
    slab = normal(xp, 40, 50, 60)
    scratch, other = Scratch(xp), Scratch(xp)
    box = (slice(1, 20), slice(2, 30), slice(3, 41))
    expected = arrays.box_windows(slab, box, side, other)
    assert bool((kernels.box_windows(slab, box, side, scratch) == expected).all())
    grid = (42 - side, 51 - side, 61 - side)
    draw = Draw(5000, grid[0] * grid[1] * grid[2], 3)
    index = kernels.draw(0, 5000, draw)
    assert bool((index == arrays.draw(0, 5000, draw)).all())
    # The grid's first windows begin one plane before the slab; keep to those inside.
    index = index[index >= grid[1] * grid[2]]
    expected = arrays.windows_at(slab, index, grid, -1, side, other)
    result = kernels.windows_at(slab, index, grid, -1, side, scratch)
    assert bool((result == expected).all())


@pytest.mark.parametrize("side", [3, 5, 7, 9])
def test_feature_and_label_kernels(pair, side):
    kernels, arrays, xp = pair
    scratch, other = Scratch(xp), Scratch(xp)
    lines = normal(xp, side**2, side * 3000)
    _, along, zero = (xp.asarray(matrix.astype(np.float32)) for matrix in dft_matrices(side))
    exact, error = exact_magnitudes(lines.get(), side, 0.7)
    for operations, work in ((kernels, scratch), (arrays, other)):
        magnitudes = operations.magnitudes(lines, along, zero, 0.7, work).get()
        assert (abs(magnitudes - exact) <= error).all()

    slab = normal(xp, 37, 50, 90)
    plane = np.random.default_rng(0).standard_normal(side**3 + 1)
    half = side // 2
    inside = (slice(half, -half),) * 3
    ours, theirs = (xp.full(slab.shape, -1, dtype="int8") for _ in "ab")
    kernels.label_by_plane(slab, plane, side, ours[inside])
    host = slab.get().astype(np.float64)
    margin = scipy.ndimage.correlate(host, plane[:-1].reshape((side,) * 3))[inside] + plane[-1]
    clear = abs(margin) > 1e-4 * side**2
    assert (ours[inside].get()[clear] == (margin > 0)[clear]).all()
    arrays.label_by_plane(slab, plane, side, theirs[inside])
    assert float((ours == theirs).mean()) >= 0.999


@pytest.mark.parametrize("size", [16, 48, 64, 80, 128])
def test_mixture_kernels(pair, size):
    kernels, arrays, xp = pair
    scratch = Scratch(xp)
    both = normal(xp, 2, 10_001, size)
    z, product = both[0], both[1]
    sums = arrays.sums_of_squares(z, product[0], scratch)
    xp.testing.assert_allclose(
        kernels.sums_of_squares(z, product[0], scratch), sums, rtol=1e-4, atol=1e-3
    )
    weighted = product.copy()
    entropy = kernels.responsibilities(z, weighted, scratch).copy()
    xp.testing.assert_allclose(entropy, arrays.responsibilities(z, product, scratch), atol=1e-4)
    xp.testing.assert_allclose(weighted, product, atol=1e-4)


def test_near_places(pair, gpu):
    kernels, _, xp = pair
    margin = normal(xp, 10**6)
    near = kernels.near_places(20_000)
    near.add(margin[: 10**5], 0.01, 0)
    near.add(margin[10**5 :], 0.01, 10**5)
    places = near.finish(gpu.download)
    assert (places == np.flatnonzero(abs(margin.get()) <= np.float32(0.01))).all()


def test_windows_beyond_2_31_voxels(pair):
    kernels, _, xp = pair
    rows, columns = 30_000, 25_000
    if xp.cuda.Device().mem_info[0] < 3 * rows * columns * 4 + 2**30:
        pytest.skip("needs 10 GB of free device memory")
    slab = xp.zeros((3, rows, columns), dtype="float32")
    slab[:, rows - 3 :, columns - 3 :] = xp.arange(27).reshape(3, 3, 3)
    box = (slice(0, 1), slice(rows - 3, rows - 2), slice(columns - 3, columns - 2))
    windows = kernels.box_windows(slab, box, 3, Scratch(xp))
    assert (windows[:-1, 0].get() == np.arange(27)).all()
    last = xp.asarray([(rows - 2) * (columns - 2) - 1])
    windows = kernels.windows_at(slab, last, (1, rows - 2, columns - 2), 0, 3, Scratch(xp))
    assert (windows[:-1, 0].get() == np.arange(27)).all()
