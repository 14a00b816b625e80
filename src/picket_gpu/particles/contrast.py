"""Picking of particles from grey values, without scores: `pick_by_contrast`."""

from collections.abc import Iterable, Iterator, Sequence
from math import isfinite

import numpy as np

from picket_gpu.device.backend import Backend
from picket_gpu.device.operations import Array
from picket_gpu.device.select import select_backend
from picket_gpu.particles.ball import VoxelSize, ball, shell
from picket_gpu.particles.maxima import STEP, Runs, find_runs, join, merge_plateaus
from picket_gpu.particles.means import MeansOfSlab, local_means
from picket_gpu.particles.picks import Picks
from picket_gpu.particles.region import check_inside, mean_and_deviation, region_of
from picket_gpu.particles.selection import Selection, Threshold

OUTER = 1.6  # radius of the shell, in those of the ball


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
    """Pick particles where a ball of their size is darker, or brighter, than the shell around it.

    The shell reaches from the ball's radius to 1.6 radii. The height of a candidate is the
    difference between the two means, divided by that of the highest candidate: 1 stands out most,
    0.5 half as much. It does not measure how much of the ball is particle. Near a face the
    difference is multiplied by the fraction of the shell that lies inside, because means of few
    voxels are larger by chance.

    Args:
        tomogram: (z, y, x) grey values, any real type, blurred as for a segmentation: in a noisy
            tomogram many small maxima make Otsu's threshold too low.
        dark: whether particles are darker than their surroundings; default: the contrast whose
            candidates' heights have the larger sum of cubes.
        inside: bool, (z, y, x), voxels to use; default: all.

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
    kernels = [
        ball(selection.radius, voxel_size),
        shell(selection.radius, OUTER * selection.radius, voxel_size),
    ]
    signs = {True: [-1], False: [1], None: [-1, 1]}[dark]
    with backend.exclusive():
        slabs = local_means(backend, tomogram, inside, kernels, memory_budget, mean)
        found = _runs(backend, slabs, signs, deviation)
    points, heights = max(
        (
            selection.candidates(*merge_plateaus(runs, tomogram.shape), tomogram.shape)
            for runs in found
        ),
        key=lambda candidates: float(np.sum(candidates[1] ** 3)),
    )
    points += corner
    return selection.picks(points, heights / heights.max(initial=STEP))


def _runs(
    backend: Backend, slabs: Iterable[MeansOfSlab], signs: Sequence[int], deviation: float
) -> Iterator[Runs]:
    """Maxima of the contrast of each sign, in standard deviations of the tomogram."""
    found: list[list[Runs]] = [[] for _ in signs]
    for slab in slabs:
        contrast = (slab.means[0] - slab.means[1]) * slab.shares[1] / np.float32(deviation)
        for runs, sign in zip(found, signs, strict=True):
            runs.append(find_runs(backend, contrast * np.float32(sign), slab))
    return map(join, found)
