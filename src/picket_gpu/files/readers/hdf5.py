"""Volumes in HDF5 files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from picket_gpu.errors import PicketError, one_line
from picket_gpu.files.lazy_volume import (
    PLANES,
    LazyVolume,
    ThreeAxes,
    VolumeSelector,
    planes_of,
)

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
            shape, dtype, chunks = _volume(dataset).shape, dataset.dtype, dataset.chunks
            step = chunks[0] if chunks and dataset.ndim == 3 else PLANES
            geometry = _geometry(dataset)
    except OSError as error:
        raise PicketError(f"{path}: is not an HDF5 file ({one_line(error)})") from None

    def blocks() -> Iterator[np.ndarray]:
        try:
            with h5py.File(path) as file:
                yield from planes_of(_volume(file[name]), step)
        except OSError as error:
            raise PicketError(f"{path}: is not a whole HDF5 file ({one_line(error)})") from None

    return LazyVolume(shape, dtype, blocks, **geometry)


def _volume(dataset: h5py.Dataset) -> Any:
    """Without axes of length 1, if that leaves three."""
    view = ThreeAxes(dataset) if dataset.ndim > 3 else None
    return view if view is not None and view.whole else dataset


def _geometry(dataset: h5py.Dataset) -> dict[str, Any]:
    """Voxel size and origin where EMAN2 (https://blake.bcm.edu/emanwiki/Eman2HDF) or ChimeraX
    (its .cmap) have written them, as attributes of the group."""
    told = dataset.parent.attrs
    if "step" in told:
        x, y, z = (float(length) for length in told["step"])
        origin = tuple(float(n) for n in told.get("origin", (0.0, 0.0, 0.0)))
    elif "EMAN.apix_x" in told:
        x, y, z = (float(told[f"EMAN.apix_{axis}"]) for axis in "xyz")
        origin = tuple(float(told.get(f"EMAN.origin_{axis}", 0.0)) for axis in "xyz")
    else:
        return {}
    return {"voxel_size": (z, y, x), "origin": origin}


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
        if not isinstance(item, h5py.Dataset) or "subsample_spacing" in item.attrs:
            return  # the latter is a coarser copy in a .cmap
        if item.ndim == 3 or (item.ndim > 3 and ThreeAxes(item).whole):
            found.append(name)

    file.visititems(visit)
    return found


def _listed(file: h5py.File) -> str:
    return ", ".join(_volumes(file)[:9]) or "none of 3 dimensions"
