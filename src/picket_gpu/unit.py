"""The unit of work, one tomogram by one feature mode: computed, then saved."""

import os
import resource
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from picket_gpu.backend import Backend
from picket_gpu.clustering import Method
from picket_gpu.config import S1Config
from picket_gpu.console import Reporter
from picket_gpu.earlier import remove_contradicting
from picket_gpu.errors import PicketError
from picket_gpu.features import FeatureMode
from picket_gpu.labels import share_of_ones
from picket_gpu.memory import MemoryPlan
from picket_gpu.neighborhoods import WindowSet
from picket_gpu.plan import TomogramPlan, memory_for
from picket_gpu.preprocess import Prepared, prepare
from picket_gpu.record import SegmentationRecord, UnitRecord
from picket_gpu.regions import masked_windows, wanted_voxels
from picket_gpu.report.collect import Subject, TomogramReport, Workflow, begin_report
from picket_gpu.results import SegmentationResult
from picket_gpu.stamp import Stamp, fingerprints
from picket_gpu.tomogram import read_mask, read_voxels
from picket_gpu.workflows import Segmentation, segment_prepared
from picket_gpu.writers.segmentation import write_segmentation


@dataclass(frozen=True)
class Unit:
    """One tomogram, prepared, for one feature mode after the other.

    Attributes:
        memory: how the budget is spent.
        windows: those used for fitting.
        wanted: which voxels get labels, see `segment_prepared`.
        report: takes in what is saved.
        volume_seconds: of reading, blurring and scaling.
    """

    config: S1Config
    backend: Backend
    plan: TomogramPlan
    memory: MemoryPlan
    windows: WindowSet
    wanted: np.ndarray | None
    prepared: Prepared
    report: TomogramReport | None
    volume_seconds: float
    reporter: Reporter

    def compute(self, mode: FeatureMode, moments: dict[str, np.ndarray]) -> list[Segmentation]:
        """Labels by all clustering methods.

        Args:
            moments: of raw features by their kind, filled as they become known.
        """
        config = self.config
        return list(
            segment_prepared(
                self.backend,
                self.prepared,
                self.windows,
                [mode],
                config.clustering_methods,
                self.memory,
                self.reporter,
                name=str(self.plan.header.path),
                precision=config.precision,
                kmeans_engine=config.kmeans_engine,
                scores=config.scores,
                moments=moments,
                wanted=self.wanted,
            )
        )

    def save(self, segmentations: list[Segmentation]) -> list[SegmentationResult]:
        """Write the files of one feature mode, and report on them."""
        results = []
        while segmentations:  # none is kept: they are as large as a quarter of the volume
            segmentation = segmentations.pop(0)
            results.append(self._write(segmentation))
            if self.report:
                self.report.add(workflow_of(self.plan, results[-1]), segmentation.labels)
            del segmentation
        return results

    def _write(self, result: Segmentation) -> SegmentationResult:
        started = time.perf_counter()
        config, plan = self.config, self.plan
        plan.files.directory.mkdir(parents=True, exist_ok=True)
        mode, method = result.mode.mode, result.method
        stamp = Stamp(
            plan.fingerprints[mode, method],
            share_of_ones(result.labels),
            result.model.iterations,
            result.model.converged,
            sum(result.timings.values()),
        )
        write_segmentation(config, plan, result, stamp)
        remove_contradicting(plan.files.others(mode, method), stamp.fingerprint, plan.overwrite)
        seconds = {"files": time.perf_counter() - started, "volume": self.volume_seconds}
        return _result(config, plan, mode, method, stamp, result.timings | seconds)


