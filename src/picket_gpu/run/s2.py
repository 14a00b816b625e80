"""PickET's step 2: one segmentation by one mode, from labels to files. `s2_plan` plans it."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from math import pi, prod
from pathlib import Path

import numpy as np

from picket_gpu.config.s2 import S2Input
from picket_gpu.files.segmentations import read_attributes, read_hdf5_labels
from picket_gpu.particles.particle_set import ParticleSet
from picket_gpu.particles.picket_s2 import ExtractionMode
from picket_gpu.particles.picks import Picks
from picket_gpu.particles.write import Picking, write_particles
from picket_gpu.run.found import FoundSegmentation


@dataclass(frozen=True)
class S2Result:
    """What one mode has picked in one input.

    Attributes:
        files: by their kind; only YAML where the voxel size is not known.
        picking: what they say of themselves.
        warnings: a line each.
        earlier: whether they were there already.
    """

    files: dict[str, Path]
    picking: Picking
    warnings: tuple[str, ...] = ()
    earlier: bool = False


@dataclass(frozen=True)
class S2Plan:
    """One input by one mode.

    Attributes:
        key: of the input in the parameter file.
        found: its segmentation.
        told: what the parameter file says of the input.
        mode: of extraction.
        files: by their kind.
        fingerprint: of all that the particles depend on.
        earlier: what is there already, made as this would be.
    """

    key: str
    found: FoundSegmentation
    told: S2Input
    mode: ExtractionMode
    files: dict[str, Path]
    fingerprint: str
    earlier: Picking | None

    def pick(self) -> S2Result:
        """Pick, and write the files; nothing where they are there already."""
        if self.earlier is not None and self.earlier.candidates:  # none is told of again
            return S2Result(self.files, self.earlier, earlier=True)
        self.files["yaml"].parent.mkdir(parents=True, exist_ok=True)
        label, started = self.told.particle_cluster_id, time.perf_counter()
        labels = read_hdf5_labels(self.told.segmentation)
        picks = self.mode.pick(labels, label, *self.told.z_slices)
        warnings: tuple[str, ...] = ()
        if not np.any(labels == label):
            warnings = (f"{self.told.segmentation}: no voxel has the label {label} ({self.key})",)
        seconds = time.perf_counter() - started
        picking = write_particles(
            self.files, self._particles(picks, seconds), self.fingerprint, self.found.fingerprint
        )
        return S2Result(self.files, picking, warnings)

    def _particles(self, picks: Picks, seconds: float) -> ParticleSet:
        header = self.found.header
        size = header.voxel_size if min(header.voxel_size) > 0 else (1.0, 1.0, 1.0)
        # A picked instance has a voxel at least, which is the threshold: so much of the largest.
        voxels = np.median(picks.heights) / picks.threshold if picks.count else 1.0
        return ParticleSet(
            picks=picks,
            tomogram_name=self.found.entry.run_name,
            shape=header.shape,
            voxel_size=size,
            origin=header.place,
            diameter=float(6 / pi * voxels * prod(size)) ** (1 / 3),
            attributes={
                **read_attributes(self.told.segmentation),
                "z_lb_for_particle_extraction": self.told.lower_z_slice_limit,
                "z_ub_for_particle_extraction": self.told.upper_z_slice_limit,
                "particle_cluster_id": self.told.particle_cluster_id,
                "pex_mode": self.mode.mode,
                "pex_min_distance": getattr(self.mode, "min_distance", None),
                "time_taken_for_s2": seconds,
                "timestamp_s2": datetime.now(UTC).isoformat(timespec="seconds"),
            },
        )
