"""Volumes to measure on: the demo tomogram, cut or mirrored to the size asked for."""

from pathlib import Path

import mrcfile
import numpy as np

DEMO = Path(__file__).parents[1] / "tests" / "data" / "hiv_vlp_40A.mrc"


def demo_cube(size: int) -> np.ndarray:
    """A cube of ``size`` voxels a side, float32, from the middle of the demo tomogram.

    Beyond 100 voxels the cube of 100 is continued by its mirror images, so that grey values, and
    with them the number of iterations, stay comparable.
    """
    data = mrcfile.read(DEMO)
    start = [(n - min(size, 100)) // 2 for n in data.shape]
    cube = data[tuple(slice(s, s + min(size, 100)) for s in start)].astype(np.float32)
    return np.pad(cube, (0, max(0, size - 100)), mode="symmetric")
