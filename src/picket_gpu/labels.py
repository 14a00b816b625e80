"""Labels of all voxels from fitted clusters."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple, cast

import numpy as np

from picket_gpu.operations import Array, Box, Scratch
from picket_gpu.streams import RawFeatures

UNLABELLED, BACKGROUND, FOREGROUND = -1, 0, 1


class Decision(NamedTuple):
    """A fitted clustering, to be applied to windows.

    Attributes:
        of_features: from (x, 1), (raw + 1, windows), to (windows,), positive for cluster 1.
        plane: where it is linear in x, (raw + 1,); plane . (x, 1) is positive for cluster 1.
    """

    of_features: Callable[[Array, Scratch], Array]
    plane: np.ndarray | None = None


def label_volume(
    features: RawFeatures, decisions: Sequence[Decision], voxels: bool
) -> list[np.ndarray]:
    """One label volume per fitted clusterer, in one pass over all windows.

    Args:
        features: of all windows of the volume.
        decisions: one of each clusterer.
        voxels: whether raw features are a window's voxels: a plane is then one filter.

    Returns:
        int8 arrays, (z, y, x): 0 for the more populous cluster, 1 for the other, -1 for voxels
        nearer than side // 2 to a face, which have no window.
    """
    backend = features.backend
    filters = voxels and backend.correlates
    parts: list[list[np.ndarray]] = [[] for _ in decisions]
    ones = [0] * len(decisions)
    for first, numbers in _by_slab(features):
        blocks = _label_slab(features, decisions, filters, first, numbers)
        for which, block in enumerate(blocks):
            # All planes are one run of memory, which a GPU sums fast; the border counts -1.
            border = block.planes.size - block.labels.size
            ones[which] += int(block.planes.sum(dtype="int64")) + border
            parts[which].append(backend.download(block.planes))
        del blocks, block  # before the next slab's
    labelled = features.count
    return [
        _background_first(_whole(pieces), count, labelled, features.windows.side)
        for pieces, count in zip(parts, ones, strict=True)
    ]


def core(volume: Array, side: int) -> Array:
    """The part of a volume whose voxels have a whole window around them, a view."""
    half = side // 2
    return volume[half:-half, half:-half, half:-half]


class _Block(NamedTuple):
    """Planes of a label volume on the device, and the part of them that has labels."""

    planes: Array
    labels: Array


def _by_slab(features: RawFeatures) -> Iterator[tuple[int, list[int]]]:
    """The first plane on which windows of a slab begin, and the numbers of their tiles."""
    step = features.volume.step
    by_slab = groupby(range(len(features.tiles)), key=lambda n: features.planes[n] // step)
    for slab, numbers in by_slab:
        yield slab * step, list(numbers)


def _label_slab(
    features: RawFeatures,
    decisions: Sequence[Decision],
    filters: bool,
    first: int,
    numbers: list[int],
) -> list[_Block]:
    """Labels of the windows that begin in one slab."""
    operations, side = features.backend.operations, features.windows.side
    blocks = [_empty_block(features, first) for _ in decisions]
    of_windows = []
    for decision, block in zip(decisions, blocks, strict=True):
        if filters and decision.plane is not None:
            slab = features.volume.slab(first)
            begin = first - slab.first
            planes = slab.data[begin : begin + len(block.labels) + side - 1]
            operations.label_by_plane(planes, decision.plane, side, block.labels)
        else:
            of_windows.append((decision, block.labels))

    def label(x: Array, number: int, scratch: Scratch) -> None:
        z, *row = cast("Box", features.tiles[number])
        for decision, labels in of_windows:
            box = labels[slice(z.start - first, z.stop - first), *row]
            box[...] = (decision.of_features(x, scratch) > 0).reshape(box.shape)

    if of_windows:
        for _ in features.map(label, numbers):
            pass
    return blocks


def _empty_block(features: RawFeatures, first: int) -> _Block:
    """Planes around the windows that begin in the slab at ``first``, without labels. The volume's
    first and last planes belong to its first and last slab."""
    _, rows, columns = features.volume.shape
    half, windows = features.windows.side // 2, features.windows.grid[0]
    last = min(first + features.volume.step, windows)
    above, below = half * (first == 0), half * (last == windows)
    shape = (above + last - first + below, rows, columns)
    xp = features.backend.xp
    planes = xp.full(shape, UNLABELLED, dtype=xp.int8)
    return _Block(planes, planes[above : above + last - first, half:-half, half:-half])


def _whole(pieces: list[np.ndarray]) -> np.ndarray:
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def _background_first(labels: np.ndarray, ones: int, labelled: int, side: int) -> np.ndarray:
    """Rename clusters in place, so that the more populous one is the background."""
    if 2 * ones > labelled:
        inside = core(labels, side)
        np.subtract(FOREGROUND, inside, out=inside)
    return labels
