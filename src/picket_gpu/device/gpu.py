"""The backend for an NVIDIA GPU. CuPy is imported here and nowhere else."""

import re
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, cached_property
from math import prod
from typing import Any

import numpy as np

from picket_gpu.device.backend import MIB, Backend, KMeansEngine, Precision
from picket_gpu.device.cuda import OPTIONS, SOURCE, CudaOperations
from picket_gpu.device.gpu_memory import DevicePool, PinnedArrays, Prefetch, Staging
from picket_gpu.device.kernel_cache import provide_kernel_cache
from picket_gpu.device.operations import Array
from picket_gpu.device.rapids import Rapids
from picket_gpu.errors import PicketError, one_line

_PART = 0.8  # of the free memory, by default
# Text of those errors of the CUDA libraries that should be a MemoryError.
_OUT_OF_MEMORY = re.compile("ALLOC_FAILED|out of memory")


def find_gpu(number: int = 0, kmeans_engine: KMeansEngine = "auto") -> "GPUBackend | str":
    """The backend for GPU ``number`` of those that CuPy sees, or why it cannot be used.

    CUDA_VISIBLE_DEVICES decides which GPUs CuPy sees, and in what order.

    Raises:
        PicketError: ``kmeans_engine`` is "cuml" and cuML cannot be imported.
    """
    provide_kernel_cache()
    try:
        import cupy
        import cupyx.scipy.fft
        import cupyx.scipy.ndimage
    except (ImportError, OSError) as error:
        return f"CuPy cannot be imported: {one_line(error)}"
    runtime = cupy.cuda.runtime
    try:
        if runtime.driverGetVersion() == 0:
            return f"CuPy {cupy.__version__} finds no NVIDIA driver"
        count = runtime.getDeviceCount()
        if number >= count:
            seen = f"{count} CUDA device{'s' * (count != 1)}"
            return f"CuPy {cupy.__version__} finds {seen}, numbered from 0"
        with cupy.cuda.Device(number):
            # A device may be too old or full, or lack a library. A product and a kernel that is
            # compiled here show it.
            probe = cupy.arange(4, dtype="float32").reshape(2, 2)
            float((probe @ probe + 1)[0, 0])
    except (
        runtime.CUDARuntimeError,
        cupy.cuda.compiler.CompileException,
        ImportError,
        MemoryError,
        OSError,
        RuntimeError,
    ) as error:
        return f"CuPy {cupy.__version__} finds no usable CUDA device: {one_line(error)}"
    return GPUBackend(cupy, cupyx, number, kmeans_engine)


