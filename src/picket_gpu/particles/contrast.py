"""Particles without scores, where grey values stand out from what is around: `pick_by_contrast`."""

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
    """Pick particles: places where a ball of their size is darker, or brighter, than its shell.

    A candidate's height is the mean over the shell, from the ball's radius to 1.6 of it, minus that
    over the ball (or the other way round), over the same of the highest candidate: 1 stands out
    most, and 0.5 half as much. It says nothing of how much is particle. Near a face the height is
    that times the share of the shell that is inside: means of fewer voxels are higher by chance.

    Args:
        tomogram: (z, y, x) grey values, any real type, blurred as for a segmentation: noise that
            is left makes many small maxima, above which Otsu's threshold is too low.
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
