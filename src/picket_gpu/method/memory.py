"""Sizes of tiles, slabs, samples and caches within the memory budget."""

from dataclasses import dataclass, replace
from math import prod

from picket_gpu.device.backend import MIB, Backend
from picket_gpu.errors import PicketError
from picket_gpu.method.blur import blur_radius
from picket_gpu.method.windows import ALIGNED, WindowSet

FLOAT = 4  # bytes
TILES_AND_KEPT = 288 * MIB  # by default, for tiles and for features kept between passes
LEAST_SAMPLE = 2**16  # windows; fewer would err too much, even if not all stay in memory
MOST_SAMPLE = 2**18  # windows, or a 16th of all; more would cost more than they gain
BLUR_ARRAYS = 5
BLUR_BLOCK = 256 * MIB
MOST_ELEMENTS = 2**31 - 1  # of a device array; some functions of CuPy err silently beyond


@dataclass(frozen=True)
class MemoryPlan:
    """Sizes that keep a run within its budget.

    Attributes:
        budget: bytes for all arrays on the device.
        side: window side in voxels.
        tile_windows: greatest number of windows of a tile.
        subset_windows: number of windows, as voxels, that k-means starts on; also of its band.
        cache_bytes: bytes left for features to keep between passes.
        gmm_bytes: bytes for the samples of the GMM: the cache, and what k-means needed before.
        blur_planes: planes of the volume that are blurred at a time.
        slab_planes: planes from the begin of one slab to the next, if the volume is streamed from
            host memory; None if all of it stays on the device.
    """

    budget: int
    side: int
    tile_windows: int
    subset_windows: int
    cache_bytes: int
    gmm_bytes: int
    blur_planes: int
    slab_planes: int | None = None

    def samples(self, count: int, row: int) -> list[int]:
        """Sizes of the GMM's samples of ``count`` windows of ``row`` bytes: a small one and a
        larger one, or only one if memory is short; no sample if it would be all windows."""
        small, most, fits = *_sample_sizes(count), self.gmm_bytes // row
        if count <= max(LEAST_SAMPLE, min(most, fits)):
            return []
        if fits >= 3 * small:
            return [small, min(most, fits - small)]
        return [max(LEAST_SAMPLE, min(most, fits))]

    def kept_raw(self, count: int, row: int, gmm: bool) -> int:
        """Number of ``count`` windows whose raw features, of ``row`` bytes each, can be kept,
        beside the samples of a GMM if ``gmm``."""
        beside = 0
        if gmm:
            kmeans = self.gmm_bytes - self.cache_bytes
            most = min(count, sum(_sample_sizes(count))) * row
            beside = max(0, min(self.gmm_bytes, most) - kmeans)
        return min(count, max(0, self.cache_bytes - beside) // row)

    def with_less(self, tile_windows: int) -> "MemoryPlan":
        """The plan with smaller tiles and half the caches, after memory ran out."""
        cache, gmm = self.cache_bytes // 2, self.gmm_bytes // 2
        return replace(self, tile_windows=tile_windows, cache_bytes=cache, gmm_bytes=gmm)


def _sample_sizes(count: int) -> tuple[int, int]:
    """Size of the GMM's small sample, and greatest size of its larger one."""
    return max(LEAST_SAMPLE, count // 64), max(MOST_SAMPLE, count // 16)


def plan_memory(
    backend: Backend,
    windows: WindowSet,
    label_bytes: int,
    budget: int | None = None,
    sigma: float = 2.0,
    beside_labels: int = 0,
) -> MemoryPlan:
    """Plan the memory of one tomogram.

    Args:
        windows: windows used for fitting.
        label_bytes: bytes per voxel for one feature mode: 1 for each clustering method, 3 with
            scores.
        budget: bytes for all arrays; None for the backend's default.
        sigma: standard deviation of the blur, in voxels.
        beside_labels: bytes of host memory that the caller uses while it has labels.

    Raises:
        PicketError: the budget is too small for volume, blur, labels and tiles.
    """
    depth = windows.volume_shape[0]
    volume = FLOAT * prod(windows.volume_shape)
    labels = label_bytes * volume // FLOAT
    # k-means keeps up to five arrays of this size: the subset, two bands and their pieces.
    subset_array = max(8 * MIB, min(volume // 4, 128 * MIB))
    parts = _Parts(backend, windows, backend.tile_bytes, subset_array)
    if backend.streams:
        fixed = volume + max(labels + parts.bytes, _blur_bytes(windows, sigma, 1))
    else:  # beside the volume: its blur, or labels and what the caller makes of them
        fixed = volume + max(volume, labels + max(volume // FLOAT, beside_labels)) + parts.bytes
    if budget is None:
        budget = backend.default_budget(volume, fixed, max(0, TILES_AND_KEPT - parts.tile_bytes))
    if backend.streams and (budget < fixed or volume > FLOAT * MOST_ELEMENTS):
        return _plan_streaming(backend, windows, label_bytes, budget, sigma)
    if budget < fixed:
        raise _too_little(budget, fixed, windows)
    cache = budget - volume - labels - parts.bytes if backend.streams else budget - fixed
    blur_planes = depth
    if backend.streams:
        blur_planes = _blur_planes(windows, sigma, budget - volume)
    gmm = cache + parts.kmeans_bytes
    return MemoryPlan(budget, windows.side, parts.tile, parts.subset, cache, gmm, blur_planes)


def _plan_streaming(
    backend: Backend, windows: WindowSet, label_bytes: int, budget: int, sigma: float
) -> MemoryPlan:
    """Give a quarter of the budget to tiles, one to k-means, and the rest to slabs and labels."""
    depth, rows, columns = windows.volume_shape
    plane = FLOAT * rows * columns
    margin = windows.side - 1
    overlap = 2 * plane * margin
    each = 2 * plane + label_bytes * rows * columns  # two slabs, and labels of one
    # Smaller slabs than twice their overlap would be sent mostly twice.
    least = max(2 * (margin * each + overlap), _blur_bytes(windows, sigma, 1))
    if budget < least:
        raise _too_little(budget, least, windows)
    tile_bytes = min(backend.tile_bytes, budget // (4 * _Parts.tile_arrays))
    subset_array = min(128 * MIB, budget // (4 * _Parts.subset_arrays))
    parts = _Parts(backend, windows, tile_bytes, subset_array)
    planes = (budget - parts.bytes - overlap) // each
    planes = min(planes, MOST_ELEMENTS // (rows * columns) - margin, depth)
    blur_planes = _blur_planes(windows, sigma, budget)
    return MemoryPlan(
        budget, windows.side, parts.tile, parts.subset, 0, parts.kmeans_bytes, blur_planes, planes
    )


class _Parts:
    """Memory for passes over tiles, beside the volume."""

    tile_arrays = 8  # windows, DFT lines, spectra, magnitudes, two for float64, z, a product
    subset_arrays = 5

    def __init__(
        self, backend: Backend, windows: WindowSet, tile_bytes: int, subset_array: int
    ) -> None:
        window = (windows.side**3 + 1) * FLOAT
        most = max(1, tile_bytes // window)
        self.tile = most - most % ALIGNED or most
        self.subset = min(windows.count, max(2, subset_array // window))
        self.kmeans_bytes = self.subset * self.subset_arrays * window
        self.tile_bytes = backend.workers * self.tile * self.tile_arrays * window
        self.bytes = self.tile_bytes + self.kmeans_bytes


def _blur_bytes(windows: WindowSet, sigma: float, planes: int) -> int:
    """Bytes to blur a block of ``planes``: arrays with a halo for the input, the result, one in
    between, the last block's result, and one more for small arrays and unused parts of blocks."""
    depth, rows, columns = windows.volume_shape
    with_halo = min(planes + 2 * blur_radius(sigma), depth)
    return BLUR_ARRAYS * FLOAT * rows * columns * with_halo


def _blur_planes(windows: WindowSet, sigma: float, free: int) -> int:
    """Number of planes to blur at a time with ``free`` bytes. Blocks beyond `BLUR_BLOCK` would save
    few halos and need as much pinned host memory."""
    depth, rows, columns = windows.volume_shape
    most = min(free // (BLUR_ARRAYS * FLOAT), MOST_ELEMENTS) // (rows * columns)
    if most >= depth and FLOAT * depth * rows * columns <= BLUR_BLOCK:
        return depth
    large = max(1, BLUR_BLOCK // (FLOAT * rows * columns))
    return max(1, min(depth, most - 2 * blur_radius(sigma), large))


def _too_little(budget: int, needed: int, windows: WindowSet) -> PicketError:
    return PicketError(
        f"memory_budget: {budget / MIB:.3g} MiB is too little for a volume of "
        f"{' x '.join(map(str, windows.volume_shape))}; it needs {-(-needed // MIB)} MiB"
    )
