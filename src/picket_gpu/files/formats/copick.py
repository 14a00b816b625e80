"""Segmentations in a copick project: Zarr files in its directories, and its configuration."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from picket_gpu.device.operations import Shape
from picket_gpu.files.atomic import atomic_file
from picket_gpu.files.formats.omezarr import OMEZarr
from picket_gpu.files.tomogram import TomogramHeader

CONFIG = "copick.json"


class Copick(OMEZarr):
    """An OME-Zarr of the foreground where a copick project has it, without scores.

    copick measures from the centre of a tomogram's first voxel, also for picks; the origin in the
    tomogram's file does not count.
    """

    @staticmethod
    def write(
        path: Path,
        labels: np.ndarray,
        scores: np.ndarray | None,
        header: TomogramHeader,
        attributes: Mapping[str, Any],
    ) -> None:
        """Write the labels, and a configuration for a project without one.

        Args:
            path: ``PROJECT/ExperimentRuns/RUN/Segmentations/SIZE_USER_SESSION_OBJECT.zarr``, as
                `CopickNames.path` makes it; copick too reads the names from there.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        unmoved = replace(header, origin=(0.0, 0.0, 0.0), nstart=(0, 0, 0))
        OMEZarr.write(path, labels, None, unmoved, attributes)
        write_config(path.parents[3], path.stem.rpartition("_")[2])

    @staticmethod
    def most_bytes(shape: Shape, scored: bool) -> int:
        return OMEZarr.most_bytes(shape, False)


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
