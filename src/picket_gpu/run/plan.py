"""What a run would do, known before it does anything."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from picket_gpu.config.inputs import TomogramInput
from picket_gpu.config.s1 import S1Config
from picket_gpu.device.backend import Backend
from picket_gpu.errors import Failure, NothingDoneError, PicketError
from picket_gpu.files.filenames import INDEX, TomogramFiles, page_name
from picket_gpu.files.location import Location
from picket_gpu.files.masks import Mask, MaskContent, examine_mask, read_mask
from picket_gpu.files.segmentation import Segmentation, Subject, read_own_attributes
from picket_gpu.files.tomogram import TomogramHeader, read_header
from picket_gpu.method.feature_mode import FeatureMode
from picket_gpu.method.recipe import Recipe
from picket_gpu.method.windows import fit_windows
from picket_gpu.particles.settings import TOMOGRAM, Workflow
from picket_gpu.report.collect import report_bytes
from picket_gpu.report.write import page_is_of
from picket_gpu.run.existing import Directory, subject_of
from picket_gpu.run.fingerprint import Identity, Read, comparison, find_existing
from picket_gpu.run.outputs import check_outputs, files_of
from picket_gpu.run.picking import PickingPlan, Replace, plan_picking
from picket_gpu.run.record import Records

# Voxels from the middle of a file to that of the unbinned tomogram: half of what binning rounds,
# which is up to two voxels where the number is made even.
ROUNDED = 1.0


@dataclass(frozen=True)
class TomogramPlan:
    """What is known of one tomogram's part of a run before it starts.

    Attributes:
        index: index of the tomogram in ``inputs``, from 0.
        total: number of tomograms in ``inputs``.
        entry: its entry of ``inputs``.
        header: its geometry.
        subject: the tomogram with its settings.
        files: names of its files.
        identity: what its segmentations depend on.
        pending: feature modes to run.
        reused: segmentations that exist, made with the same settings from the same file.
        changed: feature modes among ``pending`` that replace files made otherwise.
        overwrite: whether to replace files that picket_gpu did not write.
        picking: pickings, those that exist included.
        lacks_page: whether its page is wanted, and missing or of other segmentations.
        links: names of the pages next to its page.
    """

    index: int
    total: int
    entry: TomogramInput
    header: TomogramHeader
    subject: Subject
    files: TomogramFiles
    identity: Identity
    pending: list[FeatureMode]
    reused: list[Segmentation]
    changed: list[str]
    overwrite: bool
    picking: list[PickingPlan]
    lacks_page: bool = False
    links: Mapping[str, str] | None = None

    @property
    def fingerprints(self) -> Mapping[Workflow, str]:
        """Of the wanted segmentations, by workflow."""
        return self.identity.fingerprints

    @property
    def place(self) -> str:
        """Its number among all tomograms, for people."""
        return f"[tomogram {self.index}, {self.index + 1} of {self.total}]"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is odd about its files, a line each."""
        return self.subject.warnings

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        picked = all(picking.earlier is not None for picking in self.picking)
        return not self.pending and picked and not self.lacks_page

    @property
    def steps(self) -> int:
        """Number of steps: each feature mode to run, and one for all else."""
        return 0 if self.is_done else len(self.pending) + 1


@dataclass(frozen=True)
class RunPlan:
    """What a run would do.

    Attributes:
        total: number of tomograms in the configuration.
        chosen: indices of those that the run is for; None for all.
        tomograms: those that can be read.
        failures: those that cannot.
        records: what those of earlier runs say.
    """

    total: int
    chosen: list[int] | None
    tomograms: list[TomogramPlan]
    failures: list[Failure]
    records: Records

    @property
    def directories(self) -> set[Path]:
        """Directories of the outputs."""
        return {directory for plan in self.tomograms for directory in plan.files.directories}

    @property
    def steps(self) -> int:
        """Number of steps of all tomograms."""
        return sum(plan.steps for plan in self.tomograms)

    @property
    def count(self) -> int:
        """Number of tomograms that the run is for, those that cannot be read included."""
        return len(self.tomograms) + len(self.failures)


