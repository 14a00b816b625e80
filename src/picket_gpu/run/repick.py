"""Picking from segmentations that are there, with other settings."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from picket_gpu.device.backend import Backend
from picket_gpu.errors import PicketError
from picket_gpu.files.filenames import TomogramFiles
from picket_gpu.files.read_segmentation import has_scores
from picket_gpu.files.tomogram import read_voxels
from picket_gpu.method.windows import fit_windows
from picket_gpu.method.workflows import PreparedTomogram
from picket_gpu.particles.from_files import check_size
from picket_gpu.particles.settings import TOMOGRAM, ParticleSettings
from picket_gpu.run.found import FoundSegmentation, find_segmentations
from picket_gpu.run.outputs import check_directory, files_of
from picket_gpu.run.picking import PickingPlan, pick_planned, plan_workflow
from picket_gpu.run.results import ParticleResult, picked_result
from picket_gpu.run.task import prepare_tomogram


@dataclass(frozen=True)
class Repicking:
    """One picking that is to be made.

    Attributes:
        found: the segmentation; of picking in the tomogram itself, one of those of the tomogram.
        plan: from what, and in which files it goes.
    """

    found: FoundSegmentation
    plan: PickingPlan

    def pick(self, backend: Backend) -> ParticleResult:
        """Pick, and write the files; nothing where they are there already."""
        found, plan = self.found, self.plan
        if plan.earlier is not None:
            return picked_result(found, plan, plan.earlier, 0.0)
        plan.files["csv"].parent.mkdir(parents=True, exist_ok=True)
        segmentation = tomogram = None
        with backend.exclusive():
            if plan.workflow == TOMOGRAM:
                tomogram = _prepared(found, backend)
            else:
                segmentation = found.path
            _, told, seconds = pick_planned(
                found.config, backend, found.entry, found.header, plan, segmentation, tomogram
            )
        return picked_result(found, plan, told, seconds)


def plan_repicking(
    paths: Iterable[Path],
    settings: ParticleSettings,
    voxel_size: tuple[float, float, float] | None = None,
    output_dir: Path | None = None,
    overwrite: bool = False,
) -> list[Repicking]:
    """What is to be picked, after checking all that can be without reading scores.

    Args:
        paths: output directories of S1, of each tomogram of which `ParticleSettings.chosen` tells
            the workflows, and files of segmentations, each of which is picked from.
        voxel_size: angstrom, (z, y, x), instead of what files say.
        output_dir: for all results; default beside the segmentations.
        overwrite: pick again what is there, and replace files that were not made by picking.

    Raises:
        PicketError: a segmentation is unusable or has no voxel size, the diameter cannot be meant,
            or two results, or a file of another program, would be replaced.
    """
    if output_dir is not None:
        check_directory(output_dir, "--output-dir")
    planned: list[Repicking] = []
    for path in paths:
        groups: dict[int, list[FoundSegmentation]] = {}
        for found in find_segmentations(path, voxel_size):
            if not min(found.header.voxel_size) > 0:
                raise PicketError(f"{found.path}: voxel size is unknown; give --voxel-size")
            config = found.config.model_copy(update={"particles": settings})
            found = replace(found, config=config)
            groups.setdefault(found.index, []).append(found)
        for group in groups.values():
            planned += _plan_group(path, group, settings, voxel_size, output_dir, overwrite)
    _check_names(planned)
    return planned


def _plan_group(
    path: Path,
    group: list[FoundSegmentation],
    settings: ParticleSettings,
    voxel_size: tuple[float, float, float] | None,
    output_dir: Path | None,
    overwrite: bool,
) -> list[Repicking]:
    """Pickings from the segmentations of one tomogram."""
    fingerprints = {found.workflow: found.fingerprint for found in group}
    by_workflow = {TOMOGRAM: group[0]} | {found.workflow: found for found in group}
    try:
        chosen = settings.chosen(list(fingerprints))
    except ValueError as error:
        raise PicketError(f"--workflow: {error} (in {path})") from None
    planned = []
    for workflow in chosen:
        found = by_workflow[workflow]
        bare = settings.from_scores and not has_scores(found.path)
        if bare:
            warning = (
                f"{found.path}: has no scores; using its labels, as scores of 0 and 1 "
                "(S1 with scores: true saves scores)"
            )
            found = replace(found, warnings=(*found.warnings, warning))
        if workflow == TOMOGRAM and found.entry.tomogram == found.path:
            raise PicketError(f"{found.path}: records no tomogram; use --source score")
        header = found.header
        check_size(str(found.path), settings, header.shape, header.voxel_size, "--diameter")
        plan = plan_workflow(
            settings,
            workflow,
            found.entry.run_name,
            _files(found, output_dir),
            fingerprints,  # type: ignore[arg-type]
            overwrite,
            voxel_size,
            bare,
        )
        planned.append(Repicking(found, plan))
    return planned


def _files(found: FoundSegmentation, output_dir: Path | None) -> TomogramFiles:
    """Names as those of the run; in another directory without those of a copick project."""
    directory = found.path.parent
    if output_dir is not None or "copick" not in found.config.save:
        return TomogramFiles(output_dir or directory, found.index, [])
    config = found.config.model_copy(update={"particles": None})  # whose workflows it may lack
    files = files_of(config, found.index, found.entry, found.header)
    copick = files.copick
    if copick is not None and found.config.copick.directory is None:
        copick = replace(copick, project=directory / "copick")
    return replace(files, directory=directory, copick=copick)


def _check_names(planned: list[Repicking]) -> None:
    """Whether all results go to files of their own."""
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


def _prepared(found: FoundSegmentation, backend: Backend) -> PreparedTomogram:
    """The tomogram, blurred as for its segmentations."""
    config, entry, path = found.config, found.entry, found.header.path
    voxels = read_voxels(path, entry.selector)
    if voxels.shape != found.header.shape:
        raise PicketError(
            f"{path}: has {voxels.shape} voxels (z, y, x), but {found.path} has "
            f"{found.header.shape}; restore the tomogram, or run S1 again"
        )
    windows = fit_windows(
        found.header.shape,
        config.neighborhood_size,
        entry.lower_z_slice_limit,
        entry.upper_z_slice_limit,
        config.max_num_neighborhoods_for_fitting,
        config.seed,
        name=str(path),
    )
    return prepare_tomogram(config, backend, entry, path, voxels, windows)[0]


def describe(
    files: Mapping[str, Path], count: int, threshold: float, candidates: int, earlier: bool
) -> str:
    """A line on what was picked."""
    first, *others = files.values()
    kinds = f" ({', '.join(path.suffix for path in others)})" if others else ""
    return (
        f"{first}{kinds}: {count} particle{'s' * (count != 1)} from {candidates} candidates, "
        f"threshold {threshold:.3f}{', picked earlier' if earlier else ''}"
    )
