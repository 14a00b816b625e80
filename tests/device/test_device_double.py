"""All of S1 on arrays that take nothing from NumPy for granted; see device_double.py."""

import ast
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("cupy", reason="the double takes its names and keywords from cupy")
from sklearn.cluster import KMeans

from picket_gpu.console import SILENT
from picket_gpu.device import gpu
from picket_gpu.device.backend import MIB
from picket_gpu.device.gpu_memory import Staging
from picket_gpu.device.operations import Operations
from picket_gpu.device.select import select_backend
from picket_gpu.errors import PicketError
from picket_gpu.method.features import FFTs, Gabor, Intensities
from picket_gpu.method.labels import core
from picket_gpu.method.memory import plan_memory
from picket_gpu.method.preprocess import prepare
from picket_gpu.method.volume import ResidentVolume, StreamedVolume
from picket_gpu.method.windows import fit_windows
from picket_gpu.method.workflows import ModeJob, PreparedTomogram, Settings, run_workflows
from tests.support import cupy_stand_in
from tests.support.cuda_on_host import COMPILER, kernels_on_host
from tests.support.device_double import DeviceArray, DeviceDouble

# Some tiles, not the 64 of the default, for their time.
MODES = [FFTs(n_fft_subsets=8), Gabor(num_neighborhoods_subsets=4), Intensities()]
OPERATIONS = [
    Operations,
    pytest.param(
        kernels_on_host,
        marks=pytest.mark.skipif(COMPILER is None, reason="no C++ compiler to run kernels"),
    ),
]
# A budget that a double with small tiles can hold all in, and one that it must stream for.
RICH = 2**30


def lean(volume):
    """A budget that keeps no features from pass to pass."""
    plan = plan_memory(DeviceDouble(), fit_windows(volume.shape, 5), 2)
    return plan.budget - plan.cache_bytes + MIB // 4


@pytest.fixture(scope="module")
def small(phantom):
    return phantom[4:28, 20:50, 30:66]


@pytest.fixture(scope="module")
def on_host(small):
    """All labels of ``small`` by NumPy, under limits."""

    @cache
    def labels(**limits):
        return all_labels(select_backend("cpu"), small, **limits)

    return labels


def all_labels(backend, volume, budget=None, plan=None, reporter=None, side=5, **limits):
    windows = fit_windows(volume.shape, side, **limits)
    plan = plan or plan_memory(backend, windows, 2, budget)
    with backend.exclusive():
        prepared = prepare(backend, volume, 2.0, plan)
        streamed = isinstance(prepared.volume, StreamedVolume)
        assert streamed == (plan.slab_planes is not None)
        options = {} if reporter is None else {"reporter": reporter}
        results = run_workflows(
            backend,
            PreparedTomogram(prepared, windows, plan),
            MODES,
            Settings(["kmeans", "gmm"]),
            **options,
        )
        return {(r.mode.mode, r.method): r.labels for r in results}


def assert_same(device, host, side=5):
    assert device.keys() == host.keys()
    assert len(device) == 6
    for workflow, labels in device.items():
        assert isinstance(labels, np.ndarray)
        assert ((labels == -1) == (host[workflow] == -1)).all()
        same = core(labels, side) == core(host[workflow], side)
        assert same.mean() >= 0.9999, workflow


@pytest.mark.parametrize("operations", OPERATIONS)
@pytest.mark.parametrize(
    "options", [{}, {"cap": 3000, "lower": 3}, {"budget": RICH}], ids=["all", "sample", "cache"]
)
def test_six_workflows_run_on_the_device_and_give_the_same_labels(
    small, on_host, operations, options
):
    device = all_labels(DeviceDouble(operations), small, **options)
    limits = {name: value for name, value in options.items() if name != "budget"}
    assert_same(device, on_host(**limits))


