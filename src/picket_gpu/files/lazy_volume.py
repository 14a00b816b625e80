"""What every reader gives, and what it may be told."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from picket_gpu.device.operations import Shape

PLANES = 16  # read at a time where the format does not say
MOST_BYTES = 2**28  # read at a time


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
        shape: voxels, (z, y, x); its reader may leave other numbers of axes to the caller.
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


class ThreeAxes:
    """An array without those axes of length 1 that stand before or after three others."""

    def __init__(self, array: Any) -> None:
        """
        Args:
            array: is sliced like a NumPy array, and has three axes or more.
        """
        extra = len(array.shape) - 3
        leading = next((n for n, length in enumerate(array.shape) if length != 1), 0)
        self._before = min(leading, extra)
        self._after = extra - self._before
        self._array = array
        self.shape = array.shape[self._before : self._before + 3]
        self.whole = extra >= 0 and set(array.shape[self._before + 3 :]) <= {1}
        """Whether no other axis is left out."""
        self.dtype = np.dtype(array.dtype)

    def __getitem__(self, planes: slice) -> np.ndarray:
        index = (*(0,) * self._before, planes, slice(None), slice(None), *(0,) * self._after)
        return np.asarray(self._array[index])


def planes_of(array: Any, step: int = PLANES) -> Iterator[np.ndarray]:
    """``step`` planes at a time of what is sliced like an array, fewer where they are large."""
    plane = max(1, prod(array.shape[1:]) * np.dtype(array.dtype).itemsize)
    step = max(1, min(step, MOST_BYTES // plane))
    for first in range(0, array.shape[0], step):
        yield np.asarray(array[first : first + step])
