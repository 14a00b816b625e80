"""The contact sheet of one tomogram, for people on a terminal: three slices by all workflows."""

from itertools import product
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from picket_gpu.particles.particles import Particles
from picket_gpu.report.collect import Findings, TomogramReport
from picket_gpu.report.picked import circles
from picket_gpu.report.slices import Layout

TILE = 256  # pixels of a picture's longer side
MARGIN, HEAD, FOOT = 8, 76, 26
GROUND, INK, QUIET = "#ffffff", "#1c1e21", "#5b626b"
COLOUR, OPACITY = (255, 120, 0), 0.5
CIRCLE, FINER = "#2ee6ff", 4  # drawn that many times larger, for smooth edges
CONTRAST = (1, 99.5)  # percentiles that become black and white


class _Column(NamedTuple):
    """Pictures of the same, with circles around particles where they are picked."""

    title: str
    note: str
    masks: np.ndarray | None
    picked: Particles | None


def preview(report: TomogramReport) -> Image.Image:
    """The sheet: a row for each slice; columns are the blurred slice and each workflow."""
    columns = [_Column("blurred slice", "", None, report.picked[0] if report.picked else None)]
    columns += [_column(findings, report) for findings in report.findings]
    greys = stretched(report.grey.central)
    width, height = _tile_size(report)
    pitch = width + MARGIN
    sheet = Image.new(
        "RGB",
        (MARGIN + pitch * len(columns), HEAD + len(greys) * (height + FOOT)),
        GROUND,
    )
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(15)
    draw.text((MARGIN, 6), _headline(report), INK, font)
    for (place, column), row in product(enumerate(columns), range(len(greys))):
        left, top = MARGIN + place * pitch, HEAD + row * (height + FOOT)
        if row == 0:
            draw.text((left, 34), column.title, INK, font)
            draw.text((left, 52), column.note, QUIET, font)
        z = report.layout.places[report.layout.central[row]]
        tile = _tile(greys[row], None if column.masks is None else column.masks[row])
        tile = tile.resize((width, height), Image.Resampling.BILINEAR)
        if column.picked is not None:
            tile.paste(CIRCLE, mask=_circled(tile.size, column.picked, z, report.layout))
        sheet.paste(tile, (left, top))
        if place == 0:
            draw.text((left, top + height + 2), f"z {z}", QUIET, font)
    return sheet


def _column(findings: Findings, report: TomogramReport) -> _Column:
    one = findings.segmentation
    picked = report.picked_from(one)
    note = f"label 1: {one.foreground_fraction or 0:.1%}"
    if picked is not None:
        note += f", {picked.count} particles"
    return _Column(f"{one.mode} {one.method}", note, findings.slices.central, picked)


def stretched(grey: np.ndarray) -> np.ndarray:
    """Slices, uint8, with the contrast that eyes want."""
    low, high = np.percentile(grey, CONTRAST)
    stretched = (grey - low) * (255 / max(high - low, 1))
    return np.asarray(stretched.clip(0, 255).astype(np.uint8))


def _tile_size(report: TomogramReport) -> tuple[int, int]:
    """Width and height of a picture, of voxels that need not be cubes."""
    known = report.subject.is_scaled
    _, dy, dx = report.subject.voxel_size if known else (1, 1, 1)
    rows, columns = report.layout.pixels
    scale = TILE / max(rows * dy, columns * dx)
    return max(1, round(columns * dx * scale)), max(1, round(rows * dy * scale))


def _headline(report: TomogramReport) -> str:
    subject = report.subject
    text = " ".join(f"{subject.dataset_name}, {subject.name}".split())  # in one line
    width = report.layout.pixels[1] * report.layout.binning * subject.voxel_size[2] / 10
    return f"{text}; a picture is {width:.0f} nm wide" if width > 0 else text


def _tile(grey: np.ndarray, mask: np.ndarray | None) -> Image.Image:
    colours = np.repeat(grey[:, :, None], 3, axis=2)
    if mask is not None:
        mixed = (1 - OPACITY) * colours[mask] + OPACITY * np.array(COLOUR)
        colours[mask] = mixed.astype(np.uint8)
    return Image.fromarray(colours)


def _circled(size: tuple[int, int], picked: Particles, z: int, layout: Layout) -> Image.Image:
    """Where a picture of ``size``, width and height, has circles: grey values up to 255."""
    width, height = size[0] * FINER, size[1] * FINER
    rows, columns = layout.pixels
    _, dy, dx = picked.voxel_size
    across, down = width / (columns * layout.binning * dx), height / (rows * layout.binning * dy)
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
