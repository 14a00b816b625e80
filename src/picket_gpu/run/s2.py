"""PickET's step 2 (S2) from its parameter file to files.

Files have PickET's names, ``predicted_centroids_{index}_{mode}_{method}_{pex_mode}``, which hold
neither label nor z-slices nor ``min_distance``: PickET's own results replace each other. Here, if
several results of a parameter file would have one name, each ends with what distinguishes it, such
as ``_label0_distance5``; and a file of other settings is replaced only on request.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from math import pi, prod
from pathlib import Path
from typing import Any

import numpy as np

from picket_gpu.config.s2 import S2Config, S2Input, load_s2_config
from picket_gpu.console import SILENT, Reporter
from picket_gpu.errors import PicketError
from picket_gpu.files.filenames import PARTICLES
from picket_gpu.files.location import absolute
from picket_gpu.files.segmentation import Segmentation, read_attributes, read_hdf5_labels
from picket_gpu.particles.by_labels import z_slices
from picket_gpu.particles.files import describe, filled, read_metadata, write_particles
from picket_gpu.particles.particles import Particles
from picket_gpu.particles.picket_s2 import ExtractionMode
from picket_gpu.particles.picks import Picks
from picket_gpu.run.existing import Directory
from picket_gpu.run.fingerprint import digest
from picket_gpu.run.outputs import check_directory

DIRECTORY = "predicted_particles"


def pick_by_s2(
    config: Path,
    *,
    voxel_size: float | None = None,
    overwrite: bool = False,
    reporter: Reporter = SILENT,
) -> list[Path]:
    """Pick from every input of PickET's S2 parameter file by every mode.

    Files go to ``output_dir/dataset_name/predicted_particles/``. Coordinates in YAML are the
    nearest voxels, where PickET cuts fractions off; files in angstrom are written too if the voxel
    size is known.

    Args:
        config: the YAML file.
        voxel_size: angstrom, of all axes, overriding the files.
        overwrite: pick again, and replace files of other settings.
        reporter: receiver of a line for each result.

    Returns:
        The YAML files.

    Raises:
        PicketError: the parameter file or a segmentation is unusable.
    """
    size = None if voxel_size is None else (voxel_size, voxel_size, voxel_size)
    loaded = load_s2_config(config)
    check_directory(loaded.directory, f"{config}: output_dir")
    paths = []
    for extraction in plan_s2(loaded, f"{config}: ", size, overwrite):
        for warning in extraction.found.warnings:
            reporter.line(f"warning: {warning}")
        if extraction.earlier is None:
            count, threshold, candidates = extraction.pick(reporter)
        else:
            names = ("count", "threshold", "candidates")
            count, threshold, candidates = (extraction.earlier[name] for name in names)
        earlier = extraction.earlier is not None
        reporter.line(describe(extraction.files, count, threshold, candidates, earlier))
        paths.append(extraction.files["yaml"])
    return paths


@dataclass(frozen=True)
class Extraction:
    """One input by one extraction mode.

    Attributes:
        key: key of the input in the parameter file.
        found: its segmentation.
        wanted: the input as in the parameter file.
        mode: extraction mode.
        files: by kind; only YAML if the voxel size is unknown.
        fingerprint: digest of everything that the particles depend on.
        earlier: fields of `Particles` that exist, picked with the same settings; else None.
    """

    key: str
    found: Segmentation
    wanted: S2Input
    mode: ExtractionMode
    files: dict[str, Path]
    fingerprint: str
    earlier: dict[str, Any] | None

    def pick(self, reporter: Reporter = SILENT) -> tuple[int, float, int]:
        """Pick, and write the files.

        Returns:
            Number of particles, threshold, number of candidates.
        """
        directory = self.files["yaml"].parent
        directory.mkdir(parents=True, exist_ok=True)
        path, label = self.wanted.segmentation, self.wanted.particle_cluster_id
        started = time.perf_counter()
        labels = read_hdf5_labels(path)
        picks = self.mode.pick(labels, label, *self.wanted.z_slices)
        if not np.any(labels == label):
            reporter.line(f"warning: {path}: no voxel has the label {label} ({self.key})")
        seconds = time.perf_counter() - started
        particles = Particles(
            **self.found.fields | {"directory": directory},
            mode=self.found.mode,
            method=self.found.method,
            fingerprint=self.fingerprint,
            source=self.found.fingerprint,
            files=[
                os.path.relpath(file, directory)
                for file in filled(self.files, picks.count).values()
            ],
            candidates=len(picks.candidates),
            diameter=self._diameter(picks),
            picks=picks,
            seconds=seconds,
            attributes={
                **read_attributes(path),
                "z_lb_for_particle_extraction": self.wanted.lower_z_slice_limit,
                "z_ub_for_particle_extraction": self.wanted.upper_z_slice_limit,
                "particle_cluster_id": label,
                "pex_mode": self.mode.mode,
                "pex_min_distance": getattr(self.mode, "min_distance", None),
                "time_taken_for_s2": seconds,
                "timestamp_s2": datetime.now(UTC).isoformat(timespec="seconds"),
            },
        )
        write_particles(self.files, particles)
        return particles.count, particles.threshold, particles.candidates

    def _diameter(self, picks: Picks) -> float:
        """Diameter of a sphere as large as the median particle, in angstrom."""
        # A picked instance has a voxel at least, which is the threshold: so much of the largest.
        voxels = np.median(picks.heights) / picks.threshold if picks.count else 1.0
        size = self.found.voxel_size if self.found.is_scaled else (1.0, 1.0, 1.0)
        return float((6 / pi * voxels * prod(size)) ** (1 / 3))


def plan_s2(
    config: S2Config,
    where: str = "",
    voxel_size: tuple[float, float, float] | None = None,
    overwrite: bool = False,
) -> list[Extraction]:
    """Plan every input by every mode.

    Args:
        where: beginning of an error message, such as the name of the parameter file.
        voxel_size: angstrom, (z, y, x), overriding the files.
        overwrite: pick again, and replace files of other settings.

    Raises:
        PicketError: a segmentation is unusable, limits hold none of its z-slices, or a file of
            other settings would be replaced.
    """
    extractions = list(_extractions(config, where, voxel_size))
    return [_planned(config, one, extractions, overwrite) for one in extractions]


def _extractions(
    config: S2Config, where: str, voxel_size: tuple[float, float, float] | None
) -> Iterator[Extraction]:
    """Every input by every mode, under PickET's names."""
    for place, wanted in enumerate(config.inputs):
        key = f"{where}inputs[{place}]"
        path = wanted.segmentation
        if path.suffix != ".h5":
            raise PicketError(f"{key}.segmentation: {path} is not an HDF5 file (.h5)")
        found = Directory(path.parent).read(path, voxel_size)
        try:
            z_slices(found.shape[0], *wanted.z_slices)
        except ValueError as error:
            raise PicketError(
                f"{key}.lower_z-slice_limit, upper_z-slice_limit: {error} ({path})"
            ) from None
        for mode in config.particle_extraction_params:
            parts = ("predicted_centroids", str(found.index), *found.workflow, mode.mode)
            file = config.directory / DIRECTORY / ("_".join(parts) + PARTICLES["yaml"])
            about = {
                "version": version("picket-gpu"),
                "segmentation": found.fingerprint,
                "label": wanted.particle_cluster_id,
                "z_slices": (wanted.lower_z_slice_limit or 0, wanted.upper_z_slice_limit),
                "mode": mode.model_dump(mode="json"),
                "geometry": (found.voxel_size, found.origin),
            }
            yield Extraction(key, found, wanted, mode, {"yaml": file}, digest(about), None)


