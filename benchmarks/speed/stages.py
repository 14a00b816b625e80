"""Stages of S1 against the least that they must do: operations and bytes over measured rates."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.speed.machine import timed
from benchmarks.volumes import demo_volume
from picket_gpu.device.backend import MIB, Backend
from picket_gpu.device.operations import Array, Scratch
from picket_gpu.method.clustering import GaussianMixture
from picket_gpu.method.clustering.em import expect, maximise, start_from_clusters
from picket_gpu.method.clustering.kmeans import _pass, fit_kmeans
from picket_gpu.method.feature_mode import FeatureMode
from picket_gpu.method.features import FFTs, Gabor, Intensities
from picket_gpu.method.features.ffts import magnitudes_by_fft
from picket_gpu.method.labels import label_volume
from picket_gpu.method.memory import MemoryPlan, plan_memory
from picket_gpu.method.preprocess import PreparedVolume, prepare
from picket_gpu.method.streams import RawFeatures, WhitenedFeatures
from picket_gpu.method.whitening import scale_features
from picket_gpu.method.windows import WindowSet, all_windows

VOXEL = 4  # bytes
# Seconds of a function that is called a number of times.
Clock = Callable[[Backend, Callable[[], Any], int], float]
MODES = [FFTs(n_fft_subsets=1), Gabor(num_neighborhoods_subsets=1), Intensities()]
TILES = (16, 64, 256)  # MiB


@dataclass(frozen=True)
class Stage:
    """A stage over some windows.

    Attributes:
        flops: operations of the algorithm, a window.
        bytes: least traffic with main memory, a window: each input read and each output written
            once. The input of a pass is the volume; of a stage of a tile, the tile.
        share: of the machine's rates that the stage may use: a tile has one worker.
        rate: which matrix rate holds.
    """

    name: str
    windows: int
    seconds: float
    flops: float
    bytes: float
    share: float = 1.0
    rate: str = "flops_per_second"

    def row(self, rates: dict[str, float]) -> dict[str, Any]:
        """Figures of the table; the larger of the two shares says what bounds the stage."""
        per_second = self.windows / self.seconds / self.share
        return {
            "name": self.name,
            "windows": self.windows,
            "microseconds_per_1000_windows": self.seconds / self.windows * 1e9,
            "flops_per_window": self.flops,
            "bytes_per_window": self.bytes,
            "share_of_matrix_rate": self.flops * per_second / rates[self.rate],
            "share_of_bandwidth": self.bytes * per_second / rates["bytes_per_second"],
        }


def measure_stages(
    backend: Backend, size: int, rates: dict[str, float]
) -> Iterator[dict[str, Any]]:
    """Rows for a volume of ``size`` voxels a side and windows of 5 voxels a side."""
    for stage in stages(backend, size):
        yield stage.row(rates)


def measure_tiles(backend: Backend, size: int) -> Iterator[dict[str, Any]]:
    """The passes of `measure_stages` with tiles of `TILES`: how launches weigh against work."""
    before = backend.tile_bytes
    try:
        for mib in TILES:
            backend.tile_bytes = mib * MIB
            with backend.exclusive():
                for stage in _over_a_volume(backend, size, timed, passes_only=True):
                    microseconds = stage.seconds / stage.windows * 1e9
                    row = {"name": stage.name, "tile_mib": mib}
                    yield {**row, "microseconds_per_1000_windows": microseconds}
    finally:
        backend.tile_bytes = before


def stages(backend: Backend, size: int, clock: Clock = timed) -> Iterator[Stage]:
    """The stages, each as soon as ``clock`` has taken its seconds."""
    yield from volume_stages(backend, size, clock)
    with backend.exclusive():
        yield from _of_a_tile(backend, clock)


def volume_stages(backend: Backend, size: int, clock: Clock = timed) -> Iterator[Stage]:
    """Those of `stages` that are a pass over a volume."""
    with backend.exclusive():
        yield from _over_a_volume(backend, size, clock)


def _over_a_volume(
    backend: Backend, size: int, clock: Clock, passes_only: bool = False
) -> Iterator[Stage]:
    """One pass each, over all windows; if told, those of clusterers and labels only."""
    volume = demo_volume((size,) * 3)
    windows = all_windows(volume.shape, 5)
    tiles = 8 * backend.workers * backend.tile_bytes
    plan = plan_memory(backend, windows, 2, 4 * volume.nbytes + 2**31 + tiles)
    if not passes_only:
        seconds = clock(backend, lambda: prepare(backend, volume, 2.0, plan), 3)
        # Three blurs of 17 taps.
        yield Stage("upload, blur, scale", volume.size, seconds, 6 * 17, 2 * VOXEL)
    prepared = prepare(backend, volume, 2.0, plan)
    for mode in MODES:
        yield from _of_a_mode(backend, prepared, windows, plan, mode, clock, passes_only)


def _of_a_mode(
    backend: Backend,
    prepared: PreparedVolume,
    windows: WindowSet,
    plan: MemoryPlan,
    mode: FeatureMode,
    clock: Clock,
    passes_only: bool,
) -> Iterator[Stage]:
    """One pass each of one feature mode."""
    extract = mode.extractor(backend.operations, 5, prepared.offset)
    features = RawFeatures(backend, prepared.volume, windows, extract, plan.tile_windows)
    few = replace(windows, cap=plan.subset_windows)
    subset = RawFeatures(backend, prepared.volume, few, extract, plan.tile_windows)
    total = features.moments()
    raw = len(total)
    across = 6250 if backend.name == "gpu" else 1250  # a CPU shares it between neighbours
    extraction = across + 2400 if mode.mode == "ffts" else 0

    def stage(name: str, function: Any, flops: float, size: float = VOXEL, **kind: str) -> Stage:
        seconds = clock(backend, function, 3)
        return Stage(f"{mode.mode}: {name}", windows.count, seconds, flops, size, **kind)

    if mode.mode != "gabor" and not passes_only:  # its raw features are those of intensities
        squares = 2 * raw**2
        yield stage("moments, float64", features.moments, squares, rate="float64_flops_per_second")
    reported, whitening = scale_features(mode, total, 5, "volume")
    kmeans = fit_kmeans(features, subset, reported, total[-1], 0)
    yield stage(
        "k-means, one pass",
        lambda: _pass(features, kmeans, 0.01, plan.subset_windows),
        extraction + 4 * raw,
    )
    coordinates = WhitenedFeatures(features, whitening.matrix)
    k = whitening.size
    sums = start_from_clusters(coordinates, whitening.plane(kmeans.centres))
    components = maximise(sums.moments, whitening.total, whitening.ridge)
    em = extraction + 2 * raw * k + 2 * k**2 + k**2
    name = f"EM, one iteration, {k} coordinates"
    yield stage(name, lambda: expect(coordinates, components), em)
    mixture = GaussianMixture(whitening, components.log_odds, 0.0, 1, True)
    decisions = [kmeans.decision(backend), mixture.decision(backend)]
    voxels = mode.raw_kind == "voxels"
    if not passes_only:
        yield stage(
            "labels by k-means",
            lambda: label_volume(features, decisions[:1], voxels, [False]),
            extraction + 2 * raw,
            VOXEL + 1,
        )
    yield stage(
        "labels by both",
        lambda: label_volume(features, decisions, voxels, [False, False]),
        extraction + 2 * raw + 2 * raw * k + 3 * k,
        VOXEL + 2,
    )


def _of_a_tile(backend: Backend, clock: Clock) -> Iterator[Stage]:
    """Gathering, and magnitudes by matrix product and by FFT, for several window sides."""
    volume = backend.upload(demo_volume((40, 200, 200)))
    for side in (3, 5, 7, 9):
        yield from _of_a_side(backend, volume, side, clock)


def _of_a_side(backend: Backend, volume: Array, side: int, clock: Clock) -> Iterator[Stage]:
    """Gathering and magnitudes of one tile."""
    xp = backend.xp
    voxels = side**3
    tile_windows = max(64, backend.tile_bytes // (VOXEL * voxels))
    scratch = Scratch(xp)
    rows = max(1, min(200 - side, tile_windows // 190))
    box = (slice(0, max(1, min(40 - side, tile_windows // (190 * rows)))), slice(0, rows))
    box = (*box, slice(0, 190))
    count = int(np.prod([s.stop - s.start for s in box]))

    def stage(name: str, function: Any, flops: float, size: float) -> Stage:
        seconds = clock(backend, function, 5)
        share = 1 / backend.workers
        return Stage(f"side {side}: {name}", count, seconds, flops, size, share)

    def gather() -> Any:
        return backend.operations.box_windows(volume, box, side, scratch)

    yield stage("gather a tile", gather, 0, VOXEL * (voxels + 2))
    tile = gather().copy()
    extract = MODES[0].extractor(backend.operations, side, 0.5)
    moved = VOXEL * (voxels + 1) * 1.5
    product = 2 * side**5 + 4 * side**2 * (side**2 - 1)
    yield stage(
        "magnitudes by matrix product", lambda: extract.of_windows(tile, scratch), product, moved
    )
    # Half of the 5 n log2 n that a complex FFT of n points is counted with.
    fft = 2.5 * voxels * np.log2(voxels)
    yield stage(
        "magnitudes by FFT",
        lambda: magnitudes_by_fft(xp, tile, side, 0.5),
        fft,
        moved,
    )
