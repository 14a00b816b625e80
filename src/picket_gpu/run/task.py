"""The unit of work: one tomogram by one feature mode, from its file to its segmentations.

A tomogram is read, prepared and left to its feature modes by `open_task`. Each mode is then fitted
and labelled by `Task.segment`, and written and reported on by `Task.save`.
"""

import time
from dataclasses import dataclass

import numpy as np

from picket_gpu.config.inputs import TomogramInput
from picket_gpu.config.s1 import S1Config
from picket_gpu.console import Reporter
from picket_gpu.device.backend import Backend
from picket_gpu.errors import PicketError
from picket_gpu.files.location import Location
from picket_gpu.files.provenance import Provenance
from picket_gpu.files.tomogram import read_voxels
from picket_gpu.files.write_segmentation import write_segmentation
from picket_gpu.method.feature_mode import FeatureMode
from picket_gpu.method.labels import foreground_fraction
from picket_gpu.method.padding import grey_limits, keep_all_but
from picket_gpu.method.preprocess import SLIVER, prepare
from picket_gpu.method.windows import WindowSet
from picket_gpu.method.workflows import PreparedTomogram, Segmentation, Settings, run_workflows
from picket_gpu.particles.settings import PICKINGS
from picket_gpu.particles.write import remove_others
from picket_gpu.report.collect import TomogramReport
from picket_gpu.run.attributes import attributes
from picket_gpu.run.fingerprints import fingerprints
from picket_gpu.run.machine import peak_host_bytes
from picket_gpu.run.plan import TomogramPlan, memory_for
from picket_gpu.run.record import UnitRecord, unit_record
from picket_gpu.run.regions import excluded_voxels, labelled_voxels, windows_to_fit
from picket_gpu.run.report_pages import begin_page, workflow_of
from picket_gpu.run.results import SegmentationResult, result_of
from picket_gpu.run.resume import remove_contradicting


@dataclass(frozen=True)
class Task:
    """One tomogram, prepared, for one feature mode after the other.

    Attributes:
        warnings: what is odd about the tomogram and its masks.
        report: takes in what is saved; None where none is wanted.
        seconds: of reading, blurring and scaling.
    """

    config: S1Config
    backend: Backend
    plan: TomogramPlan
    tomogram: PreparedTomogram
    warnings: tuple[str, ...]
    report: TomogramReport | None
    seconds: float
    reporter: Reporter

    def segment(self, mode: FeatureMode) -> list[Segmentation]:
        """Features of its windows, clusters, and labels by all clustering methods."""
        config = self.config
        methods = config.clustering_methods
        scored = [method for method in methods if (mode.mode, method) in config.scored]
        settings = Settings(methods, config.precision, scored)
        return list(run_workflows(self.backend, self.tomogram, [mode], settings, self.reporter))

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

    def _write(self, made: Segmentation) -> SegmentationResult:
        started = time.perf_counter()
        plan, workflow = self.plan, (made.mode.mode, made.method)
        provenance = Provenance(
            plan.fingerprints[workflow],
            foreground_fraction(made.labels),
            made.model.iterations,
            made.model.converged,
            sum(made.timings.values()),
        )
        told = attributes(self.config, plan, made, self.warnings)
        plan.files.directory.mkdir(parents=True, exist_ok=True)
        write_segmentation(
            plan.files, workflow, made.labels, made.scores, plan.header, told, provenance
        )
        others = plan.files.others(*workflow)
        remove_contradicting(others, provenance.fingerprint, plan.overwrite)
        for picking in PICKINGS:
            remove_others(plan.files.particles(*workflow, picking), provenance.fingerprint)
        seconds = {"files": time.perf_counter() - started, "volume": self.seconds}
        timings = made.timings | seconds
        return result_of(self.config, plan, workflow, provenance, timings, made.passes)

    def record(self, mode: FeatureMode, results: list[SegmentationResult]) -> UnitRecord:
        """What the record of the run says of one feature mode that is done."""
        return unit_record(
            self.plan,
            mode.mode,
            results,
            status="done",
            warnings=self.warnings,
            windows=self.tomogram.windows.count,
            device=self.backend.reason,
            peak_host_bytes=peak_host_bytes(),
            peak_device_bytes=self.backend.peak_bytes(),
        )


def open_task(config: S1Config, backend: Backend, plan: TomogramPlan, reporter: Reporter) -> Task:
    """Read a tomogram, blur and scale it, choose its windows, and begin its report.

    To be called inside ``backend.exclusive()``.

    Raises:
        PicketError: it is unusable, or no longer the file that was planned on.
    """
    entry, path = plan.entry, plan.header.path
    reporter.status(f"{entry.label}: reading, blurring")
    started = time.perf_counter()
    voxels = read_voxels(path, entry.selector)
    if fingerprints(config, entry) != plan.fingerprints or voxels.shape != plan.header.shape:
        raise PicketError(f"{path}: was changed during the run; run again")
    tomogram, warnings = prepare_tomogram(config, backend, entry, path, voxels, plan.windows)
    del voxels
    backend.synchronize()
    seconds = time.perf_counter() - started
    told = (*plan.warnings, *warnings)
    report = begin_page(config, backend, plan, tomogram.prepared, told) if config.report else None
    return Task(config, backend, plan, tomogram, told, report, seconds, reporter)


def prepare_tomogram(
    config: S1Config,
    backend: Backend,
    entry: TomogramInput,
    path: Location,
    voxels: np.ndarray,
    windows: WindowSet,
) -> tuple[PreparedTomogram, list[str]]:
    """Blur and scale a tomogram, and choose its windows; with warnings.

    To be called inside ``backend.exclusive()``.

    Args:
        path: what to call it in an error.
        voxels: its grey values, (z, y, x) float32.
        windows: those used for fitting, where no mask says otherwise.

    Raises:
        PicketError: it is unusable.
    """
    excluded, warnings = excluded_voxels(config, entry, voxels)
    to_label = labelled_voxels(entry, voxels.shape, config.neighborhood_size, excluded)
    windows = windows_to_fit(entry, windows, excluded)
    memory = memory_for(config, backend, entry, windows, excluded is not None)
    keep = None if excluded is None else keep_all_but(excluded, voxels)
    limits = None if config.clip is None else grey_limits(voxels, config.clip, excluded)
    volume = prepare(backend, voxels, config.blur_sigma, memory, str(path), keep, limits)
    if volume.central < SLIVER:
        warnings.append(
            f"{path}: 99% of the voxels lie within {volume.central:.1%} of the grey-value "
            "range, so the foreground may be a few outliers, such as gold beads; set clip: 5 "
            "to limit them"
        )
    return PreparedTomogram(volume, windows, memory, to_label, str(path)), warnings
