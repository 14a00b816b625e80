"""Volumes in MRC files, compressed by gzip or bzip2 or not."""

import bz2
import gzip
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from mrcfile import utils
from mrcfile.dtypes import HEADER_DTYPE

from picket_gpu.errors import PicketError, one_line
from picket_gpu.files.lazy_volume import PLANES, LazyVolume, VolumeSelector, planes_of

HEADER = 1024  # bytes
BLOCK, PIECE = 2**26, 2**20  # bytes of a compressed file: planes at a time, and of a read
MOST_EXTENDED = 2**28  # bytes of an extended header; a damaged one may tell of gigabytes
_VOXEL_TYPES = {0: "int8", 1: "int16", 2: "float32", 6: "uint16", 12: "float16"}
_MAP = slice(208, 211)  # what begins like a compressed file may have a matching number of columns
_COMPRESSED: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open}


def open_mrc(path: Path, selector: VolumeSelector) -> LazyVolume:
    """The volume of an MRC file, memory-mapped where it is not compressed.

    Raises:
        PicketError: the file is no 3-D MRC of a known mode, or is shorter than its header says,
            which of a compressed file shows when it is read.
    """
    with path.open("rb") as file:
        start = file.read(HEADER)
    decompress = None if start[_MAP] == b"MAP" else _COMPRESSED.get(start[:2])
    header = _header(path, decompress or Path.open)
    dtype = np.dtype(_VOXEL_TYPES[int(header.mode)]).newbyteorder(header.nx.dtype.byteorder)
    shape = _shape(path, header)
    begin = HEADER + int(header.nsymbt)
    blocks: Any
    if decompress:
        blocks = partial(_decompressed, path, decompress, begin, shape, dtype)
    else:
        _check_size(path, begin + prod(shape) * dtype.itemsize)
        blocks = partial(planes_of, np.memmap(path, dtype, "r", begin, shape))
    cell, counts = header.cella, (int(header.mx), int(header.my), int(header.mz))
    x, y, z = (
        # The header holds float32: 13.48 should not come out as 13.479999542.
        float(f"{float(length) / count:.6g}") if count > 0 else 0.0
        for length, count in zip((cell.x, cell.y, cell.z), counts, strict=True)
    )
    return LazyVolume(
        shape=shape,
        dtype=dtype,
        blocks=blocks,
        voxel_size=(z, y, x),
        origin=(_finite(header.origin.x), _finite(header.origin.y), _finite(header.origin.z)),
        nstart=(int(header.nxstart), int(header.nystart), int(header.nzstart)),
    )


def _finite(value: Any) -> float:
    return float(value) if np.isfinite(value) else 0.0


def _header(path: Path, opened: Callable[[Path, str], Any]) -> np.recarray:
    """The first 1024 bytes, as mrcfile names their fields.

    mrcfile's own opening would allocate as large an extended header as the file pretends to have.
    """
    try:
        with opened(path, "rb") as file:
            data = file.read(HEADER)
        if len(data) < HEADER:
            raise ValueError(f"{len(data)} bytes are no header")
        header: np.recarray = np.frombuffer(data, HEADER_DTYPE).reshape(()).view(np.recarray)
        if bytes(header.map)[:3] != b"MAP":
            raise ValueError("its header has no MAP in bytes 208 to 210")
        order = utils.byte_order_from_machine_stamp(header.machst)
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise PicketError(
            f"{path}: is not an MRC file ({one_line(error)}); name a tomogram"
        ) from None
    header = header.view(HEADER_DTYPE.newbyteorder(order)).view(np.recarray)
    mode = int(header.mode)
    if mode not in _VOXEL_TYPES:
        known = ", ".join(f"{number} {name}" for number, name in _VOXEL_TYPES.items())
        raise PicketError(f"{path}: MRC mode {mode} is not supported; use one of {known}")
    if not 0 <= int(header.nsymbt) <= MOST_EXTENDED:
        raise PicketError(
            f"{path}: its header tells of an extended header of {int(header.nsymbt)} bytes; copy "
            f"it again"
        )
    return header


def _shape(path: Path, header: np.recarray) -> tuple[int, ...]:
    """Voxels; two axes of an image, four of a stack of volumes."""
    told = tuple(int(n) for n in (header.nz, header.ny, header.nx))
    stack = utils.spacegroup_is_volume_stack(header.ispg)
    if min(told) < 1 or (stack and not 1 <= int(header.mz) <= told[0]):
        raise PicketError(f"{path}: its header tells of {told} voxels (z, y, x); copy it again")
    return tuple(utils.data_shape_from_header(header))


def _check_size(path: Path, needed: int) -> None:
    """Whether the voxels of a file that is not compressed are there."""
    there = path.stat().st_size
    if there < needed:
        raise PicketError(f"{path}: not a whole MRC file, {there} of {needed} bytes; copy it again")


def _decompressed(
    path: Path,
    decompress: Callable[[Path, str], Any],
    begin: int,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
) -> Iterator[np.ndarray]:
    """Planes as they come out of a compressed file."""
    step = max(1, min(PLANES, BLOCK // (prod(shape[1:]) * dtype.itemsize)))
    try:
        with decompress(path, "rb") as file:
            file.seek(begin)
            for first in range(0, shape[0], step):
                block = np.empty((min(step, shape[0] - first), *shape[1:]), dtype)
                if not _filled(block, file):
                    raise ValueError(f"it ends before z-slice {first + len(block)} of {shape[0]}")
                yield block
            file.read(1)  # at the end of the stream, its checksum is compared
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise PicketError(
            f"{path}: not a whole MRC file ({one_line(error)}); copy it again"
        ) from None


def _filled(block: np.ndarray, file: Any) -> bool:
    """Fill an array from a file, by pieces: memory is taken for what is there, not for more.

    Returns:
        Whether the file has as much.
    """
    flat = block.reshape(-1).view(np.uint8)
    filled = 0
    while filled < len(flat):
        piece = file.read(min(PIECE, len(flat) - filled))
        if not piece:
            return False
        flat[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
        filled += len(piece)
    return True
