"""A tomogram's row of the index, which its page carries too: picture, shares, heights of picks."""

from base64 import b64encode
from typing import Any

import numpy as np
from PIL import Image

from picket_gpu.files.filenames import page_name
from picket_gpu.particles.particles import Particles
from picket_gpu.particles.settings import ParticleSettings
from picket_gpu.report.collect import TomogramReport
from picket_gpu.report.page import describe, describe_workflow
from picket_gpu.report.picked import cuts
from picket_gpu.report.preview import stretched
from picket_gpu.report.slices import to_jpeg

THUMBNAIL = 128  # pixels of the longer side
LONGER = 10_000  # the same side where circles are told
MOST_HEIGHTS = 2_000  # of the highest candidates of a picking
MOST_CIRCLES = 300  # in a thumbnail, of the highest
DECIMALS = 5  # of a threshold that a row counts by
_UNIT = 10**DECIMALS


def describe_row(report: TomogramReport, alone: bool) -> dict[str, Any]:
    """A tomogram's row of the index.

    Args:
        alone: whether the run has one tomogram, whose page is report.html.
    """
    subject, layout = report.subject, report.layout
    rows, columns = layout.pixels
    _, dy, dx = subject.voxel_size if subject.is_scaled else (1.0, 1.0, 1.0)
    lengths = np.array([columns * dx, rows * dy])
    image = Image.fromarray(stretched(report.grey.central)[1])
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    return describe(subject) | {
        "page": page_name(subject.index, alone),
        "thumbnail": f"data:image/jpeg;base64,{_text(to_jpeg(np.asarray(image)))}",
        "frame": (LONGER * lengths / lengths.max()).round().tolist(),
        "workflows": [describe_workflow(findings) for findings in report.findings],
        "picks": [_describe_picks(picked, report) for picked in report.picked],
    }


def picking_of(particles: Particles) -> dict[str, str | None]:
    """What tells the pickings of a dataset apart: the same in each tomogram."""
    method = particles.settings.get("method", "ball")
    return {
        "mode": particles.mode,
        "method": particles.method,
        "picking": None if method == "ball" else method,
        "name": None,
    }


def _describe_picks(particles: Particles, report: TomogramReport) -> dict[str, Any]:
    """What the index needs to count the particles of another threshold, and to draw them."""
    picks, layout = particles.picks, report.layout
    heights = picks.candidate_heights[:MOST_HEIGHTS]
    marks = marks_of(heights)
    defaults = {name: field.default for name, field in ParticleSettings.model_fields.items()}
    doubt = particles.doubt
    return picking_of(particles) | {
        "settings": {
            name: value
            for name, value in particles.settings.items()
            if name not in defaults or value != defaults[name]
        },
        "threshold": picks.threshold,
        "count": picks.count,
        # Without max_particles.
        "above": max(
            picks.count, int(np.count_nonzero(picks.candidate_heights >= picks.threshold))
        ),
        "total": particles.candidates,
        "highest": int(marks[0]) if len(marks) else 0,
        "steps": _text(_variable_length(marks[:-1] - marks[1:])) if len(marks) else None,
        "circles": _circles(particles, layout.places[layout.central[1]], len(heights), report),
        "doubt": doubt and doubt.removeprefix(f"{particles.path.name}: "),
    }


def marks_of(heights: np.ndarray) -> np.ndarray:
    """Whole numbers by which heights compare with thresholds of `DECIMALS` decimals as they are.

    With n counting units of the last decimal, a height of n is 2 n, and one between n and n + 1 is
    2 n + 1. So a height is at least, or at most, the threshold n exactly if its mark is at least,
    or at most, 2 n.

    Args:
        heights: (m,) float64.

    Returns:
        (m,) int64.
    """
    whole: np.ndarray = np.floor(heights * _UNIT)
    # That product was rounded; a quotient of whole numbers is what a decimal is read as.
    whole += (whole + 1) / _UNIT <= heights
    whole -= whole / _UNIT > heights
    marks: np.ndarray = 2 * whole + (whole / _UNIT < heights)
    return marks.astype(np.int64)


def _variable_length(numbers: np.ndarray) -> bytes:
    """Whole numbers from 0 on, seven bits a byte, the lowest first; the last byte is below 128."""
    packed = bytearray()
    for number in numbers.tolist():
        while number > 127:
            packed.append(number & 127 | 128)
            number >>= 7
        packed.append(number)
    return bytes(packed)


def _circles(particles: Particles, z: int, count: int, report: TomogramReport) -> str:
    """Which candidates a plane cuts and where: uint16 in base64, four for each, rank, x, y, radius,
    from the corner of the picture, whose longer side is `LONGER`."""
    rows, columns = report.layout.pixels
    _, dy, dx = particles.voxel_size
    longer = report.layout.binning * max(columns * dx, rows * dy)
    ranks, table = cuts(particles, z, count)
    scaled = np.clip(table * (LONGER / longer), 0, 2**16 - 1).round()
    circles = np.column_stack([ranks, scaled])[:MOST_CIRCLES]
    return _text(circles.astype("<u2").tobytes())


def _text(data: bytes) -> str:
    return b64encode(data).decode("ascii")
