"""The Gaussian blur, block by block."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from picket_gpu.device.backend import Backend
from picket_gpu.device.operations import Array
from picket_gpu.method.grey_values import middle_of, sample_of

TRUNCATE = 4.0  # the Gaussian kernel is cut at this many sigma
LARGE = 1e30  # larger than any grey value
SLIGHT = np.float32(1e-6)  # smaller than the weight of any voxel


def blur_radius(sigma: float) -> int:
    """Voxels on each side that the kernel of a Gaussian of ``sigma`` voxels reaches."""
    return int(TRUNCATE * sigma + 0.5)


class Keep(NamedTuple):
    """The voxels that the blur uses, if not all.

    Attributes:
        mask: bool, (z, y, x), in host memory.
        fill: one of their grey values, near the mean.
    """

    mask: np.ndarray
    fill: float


def blurred(
    backend: Backend,
    voxels: Array,
    sigma: float,
    planes: int,
    keep: Keep | None = None,
    limits: tuple[float, float] | None = None,
) -> Iterator[tuple[int, int, Array]]:
    """Blur a volume block by block, after subtracting a grey value in the middle of its range.

    Rounding errors, 1e-7 of the largest number in float32, are then proportional to the spread of
    grey values, whatever their offset.

    Args:
        voxels: grey values, (z, y, x), any real type, on the host or the device.
        sigma: standard deviation in voxels on every axis; 0 for no blur.
        planes: greatest number of planes of a block.
        keep: the voxels to blur; the others have no weight and get a value near the mean. This is
            normalised convolution, blur of v m over blur of m (Knutsson & Westin 1993).
        limits: lowest and highest grey value; voxels beyond are set to these before the blur.

    Yields:
        First plane, the one after the last, and the blurred planes, float32 on the device.
    """
    radius = blur_radius(sigma)
    depth = len(voxels)
    middle = _middle(backend, voxels) if keep is None else keep.fill
    for first in range(0, depth, planes):
        last = min(first + planes, depth)
        begin, end = max(first - radius, 0), min(last + radius, depth)
        # float32 first: ndimage blurs in the type of its input, which would quantise integers.
        # Values beyond float32 become infinite, which `prepare` reports.
        with np.errstate(over="ignore", invalid="ignore"):
            block = backend.upload(voxels[begin:end]).astype("float32", copy=False)
            if limits is not None:
                block = backend.xp.clip(block, *map(np.float32, limits))
            block = block - np.float32(middle)  # a new array, for work in place
        if keep is not None:
            block = _of_kept(backend, block, sigma, keep.mask[begin:end])
        elif sigma > 0:
            _blur(backend, block, sigma)
        part = block[first - begin : last - begin]
        del block
        yield first, last, part
        del part
        # The first and last blocks have other sizes, for which the pool would keep this memory.
        backend.release()


def _middle(backend: Backend, voxels: Array) -> np.ndarray:
    some = sample_of(voxels)
    middle = middle_of(some if isinstance(some, np.ndarray) else backend.download(some))
    # Differences of numbers near the largest of float32 would be infinite.
    return middle if abs(float(middle)) < LARGE else np.zeros_like(middle)


def _blur(backend: Backend, block: Array, sigma: float) -> None:
    backend.ndimage.gaussian_filter(block, sigma, output=block, mode="reflect", truncate=TRUNCATE)


def _of_kept(backend: Backend, block: Array, sigma: float, mask: np.ndarray) -> Array:
    """Normalised blur of a block; 0 for voxels that are not kept."""
    xp = backend.xp
    kept = backend.upload(mask)
    block = xp.where(kept, block, np.float32(0))
    if sigma > 0:
        weight = kept.astype("float32")
        _blur(backend, weight, sigma)
        _blur(backend, block, sigma)
        block = xp.where(kept, block / xp.maximum(weight, SLIGHT), np.float32(0))
    return block
