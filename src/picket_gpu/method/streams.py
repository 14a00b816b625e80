"""Features of a window set, raw or whitened, computed tile by tile in each pass."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from math import prod
from threading import Lock
from typing import Any, TypeVar

import numpy as np

from picket_gpu.device.backend import Backend
from picket_gpu.device.operations import Array, Scratch
from picket_gpu.method.feature_mode import Extractor
from picket_gpu.method.volume import Volume
from picket_gpu.method.windows import WindowSet

Result = TypeVar("Result")


class Tally:
    """Counts windows whose features are computed.

    Attributes:
        windows: number since the last lap; a window counts each time.
    """

    def __init__(self) -> None:
        self.windows = 0

    def lap(self) -> int:
        """Number of windows since the last call."""
        windows, self.windows = self.windows, 0
        return windows


class Kept:
    """The first tiles of a stream, kept once computed."""

    def __init__(self, xp: Any, begins: list[int], windows: int) -> None:
        """
        Args:
            begins: `RawFeatures.begins`.
            windows: greatest number of windows to keep.
        """
        self._xp = xp
        self._begins = begins
        self._most = bisect_right(begins, windows) - 1
        self._there: dict[int, Array] = {}
        self._lock = Lock()
        self._memory: Array | None = None

    def __contains__(self, number: int) -> bool:
        return number in self._there

    def get(self, number: int, compute: Callable[[], Array]) -> Array:
        """Return a tile, computed if it is not kept yet."""
        if number in self._there:
            return self._there[number]
        tile = compute()
        if self.keeps(number):
            begin, end = self._begins[number], self._begins[number + 1]
            row = tile.size // (end - begin)
            kept = self._store(row)[row * begin : row * end].reshape(tile.shape)
            kept[...] = tile
            self._there[number] = tile = kept
        return tile

    def keeps(self, number: int) -> bool:
        """Whether the tile is among those to keep."""
        return number < self._most

    def clear(self) -> None:
        """Forget all tiles, and keep none from now on."""
        self._most = 0
        self._there.clear()
        self._memory = None

    def _store(self, row: int) -> Array:
        """Memory for all tiles, ``row`` numbers per window: one array, so that the system can use
        huge pages."""
        with self._lock:
            if self._memory is None:
                size = row * self._begins[self._most]
                self._memory = self._xp.empty(size, dtype="float32")
            return self._memory


class RawFeatures:
    """Raw features x of a window set, computed tile by tile in each pass; the first tiles are kept.

    Attributes:
        count: number of windows.
        tiles: pieces of at most ``tile_windows`` windows.
        planes: for each tile, the plane of the volume on which its first window begins.
        kept: the tiles that are kept.
    """

    def __init__(
        self,
        backend: Backend,
        volume: Volume,
        windows: WindowSet,
        extract: Extractor,
        tile_windows: int,
        tally: Tally | None = None,
        kept_windows: int = 0,
    ) -> None:
        """
        Args:
            volume: prepared volume.
            windows: the window set.
            extract: computes raw features from windows.
            tile_windows: greatest number of windows of a tile.
            tally: counts the windows whose features are computed.
            kept_windows: greatest number of windows whose features are kept.
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
        self.kept = Kept(backend.xp, self.begins, kept_windows)

    @property
    def begins(self) -> list[int]:
        """Number of windows before each tile, and at the end the number of all."""
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
        """(x, 1) of the windows of a tile, (raw + 1, windows) float32, in ``scratch`` or kept."""

        def extract() -> Array:
            slab = self.volume.slab(self.planes[number])
            return self.windows.features(self._extract, slab, self.tiles[number], scratch)

        return self.kept.get(number, extract)

    def map(
        self,
        function: Callable[[Array, int, Scratch], Result],
        numbers: Iterable[int] | None = None,
    ) -> Iterator[Result]:
        """Apply ``function(x, number, scratch)`` to every tile, or to tiles ``numbers``, in order.

        It must neither change nor keep x.
        """

        def apply(number: int, scratch: Scratch) -> Result:
            return function(self.compute(number, scratch), number, scratch)

        numbers = range(len(self.tiles)) if numbers is None else list(numbers)
        self.count_computed(numbers)
        return self.backend.map(apply, numbers)

    def take_over(self, other: "RawFeatures") -> None:
        """Use the tiles that ``other`` has kept, if they are the same; else clear them."""
        if (self.tiles, self.planes) == (other.tiles, other.planes):
            self.kept = other.kept
        else:
            other.kept.clear()

    def count_computed(self, numbers: Iterable[int]) -> None:
        """Count the windows of tiles that are about to be computed."""
        begins, kept = self.begins, self.kept
        self.tally.windows += sum(begins[n + 1] - begins[n] for n in numbers if n not in kept)

    def together(self) -> Array:
        """(x, 1) of all windows as one array, (raw + 1, windows) float32 on the device."""
        return self.backend.xp.concatenate(list(self.map(lambda x, *_: x.copy())), axis=1)

    def moments(self) -> np.ndarray:
        """Sum over windows of (x, 1)(x, 1)', (raw + 1, raw + 1) float64 in host memory.

        In float64, since variances of 1e-9 matter beside features of size one.
        """

        def square(x: Array, _: int, scratch: Scratch) -> Array:
            precise = scratch.array("precise", x.shape, "float64")
            precise[...] = x
            return precise @ precise.T

        return self.backend.download(sum(self.map(square)))


class WhitenedFeatures:
    """Whitened features z of a window set, computed from its raw ones.

    The first tiles are kept, as many as ``cache_bytes`` hold.
    """

    def __init__(self, features: RawFeatures, matrix: np.ndarray, cache_bytes: int = 0) -> None:
        """
        Args:
            features: raw features of the windows.
            matrix: (k + 1, raw + 1), a `Whitening.matrix`.
            cache_bytes: memory for tiles to keep.
        """
        self.backend = features.backend
        self.count = features.count
        self._features = features
        self._matrix = self.backend.upload(matrix.T.astype(np.float32))
        self._kept = Kept(self.backend.xp, features.begins, cache_bytes // (4 * len(matrix)))

    def map(self, function: Callable[[Array, Scratch], Result]) -> Iterator[Result]:
        """Apply ``function(z, scratch)`` to every tile in order.

        z stands for (z, 1), (windows, k + 1) float32; ``function`` must neither change nor keep it.
        """

        def apply(number: int, scratch: Scratch) -> Result:
            return function(self._whitened(number, scratch), scratch)

        numbers = range(len(self._features.tiles))
        self._features.count_computed(number for number in numbers if number not in self._kept)
        return self.backend.map(apply, numbers)

    def of(self, x: Array, number: int, scratch: Scratch) -> Array:
        """(z, 1) of a tile, (windows, k + 1) float32, from its (x, 1)."""
        return self._kept.get(number, lambda: affine(self.backend, x, self._matrix, scratch))

    def _whitened(self, number: int, scratch: Scratch) -> Array:
        def whiten() -> Array:
            x = self._features.compute(number, scratch)
            return affine(self.backend, x, self._matrix, scratch)

        return self._kept.get(number, whiten)


def affine(backend: Backend, x: Array, matrix: Array, scratch: Scratch) -> Array:
    """Map x, (raw + 1, windows), by a matrix, (raw + 1, k), to (windows, k) float32 in ``scratch``.

    Windows become rows, since BLAS multiplies rows by small matrices fastest.
    """
    z = scratch.array("z", (x.shape[1], matrix.shape[1]))
    return backend.xp.matmul(x.T, matrix, out=z)
