"""A run, tomogram by tomogram; one that fails does not stop the rest."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import product
from typing import Any

import numpy as np

from picket_gpu.backend import Backend
from picket_gpu.clustering import Method
from picket_gpu.config import S1Config
from picket_gpu.console import Reporter
from picket_gpu.distributed import units_on
from picket_gpu.errors import Failure
from picket_gpu.features import FeatureMode
from picket_gpu.filenames import record_name
from picket_gpu.output import read_labels, remove_leftovers
from picket_gpu.plan import RunPlan, TomogramPlan
from picket_gpu.record import UnitRecord, begin_record, failed_unit, now
from picket_gpu.report.collect import TomogramReport
from picket_gpu.report.write import ReportWriter
from picket_gpu.results import S1Run, SegmentationResult
from picket_gpu.tomogram import read_ahead
from picket_gpu.unit import from_stamp, prepare_unit, unit_record, workflow_of


class Session:
    """A run under way: what it has made, and what came to nothing."""

    def __init__(
        self, config: S1Config, backend: Backend, plan: RunPlan, reporter: Reporter
    ) -> None:
        self._config = config
        self._backend = backend
        self._plan = plan
        self._reporter = reporter
        self._results: dict[tuple[int, str, Method], SegmentationResult] = {}
        self._failures = list(plan.failures)
        self._record = begin_record(config, backend.reason, plan.chosen)
        indices = list(range(plan.total))
        directory, dataset = config.directory, config.dataset_name
        self._writer = ReportWriter(directory, dataset, indices) if config.report else None

    def outcome(self) -> S1Run:
        """What has come of it.

        Raises:
            Exception: that of the first failure, if there is nothing else.
        """
        if not self._results:
            raise self._failures[0].error
        modes = [mode.mode for mode in self._config.feature_extraction_params]
        methods = self._config.clustering_methods
        keys = product(range(self._plan.total), modes, methods)
        results = (self._results[key] for key in keys if key in self._results)
        return S1Run(results, sorted(self._failures, key=lambda failure: failure.index))

    def run(self, client: Any = None) -> None:
        """Everything that is planned, in this process or by a Dask client's workers."""
        if self._config.directory.exists():
            remove_leftovers(self._config.directory)
        for failure in self._plan.failures:
            self._note(failure)
        if client is None:
            self._run_here()
        else:
            self._run_on(client)
        if self._results:
            self._record.finished = now()
            self._save_record()

    def _run_on(self, client: Any) -> None:
        """All units by a Dask client's workers; a tomogram's report when its last unit is done."""
        plans = self._plan.tomograms
        for plan in plans:
            if plan.earlier or plan.changed:
                self._begin(plan)
        left = {plan.index: len(plan.pending) for plan in plans}
        reports: dict[int, TomogramReport] = {}
        unusable: set[int] = set()
        for plan, mode, done in units_on(client, self._config, plans, self._reporter):
            left[plan.index] -= 1
            if isinstance(done, Exception):
                if mode is not None or plan.index not in unusable:
                    self._fail(plan, mode, done)
                if mode is None:  # each of its units says so
                    unusable.add(plan.index)
            else:
                results, record, report = done
                self._new(plan, results, record)
                if report and plan.index in reports:
                    reports[plan.index].findings.extend(report.findings)
                elif report:
                    reports[plan.index] = report
            if not left[plan.index] and plan.index in reports:
                self._report(plan, reports.pop(plan.index))
        with self._backend.exclusive(), ThreadPoolExecutor(1) as aside:
            for plan in plans:
                if not plan.pending and self._lacks_page(plan):
                    self._tomogram(plan, None, aside)

    def _lacks_page(self, plan: TomogramPlan) -> bool:
        return self._writer is not None and not self._writer.has(plan.index)

    def _run_here(self) -> None:
        plans = self._plan.tomograms
        with self._backend.exclusive(), ThreadPoolExecutor(1) as aside:
            for plan, following in zip(plans, [*plans[1:], None], strict=True):
                self._begin(plan)
                if plan.pending or self._lacks_page(plan):
                    self._tomogram(plan, following, aside)

    def _begin(self, plan: TomogramPlan) -> None:
        """Name a tomogram, and take what an earlier run has made of it."""
        self._reporter.line(f"[{plan.index + 1}/{self._plan.total}] {plan.header.path}")
        modes = list(dict.fromkeys(mode for mode, _ in plan.earlier))
        for mode in modes:
            self._reporter.line(f"  {mode}: done earlier")
            results = [
                from_stamp(self._config, plan, mode, method, stamp)
                for (of_mode, method), stamp in plan.earlier.items()
                if of_mode == mode
            ]
            self._done(plan, results, unit_record(plan, mode, results, None))
        for mode in plan.changed:
            self._reporter.line(f"  {mode}: was made with other settings or from another file")

    def _tomogram(
        self, plan: TomogramPlan, following: TomogramPlan | None, aside: ThreadPoolExecutor
    ) -> None:
        """One tomogram; what fails is noted."""
        try:
            unit = prepare_unit(self._config, self._backend, plan, self._reporter)
        except Exception as error:
            self._fail(plan, None, error)
            return
        if following is not None and following.pending:
            read_ahead(following.header.path)
        saving: deque[tuple[FeatureMode, Future[list[SegmentationResult]]]] = deque()
        moments: dict[str, np.ndarray] = {}
        for mode in plan.pending:
            try:
                segmentations = unit.compute(mode, moments)
            except Exception as error:
                self._fail(plan, mode.mode, error)
                continue
            saving.append((mode, aside.submit(unit.save, segmentations)))
            del segmentations
            # While a GPU computes, the host has cores and memory for the last labels.
            while len(saving) > self._backend.streams:
                self._saved(plan, *saving.popleft())
        while saving:
            self._saved(plan, *saving.popleft())
        if unit.report:
            self._report(plan, unit.report)

    def _saved(
        self, plan: TomogramPlan, mode: FeatureMode, saved: "Future[list[SegmentationResult]]"
    ) -> None:
        try:
            results = saved.result()
        except Exception as error:
            self._fail(plan, mode.mode, error)
        else:
            record = unit_record(plan, mode.mode, results, self._backend)
            self._new(plan, results, record)

    def _report(self, plan: TomogramPlan, report: TomogramReport) -> None:
        """Write the pages of a tomogram, its earlier segmentations included."""
        try:
            self._write_report(plan, report)
        except Exception as error:
            self._fail(plan, None, error)

    def _write_report(self, plan: TomogramPlan, report: TomogramReport) -> None:
        side = self._config.neighborhood_size
        for (index, *_), result in self._results.items():
            if index == plan.index and result.earlier:
                report.add(workflow_of(result), read_labels(result.path, side))
        workflows: list[tuple[str, str]] = [
            (mode.mode, method)
            for mode, method in product(
                self._config.feature_extraction_params, self._config.clustering_methods
            )
        ]
        report.findings.sort(key=lambda f: workflows.index((f.workflow.mode, f.workflow.method)))
        if self._writer and report.findings:
            self._writer.write(report)
            self._writer.write_index()

    def _new(
        self, plan: TomogramPlan, results: list[SegmentationResult], record: UnitRecord
    ) -> None:
        """Say and note what a unit has made."""
        for result in results:
            told = _describe(result)
            if record.worker:  # which may be at its next unit already
                place = f"[{plan.index + 1}/{self._plan.total}] {plan.header.path}"
                self._reporter.line(f"{place} {told}", record.worker)
            else:
                self._reporter.line(f"  {told}")
        self._done(plan, results, record)
        self._reporter.advance()

    def _done(
        self, plan: TomogramPlan, results: list[SegmentationResult], record: UnitRecord
    ) -> None:
        for result in results:
            self._results[plan.index, result.mode, result.method] = result
        self._add(record)

    def _fail(self, plan: TomogramPlan, mode: str | None, error: Exception) -> None:
        failure = Failure(plan.index, plan.header.path, mode, error)
        self._failures.append(failure)
        self._note(failure)
        # What it was raised from holds volumes.
        error.__traceback__ = error.__context__ = error.__cause__ = None

    def _note(self, failure: Failure) -> None:
        """Say and record that something failed."""
        where = f"{failure.mode}: " if failure.mode else ""
        self._reporter.line(f"  FAILED: {where}{failure.message}")
        self._add(failed_unit(failure))

    def _add(self, record: UnitRecord) -> None:
        self._record.units.append(record)
        self._reporter.unit(record.model_dump(mode="json"))
        self._save_record()

    def _save_record(self) -> None:
        # A run of which nothing comes leaves nothing behind.
        if self._results:
            self._record.write(self._config.directory / record_name(self._plan.chosen))


def _describe(result: SegmentationResult) -> str:
    state = "" if result.converged else ", NOT CONVERGED"
    return (
        f"{result.mode} {result.method}: {result.share:.1%} of voxels labelled 1, "
        f"{result.iterations} iterations{state}, {result.seconds:.1f} s"
    )
