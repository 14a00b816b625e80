"""Picking in one tomogram: what it is picked from, which files it goes to, and what exists."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from picket_gpu.config.s1 import S1Config
from picket_gpu.device.backend import MIB, Backend
from picket_gpu.errors import PicketError
from picket_gpu.files.filenames import TomogramFiles
from picket_gpu.files.location import absolute
from picket_gpu.files.segmentation import (
    Segmentation,
    Subject,
    is_of_another_program,
    read_attributes,
)
from picket_gpu.method.memory import FLOAT
from picket_gpu.method.workflows import PreparedTomogram
from picket_gpu.particles.by_labels import min_distance
from picket_gpu.particles.files import read_metadata, read_particles, write_particles
from picket_gpu.particles.from_files import check_size, pick_in_segmentation, pick_in_tomogram
from picket_gpu.particles.particles import Particles
from picket_gpu.particles.settings import TOMOGRAM, ParticleSettings, Workflow
from picket_gpu.run.existing import digest

LEAST_BUDGET = 256 * MIB  # to pick in small tomograms, if the user sets no budget
# ``pex_mode`` in PickET's files; PickET has the last two.
PEX_MODES = {
    "ball": "score_maxima",
    "components": "connected_component_labeling",
    "watershed": "watershed_segmentation",
}


@dataclass(frozen=True)
class PickingPlan:
    """What is picked in one tomogram from one workflow.

    Attributes:
        settings: settings for picking.
        workflow: feature mode and clustering method, or `TOMOGRAM`.
        fingerprint: digest of everything that the particles depend on.
        source: fingerprint of the segmentation; "tomogram" for the tomogram itself.
        files: by kind.
        earlier: fields of `Particles` of an earlier picking with the same settings and all its
            files; None if there is none.
    """

    settings: ParticleSettings
    workflow: Workflow
    fingerprint: str
    source: str
    files: Mapping[str, Path]
    earlier: dict[str, Any] | None

    @property
    def source_name(self) -> str:
        """What particles are picked from, for messages."""
        if self.workflow == TOMOGRAM:
            return "the tomogram"
        and_tomogram = " and the tomogram" if self.settings.from_tomogram else ""
        return "-".join(self.workflow) + and_tomogram

    def known(self, directory: Path) -> dict[str, Any]:
        """Fields of `Particles` that the plan determines."""
        return {
            "mode": self.workflow[0],
            "method": self.workflow[1],
            "fingerprint": self.fingerprint,
            "source": self.source,
            "files": [os.path.relpath(path, directory) for path in self.files.values()],
            "settings": self.settings.model_dump(mode="json", exclude_none=True),
            "diameter": self.settings.ends[1],
        }

    def reused(self, subject: Subject) -> Particles:
        """The particles of the earlier picking, read from their CSV file."""
        assert self.earlier is not None
        known = self.earlier | self.known(subject.directory) | {"reused": True}
        return read_particles(self.files["csv"], subject, **known)


def plan_picking(
    config: S1Config,
    subject: Subject,
    files: TomogramFiles,
    fingerprints: Mapping[Workflow, str],
    overwrite: bool,
) -> list[PickingPlan]:
    """Plan what the configuration picks in one tomogram.

    Args:
        fingerprints: of the segmentations, by workflow.

    Raises:
        PicketError: the tomogram has no voxel size, the diameter cannot be meant for it, or a file
            that picking did not write would be replaced.
    """
    settings = config.particles
    if settings is None:
        return []
    check_size(str(subject.tomogram), settings, subject.shape, subject.voxel_size)
    return [
        plan_workflow(settings, workflow, subject, files, fingerprints, overwrite)
        for workflow in settings.chosen(config.workflows)
    ]


def plan_workflow(
    settings: ParticleSettings,
    workflow: Workflow,
    subject: Subject,
    files: TomogramFiles,
    fingerprints: Mapping[Workflow, str],
    overwrite: bool,
    voxel_size: tuple[float, float, float] | None = None,
    bare: bool = False,
) -> PickingPlan:
    """Plan what is picked in one tomogram from one workflow.

    Args:
        fingerprints: of the tomogram's segmentations, by workflow.
        overwrite: pick again, and replace files that picking did not write.
        voxel_size: angstrom, (z, y, x), if it overrides that of the segmentation.
        bare: labels stand for scores, which the segmentation lacks.

    Raises:
        PicketError: a file that picking did not write would be replaced.
    """
    facts = settings.model_dump(mode="json", exclude={"workflows"})
    facts |= {"version": version("picket-gpu"), "workflow": workflow, "name": subject.run_name}
    if voxel_size is not None:
        facts["voxel_size"] = voxel_size
    if bare:  # so that a run, whose segmentation has scores, picks again
        facts["bare"] = True
    source = "tomogram"
    if workflow == TOMOGRAM:  # what its voxels depend on, and a little more
        facts["segmentations"] = sorted(fingerprints.values())
    else:
        facts["segmentation"] = source = fingerprints[workflow]
    paths = files.particles(*workflow, settings.picking)
    earlier = find_earlier(
        paths, digest(facts), overwrite, "already exists and carries no picket_gpu settings"
    )
    return PickingPlan(settings, workflow, digest(facts), source, paths, earlier)


def find_earlier(
    files: Mapping[str, Path], fingerprint: str, overwrite: bool, fault: str
) -> dict[str, Any] | None:
    """Fields of `Particles` in files of an earlier picking with the same fingerprint.

    Args:
        fault: what is wrong with files that must not be replaced.

    Returns:
        None if a file is missing, or the particles are to be picked again.

    Raises:
        PicketError: picking did not write the files.
    """
    existing = [path for path in files.values() if path.exists()]
    found = read_metadata(files["yaml"])
    if existing and found is None and not overwrite:
        raise PicketError(
            f"{existing[0]}: {fault}; use --overwrite to replace it, or change dataset_name"
        )
    same = found is not None and found["fingerprint"] == fingerprint
    return found if same and len(existing) == len(files) and not overwrite else None


def pick(
    backend: Backend,
    subject: Subject,
    plan: PickingPlan,
    segmentation: Segmentation | None,
    tomogram: PreparedTomogram | None,
    memory_budget: int | None = None,
) -> Particles:
    """Pick in one tomogram, and write the files unless an earlier run has.

    Call inside ``backend.exclusive()``.

    Args:
        segmentation, tomogram: what to pick from; those that the plan does not need may be None.
        memory_budget: bytes; default: the device's.

    Returns:
        Particles with all candidates.
    """
    started = time.perf_counter()
    settings, size = plan.settings, subject.voxel_size
    memory = picking_budget(backend, subject, memory_budget)
    attributes: dict[str, Any] = {}
    blurred = to_label = None
    if settings.from_tomogram:
        assert tomogram is not None
        blurred, to_label = tomogram.prepared.volume.data, tomogram.to_label
    if plan.workflow == TOMOGRAM:
        if to_label is not None:
            to_label = np.broadcast_to(to_label, subject.shape)
        name = str(subject.tomogram)
        picks = pick_in_tomogram(name, blurred, to_label, settings, size, backend, memory)
    else:
        assert segmentation is not None
        path, side = segmentation.path, segmentation.neighborhood_size
        picks = pick_in_segmentation(path, side, settings, size, backend, memory, blurred, to_label)
        attributes = {} if is_of_another_program(path) else read_attributes(path)
    seconds = time.perf_counter() - started
    particles = Particles(
        **subject.fields,
        **plan.known(subject.directory),
        picks=picks,
        candidates=len(picks.candidates),
        reused=plan.earlier is not None,
        attributes={
            "dataset_name": subject.dataset_name,
            "tomogram_path": str(absolute(subject.tomogram)),
            "fex_mode": plan.workflow[0],
            "clustering_method": plan.workflow[1],
            **attributes,
            "voxel_size": size,
            "particle_cluster_id": None if plan.workflow == TOMOGRAM else picks.label,
            "pex_mode": PEX_MODES[settings.method],
            "pex_min_distance": (
                min_distance(settings, size) if settings.method == "watershed" else None
            ),
            "time_taken_for_s2": seconds,
            "timestamp_s2": datetime.now(UTC).isoformat(timespec="seconds"),
            "particles_settings": settings.model_dump_json(exclude_none=True),
        },
    )
    if plan.earlier is None:
        plan.files["csv"].parent.mkdir(parents=True, exist_ok=True)
        write_particles(plan.files, particles)
    return particles.model_copy(update={"seconds": time.perf_counter() - started})


def picking_budget(backend: Backend, subject: Subject, memory_budget: int | None) -> int:
    """Bytes for arrays on the device.

    Host memory holds four bytes of each voxel besides: its score, its label, and whether it has
    one. The blurred tomogram is where a run has it.
    """
    volume = FLOAT * prod(subject.shape)
    beside = 0 if backend.streams else volume
    if memory_budget is not None:
        return max(memory_budget - beside, 1)
    return max(backend.default_budget(volume, 2 * volume) - beside, LEAST_BUDGET)
