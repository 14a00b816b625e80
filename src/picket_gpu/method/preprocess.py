"""Blur and normalisation of the whole volume."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from picket_gpu.device.backend import Backend
from picket_gpu.device.operations import Array
from picket_gpu.errors import PicketError
from picket_gpu.method.blur import blurred
from picket_gpu.method.memory import MemoryPlan
from picket_gpu.method.volume import ResidentVolume, Scaling, StreamedVolume, Volume

MOST = float(np.finfo(np.float32).max)


class PreparedVolume(NamedTuple):
    """A volume ready for windows.

    Attributes:
        volume: blurred, min-max normalised grey values minus ``offset``. Centred values keep
            float32 products precise.
        offset: mean of the normalised volume; grey values + offset lie in [0, 1].
    """

    volume: Volume
    offset: float


def prepare(
    backend: Backend, voxels: Array, sigma: float, plan: MemoryPlan, name: str = "volume"
) -> PreparedVolume:
    """Blur with a Gaussian of ``sigma`` voxels, scale to [0, 1], centre.

    To be called inside ``backend.exclusive()``. Where memory runs out, blocks are halved.

    Args:
        voxels: grey values, (z, y, x), any real type.
        sigma: standard deviation in voxels on every axis, kernel cut at 4 sigma, half-sample
            symmetric boundary; 0 for no blur.
        plan: of memory: whether the volume stays on the device, and how much of it is blurred at
            a time.
        name: what to call the volume in an error.

    Raises:
        PicketError: the blurred volume is constant or not finite.
    """
    backend.limit(plan.budget)
    while True:
        backend.release()
        try:
            return _prepare(backend, voxels, sigma, plan, name)
        except MemoryError:
            if plan.blur_planes == 1:
                raise
        plan = replace(plan, blur_planes=plan.blur_planes // 2)


def _prepare(
    backend: Backend, voxels: Array, sigma: float, plan: MemoryPlan, name: str
) -> PreparedVolume:
    """`prepare` in blocks of the size that the plan says."""
    depth = voxels.shape[0]
    low, high, total = np.inf, -np.inf, 0.0
    data: Array = None
    for first, last, block in blurred(backend, voxels, sigma, plan.blur_planes):
        smallest, largest = float(block.min()), float(block.max())
        low, high = min(low, smallest), max(high, largest)
        if not largest - smallest <= MOST or high - low > MOST:  # the first also for NaN
            raise PicketError(
                f"{name}: holds NaN or infinite voxels, or values too large for float32"
            )
        total += float(block.sum(dtype="float64"))
        if last - first == depth and plan.slab_planes is None:
            data = block
            break
        if plan.slab_planes is None:
            if data is None:
                data = backend.xp.empty(voxels.shape, dtype="float32")
            data[first:last] = block
        else:
            if data is None:
                data = backend.host_empty(voxels.shape)
            backend.download(block, out=data[first:last])
        del block  # its memory is counted on for the next one
    if not high > low:
        raise PicketError(f"{name}: is constant after the blur; there is nothing to segment")
    offset = (total / voxels.size - low) / (high - low)
    scaling = Scaling(low, high - low, offset)
    if plan.slab_planes is not None:
        volume = StreamedVolume(backend.transfers, data, scaling, plan.slab_planes, plan.side)
        return PreparedVolume(volume, offset)
    scaling.apply(data)
    return PreparedVolume(ResidentVolume(data), offset)
