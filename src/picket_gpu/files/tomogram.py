"""Grey values and geometry of tomograms. All volumes are read through this module."""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from math import inf, prod
from pathlib import Path
from threading import Thread

import numpy as np

from picket_gpu.device.limits import memory_limit
from picket_gpu.device.operations import Shape
from picket_gpu.errors import PicketError, one_line
from picket_gpu.files.lazy_volume import LazyVolume, VolumeSelector, is_possible_origin, space_of
from picket_gpu.files.location import Location
from picket_gpu.files.readers import open_volume

READ_AHEAD = 2**24  # bytes at a time
ALIKE = 0.01  # relative difference up to which voxel sizes are equal
FLAT = 2  # times shorter than the others: an axis along which a specimen may lie flat


@dataclass(frozen=True)
class TomogramHeader:
    """Geometry of a tomogram, and what is odd about its file.

    Attributes:
        path: path or URL, as the user wrote it.
        shape: voxels, (z, y, x).
        voxel_size: angstrom, (z, y, x); 0.0 where neither the file nor the user gives a possible
            one.
        origin: angstrom, (x, y, z), as in an MRC header; see `place`.
        nstart: first column, row and section, (x, y, z), as in an MRC header.
        warnings: oddities of the file, a line each, with its name.
    """

    path: Location
    shape: Shape
    voxel_size: tuple[float, float, float]
    origin: tuple[float, float, float]
    nstart: tuple[int, int, int]
    warnings: tuple[str, ...] = ()

    @property
    def place(self) -> tuple[float, float, float]:
        """Centre of the first voxel in angstrom, (x, y, z).

        This is the origin, or ``nstart`` voxels if the origin is 0 0 0, as in ChimeraX and others.
        """
        if any(self.origin):
            return self.origin
        x, y, z = (
            start * length for start, length in zip(self.nstart, self.voxel_size[::-1], strict=True)
        )
        return (x, y, z)


def read_header(path: Location, selector: VolumeSelector | None = None) -> TomogramHeader:
    """Read the geometry of the tomogram at ``path``, and check that the file can be used.

    Args:
        selector: choice of a volume in the file; its ``voxel_size`` replaces that of the file.

    Raises:
        PicketError: the file is missing or damaged, is not 3-D, has no real numbers or only one
            grey value, or would not fit in this machine's memory.
    """
    volume = open_checked(path, selector)
    z, y, x = volume.shape
    # A volume at a URL is not fetched twice; a constant one is noticed later.
    if isinstance(path, Path) and (value := _only_value(path, volume)) is not None:
        raise PicketError(
            f"{path}: every voxel has the value {value}; check that it is the right file"
        )
    warnings = list(volume.warnings)
    if selector is not None and selector.voxel_size is not None and not volume.fixed_size:
        size = selector.voxel_size
        warnings += contradiction(selector.size_key, size, volume.voxel_size)
    else:
        size, fault = _possible(volume.voxel_size)
        warnings += [fault] if fault else []
    shape = f"({z} x {y} x {x} voxels, z y x)"
    if y * FLAT <= min(z, x):
        warnings.append(
            f"y is by far the shortest axis {shape}, so z-slice limits cut across the specimen if "
            "it lies flat in y; rotate such a tomogram first (IMOD: clip rotx or trimvol -rx; "
            "AreTomo: -FlipVol 1)"
        )
    elif x * FLAT <= min(z, y):
        warnings.append(
            f"x is by far the shortest axis {shape}, so z-slice limits cut across the specimen if "
            "it lies flat in x; save such a volume with its axes in the order z y x first"
        )
    origin = volume.origin
    if not is_possible_origin(origin, volume.voxel_size):
        text = " ".join(f"{length:.7g}" for length in origin)
        warnings.append(f"impossible origin, {text} angstrom (x y z); placed at 0 0 0")
        origin = (0.0, 0.0, 0.0)
    named = tuple(f"{path}: {warning}" for warning in warnings)
    return TomogramHeader(path, (z, y, x), size, origin, volume.nstart, named)