def plan_run(
    config: S1Config,
    backend: Backend | None,
    replaced: Replace = "nothing",
    tomograms: Iterable[int] | None = None,
) -> RunPlan:
    """Check everything that can be checked without reading every voxel.

    Args:
        backend: device whose memory must suffice; None if workers elsewhere check theirs.
        replaced: what may be replaced; "all" runs everything again.
        tomograms: indices of those to run, from 0; default: all.

    Raises:
        PicketError: a tomogram is not in the configuration, limits or the memory budget do not fit
            one, a file that picket_gpu did not write would be replaced, or no tomogram can be read.
    """
    check_outputs(config)
    total = len(config.inputs)
    chosen = None if tomograms is None else sorted(set(tomograms))
    directory = Directory(config.directory)
    plans, failures = [], []
    uses = _uses_of_masks(config)
    for index in _indices(total, chosen):
        entry = config.inputs[index]
        try:
            if entry.listed.fault is not None:
                raise PicketError(entry.listed.fault)
            header = read_header(entry.tomogram, entry.selector)
            masks = _masks(entry, header)
        except (PicketError, OSError) as error:
            failures.append(Failure(index, entry.tomogram, None, error))
            continue
        odd = [*entry.listed.warnings, *header.warnings, *_centre_warnings(entry, header)]
        odd += [line for mask in masks.values() for line in mask.warnings]
        odd += _shared_masks(entry, uses)
        subject = subject_of(config, entry, index, header, odd)
        recipe = recipe_of(subject, config, entry.storage_options, backend)
        recipe.check_labelled_slices()
        try:
            used = entry.fitting_mask, entry.output_mask
            recipe.check_masks(*(_voxels(masks, mask) for mask in used))
            digests = {mask: content.digest for mask, content in masks.items()}
            del masks
        except PicketError as error:
            failures.append(Failure(index, entry.tomogram, None, error))
            continue
        try:
            if backend:
                recipe.memory(backend)
            identity = Identity.of(config, entry, header, digests)
            plans.append(_plan_tomogram(config, header, subject, identity, replaced, directory))
        except OSError as error:
            failures.append(Failure(index, entry.tomogram, None, error))
    if not plans:
        raise NothingDoneError(failures)
    if config.report:
        failed = {failure.index for failure in failures}
        pages = [index for index in range(total) if index not in failed]
        plans = [replace(plan, links=links_of(plan.index, pages, total == 1)) for plan in plans]
    return RunPlan(total, chosen, plans, failures, directory.records)


def _centre_warnings(entry: TomogramInput, header: TomogramHeader) -> list[str]:
    """What is odd about the centre that coordinates in STAR files count from."""
    middle = [n / 2 for n in header.shape]
    if entry.centre is None or all(
        abs(one - half) <= ROUNDED for one, half in zip(entry.centre, middle, strict=True)
    ):
        return []
    centre = " ".join(f"{one:g}" for one in entry.centre)
    return [
        f"{entry.tomogram}: coordinates in STAR files count from voxel {centre} (z y x), which is "
        "not the middle of the file; check that it is the tomogram of the list, or set centre"
    ]


def _masks(entry: TomogramInput, header: TomogramHeader) -> dict[Mask, MaskContent]:
    """The masks of a tomogram. All are read, so that a run does not start with one that it refuses.

    Raises:
        PicketError: one cannot be used.
    """
    return {
        mask: examine_mask(mask, header.shape, entry.storage_options) for mask in entry.own_masks
    }


def _voxels(masks: Mapping[Mask, MaskContent], mask: Mask | None) -> np.ndarray | None:
    return None if mask is None else masks[mask].voxels


def _uses_of_masks(config: S1Config) -> dict[Mask, set[Location]]:
    """The tomograms that each mask is for."""
    uses: dict[Mask, set[Location]] = {}
    for entry in config.inputs:
        for mask in entry.own_masks:
            uses.setdefault(mask, set()).add(entry.tomogram)
    return uses


def _shared_masks(entry: TomogramInput, uses: Mapping[Mask, set[Location]]) -> list[str]:
    """That a mask is not of this tomogram alone, which is rarely meant."""
    return [
        f"{mask}: is the mask of {len(uses[mask])} tomograms; if each has its own, write {{name}} "
        "in the path, as in masks/{name}.mrc"
        for mask in entry.own_masks
        if len(uses[mask]) > 1
    ]


def _indices(total: int, chosen: list[int] | None) -> list[int]:
    if chosen is None:
        return list(range(total))
    if not chosen:
        raise PicketError("tomograms: must name at least one tomogram")
    for index in (chosen[0], chosen[-1]):
        if not 0 <= index < total:
            raise PicketError(
                f"tomograms: {index} is out of range; inputs are numbered 0 to {total - 1}"
            )
    return chosen


def links_of(index: int, pages: Sequence[int], alone: bool) -> dict[str, str]:
    """Names of the index, and of the pages before and after that of a tomogram.

    Args:
        pages: indices of the tomograms that have pages, ascending.
        alone: whether there is no other tomogram, and so no index.
    """
    if alone:
        return {}
    place = bisect_left(pages, index)
    links = {"index": INDEX}
    if place > 0:
        links["previous"] = page_name(pages[place - 1], alone=False)
    if place + 1 < len(pages):
        links["next"] = page_name(pages[place + 1], alone=False)
    return links


