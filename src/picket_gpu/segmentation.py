"""Segmentation of an array in memory, without files: `segment`."""

import re
import warnings
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError

from picket_gpu.config.faults import first_fault
from picket_gpu.config.s1 import S1Config
from picket_gpu.device.backend import KMeansEngine, Precision
from picket_gpu.device.select import select_backend
from picket_gpu.errors import PicketError
from picket_gpu.method.clustering import Method
from picket_gpu.method.feature_mode import FeatureMode
from picket_gpu.method.features import MODES
from picket_gpu.method.recipe import Recipe
from picket_gpu.method.windows import fit_windows
from picket_gpu.method.workflows import Settings, run_workflows

# Arguments of `segment` by the keys of the parameter file, where these differ.
_ARGUMENTS = {
    "feature_extraction_params": "features",
    "clustering_methods": "clustering",
    "lower_z-slice_limit": "lower",
    "upper_z-slice_limit": "upper",
}


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
    beads: Literal["mask", "keep"] = "mask",
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
        beads: "mask" leaves gold beads and hot voxels out likewise; "keep" uses them as data.
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
        smaller (foreground), -1 within ``neighborhood_size // 2`` voxels of the volume's edge, of
        padding or of beads.

    Raises:
        PicketError: an argument is out of range, or the volume cannot be segmented.
    """
    if volume.ndim != 3:
        raise PicketError(f"volume: must have 3 dimensions, z, y, x (got {volume.ndim})")
    config = _checked(
        feature_extraction_params=[{"mode": features} if isinstance(features, str) else features],
        clustering_methods=[clustering],
        neighborhood_size=neighborhood_size,
        max_num_neighborhoods_for_fitting=max_num_neighborhoods_for_fitting,
        blur_sigma=float(blur_sigma),
        padding=padding,
        beads=beads,
        clip=None if clip is None else float(clip),
        seed=seed,
        device=device,
        memory_budget=memory_budget,
        kmeans_engine=kmeans_engine,
        precision=precision,
    )
    backend = select_backend(device, kmeans_engine)
    if backend.name == "cpu" and not isinstance(volume, np.ndarray):
        raise PicketError("volume: must be a NumPy array for the CPU; use device: gpu for CuPy's")
    (mode,) = config.feature_extraction_params
    cap = config.max_num_neighborhoods_for_fitting
    windows = fit_windows(volume.shape, neighborhood_size, lower, upper, cap, seed)
    recipe = Recipe(
        windows, config.blur_sigma, padding, beads, config.clip, budget=config.memory_budget
    )
    with backend.exclusive():
        tomogram = recipe.prepare(backend, volume)
        for text in tomogram.warnings:
            warnings.warn(text, stacklevel=2)
        settings = Settings([clustering], precision)
        (result,) = run_workflows(backend, tomogram, [mode], settings)
    return result.labels


def _checked(**settings: Any) -> S1Config:
    """The settings, checked as those of a parameter file.

    Raises:
        PicketError: one of them is invalid; it is named as the argument of `segment`.
    """
    files = {"dataset_name": "volume", "inputs": [{"tomogram": "volume"}], "output_dir": "."}
    try:
        return S1Config.model_validate(files | settings)
    except ValidationError as error:
        fault = first_fault(error, MODES)
    key = re.match(r"[\w-]*", fault)[0]  # type: ignore[index]
    argument = _ARGUMENTS.get(key, key)
    raise PicketError(argument + fault.removeprefix(key).replace("[0]", "", 1))
