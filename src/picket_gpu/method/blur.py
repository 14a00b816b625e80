"""The Gaussian blur, block by block."""

from collections.abc import Iterator

import numpy as np

from picket_gpu.device.backend import Backend
from picket_gpu.device.operations import Array

TRUNCATE = 4.0  # the Gaussian kernel is cut at this many sigma


def blur_radius(sigma: float) -> int:
    """Voxels on each side that the Gaussian of ``sigma`` voxels takes in."""
    return int(TRUNCATE * sigma + 0.5)


def blurred(
    backend: Backend, voxels: Array, sigma: float, planes: int
) -> Iterator[tuple[int, int, Array]]:
    """Blur a volume block by block.

    Args:
        voxels: grey values, (z, y, x), any real type, on the host or the device.
        sigma: standard deviation in voxels on every axis; 0 for no blur.
        planes: of a block, at most.

    Yields:
        First plane, the one after the last, and the blurred planes, float32 on the device. Of each
        block nothing is kept here.
    """
    radius = blur_radius(sigma)
    depth = len(voxels)
    for first in range(0, depth, planes):
        last = min(first + planes, depth)
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