class GPUBackend(Backend):
    """One GPU. Arrays of CuPy and, if cuML is used, of RAPIDS share one allocator."""

    name = "gpu"
    streams = True
    correlates = True
    batches = False
    tile_bytes = 64 * MIB  # a tile's launches take about 0.1 ms of Python, its work 0.3 ms
    download_bytes = Staging.at_once

    def __init__(self, cupy: Any, cupyx: Any, number: int, kmeans_engine: KMeansEngine) -> None:
        name = cupy.cuda.runtime.getDeviceProperties(number)["name"].decode()
        super().__init__("", cupy, cupyx.scipy.ndimage, fft=cupyx.scipy.fft)
        self._device = cupy.cuda.Device(number)
        self._pool = DevicePool(cupy)
        self._rapids: Rapids | None = None
        engine = "k-means by picket_gpu"
        if kmeans_engine != "native":
            try:
                self._rapids = Rapids(cupy, self._pool.malloc)
                self.lloyd = self._rapids.lloyd
                engine = "k-means by cuML"
            except Exception as error:  # a package for another machine can fail in any way
                if kmeans_engine == "cuml":
                    raise PicketError(
                        f"kmeans_engine: cuml cannot be imported ({one_line(error)}); install it, "
                        f"or use native"
                    ) from None
                engine += f"; cuML: {one_line(error)}"
        self._pinned = PinnedArrays(cupy)
        self.operations = CudaOperations(cupy, self.ndimage, self._module)
        self.reason = f"GPU {number}, {name} (CuPy {cupy.__version__}, {engine})"

    def _module(self, side: int) -> "_Module":
        options = (*OPTIONS, f"-DSIDE={side}")
        return _Module(self.xp.RawModule(code=SOURCE.read_text(), options=options))

    def default_budget(self, volume: int, needed: int, extra: int = 0) -> int:
        with self._device:
            self.xp.get_default_memory_pool().free_all_blocks()
            self.release()
            free: int = self._device.mem_info[0]
        return int(_PART * free)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        cuda = self.xp.cuda
        null = cuda.Stream.null  # on which cuML's work and ours wait for each other
        with self._device, ExitStack() as stack:
            null.wait_event(cuda.get_current_stream().record())  # on which the caller made arrays
            stack.enter_context(null)
            stack.enter_context(cuda.using_allocator(self._pool.malloc))
            if self._rapids is not None:
                stack.enter_context(self._rapids.memory())
            stack.callback(self.release)
            yield

    @contextmanager
    def memory_errors(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            if not _OUT_OF_MEMORY.search(str(error)):
                raise
            raise MemoryError(one_line(error)) from error

    def limit(self, budget: int) -> None:
        self._pool.limit(budget)

    def peak_bytes(self) -> int | None:
        return self._pool.peak_bytes

    def release(self) -> None:
        super().release()
        self.finish_downloads()
        self.xp.fft.config.get_plan_cache().clear()  # plans keep work memory
        self._pool.release()
        self.xp.get_default_pinned_memory_pool().free_all_blocks()

    def synchronize(self) -> None:
        self.xp.cuda.get_current_stream().synchronize()

    def download(self, array: Array, out: np.ndarray | None = None) -> np.ndarray:
        return array.get(out=out)  # type: ignore[no-any-return]

    def host_empty(self, shape: tuple[int, ...]) -> np.ndarray:
        size = prod(shape)
        try:
            return self._pinned.empty(size).reshape(shape)
        except self.xp.cuda.runtime.CUDARuntimeError as error:
            warnings.warn(
                f"{size * 4 // MIB} MiB of host memory cannot be pinned ({error}); "
                "streaming from it is slower",
                stacklevel=2,
            )
            return super().host_empty(shape)

    @cached_property
    def _staging(self) -> Staging:
        return Staging(self.xp, self.host_empty)

    def upload(self, array: Any) -> Array:
        host = isinstance(array, np.ndarray) and array.dtype.isnative
        if host and array.nbytes >= Staging.least:
            return self._staging.upload(array)
        return super().upload(array)

    def begin_download(self, array: Array, out: np.ndarray) -> None:
        self._staging.begin_download(array, out)

    def finish_downloads(self) -> None:
        if "_staging" in vars(self):
            self._staging.finish_downloads()

    def transfers(self, shape: tuple[int, ...]) -> Prefetch:
        return Prefetch(self.xp, shape)

    @contextmanager
    def precision(self, precision: Precision) -> Iterator[None]:
        # CuPy documents the environment variable CUPY_TF32, but that holds for all products, and
        # whitening needs all of float32.
        core = self.xp._core
        before = core.get_compute_type(np.float32)
        if precision == "tf32":
            core.set_compute_type(np.float32, core._routines_linalg.COMPUTE_TYPE_TF32)
        try:
            yield
        finally:
            core.set_compute_type(np.float32, before)


class _Module:
    """Kernels compiled by NVRTC."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self.get_function = cache(module.get_function)

    def set_global(self, name: str, values: np.ndarray) -> None:
        # A copy from host memory, since kernels cannot write to constant memory. It waits for
        # kernels that read the last values; ``values`` are staged before it returns.
        self._module.get_global(name).copy_from_host_async(values.ctypes.data, values.nbytes)
