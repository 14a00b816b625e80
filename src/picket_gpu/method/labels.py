"""Labels and scores of all voxels from fitted clusters."""

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
    """Fitted clusters, as functions of windows.

    Attributes:
        of_features: margin from (x, 1), (raw + 1, windows), to (windows,), positive for cluster 1.
        score: from (x, 1) and its margin to the score of cluster 1, (windows,) float32 in [0, 1].
        plane: (raw + 1,), if the margin is linear: plane . (x, 1) is positive for cluster 1.
    """

    of_features: Callable[[Array, Scratch], Array]
    score: Callable[[Array, Array, Scratch], Array]
    plane: np.ndarray | None = None


class Labelled(NamedTuple):
    """Labels and scores of a volume.

    Attributes:
        labels: int8, (z, y, x): 0 for the larger cluster, 1 for the smaller, -1 for unlabelled
            voxels, as those within side // 2 voxels of the volume's edge.
        scores: float16 in [0, 1], (z, y, x), above 0.5 exactly where the label is 1; 0 where
            unlabelled. None if they were not computed.
    """

    labels: np.ndarray
    scores: np.ndarray | None


def label_volume(
    features: RawFeatures,
    decisions: Sequence[Decision],
    voxels: bool,
    scores: Sequence[bool],
    to_label: np.ndarray | None = None,
) -> list[Labelled]:
    """Label a volume by several fitted clusters, in one pass over all windows.

    Args:
        features: raw features of all windows of the volume.
        decisions: the fitted clusters.
        voxels: whether raw features are the windows' voxels, so that a plane is a filter.
        scores: for each of ``decisions``, whether to compute scores.
        to_label: bool, broadcast to the volume's shape: voxels that get labels, and in which the
            sizes of clusters are counted. None for all.
    """
    backend, side = features.backend, features.windows.side
    filters = voxels and backend.correlates
    parts = [_Parts() for _ in decisions]
    plane_bytes = sum(3 if scored else 1 for scored in scores) * prod(features.volume.shape[1:])
    for first, last, numbers in _blocks(features, plane_bytes):
        blocks = _label_block(features, decisions, filters, scores, first, last, numbers)
        begin = first and first + side // 2
        backend.finish_downloads()  # of the last block, so that at most two are on the device
        for part, (labels, block) in zip(parts, blocks, strict=True):
            # A GPU sums contiguous planes fast; their border has label -1.
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
        if to_label is not None:
            ones, labelled = _restrict(volume, to_label)
        if 2 * ones > labelled:
            _exchange(volume, side)
        volumes.append(volume)
    return volumes


def core(volume: Array, side: int) -> Array:
    """View of the voxels that are centres of windows."""
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
    """Voxels that get labels, bool, (z, y, x) or (z, 1, 1); None for all.

    Args:
        shape: shape of the volume, (z, y, x).
        side: window side in voxels.
        lower: first z-slice to label, from 0; None for the first.
        upper: end of the z-slices to label, exclusive; None for the end.
        mask: bool, (z, y, x), voxels to label; changed in place.
        name: name of the mask in errors.

    Raises:
        PicketError: no voxel of the mask is the centre of a window.
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
    """Labels and scores while they are made.

    Attributes:
        ones: number of labels that are 1, on the device, so that the host need not wait for it.
    """

    labels: np.ndarray | None = None
    scores: np.ndarray | None = None
    ones: Array = 0


def _bring_down(
    features: RawFeatures, planes: Array, begin: int, volume: np.ndarray | None
) -> np.ndarray:
    """Begin to copy ``planes`` to the volume in host memory, from plane ``begin`` on.

    Returns:
        The volume, a new one if there is none yet.
    """
    backend, shape = features.backend, features.volume.shape
    if planes.shape == shape:
        return backend.download(planes)
    if volume is None:
        volume = np.empty(shape, planes.dtype)
    backend.begin_download(planes, volume[begin : begin + len(planes)])
    return volume


def foreground_fraction(labels: np.ndarray) -> float:
    """Fraction of the labelled voxels that have label 1; 0 if none is labelled."""
    ones, labelled = _count(labels)
    return ones / max(labelled, 1)


def _count(labels: np.ndarray) -> tuple[int, int]:
    """Number of voxels with label 1, and number of labelled voxels."""
    ones = labelled = 0
    for plane in labels:  # plane by plane, to save memory
        ones += int(np.count_nonzero(plane == FOREGROUND))
        labelled += int(np.count_nonzero(plane != UNLABELLED))
    return ones, labelled


def _restrict(volume: Labelled, to_label: np.ndarray) -> tuple[int, int]:
    """Remove all other labels, in place, and return `_count` of the rest."""
    keep = np.broadcast_to(to_label, volume.labels.shape)
    for z, plane in enumerate(keep):
        volume.labels[z][~plane] = UNLABELLED
        if volume.scores is not None:
            volume.scores[z][~plane] = 0
    return _count(volume.labels)


class _Block(NamedTuple):
    """Planes of a volume on the device, and the view of them that gets labels."""

    planes: Array
    inside: Array


def _blocks(features: RawFeatures, plane_bytes: int) -> Iterator[tuple[int, int, list[int]]]:
    """Cut the planes on which windows begin into blocks within one slab.

    Args:
        plane_bytes: bytes to download for each plane.

    Yields:
        First plane, the one after the last, and the numbers of the tiles.
    """
    bound, step = features.backend.download_bytes, features.volume.step
    # The memory plan allows for labels of one slab, and two blocks are there at a time.
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
    """Label the windows that begin on some planes of one slab; scores are None if not computed."""
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
    """Planes for the centres of windows that begin on planes ``first`` up to ``last``, filled with
    ``fill``. The first and the last block also have the volume's unlabelled planes."""
    _, rows, columns = features.volume.shape
    half, windows = features.windows.side // 2, features.windows.grid[0]
    above, below = half * (first == 0), half * (last == windows)
    shape = (above + last - first + below, rows, columns)
    xp = features.backend.xp
    planes = xp.full(shape, fill, dtype=dtype)
    return _Block(planes, planes[above : above + last - first, half:-half, half:-half])


def _agreeing(xp: Any, score: Array, chosen: Array) -> Array:
    """``score`` as float16, above 0.5 exactly where ``chosen``, despite rounding."""
    rounded = score.astype("float16")
    return xp.where(chosen, xp.maximum(rounded, _ABOVE_HALF), xp.minimum(rounded, _HALF))


def _exchange(volume: Labelled, side: int) -> None:
    """Exchange the clusters in place, so that the larger one is the background."""
    labels = core(volume.labels, side)
    scores = None if volume.scores is None else core(volume.scores, side)
    for z, plane in enumerate(labels):  # plane by plane, to save memory
        there = plane != UNLABELLED
        np.subtract(FOREGROUND, plane, out=plane, where=there)
        if scores is not None:
            opposite = _agreeing(np, 1 - scores[z], plane == FOREGROUND)
            scores[z] = np.where(there, opposite, 0)
