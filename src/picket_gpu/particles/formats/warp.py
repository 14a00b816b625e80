"""STAR for WarpTools, which exports subtomograms at these coordinates for RELION and M."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from picket_gpu.particles.particles import Particles
from picket_gpu.particles.star_table import COORDINATES, write_star

NAME, ENDING = "rlnMicrographName", ".tomostar"


class Warp:
    """A table of coordinates in voxels of the tomogram, 0 at the centre of the first.

    ``WarpTools ts_export_particles`` multiplies them by ``--coords_angpix``, and finds the tilt
    series by the name of its .tomostar file (tomogram particle file reference of WarpTools;
    ExportParticlesTiltseries.cs).
    """

    several: ClassVar = True
    holds_none: ClassVar = False

    @staticmethod
    def write(path: Path, lists: Sequence[Particles]) -> None:
        """Write the table.

        Raises:
            PicketError: a STAR file cannot hold the tomogram's name.
        """
        size = {f"{one.voxel_size[2]:.6g}" for one in lists}
        remarks = [f"coordinates in voxels: --coords_angpix {', '.join(sorted(size))}"]
        write_star(path, lists, _voxels, NAME, _tomostar, remarks)


def _voxels(particles: Particles) -> dict[str, np.ndarray]:
    return dict(zip(COORDINATES, particles.coordinates[:, ::-1].T, strict=True))


def _tomostar(particles: Particles) -> str:
    return particles.run_name.removesuffix(ENDING) + ENDING
