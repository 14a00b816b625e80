"""``method: components`` and ``watershed`` with settings in angstrom: `pick_by_labels`."""

from dataclasses import replace
from math import ceil, pi, prod

import numpy as np

from picket_gpu.particles.ball import VoxelSize
from picket_gpu.particles.components import components
from picket_gpu.particles.picks import Picks
from picket_gpu.particles.settings import ParticleSettings
from picket_gpu.particles.watershed import watershed

_ROUNDING = 1e-6  # of a voxel


def pick_by_labels(labels: np.ndarray, settings: ParticleSettings, voxel_size: VoxelSize) -> Picks:
    """Pick the components, or the parts of a watershed, of ``settings.label``, where auto is 1.

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
    threshold, count = picks.threshold, picks.count
    if settings.threshold != "auto":
        threshold = max(threshold, settings.threshold)
        count = int(np.count_nonzero(picks.candidate_heights >= threshold))
    if settings.max_particles is not None:
        count = min(count, settings.max_particles)
    return replace(picks, threshold=threshold, count=count, label=label)


def min_distance(settings: ParticleSettings, voxel_size: VoxelSize) -> int:
    """Least distance between a watershed's markers, in voxels, at least 1."""
    length = settings.diameter / 2 if settings.min_distance is None else settings.min_distance
    return max(1, round(length / _side(voxel_size)))


def _side(voxel_size: VoxelSize) -> float:
    """Of a cube as large as a voxel: PickET's watershed counts voxels along any axis."""
    return float(prod(voxel_size) ** (1 / 3))
