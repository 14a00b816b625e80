"""Slices of a tomogram and of its labels, few and small enough for a page."""

import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np
from PIL import Image

from picket_gpu.device.operations import Shape
from picket_gpu.method.labels import BACKGROUND, FOREGROUND
from picket_gpu.report.binning import block_sums

MOST_SIDE = 512  # pixels of a slice
MOST_PIXELS = 2**24  # of all slices together
MOST_SLICES = 256
MOST_SAMPLES = 2**21  # voxels by which clusters are compared
RANGE = (0.05, 99.95)  # percentiles of the grey values that become black and white
QUALITY = 85  # of JPEG
JPEG_BYTES = 0.6  # of a pixel, at most: where it is noise


@dataclass(frozen=True)
class Layout:
    """Which slices of a tomogram a page shows, and how small.

    Attributes:
        shape: of the tomogram, voxels, (z, y, x).
        side: window side in voxels.
        places: z of the slices, ascending, evenly spaced over those that have labels.
        binning: side in voxels of the square that becomes a pixel.
    """

    shape: Shape
    side: int
    places: list[int]
    binning: int

    @property
    def pixels(self) -> tuple[int, int]:
        """Rows and columns of a slice."""
        _, rows, columns = self.shape
        return rows // self.binning, columns // self.binning

    @property
    def sampled(self) -> tuple[slice, slice]:
        """Rows and columns of the voxels by which clusters are compared, all of them labelled."""
        half, (_, rows, columns) = self.side // 2, self.shape
        step = 1
        while len(self.places) * (rows // step) * (columns // step) > MOST_SAMPLES:
            step += 1
        return slice(half, rows - half, step), slice(half, columns - half, step)


def central(count: int) -> list[int]:
    """Numbers of three of ``count`` slices, around the middle."""
    return [round((count - 1) * part) for part in (0.35, 0.5, 0.65)]


def choose_layout(shape: Shape, side: int) -> Layout:
    """The layout for a tomogram of ``shape``, labelled by windows of ``side``."""
    depth, rows, columns = shape
    binning = min(-(-max(rows, columns) // MOST_SIDE), rows, columns)
    pixels = (rows // binning) * (columns // binning)
    count = max(1, min(MOST_PIXELS // pixels, MOST_SLICES))
    half = side // 2
    places = np.unique(np.linspace(half, depth - 1 - half, count).round().astype(int))
    return Layout(shape, side, places.tolist(), binning)


@dataclass(frozen=True)
class GreySlices:
    """Slices of the blurred tomogram.

    Attributes:
        jpegs: one for each slice of the layout.
        histogram: how many pixels of all slices have each of the 256 values.
        sample: float32, grey values of the voxels by which clusters are compared.
    """

    jpegs: list[bytes]
    histogram: np.ndarray
    sample: np.ndarray


def grey_slices(plane: Callable[[int], np.ndarray], layout: Layout) -> GreySlices:
    """Slices from ``plane``, which gives grey values of one z, (y, x) float32."""
    sample = np.stack([plane(z)[layout.sampled].copy() for z in layout.places])  # not the planes
    low, high = np.percentile(sample, RANGE)
    scale = 255 / max(high - low, np.finfo(np.float32).tiny)
    jpegs = []
    histogram = np.zeros(256, dtype=np.int64)
    for z in layout.places:
        mean = block_sums(plane(z), layout.binning) / layout.binning**2
        pixels = ((mean - low) * scale).round().clip(0, 255).astype(np.uint8)
        histogram += np.bincount(pixels.ravel(), minlength=256)
        jpegs.append(to_jpeg(pixels))
    return GreySlices(jpegs, histogram, sample)


def most_slices_bytes(layout: Layout, workflows: int) -> int:
    """Size of the slices of a page, at most: grey values and the labels of some workflows."""
    pixels = len(layout.places) * prod(layout.pixels)
    return int(pixels * (JPEG_BYTES + 0.13 * workflows))  # a bit for each label


def to_jpeg(pixels: np.ndarray) -> bytes:
    """A grey image, (rows, columns) uint8, as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


@dataclass(frozen=True)
class LabelSlices:
    """Slices of one segmentation.

    Attributes:
        bits: of each slice, whether a pixel is label 1, row by row, packed and deflated.
        sample: labels of the voxels by which clusters are compared, int8.
    """

    bits: list[bytes]
    sample: np.ndarray


def label_slices(labels: np.ndarray, layout: Layout) -> LabelSlices:
    """Slices of ``labels``, int8, (z, y, x). A pixel is label 1 where half of its voxels are."""
    bits = []
    for z in layout.places:
        counts = block_sums(labels[z] == FOREGROUND, layout.binning)
        mask = 2 * counts >= layout.binning**2
        bits.append(zlib.compress(np.packbits(mask).data))
    sample = np.stack([labels[z][layout.sampled] for z in layout.places])
    return LabelSlices(bits, sample)


def separation(grey: np.ndarray, labels: np.ndarray) -> float | None:
    """How far two clusters lie apart in grey value: the distance of their means over their pooled
    standard deviation, the root of Fisher's criterion. None where one is empty.

    Args:
        grey: of some voxels.
        labels: of these; those without one do not count.
    """
    parts = grey[labels == FOREGROUND], grey[labels == BACKGROUND]
    if not all(part.size for part in parts):
        return None
    means = [float(part.mean(dtype=np.float64)) for part in parts]
    squares = sum(part.size * float(part.var(dtype=np.float64)) for part in parts)
    if squares == 0:
        return None
    return abs(means[1] - means[0]) / float(np.sqrt(squares / sum(part.size for part in parts)))