def _planned(
    config: S2Config, one: Extraction, extractions: list[Extraction], overwrite: bool
) -> Extraction:
    """An extraction with files of its own, and with what exists of it."""
    alike = [other for other in extractions if other.files == one.files]
    stem = one.files["yaml"].stem + (_difference(one, alike) if len(alike) > 1 else "")
    kinds = PARTICLES if one.found.is_scaled else {"yaml": PARTICLES["yaml"]}
    directory = config.directory / DIRECTORY
    files = {kind: directory / f"{stem}{ending}" for kind, ending in kinds.items()}
    existing = [path for path in files.values() if path.exists()]
    earlier = read_metadata(files["yaml"])
    if overwrite or earlier is None or earlier["fingerprint"] != one.fingerprint:
        if existing and not overwrite:
            raise PicketError(
                f"{existing[0]}: already exists with other settings or from another program; "
                "use --overwrite to replace it, or change dataset_name"
            )
        earlier = None
    # Where nothing was found, the warning is due again.
    whole = (
        earlier is not None
        and earlier["candidates"]
        and all(path.exists() for path in filled(files, earlier["count"]).values())
    )
    return Extraction(
        one.key, one.found, one.wanted, one.mode, files, one.fingerprint, earlier if whole else None
    )


def _difference(one: Extraction, alike: list[Extraction]) -> str:
    """What distinguishes an extraction from others of its name."""

    def traits(one: Extraction) -> dict[str, Any]:
        wanted = one.wanted
        lower, upper = wanted.lower_z_slice_limit or 0, wanted.upper_z_slice_limit
        return {
            "file": absolute(wanted.segmentation),
            "label": wanted.particle_cluster_id,
            "z": f"{lower}to{'end' if upper is None else upper}",
            "distance": getattr(one.mode, "min_distance", ""),
        }

    own, all_traits = traits(one), [traits(other) for other in alike]
    files = list(dict.fromkeys(each["file"] for each in all_traits))
    text = ""
    for trait, value in own.items():
        if any(each[trait] != value for each in all_traits):
            text += f"_{trait}{files.index(value) if trait == 'file' else value}"
    return text
