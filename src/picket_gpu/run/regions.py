"""Parts of a tomogram that its entry in the configuration asks for."""

import numpy as np

from picket_gpu.config.inputs import TomogramInput
from picket_gpu.config.s1 import S1Config
from picket_gpu.device.operations import Shape
from picket_gpu.errors import PicketError
from picket_gpu.files.tomogram import read_mask
from picket_gpu.method.labels import core, voxels_to_label
from picket_gpu.method.padding import clear_of, find_padding
from picket_gpu.method.windows import WindowSet, masked_windows


def excluded_voxels(
    config: S1Config, entry: TomogramInput, voxels: np.ndarray
) -> tuple[np.ndarray | None, list[str]]:
    """Voxels that are kept out of the blur, the fit and the labels, and what to tell of them.

    Padding, and what lies outside the mask and the z-slices for fitting if the entry says so.

    Args:
        voxels: grey values, (z, y, x).

    Returns:
        bool, (z, y, x), None for none; and warnings.

    Raises:
        PicketError: a mask cannot be read, or all is excluded.
    """
    excluded, warnings = None, []
    padding = find_padding(voxels) if config.padding == "mask" else None
    if padding is not None:
        excluded = padding.mask
        values = " and ".join(f"{value:.4g}" for value in padding.values)
        warnings.append(
            f"{entry.tomogram}: {padding.share:.1%} of the voxels are padding with the value "
            f"{values}; they are left out of fitting and labelling (padding: keep uses them "
            "as data)"
        )
    if entry.outside_is_padding:
        outside = np.ones(voxels.shape, dtype=bool)
        outside[entry.lower_z_slice_limit : entry.upper_z_slice_limit] = False
        if entry.fitting_mask is not None:
            outside |= ~read_mask(entry.fitting_mask, voxels.shape, entry.storage_options)
        excluded = outside if excluded is None else excluded | outside
    if excluded is not None and excluded.all():
        raise PicketError(f"{entry.tomogram}: contains padding only; set padding: keep")
    return excluded, warnings


def windows_to_fit(
    entry: TomogramInput, windows: WindowSet, excluded: np.ndarray | None
) -> WindowSet:
    """Those windows whose centre is in the mask for fitting, and that touch no excluded voxel.

    Raises:
        PicketError: the mask cannot be read, or fewer than two windows are left.
    """
    clear = None if excluded is None else clear_of(excluded, windows.side)
    if entry.fitting_mask is None and clear is None:
        return windows
    where = "in the mask" if clear is None else "away from padding"
    mask = clear
    if entry.fitting_mask is not None:
        mask = read_mask(entry.fitting_mask, windows.volume_shape, entry.storage_options)
        mask = mask if clear is None else mask & clear
    assert mask is not None
    return masked_windows(windows, mask, str(entry.tomogram), where)


def labelled_voxels(
    entry: TomogramInput, shape: Shape, side: int, excluded: np.ndarray | None = None
) -> np.ndarray | None:
    """Which voxels are to get labels, bool, (z, y, x) or (z, 1, 1); None for all.

    Args:
        shape: of the tomogram.
        side: window side in voxels.
        excluded: bool, (z, y, x): voxels that no labelled window may touch.

    Raises:
        PicketError: the mask cannot be read, or no voxel with a window is left.
    """
    mask = None
    if entry.output_mask is not None:
        mask = read_mask(entry.output_mask, shape, entry.storage_options)
    wanted = voxels_to_label(
        shape,
        side,
        entry.prediction_lower_z_slice_limit,
        entry.prediction_upper_z_slice_limit,
        mask,
        str(entry.output_mask),
    )
    if excluded is None:
        return wanted
    clear = clear_of(excluded, side)
    wanted = clear if wanted is None else clear & wanted
    if not core(wanted, side).any():
        raise PicketError(
            f"{entry.tomogram}: no voxel can be labelled, all are too close to "
            "padding; change the limits, or set padding: keep"
        )
    return wanted


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