def prepare_unit(
    config: S1Config, backend: Backend, plan: TomogramPlan, reporter: Reporter
) -> Unit:
    """Read, blur and scale a tomogram, and begin its report.

    To be called inside ``backend.exclusive()``.

    Raises:
        PicketError: it is unusable, or no longer the file that was planned on.
    """
    entry, path, shape = config.inputs[plan.index], plan.header.path, plan.header.shape
    reporter.status(f"{entry.label}: reading, blurring")
    started = time.perf_counter()
    windows, wanted = plan.windows, wanted_voxels(entry, shape, config.neighborhood_size)
    if entry.fitting_mask is not None:
        mask = read_mask(entry.fitting_mask, shape, entry.storage_options)
        windows = masked_windows(windows, mask, str(path))
        del mask
    memory = memory_for(config, backend, plan.index, windows)
    voxels = read_voxels(path, entry.choice)
    if fingerprints(config, plan.index) != plan.fingerprints or voxels.shape != shape:
        raise PicketError(f"{path}: was changed while the run was under way; run again")
    prepared = prepare(backend, voxels, config.blur_sigma, memory, str(path))
    del voxels
    backend.synchronize()
    seconds = time.perf_counter() - started
    report = _begin_report(config, backend, plan, prepared) if config.report else None
    return Unit(config, backend, plan, memory, windows, wanted, prepared, report, seconds, reporter)


def from_stamp(
    config: S1Config, plan: TomogramPlan, mode: str, method: Method, stamp: Stamp
) -> SegmentationResult:
    """The result of an earlier run, whose files are there."""
    timings = {"all stages, earlier": stamp.seconds}
    return _result(config, plan, mode, method, stamp, timings, earlier=True)


def _result(
    config: S1Config,
    plan: TomogramPlan,
    mode: str,
    method: Method,
    stamp: Stamp,
    timings: dict[str, float],
    earlier: bool = False,
) -> SegmentationResult:
    files = plan.files.of(mode, method)
    return SegmentationResult(
        path=files.get("hdf5") or next(iter(files.values())),
        tomogram=plan.header.path,
        name=config.inputs[plan.index].label,
        mode=mode,
        method=method,
        timings=timings,
        share=stamp.share,
        iterations=stamp.iterations,
        converged=stamp.converged,
        neighborhood_size=config.neighborhood_size,
        earlier=earlier,
    )


def unit_record(
    plan: TomogramPlan, mode: str, results: list[SegmentationResult], unit: Unit | None
) -> UnitRecord:
    """What the record of a run says of one unit; without a `Unit`, it was done earlier."""
    backend = unit and unit.backend
    stuck = [result.method for result in results if not result.converged]
    return UnitRecord(
        index=plan.index,
        tomogram=str(plan.header.path),
        mode=mode,
        status="done" if backend else "done earlier",
        windows=unit and unit.windows.count,
        device=backend and backend.reason,
        peak_host_bytes=backend and _peak_bytes(),
        peak_device_bytes=backend and backend.peak_bytes(),
        warnings=[f"{method} did not converge" for method in stuck],
        segmentations=[
            SegmentationRecord(
                method=result.method,
                fingerprint=plan.fingerprints[mode, result.method],
                files=[
                    os.path.relpath(path, plan.files.directory)
                    for path in plan.files.of(mode, result.method).values()
                ],
                share=result.share,
                iterations=result.iterations,
                converged=result.converged,
                seconds=result.timings,
            )
            for result in results
        ],
    )


def _peak_bytes() -> int:
    """The most memory that this process has held so far."""
    with suppress(OSError):  # Linux, whose ru_maxrss begins with that of the parent
        for line in Path("/proc/self/status").read_bytes().splitlines():
            if line.startswith(b"VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _begin_report(
    config: S1Config, backend: Backend, plan: TomogramPlan, prepared: Prepared
) -> TomogramReport:
    """The report of a tomogram without segmentations."""
    entry = config.inputs[plan.index]
    subject = Subject(
        index=plan.index,
        dataset=config.dataset_name,
        name=entry.label,
        path=plan.header.path,
        shape=plan.header.shape,
        voxel_size=plan.header.voxel_size,
        lower=entry.lower_z_slice_limit,
        upper=entry.upper_z_slice_limit,
        side=config.neighborhood_size,
    )
    return begin_report(subject, lambda z: prepared.volume.picture(z, backend.download))


def workflow_of(plan: TomogramPlan, result: SegmentationResult) -> Workflow:
    """What a report says of a segmentation beside its labels."""
    return Workflow(
        mode=result.mode,
        method=result.method,
        path=result.path if result.path.suffix == ".h5" else None,
        share=result.share,
        iterations=result.iterations,
        converged=result.converged,
        seconds=result.seconds,
        fingerprint=plan.fingerprints[result.mode, result.method],
    )
