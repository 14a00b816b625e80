"""Dask clusters to run on: one of our own on this machine, or any that runs."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from picket_gpu.backend import available_threads
from picket_gpu.errors import PicketError
from picket_gpu.output import remove_leftovers

RETRIES = 2  # of a unit whose worker died
PATIENCE = 3  # seconds for workers to end by themselves


@contextmanager
def local_cluster(workers: int, gpu: bool, directory: Path) -> Iterator[Any]:
    """A client of a cluster of worker processes on this machine, which ends with the context.

    Each worker has an equal part of the cores, and one GPU of its own if ``gpu``.

    Args:
        workers: how many.
        gpu: whether each works on a GPU.
        directory: of the outputs; what workers that had to be killed left there is removed.

    Raises:
        PicketError: Dask is not installed, or there are fewer GPUs than workers.
    """
    distributed = _import()
    import dask

    threads = max(1, available_threads() // workers)
    settings = {
        "distributed.scheduler.allowed-failures": RETRIES,
        # A worker holds one unit at a time, and loses no more when it dies.
        "distributed.scheduler.worker-saturation": 1.0,
    }
    # Dask would kill a worker that takes more than its part of the memory; `memory_budget` is ours.
    options: dict[str, Any] = {"n_workers": workers, "threads_per_worker": 1, "memory_limit": None}
    options |= {"dashboard_address": ":0", "silence_logs": "CRITICAL"}
    kind = _gpu_cluster() if gpu else distributed.LocalCluster
    with _environment_kept(), dask.config.set(settings):
        # Handed down from here: LocalCUDACluster replaces ``env`` by its own.
        os.environ["OMP_NUM_THREADS"] = str(threads)
        try:
            cluster = kind(**options)
        except ValueError as error:
            reason = " ".join(str(error).split())
            raise PicketError(f"workers: {workers} cannot be started ({reason})") from None
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


@contextmanager
def _environment_kept() -> Iterator[None]:
    """Undo at the end what we and Dask write into this process's environment for workers."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


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
