"""What comes of a run: results, failures, the record, and telling of them."""

from collections.abc import Iterable
from itertools import product
from typing import Any

from picket_gpu.config.s1 import S1Config
from picket_gpu.console import Reporter
from picket_gpu.errors import Failure, NothingDoneError
from picket_gpu.files.filenames import record_name
from picket_gpu.method.clustering import Method
from picket_gpu.run.picking import PickingPlan
from picket_gpu.run.plan import RunPlan, TomogramPlan
from picket_gpu.run.record import (
    UnitRecord,
    begin_record,
    failed_unit,
    now,
    particles_record,
    read_units,
    unit_record,
)
from picket_gpu.run.results import ParticleResult, S1Run, SegmentationResult, result_of


class Outcome:
    """What has come of a run so far; told, and recorded, as it comes."""

    def __init__(self, config: S1Config, device: str, plan: RunPlan, reporter: Reporter) -> None:
        self._config = config
        self._plan = plan
        self._reporter = reporter
        self._results: dict[tuple[int, str, Method], SegmentationResult] = {}
        self._particles: dict[tuple[int, str, str], ParticleResult] = {}
        self._failures: list[Failure] = []
        self._warnings: dict[int, list[str]] = {}
        self._path = config.directory / record_name(plan.chosen)
        self._recorded = read_units(self._path)
        self._record = begin_record(config, device, plan.chosen)

    def run(self) -> S1Run:
        """Results in the order of inputs, modes and methods, and failures.

        Raises:
            NothingDoneError: nothing but failures.
        """
        if not self._results:
            raise NothingDoneError(self._failures)
        keys = product(range(self._plan.total), self._config.workflows)
        results = (
            self._results[index, *workflow]
            for index, workflow in keys
            if (index, *workflow) in self._results
        )
        failures = sorted(self._failures, key=lambda failure: failure.index)
        warnings = [text for index in sorted(self._warnings) for text in self._warnings[index]]
        particles = [
            self._particles[plan.index, *picking.workflow]
            for plan in self._plan.tomograms
            for picking in plan.picking
            if (plan.index, *picking.workflow) in self._particles
        ]
        return S1Run(results, failures, warnings, particles)

    def of(self, plan: TomogramPlan) -> list[SegmentationResult]:
        """Results of one tomogram."""
        return [result for (index, *_), result in self._results.items() if index == plan.index]

    def begin(self, plan: TomogramPlan) -> None:
        """Name a tomogram, and take what an earlier run has made of it."""
        self._reporter.line(f"{plan.place} {plan.header.path}")
        self.warn(plan, plan.warnings)
        for mode in dict.fromkeys(mode for mode, _ in plan.reused):
            self._reporter.line(f"  {mode}: done earlier")
            results = [
                self._reused(plan, workflow, attributes)
                for workflow, attributes in plan.reused.items()
                if workflow[0] == mode
            ]
            record = unit_record(plan, mode, results, status="done earlier", warnings=plan.warnings)
            before = self._recorded.get((plan.index, mode))
            if before and _fingerprints(before) == _fingerprints(record):
                record = before.model_copy(update={"status": "done earlier"})
            self._add(results, record)
        for mode in plan.changed:
            self._reporter.line(
                f"  {mode}: settings or tomogram have changed since the last run; computing again"
            )

    def _reused(
        self, plan: TomogramPlan, workflow: tuple[str, Method], attributes: dict[str, Any]
    ) -> SegmentationResult:
        timings = {"all stages, earlier": attributes["time_taken_for_s1"]}
        return result_of(self._config, plan, workflow, attributes, timings, reused=True)

    def warn(self, plan: TomogramPlan, warnings: Iterable[str]) -> None:
        """Tell what is odd about a tomogram, each thing once."""
        told = self._warnings.setdefault(plan.index, [])
        for text in warnings:
            if text not in told:
                told.append(text)
                self._reporter.line(f"  warning: {text}")

    def add(
        self, plan: TomogramPlan, results: list[SegmentationResult], record: UnitRecord
    ) -> None:
        """Take what a task has made."""
        for result in results:
            if record.worker:  # which may be at its next task already
                text = f"{plan.place} {plan.header.path} {_describe(result)}"
                self._reporter.line(text, record.worker)
            else:
                self._reporter.line(f"  {_describe(result)}")
        self._add(results, record)
        self._reporter.advance(1)

    def add_particles(
        self, plan: TomogramPlan, picking: PickingPlan, result: ParticleResult
    ) -> None:
        """Take what was picked, or was picked earlier."""
        assert self._config.particles is not None
        earlier = ", picked earlier" if result.reused else ""
        where = picking.source_name + ("" if result.label else ", label 0")
        self._reporter.line(
            f"  {result.count} particles from {where} ({result.candidates} "
            f"candidates, threshold {result.threshold:.3f}){earlier}"
        )
        self._particles[plan.index, *picking.workflow] = result
        self._note(particles_record(plan, picking, self._config.particles, result))

    def fail(self, plan: TomogramPlan, mode: str | None, error: Exception, tasks: int) -> None:
        """Take that something failed.

        Args:
            mode: feature mode; None for all of the tomogram.
            tasks: how many there will not be because of it.
        """
        self.add_failure(Failure(plan.index, plan.header.path, mode, error))
        self._reporter.advance(tasks)
        # What it was raised from holds volumes.
        error.__traceback__ = error.__context__ = error.__cause__ = None

    def add_failure(self, failure: Failure) -> None:
        """Take a failure, and say so."""
        self._failures.append(failure)
        where = f"{failure.mode}: " if failure.mode else ""
        self._reporter.line(f"  FAILED: {where}{failure.message}")
        self._add([], failed_unit(failure))

    def finish(self) -> None:
        """Note that the run is over."""
        self._record.finished = now()
        self._save_record()

    def _add(self, results: list[SegmentationResult], record: UnitRecord) -> None:
        for result in results:
            self._results[record.index, result.mode, result.method] = result
        self._note(record)

    def _note(self, record: UnitRecord) -> None:
        self._record.units.append(record)
        self._reporter.unit(record.model_dump(mode="json"))
        self._save_record()

    def _save_record(self) -> None:
        # A run of which nothing comes leaves nothing behind, but an older record would be untrue.
        if self._results or self._path.parent.exists():
            self._record.write(self._path)


def _fingerprints(record: UnitRecord) -> list[str]:
    return [segmentation.fingerprint for segmentation in record.segmentations]


def _describe(result: SegmentationResult) -> str:
    state = "" if result.converged else ", NOT CONVERGED"
    return (
        f"{result.mode} {result.method}: {result.foreground_fraction:.1%} foreground, "
        f"{result.iterations} iterations{state}, {result.seconds:.1f} s"
    )
