"""Candidates from the files of a segmentation, from its tomogram, or from both.

Those that the tomogram was at hand for have descriptors.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from picket_gpu.device.backend import Backend
from picket_gpu.device.operations import Array
from picket_gpu.errors import PicketError
from picket_gpu.files.segmentation import NO_WINDOWS, read_labels, read_scores
from picket_gpu.method.labels import FOREGROUND, UNLABELLED
from picket_gpu.particles.by_labels import find_by_labels
from picket_gpu.particles.candidates import Candidates
from picket_gpu.particles.descriptors import describe
from picket_gpu.particles.picking import Search, find_by_both, find_by_contrast, find_by_scores
from picket_gpu.particles.picks import VoxelSize
from picket_gpu.particles.settings import ParticleSettings

HALF = 0.5  # of the greatest height
LEAST_REACH = 0.5  # voxels; what S1 marks reaches half a neighborhood beyond a particle
_DARK = {"dark": True, "bright": False, "auto": None}


def find_in_segmentation(
    path: Path,
    side: int,
    settings: ParticleSettings,
    voxel_size: VoxelSize,
    backend: Backend,
    memory_budget: int | None = None,
    blurred: Array | None = None,
    to_label: np.ndarray | None = None,
) -> Candidates:
    """Find candidates in the scores of a segmentation, with or without its tomogram, or its labels.

    Labels are used as scores of 0 and 1 if the file has no scores, and by `find_by_labels` if the
    settings name another method than "ball".

    Args:
        path: HDF5, MRC or Zarr file of the segmentation.
        side: side of its windows, in voxels.
        settings: how to find them.
        voxel_size: angstrom, (z, y, x).
        backend: where to compute.
        memory_budget: bytes for arrays on the device beside the scores; None for the default.
        blurred: grey values of the tomogram, (z, y, x), blurred as for the segmentation, to pick
            from too.
        to_label: bool, broadcast to (z, y, x), voxels that count; None for all that have a label.
    """
    labels = read_labels(path, side)
    if settings.method != "ball":
        return find_by_labels(labels, settings, voxel_size)
    inside = labels != UNLABELLED
    scores = read_scores(path)
    if scores is None:
        scores = (labels == FOREGROUND).astype(np.float16)
    del labels
    label = None if settings.label == "auto" else settings.label
    reach = max(side // 2, LEAST_REACH)
    with _as_fault(path):
        search = _search(settings, voxel_size)
        if blurred is None:
            found = find_by_scores(scores, search, label, reach, inside, backend, memory_budget)
            # All candidates in a mask that another program made may be particles: Otsu's threshold
            # would fall between them.
            return replace(found, most=HALF) if side == NO_WINDOWS else found
        if to_label is not None:  # files other than HDF5 have a score of 0 where it is False
            inside &= to_label
        dark = _DARK[settings.contrast]
        found = find_by_both(
            scores, blurred, search, label, dark, reach, inside, backend, memory_budget
        )
    return _described(found, blurred, backend)


def find_in_tomogram(
    name: str,
    blurred: Array,
    inside: np.ndarray | None,
    settings: ParticleSettings,
    voxel_size: VoxelSize,
    backend: Backend,
    memory_budget: int | None = None,
) -> Candidates:
    """Find candidates where a tomogram stands out from what is around, without a segmentation.

    Args:
        name: what to call the tomogram in an error.
        blurred: its grey values, (z, y, x), blurred as for a segmentation.
        inside: bool, (z, y, x), voxels that count; None for all.
        voxel_size: angstrom, (z, y, x).
        memory_budget: for arrays on the device beside these.
    """
    with _as_fault(name):
        search = _search(settings, voxel_size)
        dark = _DARK[settings.contrast]
        found = find_by_contrast(blurred, search, dark, inside, backend, memory_budget)
    return _described(found, blurred, backend)


def check_size(
    name: str,
    settings: ParticleSettings,
    shape: tuple[int, ...],
    voxel_size: VoxelSize,
    key: str = "particles.diameter",
) -> None:
    """Whether the diameter can be meant for a tomogram.

    Args:
        name: what to call it in an error.
        shape: voxels, (z, y, x).
        voxel_size: angstrom, (z, y, x); 0.0 where it is not known.
        key: what the user calls the diameter.

    Raises:
        PicketError: it cannot, or the voxel size is not known.
    """
    if not min(voxel_size) > 0:
        raise PicketError(
            f"{name}: picking particles needs a voxel size, and the file has none; set voxel_size"
        )
    least = 2 * min(voxel_size)
    most = max(n * size for n, size in zip(shape, voxel_size, strict=True))
    wrong = [one for one in settings.ends if not least <= one <= most]
    if wrong:
        raise PicketError(
            f"{key}: must be {least:.6g} to {most:.6g} angstrom for {name}, two voxels to its "
            f"longest side (got {wrong[0]:g})"
        )


def _described(found: Candidates, blurred: Array, backend: Backend) -> Candidates:
    """Candidates with their descriptors."""
    places = found.points, found.diameters, found.heights
    return replace(found, descriptors=describe(*places, found.voxel_size, blurred, backend))


def _search(settings: ParticleSettings, voxel_size: VoxelSize) -> Search:
    return Search(settings.diameter, voxel_size, settings.spacing, settings.margin)


@contextmanager
def _as_fault(name: object) -> Iterator[None]:
    """Tell what an argument cannot be as a fault of a file."""
    try:
        yield
    except ValueError as error:
        raise PicketError(f"{name}: {error}") from None
