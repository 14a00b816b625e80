"""Particles as parts of a label, as in PickET's step 2: connected components, and a watershed that
splits touching particles at the waist between them.

`find_by_labels` has settings in angstrom, `components` and `watershed` have them in voxels.
"""

from collections.abc import Callable
from math import ceil, pi, prod
from typing import cast

import numpy as np
from scipy import ndimage

from picket_gpu.errors import PicketError
from picket_gpu.particles.candidates import Candidates
from picket_gpu.particles.picks import Picks, VoxelSize
from picket_gpu.particles.settings import ParticleSettings

_ROUNDING = 1e-6  # of a voxel


def find_by_labels(
    labels: np.ndarray, settings: ParticleSettings, voxel_size: VoxelSize
) -> Candidates:
    """The components, or the parts of a watershed, of ``settings.label``, where auto is 1.

    Heights are sizes, in those of the largest. So where the threshold is "auto", everything of
    ``least_size`` is picked, and a number is the least share of the largest size.

    Args:
        labels: (z, y, x) integers.
        voxel_size: angstrom, (z, y, x).
    """
    label = 1 if settings.label == "auto" else settings.label
    volume = pi / 6 * settings.least_size**3 / prod(voxel_size)
    least = max(1, ceil(volume - _ROUNDING))
    if settings.method == "components":
        picks = components(labels, label, least_voxels=least)
    else:
        picks = watershed(
            labels,
            label,
            min_distance=min_distance(settings, voxel_size),
            border=round(settings.margin / _side(voxel_size)),
            least_voxels=least,
        )
    count = len(picks.candidates)
    return Candidates(
        picks.candidates,
        np.full(count, settings.ends[1]),
        picks.candidate_heights[None],
        np.zeros(count, np.int8),
        voxel_size,
        label=label,
        floor=picks.threshold,
    )


def min_distance(settings: ParticleSettings, voxel_size: VoxelSize) -> int:
    """Least distance between a watershed's markers, in voxels, at least 1."""
    length = settings.ends[0] / 2 if settings.min_distance is None else settings.min_distance
    return max(1, round(length / _side(voxel_size)))


def _side(voxel_size: VoxelSize) -> float:
    """Of a cube as large as a voxel: PickET's watershed counts voxels along any axis."""
    return float(prod(voxel_size) ** (1 / 3))


def components(
    labels: np.ndarray,
    label: int = 1,
    *,
    least_voxels: int = 1,
    lower: int | None = None,
    upper: int | None = None,
) -> Picks:
    """The centroid of every component of voxels with ``label`` that are joined through faces.

    What ``connected_component_labeling`` of PickET's step 2 computes, before it cuts coordinates
    to whole numbers. Takes 5 bytes a voxel beside ``labels``.

    Args:
        labels: (z, y, x) integers.
        least_voxels: smallest component that is picked; PickET picks single voxels.
        lower: first z-slice to pick in, from 0; None for the first.
        upper: z-slice after the last to pick in; None for the end. PickET counts its upper limit
            in: give that plus 1.

    Returns:
        Picks, the largest component first, equally large ones in the order of their first voxels. A
        height is the component's voxels as a share of the largest component's.

    Raises:
        ValueError: no z-slice is left between the limits.
    """
    slices = z_slices(len(labels), lower, upper)
    numbered, count = ndimage.label(labels[slices] == label)
    return picks_by_size(numbered, count, slices.start, least_voxels)


def watershed(
    labels: np.ndarray,
    label: int = 1,
    *,
    min_distance: int,
    border: int = 0,
    least_voxels: int = 1,
    lower: int | None = None,
    upper: int | None = None,
) -> Picks:
    """The centroids of a label's parts around the points that lie deepest in it.

    Voxels whose distance from the nearest voxel without the label is largest in the cube of
    ``2 * min_distance + 1`` voxels around them become markers, the deepest first, at least
    ``min_distance`` apart along one axis. From these the label is flooded by distance. Parts that
    no marker reaches are lost. With ``border=min_distance`` this is what ``watershed_segmentation``
    of PickET's step 2 computes, before it cuts coordinates to whole numbers.

    A limit in z counts as the label's end, so that depth falls towards it; a face of the volume
    does not. The flood is scikit-image's (P. Soille, Signal Processing 20, 171-182, 1990). Takes
    some 35 bytes a voxel between the limits.

    Args:
        labels: (z, y, x) integers.
        min_distance: voxels, at least 1.
        border: markers nearer than this many voxels to a face of the volume are dropped.
        least_voxels: smallest part that is picked.
        lower: first z-slice to pick in, from 0; None for the first.
        upper: z-slice after the last to pick in; None for the end. PickET counts its upper limit
            in: give that plus 1.

    Returns:
        Picks, the largest part first, equally large ones in the order of their markers. A height is
        the part's voxels as a share of the largest part's. None where every voxel has the label.

    Raises:
        ValueError: no z-slice is left between the limits, or ``min_distance`` is below 1.
        PicketError: scikit-image is not installed.
    """
    if min_distance < 1:
        raise ValueError(f"min_distance must be 1 or more (got {min_distance})")
    flood = _flood()
    min_distance = min(min_distance, max(labels.shape))  # farther is the same
    slices = z_slices(len(labels), lower, upper)
    first = max(slices.start - 1, 0)  # with the slices next to the limits
    mask = labels[first : slices.stop + 1] == label
    mask[: slices.start - first] = False
    mask[slices.stop - first :] = False
    depth = _squared_depth(mask)
    deepest = _deepest(depth, min_distance, border, first, len(labels))
    markers, count = ndimage.label(_apart(deepest, depth, min_distance))
    np.negative(depth, out=depth)
    return picks_by_size(flood(depth, markers, mask=mask), count, first, least_voxels)


