"""Segmentations in a copick project: Zarr files in its directories, and its configuration."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from picket_gpu.files.atomic import atomic_file
from picket_gpu.files.filenames import CopickNames
from picket_gpu.files.tomogram import TomogramHeader
from picket_gpu.files.writers.omezarr import write_zarr

CONFIG = "copick.json"


def write_copick(
    names: CopickNames,
    path: Path,
    labels: np.ndarray,
    header: TomogramHeader,
    details: Mapping[str, Any],
) -> None:
    """Write label 1 where the project has it, and a configuration for a project without one.

    Args:
        path: of the segmentation, as ``names`` have it.
        labels: int8, (z, y, x).
        details: what else the file says of itself.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_zarr(path, labels, header, details)
    write_config(names.project, names.object)


def write_config(project: Path, pickable_object: str) -> None:
    """Write a configuration for a project without one."""
    path = project / CONFIG
    if not path.exists():
        with atomic_file(path) as temporary:
            config = _config(project, pickable_object)
            temporary.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _config(project: Path, pickable_object: str) -> dict[str, Any]:
    return {
        "config_type": "filesystem",
        "name": "picket_gpu",
        "description": "Segmentations by step 1 of PickET",
        "version": "0.1.0",
        "pickable_objects": [
            {
                "name": pickable_object,
                "is_particle": True,
                "label": 1,
                "color": [255, 120, 0, 255],
            }
        ],
        "overlay_root": f"local://{project.absolute()}",
        "overlay_fs_args": {"auto_mkdir": True},
    }
