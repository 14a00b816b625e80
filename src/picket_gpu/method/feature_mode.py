"""Base classes of feature modes."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from picket_gpu.device.operations import Array, Box, Operations, Scratch


class Extractor:
    """Computes raw features of a tile of windows; by default, the voxels themselves.

    Both methods return (raw + 1, windows) float32, the last row 1, with features in the same order.

    Attributes:
        operations: innermost loops on the device.
        side: window side in voxels.
    """

    def __init__(self, operations: Operations, side: int) -> None:
        self.operations = operations
        self.side = side

    def of_windows(self, windows: Array, scratch: Scratch) -> Array:
        """Raw features of any windows.

        Args:
            windows: (side**3 + 1, windows) float32, the last row 1.
        """
        return windows

    def of_box(self, slab: Array, box: Box, scratch: Scratch) -> Array:
        """Raw features of the windows whose first voxels are in ``box`` of ``slab``.

        A mode may share work between neighbours.
        """
        windows = self.operations.box_windows(slab, box, self.side, scratch)
        return self.of_windows(windows, scratch)


class FeatureMode(BaseModel, ABC):
    """A feature mode: its settings in the YAML file and its mathematics.

    A mode computes its features in two steps. The extractor turns windows into *raw* features, tile
    by tile, on the device. A matrix, chosen once per tomogram from the raw features' covariance,
    turns raw features into the *reported* ones. All that follows (scaling, clustering) is
    linear in the reported features, so the matrix is folded into it and costs nothing per window.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: str
    raw_kind: ClassVar[str] = "voxels"
    """Modes of one kind have the same raw features and share the pass for their covariance."""
    keeps_raw: ClassVar[bool] = False
    """Whether to keep raw features between passes, and not the whitened ones of the GMM."""

    @abstractmethod
    def num_features(self, side: int) -> int:
        """Number d of reported features of a window of side ``side``."""

    def num_distinct(self, side: int) -> int:
        """Rows of ``reported_from_raw``: d, or fewer if features repeat."""
        return self.num_features(side)

    def batch_limit(self, count: int) -> int:
        """The largest batch, in windows, that the settings allow when ``count`` are processed."""
        return count

    def extractor(self, operations: Operations, side: int, offset: float) -> Extractor:
        """The extractor of raw features; by default, of the voxels themselves.

        Args:
            offset: grey value that was subtracted from the normalised volume.
        """
        return Extractor(operations, side)

    @abstractmethod
    def reported_from_raw(self, covariance: np.ndarray, side: int) -> np.ndarray:
        """Matrix from raw features to reported ones, up to a rotation.

        Args:
            covariance: of the raw features over the windows used for fitting, (raw, raw) float64.

        Returns:
            (k, raw) float64. k may be less than d if features repeat; distances are the same.
        """
