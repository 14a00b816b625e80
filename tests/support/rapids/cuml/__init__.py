"""What cuML 26.10 does on import: it warns, and gives CuPy's allocator to RMM."""

import warnings

import cupy
from rmm.allocators.cupy import rmm_cupy_allocator

warnings.warn("numba will deprecate something", FutureWarning, stacklevel=1)
cupy.cuda.set_allocator(rmm_cupy_allocator)