def _possible(size: tuple[float, float, float]) -> tuple[tuple[float, float, float], str | None]:
    """A voxel size with 0.0 for impossible lengths, and a warning, or None if nothing is odd."""
    z, y, x = (length if 0 < length < inf else 0.0 for length in size)
    text = " x ".join(f"{length:g}" for length in size)
    if min(x, y, z) == 0.0:
        if not any(size):
            return (z, y, x), "has no voxel size; set voxel_size"
        return (z, y, x), f"impossible voxel size, {text} angstrom (z y x); set voxel_size"
    if x == y == z == 1.0:
        return (z, y, x), (
            "voxel size is exactly 1 angstrom, which often means unknown; set voxel_size"
        )
    if max(x, y, z) - min(x, y, z) > ALIKE * max(x, y, z):
        return (z, y, x), (
            f"voxels are not cubes ({text} angstrom, z y x); set voxel_size if that is wrong"
        )
    return (z, y, x), None


def contradiction(
    key: str, given: tuple[float, float, float], stored: tuple[float, float, float]
) -> list[str]:
    """A warning if a voxel size that a user gives is not that of the file; [] if nothing is odd.

    A file whose size is 0, impossible, or 1 angstrom has none.

    Args:
        key: what the user calls it.
        given, stored: angstrom, (z, y, x).
    """
    has_one = all(0 < length < inf for length in stored) and set(stored) != {1.0}
    pairs = zip(given, stored, strict=True)
    if not has_one or all(abs(one - other) <= ALIKE * other for one, other in pairs):
        return []
    size, other = (" x ".join(f"{length:g}" for length in one) for one in (given, stored))
    return [
        f"{key} is {size}, but the file has {other} angstrom (z y x); outputs do not lie on the "
        "tomogram in other programs unless one of the two is corrected"
    ]


def read_voxels(path: Location, selector: VolumeSelector | None = None) -> np.ndarray:
    """Read the grey values of the tomogram at ``path``, (z, y, x), as float32.

    Raises:
        PicketError: as for `read_header`, or a voxel is NaN or infinite.
    """
    return read_with_digest(path, selector)[0]


def read_with_digest(
    path: Location, selector: VolumeSelector | None = None
) -> tuple[np.ndarray, Future[str]]:
    """The same, and a digest of the grey values, 32 hexadecimal digits, which copies share.

    The digest comes later, so that nothing waits for it; until then the array must stay as it is.

    Raises:
        PicketError: as for `read_voxels`.
    """
    volume = open_checked(path, selector)
    voxels, digest = np.empty(volume.shape, dtype=np.float32), _Digest(volume.shape)
    aside = ThreadPoolExecutor(1)
    try:
        for place, block in planes_in(path, volume):
            _convert(path, block, voxels[place])
            aside.submit(digest.add, voxels[place])
        return voxels, aside.submit(lambda: digest.text)
    finally:
        aside.shutdown(wait=False)


def has_digest(path: Location, selector: VolumeSelector, text: str) -> bool:
    """Whether `read_with_digest` returns such a digest; most other volumes are not read to the end.

    Raises:
        PicketError: as for `read_voxels`.
    """
    volume = open_checked(path, selector)
    digest = _Digest(volume.shape)
    for _, block in planes_in(path, volume):
        planes = np.empty(block.shape, dtype=np.float32)
        _convert(path, block, planes)
        digest.add(planes)
        if not text.startswith(digest.first):
            return False
    return digest.text == text


