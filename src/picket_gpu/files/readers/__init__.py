"""Readers of volumes, one for each format, behind one function."""

import re
from collections.abc import Callable
from pathlib import Path

from picket_gpu.errors import PicketError
from picket_gpu.files.lazy_volume import LazyVolume, VolumeSelector
from picket_gpu.files.location import Location, Url
from picket_gpu.files.readers.em import open_em
from picket_gpu.files.readers.hdf5 import open_hdf5
from picket_gpu.files.readers.mrc import open_mrc
from picket_gpu.files.readers.npy import open_npy
from picket_gpu.files.readers.omezarr import open_zarr
from picket_gpu.files.readers.tiff import open_tiff

_BY_ENDING: dict[str, Callable[[Path, VolumeSelector], LazyVolume]] = {
    ".cmap": open_hdf5,
    ".em": open_em,
    ".h5": open_hdf5,
    ".hdf5": open_hdf5,
    ".hdf": open_hdf5,
    ".npy": open_npy,
    ".tif": open_tiff,
    ".tiff": open_tiff,
}

MRC_ENDINGS = (".mrc", ".rec", ".map", ".st", ".ali", ".mrcs")


def is_named_like_a_volume(where: Path) -> bool:
    """Whether a name has the ending of a format that is read, compressed or not."""
    ending = Path(re.sub(r"\.(gz|bz2)$", "", where.name.lower())).suffix
    return ending in _BY_ENDING or ending in MRC_ENDINGS or ending == ".zarr"


def open_volume(where: Location, selector: VolumeSelector | None = None) -> LazyVolume:
    """Open the volume at ``where`` by its extension; a file with an unknown one is read as MRC.

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
        raise PicketError(f"{where}: no such file; check the {selector.kind}'s path") from None
    except OSError as error:
        raise PicketError(
            f"{where}: cannot be read ({error.strerror}); check the {selector.kind}'s path"
        ) from None
    if where.is_dir():
        return open_zarr(where, selector)
    if not where.is_file():
        raise PicketError(
            f"{where}: is not a regular file; {selector.kind} must be the path of a volume"
        )
    try:
        with where.open("rb"):
            pass
    except PermissionError:
        raise PicketError(f"{where}: no permission to read it; change its permissions") from None
    reader = _BY_ENDING.get(where.suffix.lower(), open_mrc)
    if selector.level is not None:
        raise PicketError(f"{where}: level applies to OME-Zarr only; remove it")
    if selector.dataset is not None and reader is not open_hdf5:
        raise PicketError(f"{where}: dataset applies to HDF5 and Zarr only; remove it")
    return reader(where, selector)
