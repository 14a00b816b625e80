"""The contact sheet of one tomogram, for people on a terminal: three slices by all workflows."""

import zlib
from base64 import b64decode
from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from picket_gpu.particles.particles import Particles
from picket_gpu.report.picked import circles
from picket_gpu.report.slices import central

TILE = 256  # pixels of a picture's longer side
MARGIN, HEAD, FOOT = 8, 76, 26
GROUND, INK, QUIET = "#ffffff", "#1c1e21", "#5b626b"
COLOUR, OPACITY = (255, 120, 0), 0.5
CIRCLE, FINER = "#2ee6ff", 4  # drawn that many times larger, for smooth edges
PIXEL_BYTES = 2  # of a PNG, at most: where grey values are noise
CONTRAST = (1, 99.5)  # percentiles that become black and white


class _Column(NamedTuple):
    """Pictures of the same, with circles around particles where they are picked."""

    title: str
    note: str
    masks: np.ndarray | None
    picked: Particles | None


def preview(data: Mapping[str, Any], picked: Sequence[Particles]) -> Image.Image:
    """The sheet: a row for each slice; columns are the blurred slice and each workflow.

    Args:
        data: of the tomogram's page, which has the slices.
        picked: particles; those of a workflow that come first are drawn.
    """
    shown = central(len(data["places"]))
    columns = [_Column("blurred slice", "", None, picked[0] if picked else None)]
    columns += [_column(workflow, data, shown, picked) for workflow in data["workflows"]]
    greys = stretched(np.stack([grey_pixels(data["grey"][number]) for number in shown]))
    width, height = _tile_size(data)
    pitch = width + MARGIN
    sheet = Image.new(
        "RGB",
        (MARGIN + pitch * len(columns), HEAD + len(greys) * (height + FOOT)),
        GROUND,
    )
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(15)
    draw.text((MARGIN, 6), _headline(data), INK, font)
    for (place, column), row in product(enumerate(columns), range(len(greys))):
        left, top = MARGIN + place * pitch, HEAD + row * (height + FOOT)
        if row == 0:
            draw.text((left, 34), column.title, INK, font)
            draw.text((left, 52), column.note, QUIET, font)
        z = data["places"][shown[row]]
        tile = _tile(greys[row], None if column.masks is None else column.masks[row])
        tile = tile.resize((width, height), Image.Resampling.BILINEAR)
        if column.picked is not None:
            tile.paste(CIRCLE, mask=_circled(tile.size, column.picked, z, data))
        sheet.paste(tile, (left, top))
        if place == 0:
            draw.text((left, top + height + 2), f"z {z}", QUIET, font)
    return sheet


def most_preview_bytes(columns: int) -> int:
    """Size of a sheet of that many columns, at most."""
    return PIXEL_BYTES * columns * (TILE + MARGIN) * (HEAD + 3 * (TILE + FOOT))


def _column(
    workflow: Mapping[str, Any],
    data: Mapping[str, Any],
    shown: Sequence[int],
    picked: Sequence[Particles],
) -> _Column:
    mode, method = workflow["mode"], workflow["method"]
    first = next((one for one in picked if one.workflow == (mode, method)), None)
    note = f"label 1: {workflow['share'] or 0:.1%}"
    if first is not None:
        note += f", {first.count} particles"
    size = data["rows"], data["columns"]
    masks = np.stack([_mask(workflow["bits"][number], size) for number in shown])
    return _Column(f"{mode} {method}", note, masks, first)


def grey_pixels(jpeg: str) -> np.ndarray:
    """A slice of grey values as the page has it, (rows, columns) uint8."""
    return np.asarray(Image.open(BytesIO(b64decode(jpeg))))


def _mask(bits: str, size: tuple[int, int]) -> np.ndarray:
    """A slice of labels likewise, (rows, columns) bool: True where they are 1."""
    packed = np.frombuffer(zlib.decompress(b64decode(bits)), np.uint8)
    return np.unpackbits(packed, count=size[0] * size[1]).reshape(size).astype(bool)


def stretched(grey: np.ndarray) -> np.ndarray:
    """Slices, uint8, with the contrast that eyes want."""
    low, high = np.percentile(grey, CONTRAST)
    stretched = (grey - low) * (255 / max(high - low, 1))
    return np.asarray(stretched.clip(0, 255).astype(np.uint8))


def _tile_size(data: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height of a picture, of voxels that need not be cubes."""
    known = min(data["voxelSize"]) > 0
    _, dy, dx = data["voxelSize"] if known else (1, 1, 1)
    rows, columns = data["rows"], data["columns"]
    scale = TILE / max(rows * dy, columns * dx)
    return max(1, round(columns * dx * scale)), max(1, round(rows * dy * scale))


def _headline(data: Mapping[str, Any]) -> str:
    text = " ".join(f"{data['dataset']}, {data['name']}".split())  # in one line
    width = data["columns"] * data["binning"] * data["voxelSize"][2] / 10
    return f"{text}; a picture is {width:.0f} nm wide" if width > 0 else text


def _tile(grey: np.ndarray, mask: np.ndarray | None) -> Image.Image:
    colours = np.repeat(grey[:, :, None], 3, axis=2)
    if mask is not None:
        mixed = (1 - OPACITY) * colours[mask] + OPACITY * np.array(COLOUR)
        colours[mask] = mixed.astype(np.uint8)
    return Image.fromarray(colours)


def _circled(
    size: tuple[int, int], picked: Particles, z: int, data: Mapping[str, Any]
) -> Image.Image:
    """Where a picture of ``size``, width and height, has circles: grey values up to 255."""
    width, height = size[0] * FINER, size[1] * FINER
    _, dy, dx = picked.voxel_size
    across = width / (data["columns"] * data["binning"] * dx)
    down = height / (data["rows"] * data["binning"] * dy)
    large = Image.new("L", (width, height))
    draw = ImageDraw.Draw(large)
    for x, y, radius in circles(picked, z):
        draw.ellipse(
            (
                (x - radius) * across,
                (y - radius) * down,
                (x + radius) * across,
                (y + radius) * down,
            ),
            outline=255,
            width=round(1.5 * FINER),
        )
    return large.resize(size, Image.Resampling.BOX)
