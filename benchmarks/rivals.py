"""On a GPU: two clusters of 1e7 windows by cuML's k-means and by scikit-learn's mixture on CuPy
arrays, both on the whole feature matrix, beside ours on the same windows."""

from typing import Any

import numpy as np

from benchmarks.machine import device_memory, timed
from benchmarks.volumes import demo_volume
from picket_gpu.backend import Backend
from picket_gpu.clustering import fit_gmm, fit_kmeans
from picket_gpu.clustering.kmeans import _feature_matrix
from picket_gpu.features import Intensities
from picket_gpu.memory import plan_memory
from picket_gpu.neighborhoods import fit_windows
from picket_gpu.preprocess import prepare
from picket_gpu.streams import Coordinates, RawFeatures
from picket_gpu.workflows import _scale

WINDOWS = 10**7


def measure_rivals(backend: Backend, windows: int = WINDOWS) -> list[dict[str, Any]]:
    """Seconds and peak device memory in MiB of each, volume not counted."""
    from dataclasses import replace

    volume = demo_volume((230, 230, 230))
    chosen = fit_windows(volume.shape, 5, cap=windows)
    rows = []
    with backend.exclusive():
        plan = plan_memory(backend, chosen, 2)
        prepared = prepare(backend, volume, 2.0, plan)
        mode = Intensities()
        extract = mode.extractor(backend.operations, 5, prepared.offset)

        def stream(cap: int) -> RawFeatures:
            return RawFeatures(
                backend, prepared.volume, replace(chosen, cap=cap), extract, plan.tile_windows
            )

        def ours(mixture: bool) -> None:
            features = stream(windows)
            total = features.moments()
            reported, whitening = _scale(mode, total, 5, "volume")
            kmeans = fit_kmeans(features, stream(plan.subset_windows), reported, total[-1], 0)
            if mixture:
                fit_gmm(Coordinates(features, whitening.matrix), whitening, kmeans)

        def matrix() -> Any:
            return _feature_matrix(stream(windows), np.eye(128, 126))

        rows.append(_row(backend, "k-means, ours", lambda: ours(False)))
        rows.append(_row(backend, "k-means and mixture, ours", lambda: ours(True)))
        rows.append(_row(backend, "k-means, cuML", lambda: _cuml(matrix())))
        rows.append(
            _row(backend, "mixture, scikit-learn by the array API", lambda: _sklearn(matrix()))
        )
    return rows


def _row(backend: Backend, name: str, function: Any) -> dict[str, Any]:
    backend.release()
    try:
        with device_memory("gpu") as memory:
            seconds = timed(backend, function, repeats=1)
    except (ImportError, MemoryError) as error:
        return {"name": name, "error": f"{type(error).__name__}: {error}"}
    return {"name": name, "seconds": seconds, **memory}


def _cuml(matrix: Any) -> None:
    from cuml.cluster import KMeans

    KMeans(n_clusters=2, n_init=1, max_iter=300, init="k-means++").fit(matrix)


def _sklearn(matrix: Any) -> None:
    import sklearn
    from sklearn.mixture import GaussianMixture

    with sklearn.config_context(array_api_dispatch=True):
        GaussianMixture(2, init_params="random", random_state=0).fit(matrix[:, :125])
