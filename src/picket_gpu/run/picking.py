"""Particles as a part of a run: from what they are picked, in which files they go, and picking."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from picket_gpu.config.inputs import TomogramInput
from picket_gpu.config.s1 import S1Config
from picket_gpu.device.backend import MIB, Backend
from picket_gpu.errors import PicketError
from picket_gpu.files.filenames import TomogramFiles
from picket_gpu.files.location import absolute
from picket_gpu.files.read_segmentation import read_attributes
from picket_gpu.files.tomogram import TomogramHeader
from picket_gpu.method.clustering import Method
from picket_gpu.method.memory import FLOAT
from picket_gpu.method.workflows import PreparedTomogram
from picket_gpu.particles.by_labels import min_distance
from picket_gpu.particles.from_files import check_size, pick_in_segmentation, pick_in_tomogram
from picket_gpu.particles.particle_set import ParticleSet
from picket_gpu.particles.settings import TOMOGRAM, ParticleSettings, Workflow
from picket_gpu.particles.write import Picking, read_picking, write_particles
from picket_gpu.run.fingerprints import digest

LEAST_BUDGET = 256 * MIB  # where the user sets none: to pick in small tomograms
# As ``pex_mode`` in PickET's files; the names of two are PickET's.
PEX_MODES = {
    "ball": "score_maxima",
    "components": "connected_component_labeling",
    "watershed": "watershed_segmentation",
}


@dataclass(frozen=True)
class PickingPlan:
    """What is to be picked in one tomogram from one workflow.

    Attributes:
        workflow: feature mode and clustering method, or `TOMOGRAM`.
        fingerprint: of all that the particles depend on.
        source: fingerprint of the segmentation; "tomogram" if from the tomogram itself.
        files: by their kind.
        earlier: what an earlier run has picked as this one would, with all files there; None where
            there is none.
    """

    workflow: Workflow
    fingerprint: str
    source: str
    files: Mapping[str, Path]
    earlier: Picking | None

    @property
    def source_name(self) -> str:
        """What particles are picked from, for messages."""
        return "the tomogram" if self.workflow == TOMOGRAM else "-".join(self.workflow)


def plan_picking(
    config: S1Config,
    entry: TomogramInput,
    header: TomogramHeader,
    files: TomogramFiles,
    fingerprints: Mapping[tuple[str, Method], str],
    overwrite: bool,
) -> list[PickingPlan]:
    """What is to be picked in one tomogram; nothing where the configuration does not say.

    Args:
        fingerprints: of the segmentations, by feature mode and method.

    Raises:
        PicketError: the tomogram has no voxel size, the diameter cannot be meant for it, or a file
            that was not made by picking would be replaced.
    """
    settings = config.particles
    if settings is None:
        return []
    check_size(str(entry.tomogram), settings, header.shape, header.voxel_size)
    return [
        plan_workflow(settings, workflow, entry.run_name, files, fingerprints, overwrite)
        for workflow in settings.chosen(config.workflows)
    ]


def plan_workflow(
    settings: ParticleSettings,
    workflow: Workflow,
    name: str,
    files: TomogramFiles,
    fingerprints: Mapping[tuple[str, Method], str],
    overwrite: bool,
    voxel_size: tuple[float, float, float] | None = None,
    bare: bool = False,
) -> PickingPlan:
    """What is to be picked in one tomogram from one workflow.

    Args:
        name: of the tomogram.
        fingerprints: of its segmentations, by feature mode and method.
        overwrite: whether to pick again, and replace files that were not made by picking.
        voxel_size: angstrom, (z, y, x), where it is told otherwise than for the segmentation.
        bare: whether labels stand for scores that the segmentation lacks.

    Raises:
        PicketError: a file that was not made by picking would be replaced.
    """
    told = settings.model_dump(mode="json", exclude={"workflows"})
    told |= {"version": version("picket-gpu"), "workflow": workflow, "name": name}
    if voxel_size is not None:
        told["voxel_size"] = voxel_size
    if bare:  # so that a run, whose segmentation has scores, picks again
        told["bare"] = True
    source = "tomogram"
    if workflow == TOMOGRAM:  # what its voxels depend on, and a little more
        told["segmentations"] = sorted(fingerprints.values())
    else:
        told["segmentation"] = source = fingerprints[workflow]  # type: ignore[index]
    fingerprint = digest(told)
    paths = files.particles(*workflow, settings.picking)
    there = [path for path in paths.values() if path.exists()]
    found = read_picking(paths["yaml"])
    if there and found is None and not overwrite:
        raise PicketError(
            f"{there[0]}: already exists and carries no picket_gpu settings; use --overwrite "
            "to replace it, or change dataset_name"
        )
    same = found and found.fingerprint == fingerprint and len(there) == len(paths) and not overwrite
    return PickingPlan(workflow, fingerprint, source, paths, found if same else None)


def pick_planned(
    config: S1Config,
    backend: Backend,
    entry: TomogramInput,
    header: TomogramHeader,
    plan: PickingPlan,
    segmentation: Path | None,
    tomogram: PreparedTomogram | None,
) -> tuple[ParticleSet, Picking, float]:
    """Pick in one tomogram, and write the files that are not there yet.

    Args:
        segmentation: its file; None for picking in the tomogram itself.
        tomogram: prepared; needed for that.

    Returns:
        The particles, what their files say of them, and seconds.
    """
    settings = config.particles
    assert settings is not None
    started = time.perf_counter()
    memory = picking_budget(config, backend, header)
    size = header.voxel_size
    if segmentation is not None:
        side = config.neighborhood_size
        picks = pick_in_segmentation(segmentation, side, settings, size, backend, memory)
    else:
        assert tomogram is not None
        shape, picture = header.shape, tomogram.prepared.volume.grey_slice
        blurred = np.stack([picture(z, backend.download) for z in range(shape[0])])
        wanted = tomogram.to_label
        inside = None if wanted is None else np.broadcast_to(wanted, shape)
        name = str(entry.tomogram)
        picks = pick_in_tomogram(name, blurred, inside, settings, size, backend, memory)
    seconds = time.perf_counter() - started
    particles = ParticleSet(
        picks=picks,
        tomogram_name=entry.run_name,
        shape=header.shape,
        voxel_size=size,
        origin=header.place,
        diameter=settings.diameter,
        attributes=_attributes(config, entry, header, plan, segmentation, picks.label, seconds),
    )
    told = plan.earlier
    if told is None:
        told = write_particles(plan.files, particles, plan.fingerprint, plan.source)
    return particles, told, time.perf_counter() - started


def picking_budget(config: S1Config, backend: Backend, header: TomogramHeader) -> int:
    """Bytes for arrays on the device, beside four for each voxel in host memory: its score, its
    label, and whether it has one."""
    volume = FLOAT * int(np.prod(header.shape))
    beside = 0 if backend.streams else volume
    if config.memory_budget is not None:
        return max(config.memory_budget - beside, 1)
    return max(backend.default_budget(volume, 2 * volume) - beside, LEAST_BUDGET)


def _attributes(
    config: S1Config,
    entry: TomogramInput,
    header: TomogramHeader,
    plan: PickingPlan,
    segmentation: Path | None,
    label: int,
    seconds: float,
) -> dict[str, Any]:
    """What PickET's YAML says of a picking, beside what the segmentation says of itself."""
    settings = config.particles
    assert settings is not None
    mode, method = plan.workflow
    splits = settings.method == "watershed"
    return {
        "dataset_name": config.dataset_name,
        "tomogram_path": str(absolute(entry.tomogram)),
        "fex_mode": mode,
        "clustering_method": method,
        **({} if segmentation is None else read_attributes(segmentation)),
        "voxel_size": header.voxel_size,
        "particle_cluster_id": label if segmentation else None,
        "pex_mode": PEX_MODES[settings.method],
        "pex_min_distance": min_distance(settings, header.voxel_size) if splits else None,
        "time_taken_for_s2": seconds,
        "timestamp_s2": datetime.now(UTC).isoformat(timespec="seconds"),
        "particles_settings": settings.model_dump_json(exclude_none=True),
    }
