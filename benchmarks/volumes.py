"""Volumes to measure on: the demo tomogram, cut or mirrored to the size asked for."""

from pathlib import Path

import mrcfile
import numpy as np

DEMO = Path(__file__).parents[1] / "tests" / "data" / "hiv_vlp_40A.mrc"
VOXEL_SIZE = 40.0  # angstrom


def demo_volume(shape: tuple[int, int, int]) -> np.ndarray:
    """A volume of ``shape`` (z, y, x), float32, from the middle of the demo tomogram.

    Beyond 100 voxels a side it is continued by its mirror images, so that grey values, and with
    them the number of iterations, stay comparable.
    """
    data = mrcfile.read(DEMO)
    inner = [min(n, 100) for n in shape]
    start = [(n - m) // 2 for n, m in zip(data.shape, inner, strict=True)]
    block = data[tuple(slice(s, s + m) for s, m in zip(start, inner, strict=True))]
    width = [(0, n - m) for n, m in zip(shape, inner, strict=True)]
    return np.pad(block.astype(np.float32), width, mode="symmetric")
