"""How a segmentation was made: what each of its files says of it, so that a rerun can tell."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import mrcfile

from picket_gpu.files.writers.hdf5 import GROUP

_NAMES = ("fingerprint", "share_of_label_1", "iterations", "converged", "time_taken_for_s1")
_KINDS = (str, float, int, bool, float)


@dataclass(frozen=True)
class Provenance:
    """Written into every file of a segmentation.

    Attributes:
        fingerprint: digest of all that labels depend on.
        share: of the labelled voxels, how many have label 1.
        iterations: of the clustering method.
        converged: whether it met its stopping rule.
        seconds: from features to labels.
    """

    fingerprint: str
    share: float
    iterations: int
    converged: bool
    seconds: float

    @property
    def attributes(self) -> dict[str, Any]:
        """For HDF5 and Zarr."""
        values = (self.fingerprint, self.share, self.iterations, self.converged, self.seconds)
        return dict(zip(_NAMES, values, strict=True))

    @property
    def mrc_labels(self) -> list[str]:
        """For an MRC header, whose labels hold 80 characters each."""
        numbers = (
            f"share {self.share:.9g}",
            f"iterations {self.iterations}",
            f"converged {int(self.converged)}",
            f"seconds {self.seconds:.9g}",
        )
        return [f"picket_gpu {self.fingerprint}", " ".join(numbers)]


def read_provenance(path: Path) -> Provenance | None:
    """What an HDF5, MRC or Zarr file says; None where it says nothing, or is not there.

    Raises:
        OSError: the file is in use.
    """
    try:
        return _READERS[path.suffix](path)
    except (BlockingIOError, PermissionError) as error:
        raise OSError(f"{path}: is in use or cannot be read; close it and run again") from error
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None  # not ours, whatever it is


def _from_hdf5(path: Path) -> Provenance:
    with h5py.File(path) as file:
        attributes = file[GROUP].attrs
        return Provenance(
            *(kind(attributes[name]) for name, kind in zip(_NAMES, _KINDS, strict=True))
        )


def _from_zarr(path: Path) -> Provenance:
    # Plain JSON: what is there can be told without Zarr.
    told = json.loads((path / ".zattrs").read_text(encoding="utf-8"))["picket_gpu"]
    return Provenance(*(kind(told[name]) for name, kind in zip(_NAMES, _KINDS, strict=True)))


def _from_mrc(path: Path) -> Provenance:
    with mrcfile.open(path, header_only=True) as mrc:
        mode = mrcfile.utils.dtype_from_mode(mrc.header.mode)
        voxels = int(mrc.header.nx) * int(mrc.header.ny) * int(mrc.header.nz)
        whole = path.stat().st_size == 1024 + voxels * mode.itemsize
        first, second = (line for line in mrc.get_labels() if not line.startswith("Created"))
    name, text = first.split()
    _, share, _, iterations, _, converged, _, seconds = second.split()
    if name != "picket_gpu":
        raise ValueError(first)
    text = text if whole else "none, for it was cut"
    return Provenance(text, float(share), int(iterations), converged == "1", float(seconds))


_READERS: dict[str, Callable[[Path], Provenance]] = {
    ".h5": _from_hdf5,
    ".mrc": _from_mrc,
    ".zarr": _from_zarr,
}
