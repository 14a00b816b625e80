"""Padding: regions of one grey value that programs fill a tomogram up with.

Corners that a rotation leaves, strips beside a tilted sample, empty planes. Left in, the blur
carries its edge 4 sigma into the sample, and the two clusters become padding and the rest.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
from scipy import ndimage

from picket_gpu.device.limits import available_threads
from picket_gpu.method.blur import Keep
from picket_gpu.method.grey_values import SAMPLE, median_and_noise, sample_of

LEAST = 0.005  # of the voxels that padding of one value has
VALUES = 4  # different ones, at most
ALL = 0.9  # of what is constant in the volume, that padding has, in regions of some size
REGION = 1000  # voxels of a region of padding
FEW_LEVELS = 64  # grey values
ALIKE = 1e-4  # of the grey range: noise that programs leave in padding
# A rim, as interpolation and tapers leave one, is what differs from the rest by so many standard
# deviations in the median, or has less than so much of their noise.
RIM_SHIFT, RIM_NOISE, WIDEST_RIM = 0.5, 0.7, 16
OUTLYING = 8.0  # standard deviations of single voxels beside it that go too
_CUBE = np.ones((3, 3, 3), dtype=bool)
_PLANES = 8  # that a thread takes at a time, and one more on either side for an erosion
Result = TypeVar("Result")


class Padding(NamedTuple):
    """Where a volume is padding.

    Attributes:
        mask: bool, (z, y, x).
        values: of its voxels, the most frequent first.
        share: of the volume, 0 to 1.
    """

    mask: np.ndarray
    values: tuple[float, ...]
    share: float


def find_padding(voxels: np.ndarray) -> Padding | None:
    """Where neighboring voxels have one grey value over regions that are no accident.

    A region counts where all 3^3 voxels around each of its voxels are alike, and it and others of
    the value cover `LEAST` of the volume. A tomogram with few grey values has constant places too,
    but small ones and of many values: nearly all that is constant must be padding. A rim between
    padding and sample, of grey values that are neither, goes with the padding.

    Args:
        voxels: grey values, (z, y, x), any real type, in host memory.
    """
    with np.errstate(over="ignore"):  # of differences between the largest numbers
        return _find_padding(voxels)


def _find_padding(voxels: np.ndarray) -> Padding | None:
    low, high = np.quantile(sample_of(voxels).astype(np.float64), (0.005, 0.995))
    tolerance = ALIKE * (high - low)
    even = _even_voxels(voxels, tolerance)
    if even is None:
        return None
    mask, found, constant = np.zeros(voxels.shape, dtype=bool), [], 0
    for value in _frequent(even, tolerance):
        inside, count = _inside(voxels, value, tolerance)
        constant += count
        if count >= LEAST * voxels.size:
            found.append((_large_regions(inside), value))
            # Around them only what is as near to the value as they are, which is mostly exact.
            alike = _alike(voxels, value, float(np.abs(voxels[inside] - value).max()))
            mask |= ndimage.binary_dilation(inside, _CUBE, iterations=2, mask=alike)
    if not found or sum(count for count, _ in found) < ALL * constant:
        return None
    if _is_a_step(voxels, mask, [value for _, value in found]):
        return None
    _add_rim(mask, voxels)
    values = tuple(value for _, value in sorted(found, reverse=True))
    return Padding(mask, values, float(np.count_nonzero(mask) / mask.size))


def keep_all_but(excluded: np.ndarray, voxels: np.ndarray) -> Keep:
    """The voxels that count where some are excluded.

    Args:
        excluded: bool, (z, y, x).
        voxels: grey values, (z, y, x), in host memory.
    """
    return Keep(~excluded, median_and_noise(sample_of(voxels)[~sample_of(excluded)])[0])


def grey_limits(
    voxels: np.ndarray, clip: float, excluded: np.ndarray | None = None
) -> tuple[float, float]:
    """Grey values ``clip`` robust standard deviations from the median, on both sides.

    Args:
        voxels: grey values, (z, y, x), in host memory.
        excluded: bool, (z, y, x): voxels that do not count.
    """
    some = sample_of(voxels)
    median, noise = median_and_noise(some if excluded is None else some[~sample_of(excluded)])
    return median - clip * noise, median + clip * noise


def clear_of(mask: np.ndarray, side: int) -> np.ndarray:
    """Centres of the windows that do not touch ``mask``, bool, (z, y, x).

    Args:
        side: window side in voxels.
    """
    touched: np.ndarray = ndimage.maximum_filter(mask, side, mode="constant")
    return ~touched


def _even_voxels(voxels: np.ndarray, tolerance: float) -> np.ndarray | None:
    """Grey values of voxels that are like the next one along x: `SAMPLE` at most, evenly spaced in
    memory order, as float64. None where they are fewer than `LEAST` of the volume.

    They are counted first: all of them would take as much memory as the volume.
    """

    def even(plane: np.ndarray) -> np.ndarray:
        step = plane[:, 1:] - plane[:, :-1]
        np.abs(step, out=step)
        alike: np.ndarray = step <= tolerance
        return alike

    def count(first: int, last: int) -> list[int]:
        return [int(np.count_nonzero(even(plane))) for plane in voxels[first:last]]

    counts = np.concatenate(_by_planes(count, len(voxels)))
    if counts.sum() < LEAST * voxels.size:
        return None
    every = -(-int(counts.sum()) // SAMPLE)
    begins = -(np.cumsum(counts) - counts) % every  # of a plane's, the first that is taken

    def take(first: int, last: int) -> np.ndarray:
        taken = []
        for plane, begin in zip(voxels[first:last], begins[first:last], strict=True):
            places = np.flatnonzero(even(plane))[begin::every]
            taken.append(plane[:, :-1][np.unravel_index(places, plane[:, :-1].shape)])
        return np.concatenate(taken)

    return np.concatenate(_by_planes(take, len(voxels))).astype(np.float64)


def _frequent(even: np.ndarray, tolerance: float) -> list[float]:
    """The most frequent of some grey values, `VALUES` at most; alike ones are one."""
    some = np.sort(even)
    values: list[float] = []
    while len(some) and len(values) < VALUES:
        # The longest run of the sorted values that are alike.
        ends = np.searchsorted(some, some + 2 * tolerance, "right")
        first = int(np.argmax(ends - np.arange(len(some))))
        values.append(float(np.median(some[first : ends[first]])))
        some = some[np.abs(some - values[-1]) > tolerance]
    return values


def _alike(voxels: np.ndarray, value: float, tolerance: float) -> np.ndarray:
    """Where grey values are ``value``, plane by plane for little memory."""
    alike = np.empty(voxels.shape, dtype=bool)
    for z, plane in enumerate(voxels):
        np.less_equal(np.abs(plane - value), tolerance, out=alike[z])
    return alike


def _inside(voxels: np.ndarray, value: float, tolerance: float) -> tuple[np.ndarray, int]:
    """Where all 3^3 voxels around are ``value``, and at how many places; what is beyond the volume
    counts as alike.

    An erosion axis by axis. SciPy's takes three times as long, in one thread.
    """
    depth = len(voxels)
    inside = np.empty(voxels.shape, dtype=bool)

    def erode(first: int, last: int) -> int:
        around = voxels[max(0, first - 1) : last + 1]
        planes = [_erode_plane(np.abs(plane - value) <= tolerance) for plane in around]
        if first == 0:
            planes.insert(0, planes[0])
        if last == depth:
            planes.append(planes[-1])
        for z in range(first, last):
            above, here, below = planes[z - first : z - first + 3]
            np.logical_and(above, here, out=inside[z])
            inside[z] &= below
        return int(np.count_nonzero(inside[first:last]))

    return inside, sum(_by_planes(erode, depth))


def _erode_plane(alike: np.ndarray) -> np.ndarray:
    """Where all 3^2 of a plane around are alike; what is beyond it is."""
    rows = alike.copy()
    rows[1:] &= alike[:-1]
    rows[:-1] &= alike[1:]
    eroded = rows.copy()
    eroded[:, 1:] &= rows[:, :-1]
    eroded[:, :-1] &= rows[:, 1:]
    return eroded


def _by_planes(function: Callable[[int, int], Result], depth: int) -> list[Result]:
    """``function(first, last)`` of blocks of planes, on threads, in order."""

    def work(first: int) -> Result:
        with np.errstate(over="ignore"):  # each thread has its own
            return function(first, min(first + _PLANES, depth))

    with ThreadPoolExecutor(available_threads()) as pool:
        return list(pool.map(work, range(0, depth, _PLANES)))


def _large_regions(inside: np.ndarray) -> int:
    """How many voxels are in connected regions of at least `REGION`."""
    numbered, _ = ndimage.label(inside)
    sizes = np.bincount(numbered.reshape(-1))[1:]
    return int(sizes[sizes >= REGION].sum())


def _is_a_step(voxels: np.ndarray, mask: np.ndarray, values: list[float]) -> bool:
    """Whether regions are steps of a smooth volume with few grey values, as denoised ones saved as
    bytes have: those around them are of the next grey value, while beside padding there is noise.
    """
    levels = np.unique(sample_of(voxels))
    if len(levels) > FEW_LEVELS or len(levels) < 2:
        return False
    step = 1.5 * float(np.diff(levels).min())
    around = voxels[ndimage.binary_dilation(mask, _CUBE) & ~mask]
    if not len(around):
        return True
    nearest = np.min([np.abs(around - value) for value in values], axis=0)
    return bool(np.mean(nearest <= step) > ALL)


def _add_rim(mask: np.ndarray, voxels: np.ndarray) -> None:
    """Add shells of voxels around padding to its mask, while they are unlike the rest."""
    near = ndimage.binary_dilation(mask, iterations=WIDEST_RIM)
    rest = sample_of(voxels)[~sample_of(mask if near.all() else near)]
    if not len(rest):
        return
    middle, noise = median_and_noise(rest)
    for _ in range(WIDEST_RIM):
        shell = ndimage.binary_dilation(mask) & ~mask
        grey = voxels[shell].astype(np.float64)
        if not len(grey):
            return
        grey_middle, grey_noise = median_and_noise(grey)
        if abs(grey_middle - middle) <= RIM_SHIFT * noise and grey_noise >= RIM_NOISE * noise:
            shell &= np.abs(voxels - middle) > OUTLYING * noise  # what an edge cuts in part
            if not shell.any():
                return
        mask |= shell
