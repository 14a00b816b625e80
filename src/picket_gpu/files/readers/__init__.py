"""Readers of volumes, one for each format, behind one function."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from picket_gpu.errors import PicketError
from picket_gpu.files.content import MAP, START, described, ending_of
from picket_gpu.files.lazy_volume import LazyVolume, VolumeSelector
from picket_gpu.files.location import Location, Url
from picket_gpu.files.readers.em import open_em
from picket_gpu.files.readers.hdf5 import open_hdf5
from picket_gpu.files.readers.mrc import open_mrc
from picket_gpu.files.readers.npy import open_npy
from picket_gpu.files.readers.omezarr import open_zarr
from picket_gpu.files.readers.tiff import open_tiff, open_tiff_slices, tiff_slices

Reader: TypeAlias = Callable[[Path, VolumeSelector], LazyVolume]
_BY_ENDING: dict[str, Reader] = {
    ".cmap": open_hdf5,
    ".em": open_em,
    ".h5": open_hdf5,
    ".hdf5": open_hdf5,
    ".hdf": open_hdf5,
    ".npy": open_npy,
    ".ozx": open_zarr,
    ".tif": open_tiff,
    ".tiff": open_tiff,
    ".zip": open_zarr,
}

# What readers of files by name cannot decompress.
_COMPRESSED = tuple(ending + by for ending in _BY_ENDING for by in (".gz", ".bz2"))
_METADATA = (".zarray", ".zattrs", ".zgroup", "zarr.json")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp")
MRC_ENDINGS = (".mrc", ".rec", ".map", ".st", ".ali", ".mrcs")


def is_named_like_a_volume(where: Path) -> bool:
    """Whether a name has the ending of a format that is read, compressed or not."""
    ending = Path(re.sub(r"\.(gz|bz2)$", "", where.name.lower())).suffix
    return ending in _BY_ENDING or ending in MRC_ENDINGS or ending == ".zarr"


def open_volume(where: Location, selector: VolumeSelector | None = None) -> LazyVolume:
    """Open the volume at ``where`` by its content, else by its extension, else as MRC.

    Raises:
        PicketError: the volume does not exist, is damaged, or is not 3-D, or ``selector`` does not
            apply to its format.
    """
    selector = selector or VolumeSelector()
    if isinstance(where, Url):
        ending = Path(re.sub(r"\.(gz|bz2)$", "", where.name.lower())).suffix
        if ending in _BY_ENDING or ending in MRC_ENDINGS:
            raise PicketError(
                f"{where}: only Zarr can be read from a URL; download the file and give its "
                "local path"
            )
        return open_zarr(where, selector)
    try:
        where.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise PicketError(f"{where}: {_missing(where, selector)}") from None
    except OSError as error:
        raise PicketError(
            f"{where}: cannot be read ({error.strerror}); check the {selector.kind}'s path"
        ) from None
    kind = selector.kind
    reader = _of_directory(where, kind) if where.is_dir() else _of_file(where, kind)
    if selector.level is not None and reader is not open_zarr:
        raise PicketError(f"{where}: level applies to OME-Zarr only; remove it")
    if selector.dataset is not None and reader not in (open_hdf5, open_zarr):
        raise PicketError(f"{where}: dataset applies to HDF5 and Zarr only; remove it")
    return reader(where, selector)


def _missing(where: Path, selector: VolumeSelector) -> str:
    """What to do about a path that does not exist."""
    file = next((above for above in where.parents if above.is_file()), None)
    reader = None if file is None else _BY_ENDING.get(file.suffix.lower())
    if file is not None and reader in (open_hdf5, open_zarr):
        name = where.relative_to(file).as_posix()
        return f"{file} is a file; {selector.remedy(file, name)}"
    return f"no such file; check the {selector.kind}'s path"


def _of_file(path: Path, kind: str) -> Reader:
    """The reader of a file; ``kind`` is what an error calls it.

    Raises:
        PicketError: it cannot be read, or nothing reads its format.
    """
    if not path.is_file():
        raise PicketError(f"{path}: is not a regular file; {kind} must be the path of a volume")
    try:
        with path.open("rb") as file:
            start = file.read(START)
    except PermissionError:
        raise PicketError(f"{path}: no permission to read it; change its permissions") from None
    if (ending := ending_of(start)) is not None:
        return _BY_ENDING[ending]
    if start[MAP] == b"MAP":
        return open_mrc
    if (reader := _BY_ENDING.get(path.suffix.lower())) is not None:
        return reader
    if path.name.lower().endswith(_COMPRESSED):
        raise PicketError(f"{path}: only MRC is read compressed; decompress it")
    if (what := described(start)) is not None:
        raise PicketError(f"{path}: is not an MRC file but {what}")
    return open_mrc


def _of_directory(path: Path, kind: str) -> Reader:
    """The reader of a directory, likewise.

    Raises:
        PicketError: it is not a volume.
    """
    if any((path / name).exists() for name in _METADATA):
        return open_zarr
    if tiff_slices(path):
        return open_tiff_slices
    raise PicketError(f"{path}: directory is not a Zarr{_hint(path, kind)}")


def _hint(path: Path, kind: str) -> str:
    """What to do with a directory that is not a volume."""
    if (path / "copick.json").exists() or (path / "ExperimentRuns").exists():
        return (
            " but a copick project; name a tomogram in it, such as "
            "ExperimentRuns/TS_01/VoxelSpacing10.000/wbp.zarr"
        )
    if (path / "attributes.json").exists():
        return " but N5, which is not read; convert it to OME-Zarr"
    known = (*MRC_ENDINGS, *_BY_ENDING, ".zarr")
    endings = Counter(one.suffix for one in path.iterdir() if one.suffix.lower() in known)
    for ending, _ in endings.most_common(1):
        if kind == "mask":
            return f"; to use a mask for each tomogram, write {path / '{name}'}{ending}"
        return f"; to use all tomograms in it, write {path / '*'}{ending}"
    if any(one.suffix.lower() in PICTURES for one in path.iterdir()):
        return " but has pictures; save them as TIFF slices, or as one volume"
    return f"; {kind} must be the path of a volume"
