"""Volumes in MRC files, uncompressed or compressed by gzip or bzip2."""

import bz2
import gzip
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from picket_gpu.errors import PicketError, one_line
from picket_gpu.files.content import MAP, named
from picket_gpu.files.lazy_volume import PLANES, LazyVolume, VolumeSelector, mapped, planes_of
from picket_gpu.files.mrc_header import HEADER, MrcHeader, check_size, read_mrc_header

BLOCK, PIECE = 2**26, 2**20  # bytes of a compressed file: of a block of planes, and of one read
_COMPRESSED: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open}


def open_mrc(path: Path, selector: VolumeSelector) -> LazyVolume:
    """Open an MRC file, memory-mapped unless it is compressed.

    Axes are transposed to (z, y, x) from any order in the file.

    Raises:
        PicketError: the file is not a 3-D MRC file of a known mode, or is truncated; a compressed
            file shows that only when its blocks are read.
    """
    with path.open("rb") as file:
        start = file.read(HEADER)
    # The first bytes of an MRC file may happen to look compressed.
    decompress = None if start[MAP] == b"MAP" else _COMPRESSED.get(start[:2])
    if decompress:
        header = read_mrc_header(path, _first_bytes(path, decompress), None)
    else:
        header = read_mrc_header(path, start, path.stat().st_size)
    leading = len(header.shape) - 3
    turn = (*range(leading), *(leading + axis for axis in header.order))
    turned = leading >= 0 and turn != tuple(range(len(header.shape)))
    shape = tuple(header.shape[axis] for axis in turn) if turned else header.shape
    blocks: Any
    if decompress:
        blocks = partial(_decompressed, path, decompress, header)
        if turned:
            blocks = partial(_turned, blocks, header, turn)
    else:
        voxels = mapped(path, header.dtype, header.begin, header.shape)
        blocks = partial(planes_of, voxels.transpose(turn) if turned else voxels)
    return LazyVolume(
        shape=shape,
        dtype=header.dtype,
        blocks=blocks,
        voxel_size=header.voxel_size,
        origin=header.origin,
        nstart=header.nstart,
        zero=header.zero,
        sign_unclear=header.sign_unclear,
        warnings=header.warnings,
    )


def _first_bytes(path: Path, decompress: Callable[[Path, str], Any]) -> bytes:
    try:
        with decompress(path, "rb") as file:
            start: bytes = file.read(HEADER)
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise PicketError(
            f"{path}: is not an MRC file ({one_line(error)}); check the path and the extension"
        ) from None
    if (what := named(start)) is not None and start[MAP] != b"MAP":
        raise PicketError(f"{path}: holds {what}, and only MRC is read compressed; decompress it")
    return start


def _turned(
    blocks: Callable[[], Iterator[np.ndarray]], header: MrcHeader, turn: tuple[int, ...]
) -> Iterator[np.ndarray]:
    """Planes along z of a compressed file with sections along another axis, read completely."""
    voxels, first = np.empty(header.shape, header.dtype), 0
    for block in blocks():
        voxels[first : first + len(block)] = block
        first += len(block)
    yield from planes_of(voxels.transpose(turn))


def _decompressed(
    path: Path,
    decompress: Callable[[Path, str], Any],
    header: MrcHeader,
) -> Iterator[np.ndarray]:
    """Decompress a file, some planes at a time."""
    shape, dtype = header.shape, header.dtype
    step = max(1, min(PLANES, BLOCK // (prod(shape[1:]) * dtype.itemsize)))
    try:
        with decompress(path, "rb") as file:
            file.seek(header.begin)
            for first in range(0, shape[0], step):
                block = np.empty((min(step, shape[0] - first), *shape[1:]), dtype)
                if not _filled(block, file):
                    check_size(path, file.tell(), header.begin, prod(shape) * dtype.itemsize)
                yield block
            file.read(1)  # at the end of the stream, its checksum is compared
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise PicketError(
            f"{path}: MRC file is truncated or damaged ({one_line(error)}); copy it again"
        ) from None


def _filled(block: np.ndarray, file: Any) -> bool:
    """Fill an array from a file in pieces, so that memory is used only for bytes that exist.

    Returns:
        Whether the file had enough bytes.
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
