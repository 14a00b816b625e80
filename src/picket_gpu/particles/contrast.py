"""Heights: how far a ball of a particle's size stands out from the shell around it.

Means over balls and shells are products in Fourier space, which take as long for any radius, in
blocks that overlap by as much as the shell reaches. `Contrast` is such a map of one source.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil, prod
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import scipy.fft
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from picket_gpu.device.backend import MIB, Backend
from picket_gpu.device.operations import Array, Box, Shape
from picket_gpu.particles.picks import VoxelSize

OUTER = 1.6  # radius of the shell, in those of the ball
# Heights are multiples of this: well above the rounding of an FFT, so that a plateau is one, and
# what is 0 is 0; well below what heights tell.
STEP = 2.0**-16
DEFAULT_BYTES = 1024 * MIB
MOST_POINTS = 2**31 - 1  # of a device array: beyond, several of CuPy's functions err silently
# Float32 arrays as large as a block's transform: of both kernels together, and of a block where
# all voxels are inside and where some are not.
OF_KERNELS, OF_BLOCK, OF_BLOCK_WITH_MASK = 2, 7, 9
PARTS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 48, 64)  # into which an axis can be cut
FFT_SHARE = 0.6  # of a block's time, which several threads can share
SLIGHT = np.float32(1e-6)  # weight that is no voxel's

Candidates: TypeAlias = tuple[np.ndarray, np.ndarray]  # points (m, 3) and heights (m,), float64
_Maxima: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray]  # of a block
Result = TypeVar("Result")


@dataclass(frozen=True)
class Contrast:
    """The heights of one source for one diameter: share x (mean over a ball - mean over its shell).

    The ball is wider than a particle by ``reach`` on all sides, as what is seen of it is. Its
    weights fall from 1 at the particle's radius to 0 at twice the reach beyond; its shell ends at
    1.6 of its radius. Means are over what is inside; the share is that of the ball that is, since
    means of fewer voxels are higher by chance.

    Attributes:
        backend: device to compute on.
        values: (z, y, x), bool or any real type, on the host or the device.
        inside: bool, (z, y, x), likewise, voxels that count; None for all.
        diameter: particle diameter, in the units of ``voxel_size``.
        voxel_size: (z, y, x).
        reach: voxels, at least half a one.
        offset, scale: heights are those of ``(values - offset) * scale``.
        memory_budget: bytes for arrays on the device beside these; None for 1 GiB, or as many as
            are needed.
    """

    backend: Backend
    values: Array
    inside: Array | None
    diameter: float
    voxel_size: VoxelSize = (1.0, 1.0, 1.0)
    reach: float = 2.0
    offset: float = 0.0
    scale: float = 1.0
    memory_budget: int | None = None

    def maxima(self, signs: Sequence[int] = (1,)) -> list[Candidates]:
        """Voxels inside, of a height above 0 and not below any of the 26 around them.

        Maxima that touch by faces count once, by the one nearest to their middle. Points are
        between voxels, at the top of a parabola along each axis.

        Args:
            signs: 1, and -1 for the maxima of the negative heights.

        Returns:
            For each sign points, (z, y, x) in voxels, and heights.

        Raises:
            ValueError: ``memory_budget`` is too little.
        """
        return self.maxima_and_at(signs, np.empty((0, 3)))[0]

    def at(self, points: np.ndarray) -> np.ndarray:
        """Heights of the voxels nearest to ``points``, (m,) float64; 0 where these do not count.

        Args:
            points: (m, 3), (z, y, x) in voxels.

        Raises:
            ValueError: ``memory_budget`` is too little.
        """
        return self.maxima_and_at((), points)[1]

    def maxima_and_at(
        self, signs: Sequence[int], points: np.ndarray
    ) -> tuple[list[Candidates], np.ndarray]:
        """What `maxima` and `at` return, in the time of one of them."""
        if 0 in self.values.shape:
            return [(np.empty((0, 3)), np.empty(0)) for _ in signs], np.zeros(len(points))
        voxels = np.rint(points).astype(np.int64)
        result = np.zeros(len(points))

        def work(start: np.ndarray, heights: Array) -> tuple[list[_Maxima], np.ndarray, np.ndarray]:
            found = [
                _find_maxima(self.backend, start, heights if sign > 0 else -heights)
                for sign in signs
            ]
            local = voxels - start + 1
            mine = ((local > 0) & (local < np.array(heights.shape) - 1)).all(axis=1)
            places = np.ravel_multi_index(tuple(local[mine].T), heights.shape)
            return found, mine, _take(self.backend, heights, places)

        blocks = []
        for found, mine, heights in self._blocks(work):
            blocks.append(found)
            result[mine] = np.nan_to_num(heights)
        shape = self.values.shape
        return [merge_plateaus(of_sign, shape) for of_sign in zip(*blocks, strict=True)], result

    def _blocks(self, function: Callable[[np.ndarray, Array], Result]) -> Iterator[Result]:
        """``function`` of each block: of its first voxel, (3,) int64, and the heights of it and a
        voxel more around it: NaN where that is not inside, or beyond the volume."""
        backend, shape = self.backend, self.values.shape
        radius = self.diameter / 2 + self.reach * prod(self.voxel_size) ** (1 / 3)
        kernels = [
            _cropped(one, shape) for one in ball_and_shell(radius, self.voxel_size, 2 * self.reach)
        ]
        half = [side // 2 for side in kernels[0].shape]
        arrays = OF_BLOCK if self.inside is None else OF_BLOCK_WITH_MASK
        plan = plan_blocks(shape, half, arrays, backend.workers, self.memory_budget)
        transform = _Transform(backend.fft, plan.lengths)

        def work(start: np.ndarray, _: Any = None) -> Result:
            with scipy.fft.set_workers(backend.workers // plan.at_once):  # not CuPy's
                heights = self._heights(start, plan, transform, filters)
            return function(start, heights)

        starts = [range(0, n, side) for n, side in zip(shape, plan.sides, strict=True)]
        blocks = map(np.array, product(*starts))
        with backend.exclusive():
            filters = [_Filter.of(backend, transform, kernel) for kernel in kernels]
            yield from map(work, blocks) if plan.at_once == 1 else backend.map(work, blocks)
            backend.release()

    def _heights(
        self,
        start: np.ndarray,
        plan: "Blocks",
        transform: "_Transform",
        filters: Sequence["_Filter"],
    ) -> Array:
        backend, shape = self.backend, np.array(self.values.shape)
        xp, half = backend.xp, filters[0].half
        stop = np.minimum(start + plan.sides, shape)
        # Voxels with heights, and those that these depend on.
        first, last = np.maximum(start - 1, 0), np.minimum(stop + 1, shape)
        low, high = np.maximum(first - half, 0), np.minimum(last + half, shape)
        around, box = _box(low, high), _box(first - low, last - low)
        block = backend.upload(self.values[around]).astype("float32")
        block -= np.float32(self.offset)
        block *= np.float32(self.scale)
        there = None if self.inside is None else backend.upload(self.inside[around])
        if there is None or bool(there.all()):
            there = None
            of_ball, of_shell = (one.share(xp, first, last, shape) for one in filters)
        else:
            block *= there
            weights = transform.forward(there.astype("float32"))
            of_ball, of_shell = (transform.inverse(weights * f.spectrum, box) for f in filters)
            del weights
        of_ball /= xp.maximum(of_shell, SLIGHT)
        del of_shell
        spectrum = transform.forward(block)
        del block
        of_ball *= transform.inverse(spectrum * filters[1].spectrum, box)
        spectrum *= filters[0].spectrum
        heights = transform.inverse(spectrum, box) - of_ball
        del spectrum, of_ball
        heights *= np.float32(1 / STEP)
        heights = xp.rint(heights) * np.float32(STEP)
        if there is not None:
            heights = xp.where(there[box], heights, np.float32(np.nan))
        out = xp.full((stop - start + 2).tolist(), np.nan, dtype="float32")
        out[_box(first - start + 1, last - start + 1)] = heights
        return out


def ball_and_shell(
    radius: float, voxel_size: VoxelSize, edge: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Weights of a ball around the middle voxel, and of its shell: what the ball of 1.6 of its
    radius has beyond it.

    Weights of a ball fall linearly from 1 to 0 over ``edge`` voxels, of which the radius is the
    middle; those of the shell so at its inner edge, and over one voxel at its outer one. On
    anisotropic voxels one voxel is what the way from the centre through a voxel takes for one step
    of the grid, so the edge is as soft along each axis.

    Args:
        radius: in the units of ``voxel_size``.
        voxel_size: (z, y, x).
        edge: width of the ball's edge, voxels.

    Returns:
        Both (z, y, x) float32 of odd sides, as few as hold all weights above 0. Each sums to 1.
    """
    reach = [max(radius / s + edge / 2, OUTER * radius / s + 0.5) for s in voxel_size]
    half = [ceil(voxels) - 1 for voxels in reach]
    steps = np.meshgrid(*(np.arange(-h, h + 1.0) for h in half), indexing="ij")
    in_voxels = np.sqrt(sum(step**2 for step in steps))
    distance = np.sqrt(sum((step * s) ** 2 for step, s in zip(steps, voxel_size, strict=True)))
    in_voxels[tuple(half)] = np.inf  # the centre: 1, not 0 of 0
    distance[tuple(half)] = 1e-9 * min(voxel_size)
    ball = np.clip((radius / distance - 1) * in_voxels / edge + 0.5, 0, 1)
    whole = np.clip((OUTER * radius / distance - 1) * in_voxels + 0.5, 0, 1)
    shell = np.maximum(whole - ball, 0)
    return (ball / ball.sum()).astype(np.float32), (shell / shell.sum()).astype(np.float32)


