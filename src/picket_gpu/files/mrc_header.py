"""Headers of MRC files, and what they mean where programs disagree.

The format is that of Cheng et al. 2015 (MRC2014), with IMOD's stamp and flags in bytes 152 to 159.
"""

from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from mrcfile import utils
from mrcfile.dtypes import HEADER_DTYPE

from picket_gpu.errors import PicketError, one_line
from picket_gpu.files.lazy_volume import is_possible_origin

HEADER = 1024  # bytes
MOST_STARTS = 10  # times the longest side; a greater nstart was never set
MOST_EXTENDED = 2**28  # bytes of an extended header; a damaged header may announce gigabytes
VOXEL_TYPES = {0: "int8", 1: "int16", 2: "float32", 6: "uint16", 12: "float16"}
IMOD, IMOD_STAMP, IMOD_FLAGS = 1146047817, slice(152, 156), slice(156, 160)
SIGNED, FOUR_BITS = 1, 16  # of IMOD's flags
Number = TypeVar("Number", int, float)
_ORDERS = {"<": "little-endian", ">": "big-endian"}


class MrcHeader(NamedTuple):
    """What the header of an MRC file means.

    Attributes:
        shape: stored voxels, (sections, rows, columns); an image has two axes, a stack four.
        dtype: type of the voxels, with its byte order.
        begin: offset of the first voxel in bytes.
        order: index of the stored axis, from 0, for each of z, y, x.
        voxel_size: angstrom, (z, y, x), from the header; 0.0 where it has none.
        origin: angstrom, (x, y, z).
        nstart: (x, y, z), in voxels.
        zero: stored value that means 0: -128 in IMOD's signed bytes.
        sign_unclear: whether bytes are read as signed by the standard alone.
        warnings: oddities of the header.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    begin: int
    order: tuple[int, int, int]
    voxel_size: tuple[float, float, float]
    origin: tuple[float, float, float]
    nstart: tuple[int, int, int]
    zero: float
    sign_unclear: bool
    warnings: tuple[str, ...]


def read_mrc_header(path: Path, data: bytes, size: int | None) -> MrcHeader:
    """Interpret the first 1024 bytes of an MRC file.

    ``mrcfile.open`` would allocate an extended header of any size that the file announces, and
    refuses or misreads files that the functions below describe.

    Args:
        path: file, for messages.
        data: those bytes, or fewer if the file is shorter.
        size: size of the file in bytes; None if it is compressed.

    Raises:
        PicketError: the file is not an MRC file, or cannot be read.
    """
    header, warnings = _in_its_byte_order(path, data, size)
    shape = _shape(path, header)
    axes = _axes(path, header)
    stored = axes[::-1]  # sections, rows, columns
    z, y, x = (stored.index(axis) for axis in (3, 2, 1))
    voxel_size = _voxel_size(header)
    origin, nstart, fault = _position(header, axes, voxel_size)
    dtype, zero = _bytes(path, data, header)
    begin = HEADER + int(header.nsymbt)
    if size is not None:
        check_size(path, size, begin, prod(shape) * dtype.itemsize)
    return MrcHeader(
        shape,
        dtype,
        begin,
        (z, y, x),
        voxel_size,
        origin,
        nstart,
        zero,
        dtype == np.int8 and zero == 0,
        (*warnings, *fault),
    )


def _in_its_byte_order(
    path: Path, data: bytes, size: int | None
) -> tuple[np.recarray, tuple[str, ...]]:
    """The header's fields, and a warning if MAP or the machine stamp is missing, unknown or wrong.

    The byte order is then the one in which mode, sizes and axes make sense and the file has all
    voxels. A truncated file that makes sense is reported later.
    """
    if len(data) < HEADER:
        raise PicketError(
            f"{path}: is not an MRC file ({len(data)} bytes, a header has 1024); check the "
            "path and the extension"
        )
    headers = {order: _fields(data, order) for order in "<>"}
    ends = {order: _end(header) for order, header in headers.items() if _makes_sense(header)}
    whole = [order for order in ends if size is None or size >= ends[order]]
    # In a compressed file with 256 columns of bytes both may fit: 256 is 65536 the other way.
    fitting = sorted(whole or ends, key=ends.__getitem__)
    odd = []
    if not _has_map(headers["<"]):
        odd.append("no MAP in bytes 208 to 210")
    try:
        stamped = utils.byte_order_from_machine_stamp(data[212:216])
    except ValueError as error:
        odd.append(f"the {one_line(error).replace('Unrecognised ', 'unknown ')}")
        stamped = None
    if stamped is not None and not fitting and not odd:
        return headers[stamped], ()  # its error is reported later
    if stamped is not None and stamped in fitting:
        fitting = [stamped]
    elif stamped is not None:
        odd.append(f"the machine stamp of a {_ORDERS[stamped]} file")
    if not fitting:
        raise PicketError(
            f"{path}: is not an MRC file (header has {' and '.join(odd)}); check the path and "
            "the extension"
        )
    warning = f"MRC header has {' and '.join(odd)}; read as {_ORDERS[fitting[0]]}"
    return headers[fitting[0]], (warning,) if odd else ()


def _fields(data: bytes, order: str) -> np.recarray:
    fields = np.frombuffer(data, HEADER_DTYPE.newbyteorder(order)).reshape(())
    header: np.recarray = fields.view(np.recarray)
    return header


def _has_map(header: np.recarray) -> bool:
    """Whether the header has the word MAP, as MRC files have since 2000."""
    return bytes(header.map)[:3] == b"MAP"


def _makes_sense(header: np.recarray) -> bool:
    if int(header.mode) not in VOXEL_TYPES or not 0 <= int(header.nsymbt) <= MOST_EXTENDED:
        return False
    sizes = int(header.nz), int(header.ny), int(header.nx)
    return min(sizes) >= 1 and sorted(_told_axes(header)) in ([1, 2, 3], [0, 0, 0])


def _end(header: np.recarray) -> int:
    """Offset of the end of the voxels in bytes, for a header that makes sense."""
    voxels = int(header.nz) * int(header.ny) * int(header.nx)
    return HEADER + int(header.nsymbt) + voxels * np.dtype(VOXEL_TYPES[int(header.mode)]).itemsize


def _told_axes(header: np.recarray) -> tuple[int, int, int]:
    return int(header.mapc), int(header.mapr), int(header.maps)


def _axes(path: Path, header: np.recarray) -> tuple[int, int, int]:
    """Axes (1 x, 2 y, 3 z) of columns, rows and sections; old files have 0 0 0 for 1 2 3."""
    axes = _told_axes(header)
    if axes == (0, 0, 0):
        return (1, 2, 3)
    if sorted(axes) != [1, 2, 3]:
        raise PicketError(
            f"{path}: MRC header gives the axes {axes} (mapc mapr maps), which must be 1, 2 "
            "and 3 in some order; the file is damaged, write it again"
        )
    return axes


def _shape(path: Path, header: np.recarray) -> tuple[int, ...]:
    """Stored shape in voxels; an image has two axes, a stack of volumes four."""
    mode, extended = int(header.mode), int(header.nsymbt)
    if mode not in VOXEL_TYPES:
        known = ", ".join(f"{number} {name}" for number, name in VOXEL_TYPES.items())
        raise PicketError(f"{path}: MRC mode {mode} is not supported; use one of {known}")
    if not 0 <= extended <= MOST_EXTENDED:
        raise PicketError(
            f"{path}: MRC header gives an impossible extended header, {extended} bytes; the "
            "file is damaged, copy it again"
        )
    sizes = tuple(int(n) for n in (header.nz, header.ny, header.nx))
    stack = utils.spacegroup_is_volume_stack(header.ispg)
    if min(sizes) < 1 or (stack and not 1 <= int(header.mz) <= sizes[0]):
        raise PicketError(
            f"{path}: MRC header gives an impossible size, {sizes} voxels (z, y, "
            "x); the file is damaged, copy it again"
        )
    shape = tuple(utils.data_shape_from_header(header))
    return shape[1:] if len(shape) == 4 and shape[0] == 1 else shape


def _bytes(path: Path, data: bytes, header: np.recarray) -> tuple[np.dtype[Any], float]:
    """Type of the voxels, and the stored value that means 0.

    Mode 0 is signed by the standard. IMOD's flags say whether it is. Without flags, bytes are
    unsigned if the header has statistics that signed bytes cannot have. Files without MAP, from
    before the standard, have unsigned bytes; IMOD and Chimera read them so.
    """
    order = header.nx.dtype.byteorder
    dtype = np.dtype(VOXEL_TYPES[int(header.mode)]).newbyteorder(order)
    if int(header.mode) != 0:
        return dtype, 0.0
    number = np.dtype("i4").newbyteorder(order)
    (stamp,) = np.frombuffer(data[IMOD_STAMP], number)
    (flags,) = np.frombuffer(data[IMOD_FLAGS], number)
    if stamp == IMOD:
        if flags & FOUR_BITS:
            raise PicketError(
                f"{path}: 4-bit voxels are not supported; convert them, for "
                "example with newstack -mode 1"
            )
        return (dtype, -128.0) if flags & SIGNED else (np.dtype("u1"), 0.0)
    unsigned = 0 <= header.dmin <= header.dmax and 128 <= header.dmax <= 255
    unsigned |= not _has_map(header) and not header.dmin < 0
    return (np.dtype("u1") if unsigned else dtype), 0.0


def check_size(path: Path, there: int, begin: int, voxels: int) -> None:
    """Check that a file has all its voxels.

    A file may be exactly as long as it would be without the extended header that it announces. It
    then lacks that header or its last voxels, and nothing says which.

    Args:
        path: file, for messages.
        there: size of the decompressed file in bytes.
        begin: offset of the first voxel in bytes.
        voxels: size of all voxels in bytes.

    Raises:
        PicketError: the file is too short.
    """
    if there == HEADER + voxels < begin + voxels:
        raise PicketError(
            f"{path}: MRC header gives an extended header of {begin - HEADER} bytes, but the "
            "file is only as long as without one; copy it again, or set nsymbt to 0 if it "
            "never had one"
        )
    if there < begin + voxels:
        raise PicketError(
            f"{path}: MRC file is truncated ({there} of {begin + voxels} bytes); copy it again"
        )


def _voxel_size(header: np.recarray) -> tuple[float, float, float]:
    cell, counts = header.cella, (int(header.mx), int(header.my), int(header.mz))
    x, y, z = (
        # The header stores float32: 13.48 must not become 13.479999542.
        float(f"{float(length) / count:.6g}") if count > 0 else 0.0
        for length, count in zip((cell.x, cell.y, cell.z), counts, strict=True)
    )
    return (z, y, x)


def _position(
    header: np.recarray, axes: tuple[int, int, int], voxel_size: tuple[float, float, float]
) -> tuple[tuple[float, float, float], tuple[int, int, int], tuple[str, ...]]:
    """Origin and nstart, (x, y, z), 0 0 0 where they were never set, and a warning if that counts.

    Both are judged as in ChimeraX. Files without MAP use the bytes of the origin otherwise.
    """
    origin = _vector(float(length) for length in header.origin.tolist())
    starts = dict(zip(axes, (header.nxstart, header.nystart, header.nzstart), strict=True))
    nstart = _vector(int(starts[axis]) for axis in (1, 2, 3))
    faults = []
    if not _has_map(header):
        origin = (0.0, 0.0, 0.0)
    elif not is_possible_origin(origin, voxel_size):
        faults.append(f"an impossible origin, {_words(origin)} angstrom")
        origin = (0.0, 0.0, 0.0)
    sizes = (header.nx, header.ny, header.nz, header.mx, header.my, header.mz)
    if max(map(abs, nstart)) > MOST_STARTS * max(map(int, sizes)):
        if not any(origin):
            faults.append(f"an impossible nstart, {_words(nstart)}")
        nstart = (0, 0, 0)
    if not faults:
        return origin, nstart, ()
    instead = f"nstart {_words(nstart)}" if any(nstart) else "0 0 0"
    return origin, nstart, (f"MRC header has {' and '.join(faults)} (x y z); placed at {instead}",)


def _vector(numbers: Iterable[Number]) -> tuple[Number, Number, Number]:
    x, y, z = numbers
    return (x, y, z)


def _words(vector: tuple[float, float, float]) -> str:
    return " ".join(
        f"{number:.7g}" if isinstance(number, float) else f"{number}" for number in vector
    )
