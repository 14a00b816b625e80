"""What a run would do, known before it does anything."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from picket_gpu.config.inputs import TomogramInput
from picket_gpu.config.s1 import S1Config
from picket_gpu.device.backend import Backend
from picket_gpu.device.operations import Shape
from picket_gpu.errors import Failure, NothingDoneError, PicketError
from picket_gpu.files.filenames import TomogramFiles
from picket_gpu.files.provenance import Provenance
from picket_gpu.files.tomogram import TomogramHeader, open_mask, read_header
from picket_gpu.method.clustering import Method
from picket_gpu.method.feature_mode import FeatureMode
from picket_gpu.method.memory import MemoryPlan, plan_memory
from picket_gpu.method.windows import WindowSet, fit_windows
from picket_gpu.report.collect import report_bytes
from picket_gpu.run.fingerprints import fingerprints
from picket_gpu.run.outputs import check_outputs, files_of
from picket_gpu.run.picking import PickingPlan, plan_picking
from picket_gpu.run.regions import check_labelled_slices
from picket_gpu.run.resume import find_existing
from picket_gpu.run.sources import Earlier, Source, check_sources, read_earlier

MASK_BYTES, CHOSEN_BYTES = 1, 5  # of a voxel: a mask, and one with the numbers of its windows


@dataclass(frozen=True)
class TomogramPlan:
    """What is known of one tomogram's part of a run before it starts.

    Attributes:
        index: the tomogram's place in ``inputs``, from 0.
        total: how many tomograms ``inputs`` has.
        entry: what it says of this one.
        header: its geometry.
        windows: those used for fitting, where no mask says otherwise.
        files: of its workflows.
        fingerprints: of the segmentations that the run wants, by feature mode and method.
        pending: feature modes to run.
        reused: of modes whose files are there, made with the same settings from the same file, the
            provenance of their segmentations.
        changed: which of ``pending`` replace files made otherwise.
        overwrite: whether files that S1 did not make are replaced too.
        picking: what is to be picked.
        warnings: what is odd about its files, a line each.
    """

    index: int
    total: int
    entry: TomogramInput
    header: TomogramHeader
    windows: WindowSet
    files: TomogramFiles
    fingerprints: dict[tuple[str, Method], str]
    pending: list[FeatureMode]
    reused: dict[tuple[str, Method], Provenance]
    changed: list[str]
    overwrite: bool
    picking: list[PickingPlan]
    warnings: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Its number among all tomograms, for people."""
        return f"[tomogram {self.index}, {self.index + 1} of {self.total}]"


@dataclass(frozen=True)
class RunPlan:
    """What a run would do.

    Attributes:
        total: number of tomograms in the configuration.
        chosen: indices of those that the run is for; None for all.
        tomograms: those that can be read.
        failures: those that cannot.
    """

    total: int
    chosen: list[int] | None
    tomograms: list[TomogramPlan]
    failures: list[Failure]

    @property
    def directories(self) -> set[Path]:
        """Of the outputs."""
        return {directory for plan in self.tomograms for directory in plan.files.directories}

    @property
    def tasks(self) -> int:
        """Tomograms times feature modes to run."""
        return sum(len(plan.pending) for plan in self.tomograms)


def plan_run(
    config: S1Config,
    backend: Backend | None,
    overwrite: bool,
    tomograms: Iterable[int] | None = None,
) -> RunPlan:
    """Check everything that can be checked without reading every voxel.

    Args:
        backend: whose memory is to suffice; None where workers elsewhere must see for themselves.
        overwrite: run everything again.
        tomograms: indices of those to run, from 0; all unless told.

    Raises:
        PicketError: a tomogram is not in the configuration, limits or the memory budget do not fit
            one, a file that S1 did not make would be overwritten, or no tomogram can be read.
    """
    check_outputs(config)
    total = len(config.inputs)
    chosen = None if tomograms is None else sorted(set(tomograms))
    earlier = read_earlier(config.directory)
    plans, failures = [], []
    for index in _indices(total, chosen):
        entry = config.inputs[index]
        try:
            header = read_header(entry.tomogram, entry.selector)
            warnings = (*header.warnings, *_mask_warnings(entry, header.shape))
        except (PicketError, OSError) as error:
            failures.append(Failure(index, entry.tomogram, None, error))
            continue
        try:
            plan = _plan_tomogram(config, backend, index, header, overwrite)
            plan = plan if overwrite else _without_done(config, plan, earlier)
            plans.append(replace(plan, warnings=warnings))
        except OSError as error:
            failures.append(Failure(index, entry.tomogram, None, error))
    if not plans:
        raise NothingDoneError(failures)
    return RunPlan(total, chosen, plans, failures)