def _cropped(kernel: np.ndarray, shape: Shape) -> np.ndarray:
    """Without what is beyond a volume of ``shape`` wherever the middle is in it."""
    cut = [max(side // 2 - n + 1, 0) for side, n in zip(kernel.shape, shape, strict=True)]
    return kernel[tuple(slice(c, side - c) for c, side in zip(cut, kernel.shape, strict=True))]


class Blocks(NamedTuple):
    """Blocks that a volume is cut into.

    Attributes:
        sides: voxels along (z, y, x); those at the ends have fewer.
        lengths: points of the transform of a block with its margins.
        at_once: how many are computed at the same time.
    """

    sides: Shape
    lengths: Shape
    at_once: int


def plan_blocks(
    shape: Shape, half: Sequence[int], arrays: int, workers: int, memory_budget: int | None
) -> Blocks:
    """The blocks that take the least time within the memory.

    They are one after the other, each by all threads, or one for each thread, which takes more
    memory or larger margins.

    Args:
        half: voxels that kernels reach along (z, y, x).
        arrays: float32 arrays that a block takes, each as large as its transform.
        workers: threads.
        memory_budget: bytes; None for 1 GiB, or as many as are needed.

    Raises:
        ValueError: ``memory_budget`` is too little.
    """

    def memory(plan: Blocks) -> int:
        z, y, x = plan.lengths
        return 4 * z * y * (x + 2) * (OF_KERNELS + arrays * plan.at_once)

    def time(plan: Blocks) -> float:
        blocks = prod(-(-n // side) for n, side in zip(shape, plan.sides, strict=True))
        speed_up = 1 / (FFT_SHARE * plan.at_once / workers + 1 - FFT_SHARE)
        return prod(plan.lengths) * ceil(blocks / plan.at_once) / speed_up

    plans = []
    for axes in product(*map(_divisions, shape, half)):
        sides, lengths = zip(*axes, strict=True)
        plans += [Blocks(sides, lengths, at_once) for at_once in {1, workers}]
    least = min(map(memory, plans))
    budget = max(DEFAULT_BYTES, least) if memory_budget is None else memory_budget
    if least > budget:
        raise ValueError(
            f"memory_budget: picking with this diameter needs {-(-least // MIB)} MiB "
            f"(got {budget / MIB:.3g} MiB)"
        )
    fit = [plan for plan in plans if memory(plan) <= budget and prod(plan.lengths) <= MOST_POINTS]
    return min(fit, key=time)


def _divisions(n: int, half: int) -> list[tuple[int, int]]:
    """Sides of blocks to choose from along an axis of ``n`` voxels, and points of transforms.

    A block is read with the voxels beside it and what kernels take in of those. Beyond the faces
    there are zeros, which both ends of a block share, as a circle of points is filtered. A block
    has at least half of what kernels reach, as margins would be nearly all of a smaller one.
    """
    sides = {min(n, max(-(-n // parts), half // 2)) for parts in PARTS}
    lengths = [
        scipy.fft.next_fast_len(min(side + 2 + 2 * half, n + half), real=True) for side in sides
    ]
    return list(zip(sides, lengths, strict=True))


def _box(start: np.ndarray, stop: np.ndarray) -> Box:
    z, y, x = map(slice, start.tolist(), stop.tolist())
    return z, y, x


class _Transform(NamedTuple):
    """Real FFTs of blocks padded by zeros, axis by axis: rows of nothing but padding are left out,
    and what is not wanted is not transformed back."""

    fft: Any
    lengths: Shape

    def forward(self, block: Array) -> Array:
        """The spectrum of a block that begins with the first point."""
        z, y, x = self.lengths
        spectrum = self.fft.rfft(block, n=x, axis=2)
        spectrum = self.fft.fft(spectrum, n=y, axis=1, overwrite_x=True)
        return self.fft.fft(spectrum, n=z, axis=0, overwrite_x=True)

    def inverse(self, spectrum: Array, box: Box) -> Array:
        """The points in ``box``. Overwrites the spectrum."""
        part = self.fft.ifft(spectrum, axis=0, overwrite_x=True)[box[0]]
        part = self.fft.ifft(part, axis=1)[:, box[1]]
        return self.fft.irfft(part, n=self.lengths[2], axis=2)[:, :, box[2]]


class _Filter(NamedTuple):
    """A kernel on the device.

    Attributes:
        half: voxels that it reaches along (z, y, x).
        spectrum: float32: that of a symmetric kernel is real.
        sums: of its weights before each voxel, along all axes, float32.
    """

    half: np.ndarray
    spectrum: Array
    sums: Array

    @classmethod
    def of(cls, backend: Backend, transform: _Transform, kernel: np.ndarray) -> "_Filter":
        half = np.array(kernel.shape) // 2
        padding = [(0, n - side) for n, side in zip(transform.lengths, kernel.shape, strict=True)]
        middle_first = np.roll(np.pad(kernel, padding), -half, axis=(0, 1, 2))
        spectrum = transform.forward(backend.upload(middle_first)).real.copy()
        sums = np.pad(kernel.astype(np.float64), (1, 0))
        for axis in range(3):
            sums = sums.cumsum(axis=axis)
        return cls(half, spectrum, backend.upload(sums.astype(np.float32)))

    def share(self, xp: Any, start: np.ndarray, stop: np.ndarray, shape: np.ndarray) -> Array:
        """The share of the weights around each voxel of a box that is in a volume of ``shape``."""
        share = self.sums
        for axis in range(3):
            half, n = int(self.half[axis]), int(shape[axis])
            at = xp.arange(int(start[axis]), int(stop[axis]))
            before, end = xp.maximum(half - at, 0), xp.minimum(half + n - at, 2 * half + 1)
            share = xp.take(share, end, axis=axis) - xp.take(share, before, axis=axis)
        return share


def _find_maxima(backend: Backend, start: np.ndarray, heights: Array) -> _Maxima:
    """Voxels of a block, (n, 3) int64, heights (n,), and shifts to the tops of parabolas (n, 3).

    Args:
        start: first voxel of the block.
        heights: with a voxel more around it.
    """
    xp = backend.xp
    middle, highest = heights[1:-1, 1:-1, 1:-1], heights
    for axis in range(3):
        across = xp.moveaxis(highest, axis, 0)
        across = xp.fmax(xp.fmax(across[:-2], across[1:-1]), across[2:])  # of numbers, not NaN
        highest = xp.moveaxis(across, 0, axis)
    top = backend.download(xp.flatnonzero((middle == highest) & (middle > 0)))
    voxels = np.stack(np.unravel_index(top, middle.shape), axis=1)
    places = np.ravel_multi_index(tuple(voxels.T + 1), heights.shape)
    height = _take(backend, heights, places)
    shifts = []
    for stride in (heights.shape[1] * heights.shape[2], heights.shape[2], 1):
        left = height - _take(backend, heights, places - stride)
        right = height - _take(backend, heights, places + stride)
        curvature = left + right  # 0 or more; NaN where a neighbor has no height
        shifts.append(
            np.divide(left - right, 2 * curvature, np.zeros_like(left), where=curvature > 0)
        )
    return voxels + start, height, np.stack(shifts, axis=1)


def _take(backend: Backend, heights: Array, places: np.ndarray) -> np.ndarray:
    """Heights at places of the flat array, on the host, float64."""
    return backend.download(heights.reshape(-1)[backend.upload(places)]).astype(np.float64)


def merge_plateaus(blocks: Iterable[_Maxima], shape: Shape) -> Candidates:
    """One candidate for all maxima that touch by faces: that nearest to their middle."""
    voxels, heights, shifts = map(np.concatenate, zip(*blocks, strict=True))
    n = len(heights)
    strides = (shape[1] + 1) * (shape[2] + 1), shape[2] + 1, 1  # ends of rows do not touch
    place = voxels @ np.array(strides)
    order = np.argsort(place)
    place, points, heights = place[order], (voxels + shifts)[order], heights[order]
    pairs = []
    for stride in strides:
        after = np.minimum(np.searchsorted(place, place + stride), n - 1)
        touching = np.flatnonzero(place[after] == place + stride)
        pairs.append((touching, after[touching]))
    ones, others = np.concatenate(pairs, axis=1)
    links = coo_array((np.ones(len(ones), dtype=bool), (ones, others)), shape=(n, n))
    count, plateau = connected_components(links, directed=False)
    sums = [np.bincount(plateau, points[:, axis], count) for axis in range(3)]
    middle = np.stack(sums, axis=1) / np.bincount(plateau, minlength=count)[:, None]
    distance = np.sum((points - middle[plateau]) ** 2, axis=1)
    nearest = np.lexsort((distance, plateau))
    chosen = nearest[np.unique(plateau[nearest], return_index=True)[1]]
    return points[chosen], heights[chosen]
