"""Volumes in TIFF files, a page for each z."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from picket_gpu.errors import PicketError, one_line
from picket_gpu.files.lazy_volume import LazyVolume, VolumeSelector, planes_of


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
            shape, dtype, axes = series.shape, series.dtype, series.axes
    except Exception as error:  # tifffile lets through what damaged tags make Python say
        raise PicketError(
            f"{path}: is not a TIFF file ({one_line(error)}); name a tomogram"
        ) from None
    if dtype is None or "S" in axes:
        raise PicketError(f"{path}: holds colours or nothing; a tomogram has grey values")

    def blocks() -> Iterator[np.ndarray]:
        try:
            with tifffile.TiffFile(path) as file:
                series = file.series[0]
                if series.dataoffset is None:
                    yield from (page.asarray()[None] for page in series.pages if page)
                    return
            # One run of bytes, such as ImageJ writes, whose pages need not all be listed.
            yield from planes_of(tifffile.memmap(path, series=0, mode="r"))
        except Exception as error:  # of any codec, with whatever it raises
            raise PicketError(
                f"{path}: is not a whole TIFF file ({one_line(error)}); copy it again"
            ) from None

    return LazyVolume(shape, dtype, blocks)
