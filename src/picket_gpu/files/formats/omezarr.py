"""OME-Zarr 0.4 (https://ngff.openmicroscopy.org/0.4): labels and scores at three resolutions."""

import json
from collections.abc import Callable, Mapping
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from picket_gpu.device.kernel_cache import provide_kernel_cache
from picket_gpu.device.operations import Shape
from picket_gpu.errors import PicketError
from picket_gpu.files.atomic import atomic_directory
from picket_gpu.files.filenames import scores_beside
from picket_gpu.files.tomogram import TomogramHeader
from picket_gpu.method.labels import FOREGROUND

FACTORS = (1, 2, 4)
CHUNK = 128
# At most, compressed: of a voxel, where labels or scores are noise, and of a zero among zeros.
LABEL_BYTES, SCORE_BYTES, ZERO_BYTES = 0.55, 2.01, 0.01
ATTRIBUTES = 2**16  # with those of the arrays
OURS = "picket_gpu"  # attribute of the group, with all that a segmentation says of itself
_COLOUR = [255, 120, 0, 255]
_IMAGE_LABEL = {
    "version": "0.4",
    "colors": [{"label-value": 1, "rgba": _COLOUR}],
    "properties": [{"label-value": 1, "class": "label 1"}],
}


class OMEZarr:
    """A label image of the foreground, uint8 zeros and ones, and an image of scores beside it.

    Both have all attributes, as JSON. Unlabelled voxels are 0, like the background.
    """

    @staticmethod
    def write(
        path: Path,
        labels: np.ndarray,
        scores: np.ndarray | None,
        header: TomogramHeader,
        attributes: Mapping[str, Any],
    ) -> None:
        mask = (labels == FOREGROUND).view(np.uint8)
        ours = {OURS: dict(attributes)}
        _write(path, mask, most_frequent, header, {"image-label": _IMAGE_LABEL} | ours)
        if scores is not None:
            _write(scores_beside(path), scores, mean, header, ours)

    @staticmethod
    def most_bytes(shape: Shape, scored: bool) -> int:
        total = 0.0
        for factor in FACTORS:
            level = [-(-n // factor) for n in shape]
            voxels, sides = prod(level), [min(n, CHUNK) for n in level]
            chunks = prod(-(-n // side) for n, side in zip(level, sides, strict=True))
            filled_up = chunks * prod(sides) - voxels
            total += LABEL_BYTES * voxels + ZERO_BYTES * filled_up
            total += scored * (SCORE_BYTES * voxels + 2 * ZERO_BYTES * filled_up)
            total += 2 * 128 * chunks
        return int(total) + 2 * ATTRIBUTES

    @staticmethod
    def is_ours(path: Path) -> bool:
        """Whether this class wrote a directory."""
        try:
            return OURS in json.loads((path / ".zattrs").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False

    @staticmethod
    def read_labels(path: Path) -> np.ndarray:
        """The mask, int8, (z, y, x), 0 and 1."""
        return np.asarray(_finest(path) == FOREGROUND).view(np.int8)

    @staticmethod
    def has_scores(path: Path) -> bool:
        return scores_beside(path).exists()

    @staticmethod
    def read_scores(path: Path) -> np.ndarray:
        return _finest(scores_beside(path))

    @staticmethod
    def read_attributes(path: Path) -> dict[str, Any]:
        # Plain JSON, which can be read where Zarr is not installed.
        return dict(json.loads((path / ".zattrs").read_text(encoding="utf-8"))[OURS])


def _finest(path: Path) -> np.ndarray:
    """The finest level of an OME-Zarr."""
    provide_kernel_cache()
    try:
        import zarr
    except ImportError:
        raise PicketError(f"{path}: needs Zarr; pip install -e '.[zarr]'") from None
    return np.asarray(zarr.open_group(str(path), mode="r")["0"])


def _write(
    path: Path,
    volume: np.ndarray,
    coarser: Callable[[np.ndarray], np.ndarray],
    header: TomogramHeader,
    attributes: Mapping[str, Any],
) -> None:
    provide_kernel_cache()
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
    """Axes, scales and translations of all levels. A voxel's position is that of its centre."""
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
    """The more frequent value in each block of 2 x 2 x 2 zeros and ones; 0 for four of each.

    A block at the end of an axis of odd length counts its last plane twice.
    """
    return (_octets_sum(mask, "uint8") > 4).view(np.uint8)


def mean(scores: np.ndarray) -> np.ndarray:
    """The mean of each block of 2 x 2 x 2 values, in their type."""
    return (_octets_sum(scores, "float32") / 8).astype(scores.dtype)


def _octets_sum(volume: np.ndarray, dtype: str) -> np.ndarray:
    """Sums over blocks of 2 x 2 x 2; axes of odd length repeat their last plane."""
    even = np.pad(volume, [(0, n % 2) for n in volume.shape], mode="edge")
    total = np.zeros([n // 2 for n in even.shape], dtype)
    for corner in product((0, 1), repeat=3):
        total += even[tuple(slice(c, None, 2) for c in corner)]
    return total
