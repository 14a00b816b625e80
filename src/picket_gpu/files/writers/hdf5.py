"""HDF5 for the next step of the method (S2)."""

import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, product
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from picket_gpu.device.limits import available_threads
from picket_gpu.files.atomic import atomic_file

GROUP, DATASET, SCORES = "segmentations", "semantic_segmentation", "particle_score"
CHUNK = (16, 256, 256)


def write_hdf5(
    path: Path, labels: np.ndarray, scores: np.ndarray | None, attributes: Mapping[str, Any]
) -> None:
    """Write labels, scores if there are any, and attributes to ``path``; None becomes "None".

    Args:
        labels: int8, (z, y, x); -1 where there is no label.
        scores: float16, (z, y, x).
    """
    with atomic_file(path) as temporary, h5py.File(temporary, "w") as file:
        group = file.create_group(GROUP)
        _write_dataset(group, DATASET, labels)
        if scores is not None:
            _write_dataset(group, SCORES, scores)
        for name, value in attributes.items():
            group.attrs[name] = "None" if value is None else value


def _write_dataset(group: h5py.Group, name: str, volume: np.ndarray) -> None:
    """Compress chunks in threads, as HDF5's gzip filter would one after the other."""
    chunks = tuple(min(n, side) for n, side in zip(volume.shape, CHUNK, strict=True))
    dataset = group.create_dataset(
        name, volume.shape, volume.dtype, chunks=chunks, compression="gzip", compression_opts=1
    )

    def compressed(corner: tuple[int, ...]) -> bytes:
        chunk = np.zeros(chunks, volume.dtype)  # those at the ends are filled up
        part = volume[tuple(slice(c, c + n) for c, n in zip(corner, chunks, strict=True))]
        chunk[tuple(slice(n) for n in part.shape)] = part
        return zlib.compress(chunk.data, level=1)

    corners = product(*(range(0, n, step) for n, step in zip(volume.shape, chunks, strict=True)))
    threads = available_threads()
    with ThreadPoolExecutor(threads) as pool:
        while some := list(islice(corners, 8 * threads)):  # few in memory at a time
            for corner, data in zip(some, pool.map(compressed, some), strict=True):
                dataset.id.write_direct_chunk(corner, data)
