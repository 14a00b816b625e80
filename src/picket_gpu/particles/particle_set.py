"""Picked particles of one tomogram, as files of coordinates need them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from picket_gpu.particles.picks import Picks


@dataclass(frozen=True)
class ParticleSet:
    """Picks of one tomogram, with the geometry that converts voxels to angstrom.

    Attributes:
        picks: in voxels, (z, y, x).
        tomogram_name: name of the tomogram in RELION and copick.
        shape: shape of the tomogram in voxels, (z, y, x).
        voxel_size: angstrom, (z, y, x), above 0; `TomogramHeader.voxel_size`.
        origin: angstrom, (x, y, z), of the centre of the first voxel; `TomogramHeader.place`.
        diameter: particle diameter in angstrom.
        attributes: metadata of the segmentation under the names that PickET's files use.
    """

    picks: Picks
    tomogram_name: str
    shape: tuple[int, int, int]
    voxel_size: tuple[float, float, float]
    origin: tuple[float, float, float]
    diameter: float
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def positions(self) -> np.ndarray:
        """Centres in the frame of the tomogram's file, (n, 3) float64, (x, y, z) in angstrom."""
        places: np.ndarray = self.angstrom_from((0, 0, 0)) + np.array(self.origin)
        return places

    def angstrom_from(self, zero: Sequence[float]) -> np.ndarray:
        """Centres from a point (z, y, x) in voxels, (n, 3) float64, (x, y, z) in angstrom."""
        angstrom: np.ndarray = (self.picks.coordinates - np.array(zero)) * np.array(self.voxel_size)
        return angstrom[:, ::-1]
