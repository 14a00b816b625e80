"""Formats of segmentations: a class each, which writes a segmentation and reads it back.

A new format is a module here, its class in `FORMATS`, and its ending in `ENDINGS` of
`picket_gpu.files.filenames`. `picket_gpu.files.segmentation` picks the class for a file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from picket_gpu.device.operations import Shape
from picket_gpu.files.formats.copick import Copick
from picket_gpu.files.formats.hdf5 import HDF5
from picket_gpu.files.formats.mrc import MRC
from picket_gpu.files.formats.omezarr import OMEZarr
from picket_gpu.files.tomogram import TomogramHeader


class Readable(Protocol):
    """What reads a segmentation."""

    @staticmethod
    def read_labels(path: Path) -> np.ndarray:
        """Labels as the file stores them, integers, (z, y, x)."""

    @staticmethod
    def has_scores(path: Path) -> bool:
        """Whether scores belong to the labels in ``path``."""

    @staticmethod
    def read_scores(path: Path) -> np.ndarray:
        """Scores that belong to the labels in ``path``, float16, (z, y, x)."""


class Format(Readable, Protocol):
    """What the class of a format offers."""

    @staticmethod
    def is_ours(path: Path) -> bool:
        """Whether a file that exists, with the ending of this format, is a segmentation in it."""

    @staticmethod
    def write(
        path: Path,
        labels: np.ndarray,
        scores: np.ndarray | None,
        header: TomogramHeader,
        attributes: Mapping[str, Any],
    ) -> None:
        """Write a segmentation, each file complete or not at all, into an existing directory.

        Args:
            path: file of the labels; scores may go to `scores_beside` it.
            labels: int8, (z, y, x): 1 foreground, 0 background, -1 unlabelled.
            scores: float16, (z, y, x), 0 to 1; None for no scores.
            header: geometry of the tomogram.
            attributes: how the segmentation was made, under PickET's names.
        """

    @staticmethod
    def most_bytes(shape: Shape, scored: bool) -> int:
        """Size of the files of a segmentation, at most.

        Args:
            shape: voxels, (z, y, x).
            scored: whether there are scores too.
        """

    @staticmethod
    def read_attributes(path: Path) -> dict[str, Any]:
        """How the segmentation was made, under PickET's names, without reading voxels.

        Raises:
            OSError, KeyError, ValueError, TypeError: the file is not of this format.
        """


# By the kinds of files that `TomogramFiles` names.
FORMATS: dict[str, type[Format]] = {
    "hdf5": HDF5,
    "mrc": MRC,
    "zarr": OMEZarr,
    "copick": Copick,
}
