"""HDF5, which PickET's step 2 (S2) reads: labels, scores and attributes in one file."""

import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, product
from math import prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from picket_gpu.device.limits import available_threads
from picket_gpu.device.operations import Shape
from picket_gpu.files.atomic import atomic_file
from picket_gpu.files.hdf5_file import hdf5_file
from picket_gpu.files.readers.hdf5 import DATASET, GROUP
from picket_gpu.files.tomogram import TomogramHeader

SCORES = "particle_score"
CHUNK = (16, 256, 256)
# At most, compressed: of a voxel, where labels or scores are noise, and of a zero among zeros.
LABEL_BYTES, SCORE_BYTES, ZERO_BYTES = 0.35, 2.01, 0.01
ATTRIBUTES = 2**16


class HDF5:
    """A group with the labels, the scores if there are any, and all attributes."""

    @staticmethod
    def write(
        path: Path,
        labels: np.ndarray,
        scores: np.ndarray | None,
        header: TomogramHeader,
        attributes: Mapping[str, Any],
    ) -> None:
        """Write all into one file. An attribute None becomes the text "None", as in PickET."""
        with atomic_file(path) as temporary, hdf5_file(temporary, "w") as file:
            group = file.create_group(GROUP)
            _write_dataset(group, DATASET, labels)
            if scores is not None:
                _write_dataset(group, SCORES, scores)
            for name, value in attributes.items():
                group.attrs[name] = "None" if value is None else value

    @staticmethod
    def most_bytes(shape: Shape, scored: bool) -> int:
        voxels = prod(shape)
        chunks = prod(-(-n // min(n, side)) for n, side in zip(shape, CHUNK, strict=True))
        filled_up = chunks * prod(map(min, shape, CHUNK)) - voxels
        labels = LABEL_BYTES * voxels + ZERO_BYTES * filled_up
        scores = SCORE_BYTES * voxels + 2 * ZERO_BYTES * filled_up
        return int(labels + scored * scores) + 128 * chunks + ATTRIBUTES

    @staticmethod
    def is_ours(path: Path) -> bool:
        """Whether this class or PickET wrote a file; True for one that is no HDF5 at all."""
        try:
            with hdf5_file(path) as file:
                return GROUP in file
        except OSError:
            return True  # its error is told where it is read

    @staticmethod
    def read_labels(path: Path) -> np.ndarray:
        with hdf5_file(path) as file:
            return np.asarray(file[GROUP][DATASET])

    @staticmethod
    def has_scores(path: Path) -> bool:
        with hdf5_file(path) as file:
            return SCORES in file[GROUP]

    @staticmethod
    def read_scores(path: Path) -> np.ndarray:
        with hdf5_file(path) as file:
            return np.asarray(file[GROUP][SCORES])

    @staticmethod
    def read_attributes(path: Path) -> dict[str, Any]:
        with hdf5_file(path) as file:
            return dict(file[GROUP].attrs)


def _write_dataset(group: h5py.Group, name: str, volume: np.ndarray) -> None:
    """Compress chunks in threads, because HDF5's gzip filter compresses one after the other."""
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
