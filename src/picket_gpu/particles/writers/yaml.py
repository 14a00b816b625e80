"""PickET's YAML, as its step 2 (S2) writes it for the steps that follow."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from picket_gpu.files.atomic import atomic_file
from picket_gpu.particles.particles import Particles

COORDINATES, METADATA = "Predicted_Particle_Centroid_Coordinates", "metadata"
S2_KEYS = (
    "z_lb_for_particle_extraction",
    "z_ub_for_particle_extraction",
    "particle_cluster_id",
    "pex_mode",
    "pex_min_distance",
    "time_taken_for_s2",
    "timestamp_s2",
)


def write_yaml(path: Path, particles: Particles) -> None:
    """Write a list of voxels x, y, z, counted from 0, and what is known of the segmentation.

    They are the nearest voxels in the tomogram. S2 cuts fractions off instead, and so is half a
    voxel low on each axis in the mean. Where nothing is known, PickET has the text "None".
    """
    last = np.array(particles.shape) - 1
    voxels = np.clip(np.rint(particles.picks.coordinates), 0, last).astype(int)
    attributes = {**dict.fromkeys(S2_KEYS), **particles.metadata}
    content = {
        COORDINATES: [{"x": x, "y": y, "z": z} for z, y, x in voxels.tolist()],
        METADATA: {name: _plain(value) for name, value in attributes.items()},
    }
    with atomic_file(path) as temporary:
        temporary.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")


def _plain(value: Any) -> Any:
    """The same as any reader of YAML knows it, without tags of Python."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, bool | int | float) else str(value)
