"""Parts of a tomogram: windows to fit on, and voxels to label."""

from math import prod

import numpy as np

from picket_gpu.errors import PicketError
from picket_gpu.inputs import TomogramInput
from picket_gpu.labels import core
from picket_gpu.neighborhoods import ChosenWindows, WindowSet
from picket_gpu.operations import Shape
from picket_gpu.tomogram import read_mask


def masked_windows(windows: WindowSet, mask: np.ndarray, name: str = "volume") -> WindowSet:
    """Those windows whose centre is in a mask; of these at most the cap, drawn like others.

    Args:
        windows: with a cap or without.
        mask: bool, (z, y, x), of the whole volume.
        name: what to call the volume in an error.

    Raises:
        PicketError: there are fewer than two.
    """
    half = windows.side // 2
    centres = mask[windows.lower + half : windows.upper - half, half:-half, half:-half]
    plane = prod(windows.grid[1:])
    dtype = np.uint32 if prod(windows.grid) < 2**32 else np.int64
    index = np.empty(np.count_nonzero(centres), dtype)
    filled = 0
    for number, inside in enumerate(centres):  # plane by plane: little memory beside the index
        places = np.flatnonzero(inside)
        index[filled : filled + len(places)] = places + number * plane
        filled += len(places)
    if filled < 2:
        raise PicketError(
            f"{name}: {filled} windows for fitting have their centre in the mask; two clusters "
            f"need two"
        )
    chosen = ChosenWindows(
        windows.volume_shape,
        windows.side,
        windows.lower,
        windows.upper,
        seed=windows.seed,
        index=index,
    )
    return chosen if windows.cap is None else chosen.sample(windows.cap)


def wanted_voxels(entry: TomogramInput, shape: Shape, side: int) -> np.ndarray | None:
    """Which voxels are to get labels, bool, (z, y, x) or (z, 1, 1); None for all.

    Args:
        shape: of the tomogram.
        side: window side in voxels.

    Raises:
        PicketError: the mask cannot be read, or no voxel with a window is left.
    """
    if entry.output_mask is None and not entry.limits_prediction:
        return None
    slices = np.zeros((shape[0], 1, 1), dtype=bool)
    slices[entry.prediction_lower_z_slice_limit : entry.prediction_upper_z_slice_limit] = True
    if entry.output_mask is None:
        return slices
    mask = read_mask(entry.output_mask, shape, entry.storage_options)
    mask &= slices
    if not core(mask, side).any():
        raise PicketError(
            f"{entry.output_mask}: no voxel of the mask is to be labelled; the outermost "
            f"{side // 2} never are"
        )
    return mask


def check_prediction(entry: TomogramInput, depth: int, side: int) -> None:
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
