"""The task of a run: one tomogram, from its file to segmentations, particles and page.

`run_tomogram` does it in this process or on a worker. The tomogram is read and prepared once; then
each feature mode is fitted, labelled and written, particles are picked, and the page is written.
"""

import pickle
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from picket_gpu.config.s1 import S1Config
from picket_gpu.console import Reporter
from picket_gpu.device.backend import Backend
from picket_gpu.errors import Failure, PicketError
from picket_gpu.files.segmentation import Segmentation, Subject, write_segmentation
from picket_gpu.files.tomogram import read_voxels
from picket_gpu.method.feature_mode import FeatureMode
from picket_gpu.method.labels import UNLABELLED, foreground_fraction
from picket_gpu.method.workflows import PreparedTomogram, Settings, WorkflowResult, run_workflows
from picket_gpu.particles.files import remove_others
from picket_gpu.particles.particles import Particles
from picket_gpu.particles.settings import PICKINGS, TOMOGRAM
from picket_gpu.report.collect import TomogramReport, begin_report
from picket_gpu.report.write import remove_page, write_page
from picket_gpu.run.existing import fingerprints, remove_contradicting
from picket_gpu.run.picking import PickingPlan, pick
from picket_gpu.run.plan import TomogramPlan, recipe_of
from picket_gpu.run.record import PARTICLES, Status, Step, failed_step, peak_host_bytes


@dataclass(frozen=True)
class Prepared:
    """The tomogram is in memory, blurred and scaled.

    Attributes:
        warnings: what is odd about it and its masks, a line each.
    """

    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Failed:
    """A part of the tomogram failed.

    Attributes:
        failure: the part and the error.
        step: what the record of the run says of it.
        steps: number of feature modes that are not run because of it.
    """

    failure: Failure
    step: Step
    steps: int


@dataclass(frozen=True)
class Page:
    """The page is written.

    Attributes:
        row: row of the index.
    """

    row: dict[str, Any]


Event: TypeAlias = Prepared | Step | Failed | Page


def run_tomogram(
    config: S1Config, backend: Backend, plan: TomogramPlan, reporter: Reporter
) -> Generator[Event, None, None]:
    """Do what is planned for one tomogram, and yield each outcome as it comes.

    Consume inside ``backend.exclusive()``. What fails is yielded; the rest continues.

    Args:
        config: the configuration; other inputs than that of ``plan`` are not read.
    """
    segmentations = {one.workflow: one for one in plan.reused}
    source: PreparedTomogram | None = None
    report = None
    if plan.pending or plan.lacks_page or _needs_voxels(plan):
        try:
            source, seconds = _prepare(config, backend, plan, reporter)
            if config.report:
                picture = source.prepared.volume.grey_slice
                subject = plan.subject.model_copy(update={"warnings": _warnings(plan, source)})
                report = begin_report(subject, lambda z: picture(z, backend.download))
        except Exception as error:
            yield failed(plan, None, error, len(plan.pending))
            return
        yield Prepared(_warnings(plan, source))
        work = _Workflows(config, backend, plan, source, seconds, report, reporter)
        for event in work.run():
            if isinstance(event, Step):
                segmentations |= {one.workflow: one for one in event.segmentations}
                if not config.report:  # they would show other segmentations
                    remove_page(config.directory, plan.index, plan.total == 1)
            yield event
    for picking in plan.picking:
        try:
            particles = _pick(
                config, backend, plan, picking, segmentations, source, report, reporter
            )
            yield Step(
                index=plan.index,
                tomogram=str(plan.subject.tomogram),
                mode=PARTICLES,
                status="done earlier" if particles.reused else "done",
                warnings=[particles.doubt] if particles.doubt else [],
                peak_host_bytes=None if particles.reused else peak_host_bytes(),
                particles=[particles],
            )
        except Exception as error:
            yield failed(plan, PARTICLES, error, 0)
    if report is not None and source is not None:
        try:
            for reused in plan.reused:
                add_to_report(report, reused, source)
            report.findings.sort(key=lambda one: config.workflows.index(one.segmentation.workflow))
            if report.findings:
                alone = plan.total == 1
                yield Page(write_page(config.directory, report, alone, plan.links or {}))
        except Exception as error:
            yield failed(plan, None, error, 0)


def _needs_voxels(plan: TomogramPlan) -> bool:
    """Whether something is picked from the tomogram itself, or a page needs new particles."""
    return any(
        picking.earlier is None and (plan.links is not None or picking.settings.from_tomogram)
        for picking in plan.picking
    )


def _warnings(plan: TomogramPlan, source: PreparedTomogram) -> tuple[str, ...]:
    return (*plan.warnings, *source.warnings)


