"""Statistics of grey values from a sample of the voxels."""

import numpy as np

SAMPLE = 2**18  # greatest number of voxels
NORMAL = 1.4826  # standard deviation over median absolute deviation of a Gaussian


def sample_step(size: int) -> int:
    """Step between sampled voxels of a volume of ``size``; odd, since axes are often even."""
    return -(-size // SAMPLE) | 1


def sample_of(voxels: np.ndarray) -> np.ndarray:
    """At most `SAMPLE` voxels, evenly spaced in memory order."""
    return voxels.reshape(-1)[:: sample_step(voxels.size)]


def middle_of(values: np.ndarray) -> np.ndarray:
    """A value in the middle of some values, as a scalar of their type; NaN if half of them are."""
    middle = values.size // 2
    return np.partition(values, middle)[middle]  # type: ignore[no-any-return]


def median_and_noise(values: np.ndarray) -> tuple[float, float]:
    """Median, and a robust standard deviation from the median absolute deviation."""
    median = float(np.median(values))
    return median, NORMAL * float(np.median(np.abs(values - median)))
