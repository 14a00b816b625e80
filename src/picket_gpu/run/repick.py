"""Picking from segmentations that exist, with other settings."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from picket_gpu.config.faults import first_fault
from picket_gpu.device.backend import Backend
from picket_gpu.errors import PicketError, one_line
from picket_gpu.files.filenames import CopickNames, TomogramFiles, candidate_files
from picket_gpu.files.segmentation import (
    Segmentation,
    Subject,
    Vector,
    has_scores,
    is_of_another_program,
)
from picket_gpu.particles.choices import chosen_files, read_choices
from picket_gpu.particles.files import read_metadata, read_with_candidates
from picket_gpu.particles.formats.npz import NPZ
from picket_gpu.particles.from_files import check_size
from picket_gpu.particles.particles import Particles
from picket_gpu.particles.settings import TOMOGRAM, ParticleSettings
from picket_gpu.particles.star_table import name_fault
from picket_gpu.run.existing import Directory
from picket_gpu.run.outputs import check_directory
from picket_gpu.run.picking import PickingPlan, Replace, pick, plan_workflow
from picket_gpu.run.task import prepare_existing


@dataclass(frozen=True)
class Repicking:
    """One picking from what exists.

    Attributes:
        found: the segmentation; for picking in the tomogram itself, one of its segmentations.
        subject: the tomogram, with the directory of the particles.
        plan: the picking.
        others: files of particles of the tomogram whose places are left alone.
    """

    found: Segmentation
    subject: Subject
    plan: PickingPlan
    others: list[Path]

    def pick(self, backend: Backend) -> Particles:
        """Pick, and write the files; if they exist already, read them. With all candidates."""
        if self.plan.earlier is not None:
            return self.plan.reused(self.subject)
        with backend.exclusive():
            tomogram = None
            if self.plan.needs_tomogram:
                try:
                    tomogram = prepare_existing(backend, self.found)
                except (PicketError, OSError) as error:
                    also = "or use --source score, which picks without the tomogram"
                    if self.plan.answers is not None:
                        also = "choices need it, because candidates found earlier do not fit them"
                    raise PicketError(f"{one_line(error)}; {also}") from None
            others = map(read_with_candidates, self.others)
            return pick(backend, self.subject, self.plan, self.found, tomogram, others=list(others))


def with_choices(paths: Iterable[Path], given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the picking that files of choices are about, with those that a user gives.

    The others are those of that picking in one of the directories, but for heights of its
    threshold, which are no probabilities; else diameter, name and workflow of the files.

    Args:
        given: settings by key; ``choices``, a list, is one of them.

    Raises:
        PicketError: a file of choices is missing or no such file, or two are about different
            particles.
    """
    names = map(str, given["choices"])  # of which one may be read as a number
    files = {path: read_choices(path) for path in chosen_files(names)}
    (first, chosen), *others = files.items()
    about = chosen.picking
    for path, other in others:
        if other.picking != about:
            raise PicketError(
                f"--choices: {path} is about other particles than {first}; give --diameter, and "
                "--workflow and --name if need be"
            )
    key = (about.mode, about.method)
    own: dict[str, Any] = (
        {"source": "tomogram"} if key == TOMOGRAM else {"workflows": ["-".join(key)]}
    )
    for path in paths:
        directory = path if path.is_dir() and path.suffix != ".zarr" else path.parent
        for tomogram in chosen.tomograms:
            kinds = TomogramFiles(directory, tomogram.index, []).particles(*key, about.name)
            found = read_metadata(kinds["yaml"])
            earlier: dict[str, Any] = {} if found is None else found["settings"]
            if earlier:
                learned = "choices" in earlier
                kept = {
                    name: value
                    for name, value in earlier.items()
                    if name in ParticleSettings.model_fields
                    and (learned or not _is_height(name, value))
                }
                if given.get("name", about.name) != about.name:
                    kept.setdefault("not_in", [])  # a second list does not leave the first alone
                return kept | own | dict(given)
    return {"diameter": about.diameter, "name": about.name} | own | dict(given)


def _is_height(key: str, value: Any) -> bool:
    """Whether a setting is a height, which with choices would be taken for a probability."""
    return key in ("threshold", "max_height") and not isinstance(value, str)


