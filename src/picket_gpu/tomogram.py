"""MRC file -> grey values and geometry. Nothing else in the package reads tomograms."""

import warnings
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from threading import Thread

import mrcfile
import numpy as np

from picket_gpu.errors import PicketError

READ_AHEAD = 2**24  # bytes at a time
_VOXEL_TYPES = {0: "int8", 1: "int16", 2: "float32", 6: "uint16", 12: "float16"}


@dataclass(frozen=True)
class TomogramHeader:
    """What is known of a tomogram without its voxels.

    Attributes:
        path: the file, as the user named it.
        shape: voxels, (z, y, x).
        voxel_size: angstrom, (z, y, x); 0.0 where the header does not say.
        origin: MRC origin, angstrom, (x, y, z) as in the header.
        nstart: first column, row, section of the file, (x, y, z) as in the header.
    """

    path: Path
    shape: tuple[int, int, int]
    voxel_size: tuple[float, float, float]
    origin: tuple[float, float, float]
    nstart: tuple[int, int, int]


def read_header(path: Path) -> TomogramHeader:
    """Geometry of the tomogram at ``path``, after checking that its voxels can be there.

    Raises:
        PicketError: the file is missing, is no 3-D MRC of a known mode, is shorter than its header
            says, or holds one grey value only.
    """
    data, header = _open(path)
    if _is_constant(data):
        raise PicketError(
            f"{path}: every voxel has the value {data.flat[0]}; is it the right file?"
        )
    cell, counts = header.cella, (int(header.mx), int(header.my), int(header.mz))
    x, y, z = (
        # The header holds float32: 13.48 should not come out as 13.479999542.
        float(f"{float(length) / count:.6g}") if count > 0 and 0 < length < np.inf else 0.0
        for length, count in zip((cell.x, cell.y, cell.z), counts, strict=True)
    )
    return TomogramHeader(
        path=path,
        shape=data.shape,
        voxel_size=(z, y, x),
        origin=(float(header.origin.x), float(header.origin.y), float(header.origin.z)),
        nstart=(int(header.nxstart), int(header.nystart), int(header.nzstart)),
    )


def read_voxels(path: Path) -> np.ndarray:
    """Grey values of the tomogram at ``path``, (z, y, x) float32, whatever the mode of the file.

    Raises:
        PicketError: as `read_header`, and where a voxel is NaN or infinite.
    """
    data, _ = _open(path)
    voxels = data.astype(np.float32)
    if data.dtype.kind == "f" and not all(np.isfinite(section).all() for section in voxels):
        raise PicketError(f"{path}: holds NaN or infinite voxels; replace them, by the mean say")
    return voxels


def read_ahead(path: Path) -> None:
    """Have the system read a file that is wanted soon, while something else is computed.

    What it reads stays in the system's cache, as far as there is memory. A fault of the file shows
    when it is read in earnest.
    """

    def read() -> None:
        with suppress(OSError), path.open("rb", buffering=0) as file:
            while file.read(READ_AHEAD):
                pass

    Thread(target=read, daemon=True).start()


def _open(path: Path) -> tuple[np.ndarray, np.recarray]:
    """Memory-mapped voxels and header."""
    if not path.exists():
        raise PicketError(f"{path}: no such file; check the tomogram's path")
    if not path.is_file():
        raise PicketError(f"{path}: is not a file; tomogram must name an MRC file")
    try:
        with path.open("rb") as file:
            if file.read(4).startswith((b"\x1f\x8b", b"BZh")):
                raise PicketError(f"{path}: is compressed; decompress it first")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # header oddities that do not matter
            with mrcfile.open(path, header_only=True) as mrc:
                _check_header(path, mrc.header)
            with mrcfile.mmap(path) as mrc:
                data, header = mrc.data, mrc.header
    except PermissionError:
        raise PicketError(f"{path}: no permission to read it") from None
    except (ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise PicketError(f"{path}: is not an MRC file ({reason})") from None
    if data.ndim != 3:
        raise PicketError(f"{path}: has {data.ndim} dimensions; a tomogram has 3 (z, y, x)")
    return data, header


def _check_header(path: Path, header: np.recarray) -> None:
    """Whether the voxels that the header tells of can be there."""
    mode = int(header.mode)
    if mode not in _VOXEL_TYPES:
        known = ", ".join(f"{number} {name}" for number, name in _VOXEL_TYPES.items())
        raise PicketError(f"{path}: MRC mode {mode} is not supported; use one of {known}")
    shape = tuple(int(n) for n in (header.nz, header.ny, header.nx))
    if min(shape) < 1:
        raise PicketError(f"{path}: its header tells of {shape} voxels (z, y, x); copy it again")
    extended = max(0, int(header.nsymbt))
    needed = 1024 + extended + prod(shape) * np.dtype(_VOXEL_TYPES[mode]).itemsize
    if path.stat().st_size < needed:
        raise PicketError(
            f"{path}: not a whole MRC file, {path.stat().st_size} of {needed} bytes; copy it again"
        )


def _is_constant(data: np.ndarray) -> bool:
    """Whether all voxels are equal; reads only as far as the first that differs."""
    first = data[0, 0, 0]
    return all(bool((section == first).all()) for section in data)
