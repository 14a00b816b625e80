"""What a run would do, known before it does anything."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from picket_gpu.backend import Backend
from picket_gpu.clustering import Method
from picket_gpu.config import RUN_NAME, S1Config
from picket_gpu.earlier import find_earlier
from picket_gpu.errors import Failure, NothingDoneError, PicketError
from picket_gpu.features import FeatureMode
from picket_gpu.filenames import SCORES, CopickNames, TomogramFiles
from picket_gpu.memory import MemoryPlan, check_library, plan_memory
from picket_gpu.neighborhoods import WindowSet, fit_windows
from picket_gpu.regions import check_prediction
from picket_gpu.stamp import Stamp, fingerprints
from picket_gpu.tomogram import TomogramHeader, open_mask, read_header

ISOTROPIC = 0.01  # relative difference of voxel sizes
MASK_BYTES, CHOSEN_BYTES = 1, 5  # of a voxel: a mask, and one with the numbers of its windows


@dataclass(frozen=True)
class TomogramPlan:
    """What is known of one tomogram's part of a run before it starts.

    Attributes:
        index: the tomogram's place in ``inputs``, from 0.
        header: its geometry.
        windows: those used for fitting, where no mask says otherwise.
        files: of its workflows.
        fingerprints: of the segmentations that the run wants, by feature mode and method.
        pending: feature modes to run.
        earlier: of modes whose files are there, made with the same settings from the same file, the
            stamps of their segmentations.
        changed: which of ``pending`` replace files made otherwise.
        overwrite: whether files that S1 did not make are replaced too.
    """

    index: int
    header: TomogramHeader
    windows: WindowSet
    files: TomogramFiles
    fingerprints: dict[tuple[str, Method], str]
    pending: list[FeatureMode]
    earlier: dict[tuple[str, Method], Stamp]
    changed: list[str]
    overwrite: bool


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
    def units(self) -> int:
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
    _check_directory(config.directory)
    _check_packages(config)
    total = len(config.inputs)
    chosen = None if tomograms is None else sorted(set(tomograms))
    plans, failures = [], []
    for index in _indices(total, chosen):
        entry = config.inputs[index]
        try:
            header = read_header(entry.tomogram, entry.choice)
            for mask in (entry.fitting_mask, entry.output_mask):
                if mask is not None:
                    open_mask(mask, header.shape, entry.storage_options)
        except (PicketError, OSError) as error:
            failures.append(Failure(index, entry.tomogram, None, error))
            continue
        try:
            plans.append(_plan_tomogram(config, backend, index, header, overwrite))
        except OSError as error:
            failures.append(Failure(index, entry.tomogram, None, error))
    if not plans:
        raise NothingDoneError(failures)
    return RunPlan(total, chosen, plans, failures)


def _indices(total: int, chosen: list[int] | None) -> list[int]:
    if chosen is None:
        return list(range(total))
    if not chosen:
        raise PicketError("tomograms: must not be empty")
    for index in (chosen[0], chosen[-1]):
        if not 0 <= index < total:
            raise PicketError(f"tomograms: no {index}, inputs are numbered 0 to {total - 1}")
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
    check_prediction(entry, header.shape[0], config.neighborhood_size)
    if backend:
        memory_for(config, backend, index, windows)
    files = _files(config, index, header)
    source = (config.dataset_name, str(entry.tomogram))
    prints = fingerprints(config, index)
    pending: list[FeatureMode] = []
    earlier: dict[tuple[str, Method], Stamp] = {}
    changed: list[str] = []
    for mode in config.feature_extraction_params:
        if not overwrite:
            wanted = {key: told for key, told in prints.items() if key[0] == mode.mode}
            found = find_earlier(files, wanted, source)
            if found.stamps.keys() == wanted.keys():
                earlier |= found.stamps
                continue
            if found.otherwise:
                changed.append(mode.mode)
        pending.append(mode)
    return TomogramPlan(index, header, windows, files, prints, pending, earlier, changed, overwrite)


def _files(config: S1Config, index: int, header: TomogramHeader) -> TomogramFiles:
    """Which files the tomogram's workflows have.

    Raises:
        PicketError: copick cannot name them.
    """
    kinds: list[str] = list(config.save)
    if config.scores:
        kinds += [score for kind, score in SCORES.items() if kind in kinds]
    entry, sizes = config.inputs[index], header.voxel_size
    isotropic = min(sizes) > 0 and max(sizes) - min(sizes) <= ISOTROPIC * max(sizes)
    if "copick" in kinds and not isotropic:
        raise PicketError(
            f"{entry.tomogram}: copick needs one voxel size of all axes (got {sizes}, z y x); set "
            f"voxel_size"
        )
    copick = None
    if isotropic and RUN_NAME.fullmatch(entry.run_name):
        names = config.copick
        copick = CopickNames(
            project=names.directory or config.directory / "copick",
            run=entry.run_name,
            voxel_size=sizes[2],
            user=names.user,
            session=names.session,
            object=names.object,
        )
    return TomogramFiles(config.directory, index, kinds, copick)


def memory_for(config: S1Config, backend: Backend, index: int, windows: WindowSet) -> MemoryPlan:
    """How a backend spends the memory budget on a tomogram.

    Raises:
        PicketError: it is too small.
    """
    labels = len(config.clustering_methods) * (3 if config.scores else 1)
    if not backend.streams:  # masks are in host memory
        entry = config.inputs[index]
        labels += MASK_BYTES * bool(entry.output_mask) + CHOSEN_BYTES * bool(entry.fitting_mask)
    memory = plan_memory(backend, windows, labels, config.memory_budget, config.blur_sigma)
    if config.kmeans_engine == "cuml":
        check_library(backend, windows, labels, memory, config.feature_extraction_params)
    return memory


def _check_packages(config: S1Config) -> None:
    """Whether what the outputs need is installed."""
    for kind in ("zarr", "copick"):
        # Version 2 has other functions.
        if kind in config.save and not (find_spec("zarr") and int(version("zarr")[0]) >= 3):
            raise PicketError(f"save: {kind} needs Zarr 3; install picket-gpu[zarr]")


def _check_directory(directory: Path) -> None:
    """Whether files can be written to ``directory``, which need not exist yet."""
    try:
        there = next(path for path in (directory, *directory.parents) if _is_there(path))
    except OSError as error:
        raise PicketError(
            f"output_dir: {directory} cannot be made ({error.strerror}); choose another"
        ) from None
    if not there.is_dir():
        what = "a dangling link" if there.is_symlink() and not there.exists() else "a file"
        raise PicketError(
            f"output_dir: {directory} cannot be made, {there} is {what}; choose another"
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise PicketError(f"output_dir: {directory}: no permission to write in {there.absolute()}")


def _is_there(path: Path) -> bool:
    """Whether anything is at ``path``, be it a link to nothing.

    Raises:
        OSError: nothing can be.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
