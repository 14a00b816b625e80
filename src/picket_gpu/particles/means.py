"""Means over balls and shells around every voxel, in slabs of planes.

By FFT, whose time is linear in the voxels whatever the radius: for n points, padding included, each
of its three passes there and three back takes some 2.5 n log2(n) / 3 operations and moves 8 n
bytes. Sums along x alone would take 2 pi R^2 operations a voxel, from R = 4 on more.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np
import scipy.fft

from picket_gpu.device.backend import MIB, Backend
from picket_gpu.device.operations import Array, Shape

FLOAT = 4  # bytes
DEFAULT_BYTES = 1024 * MIB
MOST_POINTS = 2**31 - 1  # of a device array: beyond, several of CuPy's functions err silently
# Float32 spectra and maps of a slab at a time, beside a spectrum and two maps for each kernel: of
# the voxels and of those inside, what a transform reads, writes and works in.
ARRAYS = 6
MAXIMA = 8  # float32 maps of a slab, with a voxel more around it, that finding maxima takes
SPLITS = range(1, 17)  # blocks along y and x
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
    xp, shape = backend.xp, values.shape
    if 0 in shape:
        return
    half = [max(kernel.shape[axis] // 2 for kernel in kernels) for axis in range(3)]
    plan = _plan(shape, half, len(kernels), memory_budget)
    transform = _Transform(backend, plan.lengths)
    with scipy.fft.set_workers(backend.workers):  # not CuPy's, which has no use for them
        spectra = [transform.forward(backend.upload(kernel)) for kernel in kernels]
    for first in range(0, shape[0], plan.step):
        last = min(first + plan.step, shape[0])
        low, high = max(first - 1, 0), min(last + 1, shape[0])
        planes = (high - low, *shape[1:])
        means, shares = ([xp.empty(planes, dtype="float32") for _ in kernels] for _ in range(2))
        there = xp.ones(planes, dtype=bool) if inside is None else backend.upload(inside[low:high])
        for y, x in plan.blocks(shape):
            core = (slice(low, high), y, x)
            around = tuple(
                slice(max(part.start - h, 0), min(part.stop + h, n))
                for part, h, n in zip(core, half, shape, strict=True)
            )
            block = _block(backend, values[around], None if inside is None else inside[around])
            block[0][...] -= np.float32(offset) * block[1]
            box = tuple(
                slice(part.start - outer.start, part.stop - outer.start)
                for part, outer in zip(core, around, strict=True)
            )
            with scipy.fft.set_workers(backend.workers):
                made = _means(xp, transform, *block, kernels, spectra, box)
                for number, (mean, share) in enumerate(made):
                    means[number][:, y, x], shares[number][:, y, x] = mean, share
            del block
        yield MeansOfSlab(first, last, low, means, shares, there)
        del means, shares, there
        backend.release()


def _block(backend: Backend, values: Array, inside: Array | None) -> tuple[Array, Array]:
    """Values, 0 where they are not inside, and 1 where they are; float32, on the device."""
    xp = backend.xp
    block = backend.upload(values).astype("float32")  # a copy
    if inside is None:
        return block, xp.ones(block.shape, dtype="float32")
    there = backend.upload(inside).astype("float32")
    block *= there
    return block, there


def _means(
    xp: Any,
    transform: "_Transform",
    block: Array,
    there: Array,
    kernels: Sequence[np.ndarray],
    spectra: Sequence[Array],
    box: tuple[slice, ...],
) -> Iterator[tuple[Array, Array]]:
    spectrum, weights = transform.forward(block), transform.forward(there)
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


class _Plan(NamedTuple):
    """Slabs of planes, and the blocks of a slab that are transformed at a time.

    Attributes:
        step: planes of a slab.
        splits: blocks along y, and along x.
        lengths: points of the transforms.
        needed: bytes.
    """

    step: int
    splits: int
    lengths: Shape
    needed: int

    @property
    def points(self) -> int:
        """Of a transform."""
        return prod(self.lengths)

    def blocks(self, shape: Shape) -> Iterator[tuple[slice, slice]]:
        """Rows and columns of each block of a slab."""
        sides = [-(-n // self.splits) for n in shape[1:]]
        for y in range(0, shape[1], sides[0]):
            for x in range(0, shape[2], sides[1]):
                end = min(y + sides[0], shape[1]), min(x + sides[1], shape[2])
                yield slice(y, end[0]), slice(x, end[1])


def _plan(shape: Shape, half: Sequence[int], kernels: int, memory_budget: int | None) -> _Plan:
    """The plan that transforms the fewest points within the memory.

    Raises:
        ValueError: it is too little for any.
    """
    plans = [
        _planned(shape, half, kernels, step, splits) for splits in SPLITS for step in _steps(shape)
    ]
    least = min(plan.needed for plan in plans)
    budget = max(DEFAULT_BYTES, least) if memory_budget is None else memory_budget
    if least > budget:
        raise ValueError(
            f"memory_budget: a slab of this diameter needs {-(-least // MIB)} MiB "
            f"(got {budget / MIB:.3g} MiB)"
        )
    fitting = [plan for plan in plans if plan.needed <= budget and plan.points <= MOST_POINTS]
    return min(fitting, key=lambda plan: -(-shape[0] // plan.step) * plan.splits**2 * plan.points)


def _planned(shape: Shape, half: Sequence[int], kernels: int, step: int, splits: int) -> _Plan:
    """One of the possible plans.

    Planes beside a slab's, for the maxima, and what kernels take in of those, are read too. Beyond
    the volume's faces there are zeros, which both ends of a block share, as a circle of points is
    filtered.
    """
    core = (step + 2, *(-(-n // splits) for n in shape[1:]))
    z, y, x = (
        _good_length(min(n + 2 * h, whole + h))
        for n, h, whole in zip(core, half, shape, strict=True)
    )
    planes = min(step + 2, shape[0])
    slab = planes * shape[1] * shape[2]
    padded = (planes + 2) * (shape[1] + 2) * (shape[2] + 2)
    maps = slab * (2 * kernels * FLOAT + 1)
    transforms = FLOAT * (ARRAYS + 3 * kernels) * z * y * (x + 2)
    return _Plan(step, splits, (z, y, x), maps + max(transforms, MAXIMA * FLOAT * padded))


def _steps(shape: Shape) -> list[int]:
    """Planes of a slab to choose from: all, a half, a third, and so on to one."""
    return sorted({-(-shape[0] // parts) for parts in range(1, shape[0] + 1)})


def _good_length(least: int) -> int:
    """The next length of factors 2, 3 and 5, which every FFT is fast for."""
    return int(scipy.fft.next_fast_len(least, real=True))
