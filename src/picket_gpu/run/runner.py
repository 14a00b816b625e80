"""A run, tomogram by tomogram, here or on workers; one that fails does not stop the rest."""

from contextlib import closing
from itertools import zip_longest
from typing import Any

from picket_gpu.config.s1 import S1Config
from picket_gpu.console import Reporter
from picket_gpu.device.backend import Backend
from picket_gpu.files.atomic import remove_leftovers
from picket_gpu.files.tomogram import read_ahead
from picket_gpu.run.distributed import tomograms_on
from picket_gpu.run.outcome import Outcome
from picket_gpu.run.plan import RunPlan, TomogramPlan
from picket_gpu.run.results import S1Run
from picket_gpu.run.task import Prepared, run_tomogram


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


def _run_here(
    config: S1Config,
    backend: Backend,
    plans: list[TomogramPlan],
    reporter: Reporter,
    outcome: Outcome,
) -> None:
    with backend.exclusive():
        for plan, following in zip_longest(plans, plans[1:]):
            outcome.begin(plan)
            with closing(run_tomogram(config, backend, plan, reporter)) as events:
                for event in events:
                    outcome.take(plan, event)
                    if isinstance(event, Prepared) and following and following.pending:
                        read_ahead(following.subject.tomogram)


def _run_on(
    client: Any,
    config: S1Config,
    plans: list[TomogramPlan],
    reporter: Reporter,
    outcome: Outcome,
) -> None:
    for plan in plans:
        if plan.reused or plan.changed or plan.warnings:
            outcome.begin(plan)
    with closing(tomograms_on(client, config, plans, reporter)) as tomograms:
        for plan, events in tomograms:
            for event in events:
                outcome.take(plan, event)