def _flood() -> Callable[..., np.ndarray]:
    try:
        from skimage.segmentation import watershed as flood
    except ImportError:
        raise PicketError(
            "method watershed needs scikit-image; pip install -e '.[watershed]'"
        ) from None
    return cast("Callable[..., np.ndarray]", flood)


def _squared_depth(mask: np.ndarray) -> np.ndarray:
    """Squared Euclidean distance to the nearest voxel outside ``mask``, int32, (z, y, x).

    Integers, since their order is that of the distances. 0 everywhere if there is no such voxel.
    """
    depth = np.zeros(mask.shape, dtype=np.int32)
    if mask.all():
        return depth
    nearest = ndimage.distance_transform_edt(mask, return_distances=False, return_indices=True)
    y, x = np.ogrid[: mask.shape[1], : mask.shape[2]]
    for z, plane in enumerate(depth):  # little memory
        plane[...] = (nearest[0, z] - z) ** 2 + (nearest[1, z] - y) ** 2 + (nearest[2, z] - x) ** 2
    return depth


def _deepest(depth: np.ndarray, reach: int, border: int, first: int, slices: int) -> np.ndarray:
    """Voxels deepest in the cube of ``2 * reach + 1`` around them, bool, (z, y, x).

    Args:
        depth: of the z-slices of the volume from ``first``; the volume has ``slices``.
        border: voxels nearer to a face of the volume are none.
    """
    deepest = depth == ndimage.maximum_filter(depth, size=2 * reach + 1, mode="nearest")
    deepest &= depth > 0
    z = np.arange(first, first + len(depth))
    deepest[(z < border) | (z >= slices - border)] = False
    for axis in (1, 2):
        plane = np.moveaxis(deepest, axis, 0)
        plane[:border] = False
        plane[max(len(plane) - border, 0) :] = False
    return np.asarray(deepest)


def _apart(candidates: np.ndarray, depth: np.ndarray, distance: int) -> np.ndarray:
    """Candidates that have no deeper one nearer than ``distance`` along all axes, bool, (z, y, x).

    Greedily, the deepest first, equally deep ones in raster order. At a distance of 1, all.
    """
    places = np.argwhere(candidates)
    order = np.argsort(-depth[candidates], kind="stable")
    kept, taken = np.zeros_like(candidates), np.zeros_like(candidates)
    for z, y, x in places[order].tolist():
        if not taken[z, y, x]:
            kept[z, y, x] = True
            box = (slice(max(at - distance + 1, 0), at + distance) for at in (z, y, x))
            taken[tuple(box)] = True
    return kept


def z_slices(depth: int, lower: int | None, upper: int | None) -> slice:
    """The slices of a volume from ``lower`` up to, not including, ``upper``.

    Args:
        depth: slices of the volume.
        lower: from 0; None for the first.
        upper: None for the end; beyond the volume is the end too.

    Raises:
        ValueError: no slice is left.
    """
    first, end = lower or 0, depth if upper is None else upper
    if not 0 <= first < min(end, depth):
        raise ValueError(
            f"z-slices {first} to {end} lie outside the volume of {depth}; change the limits"
        )
    return slice(first, min(end, depth))


def picks_by_size(instances: np.ndarray, count: int, first: int, least_voxels: int) -> Picks:
    """The centroids of instances, the largest first, equally large ones by number.

    A height is an instance's voxels as a share of the largest instance's, in (0, 1]. The threshold
    is ``least_voxels`` on the same scale, so it is above 1 where no instance is large enough.

    Args:
        instances: (z, y, x) integers: 1 to ``count``, each in at least one voxel, and 0 elsewhere.
        first: z of the first slice of ``instances`` in the volume, voxels.
        least_voxels: of an instance that is picked.
    """
    if not count:
        return Picks(np.empty((0, 3)), np.empty(0), 0.0, 0)
    sizes, *sums = _sums(instances, count)
    centroids = np.stack([sums[0] + first * sizes, *sums[1:]], axis=1) / sizes[:, None]
    order = np.argsort(-sizes, kind="stable")
    largest = sizes[order[0]]
    return Picks(
        candidates=centroids[order],
        candidate_heights=sizes[order] / largest,
        threshold=float(least_voxels / largest),
        count=int(np.count_nonzero(sizes >= least_voxels)),
    )


def _sums(instances: np.ndarray, count: int) -> np.ndarray:
    """Of each instance the voxels and the sums of their z, y and x, (4, count) int64."""
    sums = np.zeros((4, count), dtype=np.int64)
    for z, plane in enumerate(instances):  # little memory
        y, x = np.nonzero(plane)
        numbers = plane[y, x] - 1
        np.add.at(sums[0], numbers, 1)
        np.add.at(sums[1], numbers, z)
        np.add.at(sums[2], numbers, y)
        np.add.at(sums[3], numbers, x)
    return sums
