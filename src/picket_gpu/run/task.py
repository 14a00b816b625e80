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
from picket_gpu.files.beads import write_beads
from picket_gpu.files.filenames import beads_name, page_name
from picket_gpu.files.segmentation import Segmentation, Subject, write_segmentation
from picket_gpu.files.tomogram import read_with_digest
from picket_gpu.method.feature_mode import FeatureMode
from picket_gpu.method.labels import UNLABELLED, foreground_fraction
from picket_gpu.method.workflows import PreparedTomogram, Settings, WorkflowResult, run_workflows
from picket_gpu.particles.files import picked_in, remove_others
from picket_gpu.particles.particles import Particles
from picket_gpu.particles.settings import TOMOGRAM
from picket_gpu.report.collect import TomogramReport, begin_report
from picket_gpu.report.write import remove_page, renew_page, write_page
from picket_gpu.run.fingerprint import remove_contradicting, state_of
from picket_gpu.run.picking import PickingPlan, pick
from picket_gpu.run.plan import TomogramPlan, recipe_of
from picket_gpu.run.record import (
    PARTICLES,
    FoundBeads,
    Status,
    Step,
    failed_step,
    peak_host_bytes,
)


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
    yield from _Task(config, backend, plan, reporter).run()


class _Task:
    """One tomogram under way.

    Attributes:
        tomogram: the tomogram, once it is prepared.
        report: its page, if one is to be written.
        made: its segmentations so far, those of earlier runs included.
        picked: its particles so far.
    """

    def __init__(
        self, config: S1Config, backend: Backend, plan: TomogramPlan, reporter: Reporter
    ) -> None:
        self._config, self._backend, self._plan = config, backend, plan
        self._reporter = reporter
        self._digest: Future[str] | None = None  # of the grey values, once they are read
        self.tomogram: PreparedTomogram | None = None
        self.report: TomogramReport | None = None
        self.made = {one.workflow: one for one in plan.reused}
        self.picked: list[Particles] = []
        self._aside: list[str] = []  # what to tell of tables that were put aside

    def run(self) -> Generator[Event, None, None]:
        """Prepare, segment, pick, and write the page."""
        plan = self._plan
        if plan.pending or plan.lacks_page or self._picks_from_voxels:
            try:
                self.tomogram, seconds = self._prepare()
                self.report = self._begin_page(self.tomogram) if self._config.report else None
            except Exception as error:
                yield failed(plan, None, error, len(plan.pending))
                return
            yield Prepared(self._warnings)
            yield from self._segment(self.tomogram, seconds)
        for picking in plan.picking:
            try:
                yield self._pick(picking)
            except Exception as error:
                yield failed(plan, PARTICLES, error, 0)
        try:
            if self.tomogram is not None and self.report is not None:
                yield from self._write_page(self.tomogram, self.report)
            elif self._config.report and not all(one.reused for one in self.picked):
                yield from self._renew_page()
        except Exception as error:
            yield failed(plan, None, error, 0)

    @property
    def _picks_from_voxels(self) -> bool:
        """Whether candidates are to be found in the tomogram itself."""
        return any(picking.needs_tomogram for picking in self._plan.picking)

    @property
    def _warnings(self) -> tuple[str, ...]:
        """What is odd about the tomogram and its masks, a line each."""
        found = () if self.tomogram is None else self.tomogram.warnings
        return (*self._plan.warnings, *found)

    def _prepare(self) -> tuple[PreparedTomogram, float]:
        """Read the tomogram and prepare it; also returns the seconds that takes.

        Raises:
            PicketError: it is unusable, or no longer the file that was planned with.
        """
        config, backend, entry = self._config, self._backend, self._plan.entry
        self._reporter.status(f"{entry.label}: reading, blurring")
        started = time.perf_counter()
        voxels, self._digest = read_with_digest(entry.tomogram, entry.selector)
        changed = state_of(entry) != self._plan.identity.state
        if changed or voxels.shape != self._plan.subject.shape:
            raise PicketError(f"{entry.tomogram}: was changed during the run; run again")
        recipe = recipe_of(self._plan.subject, config, entry.storage_options, backend)
        tomogram = recipe.prepare(backend, voxels)
        del voxels
        write_beads(self._plan.subject, tomogram.beads)
        backend.synchronize()
        return tomogram, time.perf_counter() - started

    def _begin_page(self, tomogram: PreparedTomogram) -> TomogramReport:
        grey_slice = tomogram.prepared.volume.grey_slice
        subject = self._plan.subject.model_copy(update={"warnings": self._warnings})
        return begin_report(subject, lambda z: grey_slice(z, self._backend.download))

    def _segment(self, tomogram: PreparedTomogram, seconds: float) -> Iterator[Event]:
        """Run the pending feature modes one by one; a thread writes what they make.

        Args:
            seconds: seconds that reading and preparing took.
        """
        config, backend = self._config, self._backend
        methods = config.clustering_methods
        saving: deque[tuple[FeatureMode, Future[list[Segmentation]]]] = deque()
        with ThreadPoolExecutor(1) as aside:
            for mode in self._plan.pending:
                self._reporter.begin(mode.mode)
                scored = [method for method in methods if (mode.mode, method) in config.scored]
                settings = Settings(methods, config.precision, scored)
                try:
                    run = run_workflows(backend, tomogram, [mode], settings, self._reporter)
                    results = list(run)
                except Exception as error:
                    yield failed(self._plan, mode.mode, error, 1)
                    continue
                saving.append((mode, aside.submit(self._save, mode, results, seconds)))
                del run, results
                # While a GPU computes, the host has cores and memory for the last labels.
                while len(saving) > backend.streams:
                    yield self._saved(tomogram, *saving.popleft())
            while saving:
                yield self._saved(tomogram, *saving.popleft())

    def _save(
        self, mode: FeatureMode, results: list[WorkflowResult], seconds: float
    ) -> list[Segmentation]:
        """Write the files of one feature mode, and add it to the page."""
        saved = []
        while results:  # none is kept: they are as large as a quarter of the volume
            result = results.pop(0)
            saved.append(self._write(mode, result, seconds))
            if self.report is not None:
                self.report.add(saved[-1], result.labels)
            del result
        return saved

    def _write(self, mode: FeatureMode, result: WorkflowResult, seconds: float) -> Segmentation:
        started = time.perf_counter()
        plan, workflow = self._plan, (mode.mode, result.method)
        segmentation = Segmentation(
            **plan.subject.fields | {"warnings": self._warnings},
            mode=mode.mode,
            features=mode.model_dump(exclude={"mode"}),
            method=result.method,
            fingerprint=plan.fingerprints[workflow],
            tomogram_digest=None if self._digest is None else self._digest.result(),
            settings_digest=plan.identity.settings[workflow],
            files=plan.files.names(*workflow),
            scored=result.scores is not None,
            foreground_fraction=foreground_fraction(result.labels),
            iterations=result.model.iterations,
            converged=result.model.converged,
            passes=result.passes,
            timings=result.timings,
        )
        plan.files.directory.mkdir(parents=True, exist_ok=True)
        write_segmentation(
            plan.files,
            workflow,
            result.labels,
            result.scores,
            plan.header,
            segmentation.attributes,
        )
        remove_contradicting(plan.files.others(*workflow), segmentation.fingerprint, plan.overwrite)
        for picking in plan.files.pickings(*workflow):
            files = plan.files.particles(*workflow, picking)
            if (told := remove_others(files, segmentation.fingerprint)) is not None:
                self._aside.append(told)
        timings = {"files": time.perf_counter() - started, "volume": seconds}
        return segmentation.model_copy(update={"timings": result.timings | timings})

    def _saved(
        self, tomogram: PreparedTomogram, mode: FeatureMode, saving: "Future[list[Segmentation]]"
    ) -> Event:
        plan = self._plan
        try:
            segmentations = saving.result()
        except Exception as error:
            return failed(plan, mode.mode, error, 1)
        self.made |= {one.workflow: one for one in segmentations}
        if not self._config.report:  # an older page would show other segmentations
            remove_page(self._config.directory, plan.index, plan.total == 1)
        for one in segmentations:
            self._reporter.line(f"  {_describe(one)}")
        self._reporter.advance(1)
        aside, self._aside = self._aside, []
        return step_of(
            plan,
            mode.mode,
            segmentations,
            "done",
            [*self._warnings, *aside],
            aside=aside,
            windows=tomogram.windows.count,
            beads=found_beads(plan.subject, tomogram),
            device=self._backend.reason,
            peak_host_bytes=peak_host_bytes(),
            peak_device_bytes=self._backend.peak_bytes(),
        )

    def _pick(self, picking: PickingPlan) -> Step:
        """Pick; what an earlier run has picked only for a page, which needs the candidates."""
        plan = self._plan
        # Earlier versions kept no candidates, which a page needs.
        known = picking.has_candidates or self.report is None
        if picking.earlier is not None and known:
            particles = picking.reused(plan.subject)
        else:
            segmentation = self.made.get(picking.workflow)
            if segmentation is None and picking.workflow != TOMOGRAM:
                raise PicketError(
                    f"no particles, because the segmentation by {'-'.join(picking.workflow)} failed"
                )
            self._reporter.status(f"{plan.entry.label}: particles")
            particles = pick(
                self._backend,
                plan.subject,
                picking,
                segmentation,
                self.tomogram,
                self._config.memory_budget,
                [one for one in self.picked if one.picking in (picking.settings.not_in or ())],
            )
        self.picked.append(particles)
        self._reporter.line(f"  {describe_particles(picking, particles)}")
        return Step(
            index=plan.index,
            tomogram=str(plan.subject.tomogram),
            mode=PARTICLES,
            status="done earlier" if particles.reused else "done",
            peak_host_bytes=None if particles.reused else peak_host_bytes(),
            warnings=[text for text in (particles.aside, particles.doubt) if text],
            aside=[particles.aside] if particles.aside else [],
            particles=[particles.without_candidates()],
        )

    def _write_page(self, tomogram: PreparedTomogram, report: TomogramReport) -> Iterator[Page]:
        """Write the page, with segmentations of earlier runs; none if all have failed."""
        config, plan = self._config, self._plan
        report.picked.extend(picked_in(config.directory, plan.index, self.picked))
        for reused in plan.reused:
            add_to_report(report, reused, tomogram)
        report.findings.sort(key=lambda one: config.workflows.index(one.segmentation.workflow))
        if report.findings:
            links = plan.links or {}
            yield Page(write_page(config.directory, report, plan.total == 1, links))

    def _renew_page(self) -> Iterator[Page]:
        """Write the page again with the particles, of segmentations that are as they were."""
        directory, plan = self._config.directory, self._plan
        page = directory / page_name(plan.index, plan.total == 1)
        row = renew_page(page, picked_in(directory, plan.index, self.picked))
        if row is not None:
            yield Page(row)


