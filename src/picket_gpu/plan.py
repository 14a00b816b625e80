"""What a run would do, known before it does anything."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from picket_gpu.backend import MIB, Backend
from picket_gpu.config import S1Config
from picket_gpu.errors import PicketError
from picket_gpu.memory import MemoryPlan, check_library, plan_memory
from picket_gpu.neighborhoods import WindowSet, fit_windows
from picket_gpu.report.write import report_names
from picket_gpu.tomogram import TomogramHeader, read_header

_ENDINGS = {"hdf5": ".h5", "mrc": ".mrc", "score": "_score.mrc"}


@dataclass(frozen=True)
class TomogramPlan:
    """What is known of one tomogram's part of a run before it starts.

    Attributes:
        index: the tomogram's place in ``inputs``, from 0.
        header: its geometry.
        windows: those used for fitting.
        memory: how the budget is spent.
        directory: of the outputs.
        kinds: of files for each workflow: hdf5, mrc, score.
        overwrite: whether files that are there are replaced.
    """

    index: int
    header: TomogramHeader
    windows: WindowSet
    memory: MemoryPlan
    directory: Path
    kinds: list[str]
    overwrite: bool

    def files(self, mode: str, method: str) -> dict[str, Path]:
        """Files of one workflow, by their kind."""
        stem = f"segmentation_{self.index}_{mode}_{method}"
        return {kind: self.directory / (stem + _ENDINGS[kind]) for kind in self.kinds}

    def stale_files(self, mode: str, method: str) -> list[Path]:
        """Where other kinds of files of the workflow would contradict the new ones."""
        everything = replace(self, kinds=list(_ENDINGS)).files(mode, method)
        others = everything.keys() - set(self.kinds) if self.overwrite else ()
        return [everything[kind] for kind in others]


def plan_run(config: S1Config, backend: Backend, overwrite: bool) -> list[TomogramPlan]:
    """Check everything that can be checked without reading every voxel.

    Raises:
        PicketError: a tomogram is unusable, its limits or the memory budget do not fit it, or
            a file would be overwritten.
    """
    indices = range(len(config.inputs))
    plans = [_plan_tomogram(config, backend, index, overwrite) for index in indices]
    _check_directory(config.directory)
    if not overwrite:
        for path in planned_files(config, plans):
            if path.exists():
                raise PicketError(f"{path}: exists; use --overwrite, or another dataset_name")
    return plans


def planned_files(config: S1Config, plans: list[TomogramPlan]) -> Iterator[Path]:
    """Every file of a segmentation that the run would write."""
    for plan in plans:
        for mode in config.feature_extraction_params:
            for method in config.clustering_methods:
                yield from plan.files(mode.mode, method).values()


def describe_plan(config: S1Config, plans: list[TomogramPlan]) -> Iterator[str]:
    """The plan in lines for people."""
    for plan in plans:
        header, windows = plan.header, plan.windows
        z, y, x = header.shape
        size = " x ".join(f"{a:g}" for a in header.voxel_size)
        yield f"[{plan.index + 1}/{len(plans)}] {header.path}"
        yield f"  {z} x {y} x {x} voxels (z y x) of {size} angstrom"
        yield f"  fitted on z-slices {windows.lower} to {windows.upper}, {windows.count} windows"
        for mode in config.feature_extraction_params:
            features = mode.num_features(windows.side)
            yield f"  {mode.mode}: Features array of shape: ({windows.count}, {features})"
        budget, kept = plan.memory.budget / MIB, plan.memory.cache_bytes / MIB
        yield f"  memory: at most {budget:.0f} MiB, {kept:.0f} of it to keep features in"
        if plan.memory.slab_planes is not None:
            yield f"  streamed from host memory in slabs of {plan.memory.slab_planes} planes"
    yield "Files:"
    for path in planned_files(config, plans):
        yield f"  {path}"
    if config.report:
        for name in report_names([plan.index for plan in plans]):
            yield f"  {config.directory / name}"


def _check_directory(directory: Path) -> None:
    """Whether files can be written to ``directory``, which need not exist yet."""
    there = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    if not there.is_dir():
        raise PicketError(f"output_dir: {directory} cannot be made, {there} is a file")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PicketError(f"output_dir: {directory}: no permission to write in {there}")


def _plan_tomogram(config: S1Config, backend: Backend, index: int, overwrite: bool) -> TomogramPlan:
    entry = config.inputs[index]
    header = read_header(entry.tomogram)
    windows = fit_windows(
        header.shape,
        config.neighborhood_size,
        entry.lower_z_slice_limit,
        entry.upper_z_slice_limit,
        config.max_num_neighborhoods_for_fitting,
        config.seed,
        name=str(entry.tomogram),
    )
    labels = len(config.clustering_methods) * (3 if config.scores else 1)
    memory = plan_memory(backend, windows, labels, config.memory_budget, config.blur_sigma)
    if config.kmeans_engine == "cuml":
        check_library(backend, windows, labels, memory, config.feature_extraction_params)
    kinds: list[str] = list(config.save)
    if config.scores and "mrc" in kinds:
        kinds.append("score")
    return TomogramPlan(index, header, windows, memory, config.directory, kinds, overwrite)
