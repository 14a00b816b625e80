"""Labels and scores, read back from the files of a segmentation."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import mrcfile
import numpy as np

from picket_gpu.errors import PicketError
from picket_gpu.files.location import Location, as_location
from picket_gpu.files.writers.hdf5 import DATASET, GROUP, SCORES
from picket_gpu.method.labels import FOREGROUND, UNLABELLED, core


def read_labels(path: Path, side: int) -> np.ndarray:
    """Labels from a file of any kind, int8, (z, y, x), -1 where there is no label.

    Args:
        side: window side: nearer to a face than half of it there is no label. PickET itself may
            leave 1 there. Only HDF5 tells where else there is none: in the others, voxels outside a
            mask for the output are 0 like the background.
    """
    told = read_hdf5_labels(path) if path.suffix == ".h5" else read_foreground(path)
    labels = np.full(told.shape, UNLABELLED, dtype=np.int8)
    core(labels, side)[...] = core(told, side)
    return labels


def read_foreground(path: Path) -> np.ndarray:
    """Where label 1 is, from a file of any kind, bool, (z, y, x)."""
    if path.suffix == ".h5":
        volume = read_hdf5_labels(path)
    else:
        volume = _finest(path) if path.suffix == ".zarr" else mrcfile.read(path)
    return np.asarray(volume == FOREGROUND)


def has_scores(path: Path) -> bool:
    """Whether scores belong to the labels in ``path``."""
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            return SCORES in file[GROUP]
    return _beside(path).exists()


def read_scores(path: Path) -> np.ndarray | None:
    """Scores that belong to the labels in ``path``, float16, (z, y, x); None if none were saved."""
    if not has_scores(path):
        return None
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            return np.asarray(file[GROUP][SCORES])
    beside = _beside(path)
    return _finest(beside) if path.suffix == ".zarr" else np.asarray(mrcfile.read(beside))


def read_attributes(path: Path) -> dict[str, Any]:
    """What HDF5 and Zarr tell of how they were made; of an MRC file nothing.

    HDF5 has the text "None" for what has no value, which is left out.
    """
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            attributes = dict(file[GROUP].attrs)
    elif path.suffix == ".zarr":
        attributes = json.loads((path / ".zattrs").read_text(encoding="utf-8"))["picket_gpu"]
    else:
        attributes = {}
    plain = {name: _plain(value) for name, value in attributes.items()}
    return {name: value for name, value in plain.items() if value not in (None, "None")}


def read_hdf5_labels(path: Path) -> np.ndarray:
    """Labels as they are in an HDF5 file, integers, (z, y, x)."""
    with h5py.File(path) as file:
        return np.asarray(file[GROUP][DATASET])


def _beside(path: Path) -> Path:
    """Where scores are, but for HDF5."""
    return path.with_name(f"{path.stem}_score{path.suffix}")


def tomogram_of(attributes: Mapping[str, Any]) -> Location:
    """The tomogram that a segmentation names; where the user had it, if it is not there any more:
    it may have been moved together with the directory.

    Raises:
        KeyError: it names none.
    """
    where = as_location(str(attributes["tomogram_path"]))
    if isinstance(where, Path) and not where.exists():
        return as_location(str(attributes.get("tomogram_as_given", where)))
    return where


def _plain(value: Any) -> Any:
    """A NumPy value as one of Python's."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def _finest(path: Path) -> np.ndarray:
    """The finest level of an OME-Zarr."""
    try:
        import zarr
    except ImportError:
        raise PicketError(f"{path}: needs Zarr; install picket-gpu[zarr]") from None
    return np.asarray(zarr.open_group(str(path), mode="r")["0"])
