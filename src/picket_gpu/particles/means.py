"""Means over balls and shells around every voxel, in slabs of planes.

By FFT, whose time is linear in the voxels whatever the radius: for n points, padding included, each
of its three passes there and three back takes some 2.5 n log2(n) / 3 operations and moves 8 n
bytes. Sums along x alone would take 2 pi R^2 operations a voxel, from R = 4 on more.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.fft

from picket_gpu.device.backend import MIB, Backend
from picket_gpu.device.operations import Array, Shape

FLOAT = 4  # bytes
DEFAULT_BYTES = 1024 * MIB
MOST_POINTS = 2**31 - 1  # of a device array: beyond, several of CuPy's functions err silently
# Float32 spectra and maps of a slab at a time, beside a spectrum and two maps for each kernel: of
# the voxels and of those inside, what a transform reads, writes and works in, and two for maxima.
ARRAYS = 7
SLIGHT = np.float32(1e-6)  # weight that is no voxel's


class MeansOfSlab(NamedTuple):
    """Means around the voxels of a slab.

    Attributes:
        first: plane that begins it.
        last: plane after it.
        low: plane with which the arrays begin: ``first - 1`` where there is one. They end with the
            one after ``last``, likewise.
        means: for each kernel, (planes, y, x) float32.
        shares: for each kernel, of its weights those inside, likewise.
        inside: (planes, y, x) bool.
    """

    first: int
    last: int
    low: int
    means: Sequence[Array]
    shares: Sequence[Array]
    inside: Array


def local_means(
    backend: Backend,
    values: Array,
    inside: Array | None,
    kernels: Sequence[np.ndarray],
    memory_budget: int | None = None,
    offset: float = 0.0,
) -> Iterator[MeansOfSlab]:
    """Means of ``values`` weighted by each kernel, over voxels that are inside.

    Args:
        values: (z, y, x), any real type, on the host or the device.
        inside: bool, (z, y, x), likewise; None for all of them.
        kernels: (z, y, x) float32 of odd sides, sums 1.
        memory_budget: for arrays beside these; None for 1 GiB, or what slabs of as many planes as
            the kernels have need.
        offset: subtracted from the values first.

    Raises:
        ValueError: ``memory_budget`` is too little.
    """
    xp, depth = backend.xp, len(values)
    half = [max(kernel.shape[axis] // 2 for kernel in kernels) for axis in range(3)]
    step, lengths = _plan(values.shape, half, len(kernels), memory_budget)
    transform = _Transform(backend, lengths)
    with scipy.fft.set_workers(backend.workers):  # not CuPy's, which has no use for them
        spectra = [transform.forward(backend.upload(kernel)) for kernel in kernels]
    for first in range(0, depth, step):
        last = min(first + step, depth)
        low, high = max(first - 1, 0), min(last + 1, depth)
        begin, end = max(low - half[0], 0), min(high + half[0], depth)
        if inside is None:
            there = xp.ones((end - begin, *values.shape[1:]), dtype=bool)
        else:
            there = backend.upload(inside[begin:end])
        block = backend.upload(values[begin:end]).astype("float32")
        block -= np.float32(offset)
        block *= there
        box = (slice(low - begin, high - begin), *(slice(0, n) for n in values.shape[1:]))
        with scipy.fft.set_workers(backend.workers):
            means, shares = zip(
                *_means(xp, transform, block, there, kernels, spectra, box), strict=True
            )
        del block
        yield MeansOfSlab(first, last, low, means, shares, there[box])
        del means, shares, there
        backend.release()


def _means(
    xp: Any,
    transform: "_Transform",
    block: Array,
    there: Array,
    kernels: Sequence[np.ndarray],
    spectra: Sequence[Array],
    box: tuple[slice, ...],
) -> Iterator[tuple[Array, Array]]:
    spectrum, weights = transform.forward(block), transform.forward(there.astype("float32"))
    for kernel, of_kernel in zip(kernels, spectra, strict=True):
        # Transformed from its corner, not its centre, a kernel moves what it filters.
        moved = tuple(
            slice(part.start + side // 2, part.stop + side // 2)
            for part, side in zip(box, kernel.shape, strict=True)
        )
        mean = transform.inverse(spectrum * of_kernel, moved)
        share = xp.maximum(transform.inverse(weights * of_kernel, moved), SLIGHT)
        mean /= share
        yield mean, share


@dataclass(frozen=True)
class _Transform:
    """Real FFTs of blocks padded by zeros, axis by axis: rows of nothing but padding are left out,
    and what is not wanted is not transformed back."""

    backend: Backend
    lengths: Shape

    def forward(self, block: Array) -> Array:
        """The spectrum of a block that begins with the first point."""
        fft, (z, y, x) = self.backend.fft, self.lengths
        spectrum = fft.rfft(block, n=x, axis=2)
        spectrum = fft.fft(spectrum, n=y, axis=1, overwrite_x=True)
        return fft.fft(spectrum, n=z, axis=0, overwrite_x=True)

    def inverse(self, spectrum: Array, box: tuple[slice, ...]) -> Array:
        """The points in ``box``. Overwrites the spectrum."""
        fft, (z, y, x) = self.backend.fft, box
        part = fft.ifft(spectrum, axis=0, overwrite_x=True)[z]
        part = fft.ifft(part, axis=1)[:, y]
        return fft.irfft(part, n=self.lengths[2], axis=2)[:, :, x]


def _plan(
    shape: Shape, half: Sequence[int], kernels: int, memory_budget: int | None
) -> tuple[int, Shape]:
    """Planes of a slab, and points of the transforms.

    Neighbours of a slab's planes for the maxima, and what kernels take in of those, are read too.
    Beyond the volume's faces there are zeros, which both ends share, as a circle of points is
    filtered.
    """
    y, x = (_good_length(shape[axis] + half[axis]) for axis in (1, 2))

    def points(step: int) -> int:
        return _good_length(min(step + 2 + 2 * half[0], shape[0] + half[0]))

    def needed(step: int) -> int:
        return FLOAT * (ARRAYS + 3 * kernels) * points(step) * y * (x + 2)

    budget = memory_budget
    if budget is None:
        budget = max(DEFAULT_BYTES, needed(2 * half[0] + 1))
    elif needed(1) > budget:
        raise ValueError(
            f"memory_budget: a slab of this diameter needs {-(-needed(1) // MIB)} MiB "
            f"(got {budget / MIB:.3g} MiB)"
        )
    fitting = (step for step in range(shape[0], 0, -1) if needed(step) <= budget)
    step = next((s for s in fitting if points(s) * y * (x + 2) <= MOST_POINTS), 1)
    return step, (points(step), y, x)


def _good_length(least: int) -> int:
    """The next length of factors 2, 3 and 5, which every FFT is fast for."""
    return int(scipy.fft.next_fast_len(least, real=True))
