"""Volumes in TIFF files: a page for each z-slice, or a file for each in a directory."""

import logging
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from picket_gpu.errors import PicketError, one_line
from picket_gpu.files.lazy_volume import (
    LazyVolume,
    VolumeSelector,
    angstrom_in,
    cannot_map,
    planes_of,
    space_of,
)

ENDINGS = (".tif", ".tiff")
_UNKNOWN = (0.0, 0.0, 0.0)


def open_tiff(path: Path, selector: VolumeSelector) -> LazyVolume:
    """Open the volume of a TIFF file, to be read page by page.

    Raises:
        PicketError: tifffile is not installed, the file is not a complete TIFF with grey values, or
            its pages differ, or it has several volumes.
    """
    tifffile = _library(path)
    try:
        with tifffile.TiffFile(path) as file:
            shape, dtype = _shape(path, file), file.series[0].dtype
            coloured = "S" in file.series[0].axes
            geometry = _voxel_size(file)
            compression = str(getattr(file.pages[0].compression, "name", "unknown"))
    except PicketError:
        raise
    except Exception as error:  # tifffile passes on any exception that damaged tags cause
        reason = one_line(error)
        why = "" if reason.startswith("not a TIFF file") else f" ({reason})"
        raise PicketError(
            f"{path}: is not a TIFF file{why}; check the path and the extension"
        ) from None
    if dtype is None or coloured:
        raise PicketError(
            f"{path}: TIFF file is empty or in colour; a tomogram must have grey values"
        )

    def blocks() -> Iterator[np.ndarray]:
        try:
            with tifffile.TiffFile(path) as file:
                series = file.series[0]
                if len(series.shape) == 2:  # appended one by one
                    yield from (one.asarray()[None] for one in file.series)
                    return
                if series.dataoffset is None:
                    yield from _pages(series)
                    return
            # ImageJ writes one run of bytes, and need not list all its pages.
            yield from planes_of(_whole(tifffile, path))
        except Exception as error:  # any exception, from any codec
            raise PicketError(f"{path}: {_unreadable(error, compression)}") from None

    return LazyVolume(shape, dtype, blocks, voxel_size=geometry)


def tiff_slices(directory: Path) -> list[Path]:
    """TIFF files in a directory, sorted by name, numbers in it by their value."""

    def place(path: Path) -> list[tuple[int, str]]:
        parts = re.findall(r"\d+|\D+", path.name)
        return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]

    found = directory.iterdir()
    files = [path for path in found if path.suffix.lower() in ENDINGS and path.name[0] != "."]
    return sorted(files, key=place)


def open_tiff_slices(directory: Path, selector: VolumeSelector) -> LazyVolume:
    """Open a directory of TIFF files, each a z-slice, in the order of `tiff_slices`.

    The files have no voxel size along z that programs agree on.

    Raises:
        PicketError: tifffile is not installed, or the files are not slices of one volume.
    """
    files = tiff_slices(directory)
    slices = [open_tiff(path, selector) for path in files]
    first = slices[0]
    if len(first.shape) != 2:
        raise PicketError(
            f"{directory}: contains TIFF volumes, not slices; to use all, write {directory / '*'}"
            f"{files[0].suffix}"
        )
    for path, one in zip(files, slices, strict=True):
        if (one.shape, one.dtype) != (first.shape, first.dtype):
            raise PicketError(
                f"{directory}: TIFF slices differ, {files[0].name} {first.shape} {first.dtype} and "
                f"{path.name} {one.shape} {one.dtype}; keep the slices of one volume only"
            )

    def blocks() -> Iterator[np.ndarray]:
        for one in slices:
            yield from one.blocks()

    odd = _numbering(files)
    return LazyVolume((len(slices), *first.shape), first.dtype, blocks, warnings=odd)


def _numbering(files: list[Path]) -> tuple[str, ...]:
    """A warning if numbers in the names of slices tell that one is missing, or of other volumes.

    Nothing is odd where one of the numbers goes up in equal steps, whatever the others do.
    """
    parts = [re.split(r"(\d+)", path.stem) for path in files]
    numbers = [tuple(int(part) for part in one[1::2]) for one in parts]
    if len(files) < 3 or not all(numbers):
        return ()
    for one, path in zip(parts, files, strict=True):
        if one[::2] != parts[0][::2]:
            return (
                f"TIFF slices are named in several ways, {files[0].name} and {path.name}; check "
                "that all are of one volume",
            )
    columns = list(zip(*numbers, strict=True))
    steps = [[after - before for before, after in pairwise(column)] for column in columns]
    if any(len({*one}) == 1 and one[0] != 0 for one in steps):
        return ()
    for one in steps:
        if 0 not in one:
            gap = max(range(len(one)), key=lambda place: abs(one[place]))
            return (
                f"TIFF slices are not numbered evenly, {files[gap].name} is followed by "
                f"{files[gap + 1].name}; z counts on from one to the next, check that none is "
                "missing",
            )
    twice = steps[-1].index(0) if 0 in steps[-1] else 0
    return (
        f"TIFF slices have the same number, {files[twice].name} and {files[twice + 1].name}; check "
        "that all are of one volume",
    )


