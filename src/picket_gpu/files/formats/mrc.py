"""MRC masks and scores, which viewers show and other programs use as masks."""

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
from mrcfile.mrcfile import MrcFile

from picket_gpu.device.operations import Shape
from picket_gpu.files.atomic import atomic_file
from picket_gpu.files.filenames import scores_beside
from picket_gpu.files.tomogram import TomogramHeader, read_stored
from picket_gpu.method.labels import FOREGROUND

# What the labels of a header have room for, 80 characters each; PickET's names.
IN_HEADER = ("fingerprint", "share_of_label_1", "iterations", "converged", "time_taken_for_s1")
DIGESTS = ("tomogram_digest", "settings_digest")  # in a header too, but not of earlier versions
CUT = "none, for it was cut"  # in place of the fingerprint of a truncated file
_HEADER = 1024  # bytes


class MRC:
    """A mask of the foreground, int8 (MRC mode 0), and scores beside it, float16 (mode 12).

    Both have the tomogram's geometry and, in the labels of their headers, the attributes
    `IN_HEADER` and `DIGESTS`. Unlabelled voxels are 0, like the background.
    """

    @staticmethod
    def write(
        path: Path,
        labels: np.ndarray,
        scores: np.ndarray | None,
        header: TomogramHeader,
        attributes: Mapping[str, Any],
    ) -> None:
        notes = _notes(attributes)
        _write(path, _MaskFile, (labels == FOREGROUND).view(np.int8), header, notes)
        if scores is not None:
            _write(scores_beside(path), _ScoreFile, scores, header, notes)

    @staticmethod
    def most_bytes(shape: Shape, scored: bool) -> int:
        return _HEADER + prod(shape) + scored * (_HEADER + 2 * prod(shape))

    @staticmethod
    def is_ours(path: Path) -> bool:
        """Whether this class wrote a file, as a mask; True for one that is no MRC file at all.

        Other programs may have added to the labels of its header since.
        """
        try:
            with mrcfile.open(path, header_only=True) as mrc:
                is_mask = int(mrc.header.mode) == 0
        except (OSError, ValueError):
            return True  # its error is told where it is read
        return is_mask and (scores_beside(path).exists() or bool(MRC.read_attributes(path)))

    @staticmethod
    def read_labels(path: Path) -> np.ndarray:
        """The mask, int8, (z, y, x), 0 and 1."""
        return np.asarray(read_stored(path) == FOREGROUND).view(np.int8)

    @staticmethod
    def has_scores(path: Path) -> bool:
        return scores_beside(path).exists()

    @staticmethod
    def read_scores(path: Path) -> np.ndarray:
        return read_stored(scores_beside(path))

    @staticmethod
    def read_attributes(path: Path) -> dict[str, Any]:
        """The attributes `IN_HEADER` and `DIGESTS`; none from a file of another program.

        The fingerprint of a truncated file, and the digest of its settings, are `CUT`.
        """
        try:
            with mrcfile.open(path, header_only=True) as mrc:
                mode = mrcfile.utils.dtype_from_mode(mrc.header.mode)
                voxels = int(mrc.header.nx) * int(mrc.header.ny) * int(mrc.header.nz)
                notes = [line for line in mrc.get_labels() if not line.startswith("Created")]
            attributes = _in_notes(notes)
        except ValueError:  # other labels, or no MRC file at all
            return {}
        if path.stat().st_size != _HEADER + voxels * mode.itemsize:
            attributes |= dict.fromkeys(attributes.keys() & {"fingerprint", "settings_digest"}, CUT)
        return attributes


def _notes(attributes: Mapping[str, Any]) -> list[str]:
    """Labels for the header."""
    fingerprint, share, iterations, converged, seconds = (attributes[name] for name in IN_HEADER)
    notes = [
        f"picket_gpu {fingerprint}",
        f"share {share:.9g} iterations {iterations} converged {int(converged)} "
        f"seconds {seconds:.9g}",
    ]
    if attributes.keys() >= {*DIGESTS}:
        notes.append(" ".join(["digests", *(attributes[name] for name in DIGESTS)]))
    return notes


def _in_notes(notes: Sequence[str]) -> dict[str, Any]:
    """The attributes in labels by `_notes`.

    Raises:
        ValueError: they are others.
    """
    first, second, *third = (line.split() for line in notes)
    name, fingerprint = first
    _, share, _, iterations, _, converged, _, seconds = second
    numbers = float(share), int(iterations), converged == "1", float(seconds)
    attributes = dict(zip(IN_HEADER, (fingerprint, *numbers), strict=True))
    if third:
        ((word, *digests),) = third
        attributes |= dict(zip(DIGESTS, digests, strict=True))
    if name != "picket_gpu" or (third and word != "digests"):
        raise ValueError("labels of another program")
    return attributes


def _write(
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
    """An MRC file of zeros and ones, with statistics from one count.

    mrcfile's several passes in float64 took ten times as long as writing.
    """

    def update_header_stats(self) -> None:
        share = np.count_nonzero(self.data) / self.data.size
        self.header.dmin, self.header.dmax = float(share == 1), float(share > 0)
        self.header.dmean, self.header.rms = share, (share * (1 - share)) ** 0.5


class _ScoreFile(MrcFile):  # type: ignore[misc]
    """An MRC file in float16, with statistics summed in float64 section by section."""

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
