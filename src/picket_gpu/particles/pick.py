"""Particles where scores are high: `pick`."""

import numpy as np

from picket_gpu.device.backend import Backend
from picket_gpu.device.operations import Array
from picket_gpu.device.select import select_backend
from picket_gpu.particles.ball import VoxelSize, ball
from picket_gpu.particles.maxima import find_runs, join, merge_plateaus
from picket_gpu.particles.means import local_means
from picket_gpu.particles.picks import Picks
from picket_gpu.particles.region import check_inside, region_of
from picket_gpu.particles.selection import Selection, Threshold


def pick(
    scores: Array,
    diameter: float,
    *,
    voxel_size: VoxelSize = (1.0, 1.0, 1.0),
    spacing: float | None = None,
    margin: float = 0.0,
    threshold: Threshold = "auto",
    max_particles: int | None = None,
    inside: Array | None = None,
    backend: Backend | None = None,
    memory_budget: int | None = None,
) -> Picks:
    """Pick particles: places where a ball of their size is full of high scores.

    A candidate's height is the mean score in the ball around it, as far as the ball is inside. It
    is a local maximum of that mean, with nothing higher nearer than ``spacing``.

    Args:
        scores: (z, y, x) float16 or float32 in [0, 1], how sure it is that a voxel is particle, 0
            where there is none; NumPy, or CuPy on a GPU.
        diameter: of a particle, in the units of ``voxel_size``; the outer one of a hollow particle.
        voxel_size: (z, y, x); by default lengths are in voxels.
        spacing: between two candidates, at least; None for 0.675 diameters.
        margin: between a candidate and the faces of the box around all that is inside, at least.
        threshold: height from which candidates are picked, or "auto" for Otsu's of their heights.
        max_particles: picked at most.
        inside: bool, (z, y, x), voxels that have scores: means are over these, and candidates lie
            on them. None for the smallest box that holds all scores above 0.
        backend: None for a GPU where there is one, else the CPU.
        memory_budget: of the device, for what is computed slab by slab; None for 1 GiB, or what a
            large diameter needs.

    Raises:
        ValueError: an argument is out of range.
    """
    selection = Selection(diameter, voxel_size, spacing, margin, threshold, max_particles)
    selection.check_shape(scores.shape)
    if scores.dtype not in (np.float16, np.float32):
        raise ValueError(f"scores: must be float16 or float32 (got {scores.dtype})")
    low, high = float(scores.min()), float(scores.max())
    if not (low >= 0 and high <= 1):
        raise ValueError(f"scores: must be 0 to 1 (got {low:g} to {high:g})")
    check_inside(inside, scores.shape)
    backend = backend or select_backend()
    region = region_of(backend, scores if inside is None else inside)
    scores = scores[region]
    inside = None if inside is None else inside[region]
    with backend.exclusive():
        slabs = local_means(
            backend, scores, inside, [ball(diameter / 2, voxel_size)], memory_budget
        )
        runs = join(find_runs(backend, slab.means[0], slab) for slab in slabs)
    points, heights = selection.candidates(*merge_plateaus(runs, scores.shape), scores.shape)
    points += [part.start for part in region]
    return selection.picks(points, heights)
