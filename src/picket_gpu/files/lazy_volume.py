"""What every reader takes and returns, and what several of them need."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from picket_gpu.device.operations import Shape

PLANES = 16  # read at a time where the format does not say
MOST_BYTES = 2**28  # read at a time
_ANGSTROM = {
    **dict.fromkeys(("picometer", "pm"), 0.01),
    **dict.fromkeys(("angstrom", "ångström", "å", "a"), 1.0),
    **dict.fromkeys(("nanometer", "nm"), 10.0),
    **dict.fromkeys(("micrometer", "micron", "\u03bcm", "um"), 1e4),
    **dict.fromkeys(("millimeter", "mm"), 1e7),
    **dict.fromkeys(("centimeter", "cm"), 1e8),
    **dict.fromkeys(("meter", "m"), 1e10),
}


@dataclass(frozen=True)
class VolumeSelector:
    """Which volume of those that a file holds.

    Attributes:
        dataset: path of an array inside an HDF5 file or a Zarr group.
        level: of a multiscale image, from 0, the finest.
        voxel_size: angstrom, (z, y, x); chooses the level of a multiscale image that has it.
        shape: chooses the level of a multiscale image that has it.
        storage_options: for fsspec, such as {"anon": True}.
    """

    dataset: str | None = None
    level: int | None = None
    voxel_size: tuple[float, float, float] | None = None
    shape: Shape | None = None
    storage_options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LazyVolume:
    """A volume that has not been read yet.

    Attributes:
        shape: voxels, (z, y, x); from a reader as it is stored, with axes of length 1, or others
            that the caller refuses.
        dtype: of the voxels as they are stored.
        blocks: from nothing to all planes, some at a time, from the first: (planes, y, x).
        voxel_size: angstrom, (z, y, x), as the file says; 0.0 where it does not.
        origin: angstrom, (x, y, z), of the first voxel's centre.
        nstart: first column, row, section of the file, (x, y, z), as MRC has it.
        fixed_size: whether ``voxel_size`` holds against one that the user names.
        zero: the stored value that stands for 0, as in a mask.
        sign_unclear: whether its bytes may as well be unsigned.
        warnings: what its reader had to guess, each in words that follow the file's name.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    blocks: Callable[[], Iterator[np.ndarray]]
    voxel_size: tuple[float, float, float] = (0.0, 0.0, 0.0)
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    nstart: tuple[int, int, int] = (0, 0, 0)
    fixed_size: bool = False
    zero: float = 0.0
    sign_unclear: bool = False
    warnings: tuple[str, ...] = ()


def space_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Which axes of an array are z, y, x, by their numbers.

    Beyond three axes those of length 1 are left out, from the first. Where others are left, as of
    several channels, more than three are returned.
    """
    ones = [axis for axis, length in enumerate(shape) if length == 1]
    spare = ones[: max(0, len(shape) - 3)]
    return tuple(axis for axis in range(len(shape)) if axis not in spare)


def planes_of(array: Any, step: int = PLANES) -> Iterator[np.ndarray]:
    """``step`` planes at a time of what is sliced like an array, fewer where they are large.

    They have the axes of `space_of`.
    """
    z, *plane = space_of(array.shape)
    size = prod(array.shape[axis] for axis in plane) * np.dtype(array.dtype).itemsize
    step = max(1, min(step, MOST_BYTES // max(1, size)))
    index: list[int | slice] = [0] * len(array.shape)
    for axis in plane:
        index[axis] = slice(None)
    for first in range(0, array.shape[z], step):
        index[z] = slice(first, first + step)
        yield np.asarray(array[tuple(index)])


def angstrom_in(unit: object) -> float:
    r"""Angstrom in a unit by its name, plural or symbol; 0.0 if it is not known.

    ImageJ writes what is not ASCII as an escape, such as ``\u00B5m``.
    """
    name = re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), str(unit))
    name = name.strip().casefold()  # which makes one of both signs of micro, and of angstrom
    return _ANGSTROM.get(name.replace("metre", "meter").removesuffix("s"), 0.0)
