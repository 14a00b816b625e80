"""The report of a run: what its pages say of each tomogram, and which are to be written."""

from collections.abc import Iterable, Sequence

import numpy as np

from picket_gpu.config.s1 import S1Config
from picket_gpu.device.backend import Backend
from picket_gpu.files.filenames import report_names
from picket_gpu.files.read_segmentation import read_labels
from picket_gpu.files.tomogram import read_voxels
from picket_gpu.method.labels import UNLABELLED
from picket_gpu.method.preprocess import PreparedVolume
from picket_gpu.report.collect import Subject, TomogramReport, Workflow, begin_report
from picket_gpu.report.write import ReportWriter
from picket_gpu.run.fingerprints import fingerprints
from picket_gpu.run.plan import RunPlan, TomogramPlan
from picket_gpu.run.regions import excluded_voxels, labelled_voxels
from picket_gpu.run.results import SegmentationResult


class RunReport:
    """Pages of the tomograms of a run, and their index; nothing if its configuration wants none."""

    def __init__(self, config: S1Config, plan: RunPlan) -> None:
        self._config = config
        self._total = plan.total
        wanted = {
            tomogram.index: set(tomogram.fingerprints.values()) for tomogram in plan.tomograms
        }
        failed = {failure.index for failure in plan.failures}
        others = set(range(plan.total)) - wanted.keys() - failed if config.report else set()
        for index in others:  # of other parts
            try:
                wanted[index] = set(fingerprints(config, config.inputs[index]).values())
            except OSError:
                continue  # the run that it belongs to will tell
        self._writer = ReportWriter(config.directory, config.dataset_name, plan.total, wanted)

    def lacks(self, plan: TomogramPlan) -> bool:
        """Whether the page of a tomogram is missing, or is of other segmentations."""
        return self._config.report and not self._writer.has(plan.index)

    def remove(self, plan: TomogramPlan) -> None:
        """Remove the pages of segmentations that are replaced, where no new ones are wanted."""
        if not self._config.report:
            for name in report_names([plan.index], self._total == 1):
                (self._config.directory / name).unlink(missing_ok=True)

    def write(
        self, plan: TomogramPlan, report: TomogramReport, results: Iterable[SegmentationResult]
    ) -> None:
        """Write the page of a tomogram.

        Args:
            report: has what the run made.
            results: all of the tomogram; what was made earlier is added.
        """
        for result in results:
            if result.reused:
                labels = self._labels(plan, result)
                report.add(workflow_of(plan, result), labels)
        order: Sequence[tuple[str, str]] = self._config.workflows
        report.findings.sort(key=lambda f: order.index((f.workflow.mode, f.workflow.method)))
        if report.findings:
            self._writer.write(report)
            self._writer.write_index()

    def _labels(self, plan: TomogramPlan, result: SegmentationResult) -> np.ndarray:
        """Labels of an earlier run, also those that only HDF5 tells to be missing."""
        side = self._config.neighborhood_size
        labels = read_labels(result.path, side)
        if result.path.suffix != ".h5":
            voxels = read_voxels(plan.header.path, plan.entry.selector)
            excluded, _ = excluded_voxels(self._config, plan.entry, voxels)
            wanted = labelled_voxels(plan.entry, plan.header.shape, side, excluded)
            if wanted is not None:
                labels[~np.broadcast_to(wanted, labels.shape)] = UNLABELLED
        return labels

    def finish(self) -> None:
        """Write the index, which pages of other runs may have joined."""
        if self._config.report:
            self._writer.write_index()


def begin_page(
    config: S1Config,
    backend: Backend,
    plan: TomogramPlan,
    volume: PreparedVolume,
    warnings: tuple[str, ...],
) -> TomogramReport:
    """The report of a tomogram without segmentations.

    Args:
        warnings: what is odd about the tomogram and its masks.
    """
    subject = Subject(
        index=plan.index,
        directory=config.directory,
        dataset=config.dataset_name,
        name=plan.entry.label,
        path=plan.header.path,
        shape=plan.header.shape,
        voxel_size=plan.header.voxel_size,
        lower=plan.entry.lower_z_slice_limit,
        upper=plan.entry.upper_z_slice_limit,
        side=config.neighborhood_size,
        warnings=warnings,
    )
    return begin_report(subject, lambda z: volume.volume.grey_slice(z, backend.download))


def workflow_of(plan: TomogramPlan, result: SegmentationResult) -> Workflow:
    """What a report says of a segmentation beside its labels."""
    return Workflow(
        mode=result.mode,
        method=result.method,
        path=result.path if result.path.suffix == ".h5" else None,
        share=result.foreground_fraction,
        iterations=result.iterations,
        converged=result.converged,
        seconds=result.seconds,
        fingerprint=plan.fingerprints[result.mode, result.method],
    )
