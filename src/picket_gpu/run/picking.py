"""Picking in one tomogram: what it is picked from, which files it goes to, and what exists."""

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from picket_gpu.config.s1 import S1Config
from picket_gpu.device.backend import MIB, Backend
from picket_gpu.errors import PicketError
from picket_gpu.files.filenames import TomogramFiles
from picket_gpu.files.location import absolute, expanded, file_signature, stem_of
from picket_gpu.files.masks import MOST, Mask, examine_mask, open_mask
from picket_gpu.files.segmentation import (
    Segmentation,
    Subject,
    is_of_another_program,
    read_attributes,
)
from picket_gpu.method.memory import FLOAT
from picket_gpu.method.workflows import PreparedTomogram
from picket_gpu.particles.by_labels import min_distance
from picket_gpu.particles.candidates import SPACING, Candidates
from picket_gpu.particles.choices import Answers, answers_in, chosen_files, read_choices
from picket_gpu.particles.files import (
    filled,
    put_aside,
    read_candidates,
    read_metadata,
    read_particles,
    read_with_candidates,
    write_particles,
)
from picket_gpu.particles.formats import FORMATS
from picket_gpu.particles.formats.npz import NPZ
from picket_gpu.particles.from_files import check_size, find_in_segmentation, find_in_tomogram
from picket_gpu.particles.particles import Particles
from picket_gpu.particles.points import points_in
from picket_gpu.particles.pool import Pool
from picket_gpu.particles.settings import TOMOGRAM, ParticleSettings, Workflow
from picket_gpu.run.fingerprint import digest

# What a run may replace: only what is outdated, particles of other settings too, or everything.
Replace: TypeAlias = Literal["nothing", "particles", "all"]
LEAST_BUDGET = 256 * MIB  # to pick in small tomograms, if the user sets no budget
# ``pex_mode`` in PickET's files; PickET has the last two.
PEX_MODES = {
    "ball": "score_maxima",
    "components": "connected_component_labeling",
    "watershed": "watershed_segmentation",
}


def replaced_by(overwrite: bool, overwrite_particles: bool) -> Replace:
    """What options say that may be replaced."""
    return "all" if overwrite else "particles" if overwrite_particles else "nothing"


@dataclass(frozen=True)
class PickingPlan:
    """What is picked in one tomogram from one workflow.

    Attributes:
        settings: settings for picking.
        workflow: feature mode and clustering method, or `TOMOGRAM`.
        fingerprint: digest of everything that the particles depend on.
        search: digest of everything that the candidates depend on.
        source: fingerprint of the segmentation; "tomogram" for the tomogram itself.
        files: by kind.
        earlier: fields of `Particles` of an earlier picking with the same settings; None if there
            is none.
        has_candidates: whether the candidates exist.
        answers: of a person, if the settings name files of them.
    """

    settings: ParticleSettings
    workflow: Workflow
    fingerprint: str
    search: str
    source: str
    files: Mapping[str, Path]
    earlier: dict[str, Any] | None
    has_candidates: bool
    answers: Answers | None = None

    @property
    def needs_tomogram(self) -> bool:
        """Whether candidates are to be found in the tomogram itself."""
        return self.earlier is None and not self.has_candidates and self.settings.from_tomogram

    @property
    def key(self) -> tuple[str, str, str | None]:
        """Workflow and name, as `Particles.key`."""
        return *self.workflow, self.settings.picking

    @property
    def source_name(self) -> str:
        """What particles are picked from, for messages."""
        if self.workflow == TOMOGRAM:
            return "the tomogram"
        and_tomogram = " and the tomogram" if self.settings.from_tomogram else ""
        return "-".join(self.workflow) + and_tomogram

    @property
    def pending(self) -> dict[str, Path]:
        """Files to write, by kind: all of them, or those that an earlier picking lacks."""
        if self.earlier is None:
            return dict(self.files)
        wanted = filled(self.files, self.earlier["count"])
        return {kind: path for kind, path in wanted.items() if not path.exists()}

    @property
    def recorded(self) -> dict[str, Any]:
        """The settings as files of particles have them: with what is in files of choices."""
        settings = self.settings.model_dump(mode="json", exclude_none=True)
        if self.answers is not None:
            settings["answers"] = {"count": self.answers.count, "digest": self.answers.digest}
        return settings

    def known(self, directory: Path, count: int) -> dict[str, Any]:
        """Fields of `Particles` that the plan, and the number of particles, determine."""
        return {
            "mode": self.workflow[0],
            "method": self.workflow[1],
            "picking": self.settings.picking,
            "fingerprint": self.fingerprint,
            "source": self.source,
            "files": [
                os.path.relpath(path, directory) for path in filled(self.files, count).values()
            ],
            "settings": self.recorded,
            "diameter": self.settings.ends[1],
        }

    def reused(self, subject: Subject) -> Particles:
        """The particles of the earlier picking, with all candidates where these are kept.

        Files that are missing, as of a format that is asked for now, are written.
        """
        assert self.earlier is not None
        known = self.known(subject.directory, self.earlier["count"]) | {"reused": True}
        if self.has_candidates:
            path = self.files["candidates"]
            stored = read_candidates(path)
            if stored.settings.get("binning") != known["settings"].get("binning"):
                relion4 = TomogramFiles(subject.directory, subject.index, []).particles(
                    *self.key, ["relion4"]
                )["relion4"]
                relion4.unlink(missing_ok=True)  # its voxels are of another size
            if stored.settings != known["settings"]:
                # The list of all tomograms is written by its settings.
                NPZ.write(path, [stored.model_copy(update=subject.fields | known)])
            particles = read_with_candidates(path)
            if particles.edited is not None:  # `update_lists` writes the files beside it
                known["files"] = particles.files
                return particles.model_copy(update=subject.fields | known)
            particles = particles.model_copy(update=subject.fields | known)
        else:
            known["files"].remove(os.path.relpath(self.files["candidates"], subject.directory))
            particles = read_particles(self.files["csv"], subject, **self.earlier | known)
        pending = {**self.pending}
        pending.pop("candidates", None)  # which earlier versions did not keep
        for kind, path in pending.items():
            FORMATS[kind].write(path, [particles])
        return particles


