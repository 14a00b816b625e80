"""How much of the memory budget goes where."""

from dataclasses import dataclass
from math import prod

from picket_gpu.backend import MIB, Backend
from picket_gpu.errors import PicketError
from picket_gpu.neighborhoods import WindowSet

FLOAT = 4  # bytes


@dataclass(frozen=True)
class MemoryPlan:
    """Sizes that keep a run within its budget.

    Attributes:
        budget: bytes for all arrays.
        tile_windows: windows of a tile, at most, as far as memory goes.
        subset_windows: windows that k-means starts on, and of its band.
        cache_bytes: what is left for whitened coordinates to keep between passes.
    """

    budget: int
    tile_windows: int
    subset_windows: int
    cache_bytes: int


def plan_memory(
    backend: Backend, windows: WindowSet, methods: int, budget: int | None = None
) -> MemoryPlan:
    """The plan for one tomogram.

    Args:
        windows: those used for fitting.
        methods: number of clustering methods, each with a label volume.
        budget: bytes for all arrays; None for the backend's default.

    Raises:
        PicketError: the budget is below what one small tile needs.
    """
    volume = FLOAT * prod(windows.volume_shape)
    # The prepared volume, and the largest of: its blur, or labels and a copy of one to write.
    volumes = volume + max(volume, (methods + 1) * volume // 4)
    voxels = windows.side**3 + 1
    # Windows, their DFT lines, spectra and magnitudes, a float64 copy, coordinates, a product.
    window_bytes = 8 * voxels * FLOAT
    # k-means keeps up to five arrays of this size: the subset, two bands and their pieces.
    subset_array = max(8 * MIB, min(volume // 4, 128 * MIB))
    subset = min(windows.count, subset_array // (voxels * FLOAT))
    subset_bytes = 5 * subset * voxels * FLOAT
    tile = max(1, backend.tile_bytes // (voxels * FLOAT))
    fixed = volumes + subset_bytes + backend.workers * tile * window_bytes
    if budget is None:
        budget = backend.default_budget(volume, fixed)
    if budget < fixed:
        raise PicketError(
            f"memory_budget: {budget / MIB:.3g} MiB is too little for a volume of "
            f"{' x '.join(map(str, windows.volume_shape))}; it needs {-(-fixed // MIB)} MiB"
        )
    return MemoryPlan(budget, tile, subset, budget - fixed)
