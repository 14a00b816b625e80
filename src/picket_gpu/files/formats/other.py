"""Segmentations by other programs: a mask of two values, or a map of scores from 0 to 1."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from picket_gpu.errors import PicketError
from picket_gpu.files.lazy_volume import VolumeSelector
from picket_gpu.files.tomogram import open_checked, planes_in, read_stored
from picket_gpu.method.labels import BACKGROUND, FOREGROUND

MASK, SCORES = "mask", "scores"
SELECTOR = VolumeSelector(kind="segmentation")
_FEW = 2  # values of a mask


@dataclass(frozen=True)
class Content:
    """What a volume is, by its values.

    Attributes:
        kind: `MASK` or `SCORES`.
        low, high: least and greatest value.
    """

    kind: str
    low: float
    high: float

    def __str__(self) -> str:
        if self.kind == MASK:
            return f"a mask of {self.low:g} and {self.high:g}"
        return f"scores from {self.low:.3g} to {self.high:.3g}"


class Other:
    """A volume in any format that tomograms may have."""

    @staticmethod
    def examine(path: Path) -> Content:
        """What the volume is.

        Raises:
            PicketError: it is neither a mask of two values nor scores from 0 to 1, or cannot be
                read.
        """
        volume = open_checked(path, SELECTOR)
        low, high, values, finite = np.inf, -np.inf, set[Any](), True
        for _, block in planes_in(path, volume):
            finite = finite and bool(np.isfinite(block).all())
            low = min(low, float(block.min()) - volume.zero)
            high = max(high, float(block.max()) - volume.zero)
            while len(values) <= _FEW:
                others = block[~np.isin(block, list(values))] if values else block
                if not others.size:
                    break
                values.add(others.flat[0])
        if finite and low == 0 < high and len(values) == _FEW:
            return Content(MASK, low, high)
        if finite and volume.dtype.kind == "f" and 0 <= low < high <= 1 and len(values) > _FEW:
            return Content(SCORES, low, high)
        found = f"values from {low:g} to {high:g}" if finite else "values that are NaN or infinite"
        found = f"the value {low:g} only" if low == high else found
        labels = volume.dtype.kind in "iu" and low >= 0
        hint = (
            "save one label as 0 and 1"
            if labels
            else "name a segmentation, not a tomogram, or scores cut off at 0 and 1"
        )
        raise PicketError(
            f"{path}: is not an S1 segmentation, nor a mask of 0 and another value, nor scores "
            f"from 0 to 1 ({volume.dtype.name}, {found}); {hint}"
        )

    @staticmethod
    def read_labels(path: Path) -> np.ndarray:
        """Labels, int8, (z, y, x): the greater value of a mask, or scores above 0.5, are 1."""
        content, volume = Other.examine(path), read_stored(path)
        limit = 0 if content.kind == MASK else 0.5
        return np.where(volume > limit, np.int8(FOREGROUND), np.int8(BACKGROUND))

    @staticmethod
    def has_scores(path: Path) -> bool:
        return Other.examine(path).kind == SCORES

    @staticmethod
    def read_scores(path: Path) -> np.ndarray:
        return read_stored(path).astype(np.float16)
