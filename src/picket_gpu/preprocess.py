"""Blur and normalisation of the whole volume."""

from typing import NamedTuple

from picket_gpu.backend import Array, Backend
from picket_gpu.errors import PicketError

TRUNCATE = 4.0  # the Gaussian kernel is cut at this many sigma


class Prepared(NamedTuple):
    """A volume ready for windows.

    Attributes:
        data: blurred, min-max normalised grey values minus ``offset``, (z, y, x) float32 on the
            device. Centred values keep float32 products precise.
        offset: mean of the normalised volume; ``data + offset`` lies in [0, 1].
    """

    data: Array
    offset: float


def prepare(backend: Backend, voxels: Array, sigma: float, name: str = "volume") -> Prepared:
    """Blur with a Gaussian of ``sigma`` voxels, scale to [0, 1], centre.

    Args:
        voxels: grey values, (z, y, x), any real type.
        sigma: standard deviation in voxels on every axis, kernel cut at 4 sigma, half-sample
            symmetric boundary; 0 for no blur.
        name: what to call the volume in an error.

    Raises:
        PicketError: the blurred volume is constant or not finite.
    """
    xp = backend.xp
    # float32 first: ndimage blurs in the type of its input, which would quantise integers.
    volume = backend.upload(voxels).astype(xp.float32, copy=False)
    if sigma > 0:
        volume = backend.ndimage.gaussian_filter(volume, sigma, mode="reflect", truncate=TRUNCATE)
    else:
        volume = volume.copy()  # what follows works in place
    low, high = float(volume.min()), float(volume.max())
    if not high - low <= float(xp.finfo(xp.float32).max):  # also false for NaN
        raise PicketError(f"{name}: holds NaN or infinite voxels, or values too large for float32")
    if not high > low:
        raise PicketError(f"{name}: is constant after the blur; there is nothing to segment")
    volume -= low
    volume /= high - low
    offset = float(volume.mean(dtype=xp.float64))
    volume -= offset
    return Prepared(volume, offset)
