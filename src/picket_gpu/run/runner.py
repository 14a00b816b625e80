"""A run, tomogram by tomogram; one that fails does not stop the rest."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import zip_longest
from typing import Any

from picket_gpu.config.s1 import S1Config
from picket_gpu.console import Reporter
from picket_gpu.device.backend import Backend
from picket_gpu.errors import PicketError
from picket_gpu.files.atomic import remove_leftovers
from picket_gpu.files.tomogram import read_ahead
from picket_gpu.method.feature_mode import FeatureMode
from picket_gpu.particles.settings import TOMOGRAM
from picket_gpu.report.collect import TomogramReport
from picket_gpu.report.picked import PickedWorkflow
from picket_gpu.run.distributed import tasks_on
from picket_gpu.run.outcome import Outcome
from picket_gpu.run.picking import PickingPlan, pick_planned
from picket_gpu.run.plan import RunPlan, TomogramPlan
from picket_gpu.run.record import PARTICLES
from picket_gpu.run.report_pages import RunReport
from picket_gpu.run.results import S1Run, SegmentationResult, picked_result
from picket_gpu.run.task import Task, open_task


class Runner:
    """A run under way, in this process or by the workers of a Dask client."""

    def __init__(
        self, config: S1Config, backend: Backend, plan: RunPlan, reporter: Reporter
    ) -> None:
        self._config = config
        self._backend = backend
        self._plan = plan
        self._reporter = reporter
        self._outcome = Outcome(config, backend.reason, plan, reporter)
        self._reports = RunReport(config, plan)

    def run(self, client: Any = None) -> S1Run:
        """Everything that is planned.

        Raises:
            NothingDoneError: nothing but failures came of it.
        """
        for directory in self._plan.directories:
            remove_leftovers(directory)
        for failure in self._plan.failures:
            self._outcome.add_failure(failure)
        plans = self._plan.tomograms
        self._run_here([plan for plan in plans if client is None or not plan.pending])
        if client is not None:
            self._run_on(client, [plan for plan in plans if plan.pending])
        self._reports.finish()
        self._outcome.finish()
        return self._outcome.run()

    def _run_on(self, client: Any, plans: list[TomogramPlan]) -> None:
        """Tasks by a Dask client's workers; a tomogram's report when its last task is done."""
        for plan in plans:
            if plan.reused or plan.changed or plan.warnings:
                self._outcome.begin(plan)
        left = {plan.index: len(plan.pending) for plan in plans}
        reports: dict[int, TomogramReport] = {}
        unusable: set[int] = set()
        with closing(tasks_on(client, self._config, plans, self._reporter)) as tasks:
            for plan, mode, done in tasks:
                left[plan.index] -= 1
                if not isinstance(done, Exception):
                    self._outcome.warn(plan, done.warnings)
                    self._outcome.add(plan, done.results, done.record)
                    self._reports.remove(plan)
                    if done.report and plan.index in reports:
                        reports[plan.index].findings.extend(done.report.findings)
                    elif done.report:
                        reports[plan.index] = done.report
                elif mode is not None or plan.index not in unusable:
                    self._outcome.fail(plan, mode, done, 1)
                if mode is None:  # each of its tasks says so
                    unusable.add(plan.index)
                if not left[plan.index] and plan.index not in unusable:
                    self._conclude(plan, None, reports.pop(plan.index, None))

    def _run_here(self, plans: list[TomogramPlan]) -> None:
        with self._backend.exclusive(), ThreadPoolExecutor(1) as aside:
            for plan, following in zip_longest(plans, plans[1:]):
                self._outcome.begin(plan)
                picks = self._config.report and any(not p.earlier for p in plan.picking)
                if plan.pending or picks or self._reports.lacks(plan):
                    self._tomogram(plan, following, aside)
                else:
                    self._conclude(plan, None, None)

    def _tomogram(
        self, plan: TomogramPlan, following: TomogramPlan | None, aside: ThreadPoolExecutor
    ) -> None:
        """One tomogram; what fails is noted."""
        try:
            task = open_task(self._config, self._backend, plan, self._reporter)
        except Exception as error:
            self._outcome.fail(plan, None, error, len(plan.pending))
            return
        self._outcome.warn(plan, task.warnings)
        if following is not None and following.pending:
            read_ahead(following.header.path)
        saving: deque[tuple[FeatureMode, Future[list[SegmentationResult]]]] = deque()
        for mode in plan.pending:
            try:
                segmentations = task.segment(mode)
            except Exception as error:
                self._outcome.fail(plan, mode.mode, error, 1)
                continue
            saving.append((mode, aside.submit(task.save, segmentations)))
            del segmentations
            # While a GPU computes, the host has cores and memory for the last labels.
            while len(saving) > self._backend.streams:
                self._saved(task, *saving.popleft())
        while saving:
            self._saved(task, *saving.popleft())
        self._conclude(plan, task, task.report)

    def _saved(
        self, task: Task, mode: FeatureMode, saved: "Future[list[SegmentationResult]]"
    ) -> None:
        plan = task.plan
        try:
            results = saved.result()
        except Exception as error:
            self._outcome.fail(plan, mode.mode, error, 1)
        else:
            self._outcome.add(plan, results, task.record(mode, results))
            self._reports.remove(plan)

    def _conclude(
        self, plan: TomogramPlan, task: Task | None, report: TomogramReport | None
    ) -> None:
        """Pick in a tomogram whose segmentations are there, and write its pages.

        Args:
            task: of the tomogram, where it is prepared.
            report: where pages are to be written.
        """
        for picking in plan.picking:
            try:
                self._pick(plan, picking, task, report)
            except Exception as error:
                self._outcome.fail(plan, PARTICLES, error, 0)
        if report:
            self._report(plan, report)

    def _pick(
        self,
        plan: TomogramPlan,
        picking: PickingPlan,
        task: Task | None,
        report: TomogramReport | None,
    ) -> None:
        """What an earlier run has picked is picked again only for pages, which have candidates."""
        if picking.earlier is not None and report is None:
            self._outcome.add_particles(
                plan, picking, picked_result(plan, picking, picking.earlier, 0.0)
            )
            return
        segmentation = None
        if picking.workflow != TOMOGRAM:
            made = {(result.mode, result.method): result for result in self._outcome.of(plan)}
            if picking.workflow not in made:
                raise PicketError(
                    f"no particles, because the segmentation by {'-'.join(picking.workflow)} failed"
                )
            segmentation = made[picking.workflow].path
        elif task is None:
            task = open_task(self._config, self._backend, plan, self._reporter)
        self._reporter.status(f"{plan.entry.label}: particles")
        tomogram = task.tomogram if task else None
        particles, told, seconds = pick_planned(
            self._config, self._backend, plan.entry, plan.header, picking, segmentation, tomogram
        )
        self._outcome.add_particles(plan, picking, picked_result(plan, picking, told, seconds))
        if report is not None:
            names = tuple(path.name for path in picking.files.values())
            report.picked.append(PickedWorkflow(*picking.workflow, particles, names))

    def _report(self, plan: TomogramPlan, report: TomogramReport) -> None:
        """Write the pages of a tomogram, its earlier segmentations included."""
        try:
            self._reports.write(plan, report, self._outcome.of(plan))
        except Exception as error:
            self._outcome.fail(plan, None, error, 0)
