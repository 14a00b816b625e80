"""What a file of a segmentation says of how it was made, so that a rerun can tell what is done."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import mrcfile

from picket_gpu import __version__
from picket_gpu.clustering import Method
from picket_gpu.config import S1Config
from picket_gpu.readers.state import state_of

GROUP = "segmentations"
_NAMES = ("fingerprint", "share_of_label_1", "iterations", "converged", "time_taken_for_s1")
_KINDS = (str, float, int, bool, float)


@dataclass(frozen=True)
class Stamp:
    """Written into every file of a segmentation.

    Attributes:
        fingerprint: of all that labels depend on, see `fingerprints`.
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
    def labels(self) -> list[str]:
        """For an MRC header, whose labels hold 80 characters each."""
        numbers = (
            f"share {self.share:.9g}",
            f"iterations {self.iterations}",
            f"converged {int(self.converged)}",
            f"seconds {self.seconds:.9g}",
        )
        return [f"picket_gpu {self.fingerprint}", " ".join(numbers)]


def fingerprints(config: S1Config, index: int) -> dict[tuple[str, Method], str]:
    """Digests of all that each segmentation of a tomogram depends on, by feature mode and method:
    version, settings, and the path, size and time of change of the tomogram and of its masks.
    Where it runs, and in how much memory, is left out.

    Raises:
        OSError: there is no such tomogram or mask, or nobody may ask.
    """
    entry = config.inputs[index]
    told: dict[str, Any] = {"version": __version__, "tomogram": entry.told()}
    for place in ("tomogram", "fitting_mask", "output_mask"):
        if (where := getattr(entry, place)) is not None:
            told[f"{place}_state"] = state_of(where, entry.storage_options)
    for name in ("neighborhood_size", "max_num_neighborhoods_for_fitting", "seed", "precision"):
        told[name] = getattr(config, name)
    told["blur_sigma"], told["scores"] = config.blur_sigma, config.scores
    return {
        (mode.mode, method): _digest(
            told | {"mode": mode.model_dump(mode="json"), "method": method}
        )
        for mode in config.feature_extraction_params
        for method in config.clustering_methods
    }


def _digest(told: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]


def read_stamp(path: Path) -> Stamp | None:
    """The stamp of an HDF5, MRC or Zarr file; None where there is none, or no such file.

    Raises:
        OSError: the file is in use.
    """
    try:
        return _READERS[path.suffix](path)
    except (BlockingIOError, PermissionError) as error:
        raise OSError(f"{path}: is in use or cannot be read; close it and run again") from error
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None  # not ours, whatever it is


def _from_hdf5(path: Path) -> Stamp:
    with h5py.File(path) as file:
        attributes = file[GROUP].attrs
        return Stamp(*(kind(attributes[name]) for name, kind in zip(_NAMES, _KINDS, strict=True)))


def _from_zarr(path: Path) -> Stamp:
    # Plain JSON: what is there can be told without Zarr.
    told = json.loads((path / ".zattrs").read_text(encoding="utf-8"))["picket_gpu"]
    return Stamp(*(kind(told[name]) for name, kind in zip(_NAMES, _KINDS, strict=True)))


def _from_mrc(path: Path) -> Stamp:
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
    return Stamp(text, float(share), int(iterations), converged == "1", float(seconds))


_READERS: dict[str, Callable[[Path], Stamp]] = {
    ".h5": _from_hdf5,
    ".mrc": _from_mrc,
    ".zarr": _from_zarr,
}