def _prepare(
    config: S1Config, backend: Backend, plan: TomogramPlan, reporter: Reporter
) -> tuple[PreparedTomogram, float]:
    """Read a tomogram and prepare it; also returns the seconds that takes.

    Raises:
        PicketError: it is unusable, or no longer the file that was planned with.
    """
    entry, subject = plan.entry, plan.subject
    reporter.status(f"{entry.label}: reading, blurring")
    started = time.perf_counter()
    voxels = read_voxels(entry.tomogram, entry.selector)
    if fingerprints(config, entry) != plan.fingerprints or voxels.shape != subject.shape:
        raise PicketError(f"{entry.tomogram}: was changed during the run; run again")
    recipe = recipe_of(subject, config, entry.storage_options, backend)
    prepared = recipe.prepare(backend, voxels)
    del voxels
    backend.synchronize()
    return prepared, time.perf_counter() - started


class _Workflows:
    """All pending feature modes of a tomogram: segmented one by one, written in a thread."""

    def __init__(
        self,
        config: S1Config,
        backend: Backend,
        plan: TomogramPlan,
        source: PreparedTomogram,
        seconds: float,
        report: TomogramReport | None,
        reporter: Reporter,
    ) -> None:
        self._config, self._backend, self._plan = config, backend, plan
        self._source, self._seconds = source, seconds
        self._report, self._reporter = report, reporter

    def run(self) -> Iterator[Event]:
        """Run the feature modes, and yield each one's outcome."""
        saving: deque[tuple[FeatureMode, Future[list[Segmentation]]]] = deque()
        with ThreadPoolExecutor(1) as aside:
            for mode in self._plan.pending:
                self._reporter.begin(mode.mode)
                try:
                    made = self._segment(mode)
                except Exception as error:
                    yield failed(self._plan, mode.mode, error, 1)
                    continue
                saving.append((mode, aside.submit(self._save, mode, made)))
                del made
                # While a GPU computes, the host has cores and memory for the last labels.
                while len(saving) > self._backend.streams:
                    yield self._saved(*saving.popleft())
            while saving:
                yield self._saved(*saving.popleft())

    def _segment(self, mode: FeatureMode) -> list[WorkflowResult]:
        config = self._config
        methods = config.clustering_methods
        scored = [method for method in methods if (mode.mode, method) in config.scored]
        settings = Settings(methods, config.precision, scored)
        made = run_workflows(self._backend, self._source, [mode], settings, self._reporter)
        return list(made)

    def _save(self, mode: FeatureMode, made: list[WorkflowResult]) -> list[Segmentation]:
        """Write the files of one feature mode, and add it to the report."""
        saved = []
        while made:  # none is kept: they are as large as a quarter of the volume
            labelled = made.pop(0)
            saved.append(self._write(mode, labelled))
            if self._report is not None:
                self._report.add(saved[-1], labelled.labels)
            del labelled
        return saved

    def _write(self, mode: FeatureMode, made: WorkflowResult) -> Segmentation:
        started = time.perf_counter()
        plan, workflow = self._plan, (mode.mode, made.method)
        segmentation = Segmentation(
            **plan.subject.fields | {"warnings": _warnings(plan, self._source)},
            mode=mode.mode,
            features=mode.model_dump(exclude={"mode"}),
            method=made.method,
            fingerprint=plan.fingerprints[workflow],
            files=plan.files.names(*workflow),
            scored=made.scores is not None,
            foreground_fraction=foreground_fraction(made.labels),
            iterations=made.model.iterations,
            converged=made.model.converged,
            passes=made.passes,
            timings=made.timings,
        )
        plan.files.directory.mkdir(parents=True, exist_ok=True)
        write_segmentation(
            plan.files, workflow, made.labels, made.scores, plan.header, segmentation.attributes
        )
        remove_contradicting(plan.files.others(*workflow), segmentation.fingerprint, plan.overwrite)
        for picking in PICKINGS:
            remove_others(plan.files.particles(*workflow, picking), segmentation.fingerprint)
        seconds = {"files": time.perf_counter() - started, "volume": self._seconds}
        return segmentation.model_copy(update={"timings": made.timings | seconds})

    def _saved(self, mode: FeatureMode, saving: "Future[list[Segmentation]]") -> Event:
        plan = self._plan
        try:
            segmentations = saving.result()
        except Exception as error:
            return failed(plan, mode.mode, error, 1)
        for one in segmentations:
            self._reporter.line(f"  {_describe(one)}")
        self._reporter.advance(1)
        return step_of(
            plan,
            mode.mode,
            segmentations,
            "done",
            _warnings(plan, self._source),
            windows=self._source.windows.count,
            device=self._backend.reason,
            peak_host_bytes=peak_host_bytes(),
            peak_device_bytes=self._backend.peak_bytes(),
        )


