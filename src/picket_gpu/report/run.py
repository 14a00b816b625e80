"""The report of a run: which pages are to be written, and writing them."""

from collections.abc import Iterable
from itertools import product

import numpy as np

from picket_gpu.config import S1Config
from picket_gpu.filenames import report_names
from picket_gpu.labels import UNLABELLED
from picket_gpu.plan import RunPlan, TomogramPlan
from picket_gpu.regions import wanted_voxels
from picket_gpu.report.collect import TomogramReport
from picket_gpu.report.write import ReportWriter
from picket_gpu.results import SegmentationResult
from picket_gpu.saved import read_labels
from picket_gpu.stamp import fingerprints
from picket_gpu.unit import workflow_of


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
                wanted[index] = set(fingerprints(config, index).values())
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
            if result.earlier:
                labels = self._labels(plan, result)
                report.add(workflow_of(plan, result), labels)
        modes: list[str] = [mode.mode for mode in self._config.feature_extraction_params]
        order: list[tuple[str, str]] = list(product(modes, self._config.clustering_methods))
        report.findings.sort(key=lambda f: order.index((f.workflow.mode, f.workflow.method)))
        if report.findings:
            self._writer.write(report)
            self._writer.write_index()

    def _labels(self, plan: TomogramPlan, result: SegmentationResult) -> np.ndarray:
        """Labels of an earlier run, also those that only HDF5 tells to be missing."""
        side = self._config.neighborhood_size
        labels = read_labels(result.path, side)
        if result.path.suffix != ".h5":
            wanted = wanted_voxels(self._config.inputs[plan.index], plan.header.shape, side)
            if wanted is not None:
                labels[~np.broadcast_to(wanted, labels.shape)] = UNLABELLED
        return labels

    def finish(self) -> None:
        """Write the index, which pages of other runs may have joined."""
        if self._config.report:
            self._writer.write_index()
