"""Connected components of a segmentation, and how large they are."""

from dataclasses import dataclass
from math import prod

import numpy as np
from scipy import ndimage

from picket_gpu.labels import FOREGROUND
from picket_gpu.report.binning import block_sums

MOST_VOXELS = 2**23  # beyond, a volume is binned first: counting should cost little of a run
SMALLEST = 27  # voxels; what is smaller is only counted


@dataclass(frozen=True)
class Components:
    """Connected components of label 1, joined through faces.

    Attributes:
        sizes: voxels of the tomogram in each that has at least `SMALLEST`, ascending.
        smaller: how many are smaller than that.
        largest: share of label 1 that the largest holds, 0 to 1.
        binning: side of the blocks, in voxels, by which the volume was binned before.
    """

    sizes: np.ndarray
    smaller: int
    largest: float
    binning: int

    def diameters(self, voxel_size: tuple[float, float, float]) -> np.ndarray:
        """Diameters of spheres as large, in the unit of ``voxel_size``, (z, y, x)."""
        return np.asarray(np.cbrt(6 / np.pi * prod(voxel_size) * self.sizes))


def find_components(labels: np.ndarray, most_voxels: int = MOST_VOXELS) -> Components:
    """Components of label 1 in ``labels``, int8, (z, y, x).

    Args:
        most_voxels: a larger volume is binned by majority until it has no more.
    """
    binning = 1
    while prod(n // binning for n in labels.shape) > most_voxels and binning < min(labels.shape):
        binning += 1
    numbered, count = ndimage.label(foreground(labels, binning))
    sizes = np.zeros(count + 1, dtype=np.int64)
    for section in numbered:  # all of it at once would become int64 first
        np.add(sizes, np.bincount(section.ravel(), minlength=count + 1), out=sizes)
    sizes = np.sort(sizes[1:]) * binning**3
    large = sizes[sizes >= SMALLEST]
    largest = float(sizes[-1] / sizes.sum()) if count else 0.0
    return Components(large, count - len(large), largest, binning)


def foreground(labels: np.ndarray, binning: int) -> np.ndarray:
    """Blocks of ``binning``^3 voxels at least half of which are labelled 1, bool, (z, y, x)."""
    if binning == 1:
        return np.asarray(labels == FOREGROUND)
    sections = (
        block_sums(labels[z : z + binning] == FOREGROUND, binning)[0]
        for z in range(0, len(labels) - binning + 1, binning)
    )
    return np.stack([2 * section >= binning**3 for section in sections])