def plan_repicking(
    paths: Iterable[Path],
    settings: ParticleSettings,
    voxel_size: Vector | None = None,
    output_dir: Path | None = None,
    overwrite: bool = False,
) -> list[Repicking]:
    """Plan what is picked, after checking everything that needs no scores.

    Args:
        paths: output directories of S1, where `ParticleSettings.chosen` selects the workflows of
            each tomogram, and files of segmentations, which are all picked from.
        voxel_size: angstrom, (z, y, x), overriding the files.
        output_dir: directory of all results; default: that of each segmentation.
        overwrite: pick again, and replace files of other settings or programs.

    Raises:
        PicketError: a segmentation is unusable or has no voxel size, the diameter cannot be meant
            for it, or two results, or a file of another program, would be replaced.
    """
    if output_dir is not None:
        check_directory(output_dir, "--output-dir")
    replaced: Replace = "particles" if overwrite else "nothing"
    planned: list[Repicking] = []
    for path in paths:
        groups: dict[int, list[Segmentation]] = {}
        if not path.is_dir() or path.suffix == ".zarr":
            found = [Directory(path.parent).read(path, voxel_size)]
        else:
            found = Directory(path).segmentations(voxel_size)
        for one in found:
            if not one.is_scaled:
                raise PicketError(f"{one.path}: voxel size is unknown; give --voxel-size")
            groups.setdefault(one.index, []).append(one)
        for group in groups.values():
            own = _leaving_alone(settings, output_dir or group[0].directory)
            planned += _plan_group(path, group, own, voxel_size, output_dir, replaced)
    _check_names(planned)
    return planned


def _plan_group(
    path: Path,
    group: list[Segmentation],
    settings: ParticleSettings,
    voxel_size: Vector | None,
    output_dir: Path | None,
    replaced: Replace,
) -> list[Repicking]:
    """Pickings from the segmentations of one tomogram."""
    fingerprints = {one.workflow: one.fingerprint for one in group}
    by_workflow = {TOMOGRAM: group[0]} | {one.workflow: one for one in group}
    try:
        chosen = settings.chosen(list(fingerprints))
    except ValueError as error:
        raise PicketError(f"--workflow: {error} (in {path})") from None
    planned = []
    for workflow in chosen:
        found = by_workflow[workflow]
        foreign = is_of_another_program(found.path)
        settings = _settings_for_others(settings) if foreign else settings
        bare = settings.from_scores and not has_scores(found.path)
        if bare and not foreign:
            warning = (
                f"{found.path}: has no scores; using its labels, as scores of 0 and 1 "
                "(S1 with scores: true saves scores)"
            )
            found = found.model_copy(update={"warnings": (*found.warnings, warning)})
        if settings.from_tomogram and found.tomogram == found.path:
            raise PicketError(f"{found.path}: records no tomogram; use --source score")
        if (fault := name_fault(found.run_name)) is not None:
            raise PicketError(
                f"{found.path}: the name {found.run_name!r} has {fault}, which STAR files cannot "
                f"hold; {'rename the file' if foreign else 'set another name and run again'}"
            )
        check_size(str(found.path), settings, found.shape, found.voxel_size, "--diameter")
        files = _files(found, output_dir)
        subject = Subject(**found.fields | {"directory": files.directory})
        names = [name for name in settings.not_in or () if name != settings.name]
        others = [
            path for name in names for path in candidate_files(files.directory, found.index, name)
        ]
        plan = plan_workflow(
            settings, workflow, subject, files, fingerprints, replaced, voxel_size, bare
        )
        planned.append(Repicking(found, subject, plan, others))
    return planned


def _leaving_alone(settings: ParticleSettings, directory: Path) -> ParticleSettings:
    """The settings with the names of all particles whose places are left alone.

    Without ``not_in`` these are all that have a name, but for those that leave these alone.

    Raises:
        PicketError: a name of ``not_in`` is that of no particles.
    """
    for name in settings.not_in or ():
        if not candidate_files(directory, name=name):
            raise PicketError(f"--not-in: {name}: no particles have this name in {directory}")
    if settings.name is None or settings.not_in is not None:
        return settings
    names: set[str] = set()
    for path in candidate_files(directory, name="*"):
        other, left_alone = NPZ.read_names(path)
        if other is not None and settings.name not in (other, *left_alone):
            names.add(other)
    return settings.model_copy(update={"not_in": sorted(names) or None})


def _settings_for_others(settings: ParticleSettings) -> ParticleSettings:
    """Settings for a segmentation by another program, of which neither its tomogram nor another
    label is known, where the user has set neither."""
    known = {"source": "score", "label": 1}
    given = settings.model_dump(exclude_unset=True)
    try:
        return ParticleSettings.model_validate(known | given)
    except ValidationError as error:
        raise PicketError(f"--{first_fault(error, {'': ParticleSettings})}") from None


def _files(found: Segmentation, output_dir: Path | None) -> TomogramFiles:
    """Names of the files; a copick project gets the picks that belong to its segmentations."""
    if output_dir is not None:
        return TomogramFiles(output_dir, found.index, [])
    files = TomogramFiles(found.directory, found.index, [])
    names = [CopickNames.of(found.place_of(name)) for name in found.files]
    copick = next((one for one in names if one is not None), None)
    return files if copick is None else replace(files, kinds=["copick"], copick=copick)


def _check_names(planned: list[Repicking]) -> None:
    """Check that each result has files of its own."""
    taken: dict[Path, Path] = {}
    for one in planned:
        csv = one.plan.files["csv"].absolute()
        if csv in taken:
            raise PicketError(
                f"{one.found.path}: its particles and those of {taken[csv]} would both be "
                f"written to {csv.name}; pick from one at a time, each with its own "
                "--output-dir"
            )
        taken[csv] = one.found.path
