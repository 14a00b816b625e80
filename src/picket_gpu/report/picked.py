"""What a report says of the particles picked from one segmentation."""

import os
import re
from base64 import b64encode
from typing import Any

import numpy as np

from picket_gpu.particles.descriptors import UNITS
from picket_gpu.particles.particles import Particles
from picket_gpu.particles.settings import ParticleSettings
from picket_gpu.particles.star_table import comments, notes, star_name

MOST_CANDIDATES = 10_000  # in a page; of more, the highest
MOST_DESCRIBED = 2_000  # of these, with what a page learns from


def circles(particles: Particles, z: float) -> np.ndarray:
    """Where spheres of the particles' size cut a plane: (n, 3) float64, x, y, radius in angstrom.

    They are measured from the outer corner of the plane's first voxel.

    Args:
        z: of the plane, in voxels; 0 is the centre of the first.
    """
    first = particles.picks.first
    ranks, table = cuts(particles, z, first + particles.count)
    return table[ranks >= first]


def cuts(particles: Particles, z: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The same of the ``count`` highest candidates: which of them are cut, (n,), and where, (n, 3).

    Args:
        z: as for `circles`.
    """
    dz, dy, dx = particles.voxel_size
    picks = particles.picks
    centres, own = picks.candidates[:count], picks.candidate_diameters
    radii = (particles.diameter if own is None else own[:count]) / 2
    squares = radii**2 - ((centres[:, 0] - z) * dz) ** 2
    cut = squares > 0
    x, y = (centres[cut, 2] + 0.5) * dx, (centres[cut, 1] + 0.5) * dy
    return np.flatnonzero(cut), np.column_stack([x, y, np.sqrt(squares[cut])])


def describe_picked(particles: Particles) -> dict[str, Any]:
    """What a page needs to draw particles, and to write the files of another threshold."""
    sizes = particles.picks.candidate_diameters
    picks, files = particles.picks, [os.path.basename(file) for file in particles.files]
    table = np.column_stack([picks.candidates, picks.candidate_heights])[:MOST_CANDIDATES]
    both = " and the tomogram" if particles.settings.get("source") == "both" else ""
    return {
        "mode": particles.mode,
        "method": particles.method,
        "name": particles.picking,
        "first": picks.first,
        "how": ", ".join([both, *particles.found]),
        "doubt": particles.doubt,
        "diameter": particles.diameter,
        "sizes": None if sizes is None else _packed(sizes[:MOST_CANDIDATES]),
        "origin": particles.origin,
        "centre": particles.relion_centre,
        "starName": star_name(particles.run_name),
        "starHead": comments(notes([particles])),
        "settings": set_by_user(particles),
        "otherScale": particles.is_on_another_scale,
        "threshold": picks.threshold,
        "count": max(min(picks.count, len(table) - picks.first), 0),
        "total": len(picks.candidates),
        # z, y, x, height of each; about half as long as decimals, and the same to the last bit.
        "candidates": _packed(table),
        "descriptors": _described(particles),
        "stem": next(re.sub(r"\.csv$", "", name) for name in files if name.endswith(".csv")),
        "files": files,
    }


def _described(particles: Particles) -> str | None:
    """Descriptors of the first candidates, (n, 23) int16 of units of 1 / 8000, in their order.

    None where there are none, and where answers have ranked already: heights are probabilities
    then, from which a page could not begin.
    """
    pool = particles.pool
    if pool is None or pool.answers is not None:
        return None
    looks = pool.looks(pool.ranked())
    if looks is None:
        return None
    units = np.rint(UNITS * looks[:MOST_DESCRIBED]).astype("<i2")
    return b64encode(units.tobytes()).decode("ascii")


def set_by_user(particles: Particles) -> dict[str, Any]:
    """Settings for picking that are not the default ones."""
    defaults = {name: field.default for name, field in ParticleSettings.model_fields.items()}
    return {
        name: value
        for name, value in particles.settings.items()
        if name in defaults and value != defaults[name]
    }


def _packed(numbers: np.ndarray) -> str:
    return b64encode(numbers.astype("<f8").tobytes()).decode("ascii")
