"""Blur and normalisation of the whole volume."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from picket_gpu.device.backend import Backend
from picket_gpu.device.operations import Array
from picket_gpu.errors import PicketError
from picket_gpu.method.blur import Keep, blurred
from picket_gpu.method.memory import MemoryPlan
from picket_gpu.method.sample import sample_step
from picket_gpu.method.volume import ResidentVolume, Scaling, StreamedVolume, Volume

MOST = float(np.finfo(np.float32).max)
SLIVER = 0.2  # of the grey range: less for 99% of the voxels means outliers


class PreparedVolume(NamedTuple):
    """A volume ready for windows.

    Attributes:
        volume: blurred, min-max normalised grey values minus ``offset``. Centred values keep
            float32 products precise.
        offset: mean of the normalised volume; grey values + offset lie in [0, 1].
        central: share of that range which 99% of the voxels are in.
    """

    volume: Volume
    offset: float
    central: float


def prepare(
    backend: Backend,
    voxels: Array,
    sigma: float,
    plan: MemoryPlan,
    name: str = "volume",
    keep: Keep | None = None,
    limits: tuple[float, float] | None = None,
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
        keep: the voxels that count, in the blur and in the range of grey values; all unless told.
        limits: the lowest and the highest grey value, at which others are cut off first.

    Raises:
        PicketError: the blurred volume is constant or not finite.
    """
    backend.limit(plan.budget)
    if keep is not None:  # takes more arrays than a block otherwise does
        plan = replace(plan, blur_planes=max(1, min(plan.blur_planes, len(voxels) // 8)))
    while True:
        backend.release()
        try:
            return _prepare(backend, voxels, sigma, plan, name, keep, limits)
        except MemoryError:
            if plan.blur_planes == 1:
                raise
        plan = replace(plan, blur_planes=plan.blur_planes // 2)


def _prepare(
    backend: Backend,
    voxels: Array,
    sigma: float,
    plan: MemoryPlan,
    name: str,
    keep: Keep | None,
    limits: tuple[float, float] | None,
) -> PreparedVolume:
    """`prepare` in blocks of the size that the plan says."""
    depth = voxels.shape[0]
    low, high, total, samples = np.inf, -np.inf, 0.0, []
    data: Array = None
    for first, last, block in blurred(backend, voxels, sigma, plan.blur_planes, keep, limits):
        counted = block
        if keep is not None:
            counted = block[backend.upload(keep.mask[first:last])]
        if counted.size:
            smallest, largest = float(counted.min()), float(counted.max())
            low, high = min(low, smallest), max(high, largest)
            if not largest - smallest <= MOST or high - low > MOST:  # the first also for NaN
                raise PicketError(
                    f"{name}: contains NaN or infinite voxels, or values too large for "
                    "float32; replace them"
                )
            total += float(counted.sum(dtype="float64"))
            samples.append(
                backend.download(counted.reshape(-1)[:: sample_step(voxels.size)].copy())
            )
        del counted
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
    count = voxels.size if keep is None else np.count_nonzero(keep.mask)
    offset = (total / count - low) / (high - low)
    bounds = np.quantile(np.concatenate(samples), (0.005, 0.995))
    central = float(bounds[1] - bounds[0]) / (high - low)
    scaling = Scaling(low, high - low, offset)
    if plan.slab_planes is not None:
        volume = StreamedVolume(backend.transfers, data, scaling, plan.slab_planes, plan.side)
        return PreparedVolume(volume, offset, central)
    scaling.apply(data)
    return PreparedVolume(ResidentVolume(data), offset, central)
