"""The prepared volume: wholly on the device, or in host memory and streamed in slabs of planes."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from picket_gpu.device.backend import Transfers
from picket_gpu.device.operations import Array, Shape


class Slab(NamedTuple):
    """Neighbouring planes of a volume on the device.

    Attributes:
        data: (planes, y, x) float32.
        first: the volume's plane that comes first.
    """

    data: Array
    first: int


class Scaling(NamedTuple):
    """From blurred grey values to min-max normalised and centred ones."""

    low: float
    span: float
    offset: float

    def apply(self, values: Array) -> None:
        """Scale in place."""
        values -= self.low
        values /= self.span
        values -= self.offset


class Volume(Protocol):
    """What passes over windows ask of a volume.

    Attributes:
        shape: (z, y, x).
        step: windows that begin on planes from one multiple of it to the next share a slab.
    """

    @property
    def shape(self) -> Shape: ...

    @property
    def step(self) -> int: ...

    def slab(self, plane: int) -> Slab:
        """The slab of the windows that begin on ``plane``. The one before it may be overwritten."""

    def grey_slice(self, z: int, download: Callable[[Array], np.ndarray]) -> np.ndarray:
        """Grey values of one plane, (y, x) float32 in host memory, up to offset and scale.

        Args:
            download: from the device to host memory.
        """


class ResidentVolume:
    """A volume on the device: one slab."""

    def __init__(self, data: Array) -> None:
        self.data = data
        self.shape: Shape = data.shape
        self.step: int = data.shape[0]

    def slab(self, plane: int) -> Slab:
        """All of it."""
        return Slab(self.data, 0)

    def grey_slice(self, z: int, download: Callable[[Array], np.ndarray]) -> np.ndarray:
        """Grey values of one plane, (y, x) float32 in host memory."""
        return download(self.data[z])


class StreamedVolume:
    """A volume in host memory. A slab is scaled as it comes; the next is on its way meanwhile.

    Passes go through the slabs in turn and begin again at the front, so the one after the one in
    use, cyclically, is fetched ahead.
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
            transfers: of arrays of at most a given shape.
            host: blurred grey values, (z, y, x) float32, in pinned memory if the device wants it.
            scaling: applied to each slab.
            step: planes from one slab to the next.
            side: window side; slabs overlap by side - 1 planes.
        """
        self.shape: Shape = host.shape
        self.step = step
        self._host = host
        self._scaling = scaling
        self._margin = side - 1
        self._slabs = -(-(host.shape[0] - self._margin) // step)
        self._transfers = transfers((step + self._margin, *host.shape[1:]))
        self._here = self._coming = -1
        self._data: Array = None

    def slab(self, plane: int) -> Slab:
        """The slab of the windows that begin on ``plane``. The one before it is overwritten."""
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
        """Grey values of one plane before scaling, (y, x) float32 in host memory."""
        plane: np.ndarray = self._host[z]
        return plane

    def _begin(self, number: int) -> None:
        first = number * self.step
        self._transfers.begin(self._host[first : first + self.step + self._margin])
        self._coming = number
