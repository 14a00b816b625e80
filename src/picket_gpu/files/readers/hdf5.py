"""Volumes in HDF5 files."""

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from picket_gpu.errors import PicketError, one_line
from picket_gpu.files.lazy_volume import PLANES, LazyVolume, VolumeSelector, planes_of

OURS = "segmentations/semantic_segmentation"  # which may have scores beside it


def open_hdf5(path: Path, selector: VolumeSelector) -> LazyVolume:
    """The dataset that is chosen, or the only one of three dimensions.

    Raises:
        PicketError: the file is no HDF5, or which of its datasets is meant is not clear.
    """
    try:
        with h5py.File(path) as file:
            name = selector.dataset or _only_volume(path, file)
            dataset = file.get(name)
            if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
                raise PicketError(f"{path}: has no dataset {name}; it has {_listed(file)}")
            shape, dtype, chunks = dataset.shape, dataset.dtype, dataset.chunks
    except OSError as error:
        raise PicketError(f"{path}: is not an HDF5 file ({one_line(error)})") from None

    def blocks() -> Iterator[np.ndarray]:
        try:
            with h5py.File(path) as file:
                yield from planes_of(file[name], chunks[0] if chunks else PLANES)
        except OSError as error:
            raise PicketError(f"{path}: is not a whole HDF5 file ({one_line(error)})") from None

    return LazyVolume(shape, dtype, blocks)


def _only_volume(path: Path, file: h5py.File) -> str:
    volumes = _volumes(file)
    if OURS in volumes:
        return OURS
    if len(volumes) != 1:
        raise PicketError(
            f"{path}: holds {len(volumes)} datasets of 3 dimensions ({_listed(file)}); name one by "
            f"dataset"
        )
    return volumes[0]


def _volumes(file: h5py.File) -> list[str]:
    found: list[str] = []

    def visit(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim == 3:
            found.append(name)

    file.visititems(visit)
    return found


def _listed(file: h5py.File) -> str:
    return ", ".join(_volumes(file)[:9]) or "none of 3 dimensions"