def _plan_tomogram(
    config: S1Config,
    header: TomogramHeader,
    subject: Subject,
    identity: Identity,
    replaced: Replace,
    directory: Directory,
) -> TomogramPlan:
    """The plan for one tomogram.

    Raises:
        PicketError: a file would be replaced.
        OSError: there is no permission to read one.
    """
    entry, files = config.inputs[subject.index], files_of(config, subject)
    is_copy, read = comparison(entry), cache(read_own_attributes)
    if replaced != "all":
        identity = identity.adopting(files, is_copy, directory.records.adopted, read)
        directory.check_replaceable(files, identity.fingerprints, subject, is_copy, read)
    plan = TomogramPlan(
        index=subject.index,
        total=len(config.inputs),
        entry=entry,
        header=header,
        subject=subject,
        files=files,
        identity=identity,
        pending=list(config.feature_extraction_params),
        reused=[],
        changed=[],
        overwrite=replaced == "all",
        picking=plan_picking(config, subject, files, identity.fingerprints, replaced),
        lacks_page=config.report,
    )
    return plan if replaced == "all" else without_done(config, plan, read)


def without_done(
    config: S1Config, plan: TomogramPlan, read: Read = read_own_attributes
) -> TomogramPlan:
    """The plan without what exists as the run would make it.

    Args:
        read: function that reads attributes of a file.

    Raises:
        PicketError: a file exists that picket_gpu did not write.
    """
    pending: list[FeatureMode] = []
    reused: list[Segmentation] = list(plan.reused)
    changed: list[str] = list(plan.changed)
    outdated: set[Workflow] = set()
    for mode in plan.pending:
        wanted = {key: made for key, made in plan.fingerprints.items() if key[0] == mode.mode}
        existing = find_existing(plan.files, wanted, read)
        outdated |= existing.outdated
        if existing.reusable.keys() == wanted.keys():
            reused += [
                segmentation_of(plan, mode, workflow[1], attributes)
                for workflow, attributes in existing.reusable.items()
            ]
            continue
        if existing.otherwise:
            changed.append(mode.mode)
        pending.append(mode)
    lacks_page = config.report and not page_is_of(
        config.directory, plan.index, plan.total == 1, set(plan.fingerprints.values())
    )
    picking = [
        replace(one, earlier=None, has_candidates=False)
        if one.workflow in outdated or (outdated and one.workflow == TOMOGRAM)
        else one
        for one in plan.picking
    ]
    return replace(
        plan,
        pending=pending,
        reused=reused,
        changed=changed,
        picking=picking,
        lacks_page=lacks_page,
    )


def segmentation_of(
    plan: TomogramPlan, mode: FeatureMode, method: str, attributes: Mapping[str, Any]
) -> Segmentation:
    """A segmentation of the plan that exists already.

    Args:
        attributes: what one of its files says.
    """
    known = plan.subject.fields | {
        "mode": mode.mode,
        "method": method,
        "features": mode.model_dump(exclude={"mode"}),
        "files": plan.files.names(mode.mode, method),
        "scored": (mode.mode, method) in plan.files.scored,
        "reused": True,
    }
    return Segmentation.from_attributes(attributes, **known)


def recipe_of(
    subject: Subject,
    config: S1Config | None = None,
    storage_options: Mapping[str, Any] | None = None,
    backend: Backend | None = None,
) -> Recipe:
    """How a tomogram is prepared.

    Args:
        config: has the budget, and the workflows whose labels take memory; default: one workflow.
        storage_options: of masks at URLs.
        backend: whose threads count for the memory of a report.

    Raises:
        PicketError: z-slice limits are outside the volume, or no neighborhood fits.
    """
    windows = fit_windows(
        subject.shape,
        subject.neighborhood_size,
        subject.lower_z_slice_limit,
        subject.upper_z_slice_limit,
        subject.max_num_neighborhoods_for_fitting,
        subject.seed,
        name=str(subject.tomogram),
    )
    masks = [
        None if mask is None else partial(read_mask, mask, subject.shape, storage_options)
        for mask in (subject.mask_for_fitting, subject.mask_for_output)
    ]
    label_bytes = 1
    if config is not None:
        scored = Counter(mode for mode, _ in config.scored)
        label_bytes = len(config.clustering_methods) + 2 * max(scored.values(), default=0)
    return Recipe(
        windows=windows,
        sigma=subject.blur_sigma,
        padding=subject.padding,
        beads=subject.beads,
        clip=subject.clip,
        fitting_mask=masks[0],
        output_mask=masks[1],
        labelled_slices=(
            subject.prediction_lower_z_slice_limit,
            subject.prediction_upper_z_slice_limit,
        ),
        outside_is_padding=subject.outside_is_padding,
        label_bytes=label_bytes,
        # Counted without a report too: the memory of a run is documented as one number.
        beside_labels=report_bytes(subject.shape, backend.workers if backend else 1),
        budget=None if config is None else config.memory_budget,
        name=str(subject.tomogram),
        output_mask_name=str(subject.mask_for_output),
    )
