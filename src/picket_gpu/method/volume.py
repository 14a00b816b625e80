"""The prepared volume: all of it on the device, or in host memory and streamed in slabs."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from picket_gpu.device.backend import Transfers
from picket_gpu.device.operations import Array, Shape


class Slab(NamedTuple):
    """Neighbouring planes of a volume on the device.

    Attributes:
        data: (planes, y, x) float32.
        first: plane of the volume that ``data`` begins with.
    """

    data: Array
    first: int


class Scaling(NamedTuple):
    """Scaling of blurred grey values by minimum and range, less the mean of the result."""

    low: float
    span: float
    offset: float

    def apply(self, values: Array) -> None:
        """Scale in place."""
        values -= self.low
        values /= self.span
        values -= self.offset


class Volume(Protocol):
    """A prepared volume, as passes over windows see it.

    Attributes:
        data: all of it, (z, y, x) float32 on the device or in host memory, up to offset and scale.
        shape: (z, y, x).
        step: planes from the begin of one slab to the next. A window is in the slab that begins at
            the last multiple of ``step`` up to the window's first plane.
    """

    @property
    def data(self) -> Array: ...

    @property
    def shape(self) -> Shape: ...

    @property
    def step(self) -> int: ...

    def slab(self, plane: int) -> Slab:
        """The slab of the windows that begin on ``plane``; it may overwrite the one before."""

    def grey_slice(self, z: int, download: Callable[[Array], np.ndarray]) -> np.ndarray:
        """Grey values of one z-slice, (y, x) float32 in host memory, up to offset and scale.

        Args:
            download: copies an array from the device to host memory.
        """


class ResidentVolume:
    """A volume on the device: one slab."""

    def __init__(self, data: Array) -> None:
        self.data = data
        self.shape: Shape = data.shape
        self.step: int = data.shape[0]

    def slab(self, plane: int) -> Slab:
        """The whole volume."""
        return Slab(self.data, 0)

    def grey_slice(self, z: int, download: Callable[[Array], np.ndarray]) -> np.ndarray:
        """Grey values of one z-slice, (y, x) float32 in host memory."""
        return download(self.data[z])


class StreamedVolume:
    """A volume in host memory. Each slab is scaled on the device; the next one is sent meanwhile.

    Every pass goes through the slabs in order, so the next one after the last is the first.
    """

    def __init__(
        self,
        transfers: Callable[[tuple[int, ...]], Transfers],
        host: np.ndarray,
        scaling: Scaling,
        step: int,
        side: int,
    ) -> None:
        """
        Args:
            transfers: makes `Transfers` of arrays of at most a given shape.
            host: blurred grey values, (z, y, x) float32, from `Backend.host_empty`.
            scaling: applied to each slab.
            step: planes from one slab to the next.
            side: window side; slabs overlap by side - 1 planes.
        """
        self.shape: Shape = host.shape
        self.step = step
        self.data = host
        self._scaling = scaling
        self._margin = side - 1
        self._slabs = -(-(host.shape[0] - self._margin) // step)
        self._transfers = transfers((step + self._margin, *host.shape[1:]))
        self._here = self._coming = -1
        self._data: Array = None

    def slab(self, plane: int) -> Slab:
        """The slab of the windows that begin on ``plane``; it overwrites the one before."""
        number = plane // self.step
        if number != self._here:
            if number != self._coming:
                self._begin(number)
            self._data = self._transfers.finish()
            self._scaling.apply(self._data)
            self._here = number
            self._begin((number + 1) % self._slabs)
        return Slab(self._data, number * self.step)

    def grey_slice(self, z: int, download: Callable[[Array], np.ndarray]) -> np.ndarray:
        """Grey values of one z-slice before scaling, (y, x) float32 in host memory."""
        plane: np.ndarray = self.data[z]
        return plane

    def _begin(self, number: int) -> None:
        first = number * self.step
        self._transfers.begin(self.data[first : first + self.step + self._margin])
        self._coming = number
