"""cuML's k-means, which needs the whole feature matrix on the device; imported here only."""

from picket_gpu.device.backend import Lloyd
from picket_gpu.device.operations import Array


def lloyd_by_cuml() -> Lloyd:
    """cuML's k-means as a function from a feature matrix, two centres and the most
    iterations to labels.

    It stops when the cost falls by less than ``tol`` of itself, or the squared shift of the
    centres is below ``tol``: another rule than ours, which goes on from there.

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
