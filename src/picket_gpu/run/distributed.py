"""Tomograms on the workers of a Dask cluster."""

import logging
import platform
import time
from collections.abc import Generator
from concurrent.futures import CancelledError
from contextlib import chdir
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any
from uuid import uuid4

from picket_gpu.config.s1 import S1Config
from picket_gpu.console import Reporter
from picket_gpu.device.backend import Backend, KMeansEngine
from picket_gpu.device.limits import available_threads
from picket_gpu.device.select import select_backend
from picket_gpu.errors import PicketError
from picket_gpu.run.plan import TomogramPlan, without_done
from picket_gpu.run.record import Step
from picket_gpu.run.task import Event, Failed, done_earlier, failed, run_tomogram

STATUS_SECONDS = 0.5  # between two statuses of a worker, at least
_one_at_a_time = Lock()
_log = logging.getLogger("distributed.picket_gpu")  # where a worker's own log has Dask's lines


def tomograms_on(
    client: Any, config: S1Config, plans: list[TomogramPlan], reporter: Reporter
) -> Generator[tuple[TomogramPlan, list[Event], float | None], None, None]:
    """Run tomograms on a cluster, and yield what came of each when it is done, and the seconds.

    Seconds are None where no worker has come to the end of it.

    Args:
        reporter: receiver of what each worker prints.

    Raises:
        ConnectionError: the scheduler is gone.
    """
    from distributed import KilledWorker, as_completed

    topic = f"picket_gpu-{uuid4()}"
    client.subscribe_topic(topic, lambda event: _tell(reporter.details, *event[1]))
    tasks = {}
    for plan in plans:
        alone = _with_input_of(config, plan)
        tasks[client.submit(_work, alone, plan, Path.cwd(), topic, pure=False)] = plan
    if not client.scheduler_info(n_workers=-1)["workers"]:
        reporter.line("Waiting for workers")
    try:
        for future in as_completed(list(tasks)):  # type: ignore[no-untyped-call]
            plan = tasks.pop(future)
            try:
                yield plan, *future.result()
            except KilledWorker:
                error = PicketError(
                    "its worker died repeatedly, often because memory ran out; use fewer workers"
                )
                yield plan, [failed(plan, None, error, len(plan.pending))], None
            except CancelledError:
                raise ConnectionError("lost the Dask scheduler; run again to continue") from None
            except Exception as error:
                yield plan, [failed(plan, None, error, len(plan.pending))], None
            future.release()
    finally:  # what is not done is not wanted any more
        client.cancel(list(tasks), force=True)
        client.unsubscribe_topic(topic)


def _tell(reporter: Reporter, kind: str, text: str, worker: str) -> None:
    if kind == "status":
        reporter.status(text, worker)
    elif kind == "advance":
        reporter.advance(int(text))
    else:
        reporter.line(text, worker)


class _WorkerReporter(Reporter):
    """Sends what a task prints to the client, and ends a task that the client has given up."""

    def __init__(self, topic: str, about: str) -> None:
        """
        Args:
            about: names the tomogram, at the beginning of each line.
        """
        from distributed import get_worker

        self._worker = get_worker()
        self._task = self._worker.state.tasks[self._worker.get_current_task()]
        self._topic = topic
        self._about = about
        self._next = 0.0
        name = self._worker.name
        self.name = name if isinstance(name, str) else f"worker {name}"

    @property
    def threads(self) -> int:
        """That the worker may keep busy."""
        return max(available_threads(), self._worker.state.nthreads)

    def line(self, text: str, worker: str = "") -> None:
        self._line(f"{self._about} {text.strip()}")

    def begin(self, mode: str) -> None:
        self._line(f"{self._about}: {mode}")

    def advance(self, steps: int) -> None:
        self._send("advance", str(steps))

    def status(self, text: str, worker: str = "") -> None:
        if text and self._task.state == "cancelled":
            raise CancelledError
        if not text or time.monotonic() > self._next:
            self._next = time.monotonic() + STATUS_SECONDS
            self._send("status", text)

    def _line(self, text: str) -> None:
        _log.info("%s", text)
        self._send("line", text)

    def _send(self, kind: str, text: str) -> None:
        self._worker.log_event(self._topic, (kind, text, self.name))


def _with_input_of(config: S1Config, plan: TomogramPlan) -> S1Config:
    """The configuration with a tomogram's own input alone.

    All of them with each task would take memory that grows as the square of their number:
    gigabytes for a thousand.
    """
    return config.model_copy(update={"inputs": [plan.entry]})


def _work(
    config: S1Config, plan: TomogramPlan, directory: Path, topic: str
) -> tuple[list[Event], float]:
    """One tomogram on a worker, and its seconds; relative paths start at ``directory``."""
    reporter = _WorkerReporter(topic, f"{plan.place} {plan.subject.tomogram}")
    where = {"worker": reporter.name, "host": platform.node()}
    events: list[Event] = []
    with _one_at_a_time, chdir(directory):
        started = time.perf_counter()
        backend = _backend(config.device, config.kmeans_engine, reporter.threads)
        # A worker that died at this tomogram may have finished some of it.
        left = plan if plan.overwrite else without_done(config, plan)
        try:
            with backend.exclusive():
                for event in run_tomogram(config, backend, left, reporter):
                    if isinstance(event, Step):
                        event = event.model_copy(update=where)
                    elif isinstance(event, Failed):
                        _log.error("%s", event.failure.message)
                    events.append(event)
        finally:
            reporter.status("")
    return [*done_earlier(plan, left), *events], time.perf_counter() - started


@cache
def _backend(device: str, kmeans_engine: KMeansEngine, threads: int) -> Backend:
    return select_backend(device, kmeans_engine, threads)
