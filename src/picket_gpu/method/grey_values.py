"""Some voxels of a volume, for statistics that need not see all."""

import numpy as np

SAMPLE = 2**18  # voxels, at most
NORMAL = 1.4826  # of a Gaussian, its standard deviation over its median absolute deviation


def sample_step(size: int) -> int:
    """Every how many voxels of ``size`` one is taken; odd, for axes are often even."""
    return -(-size // SAMPLE) | 1


def sample_of(voxels: np.ndarray) -> np.ndarray:
    """Some voxels, evenly spaced in memory order."""
    return voxels.reshape(-1)[:: sample_step(voxels.size)]


def middle_of(values: np.ndarray) -> np.ndarray:
    """The value in the middle, or NaN where half of them are: a scalar of their type."""
    middle = values.size // 2
    return np.partition(values, middle)[middle]  # type: ignore[no-any-return]


def median_and_noise(values: np.ndarray) -> tuple[float, float]:
    """Median, and the standard deviation by the median absolute deviation about it."""
    median = float(np.median(values))
    return median, NORMAL * float(np.median(np.abs(values - median)))
