"""Picks from the files of a segmentation, or from its tomogram."""

from pathlib import Path
from typing import Any

import numpy as np

from picket_gpu.device.backend import Backend
from picket_gpu.errors import PicketError
from picket_gpu.files.read_segmentation import read_labels, read_scores
from picket_gpu.method.labels import UNLABELLED
from picket_gpu.particles.ball import VoxelSize
from picket_gpu.particles.contrast import pick_by_contrast
from picket_gpu.particles.pick import pick
from picket_gpu.particles.picks import Picks
from picket_gpu.particles.settings import ParticleSettings


def pick_in_segmentation(
    path: Path,
    side: int,
    settings: ParticleSettings,
    voxel_size: VoxelSize,
    backend: Backend,
    memory_bytes: int | None = None,
) -> Picks:
    """Pick from the scores of a segmentation; from its labels, as scores of 0 and 1, where a file
    has no scores.

    Args:
        path: of its HDF5, MRC or Zarr.
        side: of its windows, in voxels.
        voxel_size: angstrom, (z, y, x).
        memory_bytes: for arrays on the device beside the scores.
    """
    labels = read_labels(path, side)
    inside = labels != UNLABELLED
    scores = read_scores(path)
    if scores is None:
        scores = (labels == settings.label).astype(np.float16)
    elif settings.label == 0:
        scores = np.where(inside, np.float16(1) - scores, np.float16(0))
    del labels
    with _as_fault(path):
        return pick(
            scores,
            settings.diameter,
            inside=inside,
            backend=backend,
            memory_bytes=memory_bytes,
            **_selection(settings, voxel_size),
        )
