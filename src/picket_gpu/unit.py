"""The unit of work, one tomogram by one feature mode: computed, then saved."""

import resource
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime

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
from picket_gpu.output import attributes, write_hdf5, write_mrc, write_scores
from picket_gpu.plan import TomogramPlan, memory_for
from picket_gpu.preprocess import Prepared, prepare
from picket_gpu.record import SegmentationRecord, UnitRecord
from picket_gpu.report.collect import Subject, TomogramReport, Workflow, begin_report
from picket_gpu.results import SegmentationResult
from picket_gpu.stamp import Stamp, fingerprints
from picket_gpu.tomogram import read_voxels
from picket_gpu.workflows import Segmentation, segment_prepared


@dataclass(frozen=True)
class Unit:
    """One tomogram, prepared, for one feature mode after the other.

    Attributes:
        memory: how the budget is spent.
        report: takes in what is saved.
        volume_seconds: of reading, blurring and scaling.
    """

    config: S1Config
    backend: Backend
    plan: TomogramPlan
    memory: MemoryPlan
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
                self.plan.windows,
                [mode],
                config.clustering_methods,
                self.memory,
                self.reporter,
                name=str(self.plan.header.path),
                precision=config.precision,
                kmeans_engine=config.kmeans_engine,
                scores=config.scores,
                moments=moments,
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
        plan.directory.mkdir(parents=True, exist_ok=True)
        mode, method = result.mode.mode, result.method
        stamp = Stamp(
            plan.fingerprints[mode, method],
            share_of_ones(result.labels, config.neighborhood_size),
            result.model.iterations,
            result.model.converged,
            sum(result.timings.values()),
        )
        timestamp = datetime.now(UTC).isoformat(timespec="seconds")
        for kind, path in plan.files(mode, method).items():
            if kind == "hdf5":
                details = attributes(config, plan.index, plan.header, result, timestamp, stamp)
                write_hdf5(path, result.labels, result.scores, details)
            elif kind == "mrc":
                write_mrc(path, result.labels, plan.header, stamp)
            elif result.scores is not None:
                write_scores(path, result.scores, plan.header, stamp)
        remove_contradicting(plan.other_files(mode, method), stamp.fingerprint, plan.overwrite)
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
    path = plan.header.path
    reporter.status(f"{path.name}: reading, blurring")
    started = time.perf_counter()
    memory = memory_for(config, backend, plan.windows)
    voxels = read_voxels(path)
    if fingerprints(config, plan.index) != plan.fingerprints or voxels.shape != plan.header.shape:
        raise PicketError(f"{path}: was changed while the run was under way; run again")
    prepared = prepare(backend, voxels, config.blur_sigma, memory, str(path))
    del voxels
    backend.synchronize()
    seconds = time.perf_counter() - started
    report = _begin_report(config, backend, plan, prepared) if config.report else None
    return Unit(config, backend, plan, memory, prepared, report, seconds, reporter)


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
    files = plan.files(mode, method)
    return SegmentationResult(
        path=files.get("hdf5") or next(iter(files.values())),
        tomogram=plan.header.path,
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
    plan: TomogramPlan, mode: str, results: list[SegmentationResult], backend: Backend | None
) -> UnitRecord:
    """What the record of a run says of one unit, done by ``backend`` or, without one, earlier."""
    stuck = [result.method for result in results if not result.converged]
    return UnitRecord(
        index=plan.index,
        tomogram=str(plan.header.path),
        mode=mode,
        status="done" if backend else "done earlier",
        windows=plan.windows.count,
        device=backend and backend.reason,
        peak_host_bytes=backend and _peak_bytes(),
        peak_device_bytes=backend and backend.peak_bytes(),
        warnings=[f"{method} did not converge" for method in stuck],
        segmentations=[
            SegmentationRecord(
                method=result.method,
                fingerprint=plan.fingerprints[mode, result.method],
                files=[path.name for path in plan.files(mode, result.method).values()],
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
