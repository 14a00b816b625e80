"""Labels of all voxels from fitted clusters."""

from collections.abc import Callable, Sequence

import numpy as np

from picket_gpu.backend import Array, Scratch
from picket_gpu.neighborhoods import Shape, Tile
from picket_gpu.streams import RawFeatures

UNLABELLED, BACKGROUND, FOREGROUND = -1, 0, 1


def label_volume(
    features: RawFeatures,
    decisions: Sequence[Callable[[Array, Scratch], Array]],
    shape: Shape,
    side: int,
) -> list[np.ndarray]:
    """One label volume per fitted clusterer, in one pass over all windows.

    Args:
        features: of all windows of the volume.
        decisions: functions from raw features (raw + 1, windows) to (windows,), positive for
            cluster 1.
        shape: of the volume, (z, y, x).
        side: window side in voxels.

    Returns:
        int8 arrays of ``shape``: 0 for the more populous cluster, 1 for the other, -1 for voxels
        nearer than side // 2 to a face, which have no window.
    """
    xp = features.backend.xp
    volumes = [xp.full(shape, UNLABELLED, dtype=xp.int8) for _ in decisions]
    cores = [core(volume, side) for volume in volumes]

    def label(x: Array, tile: Tile, scratch: Scratch) -> None:
        for decide, labels in zip(decisions, cores, strict=True):
            box = labels[tile]
            box[...] = (decide(x, scratch) > 0).reshape(box.shape)

    for _ in features.map(label):
        pass
    for labels in cores:
        if 2 * int(xp.count_nonzero(labels)) > labels.size:
            xp.subtract(FOREGROUND, labels, out=labels)
    return [features.backend.download(volume) for volume in volumes]


def core(volume: Array, side: int) -> Array:
    """The part of a volume whose voxels have a whole window around them, a view."""
    half = side // 2
    return volume[half:-half, half:-half, half:-half]
