"""Picking of particles from scores: `pick`."""

from dataclasses import replace

import numpy as np

from picket_gpu.device.backend import Backend
from picket_gpu.device.operations import Array
from picket_gpu.device.select import select_backend
from picket_gpu.particles.ball import VoxelSize
from picket_gpu.particles.by_contrast import contrast_maxima, strongest
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
    label: int | None = 1,
    reach: float = 2.0,
    inside: Array | None = None,
    backend: Backend | None = None,
    memory_budget: int | None = None,
) -> Picks:
    """Pick particles where scores in a ball of their size are higher than around it.

    Candidates are local maxima of the height, no two closer than ``spacing``. The height is the
    mean score in the ball less that in the shell around it, at most 1: see `contrast_maxima`.

    Args:
        scores: (z, y, x) float16 or float32, how certain it is that a voxel is particle, 0 to 1; 0
            for unlabelled voxels; NumPy, or CuPy on a GPU.
        diameter: particle diameter, in the units of ``voxel_size``; for a hollow particle the outer
            diameter.
        voxel_size: (z, y, x) voxel size; default: 1, so that lengths are in voxels.
        spacing: least distance between two candidates; default: 0.8 diameters.
        margin: least distance between a candidate and the faces of the box around ``inside``.
        threshold: least height of a candidate that is picked, 0 to 1, or "auto" for Otsu's
            threshold of all heights.
        max_particles: greatest number of particles, those of greatest height; default: no limit.
        label: 1 for particles where scores are high, 0 where they are low, None for what stands
            out more: the label whose candidates' heights have the larger sum of cubes.
        reach: voxels by which scores are high beyond a particle: half a neighborhood, 2 for one of
            5 voxels.
        inside: bool, (z, y, x), voxels that have scores: means are taken over these voxels, and
            candidates lie on them; default: the smallest box with all scores above 0.
        backend: device to compute on; default: a GPU if there is one, else the CPU.
        memory_budget: device memory for the slabs, in bytes; default: 1 GiB, or more if a large
            diameter needs it.

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
    signs = {1: {1: 1.0}, 0: {0: -1.0}, None: {1: 1.0, 0: -1.0}}[label]
    found = contrast_maxima(
        backend, scores, inside, selection, reach, list(signs.values()), memory_budget
    )
    chosen, points, heights = strongest(selection, dict(zip(signs, found, strict=True)), scores)
    points += [part.start for part in region]
    return replace(selection.picks(points, heights), label=chosen)
