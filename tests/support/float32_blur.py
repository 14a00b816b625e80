"""A Gaussian filter that sums float32 in float32, as CuPy's does; SciPy's sums in double."""

from typing import Any

import numpy as np
import scipy.ndimage


def gaussian_filter(
    block: np.ndarray, sigma: float, *, output: Any = None, mode: str, truncate: float
) -> np.ndarray:
    """`scipy.ndimage.gaussian_filter` of a float32 array in mode "reflect"."""
    assert mode == "reflect"
    assert block.dtype == np.float32
    radius = int(truncate * sigma + 0.5)
    unit = np.zeros(2 * radius + 1)
    unit[radius] = 1
    weights = scipy.ndimage.gaussian_filter1d(unit, sigma, truncate=truncate, mode="constant")
    blurred = block
    for axis in range(block.ndim):
        padding = [(radius, radius) if a == axis else (0, 0) for a in range(block.ndim)]
        padded = np.moveaxis(np.pad(blurred, padding, mode="symmetric"), axis, 0)
        total = np.zeros_like(padded[: block.shape[axis]])
        for place, weight in enumerate(weights.astype(np.float32)):
            total += weight * padded[place : place + len(total)]
        blurred = np.moveaxis(total, 0, axis)
    if output is None:
        return np.ascontiguousarray(blurred)
    output[...] = blurred
    return output
