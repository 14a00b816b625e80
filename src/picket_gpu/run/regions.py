"""Parts of a tomogram that its entry in the configuration asks for."""

import numpy as np

from picket_gpu.config.inputs import TomogramInput
from picket_gpu.device.operations import Shape
from picket_gpu.errors import PicketError
from picket_gpu.files.tomogram import read_mask
from picket_gpu.method.masks import masked_windows, voxels_to_label
from picket_gpu.method.neighborhoods import WindowSet


def windows_in_mask(entry: TomogramInput, windows: WindowSet) -> WindowSet:
    """Those windows for fitting whose centre is in the mask for it, if there is one.

    Raises:
        PicketError: the mask cannot be read, or fewer than two windows are left.
    """
    if entry.fitting_mask is None:
        return windows
    mask = read_mask(entry.fitting_mask, windows.volume_shape, entry.storage_options)
    return masked_windows(windows, mask, str(entry.tomogram))


def labelled_voxels(entry: TomogramInput, shape: Shape, side: int) -> np.ndarray | None:
    """Which voxels are to get labels, bool, (z, y, x) or (z, 1, 1); None for all.

    Args:
        shape: of the tomogram.
        side: window side in voxels.

    Raises:
        PicketError: the mask cannot be read, or no voxel with a window is left.
    """
    mask = None
    if entry.output_mask is not None:
        mask = read_mask(entry.output_mask, shape, entry.storage_options)
    return voxels_to_label(
        shape,
        side,
        entry.prediction_lower_z_slice_limit,
        entry.prediction_upper_z_slice_limit,
        mask,
        str(entry.output_mask),
    )


def check_labelled_slices(entry: TomogramInput, depth: int, side: int) -> None:
    """Whether the z-slices to label are some of those that can be.

    Raises:
        PicketError: they are not.
    """
    lower, upper = entry.prediction_lower_z_slice_limit, entry.prediction_upper_z_slice_limit
    for key, bound in (("lower", lower), ("upper", upper)):
        if bound is not None and bound > depth:
            raise PicketError(
                f"{entry.tomogram}: prediction_{key}_z-slice_limit {bound} is outside the volume; "
                f"use 0 to {depth}"
            )
    first, last, half = lower or 0, depth if upper is None else upper, side // 2
    if max(first, half) >= min(last, depth - half):
        raise PicketError(
            f"{entry.tomogram}: no z-slice from prediction_lower_z-slice_limit {first} to "
            f"prediction_upper_z-slice_limit {last} can be labelled; use {half} to {depth - half}"
        )
