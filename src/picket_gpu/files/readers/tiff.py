"""Volumes in TIFF files, a page for each z."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from picket_gpu.errors import PicketError, one_line
from picket_gpu.files.lazy_volume import LazyVolume, VolumeSelector, planes_of

_MICROMETER = ("\u00b5m", "\u03bcm", "um", "micron", "microns", "micrometer", "\\u00B5m")
_ANGSTROM = {
    **dict.fromkeys(_MICROMETER, 1e4),
    **dict.fromkeys(("nm", "nanometer"), 10.0),
    **dict.fromkeys(("angstrom", "\u00c5", "\u212b", "A"), 1.0),
    "pm": 0.01,
    "mm": 1e7,
}


def open_tiff(path: Path, selector: VolumeSelector) -> LazyVolume:
    """The first series of the file, which is read page by page.

    Raises:
        PicketError: tifffile is not installed, or the file is no whole TIFF of grey pages.
    """
    try:
        import tifffile
    except ImportError:
        raise PicketError(f"{path}: needs tifffile; install picket-gpu[tiff]") from None
    # Without a handler Python prints what tifffile logs beside the fault.
    logging.getLogger("tifffile").addHandler(logging.NullHandler())
    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            dtype, axes = series.dtype, series.axes
            shape = tuple(series.shape)
            if _is_appended(file):
                shape = (len(file.series), *shape)
            geometry = _voxel_size(file)
    except Exception as error:  # tifffile lets through what damaged tags make Python say
        raise PicketError(
            f"{path}: is not a TIFF file ({one_line(error)}); name a tomogram"
        ) from None
    kept = tuple(length for length in shape if length != 1) if len(shape) > 3 else shape
    shape = kept if len(kept) == 3 else shape
    if dtype is None or "S" in axes:
        raise PicketError(f"{path}: holds colours or nothing; a tomogram has grey values")

    def blocks() -> Iterator[np.ndarray]:
        try:
            with tifffile.TiffFile(path) as file:
                series = file.series[0]
                if _is_appended(file):
                    yield from (one.asarray()[None] for one in file.series)
                    return
                if series.dataoffset is None:
                    yield from (page.asarray()[None] for page in series.pages if page)
                    return
            # One run of bytes, such as ImageJ writes, whose pages need not all be listed.
            voxels = tifffile.memmap(path, series=0, mode="r")
            yield from planes_of(voxels.reshape(kept) if len(kept) == 3 else voxels)
        except Exception as error:  # of any codec, with whatever it raises
            raise PicketError(
                f"{path}: is not a whole TIFF file ({one_line(error)}); copy it again"
            ) from None

    return LazyVolume(shape, dtype, blocks, voxel_size=geometry)


def _is_appended(file: Any) -> bool:
    """Whether pages were written one by one, so that each is a series of its own."""
    first = file.series[0]
    return len(file.series) > 1 and all(
        len(one.shape) == 2 and one.shape == first.shape and one.dtype == first.dtype
        for one in file.series
    )


def _voxel_size(file: Any) -> tuple[float, float, float]:
    """Angstrom, (z, y, x), by the metadata of OME or ImageJ; 0.0 for what they do not tell.

    The tags of plain TIFF tell of a resolution in print, which is none.
    """
    if file.is_ome:
        return _of_ome(file.ome_metadata)
    told = file.imagej_metadata if file.is_imagej else None
    if not told:
        return (0.0, 0.0, 0.0)
    factor = _ANGSTROM.get(str(told.get("unit", "")).strip(), 0.0)
    tags = file.pages[0].tags
    x, y = (
        _per_pixel(tags.get(name).value if name in tags else None)
        for name in ("XResolution", "YResolution")
    )
    return (float(told.get("spacing", 0.0)) * factor, y * factor, x * factor)


def _per_pixel(resolution: Any) -> float:
    """ImageJ has pixels for each unit, as a fraction."""
    pixels, units = resolution or (0, 1)
    return units / pixels if pixels else 0.0


def _of_ome(xml: str) -> tuple[float, float, float]:
    """The physical size of the first image's pixels; micrometers unless told."""
    pixels = ElementTree.fromstring(xml).find("{*}Image/{*}Pixels")
    if pixels is None:
        return (0.0, 0.0, 0.0)
    z, y, x = (
        float(pixels.get(f"PhysicalSize{axis}", 0.0))
        * _ANGSTROM.get(pixels.get(f"PhysicalSize{axis}Unit", "\u00b5m"), 0.0)
        for axis in "ZYX"
    )
    return (z, y, x)
