"""Digests of all that a segmentation depends on."""

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from picket_gpu.config.inputs import TomogramInput
from picket_gpu.config.s1 import S1Config
from picket_gpu.files.location import file_signature
from picket_gpu.method.clustering import Method


def fingerprints(config: S1Config, entry: TomogramInput) -> dict[tuple[str, Method], str]:
    """Digests of all that each segmentation of a tomogram depends on, by feature mode and method:
    version, settings, and the path, size and time of change of the tomogram and of its masks.
    Where it runs, in how much memory, and whether scores are saved is left out.

    Raises:
        OSError: there is no such tomogram or mask, or nobody may ask.
    """
    told: dict[str, Any] = {"version": version("picket-gpu"), "tomogram": entry.told()}
    for place in ("tomogram", "fitting_mask", "output_mask"):
        if (where := getattr(entry, place)) is not None:
            told[f"{place}_state"] = file_signature(where, entry.storage_options)
    for name in ("neighborhood_size", "max_num_neighborhoods_for_fitting", "seed", "precision"):
        told[name] = getattr(config, name)
    for name in ("blur_sigma", "padding", "clip"):
        told[name] = getattr(config, name)
    return {
        (mode.mode, method): digest(told | {"mode": mode.model_dump(mode="json"), "method": method})
        for mode in config.feature_extraction_params
        for method in config.clustering_methods
    }


def digest(told: Mapping[str, Any]) -> str:
    """Of plain values, 32 hexadecimal digits, whatever the order of their names."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]
