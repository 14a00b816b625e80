"""Sums over blocks of voxels or pixels."""

import numpy as np


def block_sums(values: np.ndarray, binning: int) -> np.ndarray:
    """Sums over blocks of ``binning`` along every axis; what is left over at the ends is dropped.

    Booleans are summed as uint16, which holds blocks of up to 40^3; other types as they are.
    """
    if values.dtype == bool:
        values = values.astype(np.uint16)
    for axis in range(values.ndim):
        length = values.shape[axis] // binning * binning
        before = (slice(None),) * axis
        total = values[(*before, slice(0, length, binning))].copy()
        for place in range(1, binning):
            total += values[(*before, slice(place, length, binning))]
        values = total
    return values
