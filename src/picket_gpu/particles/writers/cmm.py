"""Markers for ChimeraX: balls of the particle's size on top of the tomogram."""

from math import inf
from pathlib import Path
from xml.etree import ElementTree

from picket_gpu.errors import printable
from picket_gpu.files.atomic import atomic_file
from picket_gpu.particles.particles import Particles

_COLOUR = {"r": "1", "g": "0.47", "b": "0"}


def write_cmm(path: Path, particles: Particles) -> None:
    """Write a marker a particle, in angstrom with three decimals.

    ChimeraX shows x, y, z in the scene, where it places a map by the origin in its file, or where
    that is 0 0 0 by NXSTART; so do these markers. The score is an attribute that ChimeraX keeps
    (ChimeraX, cmmfiles.py).
    """
    markers = ElementTree.Element("marker_set", name=printable(particles.run_name))
    radius = f"{particles.diameter / 2:.3f}"
    rows = zip(particles.positions().tolist(), particles.picks.heights.tolist(), strict=True)
    for number, (position, score) in enumerate(rows, 1):
        place = {axis: f"{value:.3f}" for axis, value in zip("xyz", position, strict=True)}
        ElementTree.SubElement(
            markers,
            "marker",
            {"id": str(number), **place, **_COLOUR, "radius": radius, "score": f"{score:.6f}"},
        )
    ElementTree.indent(markers, "")
    with atomic_file(path) as temporary:
        ElementTree.ElementTree(markers).write(temporary)


def read_markers(path: Path) -> tuple[str, float]:
    """The tomogram's name, and the diameter in angstrom; 0.0 where there are no particles.

    Raises:
        ElementTree.ParseError, LookupError, ValueError: it is not what `write_cmm` writes.
    """
    markers = ElementTree.parse(path).getroot()
    radius = max((float(each.attrib["radius"]) for each in markers.iter("marker")), default=0.0)
    if not 0 <= radius < inf:
        raise ValueError(f"radius {radius}")
    return markers.attrib["name"], 2 * radius
