"""Units on the workers of a Dask cluster: one of our own on this machine, or any that runs."""

import os
import signal
from collections.abc import Iterator
from contextlib import chdir, contextmanager, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from picket_gpu.backend import Backend, KMeansEngine, available_threads, select_backend
from picket_gpu.config import S1Config
from picket_gpu.console import SILENT
from picket_gpu.errors import PicketError
from picket_gpu.features import FeatureMode
from picket_gpu.output import remove_leftovers
from picket_gpu.plan import TomogramPlan, plan_for
from picket_gpu.record import UnitRecord
from picket_gpu.report.collect import TomogramReport
from picket_gpu.results import SegmentationResult
from picket_gpu.unit import prepare_unit, unit_record

RETRIES = 2  # of a unit whose worker died
PATIENCE = 3  # seconds for workers to end by themselves

Done = tuple[list[SegmentationResult], UnitRecord, TomogramReport | None]
_one_at_a_time = Lock()


@contextmanager
def local_cluster(workers: int, gpu: bool, directory: Path) -> Iterator[Any]:
    """A client of a cluster of worker processes on this machine, which ends with the context.

    Each worker has an equal part of the cores, or one GPU.

    Args:
        workers: how many.
        gpu: whether each works on a GPU.
        directory: of the outputs; what workers that had to be killed left there is removed.

    Raises:
        PicketError: Dask is not installed.
    """
    distributed = _import()
    import dask

    settings = {
        "distributed.scheduler.allowed-failures": RETRIES,
        # A worker holds one unit at a time, and loses no more when it dies.
        "distributed.scheduler.worker-saturation": 1.0,
    }
    threads = max(1, available_threads() // workers)
    options: dict[str, Any] = {"n_workers": workers, "threads_per_worker": 1}
    options |= {"dashboard_address": ":0", "silence_logs": "CRITICAL"}
    kind = _gpu_cluster() if gpu else distributed.LocalCluster
    with dask.config.set(settings):
        cluster = kind(**options, env={"OMP_NUM_THREADS": str(threads)})
        processes = [nanny.process.pid for nanny in cluster.workers.values()]
        client = distributed.Client(cluster)
        try:
            yield client
        finally:
            with suppress(TimeoutError):
                client.close(timeout=PATIENCE)
            with suppress(TimeoutError):
                cluster.close(timeout=PATIENCE)
            for process in processes:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            if directory.exists():
                remove_leftovers(directory)


@contextmanager
def running_cluster(scheduler: str) -> Iterator[Any]:
    """A client of a cluster that runs already.

    Args:
        scheduler: its address, or the path of a scheduler file.

    Raises:
        PicketError: Dask is not installed, or there is no scheduler.
    """
    distributed = _import()
    where = {"scheduler_file": scheduler} if Path(scheduler).is_file() else {"address": scheduler}
    try:
        client = distributed.Client(**where, timeout=10)
    except (OSError, ValueError, TimeoutError) as error:
        reason = " ".join(str(error).split())
        raise PicketError(f"scheduler: {scheduler} does not answer ({reason})") from None
    with client:
        yield client


def units_on(
    client: Any, config: S1Config, plans: list[TomogramPlan]
) -> Iterator[tuple[TomogramPlan, FeatureMode, Done | Exception]]:
    """Run all pending units on a cluster; what comes of each, as it comes."""
    from distributed import KilledWorker, as_completed

    units = {}
    for plan in plans:
        for mode in plan.pending:
            future = client.submit(_work, config, plan, mode, Path.cwd(), pure=False)
            units[future] = plan, mode
    for future in as_completed(list(units)):  # type: ignore[no-untyped-call]
        plan, mode = units.pop(future)
        error = future.exception()
        if isinstance(error, KilledWorker):
            error = WorkerDiedError(f"its worker died, {RETRIES + 1} times in a row")
        yield plan, mode, error if error is not None else future.result()
        future.release()


class WorkerDiedError(Exception):
    """A unit was given up because the processes that it ran in died."""


def _work(config: S1Config, plan: TomogramPlan, mode: FeatureMode, directory: Path) -> Done:
    """One unit, on a worker. Relative paths are those of ``directory``."""
    with _one_at_a_time, chdir(directory):
        backend = _backend(config.device, config.kmeans_engine)
        plan = replace(plan, memory=plan_for(config, backend, plan.windows))
        with backend.exclusive():
            unit = prepare_unit(config, backend, plan, SILENT)
            results = unit.save(unit.compute(mode, {}))
        return results, unit_record(plan, mode.mode, results, "done"), unit.report


@cache
def _backend(device: str, kmeans_engine: KMeansEngine) -> Backend:
    return select_backend(device, kmeans_engine)


def _import() -> Any:
    try:
        import distributed
    except ImportError:
        raise PicketError("workers: needs Dask; install picket-gpu[distributed]") from None
    return distributed


def _gpu_cluster() -> Any:
    try:
        from dask_cuda import LocalCUDACluster
    except ImportError:
        raise PicketError("workers: on GPUs needs dask-cuda; install it") from None
    return LocalCUDACluster
