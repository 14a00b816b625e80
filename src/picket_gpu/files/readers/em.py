"""Volumes in EM files, as TOM, Dynamo, Artiatomi and STOPGAP write them.

A header of 512 bytes holds the machine code, two unused bytes, the type of the voxels, then
columns, rows and sections as 32-bit integers; the voxels follow, x fastest. There is no voxel size
that programs agree on. The library emfile assumes its own machine's byte order for every file, so
it is not used.
"""

from functools import partial
from pathlib import Path

import numpy as np

from picket_gpu.errors import PicketError
from picket_gpu.files.lazy_volume import LazyVolume, VolumeSelector, mapped, planes_of

HEADER = 512  # bytes
_ORDERS = {0: ">", 3: ">", 5: ">", 1: "<", 6: "<"}  # OS-9, SGI, Mac; VAX integers, PC
_VOXEL_TYPES = {1: "i1", 2: "i2", 4: "i4", 5: "f4", 9: "f8"}


def open_em(path: Path, selector: VolumeSelector) -> LazyVolume:
    """Open an EM file as a memory-mapped volume.

    Raises:
        PicketError: the file is not an EM file of real numbers, or is truncated.
    """
    with path.open("rb") as file:
        start = file.read(HEADER)
    if len(start) < HEADER or start[0] not in _ORDERS:
        raise PicketError(f"{path}: is not an EM file; check the path and the extension")
    if start[3] not in _VOXEL_TYPES:
        known = ", ".join(map(str, _VOXEL_TYPES))
        raise PicketError(f"{path}: EM type {start[3]} is not supported; use one of {known}")
    order = _ORDERS[start[0]]
    x, y, z = (int(n) for n in np.frombuffer(start[4:16], f"{order}i4"))
    if min(x, y, z) < 1:
        raise PicketError(
            f"{path}: EM header gives an impossible size, {(z, y, x)} voxels (z, y, x); the "
            "file is damaged, copy it again"
        )
    dtype = np.dtype(f"{order}{_VOXEL_TYPES[start[3]]}")
    needed, there = HEADER + x * y * z * dtype.itemsize, path.stat().st_size
    if there < needed:
        raise PicketError(
            f"{path}: EM file is truncated ({there} of {needed} bytes); copy it again"
        )
    voxels = mapped(path, dtype, HEADER, (z, y, x))
    return LazyVolume(voxels.shape, dtype, partial(planes_of, voxels))
