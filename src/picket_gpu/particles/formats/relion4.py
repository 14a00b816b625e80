"""STAR for RELION 4."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from picket_gpu.errors import PicketError
from picket_gpu.particles.particles import Particles
from picket_gpu.particles.star_table import COORDINATES, NAME, write_star


class RELION4:
    """A table of coordinates in voxels of the unbinned tomogram, 0 at the centre of the first.

    ``relion_tomo_import_particles`` reads these columns (import_particles.cpp), and takes what
    else it needs from tomograms.star. How often the tomogram was binned is nowhere in its file, so
    that ``binning`` in the settings of the particles has it.
    """

    several: ClassVar = True
    holds_none: ClassVar = False

    @staticmethod
    def write(path: Path, lists: Sequence[Particles]) -> None:
        """Write the table.

        Raises:
            PicketError: the binning is unknown, or a STAR file cannot hold the tomogram's name.
        """
        for one in lists:
            if "binning" not in one.settings:
                raise PicketError(
                    f"{path}: RELION 4 counts in unbinned voxels; set binning in particles"
                )
        binnings = {f"{one.settings['binning']:g}" for one in lists}
        remark = f"coordinates in unbinned voxels, with binning {', '.join(sorted(binnings))}"
        write_star(path, lists, _unbinned, NAME, remarks=[remark])


def _unbinned(particles: Particles) -> dict[str, np.ndarray]:
    unbinned = particles.coordinates[:, ::-1] * particles.settings["binning"]
    return dict(zip(COORDINATES, unbinned.T, strict=True))
