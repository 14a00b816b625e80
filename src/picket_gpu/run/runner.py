"""A run, tomogram by tomogram, here or on workers, and what comes of it.

A tomogram that fails does not stop the others.
"""

import time
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from itertools import product, zip_longest
from typing import Any

from picket_gpu.config.s1 import S1Config
from picket_gpu.console import SILENT, Reporter
from picket_gpu.device.backend import Backend
from picket_gpu.errors import Failure, NothingDoneError
from picket_gpu.files.atomic import remove_leftovers
from picket_gpu.files.filenames import Key, record_name
from picket_gpu.files.segmentation import Segmentation
from picket_gpu.files.tomogram import read_ahead
from picket_gpu.particles.particles import Particles
from picket_gpu.report.write import Index
from picket_gpu.run.dataset import ParticleList, renew_pages, update_lists
from picket_gpu.run.distributed import tomograms_on
from picket_gpu.run.plan import RunPlan, TomogramPlan
from picket_gpu.run.record import RecordFile, Records, Step, failed_step
from picket_gpu.run.results import S1Run
from picket_gpu.run.summary import changes, what_came_of
from picket_gpu.run.task import Event, Failed, Page, Prepared, run_tomogram, step_of
from picket_gpu.run.time_left import TimeLeft


def run_planned(
    config: S1Config, backend: Backend, plan: RunPlan, reporter: Reporter, client: Any = None
) -> S1Run:
    """Do what is planned.

    Args:
        client: `distributed.Client` whose workers do it; default: this process.

    Raises:
        NothingDoneError: nothing but failures came of it.
    """
    for directory in plan.directories:
        remove_leftovers(directory)
    outcome = Outcome(config, backend.reason, plan, reporter)
    try:
        if plan.count > 1:
            for line in changes(plan.tomograms):
                reporter.line(line)
        for failure in plan.failures:
            outcome.add_failure(failure)
        on_workers = [one for one in plan.tomograms if client is not None and not one.is_done]
        here = [one for one in plan.tomograms if client is None or one.is_done]
        _run_here(config, backend, here, reporter, outcome)
        if on_workers:
            _run_on(client, config, on_workers, reporter, outcome)
    except BaseException:
        outcome.interrupt()
        raise
    return outcome.finish()


def record_unreadable(
    config: S1Config, backend: Backend, chosen: Iterable[int], failures: list[Failure]
) -> None:
    """Record a part of a run none of whose tomograms can be read, for the index of the whole.

    An earlier record of the part is kept: it may be of files that exist.

    Args:
        chosen: indices of the part.
        failures: why, one for each tomogram.

    Raises:
        NothingDoneError: always, with the failures.
    """
    plan = RunPlan(len(config.inputs), sorted(set(chosen)), [], failures, Records(config.directory))
    if (config.directory / record_name(plan.chosen)).exists():
        raise NothingDoneError(failures)
    outcome = Outcome(config, backend.reason, plan, SILENT)
    for failure in failures:
        outcome.add_failure(failure)
    outcome.finish()


def _run_here(
    config: S1Config,
    backend: Backend,
    plans: list[TomogramPlan],
    reporter: Reporter,
    outcome: "Outcome",
) -> None:
    with backend.exclusive():
        for plan, following in zip_longest(plans, plans[1:]):
            started = time.perf_counter()
            outcome.begin(plan)
            with closing(run_tomogram(config, backend, plan, reporter.details)) as events:
                for event in events:
                    outcome.take(plan, event)
                    if isinstance(event, Prepared) and following and following.pending:
                        read_ahead(following.subject.tomogram)
            outcome.end(plan, time.perf_counter() - started)


def _run_on(
    client: Any,
    config: S1Config,
    plans: list[TomogramPlan],
    reporter: Reporter,
    outcome: "Outcome",
) -> None:
    for plan in plans:
        if plan.reused or plan.changed or plan.warnings:
            outcome.begin(plan)
    with closing(tomograms_on(client, config, plans, reporter)) as tomograms:
        for plan, events, seconds in tomograms:
            for event in events:
                outcome.take(plan, event)
            outcome.end(plan, seconds, _workers(client))


def _workers(client: Any) -> int:
    """Number of workers of a cluster, where they come and go; 1 if it does not say."""
    with suppress(OSError):
        return len(client.scheduler_info(n_workers=-1)["workers"])
    return 1


