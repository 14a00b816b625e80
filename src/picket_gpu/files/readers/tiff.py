"""Volumes in TIFF files, a page for each z."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from picket_gpu.errors import PicketError, one_line
from picket_gpu.files.lazy_volume import (
    LazyVolume,
    VolumeSelector,
    angstrom_in,
    planes_of,
    space_of,
)

_UNKNOWN = (0.0, 0.0, 0.0)


def open_tiff(path: Path, selector: VolumeSelector) -> LazyVolume:
    """The volume of the file, which is read page by page.

    Raises:
        PicketError: tifffile is not installed, or the file is no whole TIFF of grey pages, or has
            pages or volumes that do not go together.
    """
    try:
        import tifffile
    except ImportError:
        raise PicketError(f"{path}: needs tifffile; install picket-gpu[tiff]") from None
    # Without a handler Python prints what tifffile logs beside the fault.
    logging.getLogger("tifffile").addHandler(logging.NullHandler())
    try:
        with tifffile.TiffFile(path) as file:
            shape, dtype = _shape(path, file), file.series[0].dtype
            coloured = "S" in file.series[0].axes
            geometry = _voxel_size(file)
    except PicketError:
        raise
    except Exception as error:  # tifffile lets through what damaged tags make Python say
        raise PicketError(
            f"{path}: is not a TIFF file ({one_line(error)}); check the path and the extension"
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
            # One run of bytes, such as ImageJ writes, whose pages need not all be listed.
            yield from planes_of(tifffile.memmap(path, series=0, mode="r"))
        except Exception as error:  # of any codec, with whatever it raises
            raise PicketError(
                f"{path}: TIFF file is truncated or damaged ({one_line(error)}); copy it again"
            ) from None

    return LazyVolume(shape, dtype, blocks, voxel_size=geometry)


def _shape(path: Path, file: Any) -> tuple[int, ...]:
    """Of the first series, or of all if they are pages that were appended one by one.

    Raises:
        PicketError: pages differ, or several volumes of equal pages follow each other.
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
    if volumes > 1:  # what is not alike are pictures beside the volume
        raise PicketError(f"{path}: contains {volumes} volumes; save one volume per file")
    return shape


def _pages(series: Any) -> Iterator[np.ndarray]:
    """A volume plane by plane, decompressed; at once if its pages are no planes of it."""
    z, y, x = (series.shape[axis] for axis in space_of(series.shape))
    if len(series.pages) != z or any(page and page.shape != (y, x) for page in series.pages):
        yield from planes_of(series.asarray())
        return
    yield from (page.asarray()[None] for page in series.pages if page)


def _voxel_size(file: Any) -> tuple[float, float, float]:
    """Angstrom, (z, y, x), by the metadata of OME or ImageJ; 0.0 for what they do not tell.

    The tags of plain TIFF tell of a resolution in print, which is none.
    """
    try:
        if file.is_ome:
            return _of_ome(file.ome_metadata)
        if file.is_imagej and file.imagej_metadata:
            return _of_imagej(file.imagej_metadata, file.pages[0].tags)
    except (ElementTree.ParseError, TypeError, ValueError):
        pass  # metadata that nobody can read tells nothing, and its voxels may be whole
    return _UNKNOWN


def _of_imagej(told: dict[str, Any], tags: Any) -> tuple[float, float, float]:
    """``XResolution`` is in pixels for each ``unit``; a ``spacing`` of 1 is not written."""
    unit = told.get("unit", "")
    lengths = [abs(float(told.get("spacing", 1.0)))]
    for name in ("YResolution", "XResolution"):
        pixels, units = tags[name].value if name in tags else (0, 1)
        lengths.append(units / pixels if pixels else 0.0)
    factors = [angstrom_in(told.get(name, unit)) for name in ("zunit", "yunit", "unit")]
    z, y, x = (length * factor for length, factor in zip(lengths, factors, strict=True))
    return (z, y, x)


def _of_ome(xml: str) -> tuple[float, float, float]:
    """The physical size of the first image's pixels; micrometers unless told."""
    pixels = ElementTree.fromstring(xml).find("{*}Image/{*}Pixels")
    if pixels is None:
        return _UNKNOWN
    z, y, x = (
        float(pixels.get(f"PhysicalSize{axis}", 0.0))
        * angstrom_in(pixels.get(f"PhysicalSize{axis}Unit", "micrometer"))
        for axis in "ZYX"
    )
    return (z, y, x)
