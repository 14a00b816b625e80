"""Memory and streams of the GPU backend, on a model of CuPy's pool; what GPUs do is not shown."""

import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("cupy", reason="the stand-in takes its names from cupy")
import cupy

from picket_gpu.device import gpu
from picket_gpu.device.backend import MIB
from picket_gpu.device.gpu_memory import DevicePool
from picket_gpu.device.rapids import memory_resource
from picket_gpu.method.features import Intensities
from picket_gpu.method.memory import plan_memory
from picket_gpu.method.preprocess import prepare
from picket_gpu.method.windows import fit_windows
from picket_gpu.method.workflows import PreparedTomogram, Settings, run_workflows
from tests.support import cupy_stand_in
from tests.support.cuda_on_host import COMPILER

RAPIDS = Path(__file__).parents[1] / "support" / "rapids"


@pytest.fixture
def xp():
    cupy_stand_in.LOG.clear()
    return cupy_stand_in.StandIn()


@pytest.fixture
def rapids(monkeypatch):
    """RMM and cuML by stand-ins, imported by nobody yet."""
    for name in [name for name in sys.modules if name.split(".")[0] in ("rmm", "cuml")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(RAPIDS)
    before = cupy.cuda.get_allocator()
    yield
    cupy.cuda.set_allocator(before)
    for name in [name for name in sys.modules if name.split(".")[0] in ("rmm", "cuml")]:
        del sys.modules[name]


def backend_on(xp, engine="native"):
    return gpu.GPUBackend(xp, cupy_stand_in.cupyx(), 0, engine)


def test_the_peak_counts_what_the_pool_gave_back_by_itself(xp):
    backend = backend_on(xp)
    with backend.exclusive():
        backend.limit(160 * MIB)
        ninety, sixty = (xp.cuda.alloc(n * MIB) for n in (90, 60))
        del ninety, sixty
        kept = xp.cuda.alloc(112 * MIB)  # for which both must go
        assert backend.peak_bytes() == 150 * MIB
        del kept
    assert backend.peak_bytes() == 150 * MIB


def test_a_block_that_was_not_to_be_had_is_not_in_the_peak(xp):
    pool = DevicePool(xp)
    kept = pool.malloc(MIB)
    with pytest.raises(MemoryError):
        pool.malloc(cupy_stand_in.Memory.capacity)
    assert pool.peak_bytes == kept.mem.size == MIB


def test_a_prefetch_without_memory_is_a_memory_error_and_no_more(xp, monkeypatch):
    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr(xp, "empty", full, raising=False)
    # An error in __del__ would be a warning, which is an error here.
    with pytest.raises(MemoryError):
        backend_on(xp).transfers((4, 4, 4))


# cuML and CuPy share one pool.


def test_every_tomogram_has_the_same_default_budget_with_cuml(xp, rapids):
    backend = backend_on(xp, "cuml")
    import rmm

    budgets = []
    for _ in range(5):
        budgets.append(backend.default_budget(0, 0))
        with backend.exclusive():
            backend.limit(budgets[-1])
            volume = xp.cuda.alloc(200 * MIB)
            resource = rmm.mr.get_current_device_resource()
            matrix = resource.allocate(300 * MIB)
            resource.deallocate(matrix, 300 * MIB)
            del volume
            budgets.append(backend.default_budget(0, 0))  # of the next tomogram of a run
    assert len(set(budgets)) == 1
    assert backend.peak_bytes() == 500 * MIB


def test_the_budget_holds_for_cuml_too(xp, rapids):
    backend = backend_on(xp, "cuml")
    import rmm

    before = rmm.mr.get_current_device_resource()
    with backend.exclusive():
        backend.limit(100 * MIB)
        array = xp.cuda.alloc(60 * MIB)
        resource = rmm.mr.get_current_device_resource()
        with pytest.raises(MemoryError):
            resource.allocate(60 * MIB)
        del array
        resource.deallocate(resource.allocate(60 * MIB), 60 * MIB)
    assert rmm.mr.get_current_device_resource() is before


def test_importing_cuml_leaves_the_processs_allocator_and_shows_no_warning(xp, rapids):
    before = cupy.cuda.get_allocator()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        backend = backend_on(xp, "cuml")
    assert "cuml" in sys.modules
    assert cupy.cuda.get_allocator() is before
    assert "k-means by cuML" in backend.reason


def test_the_real_rmm_takes_memory_from_the_pool_and_passes_its_errors_on(xp):
    rmm = pytest.importorskip("rmm", reason="RMM is not installed")
    pool = DevicePool(xp)
    resource = memory_resource(rmm, pool.malloc)
    pool.limit(3 * MIB)
    pointers = [resource.allocate(MIB) for _ in range(3)]
    assert len(set(pointers)) == 3
    with pytest.raises(MemoryError):
        resource.allocate(MIB)
    for pointer in pointers:
        resource.deallocate(pointer, MIB)
    live = cupy_stand_in.Memory.live
    pool.release()
    assert cupy_stand_in.Memory.live == live - 3 * MIB
    assert pool.peak_bytes == 3 * MIB


# Streams.


@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler to run kernels")
def test_all_is_on_the_null_stream_which_waits_for_the_callers(xp, phantom):
    volume, backend = phantom[:24, 20:60, 30:70], backend_on(xp)
    windows = fit_windows(volume.shape, 3)
    plan = plan_memory(backend, windows, 1)
    cupy_stand_in.LOG.clear()
    with xp.cuda.Stream(non_blocking=True) as stream:
        with backend.exclusive():
            prepared = prepare(backend, volume, 2.0, plan)
            tomogram = PreparedTomogram(prepared, windows, plan)
            list(run_workflows(backend, tomogram, [Intensities()], Settings(["kmeans"])))
        assert xp.cuda.get_current_stream() is stream
    log = cupy_stand_in.LOG
    assert log[:2] == ["record copies", "kernels wait for copies"]
    assert {line for line in log if line.startswith("filter")} == {"filter on kernels"}


# Errors of libraries.


@pytest.mark.parametrize(
    "text",
    [  # cuBLAS and cuFFT by CuPy, the runtime, the driver, RAFT
        "CUBLAS_STATUS_ALLOC_FAILED",
        "CUFFT_ALLOC_FAILED",
        "cudaErrorMemoryAllocation: out of memory",
        "CUDA_ERROR_OUT_OF_MEMORY: out of memory",
        "cuBLAS error encountered at: file=x line=1: call='y', Reason=3:CUBLAS_STATUS_ALLOC_FAILED",
    ],
)
def test_a_library_without_memory_is_a_memory_error(xp, text):
    with pytest.raises(MemoryError, match=text[:10]), backend_on(xp).memory_errors():
        raise RuntimeError(text)


def test_other_errors_of_libraries_stay_what_they_are(xp):
    with pytest.raises(RuntimeError, match="EXECUTION"), backend_on(xp).memory_errors():
        raise RuntimeError("CUBLAS_STATUS_EXECUTION_FAILED")


@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler to run kernels")
def test_tiles_are_halved_where_cublas_has_no_memory(xp, phantom, monkeypatch):
    volume, backend = phantom[:24, 20:60, 30:70], backend_on(xp)
    windows = fit_windows(volume.shape, 3)
    plan = plan_memory(backend, windows, 1)
    product, refused, lines = xp.matmul, [], []

    def poor(a, b, out=None):
        if len(a) > 5000:
            refused.append(len(a))
            raise RuntimeError("CUBLAS_STATUS_ALLOC_FAILED")
        return product(a, b, out=out)

    monkeypatch.setattr(xp, "matmul", poor, raising=False)
    reporter = SimpleNamespace(line=lines.append, status=lambda _: None)
    with backend.exclusive():
        tomogram = PreparedTomogram(prepare(backend, volume, 2.0, plan), windows, plan)
        settings = Settings(["gmm"])
        (result,) = run_workflows(backend, tomogram, [Intensities()], settings, reporter)
    assert refused
    assert sum("out of memory" in line for line in lines) == len(refused)
    assert np.isin(result.labels, (-1, 0, 1)).all()