def plan_picking(
    config: S1Config,
    subject: Subject,
    files: TomogramFiles,
    fingerprints: Mapping[Workflow, str],
    replace: Replace,
) -> list[PickingPlan]:
    """Plan what the configuration picks in one tomogram.

    Args:
        fingerprints: of the segmentations, by workflow.

    Raises:
        PicketError: the tomogram has no voxel size, the diameter cannot be meant for it, or files
            of other settings or programs would be replaced.
    """
    plans: list[PickingPlan] = []
    for settings in config.pickings:
        check_size(str(subject.tomogram), settings, subject.shape, subject.voxel_size)
        plans += [
            plan_workflow(settings, workflow, subject, files, fingerprints, replace)
            for workflow in settings.chosen(config.workflows)
        ]
    return plans


def plan_workflow(
    settings: ParticleSettings,
    workflow: Workflow,
    subject: Subject,
    files: TomogramFiles,
    fingerprints: Mapping[Workflow, str],
    replace: Replace,
    voxel_size: tuple[float, float, float] | None = None,
    bare: bool = False,
) -> PickingPlan:
    """Plan what is picked in one tomogram from one workflow.

    Args:
        fingerprints: of the tomogram's segmentations, by workflow.
        replace: which files may be replaced.
        voxel_size: angstrom, (z, y, x), if it overrides that of the segmentation.
        bare: labels stand for scores, which the segmentation lacks.

    Raises:
        PicketError: files of other settings or programs would be replaced.
    """
    about: dict[str, Any] = {"version": version("picket-gpu"), "workflow": workflow}
    if voxel_size is not None:
        about["voxel_size"] = voxel_size
    if bare:  # so that a run, whose segmentation has scores, picks again
        about["bare"] = True
    source = "tomogram"
    if workflow == TOMOGRAM:  # what its voxels depend on, and a little more
        about["segmentations"] = sorted(fingerprints.values())
    else:
        about["segmentation"] = source = fingerprints[workflow]
    facts = settings.facts() | about | {"name": subject.run_name}
    if subject.centre is not None:
        facts["centre"] = subject.centre
    if lists := exclusion_files(settings, subject):
        facts["excluded"] = [file_signature(path, {}) for path in lists]
    if (mask := _mask_of(settings, subject)) is not None:
        open_mask(mask, subject.shape)
        facts["mask"] = mask.text, file_signature(mask.file, {})
    answers = _answers_of(settings, subject)
    if answers is not None:
        facts["answers"] = answers.digest
    fingerprint, search = digest(facts), digest(settings.search | about)
    paths = files.particles(*workflow, settings.picking, settings.formats or ())
    earlier = find_earlier(paths, fingerprint, settings, source, replace, answers)
    # Files of earlier versions have no descriptors, which answers need.
    kept = NPZ.read_fingerprint(paths["candidates"], described=answers is not None)
    has_candidates = replace != "all" and kept == search
    if kept is None and paths["candidates"].exists():  # damaged
        earlier = None
    return PickingPlan(
        *(settings, workflow, fingerprint, search, source, paths, earlier, has_candidates),
        answers=answers,
    )


