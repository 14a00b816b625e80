"""OME-Zarr 0.4 (https://ngff.openmicroscopy.org/0.4): labels and scores at three resolutions."""

from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from picket_gpu.files.atomic import atomic_directory
from picket_gpu.files.tomogram import TomogramHeader
from picket_gpu.method.labels import FOREGROUND

FACTORS = (1, 2, 4)
CHUNK = 128
_COLOUR = [255, 120, 0, 255]


def write_zarr(
    path: Path, labels: np.ndarray, header: TomogramHeader, details: Mapping[str, Any]
) -> None:
    """Write label 1 as a label image of uint8 zeros and ones.

    Args:
        labels: int8, (z, y, x).
        details: what else the file says of itself, as JSON can say it.
    """
    mask = (labels == FOREGROUND).view(np.uint8)
    image_label = {
        "version": "0.4",
        "colors": [{"label-value": 1, "rgba": _COLOUR}],
        "properties": [{"label-value": 1, "class": "label 1"}],
    }
    _write(path, mask, most_frequent, header, {"image-label": image_label, "picket_gpu": details})


def write_zarr_scores(
    path: Path, scores: np.ndarray, header: TomogramHeader, details: Mapping[str, Any]
) -> None:
    """Write scores, float16, (z, y, x), as an image."""
    _write(path, scores, mean, header, {"picket_gpu": details})


def _write(
    path: Path,
    volume: np.ndarray,
    coarser: Callable[[np.ndarray], np.ndarray],
    header: TomogramHeader,
    attributes: Mapping[str, Any],
) -> None:
    import zarr

    with atomic_directory(path) as temporary:
        group = zarr.create_group(str(temporary), zarr_format=2)
        for level in range(len(FACTORS)):
            volume = coarser(volume) if level else volume
            array = group.create_array(
                str(level),
                shape=volume.shape,
                dtype=volume.dtype,
                chunks=tuple(min(n, CHUNK) for n in volume.shape),
                chunk_key_encoding={"name": "v2", "separator": "/"},
            )
            array[...] = volume
        group.attrs.update({"multiscales": [_multiscale(path.stem, header)], **attributes})


def _multiscale(name: str, header: TomogramHeader) -> dict[str, Any]:
    """Axes, scales and places of all levels. A voxel's place is that of its centre."""
    known = all(length > 0 for length in header.voxel_size)
    size = np.array(header.voxel_size if known else (1, 1, 1))
    unit = {"unit": "angstrom"} if known else {}
    origin = np.array(header.place[::-1])
    return {
        "version": "0.4",
        "name": name,
        "axes": [{"name": axis, "type": "space", **unit} for axis in "zyx"],
        "datasets": [
            {
                "path": str(level),
                "coordinateTransformations": [
                    {"type": "scale", "scale": (size * factor).tolist()},
                    {
                        "type": "translation",
                        "translation": (origin + size * (factor - 1) / 2).tolist(),
                    },
                ],
            }
            for level, factor in enumerate(FACTORS)
        ],
    }


def most_frequent(mask: np.ndarray) -> np.ndarray:
    """The more frequent value of each 2 x 2 x 2 zeros and ones, 0 where they are as many.

    A block at the end of an axis of odd length counts its last plane twice.
    """
    return (_octets_sum(mask, "uint8") > 4).view(np.uint8)


def mean(scores: np.ndarray) -> np.ndarray:
    """The mean of each 2 x 2 x 2 values, in their type."""
    return (_octets_sum(scores, "float32") / 8).astype(scores.dtype)


def _octets_sum(volume: np.ndarray, dtype: str) -> np.ndarray:
    """Sums over blocks of 2 x 2 x 2, filled up with their last plane."""
    even = np.pad(volume, [(0, n % 2) for n in volume.shape], mode="edge")
    total = np.zeros([n // 2 for n in even.shape], dtype)
    for corner in product((0, 1), repeat=3):
        total += even[tuple(slice(c, None, 2) for c in corner)]
    return total
