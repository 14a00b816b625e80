"""Padding: regions of one grey value that programs fill a tomogram up with.

Corners that a rotation leaves, strips beside a tilted sample, empty planes. Left in, the blur
carries its edge 4 sigma into the sample, and the two clusters become padding and the rest.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

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
    if len(even) < LEAST * voxels.size:
        return None
    mask, found, constant = np.zeros(voxels.shape, dtype=bool), [], 0
    for value in _frequent(even, tolerance):
        alike = _alike(voxels, value, tolerance)
        inside = ndimage.binary_erosion(alike, _CUBE, border_value=1)
        count = int(np.count_nonzero(inside))
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


def _even_voxels(voxels: np.ndarray, tolerance: float) -> np.ndarray:
    """Grey values of voxels that are like the next one along x."""
    found = []
    for plane in voxels:
        left = plane[:, :-1]
        found.append(left[np.abs(plane[:, 1:] - left) <= tolerance])
    return np.concatenate(found)


def _frequent(even: np.ndarray, tolerance: float) -> list[float]:
    """The most frequent of some grey values, `VALUES` at most; alike ones are one."""
    some = np.sort(even[:: -(-len(even) // SAMPLE)].astype(np.float64))
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
