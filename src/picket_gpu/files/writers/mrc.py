"""MRC masks and scores, for viewers, and as masks for other programs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mrcfile.mrcfile import MrcFile

from picket_gpu.files.atomic import atomic_file
from picket_gpu.files.tomogram import TomogramHeader
from picket_gpu.method.labels import FOREGROUND


def write_mrc(path: Path, labels: np.ndarray, header: TomogramHeader, notes: Sequence[str]) -> None:
    """Write label 1 as an int8 mask (MRC mode 0), 0 elsewhere, with the tomogram's geometry.

    Args:
        labels: int8, (z, y, x).
        notes: labels for the header, of at most 80 characters each.
    """
    _write_volume(path, _MaskFile, (labels == FOREGROUND).view(np.int8), header, notes)


def write_scores(
    path: Path, scores: np.ndarray, header: TomogramHeader, notes: Sequence[str]
) -> None:
    """Write scores, float16 (MRC mode 12), with the tomogram's geometry."""
    _write_volume(path, _ScoreFile, scores, header, notes)


def _write_volume(
    path: Path,
    kind: type[MrcFile],
    volume: np.ndarray,
    header: TomogramHeader,
    notes: Sequence[str],
) -> None:
    with atomic_file(path) as temporary, kind(temporary, mode="w+") as mrc:
        mrc.set_data(volume)
        mrc.set_volume()
        mrc.voxel_size = tuple(reversed(header.voxel_size))
        mrc.nstart = header.nstart
        mrc.header.origin = header.origin
        for note in notes:
            mrc.add_label(note)


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