def _answers_of(settings: ParticleSettings, subject: Subject) -> Answers | None:
    """The answers in the files of choices that settings name.

    Raises:
        PicketError: one is missing, or is no such file.
    """
    if not settings.choices:
        return None
    return answers_in([read_choices(path) for path in chosen_files(settings.choices)], subject)


def find_earlier(
    files: Mapping[str, Path],
    fingerprint: str,
    settings: ParticleSettings,
    source: str,
    replace: Replace,
    answers: Answers | None = None,
) -> dict[str, Any] | None:
    """Fields of `Particles` in files of an earlier picking with the same fingerprint.

    Returns:
        None if the CSV file, from which the others are written, is missing, or the particles are
        to be picked again.

    Raises:
        PicketError: picking did not write the files, or did with other settings from the same
            segmentation.
    """
    existing = [path for path in files.values() if path.exists()]
    found = read_metadata(files["yaml"])
    if replace != "nothing":
        return None
    if existing and found is None:
        raise PicketError(
            f"{existing[0]}: already exists and carries no picket_gpu settings; use --overwrite to "
            "replace it, or change dataset_name"
        )
    if found is None:
        return None
    if found["fingerprint"] == fingerprint:
        return found if files["csv"].exists() else None
    difference = settings.difference(found["settings"]) or _other_answers(
        found["settings"].get("answers"), answers
    )
    if difference is not None and found["source"] == source:
        raise PicketError(
            f"{files['csv']}: was picked with other settings ({difference}); give the new ones "
            "another name, or replace these: run with --overwrite-particles, pick with --overwrite"
        )
    return None


def _other_answers(before: Mapping[str, Any] | None, now: Answers | None) -> str | None:
    """What distinguishes answers from those of an earlier picking; None if they are the same."""
    if (before or {}).get("digest") == (None if now is None else now.digest):
        return None
    earlier = "none" if before is None else f"{before['count']} answers"
    return f"choices: {earlier} before, {'none' if now is None else f'{now.count} answers'} now"


def exclusion_files(settings: ParticleSettings, subject: Subject) -> list[Path]:
    """Files of points at which nothing is picked in a tomogram.

    Raises:
        PicketError: one is missing, or its path cannot be.
    """
    paths = []
    for name in settings.exclude or ():
        own = name.replace("{name}", subject.run_name).replace("{index}", str(subject.index))
        try:
            path = Path(expanded(own))
        except ValueError as error:
            raise PicketError(f"exclude: {own}: {error}") from None
        if not path.exists():
            raise PicketError(
                f"exclude: {path}: no such file, at whose points nothing is to be picked in "
                f"{subject.tomogram}; correct the path, or write a file without points"
            )
        paths.append(path)
    return paths


def _mask_of(settings: ParticleSettings, subject: Subject) -> Mask | None:
    """The mask in which nothing is picked in a tomogram."""
    mask = settings.exclude_mask
    return None if mask is None else mask.named(subject.run_name, stem_of(subject.tomogram))


