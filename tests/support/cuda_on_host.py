"""CUDA kernels without a GPU: `kernels.cu` compiled for this machine's processor, one thread after
the other.

What runs is the source that a GPU gets, launched by the same `CudaOperations` with the same grids
and arguments; their number and widths are checked, which CuPy does not do. Not covered: the
exchange between the lanes of a warp (a warp has one lane here), and races.
"""

import ctypes
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from picket_gpu.device.cuda import OPTIONS, SOURCE, CudaOperations

COMPILER = shutil.which("g++") or shutil.which("c++")

HEADER = """
#include <cmath>
#include <utility>
#define LANES 1
#define __global__
#define __device__
#define __constant__
struct Dim { unsigned x, y, z; };
static Dim blockIdx, threadIdx, blockDim;
static inline float __shfl_xor_sync(unsigned, float value, int) { return value; }
template <class T> T atomicAdd(T* place, T value) { T old = *place; *place += value; return old; }
"""

FOOTER = """
template <class... A, std::size_t... I>
static int run(void (*kernel)(A...), const Dim* grid, const Dim* block, void** arguments,
               const long* sizes, long count, std::index_sequence<I...>)
{
    const long wanted[] = {(long)sizeof(A)...};
    if (count != (long)sizeof...(A)) return -1;
    for (long i = 0; i < count; ++i) if (wanted[i] != sizes[i]) return i + 1;
    blockDim = *block;
    for (unsigned Z = 0; Z < grid->z; ++Z) for (unsigned Y = 0; Y < grid->y; ++Y)
    for (unsigned X = 0; X < grid->x; ++X) for (unsigned z = 0; z < block->z; ++z)
    for (unsigned y = 0; y < block->y; ++y) for (unsigned x = 0; x < block->x; ++x) {
        blockIdx = {X, Y, Z};
        threadIdx = {x, y, z};
        kernel(*static_cast<A*>(arguments[I])...);
    }
    return 0;
}
template <class... A>
static int launch(void (*kernel)(A...), const Dim* grid, const Dim* block, void** arguments,
                  const long* sizes, long count)
{
    return run(kernel, grid, block, arguments, sizes, count, std::index_sequence_for<A...>());
}
"""

EXPORT = """
extern "C" int launch_{name}(const Dim* g, const Dim* b, void** a, const long* s, long n)
{{ return launch({name}, g, b, a, s, n); }}
"""

KERNELS = re.findall(r"__global__ void (\w+)", SOURCE.read_text())


class HostModule:
    """What CuPy's RawModule is for a GPU."""

    def __init__(self, side: int) -> None:
        exports = "".join(EXPORT.format(name=name) for name in KERNELS)
        with tempfile.TemporaryDirectory() as directory:
            file, library = Path(directory, "kernels.cpp"), Path(directory, "kernels.so")
            file.write_text(HEADER + SOURCE.read_text() + FOOTER + exports)
            options = [
                "-O2",
                "-std=c++17",
                "-w",
                "-shared",
                "-fPIC",
                *OPTIONS[1:],
                f"-DSIDE={side}",
            ]
            subprocess.run([COMPILER, *options, file, "-o", library], check=True)
            self._library = ctypes.CDLL(str(library))
        self._side = side

    def set_global(self, name: str, values: np.ndarray) -> None:
        array = (ctypes.c_float * self._side**3).in_dll(self._library, name)
        assert values.dtype == np.float32
        assert values.nbytes == ctypes.sizeof(array)
        ctypes.memmove(array, values.ctypes.data, values.nbytes)

    def get_function(self, name: str):
        function = getattr(self._library, f"launch_{name}")

        def call(grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple) -> None:
            assert np.prod(block) <= 1024
            assert all(0 < n < 2**31 for n in grid)
            assert all(n < 2**16 for n in grid[1:])
            cells = [_cell(getattr(argument, "_host", argument)) for argument in arguments]
            pointers = (ctypes.c_void_p * len(cells))(*[ctypes.addressof(c) for c in cells])
            sizes = (ctypes.c_long * len(cells))(*[ctypes.sizeof(c) for c in cells])
            dims = [(ctypes.c_uint * 3)(*(*n, 1, 1)[:3]) for n in (grid, block)]
            fault = function(*dims, pointers, sizes, ctypes.c_long(len(cells)))
            assert fault == 0, f"{name}: argument {fault} has the wrong size"

        return call


def _cell(argument):
    """Memory that holds the argument as CuPy passes it."""
    if isinstance(argument, np.ndarray):
        return ctypes.c_void_p(argument.ctypes.data)
    data = np.asarray(argument).tobytes()  # of Python's numbers: 8 bytes, as in CuPy
    return (ctypes.c_char * len(data)).from_buffer_copy(data)


load = cache(HostModule)


def kernels_on_host(xp=np, ndimage=None) -> CudaOperations:
    """`CudaOperations` on this machine's processor."""
    return CudaOperations(xp, ndimage, load, warp=1)
