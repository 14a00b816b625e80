"""Blur and normalisation of the whole volume."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np

from picket_gpu.device.backend import Backend
from picket_gpu.device.operations import Array
from picket_gpu.errors import PicketError
from picket_gpu.method.blur import Keep, blurred
from picket_gpu.method.grey_values import sample_step
from picket_gpu.method.memory import MemoryPlan
from picket_gpu.method.volume import ResidentVolume, Scaling, StreamedVolume, Volume

MOST = float(np.finfo(np.float32).max)
Made = TypeVar("Made")
SLIVER = 0.2  # part of the grey range; if 99% of the voxels lie in less, there are outliers


class PreparedVolume(NamedTuple):
    """A volume ready for windows.

    Attributes:
        volume: blurred, min-max normalised grey values minus ``offset``. Centred values keep
            float32 products precise.
        offset: mean of the normalised volume; grey values + offset lie in [0, 1].
        central: part of that range that holds 99% of the voxels.
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

    Call it inside ``backend.exclusive()``. If memory runs out, blocks or slabs are halved.

    Args:
        voxels: grey values, (z, y, x), any real type.
        sigma: standard deviation in voxels on every axis, kernel cut at 4 sigma, half-sample
            symmetric boundary; 0 for no blur.
        plan: whether the volume stays on the device, and how many planes are blurred at a time.
        name: name of the volume in errors.
        keep: the voxels used for the blur and the range of grey values; default: all.
        limits: lowest and highest grey value; voxels beyond are set to these before the blur.

    Raises:
        PicketError: the blurred volume is constant or not finite.
    """
    backend.limit(plan.budget)
    planes = plan.blur_planes
    if keep is not None:  # the blur then needs more arrays
        planes = max(1, min(planes, len(voxels) // 8))
    streamed = plan.slab_planes is not None
    scaling, central, data = _until_it_fits(
        backend, planes, lambda n: _blur(backend, voxels, sigma, n, streamed, name, keep, limits)
    )
    if plan.slab_planes is None:
        scaling.apply(data)
        return PreparedVolume(ResidentVolume(data), scaling.offset, central)
    volume = _until_it_fits(
        backend,
        plan.slab_planes,
        lambda n: StreamedVolume(backend.transfers, data, scaling, n, plan.side),
    )
    return PreparedVolume(volume, scaling.offset, central)


def _until_it_fits(backend: Backend, planes: int, make: Callable[[int], Made]) -> Made:
    """Return ``make(planes)``, with half as many planes each time that memory runs out."""
    while True:
        backend.release()
        try:
            return make(planes)
        except MemoryError:
            if planes == 1:
                raise
        planes //= 2  # outside the handler, whose traceback would keep arrays alive


class _Blurred(NamedTuple):
    """Blurred grey values, (z, y, x) float32, and their scaling."""

    scaling: Scaling
    central: float
    data: Array


def _blur(
    backend: Backend,
    voxels: Array,
    sigma: float,
    planes: int,
    streamed: bool,
    name: str,
    keep: Keep | None,
    limits: tuple[float, float] | None,
) -> _Blurred:
    """Blur ``planes`` at a time into an array on the device, or in host memory if ``streamed``.

    The other arguments are those of `prepare`.
    """
    depth = voxels.shape[0]
    low, high, total, samples = np.inf, -np.inf, 0.0, []
    data: Array = None
    for first, last, block in blurred(backend, voxels, sigma, planes, keep, limits):
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
        if last - first == depth and not streamed:
            data = block
            break
        if not streamed:
            if data is None:
                data = backend.xp.empty(voxels.shape, dtype="float32")
            data[first:last] = block
        else:
            if data is None:
                data = backend.host_empty(voxels.shape)
            backend.download(block, out=data[first:last])
        del block  # before the next one is there
    if not high > low:
        raise PicketError(f"{name}: is constant after the blur; there is nothing to segment")
    count = voxels.size if keep is None else np.count_nonzero(keep.mask)
    offset = (total / count - low) / (high - low)
    bounds = np.quantile(np.concatenate(samples), (0.005, 0.995))
    central = float(bounds[1] - bounds[0]) / (high - low)
    return _Blurred(Scaling(low, high - low, offset), central, data)
