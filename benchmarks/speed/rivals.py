"""Two clusters of many windows: ours, and libraries on the materialised feature matrix.

    python -m benchmarks.speed.rivals NAME DEVICE WINDOWS

measures one of `RIVALS` in a process of its own; the last line of the output is JSON. cuML starts
from the same centres as ours. scikit-learn's mixture takes device arrays by the array API only from
random responsibilities, so look at its seconds an iteration.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.machine import device_memory
from benchmarks.volumes import demo_volume
from picket_gpu.device.backend import Backend
from picket_gpu.device.operations import Scratch
from picket_gpu.device.select import select_backend
from picket_gpu.method.clustering import fit_gmm, fit_kmeans
from picket_gpu.method.clustering.kmeans import START_WINDOWS, _plus_plus
from picket_gpu.method.features import Intensities
from picket_gpu.method.memory import plan_memory
from picket_gpu.method.preprocess import prepare
from picket_gpu.method.streams import RawFeatures, WhitenedFeatures
from picket_gpu.method.whitening import whiten
from picket_gpu.method.windows import fit_windows

Rival = Callable[[Backend, Callable[[int], RawFeatures], int], int]


def measure_rivals(device: str, windows: int) -> Iterator[dict[str, Any]]:
    """Seconds, iterations and peak device memory of each; where it fails, why."""
    for name in RIVALS:
        command = [sys.executable, "-m", "benchmarks.speed.rivals", name, device, str(windows)]
        # scikit-learn's array API wants SciPy's, which is decided when SciPy is imported.
        environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
        root = Path(__file__).parents[2]
        child = subprocess.run(command, capture_output=True, text=True, cwd=root, env=environment)
        if child.returncode:
            yield {"name": name, "error": (child.stderr.strip() or "?").splitlines()[-1]}
        else:
            yield json.loads(child.stdout.splitlines()[-1])


def our_kmeans(backend: Backend, stream: Callable[[int], RawFeatures], windows: int) -> int:
    """Statistics and k-means to the fixed point; iterations, most of them on the band."""
    features = stream(windows)
    total = features.moments()
    return fit_kmeans(features, stream(16_384), np.eye(125), total[-1], 0).iterations


def our_mixture(backend: Backend, stream: Callable[[int], RawFeatures], windows: int) -> int:
    """Statistics, k-means and EM."""
    features = stream(windows)
    total = features.moments()
    kmeans = fit_kmeans(features, stream(16_384), np.eye(125), total[-1], 0)
    whitening = whiten(total, np.eye(125), 125)
    return fit_gmm(WhitenedFeatures(features, whitening.matrix), whitening, kmeans).iterations


def cuml_kmeans(backend: Backend, stream: Callable[[int], RawFeatures], windows: int) -> int:
    """cuML's k-means with its own stopping rule, from the start of ours."""
    from cuml.cluster import KMeans

    some = backend.download(stream(START_WINDOWS).together()[:-1])
    start = _plus_plus(some, some.mean(axis=1), np.eye(125), np.random.default_rng(0))
    centres = np.zeros((2, 128), dtype=np.float32)
    centres[:, :125] = start
    model = KMeans(n_clusters=2, n_init=1, max_iter=300, init=backend.upload(centres))
    return int(model.fit(_matrix(stream(windows), 128)).n_iter_)


def sklearn_mixture(backend: Backend, stream: Callable[[int], RawFeatures], windows: int) -> int:
    """scikit-learn's mixture on arrays of the device."""
    import sklearn
    from sklearn.mixture import GaussianMixture

    with sklearn.config_context(array_api_dispatch=True):
        model = GaussianMixture(2, init_params="random", random_state=0)
        return int(model.fit(_matrix(stream(windows), 125)).n_iter_)


def _matrix(features: RawFeatures, width: int) -> Any:
    """The features of all windows, and zeros up to ``width`` columns, (windows, width) float32."""
    matrix = features.backend.xp.zeros((features.count, width), dtype="float32")

    def fill(x: Any, number: int, _: Scratch) -> None:
        matrix[features.begins[number] : features.begins[number + 1], :125] = x[:-1].T

    for _ in features.map(fill):
        pass
    return matrix


RIVALS: dict[str, Rival] = {
    "k-means, ours": our_kmeans,
    "k-means and mixture, ours": our_mixture,
    "k-means, cuML": cuml_kmeans,
    "mixture, scikit-learn by the array API": sklearn_mixture,
}


def _measure(name: str, device: str, windows: int) -> dict[str, Any]:
    backend = select_backend(device, "native")
    side = max(20, round(windows ** (1 / 3)) + 15)
    volume = demo_volume((side, side, side))
    chosen = fit_windows(volume.shape, 5, cap=windows)
    with backend.exclusive():
        plan = plan_memory(backend, chosen, 2)
        prepared = prepare(backend, volume, 2.0, plan)
        extract = Intensities().extractor(backend.operations, 5, prepared.offset)

        def stream(cap: int) -> RawFeatures:
            some = replace(chosen, cap=cap)
            return RawFeatures(backend, prepared.volume, some, extract, plan.tile_windows)

        RIVALS[name](backend, stream, 2000)  # warm up
        started = time.perf_counter()
        iterations = RIVALS[name](backend, stream, windows)
        backend.synchronize()
        seconds = time.perf_counter() - started
        backend.release()  # what the pool keeps would not be counted again
        memory = device_memory(device, lambda: RIVALS[name](backend, stream, windows))
    return {
        "name": name,
        "windows": windows,
        "seconds": seconds,
        "iterations": iterations,
        **memory,
    }


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
