"""PickET's YAML, which its step 2 (S2) writes for the steps that follow."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

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


class YAML:
    """A list of voxels x, y, z, counted from 0, and how the segmentation was made.

    They are the nearest voxels in the tomogram. S2 cuts fractions off instead, and so is half a
    voxel low on each axis in the mean. PickET has the text "None" for an unknown value.
    """

    several: ClassVar = False
    holds_none: ClassVar = True

    @staticmethod
    def write(path: Path, lists: Sequence[Particles]) -> None:
        """Write the list and the attributes of the particles."""
        (particles,) = lists
        last = np.array(particles.shape) - 1
        voxels = np.clip(np.rint(particles.picks.coordinates), 0, last).astype(int)
        attributes = {**dict.fromkeys(S2_KEYS), **particles.metadata}
        content = {
            COORDINATES: [{"x": x, "y": y, "z": z} for z, y, x in voxels.tolist()],
            METADATA: {name: _plain(value) for name, value in attributes.items()},
        }
        with atomic_file(path) as temporary:
            temporary.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")

    @staticmethod
    def read_metadata(path: Path) -> dict[str, str]:
        """Read the metadata named ``particles_*``, as text; {} if the file is missing or no text.

        A regular expression reads them: a YAML reader takes a second for some thousand coordinates.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return {}
        found = re.findall(r"^  (particles_\w+): (\S+)$", text, re.MULTILINE)
        return {name: value.strip("'") for name, value in found}


def _plain(value: Any) -> Any:
    """The same in types that any reader of YAML knows, without tags of Python."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, bool | int | float) else str(value)