def found_beads(subject: Subject, source: PreparedTomogram) -> FoundBeads | None:
    """What the record says of the beads that were left out."""
    if source.beads is None:
        return None
    return FoundBeads(
        count=len(source.beads.centres),
        diameter=float(np.median(source.beads.diameters)),
        file=beads_name(subject.index),
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


def describe_particles(picking: PickingPlan, particles: Particles) -> str:
    """A line on what was picked."""
    found = "".join(f", {one}" for one in particles.found)
    earlier = ", picked earlier" if particles.reused else ""
    return (
        f"{particles.count} particles from {picking.source_name}{found} ({particles.candidates} "
        f"candidates, threshold {particles.threshold:.3f}){earlier}"
    )


def prepare_existing(backend: Backend, found: Segmentation) -> PreparedTomogram:
    """Prepare a tomogram as it was prepared for a segmentation.

    Call inside ``backend.exclusive()``.

    Raises:
        PicketError: it is unusable, or not what was segmented.
    """
    voxels, digest = read_with_digest(found.tomogram, found.selector)
    if voxels.shape != found.shape:
        raise PicketError(
            f"{found.tomogram}: has {voxels.shape} voxels (z, y, x), but its segmentations have "
            f"{found.shape}; restore the tomogram, or run S1 again"
        )
    if found.tomogram_digest not in (None, digest.result()):
        raise PicketError(
            f"{found.tomogram}: has other grey values than when it was segmented; restore the "
            "tomogram, or run S1 again"
        )
    return recipe_of(found, backend=backend).prepare(backend, voxels)


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
