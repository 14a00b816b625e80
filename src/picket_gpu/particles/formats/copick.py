"""Picks in a copick project, where it may have segmentations by S1 too."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from picket_gpu.files.atomic import atomic_file
from picket_gpu.files.formats.copick import write_config
from picket_gpu.particles.particles import Particles

_NOT_TURNED = [[float(row == column) for column in range(4)] for row in range(4)]


class Copick:
    """Picks without orientations, in angstrom.

    copick measures from the centre of a tomogram's first voxel; the origin in the tomogram's file
    does not count.
    """

    several: ClassVar = False
    holds_none: ClassVar = True

    @staticmethod
    def write(path: Path, lists: Sequence[Particles]) -> None:
        """Write picks, and a configuration for a project without one.

        Args:
            path: ``PROJECT/ExperimentRuns/RUN/Picks/USER_SESSION_OBJECT.json``, as
                `CopickNames.picks` makes it; copick too reads the names from there.
            lists: particles of one tomogram.
        """
        (particles,) = lists
        user, session, name = path.stem.split("_")
        _, run, _, project = path.parents[:4]
        locations = particles.angstrom(particles.coordinates).tolist()
        points = zip(locations, particles.picks.heights.tolist(), strict=True)
        content = {
            "pickable_object_name": name,
            "user_id": user,
            "session_id": session,
            "run_name": run.name,
            "voxel_spacing": particles.voxel_size[2],
            "unit": "angstrom",
            "points": [
                {
                    "location": dict(zip("xyz", location, strict=True)),
                    "transformation_": _NOT_TURNED,
                    "instance_id": 0,
                    "score": score,
                }
                for location, score in points
            ],
            "trust_orientation": False,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")
        write_config(project, name)
