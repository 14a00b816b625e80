"""The contact sheet of one tomogram, for people on a terminal: three slices by all workflows."""

from itertools import product

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from picket_gpu.report.collect import TomogramReport

TILE = 256  # pixels of a picture's longer side
MARGIN, HEAD, FOOT = 8, 76, 26
GROUND, INK, QUIET = "#ffffff", "#1c1e21", "#5b626b"
COLOUR, OPACITY = (255, 120, 0), 0.5
CONTRAST = (1, 99.5)  # percentiles that become black and white


def preview(report: TomogramReport) -> Image.Image:
    """The sheet: a row for each slice; columns are the blurred slice and each workflow."""
    columns: list[tuple[str, str, np.ndarray | None]] = [("blurred slice", "", None)]
    for findings in report.findings:
        workflow = findings.workflow
        title = f"{workflow.mode} {workflow.method}"
        columns.append((title, f"label 1: {workflow.share:.1%}", findings.slices.central))
    greys = _stretched(report.grey.central)
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
        title, share, masks = column
        left, top = MARGIN + place * pitch, HEAD + row * (height + FOOT)
        if row == 0:
            draw.text((left, 34), title, INK, font)
            draw.text((left, 52), share, QUIET, font)
        tile = _tile(greys[row], None if masks is None else masks[row])
        sheet.paste(tile.resize((width, height), Image.Resampling.BILINEAR), (left, top))
        if place == 0:
            z = report.layout.places[report.layout.central[row]]
            draw.text((left, top + height + 2), f"z {z}", QUIET, font)
    return sheet


def _stretched(grey: np.ndarray) -> np.ndarray:
    low, high = np.percentile(grey, CONTRAST)
    stretched = (grey - low) * (255 / max(high - low, 1))
    return np.asarray(stretched.clip(0, 255).astype(np.uint8))


def _tile_size(report: TomogramReport) -> tuple[int, int]:
    """Width and height of a picture, of voxels that need not be cubes."""
    known = all(length > 0 for length in report.subject.voxel_size)
    _, dy, dx = report.subject.voxel_size if known else (1, 1, 1)
    rows, columns = report.layout.pixels
    scale = TILE / max(rows * dy, columns * dx)
    return max(1, round(columns * dx * scale)), max(1, round(rows * dy * scale))


def _headline(report: TomogramReport) -> str:
    subject = report.subject
    text = " ".join(f"{subject.dataset}, {subject.name}".split())  # in one line
    width = report.layout.pixels[1] * report.layout.binning * subject.voxel_size[2] / 10
    return f"{text}; a picture is {width:.0f} nm wide" if width > 0 else text


def _tile(grey: np.ndarray, mask: np.ndarray | None) -> Image.Image:
    colours = np.repeat(grey[:, :, None], 3, axis=2)
    if mask is not None:
        mixed = (1 - OPACITY) * colours[mask] + OPACITY * np.array(COLOUR)
        colours[mask] = mixed.astype(np.uint8)
    return Image.fromarray(colours)
