"""Labels of all voxels from fitted clusters, and how sure they are."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple, cast

import numpy as np

from picket_gpu.device.operations import Array, Box, Scratch, Shape
from picket_gpu.errors import PicketError
from picket_gpu.method.streams import RawFeatures

UNLABELLED, BACKGROUND, FOREGROUND = -1, 0, 1
_HALF = np.float16(0.5)
_ABOVE_HALF = np.nextafter(_HALF, np.float16(1))


class Decision(NamedTuple):
    """A fitted clustering, to be applied to windows.

    Attributes:
        of_features: from (x, 1), (raw + 1, windows), to (windows,), positive for cluster 1.
        score: from (x, 1) and what ``of_features`` made of it to how sure cluster 1 is, (windows,)
            float32 in [0, 1].
        plane: where it is linear in x, (raw + 1,); plane . (x, 1) is positive for cluster 1.
    """

    of_features: Callable[[Array, Scratch], Array]
    score: Callable[[Array, Array, Scratch], Array]
    plane: np.ndarray | None = None


class Labelled(NamedTuple):
    """What one clusterer makes of a volume.

    Attributes:
        labels: int8, (z, y, x): 0 for the more populous cluster, 1 for the other, -1 for voxels
            nearer than side // 2 to a face, which have no window.
        scores: float16 in [0, 1], (z, y, x), above 0.5 exactly where the label is 1; 0 where there
            is no label. None if not asked for.
    """

    labels: np.ndarray
    scores: np.ndarray | None


def label_volume(
    features: RawFeatures,
    decisions: Sequence[Decision],
    voxels: bool,
    scores: Sequence[bool],
    wanted: np.ndarray | None = None,
) -> list[Labelled]:
    """Labels by each fitted clusterer, in one pass over all windows.

    Args:
        features: of all windows of the volume.
        decisions: one of each clusterer.
        voxels: whether raw features are a window's voxels: a plane is then one filter.
        scores: for each of them, whether to tell how sure its labels are.
        wanted: bool, broadcast to the volume's shape: which voxels get labels. Clusters are
            counted there only.
    """
    backend, side = features.backend, features.windows.side
    filters = voxels and backend.correlates
    parts = [_Parts() for _ in decisions]
    plane_bytes = sum(3 if scored else 1 for scored in scores) * prod(features.volume.shape[1:])
    for first, last, numbers in _blocks(features, plane_bytes):
        blocks = _label_block(features, decisions, filters, scores, first, last, numbers)
        begin = first and first + side // 2
        backend.finish_downloads()  # of the block before: two are on the device at most
        for part, (labels, block) in zip(parts, blocks, strict=True):
            # All planes are one run of memory, which a GPU sums fast; the border counts -1.
            border = labels.planes.size - labels.inside.size
            part.ones = part.ones + labels.planes.sum(dtype="int64") + border
            part.labels = _bring_down(features, labels.planes, begin, part.labels)
            if block is not None:
                part.scores = _bring_down(features, block.planes, begin, part.scores)
        del blocks, labels, block  # before the next block's
    backend.finish_downloads()
    volumes = []
    for part in parts:
        assert part.labels is not None
        volume = Labelled(part.labels, part.scores)
        ones, labelled = int(part.ones), features.count
        if wanted is not None:
            ones, labelled = _restrict(volume, wanted)
        if 2 * ones > labelled:
            _exchange(volume, side)
        volumes.append(volume)
    return volumes


def core(volume: Array, side: int) -> Array:
    """The part of a volume whose voxels have a whole window around them, a view."""
    half = side // 2
    return volume[half:-half, half:-half, half:-half]


def voxels_to_label(
    shape: Shape,
    side: int,
    lower: int | None,
    upper: int | None,
    mask: np.ndarray | None = None,
    name: str = "mask",
) -> np.ndarray | None:
    """Which voxels are to get labels, bool, (z, y, x) or (z, 1, 1); None for all.

    Args:
        shape: of the volume, (z, y, x).
        side: window side in voxels.
        lower: first z-slice to label, from 0; None for the first.
        upper: z-slice after the last to label; None for the end.
        mask: bool, (z, y, x), true where labels are wanted; it is changed.
        name: what to call the mask in an error.

    Raises:
        PicketError: no voxel of the mask that has a window is left.
    """
    if mask is None and lower is None and upper is None:
        return None
    slices = np.zeros((shape[0], 1, 1), dtype=bool)
    slices[lower:upper] = True
    if mask is None:
        return slices
    mask &= slices
    if not core(mask, side).any():
        raise PicketError(
            f"{name}: no voxel of the mask can be labelled; change the mask, the outermost "
            f"{side // 2} voxels of a volume never are"
        )
    return mask


@dataclass
class _Parts:
    """Labels and scores as far as they are made, and how many of the labels are 1.

    Attributes:
        ones: on the device, so that nobody has to wait for it.
    """

    labels: np.ndarray | None = None
    scores: np.ndarray | None = None
    ones: Array = 0


def _bring_down(
    features: RawFeatures, planes: Array, begin: int, volume: np.ndarray | None
) -> np.ndarray:
    """The volume in host memory, made if there is none, with ``planes`` from ``begin`` on. They
    are there once all downloads are finished."""
    backend, shape = features.backend, features.volume.shape
    if planes.shape == shape:
        return backend.download(planes)
    if volume is None:
        volume = np.empty(shape, planes.dtype)
    backend.begin_download(planes, volume[begin : begin + len(planes)])
    return volume


def foreground_fraction(labels: np.ndarray) -> float:
    """Of the labelled voxels of a volume, how many have label 1; 0 where there are none."""
    ones, labelled = _count(labels)
    return ones / max(labelled, 1)


def _count(labels: np.ndarray) -> tuple[int, int]:
    """How many voxels have label 1, and how many a label."""
    ones = labelled = 0
    for plane in labels:  # little memory
        ones += int(np.count_nonzero(plane == FOREGROUND))
        labelled += int(np.count_nonzero(plane != UNLABELLED))
    return ones, labelled


def _restrict(volume: Labelled, wanted: np.ndarray) -> tuple[int, int]:
    """Take away labels that are not wanted, in place; counts as `_count` does."""
    keep = np.broadcast_to(wanted, volume.labels.shape)
    for z, plane in enumerate(keep):
        volume.labels[z][~plane] = UNLABELLED
        if volume.scores is not None:
            volume.scores[z][~plane] = 0
    return _count(volume.labels)


class _Block(NamedTuple):
    """Planes of a volume on the device, and the part of them that has labels."""

    planes: Array
    inside: Array


def _blocks(features: RawFeatures, plane_bytes: int) -> Iterator[tuple[int, int, list[int]]]:
    """The planes on which windows begin, all of a slab or fewer: the first one, the one after the
    last, and the numbers of the tiles.

    Args:
        plane_bytes: of what comes down for each plane.
    """
    bound, step = features.backend.download_bytes, features.volume.step
    # The plan of memory has labels of one slab, and those of two blocks are there at a time.
    most = step if bound is None else max(1, min(bound // plane_bytes, step // 2))
    block: list[int] = []
    first = last = 0
    for number, tile in enumerate(features.tiles):
        z = cast("Box", tile)[0]
        new_planes = z.start >= last
        if block and new_planes and (z.stop - first > most or z.start // step > first // step):
            yield first, last, block
            first, block = z.start, []
        block.append(number)
        last = z.stop
    yield first, last, block


def _label_block(
    features: RawFeatures,
    decisions: Sequence[Decision],
    filters: bool,
    scores: Sequence[bool],
    first: int,
    last: int,
    numbers: list[int],
) -> list[tuple[_Block, _Block | None]]:
    """Labels, and scores if asked for, of the windows that begin on planes of one slab."""
    operations, side = features.backend.operations, features.windows.side
    xp = features.backend.xp
    blocks = [
        (
            _empty_block(features, first, last, UNLABELLED, "int8"),
            _empty_block(features, first, last, 0, "float16") if scored else None,
        )
        for scored in scores
    ]
    of_windows = []
    for decision, (labels, sure) in zip(decisions, blocks, strict=True):
        if filters and sure is None and decision.plane is not None:
            slab = features.volume.slab(first)
            begin = first - slab.first
            planes = slab.data[begin : begin + len(labels.inside) + side - 1]
            operations.label_by_plane(planes, decision.plane, side, labels.inside)
        else:
            of_windows.append((decision, labels.inside, sure and sure.inside))

    def label(x: Array, number: int, scratch: Scratch) -> None:
        z, *row = cast("Box", features.tiles[number])
        place = (slice(z.start - first, z.stop - first), *row)
        for decision, labels, sure in of_windows:
            margin = decision.of_features(x, scratch)
            chosen = margin > 0
            labels[place] = chosen.reshape(labels[place].shape)
            if sure is not None:
                score = _agreeing(xp, decision.score(x, margin, scratch), chosen)
                sure[place] = score.reshape(sure[place].shape)

    if of_windows:
        for _ in features.map(label, numbers):
            pass
    return blocks


def _empty_block(features: RawFeatures, first: int, last: int, fill: int, dtype: str) -> _Block:
    """Planes around the windows that begin on ``first`` up to ``last``, all ``fill``. The volume's
    first and last planes belong to its first and last block."""
    _, rows, columns = features.volume.shape
    half, windows = features.windows.side // 2, features.windows.grid[0]
    above, below = half * (first == 0), half * (last == windows)
    shape = (above + last - first + below, rows, columns)
    xp = features.backend.xp
    planes = xp.full(shape, fill, dtype=dtype)
    return _Block(planes, planes[above : above + last - first, half:-half, half:-half])


def _agreeing(xp: Any, score: Array, chosen: Array) -> Array:
    """``score`` as float16, above 0.5 where ``chosen`` and nowhere else, whatever rounding did."""
    rounded = score.astype("float16")
    return xp.where(chosen, xp.maximum(rounded, _ABOVE_HALF), xp.minimum(rounded, _HALF))


def _exchange(volume: Labelled, side: int) -> None:
    """Rename clusters in place, so that the more populous one is the background."""
    labels = core(volume.labels, side)
    scores = None if volume.scores is None else core(volume.scores, side)
    for z, plane in enumerate(labels):  # little memory
        there = plane != UNLABELLED
        np.subtract(FOREGROUND, plane, out=plane, where=there)
        if scores is not None:
            opposite = _agreeing(np, 1 - scores[z], plane == FOREGROUND)
            scores[z] = np.where(there, opposite, 0)
