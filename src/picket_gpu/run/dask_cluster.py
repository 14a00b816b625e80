"""Dask clusters: one that we start on this machine, or one that runs already."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from picket_gpu.device.limits import available_threads
from picket_gpu.errors import PicketError, one_line
from picket_gpu.files.location import expanded

RETRIES = 2  # of a task whose worker died
ANSWER = 10  # seconds for a scheduler to answer
PATIENCE = 3  # seconds for workers to end by themselves


@contextmanager
def local_cluster(workers: int, gpu: bool) -> Iterator[Any]:
    """Start worker processes on this machine; they end with the context.

    Workers share the cores equally. With ``gpu`` each has a GPU of its own.

    Args:
        workers: number of workers.
        gpu: whether each worker uses a GPU.

    Raises:
        PicketError: Dask is not installed, or there are fewer GPUs or cores than workers.
    """
    if sys.platform == "win32":
        raise PicketError(
            "workers: works on Linux and macOS only; run without it, or use scheduler"
        )
    distributed = _import()
    import dask

    cores = available_threads()
    if workers < 1 or (workers > cores and not gpu):
        raise PicketError(f"workers: {workers} cannot share {cores} threads; use 1 to {cores}")
    threads = max(1, cores // workers)
    settings = {
        "distributed.scheduler.allowed-failures": RETRIES,
        # A worker holds one task at a time, and loses no more when it dies.
        "distributed.scheduler.worker-saturation": 1.0,
        # Dask keeps samples of what each worker does, of an hour: megabytes more every minute.
        "distributed.worker.profile.enabled": False,
        # And the last thousands of messages, events and samples, each process its own.
        "distributed.admin.log-length": 100,
        "distributed.admin.low-level-log-length": 100,
        "distributed.admin.system-monitor.log-length": 100,
    }
    # Dask would kill a worker that takes more than its part of the memory; `memory_budget` is ours.
    options: dict[str, Any] = {"n_workers": workers, "threads_per_worker": 1, "memory_limit": None}
    options |= {"dashboard_address": None, "silence_logs": "CRITICAL"}
    # Without a dashboard the scheduler still serves its state: at a port of this machine that is
    # free, else a second run beside this one would warn of the first one's.
    options |= {"scheduler_kwargs": {"dashboard_address": "127.0.0.1:0"}}
    kind = _gpu_cluster() if gpu else distributed.LocalCluster
    with _environment_kept(), dask.config.set(settings):
        # Handed down from here: LocalCUDACluster replaces ``env`` by its own.
        os.environ["OMP_NUM_THREADS"] = str(threads)
        with _interrupts_later():
            try:
                cluster = kind(**options)
            except (ValueError, OSError, RuntimeError) as error:
                cause: Exception = error
                while isinstance(cause.__cause__, Exception):  # "Nanny failed to start."
                    cause = cause.__cause__
                raise PicketError(
                    f"workers: {workers} cannot be started ({one_line(cause)}); run without them"
                ) from None
            client = distributed.Client(cluster)
            client.run(_quiet)
        try:
            yield client
        finally:
            nannies = list(cluster.workers.values())
            processes = [nanny.process.pid for nanny in nannies if nanny.process]
            with suppress(TimeoutError):
                client.close(timeout=PATIENCE)
            with suppress(TimeoutError):
                cluster.close(timeout=PATIENCE)
            for process in processes:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)


@contextmanager
def running_cluster(scheduler: str) -> Iterator[Any]:
    """Connect to a cluster that runs already.

    Args:
        scheduler: address of its scheduler, or path of a scheduler file.

    Raises:
        PicketError: Dask is not installed, or no scheduler answers.
    """
    distributed = _import()
    # Users of the client print what these log.
    for name in ("distributed.client", "distributed.batched"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        scheduler = expanded(scheduler)
    except ValueError as error:
        raise PicketError(f"scheduler: {error} (got {scheduler!r})") from None
    where = {"scheduler_file": scheduler} if Path(scheduler).is_file() else {"address": scheduler}
    try:
        client = distributed.Client(**where, timeout=ANSWER)
    except (OSError, ValueError, TimeoutError) as error:
        raise PicketError(
            f"scheduler: {scheduler} does not answer ({one_line(error)}); check "
            "its address and that it is running"
        ) from None
    with client:
        yield client


def _quiet() -> None:
    """Silence a worker that ends between two heartbeats, whose log ``silence_logs`` misses."""
    logging.getLogger("tornado.application").setLevel(logging.CRITICAL)


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """Block Ctrl-C and SIGTERM while workers start, so that they inherit the block.

    A terminal sends Ctrl-C to workers too, but this process ends them."""
    resource_tracker.ensure_running()  # which lets them through when it starts
    signals = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # handed down to new processes
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment_kept() -> Iterator[None]:
    """Restore this process's environment, which we and Dask change for workers."""
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
        raise PicketError("workers: needs Dask; pip install -e '.[distributed]'") from None
    return distributed


def _gpu_cluster() -> Any:
    try:
        from dask_cuda import LocalCUDACluster
    except ImportError:
        raise PicketError("workers: GPUs need dask-cuda; install it") from None
    return LocalCUDACluster
