"""Blur and normalisation of the whole volume."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from picket_gpu.backend import Backend
from picket_gpu.errors import PicketError
from picket_gpu.operations import Array
from picket_gpu.volume import ResidentVolume, Scaling, StreamedVolume, Volume

if TYPE_CHECKING:
    from picket_gpu.memory import MemoryPlan

TRUNCATE = 4.0  # the Gaussian kernel is cut at this many sigma
MOST = float(np.finfo(np.float32).max)


def blur_radius(sigma: float) -> int:
    """Voxels on each side that the Gaussian of ``sigma`` voxels takes in."""
    return int(TRUNCATE * sigma + 0.5)


class Prepared(NamedTuple):
    """A volume ready for windows.

    Attributes:
        volume: blurred, min-max normalised grey values minus ``offset``. Centred values keep
            float32 products precise.
        offset: mean of the normalised volume; grey values + offset lie in [0, 1].
    """

    volume: Volume
    offset: float


def prepare(
    backend: Backend, voxels: Array, sigma: float, plan: "MemoryPlan", name: str = "volume"
) -> Prepared:
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
    backend: Backend, voxels: Array, sigma: float, plan: "MemoryPlan", name: str
) -> Prepared:
    """`prepare` in blocks of the size that the plan says."""
    depth = voxels.shape[0]
    low, high, total = np.inf, -np.inf, 0.0
    data: Array = None
    for first, last, block in _blurred(backend, voxels, sigma, plan):
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
        return Prepared(volume, offset)
    scaling.apply(data)
    return Prepared(ResidentVolume(data), offset)


def _blurred(
    backend: Backend, voxels: Array, sigma: float, plan: "MemoryPlan"
) -> Iterator[tuple[int, int, Array]]:
    """Blurred planes first to last as float32 arrays on the device, block by block."""
    radius = blur_radius(sigma)
    depth = len(voxels)
    for first in range(0, depth, plan.blur_planes):
        last = min(first + plan.blur_planes, depth)
        begin, end = max(first - radius, 0), min(last + radius, depth)
        # float32 first: ndimage blurs in the type of its input, which would quantise integers.
        # Values beyond float32 become infinite, and are told of as such.
        with np.errstate(over="ignore"):
            block = backend.upload(voxels[begin:end]).astype("float32", copy=False)
        if sigma > 0:
            block = backend.ndimage.gaussian_filter(block, sigma, mode="reflect", truncate=TRUNCATE)
        elif last - first == depth:
            block = block.copy()  # what follows works in place
        part = block[first - begin : last - begin]
        del block
        yield first, last, part
        del part
        # Blocks at the ends have other sizes than those between; the pool starts afresh.
        backend.release()
