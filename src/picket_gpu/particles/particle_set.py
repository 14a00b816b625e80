"""Picked particles and the tomogram that they are in: what files of coordinates are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from picket_gpu.particles.picks import Picks


@dataclass(frozen=True)
class ParticleSet:
    """Picks in one tomogram, and the geometry that turns voxels into angstrom.

    Attributes:
        picks: in voxels, (z, y, x).
        tomogram_name: as RELION and copick name it.
        shape: voxels of the tomogram, (z, y, x).
        voxel_size: angstrom, (z, y, x), above 0; `TomogramHeader.voxel_size`.
        origin: angstrom, (x, y, z), of the centre of the first voxel; `TomogramHeader.place`.
        diameter: of a particle, angstrom.
        attributes: what PickET's files say of the segmentation, by its names.
    """

    picks: Picks
    tomogram_name: str
    shape: tuple[int, int, int]
    voxel_size: tuple[float, float, float]
    origin: tuple[float, float, float]
    diameter: float
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def positions(self) -> np.ndarray:
        """(n, 3) float64, (x, y, z) in angstrom, where the tomogram's file places the particles."""
        places: np.ndarray = self.angstrom_from((0, 0, 0)) + np.array(self.origin)
        return places

    def angstrom_from(self, zero: Sequence[float]) -> np.ndarray:
        """(n, 3) float64, (x, y, z) in angstrom, from a point (z, y, x) in voxels."""
        angstrom: np.ndarray = (self.picks.coordinates - np.array(zero)) * np.array(self.voxel_size)
        return angstrom[:, ::-1]
