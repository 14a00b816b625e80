"""What every reader takes and returns, and what several of them need."""

import errno
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf, prod
from pathlib import Path
from typing import Any, Literal

import numpy as np

from picket_gpu.device.operations import Shape
from picket_gpu.files.location import Location

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
    """Choice of one of the volumes that a file holds.

    Attributes:
        dataset: path of an array inside an HDF5 file or a Zarr group.
        level: level of a multiscale image, from 0, the finest.
        voxel_size: angstrom, (z, y, x); selects the level of a multiscale image that has it.
        shape: voxels, (z, y, x); selects the level of a multiscale image that has it.
        storage_options: options for fsspec, such as {"anon": True}.
        kind: what the volume is, in messages.
        size_key: who says ``voxel_size``, in messages.
    """

    dataset: str | None = None
    level: int | None = None
    voxel_size: tuple[float, float, float] | None = None
    shape: Shape | None = None
    storage_options: Mapping[str, Any] = field(default_factory=dict)
    kind: Literal["tomogram", "mask", "segmentation"] = "tomogram"
    size_key: str = "voxel_size"

    def remedy(self, where: Location, name: str) -> str:
        """How to select one of several arrays, in words.

        Args:
            where: the file.
            name: one of its arrays.
        """
        if self.kind == "tomogram":
            return "select one with dataset"
        if self.kind == "segmentation":
            return "save one in a file of its own"
        return f"select one by mask: {{file: {where}, dataset: {name}}}"


@dataclass(frozen=True)
class LazyVolume:
    """A volume that has not been read yet.

    Attributes:
        shape: voxels, (z, y, x). A reader returns the stored shape, which may have further axes;
            its caller removes those of length 1 and refuses others.
        dtype: type of the stored voxels.
        blocks: function that reads all planes in order, some at a time: (planes, y, x).
        voxel_size: angstrom, (z, y, x), from the file; 0.0 where the file has none.
        origin: centre of the first voxel in angstrom, (x, y, z).
        nstart: first column, row and section, (x, y, z), as in an MRC header.
        fixed_size: whether ``voxel_size`` takes precedence over one that the user sets.
        zero: stored value that means 0, for masks.
        sign_unclear: whether the voxels are bytes that may be unsigned instead.
        warnings: guesses of the reader, each in words that follow the file's name.
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
    """Indices of the axes z, y, x of an array.

    Of more than three axes, the first ones of length 1 are left out. If others remain, such as
    several channels, the result has more than three indices.
    """
    ones = [axis for axis, length in enumerate(shape) if length == 1]
    spare = ones[: max(0, len(shape) - 3)]
    return tuple(axis for axis in range(len(shape)) if axis not in spare)


def planes_of(array: Any, step: int = PLANES) -> Iterator[np.ndarray]:
    """Read an array or anything sliced like one, ``step`` planes at a time, fewer if large.

    Blocks have the axes of `space_of`.
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


def mapped(path: Path, dtype: np.dtype[Any], begin: int, shape: tuple[int, ...]) -> np.ndarray:
    """The array at an offset in a file, memory-mapped, or read where `cannot_map` is true.

    Raises:
        OSError: it cannot be read.
    """
    try:
        return np.memmap(path, dtype, "r", begin, shape)
    except OSError as error:
        if not cannot_map(error):
            raise
    return np.fromfile(path, dtype, prod(shape), offset=begin).reshape(shape)


def cannot_map(error: BaseException) -> bool:
    """Whether an error is that of a file system without memory mapping, as some of FUSE are."""
    return isinstance(error, OSError) and error.errno in (errno.ENODEV, errno.ENOSYS, errno.ENOTSUP)


def is_possible_origin(
    origin: tuple[float, float, float], voxel_size: tuple[float, float, float]
) -> bool:
    """Whether an origin is finite, and small enough for float32 to tell neighbouring voxels apart.

    ChimeraX ignores others: programs leave these bytes of a header unset (its mrc_format.py).

    Args:
        origin: angstrom, (x, y, z).
        voxel_size: angstrom, (z, y, x); 1 is assumed where it is unknown.
    """
    with np.errstate(over="ignore"):
        start = np.array(origin, dtype=np.float32)
    known = all(0 < length < inf for length in voxel_size)
    step = np.array(voxel_size[::-1] if known else (1, 1, 1), dtype=np.float32)
    return bool(np.isfinite(start).all() and (start + step != start).all())


def angstrom_in(unit: object) -> float:
    r"""Length of a unit in angstrom, by its name, plural or symbol; 0.0 for an unknown unit.

    ImageJ writes letters beyond ASCII as escapes, such as ``\u00B5m``.
    """
    name = re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), str(unit))
    name = name.strip().casefold()  # maps both signs for micro, and for angstrom, to one
    return _ANGSTROM.get(name.replace("metre", "meter").removesuffix("s"), 0.0)
