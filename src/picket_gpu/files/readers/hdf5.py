"""Volumes in HDF5 files."""

from collections.abc import Iterator
from math import nan
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from picket_gpu.errors import PicketError, one_line
from picket_gpu.files.hdf5_file import hdf5_file
from picket_gpu.files.lazy_volume import PLANES, LazyVolume, VolumeSelector, planes_of, space_of

# Where PickET, and `picket_gpu.files.formats.hdf5`, store labels; scores may be beside them.
GROUP, DATASET = "segmentations", "semantic_segmentation"
OURS = f"{GROUP}/{DATASET}"


def open_hdf5(path: Path, selector: VolumeSelector) -> LazyVolume:
    """Open the selected dataset, or the only one with three dimensions.

    Raises:
        PicketError: the file is not HDF5, or it is unclear which of its datasets is meant.
    """
    try:
        with hdf5_file(path) as file:
            name = selector.dataset or _only_volume(path, file, selector)
            dataset = file.get(name)
            if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
                raise PicketError(
                    f"{path}: has no dataset {name} (found: {_listed(file)}); change dataset"
                )
            shape, dtype, chunks = dataset.shape, dataset.dtype, dataset.chunks
            step = chunks[space_of(shape)[0]] if chunks else PLANES
            geometry = _geometry(dataset)
    except OSError as error:
        if "signature not found" in str(error):
            raise PicketError(
                f"{path}: is not an HDF5 file; check the path and the extension"
            ) from None
        raise PicketError(
            f"{path}: cannot be read as HDF5 ({one_line(error)}); check the path, or copy it again"
        ) from None

    def blocks() -> Iterator[np.ndarray]:
        try:
            with hdf5_file(path) as file:
                yield from planes_of(file[name], step)
        except OSError as error:
            raise PicketError(
                f"{path}: HDF5 file is truncated or damaged ({one_line(error)}); copy it again"
            ) from None

    return LazyVolume(shape, dtype, blocks, **geometry)


def _geometry(dataset: h5py.Dataset) -> dict[str, Any]:
    """Voxel size, origin, and the stored value that means 0, from attributes of the group by
    ChimeraX (.cmap) or EMAN2 (https://blake.bcm.edu/emanwiki/Eman2HDF)."""
    attributes = dataset.parent.attrs
    if (step := _three(attributes.get("step"))) is not None:
        coarser = _three(dataset.attrs.get("subsample_spacing", (1, 1, 1)))
        if coarser is None or ("subsample_spacing" not in dataset.attrs and _is_copy(dataset)):
            return {}
        x, y, z = (float(length) for length in step * coarser)
        origin = _three(attributes.get("origin", (0, 0, 0)))
    elif (size := _three([attributes.get(f"EMAN.apix_{axis}") for axis in "xyz"])) is not None:
        x, y, z = (float(length) for length in size)
        origin = _three([attributes.get(f"EMAN.origin_{axis}", 0.0) for axis in "xyz"])
    else:
        return {}
    place = (nan, nan, nan) if origin is None else tuple(float(length) for length in origin)
    return {"voxel_size": (z, y, x), "origin": place, "zero": _zero(dataset)}


def _zero(dataset: h5py.Dataset) -> float:
    """The value that EMAN2 stores for 0 if it maps a range of values to few bits."""
    attributes = dataset.parent.attrs
    scale = _three([attributes.get(f"EMAN.stored_render{name}") for name in ("bits", "min", "max")])
    if scale is None or scale[0] < 1 or not scale[2] > scale[1]:
        return 0.0
    bits, low, high = scale
    return float(np.rint(-low / (high - low) * (2**bits - 1)))


def _three(value: Any) -> np.ndarray | None:
    """Three numbers of an attribute; None if it holds anything else, from another program."""
    try:
        numbers = np.asarray(value, dtype=float).ravel()
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == 3 and np.isfinite(numbers).all() else None


def _only_volume(path: Path, file: h5py.File, selector: VolumeSelector) -> str:
    volumes = _volumes(file)
    if OURS in volumes:
        return OURS
    if not volumes:
        raise PicketError(
            f"{path}: contains no 3D dataset (found: {_shapes(file)}); save one volume (z, y, x)"
        )
    if len(volumes) > 1:
        raise PicketError(
            f"{path}: contains {len(volumes)} 3D datasets ({_listed(file)}); "
            f"{selector.remedy(path, volumes[0])}"
        )
    return volumes[0]


def _volumes(file: h5py.File) -> list[str]:
    """Datasets with three dimensions; in a .cmap one of each group, the others are its copies."""
    found: dict[str, h5py.Dataset] = {}

    def visit(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if not _is_volume(item) or "subsample_spacing" in item.attrs:
            return
        # Copies are coarser, or equal with other chunks, such as data_yzx beside data_zyx.
        group = item.parent.name if _three(item.parent.attrs.get("step")) is not None else name
        if group not in found or item.size >= found[group].size:
            found[group] = item

    file.visititems(visit)
    return [dataset.name.lstrip("/") for dataset in found.values()]


def _is_volume(item: h5py.Dataset | h5py.Group) -> bool:
    shape = item.shape if isinstance(item, h5py.Dataset) else None
    return shape is not None and len(space_of(shape)) == 3


def _is_copy(dataset: h5py.Dataset) -> bool:
    """Whether the group has a larger volume."""
    return any(_is_volume(other) and other.size > dataset.size for other in dataset.parent.values())


def _shapes(file: h5py.File) -> str:
    """Datasets with their shapes."""
    found: list[str] = []

    def visit(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset) and item.shape:
            found.append(f"{name} {item.shape}")

    file.visititems(visit)
    return ", ".join(found[:9]) or "nothing"


def _listed(file: h5py.File) -> str:
    return ", ".join(_volumes(file)[:9]) or "no 3D dataset"
