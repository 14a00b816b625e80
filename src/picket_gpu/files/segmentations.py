"""Segmentations in files: written in every wanted format, and read back from any of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from picket_gpu.files.filenames import ENDINGS, TomogramFiles
from picket_gpu.files.formats import FORMATS, Format
from picket_gpu.files.formats.hdf5 import HDF5
from picket_gpu.files.formats.mrc import IN_HEADER, MRC
from picket_gpu.files.location import Location, as_location
from picket_gpu.files.tomogram import TomogramHeader
from picket_gpu.method.labels import FOREGROUND, UNLABELLED, core

_BY_SUFFIX = {ENDINGS[kind]: FORMATS[kind] for kind in ("hdf5", "mrc", "zarr")}


def write_segmentation(
    files: TomogramFiles,
    workflow: tuple[str, str],
    labels: np.ndarray,
    scores: np.ndarray | None,
    header: TomogramHeader,
    attributes: Mapping[str, Any],
) -> None:
    """Write a segmentation in every wanted format, into a directory that exists.

    Args:
        files: names of the tomogram's files.
        workflow: feature mode and clustering method.
        labels: int8, (z, y, x): 1 foreground, 0 background, -1 unlabelled.
        scores: float16, (z, y, x), 0 to 1; None for no scores.
        header: geometry of the tomogram.
        attributes: how the segmentation was made, under PickET's names, with all of
            `picket_gpu.files.formats.mrc.IN_HEADER`; MRC stores only those.
    """
    for kind, path in files.of(*workflow).items():
        if kind in FORMATS:  # which write the files of scores too
            FORMATS[kind].write(path, labels, scores, header, attributes)


def read_labels(path: Path, side: int) -> np.ndarray:
    """Labels from a file of any format, int8, (z, y, x), -1 where a voxel has no label.

    Only HDF5 stores which voxels have no label inside the volume: in the other formats, voxels
    outside a mask for the output are 0 like the background.

    Args:
        side: side of a window in voxels. Voxels within half of it of the volume's edge have no
            label; PickET itself may store 1 there.
    """
    stored = _format_of(path).read_labels(path)
    labels = np.full(stored.shape, UNLABELLED, dtype=np.int8)
    core(labels, side)[...] = core(stored, side)
    return labels


def read_hdf5_labels(path: Path) -> np.ndarray:
    """Labels as an HDF5 file stores them, integers, (z, y, x)."""
    return HDF5.read_labels(path)


def read_foreground(path: Path) -> np.ndarray:
    """Where a file of any format has label 1, bool, (z, y, x)."""
    return np.asarray(_format_of(path).read_labels(path) == FOREGROUND)


def has_scores(path: Path) -> bool:
    """Whether scores were saved with the labels in ``path``."""
    return _format_of(path).has_scores(path)


def read_scores(path: Path) -> np.ndarray | None:
    """Scores saved with the labels in ``path``, float16, (z, y, x); None if there are none."""
    return _format_of(path).read_scores(path) if has_scores(path) else None


def read_attributes(path: Path) -> dict[str, Any]:
    """How a segmentation was made, as plain Python values under PickET's names.

    Values None, which HDF5 stores as the text "None", are left out. An MRC file has at most the
    five of `picket_gpu.files.formats.mrc.IN_HEADER`.

    Raises:
        OSError, KeyError, ValueError, TypeError: the HDF5 or Zarr file is damaged, or is no
            segmentation.
    """
    attributes = _format_of(path).read_attributes(path)
    plain = {name: _plain(value) for name, value in attributes.items()}
    return {name: value for name, value in plain.items() if value not in (None, "None")}


def read_own_attributes(path: Path) -> dict[str, Any] | None:
    """As `read_attributes`; None if ``path`` does not exist, or picket_gpu did not write it.

    Raises:
        OSError: the file is in use, or there is no permission to read it.
    """
    try:
        attributes = read_attributes(path)
    except (BlockingIOError, PermissionError) as error:
        raise OSError(f"{path}: is in use or cannot be read; close it and run again") from error
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return attributes if attributes.keys() >= {*IN_HEADER} else None


def tomogram_of(attributes: Mapping[str, Any]) -> Location:
    """The tomogram that a segmentation was made from.

    If it no longer exists there, the path that the user gave: a relative one still leads to a
    tomogram that was moved together with the segmentation's directory.

    Raises:
        KeyError: the attributes name no tomogram.
    """
    where = as_location(str(attributes["tomogram_path"]))
    if isinstance(where, Path) and not where.exists():
        return as_location(str(attributes.get("tomogram_as_given", where)))
    return where


def _format_of(path: Path) -> type[Format]:
    """The format of a file by its suffix; MRC for an unknown one."""
    return _BY_SUFFIX.get(path.suffix, MRC)


def _plain(value: Any) -> Any:
    """A NumPy value as one of Python's."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value
