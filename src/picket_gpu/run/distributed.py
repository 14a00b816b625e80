"""Tasks on the workers of a Dask cluster."""

import logging
import platform
import time
from collections.abc import Generator
from concurrent.futures import CancelledError
from contextlib import chdir
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple
from uuid import uuid4

from picket_gpu.config.s1 import S1Config
from picket_gpu.console import Reporter
from picket_gpu.device.backend import Backend, KMeansEngine
from picket_gpu.device.limits import available_threads
from picket_gpu.device.select import select_backend
from picket_gpu.errors import PicketError
from picket_gpu.method.feature_mode import FeatureMode
from picket_gpu.report.collect import TomogramReport
from picket_gpu.run.plan import TomogramPlan
from picket_gpu.run.record import UnitRecord
from picket_gpu.run.results import SegmentationResult
from picket_gpu.run.task import Task, open_task

STATUS_SECONDS = 0.5  # between two statuses of a worker, at least
_one_at_a_time = Lock()
_log = logging.getLogger("distributed.picket_gpu")  # where a worker's own log has Dask's lines


class Done(NamedTuple):
    """What comes of a task that a worker has done."""

    results: list[SegmentationResult]
    record: UnitRecord
    report: TomogramReport | None
    warnings: tuple[str, ...]


def tasks_on(
    client: Any, config: S1Config, plans: list[TomogramPlan], reporter: Reporter
) -> Generator[tuple[TomogramPlan, str | None, Done | Exception], None, None]:
    """Run all pending tasks on a cluster; what comes of each, as it comes.

    Of a tomogram that cannot be prepared each task comes to the same exception, with no mode.

    Args:
        reporter: is told what each worker does.

    Raises:
        ConnectionError: the scheduler is gone.
    """
    from distributed import KilledWorker, as_completed

    topic = f"picket_gpu-{uuid4()}"
    client.subscribe_topic(topic, lambda event: _tell(reporter, *event[1]))
    tasks = {}
    for plan in plans:
        alone = _with_input_of(config, plan)
        for mode in plan.pending:
            future = client.submit(_work, alone, plan, mode, Path.cwd(), topic, pure=False)
            tasks[future] = plan, mode.mode
    if not client.scheduler_info(n_workers=-1)["workers"]:
        reporter.line("Waiting for workers")
    try:
        for future in as_completed(list(tasks)):  # type: ignore[no-untyped-call]
            plan, name = tasks.pop(future)
            try:
                yield plan, name, future.result()
            except _UnusableTomogramError as error:
                yield plan, None, error.args[0]
            except KilledWorker:
                yield (
                    plan,
                    name,
                    PicketError(
                        f"{name}: its worker died repeatedly, often "
                        "because memory ran out; use fewer workers"
                    ),
                )
            except CancelledError:
                raise ConnectionError("lost the Dask scheduler; run again to continue") from None
            except Exception as error:
                yield plan, name, error
            future.release()
    finally:  # what is not done is not wanted any more
        client.cancel(list(tasks), force=True)
        client.unsubscribe_topic(topic)


class _UnusableTomogramError(Exception):
    """A tomogram could not be read or prepared, because of the exception that it holds."""


def _tell(reporter: Reporter, kind: str, text: str, worker: str) -> None:
    if kind == "status":
        reporter.status(text, worker)
    else:
        reporter.line(text, worker)


class _WorkerReporter(Reporter):
    """Sends what a task tells to the client, and ends a task that the client has given up."""

    def __init__(self, topic: str) -> None:
        from distributed import get_worker

        self._worker = get_worker()
        self._task = self._worker.state.tasks[self._worker.get_current_task()]
        self._topic = topic
        self._next = 0.0
        name = self._worker.name
        self.name = name if isinstance(name, str) else f"worker {name}"

    @property
    def threads(self) -> int:
        """That the worker may keep busy."""
        return max(available_threads(), self._worker.state.nthreads)

    def line(self, text: str, worker: str = "") -> None:
        _log.info("%s", text.strip())
        self._send("line", text)

    def status(self, text: str, worker: str = "") -> None:
        if text and self._task.state == "cancelled":
            raise CancelledError
        if not text or time.monotonic() > self._next:
            self._next = time.monotonic() + STATUS_SECONDS
            self._send("status", text)

    def _send(self, kind: str, text: str) -> None:
        self._worker.log_event(self._topic, (kind, text, self.name))


def _with_input_of(config: S1Config, plan: TomogramPlan) -> S1Config:
    """The configuration with a tomogram's own input alone.

    All of them with each task would take memory that grows as the square of their number:
    gigabytes for a thousand.
    """
    return config.model_copy(update={"inputs": [plan.entry]})


def _work(
    config: S1Config, plan: TomogramPlan, mode: FeatureMode, directory: Path, topic: str
) -> Done:
    """One task, on a worker. Relative paths are those of ``directory``."""
    reporter = _WorkerReporter(topic)
    with _one_at_a_time, chdir(directory):
        path = plan.header.path
        reporter.line(f"{plan.place} {path}: {mode.mode}")
        backend = _backend(config.device, config.kmeans_engine, reporter.threads)
        try:
            with backend.exclusive():
                task = _open(config, backend, plan, reporter)
                results = task.save(task.segment(mode))
        except Exception as error:
            _log.error("%s %s: %s failed: %s", plan.place, path, mode.mode, error)
            raise
        finally:
            reporter.status("")
        where = {"worker": reporter.name, "host": platform.node()}
        record = task.record(mode, results).model_copy(update=where)
        return Done(results, record, task.report, task.warnings)


def _open(config: S1Config, backend: Backend, plan: TomogramPlan, reporter: Reporter) -> Task:
    try:
        return open_task(config, backend, plan, reporter)
    except Exception as error:
        raise _UnusableTomogramError(error) from error


@cache
def _backend(device: str, kmeans_engine: KMeansEngine, threads: int) -> Backend:
    return select_backend(device, kmeans_engine, threads)