@pytest.mark.parametrize("operations", OPERATIONS)
@pytest.mark.parametrize("side", [3, 9])
def test_other_sides_on_the_device(small, side, operations):
    piece = small[:14, :24, :24]
    device = all_labels(DeviceDouble(operations), piece, side=side)
    assert_same(device, all_labels(select_backend("cpu"), piece, side=side), side)


@pytest.mark.parametrize("operations", OPERATIONS)
@pytest.mark.parametrize(
    ("slab", "options"),
    [(4, {}), (7, {"cap": 3000, "lower": 3, "upper": 21}), (20, {})],
    ids=["all", "sample", "a slab that holds all"],
)
def test_a_streamed_volume_gives_the_same_labels(small, on_host, operations, slab, options):
    backend = DeviceDouble(operations)
    plan = plan_memory(backend, fit_windows(small.shape, 5, **options), 2)
    streaming = replace(plan, slab_planes=slab, blur_planes=5)
    device = all_labels(backend, small, plan=streaming, **options)
    assert_same(device, on_host(**options))


def test_on_a_device_the_plan_alone_decides_on_tiles(small):
    windows = fit_windows(small.shape, 5)
    for backend, subsets in ((DeviceDouble(), None), (select_backend("cpu", threads=1), 64)):
        plan = plan_memory(backend, windows, 2)
        tomogram = PreparedTomogram(prepare(backend, small, 2.0, plan), windows, plan)
        job = ModeJob(backend, tomogram, FFTs(), Settings(["gmm"]), plan, SILENT)
        most = plan.tile_windows
        assert most % 4 == 0
        assert job.tile_windows == (most if subsets is None else -(-windows.count // subsets))


class Late(DeviceDouble):
    """Downloads that are begun arrive when they must, and arrays keep what they have till then."""

    def __init__(self, operations=Operations):
        super().__init__(operations)
        self.coming, self.begun, self.most = [], 0, 0

    def begin_download(self, array, out):
        self.coming.append((array, array._host.copy(), out))
        self.begun += 1
        self.most = max(self.most, len(self.coming))

    def finish_downloads(self):
        for array, begun, out in self.coming:
            assert (array._host == begun).all()
            out[...] = begun
        self.coming.clear()


@pytest.mark.parametrize("planes", [1, 4])
@pytest.mark.parametrize("slab", [None, 7], ids=["resident", "streamed"])
def test_labels_come_down_in_blocks_while_others_are_made(small, slab, planes):
    windows, results = fit_windows(small.shape, 5, cap=5000), {}
    for scores in ([], ["gmm"], ["kmeans", "gmm"]):
        for backend in (DeviceDouble(), Late()):
            plan = plan_memory(backend, windows, 6)
            plan = replace(plan, slab_planes=slab, tile_windows=800)
            bytes_of_plane = 2 * (1 + len(scores)) * 30 * 36
            backend.download_bytes = planes * bytes_of_plane if isinstance(backend, Late) else None
            prepared = prepare(backend, small, 2.0, plan)
            tomogram = PreparedTomogram(prepared, windows, plan)
            settings = Settings(["kmeans", "gmm"], scores=scores)
            found = [*run_workflows(backend, tomogram, [Intensities()], settings)]
            results[type(backend)] = [a for r in found for a in (r.labels, r.scores)]
        arrays = 2 + len(scores)
        # Of the planes that windows begin on, and of no more than half a slab of them.
        slabs = [20] if slab is None else [7, 7, 6]
        most = planes if slab is None else min(planes, slab // 2)
        assert backend.begun == arrays * sum(-(-n // most) for n in slabs)
        assert backend.most == arrays
        for late, at_once in zip(*results.values(), strict=True):
            assert (late is None and at_once is None) or (late == at_once).all()


def test_blurring_in_blocks_changes_nothing(small):
    backend = DeviceDouble()
    plan = plan_memory(backend, fit_windows(small.shape, 5), 2)
    whole = prepare(backend, small, 2.0, plan)
    assert isinstance(whole.volume, ResidentVolume)
    for planes, slab in ((1, None), (10, None), (7, 6)):
        blocks = replace(plan, blur_planes=planes, slab_planes=slab)
        prepared = prepare(backend, small, 2.0, blocks)
        assert abs(prepared.offset - whole.offset) < 1e-7
        for plane in range(0, 20, prepared.volume.step):
            data, first = prepared.volume.slab(plane)
            part = whole.volume.data._host[first : first + len(data)]
            np.testing.assert_allclose(data._host, part, atol=2e-7)


@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler to run kernels")
def test_the_host_never_waits_for_a_tile(small):
    """Passes over many tiles ask the device for as much as passes over a few."""
    waits, piece = {}, small[:16, :24, :26]
    for tile_windows in (100, 1400):
        backend = DeviceDouble(kernels_on_host)
        windows = fit_windows(piece.shape, 5)
        plan = replace(plan_memory(backend, windows, 2), tile_windows=tile_windows)
        prepared = prepare(backend, piece, 2.0, plan)
        tomogram = PreparedTomogram(prepared, windows, plan, name="small")
        settings = Settings(["kmeans", "gmm"], scores=["kmeans", "gmm"])
        job = ModeJob(backend, tomogram, Intensities(), settings, plan, SILENT)
        before = DeviceArray.waits
        results = job.label(job.fit())
        iterations = sum(r.model.iterations for r in results)
        waits[tile_windows] = DeviceArray.waits - before, iterations
        assert len(job._features(windows).tiles) >= windows.count / tile_windows
    (many, steps), (few, others) = waits.values()
    # A Lloyd iteration asks three times, an EM iteration twice; rounding may add an iteration.
    assert abs(many - few) <= 3 * abs(steps - others)
    assert many < 4 * steps + 40


# Memory.


def test_a_volume_beyond_the_budget_is_planned_to_be_streamed():
    backend = DeviceDouble()
    backend.tile_bytes = gpu.GPUBackend.tile_bytes
    windows = fit_windows((512, 1024, 1024), 5, cap=10**8)
    for budget in (12 * 1024, 2048, 1024, 512):
        plan = plan_memory(backend, windows, 2, budget * MIB)
        assert (plan.slab_planes is None) == (budget == 12 * 1024)
        volume, plane, window = 512 * 2**22, 2**22, 126 * 4
        tiles = 8 * plan.tile_windows * window + 5 * plan.subset_windows * window
        labels = 2 * 512 * 2**20
        if plan.slab_planes:
            volume = 2 * plane * (plan.slab_planes + 4)
            labels = 2 * 2**20 * plan.slab_planes
            blur = 4 * plane * (plan.blur_planes + 16)
        else:
            blur = volume + 4 * plane * (plan.blur_planes + 16)
        assert volume + labels + tiles + plan.cache_bytes <= plan.budget
        assert blur <= plan.budget
        assert plan.blur_planes >= 8
        assert plan.tile_windows >= 2**14


def test_a_volume_of_more_than_2_31_voxels_is_streamed_whatever_the_budget():
    backend = DeviceDouble()
    plan = plan_memory(backend, fit_windows((1000, 2000, 2000), 5), 2, 2**40)
    assert (plan.slab_planes + 4) * 2000 * 2000 < 2**31
    assert (plan.blur_planes + 16) * 2000 * 2000 < 2**31


@pytest.mark.parametrize("shape", [(512, 1024, 1024), (64, 4096, 4096)])
def test_a_budget_too_small_to_stream_in_names_one_that_is_enough(shape):
    backend, windows = DeviceDouble(), fit_windows(shape, 5)
    with pytest.raises(PicketError, match=r"it needs \d+ MiB$") as error:
        plan_memory(backend, windows, 2, 2**20)
    needed = int(str(error.value).split()[-2])
    assert plan_memory(backend, windows, 2, needed * MIB).slab_planes >= 4


class Lines(list):
    """A reporter that keeps the lines."""

    def line(self, text):
        self.append(text)

    def status(self, text):
        pass


def test_out_of_memory_halves_the_tiles_and_the_run_goes_on(small, on_host):
    backend, lines = DeviceDouble(memory=2_000_000), Lines()
    assert plan_memory(backend, fit_windows(small.shape, 5), 2).tile_windows * 504 > 2_000_000
    assert_same(all_labels(backend, small, budget=lean(small), reporter=lines), on_host())
    halved = [line for line in lines if "out of memory" in line]
    assert len(halved) >= 2
    assert "tiles of" in halved[0]


def test_out_of_memory_with_the_smallest_tile_is_an_error(small):
    with pytest.raises(MemoryError):
        all_labels(DeviceDouble(memory=500), small)


def test_out_of_memory_in_the_blur_halves_its_blocks(small):
    backend = DeviceDouble()
    plan = plan_memory(backend, fit_windows(small.shape, 5), 2)
    expected = prepare(backend, small, 2.0, plan)
    blur, depths = backend.ndimage.gaussian_filter, []

    def poor(block, *arguments, **options):
        depths.append(len(block._host))
        if len(block._host) > 22:  # a block of 6 planes and its halo
            raise MemoryError
        return blur(block, *arguments, **options)

    backend.ndimage = SimpleNamespace(gaussian_filter=poor)
    prepared = prepare(backend, small, 2.0, plan)
    assert depths[0] == 24
    ours, theirs = (p.volume.data._host for p in (prepared, expected))
    np.testing.assert_allclose(ours, theirs, atol=2e-7)


def test_out_of_memory_for_slabs_halves_them_and_blurs_once(small):
    class Poor(DeviceDouble):
        asked, blurs = (), 0

        def transfers(self, shape):
            self.asked += (shape[0],)
            if shape[0] > 8:  # a slab of 4 planes and its margin
                raise MemoryError
            return super().transfers(shape)

    backend = Poor()
    blur = backend.ndimage.gaussian_filter

    def counted(*arguments, **options):
        backend.blurs += 1
        return blur(*arguments, **options)

    backend.ndimage = SimpleNamespace(gaussian_filter=counted)
    plan = plan_memory(backend, fit_windows(small.shape, 5), 2)
    plan = replace(plan, slab_planes=18, blur_planes=12)
    prepared = prepare(backend, small, 2.0, plan)
    assert prepared.volume.step == 4
    assert backend.asked == (22, 13, 8)
    assert backend.blurs == 2
    expected = prepare(select_backend("cpu"), small, 2.0, replace(plan, slab_planes=None))
    for plane in range(0, 20, 4):
        data, first = prepared.volume.slab(plane)
        part = expected.volume.data[first : first + len(data)]
        np.testing.assert_allclose(data._host, part, atol=2e-7)


def test_slabs_of_one_plane_that_do_not_fit_are_an_error(small):
    class Full(DeviceDouble):
        def transfers(self, shape):
            raise MemoryError

    backend = Full()
    plan = plan_memory(backend, fit_windows(small.shape, 5), 2)
    with pytest.raises(MemoryError):
        prepare(backend, small, 2.0, replace(plan, slab_planes=18))


@pytest.mark.parametrize("budget", [12, 18, 60])
def test_arrays_stay_within_the_budget(phantom, budget):
    assert_within_budget(np.tile(phantom, (1, 2, 2)), budget)


def assert_within_budget(volume, budget, lloyd=None):
    """All steps of two modes keep their arrays in ``budget`` MiB."""
    backend = DeviceDouble(kernels_on_host if COMPILER else Operations)
    backend.tile_bytes = MIB
    backend.lloyd = lloyd
    windows = fit_windows(volume.shape, 5, cap=20_000)
    plan = plan_memory(backend, windows, 2, budget * MIB)
    assert (plan.slab_planes is None) == (budget == 60)
    with DeviceArray.counting() as memory, backend.exclusive():
        prepared = prepare(backend, volume, 2.0, plan)
        modes, methods = [FFTs(), Intensities()], ["kmeans", "gmm"]
        for _ in run_workflows(
            backend, PreparedTomogram(prepared, windows, plan), modes, Settings(methods)
        ):
            pass
    assert memory["peak"] <= budget * MIB


def test_the_device_is_told_the_budget(small):
    backend = DeviceDouble()
    all_labels(backend, small, budget=RICH)
    assert backend.budgets == [RICH]


# cuML's k-means, by a stand-in: cuML itself needs a GPU. test_gpu.py runs the real one.


def lloyd_stand_in(iterations, calls):
    """scikit-learn in cuML's place, taking what cuML takes."""

    def lloyd(x, centres, max_iterations):
        assert isinstance(x, DeviceArray)
        assert x._host.flags.c_contiguous
        assert x._host.dtype == centres._host.dtype == np.float32
        assert np.isfinite(x._host).all()
        assert centres._host.shape == (2, x._host.shape[1])
        # Its start is two of the windows, so their features are among those that it gets.
        for centre in centres._host:
            assert np.abs(x._host - centre).max(axis=1).min() < 1e-4
        calls.append(x._host.shape)
        model = KMeans(2, init=centres._host, n_init=1, max_iter=iterations, tol=0)
        work = DeviceArray(np.empty(11 * len(x._host), dtype=np.float32))  # 44 bytes a window
        labels = DeviceArray(model.fit(x._host).labels_)
        del work
        return labels

    return lloyd


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("iterations", [1, 300])
@pytest.mark.parametrize("limits", [{}, {"cap": 5000}], ids=["all", "sample"])
def test_cuml_on_the_subset_leads_to_the_same_segmentation(small, on_host, iterations, limits):
    backend, calls = DeviceDouble(), []
    backend.lloyd = lloyd_stand_in(iterations, calls)
    device = all_labels(backend, small, budget=RICH, **limits)
    plan = plan_memory(backend, fit_windows(small.shape, 5, **limits), 2, RICH)
    assert len(calls) == 3
    for (windows, features), mode in zip(calls, MODES, strict=True):
        assert features <= mode.num_distinct(5)
        assert windows <= 2 * plan.subset_windows  # of ffts, whose features are half as many
    for workflow, labels in device.items():
        same = core(labels, 5) == core(on_host(**limits)[workflow], 5)
        assert same.mean() >= 0.999, workflow


@pytest.mark.parametrize("budget", [12, 60], ids=["streamed", "resident"])
def test_cuml_stays_within_the_budget(phantom, budget):
    volume = np.tile(phantom, (1, 2, 2))
    assert_within_budget(volume, budget, lloyd_stand_in(300, calls := []))
    assert len(calls) == 2


def test_a_cluster_that_cuml_leaves_empty_is_left_to_ours(small, on_host):
    backend = DeviceDouble()
    backend.lloyd = lambda x, *_: DeviceArray(np.zeros(len(x._host), dtype=np.int32))
    assert_same(all_labels(backend, small, budget=RICH), on_host())


# What the double cannot be: the backend that calls CuPy itself.


@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler to run kernels")
@pytest.mark.parametrize("budget", [None, 600 * 1024])
def test_the_gpu_backend_on_a_stand_in_for_cupy(phantom, budget, monkeypatch):
    for name, size in {"least": 4096, "buffer_bytes": 4096, "at_once": 16384}.items():
        monkeypatch.setattr(Staging, name, size)
    monkeypatch.setattr(gpu.GPUBackend, "download_bytes", Staging.at_once)
    volume = phantom[:24, 20:60, 30:70]
    backend = gpu.GPUBackend(cupy_stand_in.StandIn(), cupy_stand_in.cupyx(), 1, "native")
    assert backend.reason == "GPU 1, double (CuPy 0 (a stand-in), k-means by picket_gpu)"
    windows = fit_windows(volume.shape, 3)
    plan = plan_memory(backend, windows, 2, budget)
    assert (plan.slab_planes is None) == (budget is None)
    assert plan.budget == (budget or int(0.8 * 2**30))
    plan = replace(plan, tile_windows=4000)  # several blocks of labels
    cupy_stand_in.LOG.clear()
    labels = {}
    with backend.exclusive():
        prepared = prepare(backend, volume, 2.0, plan)
        for result in run_workflows(
            backend,
            PreparedTomogram(prepared, windows, plan),
            MODES,
            Settings(["kmeans", "gmm"], precision="tf32"),
        ):
            labels[result.mode.mode, result.method] = result.labels
        del prepared
    log = cupy_stand_in.LOG
    assert log[:3] == ["record kernels", "kernels wait for kernels", "allocator"]
    assert f"limit {plan.budget}" in log
    assert log[-1] == "free"
    # Pinned once: the volume where it is streamed, and buffers for what goes up and comes down.
    assert log.count("pin") == (2 if budget else 1)
    assert "host waits for kernels" in log  # before it fills a buffer again
    fetched = log.count("kernels wait for copies")
    assert log.count("record copies") - fetched >= log.count("host waits for copies") > 10
    assert log.count("compute in tf32") == log.count("compute in default") > 0
    if budget:
        # Every transfer waits for the kernels before it, and kernels for the transfer.
        assert log.count("copies wait for kernels") > 2 < log.count("kernels wait for copies")
        assert "synchronize copies" in log  # before its buffers are given back
    host = select_backend("cpu")
    plan = plan_memory(host, windows, 2)
    with host.exclusive():
        prepared = prepare(host, volume, 2.0, plan)
        for r in run_workflows(
            host, PreparedTomogram(prepared, windows, plan), MODES, Settings(["kmeans", "gmm"])
        ):
            same = core(labels[r.mode.mode, r.method], 3) == core(r.labels, 3)
            assert same.mean() >= 0.9999


@cache
def names_of_cupy():
    """Dotted names that the device takes from CuPy, as its source has them."""
    found = set()
    for module in ("gpu", "cuda", "rapids", "operations", "gpu_memory"):
        source = import_module(f"picket_gpu.device.{module}").__file__
        tree = ast.parse(Path(source).read_text())
        aliases = {"cupy": "cupy", "cupyx": "cupyx", "core": "cupy._core", "xp": "cupy"}
        aliases |= {"cuda": "cupy.cuda", "runtime": "cupy.cuda.runtime"}
        for node in ast.walk(tree):
            parts = []
            while isinstance(node, ast.Attribute):
                parts.insert(0, node.attr)
                node = node.value
            base = getattr(node, "id", None)
            if base == "self" and parts and parts[0] in ("xp", "_xp", "_cupy", "_cupyx", "_cuda"):
                base = parts.pop(0).strip("_")
            if base in aliases and parts:
                found.add(".".join([aliases[base], *parts]))
    # Of what a module's get_global returns.
    return sorted(found | {"cupy.cuda.MemoryPointer.copy_from_host_async"})


@pytest.mark.parametrize("name", names_of_cupy())
def test_names_exist_in_cupy(name):
    import cupy
    import cupyx.scipy.ndimage

    value = {"cupy": cupy, "cupyx": cupyx}[name.split(".")[0]]
    for part in name.split(".")[1:]:
        value = getattr(value, part)


def test_many_names_were_looked_for():
    assert {"cupy.cuda.MemoryPool", "cupy.cuda.PinnedMemory", "cupy.RawModule"} <= set(
        names_of_cupy()
    )


def test_the_double_refuses_what_a_device_refuses():
    xp = DeviceDouble().xp
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
