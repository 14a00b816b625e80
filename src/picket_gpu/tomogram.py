"""Tomogram -> grey values and geometry. Nothing else in the package reads tomograms."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

from picket_gpu.errors import PicketError, one_line
from picket_gpu.location import Location
from picket_gpu.operations import Shape
from picket_gpu.readers import open_source
from picket_gpu.readers.source import Choice, Source

READ_AHEAD = 2**24  # bytes at a time


@dataclass(frozen=True)
class TomogramHeader:
    """What is known of a tomogram without its voxels.

    Attributes:
        path: where it is, as the user named it.
        shape: voxels, (z, y, x).
        voxel_size: angstrom, (z, y, x); 0.0 where neither the file nor the user says.
        origin: angstrom, (x, y, z), as in an MRC header.
        nstart: first column, row, section of the file, (x, y, z), as in an MRC header.
    """

    path: Location
    shape: Shape
    voxel_size: tuple[float, float, float]
    origin: tuple[float, float, float]
    nstart: tuple[int, int, int]


def read_header(path: Location, choice: Choice | None = None) -> TomogramHeader:
    """Geometry of the tomogram at ``path``, after checking that its voxels can be there.

    Args:
        choice: which of the volumes there; its ``voxel_size`` replaces that of the file.

    Raises:
        PicketError: there is nothing, it is not 3-D, holds no real numbers or one grey value only,
            or would not fit in this machine's memory.
    """
    source = _open(path, choice)
    z, y, x = source.shape
    # A volume at a URL is not fetched twice; that it is constant will show.
    if isinstance(path, Path) and (value := _only_value(path, source)) is not None:
        raise PicketError(f"{path}: every voxel has the value {value}; is it the right file?")
    size = source.voxel_size
    if choice is not None and choice.voxel_size is not None and not source.fixed_size:
        size = choice.voxel_size
    return TomogramHeader(path, (z, y, x), size, source.origin, source.nstart)


def read_voxels(path: Location, choice: Choice | None = None) -> np.ndarray:
    """Grey values of the tomogram at ``path``, (z, y, x) float32, whatever the type in the file.

    Raises:
        PicketError: as `read_header`, and where a voxel is NaN or infinite.
    """
    source = _open(path, choice)
    voxels = np.empty(source.shape, dtype=np.float32)
    for place, block in _planes(path, source):
        planes = voxels[place]
        with np.errstate(over="ignore"):  # of float64, told of as infinite
            planes[...] = block
        if not np.isfinite(planes).all():
            raise PicketError(
                f"{path}: holds NaN or infinite voxels; replace them, by the mean say"
            )
    return voxels


def read_mask(
    path: Location, shape: Shape, storage_options: Mapping[str, Any] | None = None
) -> np.ndarray:
    """Which voxels are in a mask: bool, (z, y, x), true where the volume at ``path`` is above 0.

    Args:
        shape: that it must have.
        storage_options: for the protocol of a URL.

    Raises:
        PicketError: it cannot be read, or has another shape.
    """
    source = open_mask(path, shape, storage_options)
    mask = np.empty(shape, dtype=bool)
    for place, block in _planes(path, source):
        np.greater(block, 0, out=mask[place])
    return mask


def open_mask(
    path: Location, shape: Shape, storage_options: Mapping[str, Any] | None = None
) -> Source:
    """A mask that has not been read yet, after checking its shape.

    Raises:
        PicketError: it cannot be read, or has another shape.
    """
    source = _open(path, Choice(shape=shape, storage_options=storage_options or {}))
    if source.shape != shape:
        raise PicketError(
            f"{path}: the mask has {source.shape} voxels (z, y, x), the tomogram {shape}"
        )
    return source


def read_ahead(path: Location) -> None:
    """Have the system read a file that is wanted soon, while something else is computed.

    What it reads stays in the system's cache, as far as there is memory. A fault of the file shows
    when it is read in earnest.
    """
    if not isinstance(path, Path) or not path.is_file():
        return

    def read() -> None:
        with suppress(OSError), path.open("rb", buffering=0) as file:
            while file.read(READ_AHEAD):
                pass

    Thread(target=read, daemon=True).start()


def _open(path: Location, choice: Choice | None) -> Source:
    with _in_one_line(path):
        source = open_source(path, choice)
    if len(source.shape) != 3:
        raise PicketError(f"{path}: has {len(source.shape)} dimensions; a tomogram has 3 (z, y, x)")
    if source.dtype.kind not in "biuf" or min(source.shape) < 1:
        raise PicketError(f"{path}: holds {source.shape} {source.dtype}, not real numbers")
    _check_memory(path, source.shape)
    return source


def _planes(path: Location, source: Source) -> Iterator[tuple[slice, np.ndarray]]:
    """Planes as they are read, and where they belong.

    Raises:
        PicketError: they cannot be read, or are not as many as was told.
    """
    first, blocks = 0, source.blocks()
    while True:
        with _in_one_line(path):
            block = next(blocks, None)
        if block is None:
            break
        if first + len(block) <= source.shape[0] and block.shape[1:] == source.shape[1:]:
            yield slice(first, first + len(block)), block
        first += len(block)
    if first != source.shape[0]:
        raise PicketError(f"{path}: holds {first} z-slices, not {source.shape[0]} as it says")


@contextmanager
def _in_one_line(path: Location) -> Iterator[None]:
    """Whatever a format's library or a URL's protocol raises, as an error that names the volume."""
    try:
        yield
    except (PicketError, OSError, MemoryError):
        raise
    except Exception as error:
        raise PicketError(f"{path}: cannot be read ({one_line(error)})") from error


def _check_memory(path: Location, shape: tuple[int, ...]) -> None:
    """Whether a volume could be held; a damaged header may tell of terabytes."""
    needed = prod(shape) * 4
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise PicketError(
            f"{path}: {shape} voxels (z, y, x) take {needed / 2**30:.1f} GiB as float32, more than "
            f"the {there / 2**30:.1f} GiB of this machine; bin it, or copy it again"
        )


def _only_value(path: Location, source: Source) -> float | None:
    """The value of all voxels, if it is one; reads only as far as the first that differs."""
    value = None
    for _, block in _planes(path, source):
        for section in block:
            value = section[0, 0] if value is None else value
            if not bool((section == value).all()):
                return None
    return None if value is None else float(value)