def pick(
    backend: Backend,
    subject: Subject,
    plan: PickingPlan,
    segmentation: Segmentation | None,
    tomogram: PreparedTomogram | None,
    memory_budget: int | None = None,
    others: Sequence[Particles] = (),
) -> Particles:
    """Pick in one tomogram, and write the files unless an earlier run has.

    Call inside ``backend.exclusive()``.

    Args:
        segmentation, tomogram: what to pick from; those that the plan does not need may be None.
        memory_budget: bytes; default: the device's.
        others: particles of the tomogram whose places are left alone.

    Returns:
        Particles with all candidates.
    """
    started = time.perf_counter()
    settings, size = plan.settings, subject.voxel_size
    if plan.has_candidates:
        earlier = read_candidates(plan.files["candidates"])
        assert earlier.pool is not None
        candidates, attributes = earlier.pool.candidates, earlier.attributes
    else:
        memory = picking_budget(backend, subject, memory_budget)
        candidates = _find(backend, subject, plan, segmentation, tomogram, memory)
        path = None if segmentation is None else segmentation.path
        ours = path is not None and not is_of_another_program(path)
        attributes = read_attributes(path) if path is not None and ours else {}
    excluded = _excluded(candidates, settings, subject)
    claimed = claimed_by(candidates, others)
    pool = Pool.of(candidates, excluded, claimed, plan.search, plan.answers)
    picks = pool.choose(settings.model_dump())
    seconds = time.perf_counter() - started
    particles = Particles(
        **subject.fields,
        **plan.known(subject.directory, picks.count),
        picks=picks,
        pool=pool,
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
            "particles_settings": _one_word(plan.recorded),
        },
    )
    aside = None
    if plan.earlier is None:
        aside = put_aside(plan.files)
        plan.files["csv"].parent.mkdir(parents=True, exist_ok=True)
        write_particles(plan.files, particles)
    elif plan.pending:
        plan.reused(subject)
    return particles.model_copy(update={"seconds": time.perf_counter() - started, "aside": aside})


def _one_word(settings: Mapping[str, Any]) -> str:
    """JSON without spaces and single quotes, which YAML would break lines at, and double."""
    text = json.dumps(settings, separators=(",", ":"))
    return text.replace(" ", "\\u0020").replace("'", "\\u0027")


def _find(
    backend: Backend,
    subject: Subject,
    plan: PickingPlan,
    segmentation: Segmentation | None,
    tomogram: PreparedTomogram | None,
    memory: int,
) -> Candidates:
    settings, size = plan.settings, subject.voxel_size
    blurred = to_label = None
    if settings.from_tomogram:
        assert tomogram is not None
        blurred, to_label = tomogram.prepared.volume.data, tomogram.to_label
    if plan.workflow != TOMOGRAM:
        assert segmentation is not None
        path, side = segmentation.path, segmentation.neighborhood_size
        return find_in_segmentation(path, side, settings, size, backend, memory, blurred, to_label)
    if to_label is not None:
        to_label = np.broadcast_to(to_label, subject.shape)
    name = str(subject.tomogram)
    return find_in_tomogram(name, blurred, to_label, settings, size, backend, memory)


def _excluded(candidates: Candidates, settings: ParticleSettings, subject: Subject) -> np.ndarray:
    """Which candidates the settings leave out, (m,) bool."""
    gone = np.zeros(len(candidates.points), dtype=bool)
    lists = exclusion_files(settings, subject)
    if (where := _mask_of(settings, subject)) is not None:
        content = examine_mask(where, subject.shape, may_be_empty=True)
        mask = content.voxels
        if mask.mean() > MOST:
            why = content.warnings[0] if content.warnings else f"{where}: covers the volume"
            raise PicketError(f"exclude_mask: nothing is left to pick; {why}")
        voxels = np.rint(candidates.points).astype(np.int64)
        gone |= mask[tuple(voxels.clip(0, np.array(subject.shape) - 1).T)]
    for path in lists:
        points = points_in(path, subject)
        if settings.exclude_radius is not None:
            gone |= candidates.near(points, settings.exclude_radius)
        else:
            gone |= candidates.near(points, 0.0, SPACING)
    return gone


def claimed_by(candidates: Candidates, others: Iterable[Particles]) -> np.ndarray:
    """Which candidates are at the places of other particles of their tomogram, (m,) bool: nearer
    than two particles are picked."""
    claimed = np.zeros(len(candidates.points), dtype=bool)
    for other in others:
        claimed |= candidates.near(other.coordinates, SPACING / 2 * other.diameters, SPACING / 2)
    return claimed


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
