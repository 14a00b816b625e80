"""Segmentations that are there, and what their files and the records beside them tell of them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from picket_gpu.config.inputs import TomogramInput
from picket_gpu.config.s1 import S1Config
from picket_gpu.errors import PicketError, one_line
from picket_gpu.files.lazy_volume import LazyVolume, VolumeSelector
from picket_gpu.files.location import file_signature
from picket_gpu.files.readers import open_volume
from picket_gpu.files.readers.hdf5 import OURS
from picket_gpu.files.segmentations import read_attributes, read_own_attributes
from picket_gpu.files.tomogram import TomogramHeader, read_header
from picket_gpu.particles.settings import Workflow
from picket_gpu.run.fingerprints import digest
from picket_gpu.run.found_config import (
    config_of_attributes,
    config_of_record,
    size_of,
    three,
)

_ENDINGS = (".h5", ".zarr", ".mrc")  # the first that is there has the most to tell
_OURS = re.compile(r"segmentation_(\d+)_([^_]+)_([^_.]+)")
# PickET's step 2 asks only for the number.
_NUMBERED = re.compile(r"[^_]+_(\d+)(?:_([^_]+)_([^_]+))?.*")


@dataclass(frozen=True)
class FoundSegmentation:
    """One segmentation, and how it was made.

    Attributes:
        path: of its file.
        index: of its tomogram in the inputs of its run, from 0.
        workflow: feature mode and clustering method.
        fingerprint: of all that it depends on; of the file where that is not told.
        config: of its run; where no record tells, what its attributes do, and defaults.
        entry: of its tomogram, likewise; the tomogram is the file itself where nothing names it.
        header: of its tomogram; voxel sizes are 0.0 where they are not known.
        warnings: what is odd, a line each.
    """

    path: Path
    index: int
    workflow: Workflow
    fingerprint: str
    config: S1Config
    entry: TomogramInput
    header: TomogramHeader
    warnings: tuple[str, ...] = ()


def find_segmentations(
    path: Path, voxel_size: tuple[float, float, float] | None = None
) -> list[FoundSegmentation]:
    """The segmentations in an output directory of S1, or the one in a file.

    Of each the HDF5 file, where there is none the Zarr, else the MRC file. They are in the order of
    their tomograms, and of the workflows of the run.

    Args:
        voxel_size: angstrom, (z, y, x), instead of what files say.

    Raises:
        PicketError: there are none, or one is unusable.
    """
    if not path.is_dir() or path.suffix == ".zarr":
        return [read_segmentation(path, voxel_size)]
    paths: dict[str, Path] = {}
    for ending in _ENDINGS:
        for file in sorted(path.glob(f"segmentation_*{ending}")):
            if _OURS.fullmatch(file.stem):
                paths.setdefault(file.stem, file)
    if not paths:
        raise PicketError(
            f"{path}: contains no segmentation_*.h5, .zarr or .mrc; name "
            "output_dir/dataset_name of an S1 run"
        )
    found = [read_segmentation(file, voxel_size) for file in paths.values()]
    return sorted(found, key=lambda one: (one.index, _order(one), one.workflow))


def _order(found: FoundSegmentation) -> int:
    """Place of a workflow in its run."""
    run: Sequence[Workflow] = found.config.workflows
    return run.index(found.workflow) if found.workflow in run else len(run)


def read_segmentation(
    path: Path, voxel_size: tuple[float, float, float] | None = None
) -> FoundSegmentation:
    """The segmentation in a file, PickET's own HDF5 included; see `find_segmentations`."""
    named = _NUMBERED.fullmatch(path.stem)
    if not path.exists():
        raise PicketError(f"{path}: no such file; name an S1 segmentation or its directory")
    if path.suffix not in _ENDINGS:
        raise PicketError(f"{path}: is not an S1 segmentation; name its .h5, .zarr or .mrc file")
    if named is None:
        raise PicketError(
            f"{path}: file name has no tomogram number; rename it as S1 does, for example "
            f"segmentation_0_gabor_gmm{path.suffix}"
        )
    try:
        told = {} if path.suffix == ".mrc" else read_attributes(path)
        volume = open_volume(path, VolumeSelector(dataset=OURS if path.suffix == ".h5" else None))
        own = read_own_attributes(path)
        fingerprint = _digest(path) if own is None else own["fingerprint"]
        index = int(named[1])
        mode, method = told.get("fex_mode", named[2]), told.get("clustering_method", named[3])
        if not (str(mode).isalnum() and str(method).isalnum()) or None in (mode, method):
            raise ValueError("no workflow recorded in it")
        config, entry = config_of_record(path, index, fingerprint) or config_of_attributes(
            path, told
        )
        header, warnings = _geometry(path, told, volume, entry, voxel_size)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise PicketError(f"{path}: is not an S1 segmentation ({one_line(error)})") from None
    workflow = (str(mode), str(method))
    return FoundSegmentation(path, index, workflow, fingerprint, config, entry, header, warnings)


def _geometry(
    path: Path,
    told: Mapping[str, Any],
    volume: LazyVolume,
    entry: TomogramInput,
    voxel_size: tuple[float, float, float] | None,
) -> tuple[TomogramHeader, tuple[str, ...]]:
    """Of the tomogram, with what is odd: as attributes tell, or an MRC file, or the tomogram."""
    z, y, x = volume.shape
    size, place = voxel_size or size_of(told), _numbers(told.get("origin"))
    if path.suffix != ".h5":
        itself = TomogramHeader(path, (z, y, x), volume.voxel_size, volume.origin, volume.nstart)
        size = size or size_of({"voxel_size": itself.voxel_size})
        place = place or itself.place
    warnings: tuple[str, ...] = ()
    if size is None or place is None:
        try:
            header = read_header(entry.tomogram, entry.selector)
            size = size or size_of({"voxel_size": header.voxel_size})
            place = place or header.place
        except (PicketError, OSError) as error:
            warnings = (f"{path}: origin of the tomogram is unknown, using 0 0 0 ({error})",)
    size, place = size or (0.0, 0.0, 0.0), place or (0.0, 0.0, 0.0)
    return TomogramHeader(entry.tomogram, (z, y, x), size, place, (0, 0, 0)), warnings


def _numbers(told: Any) -> tuple[float, float, float] | None:
    return None if told is None else three(told)


def _digest(path: Path) -> str:
    """Of a file of another program: where it is, its size and its time of change."""
    told = {"path": str(path.absolute()), **file_signature(path, {})}
    return digest(told)
