"""Where a ball of a particle's size stands out from the shell around it.

In scores: `picket_gpu.particles.by_score.pick`. In grey values, without a segmentation:
`pick_by_contrast`.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite, prod

import numpy as np

from picket_gpu.device.backend import Backend
from picket_gpu.device.operations import Array
from picket_gpu.device.select import select_backend
from picket_gpu.particles.ball import VoxelSize, ball, shell
from picket_gpu.particles.maxima import STEP, Runs, find_runs, join, merge_plateaus
from picket_gpu.particles.means import local_means
from picket_gpu.particles.picks import Picks
from picket_gpu.particles.region import check_inside, mean_and_deviation, region_of
from picket_gpu.particles.selection import Selection, Threshold

OUTER = 1.6  # radius of the shell, in those of the ball
REACH = 1.0  # voxels that a blur of sigma 2 moves the edges of dense particles outward, measured


def pick_by_contrast(
    tomogram: Array,
    diameter: float,
    *,
    dark: bool | None = None,
    voxel_size: VoxelSize = (1.0, 1.0, 1.0),
    spacing: float | None = None,
    margin: float = 0.0,
    threshold: Threshold = "auto",
    max_particles: int | None = None,
    inside: Array | None = None,
    backend: Backend | None = None,
    memory_budget: int | None = None,
) -> Picks:
    """Pick particles: places where a ball of their size is darker, or brighter, than its shell.

    A candidate's height is that of `contrast_maxima` over the height of the highest candidate: 1
    stands out most, and 0.5 half as much. It says nothing of how much is particle.

    Args:
        tomogram: (z, y, x) grey values, any real type, blurred by a Gaussian of 2 voxels as for a
            segmentation: noise that is left makes many small maxima, above which Otsu's threshold
            is too low.
        dark: whether particles are darker; None for what stands out more: the contrast whose
            candidates' heights have the larger sum of cubes.
        inside: bool, (z, y, x), voxels that count; None for all.

    The other arguments are those of `pick`.

    Raises:
        ValueError: an argument is out of range.
    """
    selection = Selection(diameter, voxel_size, spacing, margin, threshold, max_particles)
    selection.check_shape(tomogram.shape)
    check_inside(inside, tomogram.shape)
    backend = backend or select_backend()
    corner = [0, 0, 0]
    if inside is not None:
        region = region_of(backend, inside)
        corner = [part.start for part in region]
        tomogram, inside = tomogram[region], inside[region]
    mean, deviation = mean_and_deviation(tomogram, inside)
    if not isfinite(deviation):
        raise ValueError("tomogram: must be finite (got NaN or infinity)")
    signs = {True: [-1], False: [1], None: [-1, 1]}[dark]
    factors = [sign / deviation for sign in signs]
    found = contrast_maxima(
        backend, tomogram, inside, selection, REACH, factors, memory_budget, mean
    )
    _, points, heights = strongest(selection, dict(zip(signs, found, strict=True)), tomogram)
    points += corner
    return selection.picks(points, heights / heights.max(initial=STEP))


def strongest(
    selection: Selection, found: Mapping[int, Runs], values: Array
) -> tuple[int, np.ndarray, np.ndarray]:
    """Candidates among the maxima of the sign, or label, that stands out most, the first of equals.

    Returns:
        That key, points (m, 3) and heights (m,), the heights with the largest sum of cubes.
    """
    candidates = {
        key: selection.candidates(*merge_plateaus(runs, values.shape), values.shape)
        for key, runs in found.items()
    }
    key = max(candidates, key=lambda key: float(np.sum(candidates[key][1] ** 3)))
    return key, *candidates[key]


def contrast_maxima(
    backend: Backend,
    values: Array,
    inside: Array | None,
    selection: Selection,
    reach: float,
    factors: Sequence[float],
    memory_budget: int | None = None,
    offset: float = 0.0,
) -> Iterator[Runs]:
    """For each factor the maxima of: factor x share x (mean over a ball - mean over its shell).

    The ball is wider than a particle by ``reach`` on all sides, as what is seen of it is. Its
    weights fall from 1 at the particle's radius to 0 at twice the reach beyond; its shell ends at
    1.6 of its radius. Means are over what is inside; the share is that of the ball that is, since
    means of fewer voxels are higher by chance.

    Args:
        values: (z, y, x), any real type, on the host or the device.
        inside: bool, (z, y, x), likewise; None for all.
        selection: has the diameter and the size of a voxel.
        reach: voxels, at least half a one.
        offset: subtracted from the values first, for exact sums.

    Raises:
        ValueError: ``memory_budget`` is too little.
    """
    size, edge = selection.voxel_size, 2 * reach
    radius = selection.radius + reach * prod(size) ** (1 / 3)
    kernels = [ball(radius, size, edge), shell(radius, OUTER * radius, size, edge)]
    found: list[list[Runs]] = [[] for _ in factors]
    with backend.exclusive():
        for slab in local_means(backend, values, inside, kernels, memory_budget, offset):
            contrast = (slab.means[0] - slab.means[1]) * slab.shares[0]
            for runs, factor in zip(found, factors, strict=True):
                runs.append(find_runs(backend, contrast * np.float32(factor), slab))
    return map(join, found)