def _library(path: Path) -> Any:
    """The package tifffile.

    Raises:
        PicketError: it is not installed.
    """
    try:
        import tifffile
    except ImportError:
        raise PicketError(f"{path}: needs tifffile; pip install -e '.[tiff]'") from None
    # Without a handler Python prints tifffile's log next to our error.
    logging.getLogger("tifffile").addHandler(logging.NullHandler())
    return tifffile


def _unreadable(error: Exception, compression: str) -> str:
    """Why voxels cannot be read, and what to do, by an error of tifffile or a codec."""
    text = one_line(error)
    if isinstance(error, ImportError) or "imagecodecs" in text:
        return (
            f"TIFF with compression {compression} needs imagecodecs; install imagecodecs, or save "
            "it uncompressed"
        )
    if text.endswith("not supported"):
        return f"TIFF with compression {compression} is not supported; save it uncompressed"
    return f"TIFF file is truncated or damaged ({text}); copy it again"


def _shape(path: Path, file: Any) -> tuple[int, ...]:
    """Shape of the first series, or of all series if each is a page that was appended.

    Raises:
        PicketError: pages differ, or the file has several volumes with equal pages.
    """
    first, *others = file.series
    shape = tuple(first.shape)
    alike = [one for one in others if one.shape[-2:] == shape[-2:] and one.dtype == first.dtype]
    if len(shape) == 2 and others:
        odd = next((one for one in others if one not in alike or len(one.shape) > 2), None)
        if odd is not None:
            raise PicketError(
                f"{path}: TIFF pages differ, {shape} {first.dtype} and {tuple(odd.shape)} "
                f"{odd.dtype}; save one volume with equal pages"
            )
        return (1 + len(others), *shape)
    volumes = 1 + sum(len(one.shape) > 2 for one in alike)
    if volumes > 1:  # series of another shape are pictures beside the volume
        raise PicketError(f"{path}: contains {volumes} volumes; save one volume per file")
    return shape


def _whole(tifffile: Any, path: Path) -> Any:
    """The volume of an uncompressed file, memory-mapped where the file system can."""
    try:
        return tifffile.memmap(path, series=0, mode="r")
    except OSError as error:
        if not cannot_map(error):
            raise
    return tifffile.imread(path, series=0)


def _pages(series: Any) -> Iterator[np.ndarray]:
    """Read a compressed volume plane by plane, or at once if its pages are not its planes."""
    z, y, x = (series.shape[axis] for axis in space_of(series.shape))
    if len(series.pages) != z or any(page and page.shape != (y, x) for page in series.pages):
        yield from planes_of(series.asarray())
        return
    yield from (page.asarray()[None] for page in series.pages if page)


def _voxel_size(file: Any) -> tuple[float, float, float]:
    """Voxel size in angstrom, (z, y, x), from metadata by OME or ImageJ; 0.0 where it is unknown.

    The resolution in the tags of a plain TIFF is one of printing, and does not count.
    """
    try:
        if file.is_ome:
            return _of_ome(file.ome_metadata)
        if file.is_imagej and file.imagej_metadata:
            return _of_imagej(file.imagej_metadata, file.pages[0].tags)
    except (ElementTree.ParseError, TypeError, ValueError):
        pass  # the voxels may be good although the metadata are not
    return _UNKNOWN


def _of_imagej(metadata: dict[str, Any], tags: Any) -> tuple[float, float, float]:
    """``XResolution`` is in pixels per ``unit``; ImageJ does not write a ``spacing`` of 1."""
    unit = metadata.get("unit", "")
    lengths = [abs(float(metadata.get("spacing", 1.0)))]
    for name in ("YResolution", "XResolution"):
        pixels, units = tags[name].value if name in tags else (0, 1)
        lengths.append(units / pixels if pixels else 0.0)
    factors = [angstrom_in(metadata.get(name, unit)) for name in ("zunit", "yunit", "unit")]
    z, y, x = (length * factor for length, factor in zip(lengths, factors, strict=True))
    return (z, y, x)


def _of_ome(xml: str) -> tuple[float, float, float]:
    """Physical size of the first image's pixels, by default in micrometers."""
    pixels = ElementTree.fromstring(xml).find("{*}Image/{*}Pixels")
    if pixels is None:
        return _UNKNOWN
    z, y, x = (
        float(pixels.get(f"PhysicalSize{axis}", 0.0))
        * angstrom_in(pixels.get(f"PhysicalSize{axis}Unit", "micrometer"))
        for axis in "ZYX"
    )
    return (z, y, x)
