"""Streams over the tiles of a window set: of raw features, and of whitened ones."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from math import prod
from typing import TypeVar

import numpy as np

from picket_gpu.device.backend import Backend
from picket_gpu.device.operations import Array, Scratch
from picket_gpu.method.feature_mode import Extractor
from picket_gpu.method.neighborhoods import WindowSet
from picket_gpu.method.volume import Volume

Result = TypeVar("Result")


class Tally:
    """Counts windows whose features are computed.

    Attributes:
        windows: how many were, each as often as it was.
    """

    def __init__(self) -> None:
        self.windows = 0

    def lap(self) -> int:
        """How many there were since the last call."""
        windows, self.windows = self.windows, 0
        return windows


class RawFeatures:
    """Raw features x of a window set, computed tile by tile each time they are asked for.

    Attributes:
        count: number of windows.
        tiles: of at most ``tile_windows`` windows each.
        planes: planes of the volume on which the tiles' first windows begin.
    """

    def __init__(
        self,
        backend: Backend,
        volume: Volume,
        windows: WindowSet,
        extract: Extractor,
        tile_windows: int,
        tally: Tally | None = None,
    ) -> None:
        """
        Args:
            volume: prepared.
            windows: which windows.
            extract: from windows to raw features.
            tile_windows: windows of a tile, at most.
            tally: counts the windows whose features are computed.
        """
        self.backend = backend
        self.count = windows.count
        self.tile_windows = tile_windows
        self.tiles = list(windows.tiles(tile_windows, volume.step))
        self.planes = windows.first_planes(self.tiles)
        self.volume = volume
        self.windows = windows
        self.tally = Tally() if tally is None else tally
        self._extract = extract

    @property
    def begins(self) -> list[int]:
        """How many windows are in the tiles before each tile, and in all."""
        sizes = (
            len(tile) if isinstance(tile, range) else prod(s.stop - s.start for s in tile)
            for tile in self.tiles
        )
        return list(accumulate(sizes, initial=0))

    def choose(self, places: np.ndarray) -> "RawFeatures":
        """Features of some of the windows.

        Args:
            places: number of the tile * ``tile_windows`` + place in the tile, ascending.
        """
        chosen = self.windows.choose(self.tiles, places, self.tile_windows)
        size, tally = self.tile_windows, self.tally
        return RawFeatures(self.backend, self.volume, chosen, self._extract, size, tally)

    def compute(self, number: int, scratch: Scratch) -> Array:
        """(x, 1) of the windows of a tile, (raw + 1, windows) float32, an array of ``scratch``."""
        slab = self.volume.slab(self.planes[number])
        return self.windows.features(self._extract, slab, self.tiles[number], scratch)

    def map(
        self,
        function: Callable[[Array, int, Scratch], Result],
        numbers: Iterable[int] | None = None,
    ) -> Iterator[Result]:
        """``function(x, number, scratch)`` for every tile, or those with ``numbers``, in order.

        It must not keep x.
        """

        def apply(number: int, scratch: Scratch) -> Result:
            return function(self.compute(number, scratch), number, scratch)

        numbers = range(len(self.tiles)) if numbers is None else list(numbers)
        self.count_computed(numbers)
        return self.backend.map(apply, numbers)

    def count_computed(self, numbers: Iterable[int]) -> None:
        """Tell the tally of tiles that are about to be computed."""
        begins = self.begins
        self.tally.windows += sum(begins[number + 1] - begins[number] for number in numbers)

    def together(self) -> Array:
        """(x, 1) of all windows, (raw + 1, windows) float32 on the device, for few windows."""
        return self.backend.xp.concatenate(list(self.map(lambda x, *_: x.copy())), axis=1)

    def moments(self) -> np.ndarray:
        """Sum over windows of (x, 1)(x, 1)', (raw + 1, raw + 1) float64 in host memory.

        float64: variances of 1e-9 must come out of features of size one.
        """

        def square(x: Array, _: int, scratch: Scratch) -> Array:
            precise = scratch.array("precise", x.shape, "float64")
            precise[...] = x
            return precise @ precise.T

        return self.backend.download(sum(self.map(square)))


class WhitenedFeatures:
    """Whitened features z of a window set, computed from its raw ones.

    The first tiles are kept once computed, as far as ``cache_bytes`` go.
    """

    def __init__(self, features: RawFeatures, matrix: np.ndarray, cache_bytes: int = 0) -> None:
        """
        Args:
            features: of the windows.
            matrix: (k + 1, raw + 1), a `Whitening.matrix`.
            cache_bytes: memory for tiles to keep.
        """
        self.backend = features.backend
        self.count = features.count
        self._features = features
        self._matrix = self.backend.upload(matrix.T.astype(np.float32))
        kept = cache_bytes // (len(matrix) * 4)
        self._cached_tiles = bisect_right(features.begins, kept) - 1
        self._cache: dict[int, Array] = {}

    def map(self, function: Callable[[Array, Scratch], Result]) -> Iterator[Result]:
        """``function(z, scratch)`` for every tile in order.

        z stands for (z, 1), (windows, k + 1) float32; ``function`` must neither change nor keep it.
        """

        def apply(number: int, scratch: Scratch) -> Result:
            return function(self._whitened(number, scratch), scratch)

        numbers = range(len(self._features.tiles))
        self._features.count_computed(number for number in numbers if number not in self._cache)
        return self.backend.map(apply, numbers)

    def _whitened(self, number: int, scratch: Scratch) -> Array:
        if number in self._cache:
            return self._cache[number]
        x = self._features.compute(number, scratch)
        z = affine(self.backend, x, self._matrix, scratch)
        if number < self._cached_tiles:
            self._cache[number] = z.copy()
        return z


def affine(backend: Backend, x: Array, matrix: Array, scratch: Scratch) -> Array:
    """An affine map of x, as whitening is one: (raw + 1, windows) and (raw + 1, k) to (windows, k)
    float32, an array of ``scratch``.

    Windows are rows here, where BLAS multiplies by small matrices fastest.
    """
    z = scratch.array("z", (x.shape[1], matrix.shape[1]))
    return backend.xp.matmul(x.T, matrix, out=z)