def _mask_warnings(entry: TomogramInput, shape: Shape) -> list[str]:
    """What is odd about the masks of a tomogram, after checking that they fit it.

    Raises:
        PicketError: one cannot be read, or has another shape.
        OSError: as it says.
    """
    masks = dict.fromkeys(mask for mask in (entry.fitting_mask, entry.output_mask) if mask)
    return [
        f"{mask}: {warning}"
        for mask in masks
        for warning in open_mask(mask, shape, entry.storage_options).warnings
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


def _plan_tomogram(
    config: S1Config, backend: Backend | None, index: int, header: TomogramHeader, overwrite: bool
) -> TomogramPlan:
    """The plan for one tomogram.

    Raises:
        PicketError: limits or the memory budget do not fit, or a file would be overwritten.
    """
    entry = config.inputs[index]
    windows = fit_windows(
        header.shape,
        config.neighborhood_size,
        entry.lower_z_slice_limit,
        entry.upper_z_slice_limit,
        config.max_num_neighborhoods_for_fitting,
        config.seed,
        name=str(entry.tomogram),
    )
    check_labelled_slices(entry, header.shape[0], config.neighborhood_size)
    if backend:
        memory_for(config, backend, entry, windows)
    files = files_of(config, index, entry, header)
    wanted = fingerprints(config, entry)
    return TomogramPlan(
        index=index,
        total=len(config.inputs),
        entry=entry,
        header=header,
        windows=windows,
        files=files,
        fingerprints=wanted,
        pending=list(config.feature_extraction_params),
        reused={},
        changed=[],
        overwrite=overwrite,
        picking=plan_picking(config, entry, header, files, wanted, overwrite),
    )


def _without_done(config: S1Config, plan: TomogramPlan, earlier: Earlier) -> TomogramPlan:
    """The plan less what earlier runs have made as this one would.

    Raises:
        PicketError: a file is there that S1 did not make, or of another tomogram.
    """
    where = plan.entry.tomogram
    source = Source(where, str(where), config.dataset_name)
    check_sources(plan.files, plan.fingerprints, source, earlier)
    pending: list[FeatureMode] = []
    reused: dict[tuple[str, Method], Provenance] = {}
    changed: list[str] = []
    for mode in plan.pending:
        wanted = {key: told for key, told in plan.fingerprints.items() if key[0] == mode.mode}
        existing = find_existing(plan.files, wanted)
        if existing.reusable.keys() == wanted.keys():
            reused |= existing.reusable
            continue
        if existing.otherwise:
            changed.append(mode.mode)
        pending.append(mode)
    return replace(plan, pending=pending, reused=reused, changed=changed)


def memory_for(
    config: S1Config,
    backend: Backend,
    entry: TomogramInput,
    windows: WindowSet,
    excludes: bool = False,
) -> MemoryPlan:
    """How a backend spends the memory budget on a tomogram.

    Args:
        excludes: whether some of its voxels are neither fitted nor labelled.

    Raises:
        PicketError: it is too small.
    """
    scored = Counter(mode for mode, _ in config.scored)
    labels = len(config.clustering_methods) + 2 * max(scored.values(), default=0)
    if not backend.streams:  # masks are in host memory
        excludes = excludes or entry.outside_is_padding
        labels += MASK_BYTES * (bool(entry.output_mask) or excludes)
        labels += CHOSEN_BYTES * (bool(entry.fitting_mask) or excludes)
    # Counted without a report too: what a run takes is told as one figure.
    page = report_bytes(windows.volume_shape, backend.workers)
    budget, sigma = config.memory_budget, config.blur_sigma
    return plan_memory(backend, windows, labels, budget, sigma, beside_labels=page)
