"""Volumes in MRC files, compressed by gzip or bzip2 or not."""

import bz2
import gzip
import warnings
import zlib
from collections.abc import Iterator
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np

from picket_gpu.errors import PicketError, one_line
from picket_gpu.readers.source import PLANES, Choice, Source, planes_of

HEADER = 1024  # bytes
VOLUME_STACK = range(401, 631)  # space groups
_VOXEL_TYPES = {0: "int8", 1: "int16", 2: "float32", 6: "uint16", 12: "float16"}
_COMPRESSED: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open}


def open_mrc(path: Path, choice: Choice) -> Source:
    """The volume of an MRC file, memory-mapped where it is not compressed.

    Raises:
        PicketError: the file is no 3-D MRC of a known mode, or is shorter than its header says,
            which of a compressed file shows when it is read.
    """
    with path.open("rb") as file:
        decompress = _COMPRESSED.get(file.read(2))
    header = _header(path)
    shape = tuple(int(n) for n in (header.nz, header.ny, header.nx))
    blocks: Any
    if decompress:
        if header.ispg in VOLUME_STACK:
            raise PicketError(f"{path}: is a stack of volumes; a tomogram is one")
        dtype = np.dtype(_VOXEL_TYPES[int(header.mode)]).newbyteorder(header.nx.dtype.byteorder)
        begin = HEADER + max(0, int(header.nsymbt))
        blocks = partial(_decompressed, path, decompress, begin, shape, dtype)
    else:
        data = _mapped(path, header)
        shape, dtype, blocks = data.shape, data.dtype, partial(planes_of, data)
    cell, counts = header.cella, (int(header.mx), int(header.my), int(header.mz))
    x, y, z = (
        # The header holds float32: 13.48 should not come out as 13.479999542.
        float(f"{float(length) / count:.6g}") if count > 0 and 0 < length < np.inf else 0.0
        for length, count in zip((cell.x, cell.y, cell.z), counts, strict=True)
    )
    return Source(
        shape=shape,
        dtype=dtype,
        blocks=blocks,
        voxel_size=(z, y, x),
        origin=(_finite(header.origin.x), _finite(header.origin.y), _finite(header.origin.z)),
        nstart=(int(header.nxstart), int(header.nystart), int(header.nzstart)),
    )


def _finite(value: Any) -> float:
    return float(value) if np.isfinite(value) else 0.0


def _header(path: Path) -> np.recarray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # header oddities that do not matter
            with mrcfile.open(path, header_only=True) as mrc:
                header: np.recarray = mrc.header
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise PicketError(f"{path}: is not an MRC file ({one_line(error)})") from None
    mode = int(header.mode)
    if mode not in _VOXEL_TYPES:
        known = ", ".join(f"{number} {name}" for number, name in _VOXEL_TYPES.items())
        raise PicketError(f"{path}: MRC mode {mode} is not supported; use one of {known}")
    shape = tuple(int(n) for n in (header.nz, header.ny, header.nx))
    if min(shape) < 1:
        raise PicketError(f"{path}: its header tells of {shape} voxels (z, y, x); copy it again")
    return header


def _mapped(path: Path, header: np.recarray) -> np.ndarray:
    """Voxels of a file that is not compressed, after checking that they are there."""
    voxels = prod(int(n) for n in (header.nz, header.ny, header.nx))
    size = np.dtype(_VOXEL_TYPES[int(header.mode)]).itemsize
    there, needed = path.stat().st_size, HEADER + max(0, int(header.nsymbt)) + voxels * size
    if there < needed:
        raise PicketError(f"{path}: not a whole MRC file, {there} of {needed} bytes; copy it again")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            with mrcfile.mmap(path) as mrc:
                data: np.ndarray = mrc.data
    except (ValueError, OSError) as error:
        raise PicketError(f"{path}: is not an MRC file ({one_line(error)})") from None
    return data


def _decompressed(
    path: Path, decompress: Any, begin: int, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Iterator[np.ndarray]:
    """Planes as they come out of a compressed file."""
    try:
        with decompress(path) as file:
            file.seek(begin)
            for first in range(0, shape[0], PLANES):
                block = (min(PLANES, shape[0] - first), *shape[1:])
                data = file.read(prod(block) * dtype.itemsize)
                yield np.frombuffer(data, dtype).reshape(block)
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise PicketError(
            f"{path}: not a whole MRC file ({one_line(error)}); copy it again"
        ) from None
