"""Text for IMOD, whose point2model makes a model of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from picket_gpu.files.atomic import atomic_file
from picket_gpu.particles.particles import Particles

# Coordinates of the centre of the first voxel, (x, y, z): in z they start at -0.5, because whole
# numbers stand for slices (IMOD Binary File Format, "Model Coordinate Conventions").
FIRST = (0.5, 0.5, 0.0)


class IMOD:
    """A line ``x y z`` for each particle, in voxels, as ``point2model`` reads them.

    It reads z from -0.5 on, but with its option ``-zcoord``, which these lines do not want.
    """

    several: ClassVar = False
    holds_none: ClassVar = False

    @staticmethod
    def write(path: Path, lists: Sequence[Particles]) -> None:
        """Write the lines, with three decimals."""
        (particles,) = lists
        points = particles.coordinates[:, ::-1] + FIRST
        with atomic_file(path) as temporary:
            np.savetxt(temporary, points, fmt="%.3f")
