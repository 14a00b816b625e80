"""Markers for ChimeraX: balls of the particle's size on top of the tomogram."""

from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree

from picket_gpu.errors import printable
from picket_gpu.files.atomic import atomic_file
from picket_gpu.particles.particles import Particles

_COLOUR = {"r": "1", "g": "0.47", "b": "0"}


class CMM:
    """A marker for each particle, in angstrom with three decimals.

    ChimeraX shows x, y, z in the scene, where it places a map by the origin in the map's file, or
    by NXSTART if that origin is 0 0 0; these markers follow it. ChimeraX keeps the score as an
    attribute (ChimeraX, cmmfiles.py).
    """

    several: ClassVar = False
    holds_none: ClassVar = False

    @staticmethod
    def write(path: Path, lists: Sequence[Particles]) -> None:
        """Write markers in an element named after the tomogram."""
        (particles,) = lists
        markers = ElementTree.Element("marker_set", name=printable(particles.run_name))
        rows = zip(
            particles.positions().tolist(),
            particles.picks.heights.tolist(),
            (particles.diameters / 2).tolist(),
            strict=True,
        )
        for number, (position, score, radius) in enumerate(rows, 1):
            place = {axis: f"{value:.3f}" for axis, value in zip("xyz", position, strict=True)}
            ElementTree.SubElement(
                markers,
                "marker",
                {
                    "id": str(number),
                    **place,
                    **_COLOUR,
                    "radius": f"{radius:.3f}",
                    "score": f"{score:.6f}",
                },
            )
        ElementTree.indent(markers, "")
        with atomic_file(path) as temporary:
            ElementTree.ElementTree(markers).write(temporary)

    @staticmethod
    def read(path: Path) -> tuple[str, float]:
        """Read the tomogram's name, and the greatest diameter in angstrom, 0.0 without particles.

        Raises:
            ElementTree.ParseError, LookupError, ValueError: the file is not as `write` makes it.
        """
        markers = ElementTree.parse(path).getroot()
        radii = (float(marker.attrib["radius"]) for marker in markers.iter("marker"))
        radius = max(radii, default=0.0)
        if not 0 <= radius < inf:
            raise ValueError(f"radius {radius}")
        return markers.attrib["name"], 2 * radius
