"""Volumes in NumPy's files."""

from functools import partial
from pathlib import Path

import numpy as np
from numpy.lib.format import MAGIC_PREFIX

from picket_gpu.errors import PicketError, one_line
from picket_gpu.files.lazy_volume import LazyVolume, VolumeSelector, cannot_map, planes_of


def open_npy(path: Path, selector: VolumeSelector) -> LazyVolume:
    """Open a .npy file as a memory-mapped array, (z, y, x).

    Raises:
        PicketError: the file is another, is truncated or damaged, or holds Python objects.
    """
    with path.open("rb") as file:
        start = file.read(len(MAGIC_PREFIX))
    if start and start != MAGIC_PREFIX:
        raise PicketError(f"{path}: is not a NumPy file; check the path and the extension")
    try:
        with np.errstate(over="ignore"):  # an impossible shape is reported below
            array = _loaded(path)
    except Exception as error:  # from NumPy, or from Python's parser, which reads the header
        raise PicketError(
            f"{path}: .npy file is truncated or damaged ({one_line(error)}); copy it again"
        ) from None
    return LazyVolume(array.shape, array.dtype, partial(planes_of, array))


def _loaded(path: Path) -> np.ndarray:
    """The array of a file, memory-mapped where the file system can."""
    try:
        mapped: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        return mapped
    except OSError as error:
        if not cannot_map(error):
            raise
    read: np.ndarray = np.load(path, allow_pickle=False)
    return read
