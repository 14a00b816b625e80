"""cuML's k-means; imported here only."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from picket_gpu.device.backend import Lloyd
from picket_gpu.device.operations import Array


def lloyd_by_cuml() -> Lloyd:
    """cuML's k-means as a `Lloyd`.

    It stops when the cost falls by less than ``tol`` of itself, or the squared shift of the
    centres is below ``tol``: another rule than ours; the fit goes on from its result.

    Raises:
        ImportError: cuML is not installed, or does not fit this machine.
    """
    from cuml.cluster import KMeans

    def lloyd(x: Array, centres: Array, max_iterations: int) -> Array:
        """(windows, d) float32, C-contiguous, and (2, d) float32 to (windows,) of 0 and 1."""
        model = KMeans(
            n_clusters=2,
            init=centres,
            n_init=1,
            max_iter=max_iterations,
            tol=1e-7,
            output_type="cupy",
        )
        return model.fit(x).labels_

    return lloyd


@contextmanager
def without_effects(cupy: Any) -> Iterator[None]:
    """Inside, RAPIDS may be imported, and nothing else of the process changes.

    cuML gives CuPy's allocator, for the whole process, to RMM: that is undone. Warnings of its many
    packages are not shown, and a filter that makes errors of warnings does not stop the import.
    """
    before = cupy.cuda.get_allocator()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if cupy.cuda.get_allocator() is not before:
            cupy.cuda.set_allocator(before)
