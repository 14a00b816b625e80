"""Parts of a volume: windows to fit on, and voxels to label."""

from math import prod

import numpy as np

from picket_gpu.device.operations import Shape
from picket_gpu.errors import PicketError
from picket_gpu.method.labels import core
from picket_gpu.method.neighborhoods import ChosenWindows, WindowSet


def masked_windows(
    windows: WindowSet, mask: np.ndarray, name: str = "volume", where: str = "in the mask"
) -> WindowSet:
    """Those windows whose centre is in a mask; of these at most the cap, drawn like others.

    Args:
        windows: with a cap or without.
        mask: bool, (z, y, x), of the whole volume.
        name: what to call the volume in an error.
        where: what to call the place in the mask there.

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
            f"{name}: too few neighborhoods for fitting {where} ({filled}, two clusters need "
            "at least 2); change the z-slice limits or the mask"
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


def voxels_to_label(
    shape: Shape,
    side: int,
    lower: int | None,
    upper: int | None,
    mask: np.ndarray | None = None,
    name: str = "mask",
) -> np.ndarray | None:
    """Which voxels are to get labels, bool, (z, y, x) or (z, 1, 1); None for all.

    Args:
        shape: of the volume, (z, y, x).
        side: window side in voxels.
        lower: first z-slice to label, from 0; None for the first.
        upper: z-slice after the last to label; None for the end.
        mask: bool, (z, y, x), true where labels are wanted; it is changed.
        name: what to call the mask in an error.

    Raises:
        PicketError: no voxel of the mask that has a window is left.
    """
    if mask is None and lower is None and upper is None:
        return None
    slices = np.zeros((shape[0], 1, 1), dtype=bool)
    slices[lower:upper] = True
    if mask is None:
        return slices
    mask &= slices
    if not core(mask, side).any():
        raise PicketError(
            f"{name}: no voxel of the mask can be labelled; change the mask, the outermost "
            f"{side // 2} voxels of a volume never are"
        )
    return mask