class Outcome:
    """What has come of a run so far; printed and recorded as it comes.

    Of several tomograms each has one line when it is done, with warnings and failures under it.
    """

    def __init__(self, config: S1Config, device: str, plan: RunPlan, reporter: Reporter) -> None:
        self._config = config
        self._plan = plan
        self._reporter = reporter
        self._details = reporter.details
        self._time_left = TimeLeft(plan.tomograms)
        self._ended = 0
        self._segmentations: dict[tuple[int, str, str], Segmentation] = {}
        self._particles: dict[tuple[int, Key], Particles] = {}
        self._steps: dict[tuple[int, Key], tuple[int, Step]] = {}  # in the record
        self._failures: list[Failure] = []
        self._faults: dict[int, list[str]] = {}
        self._warnings: dict[int, list[str]] = {}
        path = config.directory / record_name(plan.chosen)
        adopted = {new: old for one in plan.tomograms for new, old in one.identity.adopted.items()}
        self._record = RecordFile(path, config, device, plan.chosen, adopted)
        wanted: dict[int, set[str]] = {failure.index: set() for failure in plan.failures}
        wanted |= {one.index: set(one.fingerprints.values()) for one in plan.tomograms}
        tomograms = {
            index: (entry.label, str(entry.tomogram)) for index, entry in enumerate(config.inputs)
        }
        self._index = Index(
            config.directory,
            config.dataset_name,
            tomograms,
            wanted,
            lambda: Records(config.directory).failures(tomograms),
        )

    def begin(self, plan: TomogramPlan) -> None:
        """Name a tomogram, and add what an earlier run has made of it."""
        self._details.line(f"{plan.place} {plan.subject.tomogram}")
        self._warn(plan.index, plan.warnings)
        for mode in dict.fromkeys(one.mode for one in plan.reused):
            segmentations = [one for one in plan.reused if one.mode == mode]
            copied = {one.fingerprint for one in segmentations} & {*plan.identity.adopted.values()}
            of_copy = ", from a copy of this tomogram" if copied else ""
            self._details.line(f"  {mode}: done earlier{of_copy}")
            self._add(segmentations, self._done_earlier(plan, mode, segmentations))
        for mode in plan.changed:
            self._details.line(
                f"  {mode}: settings or tomogram have changed since the last run; computing again"
            )

    def _done_earlier(
        self, plan: TomogramPlan, mode: str, segmentations: list[Segmentation]
    ) -> Mapping[str, Any]:
        """The step of an earlier run, as its record has it if there is one."""
        prints = [one.fingerprint for one in segmentations]
        made = self._plan.records.made.get(prints[0])
        before = None if made is None else made.unit
        if before and [line["fingerprint"] for line in before["segmentations"]] == prints:
            where = str(plan.subject.tomogram)  # a copy of what it was then, perhaps
            return {**before, "tomogram": where, "status": "done earlier"}
        return _plain(step_of(plan, mode, segmentations, "done earlier", plan.warnings))

    def take(self, plan: TomogramPlan, event: Event) -> None:
        """Add what has come of a part of a tomogram."""
        match event:
            case Prepared(warnings):
                self._warn(plan.index, warnings)
            case Failed(failure, step, steps):
                self._fail(failure, step)
                self._reporter.advance(steps)
            case Page(row):
                self._index.add(row)
            case Step():
                place = self._add(event.segmentations, _plain(event))
                self._warn(plan.index, event.aside)
                for particles in event.particles:
                    self._particles[plan.index, particles.key] = particles
                    self._steps[plan.index, particles.key] = place, event
                    if self._plan.total == 1:  # else all tomograms may tell the threshold
                        self._warn(plan.index, event.warnings)

    def end(self, plan: TomogramPlan, seconds: float | None, workers: int = 1) -> None:
        """Note that nothing more comes of a tomogram.

        Args:
            seconds: seconds that it took, if they are known.
            workers: number of tomograms that run at a time.
        """
        self._reporter.advance(min(plan.steps, 1))
        measured = None if self._faults.get(plan.index) else seconds
        left = self._time_left.done(plan.index, measured, workers)
        segmentations = [
            self._segmentations[plan.index, *workflow]
            for workflow in self._config.workflows
            if (plan.index, *workflow) in self._segmentations
        ]
        particles = [
            self._particles[plan.index, picking.key]
            for picking in plan.picking
            if (plan.index, picking.key) in self._particles
        ]
        failures = len(self._faults.get(plan.index, ()))
        came = what_came_of(segmentations, particles, failures, None if plan.is_done else seconds)
        self._say(plan.index, came, left)

    def add_failure(self, failure: Failure) -> None:
        """Add the failure of a tomogram that has no plan."""
        self._fail(failure, failed_step(failure))
        self._say(failure.index, "failed", None)

    def _say(self, index: int, came: str, left: float | None) -> None:
        """Print the line of a tomogram if it is one of several, with all that is odd about it.

        Args:
            came: what came of it.
            left: seconds that the others will take, if they are known.
        """
        if self._plan.count == 1:
            return
        self._ended += 1
        place = f"[{self._ended} of {self._plan.count}] tomogram {index}"
        self._reporter.done(f"{place}, {self._config.inputs[index].label}: {came}", left)
        if self._details is not self._reporter:  # which has printed these as they came
            for text in self._warnings.get(index, ()):
                self._reporter.line(f"  warning: {text}")
            for text in self._faults.get(index, ()):
                self._reporter.line(f"  FAILED: {text}")

    def finish(self) -> S1Run:
        """Write the record and the index for the last time.

        Returns:
            Results in the order of inputs, modes and methods.

        Raises:
            NothingDoneError: nothing but failures came of the run.
        """
        lists = self._conclude_particles()
        if self._leaves_a_record:
            self._record.finish()  # first, so that an index that another run writes has it
            if self._config.report:
                self._index.finish()
        if not self._segmentations:
            raise NothingDoneError(self._failures)
        keys = [
            (index, *workflow)
            for index, workflow in product(range(self._plan.total), self._config.workflows)
        ]
        picked = [
            (plan.index, picking.key) for plan in self._plan.tomograms for picking in plan.picking
        ]
        return S1Run(
            [self._segmentations[key] for key in keys if key in self._segmentations],
            sorted(self._failures, key=lambda failure: failure.index),
            {index: self._warnings[index] for index in sorted(self._warnings)},
            [self._particles[key] for key in picked if key in self._particles],
            lists,
        )

    def interrupt(self) -> None:
        """Write what there is before the program ends."""
        if self._segmentations:
            self._record.write()

    def _warn(self, index: int, warnings: Iterable[str]) -> None:
        """Print what is odd about a tomogram, each thing once."""
        printed = self._warnings.setdefault(index, [])
        for text in warnings:
            if text not in printed:
                printed.append(text)
                self._details.line(f"  warning: {text}")

    def _fail(self, failure: Failure, step: Step) -> None:
        self._failures.append(failure)
        text = f"{failure.mode}: {failure.message}" if failure.mode else failure.message
        self._faults.setdefault(failure.index, []).append(text)
        self._index.add_failure(failure)
        self._details.line(f"  FAILED: {text}")
        self._add([], _plain(step))

    def _add(self, segmentations: list[Segmentation], step: Mapping[str, Any]) -> int:
        """Print and record a step; also returns its place in the record."""
        for one in segmentations:
            self._segmentations[one.index, *one.workflow] = one
        self._reporter.unit(step)
        return self._record.add(step, hold=not self._leaves_a_record)

    def _conclude_particles(self) -> list[ParticleList]:
        """Choose by thresholds of the dataset, and write the lists of all tomograms."""
        names = {index: entry.label for index, entry in enumerate(self._config.inputs)}
        update = update_lists(self._config.directory, self._particles.values(), names)
        for one in update.changed:
            known = self._particles.get((one.index, one.key))
            if known is not None:
                fewer = one.without_candidates().model_copy(update={"reused": known.reused})
                self._particles[one.index, one.key] = fewer
                place, step = self._steps[one.index, one.key]
                told = [*step.aside, *([fewer.doubt] if fewer.doubt else [])]
                changes = {"particles": [fewer], "warnings": told}
                self._record.replace(place, _plain(step.model_copy(update=changes)))
        for (index, _), one in self._particles.items():
            if one.doubt and one.doubt not in self._warnings.setdefault(index, []):
                self._warnings[index].append(one.doubt)
        if self._config.report:
            for row in renew_pages(self._config.directory, update.lists):
                self._index.add(row)
        self._record.add_lists(one.record for one in update.lists)
        for text in update.warnings:
            self._reporter.line(f"warning: {text}")
        return update.lists

    @property
    def _leaves_a_record(self) -> bool:
        """Nothing is left behind if nothing comes of a run, but an older record would be untrue,
        and the runs of other parts tell in the index what has failed in this one."""
        part = self._plan.chosen is not None
        return bool(self._segmentations) or part or self._record.path.parent.exists()


def _plain(step: Step) -> dict[str, Any]:
    """A step as JSON has it."""
    return step.model_dump(mode="json", by_alias=True)
