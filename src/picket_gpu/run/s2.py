"""PickET's step 2 from its parameter file: `plan_s2`.

Files have PickET's names, ``predicted_centroids_{index}_{mode}_{method}_{pex_mode}``, which hold
neither label nor z-slices nor ``min_distance``: its own results replace each other. Here, where
several results of a parameter file would have one name, each has at its end what tells it from the
others, such as ``_label0_distance5``; and a file that is there, of other settings, is replaced only
if that is asked for.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from math import pi, prod
from pathlib import Path
from typing import Any

import numpy as np

from picket_gpu.config.s2 import S2Config, S2Input
from picket_gpu.errors import PicketError
from picket_gpu.files.filenames import PARTICLES
from picket_gpu.files.location import absolute
from picket_gpu.files.read_segmentation import read_attributes, read_hdf5_labels
from picket_gpu.files.signature import file_signature
from picket_gpu.particles.particle_set import ParticleSet
from picket_gpu.particles.picket_s2 import ExtractionMode
from picket_gpu.particles.picks import Picks
from picket_gpu.particles.write import Picking, read_picking, write_particles
from picket_gpu.run.found import UNKNOWN, FoundSegmentation, read_segmentation

DIRECTORY = "predicted_particles"


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
        """Pick, and write the files; nothing where they are there already.

        Raises:
            PicketError: the limits hold no z-slice of the segmentation.
        """
        if self.earlier is not None:
            return S2Result(self.files, self.earlier, earlier=True)
        self.files["yaml"].parent.mkdir(parents=True, exist_ok=True)
        label, started = self.told.particle_cluster_id, time.perf_counter()
        labels = read_hdf5_labels(self.told.segmentation)
        try:
            picks = self.mode.pick(labels, label, *self.told.z_slices)
        except ValueError as error:
            raise PicketError(
                f"{self.key}.lower_z-slice_limit, upper_z-slice_limit: {error} "
                f"({self.told.segmentation})"
            ) from None
        warnings = ()
        if not np.any(labels == label):
            warnings = (f"{self.told.segmentation}: no voxel has the label {label} of {self.key}",)
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


def plan_s2(
    config: S2Config,
    where: str = "",
    voxel_size: tuple[float, float, float] | None = None,
    overwrite: bool = False,
) -> list[S2Plan]:
    """What is to be picked: every input by every mode.

    Args:
        where: what begins the message of an error, such as the name of the parameter file.
        voxel_size: angstrom, (z, y, x), instead of what files say.
        overwrite: pick again what is there, and replace what was made otherwise.

    Raises:
        PicketError: a segmentation is unusable, or a file would be replaced that was made
            otherwise.
    """
    plans = []
    results = list(_results(config, where, voxel_size))
    for number, (key, found, told, mode, stem) in enumerate(results):
        alike = [result for result in results if result[4] == stem]
        stem += _difference(number, results[number], alike) if len(alike) > 1 else ""
        known = min(found.header.voxel_size) > 0
        kinds = PARTICLES if known else {"yaml": PARTICLES["yaml"]}
        directory = config.directory / DIRECTORY
        files = {kind: directory / f"{stem}{ending}" for kind, ending in kinds.items()}
        fingerprint = _fingerprint(found, told, mode)
        there = [path for path in files.values() if path.exists()]
        earlier = read_picking(files["yaml"])
        if overwrite or earlier is None or earlier.fingerprint != fingerprint:
            if there and not overwrite:
                raise PicketError(
                    f"{there[0]}: exists and was made with other settings or by another program; "
                    f"use --overwrite, or another dataset_name"
                )
            earlier = None
        whole = len(there) == len(files)
        plans.append(S2Plan(key, found, told, mode, files, fingerprint, earlier if whole else None))
    return plans


_Result = tuple[str, FoundSegmentation, S2Input, ExtractionMode, str]


def _results(
    config: S2Config, where: str, voxel_size: tuple[float, float, float] | None
) -> Iterator[_Result]:
    """Every input by every mode, with PickET's name of its file."""
    for place, told in enumerate(config.inputs):
        key = f"{where}inputs[{place}]"
        if told.segmentation.suffix != ".h5":
            raise PicketError(f"{key}.segmentation: {told.segmentation} is no HDF5 file (.h5)")
        found = read_segmentation(told.segmentation, voxel_size)
        name = "_".join(("predicted_centroids", str(found.index), *found.workflow))
        for mode in config.particle_extraction_params:
            yield key, found, told, mode, f"{name}_{mode.mode}"


def _difference(number: int, result: _Result, alike: list[_Result]) -> str:
    """What tells a result from others of its name."""

    def traits(result: _Result) -> dict[str, Any]:
        _, found, told, mode, _ = result
        lower, upper = told.lower_z_slice_limit, told.upper_z_slice_limit
        limits = "".join(f"{end}" if end is not None else "" for end in (lower, "to", upper))
        return {
            "file": absolute(told.segmentation),
            "label": told.particle_cluster_id,
            "z": limits,
            "distance": getattr(mode, "min_distance", ""),
        }

    own, all_traits = traits(result), [traits(one) for one in alike]
    own_files = list(dict.fromkeys(one["file"] for one in all_traits))
    text = ""
    for trait, value in own.items():
        if any(one[trait] != value for one in all_traits):
            text += f"_{trait}{own_files.index(value) if trait == 'file' else value}"
    return text


def _fingerprint(found: FoundSegmentation, told: S2Input, mode: ExtractionMode) -> str:
    """Digest of all that particles depend on."""
    source: Any = found.fingerprint
    if source == UNKNOWN:
        source = file_signature(found.path, {})
    about = {
        "version": version("picket-gpu"),
        "segmentation": source,
        "label": told.particle_cluster_id,
        "z_slices": told.z_slices,
        "mode": mode.model_dump(mode="json"),
        "geometry": (found.header.voxel_size, found.header.place),
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:32]
