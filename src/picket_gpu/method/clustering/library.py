"""k-means by a library, which needs the whole feature matrix on the device."""

import numpy as np

from picket_gpu.device.backend import Lloyd
from picket_gpu.device.operations import Array, Scratch
from picket_gpu.method.streams import RawFeatures


def centres_by_library(
    lloyd: Lloyd,
    features: RawFeatures,
    centres: np.ndarray,
    reported: np.ndarray,
    total: np.ndarray,
    max_iterations: int,
) -> np.ndarray:
    """Centres of raw features, (2, raw) float64, from a library's labels of all windows.

    Args:
        lloyd: the library's k-means.
        features: of the windows.
        centres: to start from, (2, raw).
        reported: (d, raw) float64, from raw features to reported ones.
        total: (raw + 1,) sum of (x, 1) over the windows.
        max_iterations: of the library, at most.

    Returns:
        ``centres`` themselves where the library leaves one cluster empty.
    """
    backend, xp = features.backend, features.backend.xp
    mean = total[:-1] / total[-1]
    to_reported = np.zeros((matrix_width(len(reported)), len(total)))
    to_reported[: len(reported), :-1] = reported
    to_reported[:, -1] = -to_reported[:, :-1] @ mean  # centred, for float32
    labels = lloyd(
        feature_matrix(features, to_reported),
        backend.upload((to_reported @ np.vstack([centres.T, np.ones(2)])).T.astype(np.float32)),
        max_iterations,
    )
    begins = features.begins

    def sum_ones(x: Array, number: int, _: Scratch) -> Array:
        chosen = labels[begins[number] : begins[number + 1]]
        return (x @ chosen.astype(x.dtype)).astype(xp.float64)

    ones = backend.download(sum(features.map(sum_ones)))
    zeros = total - ones
    if min(ones[-1], zeros[-1]) < 1:
        return centres
    return np.stack([zeros[:-1] / zeros[-1], ones[:-1] / ones[-1]])


def feature_matrix(features: RawFeatures, to_reported: np.ndarray) -> Array:
    """Reported features to_reported (x, 1) of every window, (windows, len(to_reported)) float32,
    C-contiguous."""
    backend, xp = features.backend, features.backend.xp
    matrix = xp.empty((features.count, len(to_reported)), dtype="float32")
    transposed = backend.upload(to_reported.T.astype(np.float32))
    begins = features.begins

    def fill(x: Array, number: int, _: Scratch) -> None:
        rows = matrix[begins[number] : begins[number + 1]]
        xp.matmul(x.T, transposed, out=rows)

    for _ in features.map(fill):
        pass
    return matrix


def matrix_width(features: int) -> int:
    """Columns of the matrix that a library gets: vector loads want a multiple of 4."""
    return -(-features // 4) * 4
