"""Segmentation of an array in memory, without files: `segment`."""

import warnings
from typing import Any, Literal

import numpy as np
from pydantic import TypeAdapter, ValidationError

from picket_gpu.config.faults import first_fault
from picket_gpu.device.backend import KMeansEngine, Precision
from picket_gpu.device.select import select_backend
from picket_gpu.errors import PicketError
from picket_gpu.method.clustering import Method
from picket_gpu.method.feature_mode import FeatureMode
from picket_gpu.method.features import MODES, FeatureParams
from picket_gpu.method.memory import plan_memory
from picket_gpu.method.padding import clear_of, find_padding, grey_limits, keep_all_but
from picket_gpu.method.preprocess import prepare
from picket_gpu.method.windows import fit_windows, masked_windows
from picket_gpu.method.workflows import PreparedTomogram, Settings, run_workflows


def segment(
    volume: np.ndarray,
    *,
    features: str | dict[str, Any] | FeatureMode = "intensities",
    clustering: Method = "gmm",
    neighborhood_size: int = 5,
    lower: int | None = None,
    upper: int | None = None,
    max_num_neighborhoods_for_fitting: int | None = None,
    blur_sigma: float = 2.0,
    padding: Literal["mask", "keep"] = "mask",
    clip: float | None = None,
    seed: int = 0,
    device: str = "auto",
    memory_budget: int | None = None,
    kmeans_engine: KMeansEngine = "auto",
    precision: Precision = "float32",
) -> np.ndarray:
    """Segment a tomogram in memory into foreground and background.

    Args:
        volume: grey values, (z, y, x), any real type, NumPy or CuPy.
        features: feature mode, "ffts", "gabor" or "intensities"; or a mapping with its settings as
            in the YAML file, such as ``{"mode": "gabor", "num_sinusoids": 6}``; or a `FeatureMode`.
        clustering: clustering method, "kmeans" or "gmm".
        neighborhood_size: side of a neighborhood in voxels, odd, at least 3.
        lower: first z-slice used for fitting, from 0; default: the first. All z-slices are
            labelled in any case.
        upper: end of the z-slices used for fitting, exclusive; default: all.
        max_num_neighborhoods_for_fitting: greatest number of neighborhoods used for fitting;
            default: all.
        blur_sigma: standard deviation of the initial Gaussian blur, in voxels; 0 for no blur.
        padding: "mask" leaves regions of one grey value out of blur, fit and labels, with a
            UserWarning; "keep" uses them as data.
        clip: limit of grey values before the blur, in robust standard deviations from the median;
            default: no limit.
        seed: random seed for neighborhood sampling and k-means++ initialisation.
        device: "auto" (a GPU if there is one), "cpu", "gpu", or "gpu:N" for the N-th GPU that CuPy
            sees, from 0.
        memory_budget: memory for arrays on the device, in bytes; default: depends on the volume.
        kmeans_engine: k-means of a sample on a GPU: "cuml", "native" (picket_gpu), or "auto"
            (cuML if it is installed).
        precision: precision of the GMM's matrix products on a GPU, "float32" or "tf32".

    Returns:
        Labels, int8, in the volume's shape: 0 for the larger cluster (background), 1 for the
        smaller (foreground), -1 within ``neighborhood_size // 2`` voxels of the volume's edge or
        of padding.

    Raises:
        PicketError: an argument is out of range, or the volume cannot be segmented.
    """
    mode = _feature_mode(features)
    if clustering not in ("kmeans", "gmm"):
        raise PicketError(f"clustering: must be 'kmeans' or 'gmm' (got {clustering!r})")
    if neighborhood_size < 3 or neighborhood_size % 2 == 0:
        raise PicketError(f"neighborhood_size: must be odd, 3 or more (got {neighborhood_size})")
    if volume.ndim != 3:
        raise PicketError(f"volume: must have 3 dimensions, z, y, x (got {volume.ndim})")
    cap = max_num_neighborhoods_for_fitting
    if cap is not None and cap < 2:
        raise PicketError(f"max_num_neighborhoods_for_fitting: must be 2 or more (got {cap})")
    if padding not in ("mask", "keep"):
        raise PicketError(f"padding: must be 'mask' or 'keep' (got {padding!r})")
    if clip is not None and not 1 <= clip <= 1000:
        raise PicketError(f"clip: must be 1 to 1000 (got {clip!r})")
    if precision not in ("float32", "tf32"):
        raise PicketError(f"precision: must be 'float32' or 'tf32' (got {precision!r})")
    if kmeans_engine not in ("auto", "cuml", "native"):
        raise PicketError(
            f"kmeans_engine: must be 'auto', 'cuml' or 'native' (got {kmeans_engine!r})"
        )
    backend = select_backend(device, kmeans_engine)
    if backend.name == "cpu" and not isinstance(volume, np.ndarray):
        raise PicketError("volume: must be a NumPy array for the CPU; use device: gpu for CuPy's")
    windows = fit_windows(volume.shape, neighborhood_size, lower, upper, cap, seed)
    memory = plan_memory(backend, windows, 1, memory_budget, blur_sigma)
    host = volume if isinstance(volume, np.ndarray) else backend.download(volume)
    excluded = find_padding(host) if padding == "mask" else None
    to_label = keep = None
    if excluded is not None:
        text = f"{excluded.share:.1%} of the volume is padding and gets no labels"
        warnings.warn(f"{text}; padding='keep' uses it as data", stacklevel=2)
        to_label = clear_of(excluded.mask, neighborhood_size)
        windows = masked_windows(windows, to_label, where="away from padding")
        keep = keep_all_but(excluded.mask, host)
    limits = None
    if clip is not None:
        limits = grey_limits(host, clip, None if excluded is None else excluded.mask)
    with backend.exclusive():
        prepared = prepare(backend, volume, blur_sigma, memory, keep=keep, limits=limits)
        tomogram = PreparedTomogram(prepared, windows, memory, to_label)
        settings = Settings([clustering], precision)
        (result,) = run_workflows(backend, tomogram, [mode], settings)
    return result.labels


def _feature_mode(features: str | dict[str, Any] | FeatureMode) -> FeatureMode:
    if isinstance(features, FeatureMode):
        return features
    settings = {"mode": features} if isinstance(features, str) else features
    try:
        mode: FeatureMode = TypeAdapter(FeatureParams).validate_python(settings)
    except ValidationError as error:
        raise PicketError(f"features: {first_fault(error, MODES)}") from None
    return mode
