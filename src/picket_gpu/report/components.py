"""Connected components of a segmentation, and how large they are."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from math import prod
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from picket_gpu.device.limits import available_threads
from picket_gpu.method.labels import FOREGROUND

SMALLEST = 27  # voxels; what is smaller is only counted
BLOCK_VOXELS = 2**22  # that are labelled at a time, by each thread, or one plane if that has more


@dataclass(frozen=True)
class Components:
    """Connected components of label 1, joined through faces.

    Attributes:
        sizes: voxels in each that has at least `SMALLEST`, ascending.
        smaller: how many are smaller than that.
        largest: share of label 1 that the largest holds, 0 to 1.
    """

    sizes: np.ndarray
    smaller: int
    largest: float

    def diameters(self, voxel_size: tuple[float, float, float]) -> np.ndarray:
        """Diameters of spheres as large, in the unit of ``voxel_size``, (z, y, x)."""
        return np.asarray(np.cbrt(6 / np.pi * prod(voxel_size) * self.sizes))


def find_components(labels: np.ndarray, block_voxels: int = BLOCK_VOXELS) -> Components:
    """Components of label 1 in ``labels``, int8, (z, y, x).

    Blocks of planes are labelled in threads; their pieces are joined where planes of two blocks
    meet. So little memory is needed, and many cores help.

    Args:
        block_voxels: of a block, or one plane if that has more.
    """
    sizes, pairs, begin, above = [], [np.empty((2, 0), dtype=np.int64)], 0, None
    for block in _blocks(labels, max(1, block_voxels // prod(labels.shape[1:]))):
        if above is not None:
            before = begin - len(above.sizes)
            pairs.append(_touching(above.last, block.first) + np.array([[before], [begin]]))
        begin += len(block.sizes)
        sizes.append(block.sizes)
        above = block
    whole = _join(np.concatenate(sizes), np.concatenate(pairs, axis=1))
    large = whole[whole >= SMALLEST]
    largest = float(whole[-1] / whole.sum()) if len(whole) else 0.0
    return Components(large, len(whole) - len(large), largest)


class _Block(NamedTuple):
    """Pieces of components in neighbouring planes, numbered from 1.

    Attributes:
        sizes: voxels in each.
        first, last: numbers on the two outer planes, 0 where there is no piece.
    """

    sizes: np.ndarray
    first: np.ndarray
    last: np.ndarray


def _blocks(labels: np.ndarray, planes: int) -> Iterator[_Block]:
    """Blocks of that many planes, in order, few in memory at a time."""

    def label(first: int) -> _Block:
        numbered, count = ndimage.label(labels[first : first + planes] == FOREGROUND)
        sizes = np.zeros(count + 1, dtype=np.int64)
        for plane in numbered:  # all of it at once would become int64 first
            sizes += np.bincount(plane.ravel(), minlength=count + 1)
        return _Block(sizes[1:], numbered[0].copy(), numbered[-1].copy())

    firsts = iter(range(0, len(labels), planes))
    threads = available_threads()
    with ThreadPoolExecutor(threads) as pool:
        while some := list(islice(firsts, threads)):
            yield from pool.map(label, some)


def _touching(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Pairs of pieces that touch between two planes, (2, pairs), from 0; some more than once."""
    both = (above > 0) & (below > 0)
    pairs = np.stack([above[both], below[both]]).astype(np.int64) - 1
    new = np.ones(pairs.shape[1], dtype=bool)
    new[1:] = (pairs[:, 1:] != pairs[:, :-1]).any(axis=0)  # neighbours mostly repeat
    return pairs[:, new]


def _join(sizes: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Sizes of the components that pieces of these sizes make up, ascending."""
    if not len(sizes):
        return sizes
    links = coo_array((np.ones(pairs.shape[1], dtype=bool), pairs), (len(sizes), len(sizes)))
    count, component = connected_components(links, directed=False)
    return np.sort(np.bincount(component, sizes, count).astype(np.int64))