def done_earlier(before: TomogramPlan, now: TomogramPlan) -> Iterator[Step]:
    """Steps of feature modes that ``before`` has yet to run and ``now`` finds done."""
    for mode in dict.fromkeys(one.mode for one in now.reused[len(before.reused) :]):
        segmentations = [one for one in now.reused if one.mode == mode]
        yield step_of(now, mode, segmentations, "done earlier", now.warnings)


def step_of(
    plan: TomogramPlan,
    mode: str,
    segmentations: list[Segmentation],
    status: Status,
    warnings: Iterable[str],
    **measured: Any,
) -> Step:
    """The step of a feature mode whose segmentations exist.

    Args:
        measured: other fields, of what was done in this run.
    """
    return Step(
        index=plan.index,
        tomogram=str(plan.subject.tomogram),
        mode=mode,
        status=status,
        warnings=[
            *warnings,
            *(f"{one.method} did not converge" for one in segmentations if not one.converged),
        ],
        segmentations=segmentations,
        **measured,
    )


def _describe(one: Segmentation) -> str:
    state = "" if one.converged else ", NOT CONVERGED"
    return (
        f"{one.mode} {one.method}: {one.foreground_fraction:.1%} foreground, "
        f"{one.iterations} iterations{state}, {one.seconds:.1f} s"
    )


def _pick(
    config: S1Config,
    backend: Backend,
    plan: TomogramPlan,
    picking: PickingPlan,
    segmentations: dict[tuple[str, str], Segmentation],
    tomogram: PreparedTomogram | None,
    report: TomogramReport | None,
    reporter: Reporter,
) -> Particles:
    """Particles of one picking; an earlier one is made again only for a page, with candidates."""
    if picking.earlier is not None and report is None:
        particles = picking.reused(plan.subject)
    else:
        segmentation = segmentations.get(picking.workflow)
        if segmentation is None and picking.workflow != TOMOGRAM:
            raise PicketError(
                f"no particles, because the segmentation by {'-'.join(picking.workflow)} failed"
            )
        reporter.status(f"{plan.entry.label}: particles")
        budget = config.memory_budget
        particles = pick(backend, plan.subject, picking, segmentation, tomogram, budget)
        if report is not None:
            report.picked.append(particles)
    reporter.line(f"  {describe_particles(picking, particles)}")
    return particles.without_candidates()


def describe_particles(picking: PickingPlan, particles: Particles) -> str:
    """A line on what was picked."""
    found = "".join(f", {one}" for one in particles.found)
    earlier = ", picked earlier" if particles.reused else ""
    return (
        f"{particles.count} particles from {picking.source_name}{found} ({particles.candidates} "
        f"candidates, threshold {particles.threshold:.3f}){earlier}"
    )


def prepare_existing(backend: Backend, subject: Subject) -> PreparedTomogram:
    """Prepare a tomogram as it was prepared for its segmentations.

    Call inside ``backend.exclusive()``.

    Raises:
        PicketError: it is unusable, or has another shape now.
    """
    voxels = read_voxels(subject.tomogram, subject.selector)
    if voxels.shape != subject.shape:
        raise PicketError(
            f"{subject.tomogram}: has {voxels.shape} voxels (z, y, x), but its segmentations have "
            f"{subject.shape}; restore the tomogram, or run S1 again"
        )
    return recipe_of(subject, backend=backend).prepare(backend, voxels)


def add_to_report(
    report: TomogramReport, segmentation: Segmentation, source: PreparedTomogram
) -> None:
    """Add a segmentation of an earlier run to the page of its tomogram."""
    labels = segmentation.labels
    # Only HDF5 marks unlabelled voxels away from the faces.
    if segmentation.path.suffix != ".h5" and source.to_label is not None:
        labels[~np.broadcast_to(source.to_label, labels.shape)] = UNLABELLED
    if segmentation.foreground_fraction is None:  # of the original PickET
        fraction = foreground_fraction(labels)
        segmentation = segmentation.model_copy(update={"foreground_fraction": fraction})
    report.add(segmentation, labels)


def failed(plan: TomogramPlan, mode: str | None, error: Exception, steps: int) -> Failed:
    """The event of a failure, which can be sent to another process."""
    step = failed_step(Failure(plan.index, plan.subject.tomogram, mode, error))
    # What it was raised from holds volumes.
    error.__traceback__ = error.__context__ = error.__cause__ = None
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # of another library, whose errors do not travel
        error = RuntimeError(f"{type(error).__name__}: {error}")
    return Failed(Failure(plan.index, plan.subject.tomogram, mode, error), step, steps)
