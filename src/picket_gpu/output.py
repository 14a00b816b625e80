"""The files of a segmentation: HDF5 for the next step of the method, MRC for viewers.

A file is written under a temporary name beside its place and renamed when it is whole.
"""

import os
import platform
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice, product
from pathlib import Path
from threading import get_ident
from typing import Any

import h5py
import mrcfile
import numpy as np
from mrcfile.mrcfile import MrcFile

from picket_gpu.backend import available_threads
from picket_gpu.config import S1Config
from picket_gpu.errors import PicketError
from picket_gpu.labels import FOREGROUND, UNLABELLED, core
from picket_gpu.stamp import GROUP, Stamp
from picket_gpu.tomogram import TomogramHeader
from picket_gpu.workflows import Segmentation

DATASET, SCORES = "semantic_segmentation", "particle_score"
CHUNK = (16, 256, 256)
_HOST = platform.node().replace(".", "-")


def attributes(
    config: S1Config,
    index: int,
    header: TomogramHeader,
    result: Segmentation,
    timestamp: str,
    stamp: Stamp,
) -> dict[str, Any]:
    """Attributes of the HDF5 group, in the layout that the next step of the method (S2) reads."""
    entry = config.inputs[index]
    features, labels = result.timings["features"], result.timings["labels"]
    clustering = result.timings["clustering"] + labels
    return {
        "dataset_name": config.dataset_name,
        "tomogram_path": str(entry.tomogram),
        "tomogram_shape": header.shape,
        "voxel_size": header.voxel_size,
        "neighborhood_size": config.neighborhood_size,
        "z_lb_for_clusterer_fitting": entry.lower_z_slice_limit,
        "z_ub_for_clusterer_fitting": entry.upper_z_slice_limit,
        "max_num_neighborhoods_for_fitting": config.max_num_neighborhoods_for_fitting,
        "fex_mode": result.mode.mode,
        "fex_n_fft_subsets": getattr(result.mode, "n_fft_subsets", None),
        "fex_num_neighborhoods_subsets": getattr(result.mode, "num_neighborhoods_subsets", None),
        "fex_num_sinusoids": getattr(result.mode, "num_sinusoids", None),
        "fex_num_parallel_filters": getattr(result.mode, "num_parallel_filters", None),
        "fex_num_output_features": getattr(result.mode, "num_output_features", None),
        "clustering_method": result.method,
        "time_taken_for_fex": features,
        "time_taken_for_clustering": clustering,
        "time_taken_for_s1": features + clustering,
        "timestamp_s1": timestamp,
        "blur_sigma": config.blur_sigma,  # for the report
        # S2 fills these in.
        "z_lb_for_particle_extraction": None,
        "z_ub_for_particle_extraction": None,
        "particle_cluster_id": None,
        "pex_mode": None,
        "pex_min_distance": None,
        "time_taken_for_s2": None,
        "timestamp_s2": None,
        **stamp.attributes,
    }


def write_hdf5(
    path: Path, labels: np.ndarray, scores: np.ndarray | None, attributes: Mapping[str, Any]
) -> None:
    """Write labels, scores if there are any, and attributes to ``path``; None becomes "None".

    Args:
        labels: int8, (z, y, x); -1 where there is no label.
        scores: float16, (z, y, x).
    """
    with whole_file(path) as temporary, h5py.File(temporary, "w") as file:
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


def write_mrc(path: Path, labels: np.ndarray, header: TomogramHeader, stamp: Stamp) -> None:
    """Write label 1 as an int8 mask (MRC mode 0), 0 elsewhere, with the tomogram's geometry."""
    _write_volume(path, _MaskFile, (labels == FOREGROUND).view(np.int8), header, stamp)


def write_scores(path: Path, scores: np.ndarray, header: TomogramHeader, stamp: Stamp) -> None:
    """Write scores, float16 (MRC mode 12), with the tomogram's geometry."""
    _write_volume(path, _ScoreFile, scores, header, stamp)


def _write_volume(
    path: Path, kind: type[MrcFile], volume: np.ndarray, header: TomogramHeader, stamp: Stamp
) -> None:
    with whole_file(path) as temporary, kind(temporary, mode="w+") as mrc:
        mrc.set_data(volume)
        mrc.set_volume()
        mrc.voxel_size = tuple(reversed(header.voxel_size))
        mrc.nstart = header.nstart
        mrc.header.origin = header.origin
        for label in stamp.labels:
            mrc.add_label(label)


class _MaskFile(MrcFile):  # type: ignore[misc]
    """An MRC file of zeros and ones, whose statistics one count tells: mrcfile's several passes in
    float64 took ten times as long as writing."""

    def update_header_stats(self) -> None:
        share = np.count_nonzero(self.data) / self.data.size
        self.header.dmin, self.header.dmax = float(share == 1), float(share > 0)
        self.header.dmean, self.header.rms = share, (share * (1 - share)) ** 0.5


class _ScoreFile(MrcFile):  # type: ignore[misc]
    """An MRC file in float16, whose statistics are summed in float64 section by section."""

    def update_header_stats(self) -> None:
        low, high, total, squares = np.inf, -np.inf, 0.0, 0.0
        for section in self.data:
            precise = section.astype(np.float64)
            low, high = min(low, precise.min()), max(high, precise.max())
            total += precise.sum()
            squares += np.vdot(precise, precise)
        mean = total / self.data.size
        self.header.dmin, self.header.dmax, self.header.dmean = low, high, mean
        self.header.rms = max(squares / self.data.size - mean**2, 0) ** 0.5


def read_labels(path: Path, side: int) -> np.ndarray:
    """Labels from a file of either kind, int8, (z, y, x), -1 where there is no label.

    Args:
        side: window side; an MRC file does not tell which voxels have no label.
    """
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            return np.asarray(file[GROUP][DATASET])
    mask = mrcfile.read(path)
    labels = np.full(mask.shape, UNLABELLED, dtype=np.int8)
    core(labels, side)[...] = core(mask, side)
    return labels


def read_scores(path: Path) -> np.ndarray:
    """Scores that belong to the labels in ``path``, float16, (z, y, x).

    Raises:
        PicketError: none were saved.
    """
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            if SCORES in file[GROUP]:
                return np.asarray(file[GROUP][SCORES])
    elif (beside := path.with_name(f"{path.stem}_score.mrc")).exists():
        return np.asarray(mrcfile.read(beside))
    raise PicketError(f"{path}: holds no scores; run again with scores: true")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary name to write to, renamed to ``path`` on success and removed otherwise."""
    temporary = path.with_name(f".{path.name}.{_HOST}.{os.getpid()}.{get_ident()}.part")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())  # before the name says that it is whole
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(directory: Path) -> None:
    """Remove temporary files in ``directory`` of processes of this machine that are no more."""
    for path in directory.glob(f".*.{_HOST}.*.*.part"):
        process = int(path.name.split(".")[-3])
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            path.unlink(missing_ok=True)
        except PermissionError:
            continue  # it runs, and belongs to another user