class _Digest:
    """SHA-256 of grey values. Its text has 8 digits of the first z-slice, then 24 of all."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._sha = hashlib.sha256(str(shape).encode())
        self.first = ""

    def add(self, planes: np.ndarray) -> None:
        """Add the next planes, float32, (z, y, x)."""
        if not self.first:
            self._sha.update(planes[:1].data)
            self.first, planes = self._sha.hexdigest()[:8], planes[1:]
        self._sha.update(planes.data)

    @property
    def text(self) -> str:
        return self.first + self._sha.hexdigest()[:24]


def _convert(path: Location, block: np.ndarray, planes: np.ndarray) -> None:
    """Convert planes to float32, and check them."""
    with np.errstate(over="ignore"):  # float64 beyond float32 is reported as infinite
        planes[...] = block
    if not np.isfinite(planes).all():
        raise PicketError(
            f"{path}: contains NaN or infinite voxels; replace them, for example with the mean"
        )


def read_stored(path: Location, selector: VolumeSelector | None = None) -> np.ndarray:
    """Read a volume, (z, y, x), in the type of its file; a stored value that means 0 becomes 0.

    Raises:
        PicketError: it cannot be read.
    """
    volume = open_checked(path, selector)
    dtype = volume.dtype.newbyteorder("=") if volume.zero == 0 else np.dtype(np.int16)
    voxels = np.empty(volume.shape, dtype)
    for place, block in planes_in(path, volume):
        voxels[place] = block
    if volume.zero:
        voxels -= np.int16(volume.zero)
    return voxels


def read_ahead(path: Location) -> None:
    """Read a file that is needed soon into the system's cache, while something else is computed.

    Errors are ignored here: they appear again when the file is really read.
    """
    if not isinstance(path, Path) or not path.is_file():
        return

    def read() -> None:
        with suppress(OSError), path.open("rb", buffering=0) as file:
            while file.read(READ_AHEAD):
                pass

    Thread(target=read, daemon=True).start()


def open_checked(path: Location, selector: VolumeSelector | None = None) -> LazyVolume:
    """Open a volume of three axes of real numbers that fits in this machine's memory.

    Raises:
        PicketError: it is none, or cannot be read.
    """
    kind = "tomogram" if selector is None else selector.kind
    with _in_one_line(path):
        volume = open_volume(path, selector)
    stored, space = volume.shape, space_of(volume.shape)
    if len(space) != 3:
        raise PicketError(
            f"{path}: has {len(stored)} dimensions {stored}; a {kind} has 3 (z, y, x)"
        )
    volume = replace(volume, shape=tuple(stored[axis] for axis in space))
    if volume.dtype.kind not in "biuf" or min(volume.shape) < 1:
        raise PicketError(
            f"{path}: contains {volume.shape} {volume.dtype}; a {kind} needs real numbers"
        )
    _check_memory(path, volume.shape)
    return volume


def planes_in(path: Location, volume: LazyVolume) -> Iterator[tuple[slice, np.ndarray]]:
    """Read planes, and yield their z-slices with them.

    Raises:
        PicketError: they cannot be read, or their number differs from the header's.
    """
    first, blocks = 0, volume.blocks()
    while True:
        with _in_one_line(path):
            block = next(blocks, None)
        if block is None:
            break
        if first + len(block) <= volume.shape[0] and block.shape[1:] == volume.shape[1:]:
            yield slice(first, first + len(block)), block
        first += len(block)
    if first != volume.shape[0]:
        raise PicketError(
            f"{path}: file is damaged ({first} z-slices, expected {volume.shape[0]}); copy it again"
        )


@contextmanager
def _in_one_line(path: Location) -> Iterator[None]:
    """Make any exception of a format's library or a URL's protocol name the volume."""
    try:
        yield
    except (PicketError, OSError, MemoryError):
        raise
    except Exception as error:
        raise PicketError(f"{path}: cannot be read ({one_line(error)})") from error


def _check_memory(path: Location, shape: tuple[int, ...]) -> None:
    """Check that a volume fits in memory; a damaged header may announce terabytes."""
    needed = prod(shape) * 4
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    there = min(there, memory_limit() or there)
    if needed > there:
        raise PicketError(
            f"{path}: {shape} voxels (z, y, x) need {needed / 2**30:.1f} GiB as float32, more "
            f"than the {there / 2**30:.1f} GiB of this machine; bin the tomogram, or copy it "
            "again if the size is wrong"
        )


def _only_value(path: Location, volume: LazyVolume) -> float | None:
    """The value of a constant volume, else None; reads up to the first voxel that differs."""
    value = None
    for _, block in planes_in(path, volume):
        for section in block:
            value = section[0, 0] if value is None else value
            if not bool((section == value).all()):
                return None
    return None if value is None else float(value)
