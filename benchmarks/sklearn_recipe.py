"""The textbook recipe for S1: every window a row of a float64 matrix, scikit-learn for the rest.

This is the yardstick of the benchmarks and an oracle of the tests. It is written to be obviously
right, holds everything in memory, and shares no code with picket_gpu.
"""

import time

import numpy as np
from scipy import ndimage
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture

MODES = ("ffts", "gabor", "intensities")
METHODS = ("kmeans", "gmm")


def normalised(volume: np.ndarray, sigma: float = 2.0) -> np.ndarray:
    """Blurred, min-max normalised volume, float32."""
    blurred = ndimage.gaussian_filter(volume.astype(np.float32), sigma, mode="reflect", truncate=4)
    return (blurred - blurred.min()) / (blurred.max() - blurred.min())


def window_matrix(volume: np.ndarray, s: int) -> np.ndarray:
    """Every s x s x s window of ``volume`` as a row, (n, s**3) float64."""
    windows = np.lib.stride_tricks.sliding_window_view(volume, (s, s, s))
    return windows.reshape(-1, s**3).astype(np.float64)


def fft_features(windows: np.ndarray, s: int) -> np.ndarray:
    """Magnitudes of each window's 3-D DFT, (n, s**3)."""
    features = np.empty_like(windows)
    for part in np.array_split(np.arange(len(windows)), max(1, len(windows) // 50_000)):
        cubes = windows[part].reshape(-1, s, s, s)
        features[part] = np.abs(np.fft.fftn(cubes, axes=(1, 2, 3))).reshape(len(part), -1)
    return features


def gabor_bank(s: int, num_sinusoids: int) -> np.ndarray:
    """The whole bank, one filter a row, (num_sinusoids**3, s**3) float64."""
    h = s // 2
    p, q, r = np.meshgrid(*[np.arange(s)] * 3, indexing="ij")
    envelope = np.exp(-((p - h) ** 2 + (q - h) ** 2 + (r - h) ** 2) / (4 * (h / 3) ** 2))
    frequencies = np.linspace(0, 0.5, num_sinusoids)
    return np.array(
        [
            (np.cos(2 * np.pi * (a * p + b * q + c * r) * s / (s - 1)) * envelope).ravel()
            for a in frequencies
            for b in frequencies
            for c in frequencies
        ]
    )


def gabor_features(
    windows: np.ndarray, s: int, num_sinusoids: int = 10, outputs: int = 64
) -> np.ndarray:
    """Responses of the ``outputs`` filters of largest standard deviation, (n, outputs)."""
    bank = gabor_bank(s, num_sinusoids)
    # Filter by filter over all windows, as a user of the recipe would; 16 at a time bounds memory.
    stds = np.concatenate([(windows @ bank[i : i + 16].T).std(0) for i in range(0, len(bank), 16)])
    return windows @ bank[np.argsort(-stds, kind="stable")[:outputs]].T


def features_of(mode: str, windows: np.ndarray, s: int) -> np.ndarray:
    """The feature matrix of one mode."""
    if mode == "ffts":
        return fft_features(windows, s)
    return gabor_features(windows, s) if mode == "gabor" else windows


def fit_predict(method: str, features: np.ndarray, seed: int = 0) -> np.ndarray:
    """Labels 0/1 of every row, the more populous cluster 0."""
    if method == "kmeans":
        labels = KMeans(2, n_init=1, max_iter=300, tol=1e-4, random_state=seed).fit_predict(
            features
        )
    else:
        labels = GaussianMixture(
            2, tol=1e-3, reg_covar=1e-6, max_iter=100, random_state=seed
        ).fit_predict(features)
    return labels if labels.mean() <= 0.5 else 1 - labels


def segment_all(volume: np.ndarray, s: int = 5, seed: int = 0) -> dict[tuple[str, str], dict]:
    """Labels over the core of each of the six workflows, and seconds.

    ``extraction`` is what the workflows of a mode share: windows and features. ``clustering`` is
    each one's own.
    """
    started = time.perf_counter()
    windows = window_matrix(normalised(volume), s)
    preparation = time.perf_counter() - started
    shape = tuple(n - s + 1 for n in volume.shape)
    results = {}
    for mode in MODES:
        started = time.perf_counter()
        features = features_of(mode, windows, s)
        extraction = time.perf_counter() - started + preparation / len(MODES)
        for method in METHODS:
            started = time.perf_counter()
            labels = fit_predict(method, features, seed).astype(np.int8).reshape(shape)
            results[mode, method] = {
                "labels": labels,
                "extraction": extraction,
                "clustering": time.perf_counter() - started,
            }
    return results
