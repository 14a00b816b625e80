"""Picks from numbered instances: a centroid each, ranked by size."""

import numpy as np

from picket_gpu.particles.picks import Picks


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
