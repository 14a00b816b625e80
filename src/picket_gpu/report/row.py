"""A tomogram's row of the index, which its page carries too: picture, shares, heights of picks."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import numpy as np
from PIL import Image

from picket_gpu.files.filenames import page_name
from picket_gpu.particles.particles import Particles
from picket_gpu.report.picked import cuts, set_by_user
from picket_gpu.report.preview import grey_pixels, stretched
from picket_gpu.report.slices import central, to_jpeg

THUMBNAIL = 128  # pixels of the longer side
LONGER = 10_000  # the same side where circles are told
MOST_HEIGHTS = 2_000  # of the highest candidates of a picking
MOST_CIRCLES = 300  # in a thumbnail, of the highest
DECIMALS = 5  # of a threshold that a row counts by
_UNIT = 10**DECIMALS
# What a row has of the data of a page.
OF_TOMOGRAM = (
    *("index", "name", "path", "outputDir", "directoryName", "shape", "voxelSize", "limits"),
    "warnings",
)
OF_WORKFLOW = ("mode", "method", "share", "fingerprint", "file")


def describe_row(
    data: Mapping[str, Any], alone: bool, picked: Sequence[Particles]
) -> dict[str, Any]:
    """A tomogram's row of the index.

    Args:
        data: of its page, which has the slices.
        alone: whether the run has one tomogram, whose page is report.html.
        picked: its particles, with all candidates.
    """
    _, dy, dx = data["voxelSize"] if min(data["voxelSize"]) > 0 else (1.0, 1.0, 1.0)
    lengths = np.array([data["columns"] * dx, data["rows"] * dy])
    greys = np.stack([grey_pixels(data["grey"][number]) for number in central(len(data["grey"]))])
    image = Image.fromarray(stretched(greys)[1])
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    return {name: data[name] for name in OF_TOMOGRAM} | {
        "page": page_name(data["index"], alone),
        "thumbnail": f"data:image/jpeg;base64,{_text(to_jpeg(np.asarray(image)))}",
        "frame": (LONGER * lengths / lengths.max()).round().tolist(),
        "workflows": [
            {name: workflow[name] for name in OF_WORKFLOW} for workflow in data["workflows"]
        ],
        "picks": describe_picks(data, picked),
    }


def describe_picks(data: Mapping[str, Any], picked: Sequence[Particles]) -> list[dict[str, Any]]:
    """What a row says of particles; the arguments are those of `describe_row`."""
    return [_describe_picks(one, data) for one in picked]


def digest_of(particles: Particles) -> str:
    """What a row knows particles by: another where anything that a page says of them is."""
    picks = particles.picks
    told = set_by_user(particles), particles.doubt, particles.is_on_another_scale
    hashed = sha256(repr((picks.threshold, picks.first, picks.count, *told)).encode())
    hashed.update(" ".join(sorted(particles.files)).encode())
    for numbers in (picks.candidates, picks.candidate_heights, picks.candidate_diameters):
        if numbers is not None:
            hashed.update(np.ascontiguousarray(numbers).tobytes())
    return hashed.hexdigest()[:16]


def picking_of(particles: Particles) -> dict[str, str | None]:
    """What tells the pickings of a dataset apart: the same in each tomogram."""
    method = particles.settings.get("method", "ball")
    return {
        "mode": particles.mode,
        "method": particles.method,
        "picking": None if method == "ball" else method,
        "name": particles.settings.get("name"),
    }


def _describe_picks(particles: Particles, data: Mapping[str, Any]) -> dict[str, Any]:
    """What the index needs to count the particles of another threshold, and to draw them."""
    picks, places = particles.picks, data["places"]
    heights = picks.candidate_heights[:MOST_HEIGHTS]
    marks = marks_of(heights)
    doubt = particles.doubt
    return picking_of(particles) | {
        "digest": digest_of(particles),
        "settings": set_by_user(particles),
        "threshold": picks.threshold,
        "otherScale": particles.is_on_another_scale,
        "count": picks.count,
        "first": picks.first,
        # Without max_particles.
        "above": max(
            picks.count, int(np.count_nonzero(picks.candidate_heights >= picks.threshold))
        ),
        "total": particles.candidates,
        "highest": int(marks[0]) if len(marks) else 0,
        "steps": _text(_variable_length(marks[:-1] - marks[1:])) if len(marks) else None,
        "circles": _circles(particles, places[central(len(places))[1]], len(heights), data),
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


def _circles(particles: Particles, z: int, count: int, data: Mapping[str, Any]) -> str:
    """Which candidates a plane cuts and where: uint16 in base64, four for each, rank, x, y, radius,
    from the corner of the picture, whose longer side is `LONGER`."""
    _, dy, dx = particles.voxel_size
    longer = data["binning"] * max(data["columns"] * dx, data["rows"] * dy)
    ranks, table = cuts(particles, z, count)
    scaled = np.clip(table * (LONGER / longer), 0, 2**16 - 1).round()
    circles = np.column_stack([ranks, scaled])[:MOST_CIRCLES]
    return _text(circles.astype("<u2").tobytes())


def _text(data: bytes) -> str:
    return b64encode(data).decode("ascii")
