"""A run from a configuration to files: `run_s1`.

    config -> plan, with what exists -> each tomogram, here or on workers -> record

The configuration is checked and the run planned before anything is written
(`picket_gpu.run.plan`). Then each tomogram goes through these steps (`picket_gpu.run.task`):

1. read: grey values of the file as float32 (`picket_gpu.files.tomogram`).
2. prepare: padding, masks and limits; Gaussian blur; grey values scaled to [0, 1]; the windows to
   fit on (`picket_gpu.method.recipe`).
3. For each feature mode (`picket_gpu.method.workflows`):
   features of each window, tile by tile (`picket_gpu.method.features`), whitened by their
   covariance (`picket_gpu.method.whitening`);
   fit: k-means, and from its clusters a Gaussian mixture (`picket_gpu.method.clustering`);
   label: every voxel that has a window; the larger cluster is 0 (`picket_gpu.method.labels`);
   write: HDF5, MRC and others, each complete or not there (`picket_gpu.files.segmentation`).
4. pick: particles from the scores, the labels or the tomogram (`picket_gpu.run.picking`).
5. report: the page and the preview (`picket_gpu.report`).
"""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from picket_gpu.config.load import load_config
from picket_gpu.config.s1 import S1Config
from picket_gpu.console import LogFormat, Reporter, reporter_for
from picket_gpu.device.backend import Backend
from picket_gpu.device.limits import available_threads
from picket_gpu.device.select import select_backend
from picket_gpu.errors import NothingDoneError, PicketError
from picket_gpu.files.atomic import remove_leftovers
from picket_gpu.files.filenames import INDEX
from picket_gpu.run.dask_cluster import local_cluster, running_cluster
from picket_gpu.run.picking import replaced_by
from picket_gpu.run.plan import RunPlan, plan_run
from picket_gpu.run.results import S1Run
from picket_gpu.run.runner import record_unreadable, run_planned
from picket_gpu.run.summary import last_line, odd, table


def run_s1(
    config: S1Config | Mapping[str, Any] | str | Path,
    *,
    tomograms: Iterable[int] | None = None,
    overwrite: bool = False,
    overwrite_particles: bool = False,
    quiet: bool = False,
    log_format: LogFormat = "text",
    client: Any = None,
    workers: int | None = None,
    scheduler: str | None = None,
) -> S1Run:
    """Segment all tomograms of a configuration by all workflows, pick particles, write the files.

    Finished segmentations, made with the same settings from the same files, are kept. If a tomogram
    or feature mode fails, the others continue.

    Args:
        config: path of a YAML file, a mapping with its keys, or an `S1Config`.
        tomograms: indices of the entries of ``inputs`` to process, from 0; default: all.
        overwrite: recompute everything and replace existing files.
        overwrite_particles: replace particles that were picked with other settings.
        quiet: print nothing.
        log_format: "text", or "json" for one object per line.
        client: `distributed.Client` whose workers run the tomograms; default: this process does.
        workers: number of worker processes on this machine, one per GPU or sharing the cores.
        scheduler: address or file of a Dask scheduler whose workers run the tomograms.

    Returns:
        The segmentations, with failures, warnings and picked particles as attributes.

    Raises:
        PicketError: the configuration is invalid (nothing is written then), or nothing could be
            computed (a `NothingDoneError` with the failures).
    """
    config = load_config(config)
    elsewhere = client is not None or scheduler is not None
    if elsewhere:  # this machine may be without the workers' GPUs
        backend = Backend("chosen by each worker", workers=available_threads())
    else:
        backend = select_backend(config.device, config.kmeans_engine)
    reporter = reporter_for(log_format, quiet)
    reporter.line(f"Device: {backend.reason}")
    for note in config.notes:
        reporter.line(note)
    if config.precision == "tf32" and backend.name == "cpu" and not elsewhere:
        reporter.line("precision: tf32 works on GPUs only; using float32 on the CPU")
    replaced = replaced_by(overwrite, overwrite_particles)
    chosen = None if tomograms is None else list(tomograms)
    try:
        plan = plan_run(config, None if elsewhere else backend, replaced, chosen)
    except NothingDoneError as error:
        if chosen is not None:
            record_unreadable(config, backend, chosen, error.failures)
        raise
    try:
        with (
            reporter.bar(plan.steps, plan.count),
            _client(client, workers, scheduler, backend, plan) as cluster,
        ):
            run = run_planned(config, backend, plan, reporter, cluster)
    finally:
        for directory in plan.directories:  # of workers that had to be killed
            remove_leftovers(directory)
    _conclude(config, plan, run, reporter)
    return run


def _client(
    client: Any, workers: int | None, scheduler: str | None, backend: Backend, plan: RunPlan
) -> AbstractContextManager[Any]:
    """The Dask client to use inside the context, None for none."""
    if sum(each is not None for each in (client, workers, scheduler)) > 1:
        raise PicketError("client, workers, scheduler: use only one of them")
    if all(one.is_done for one in plan.tomograms):
        return nullcontext()
    if workers is not None:
        return local_cluster(workers, backend.name == "gpu")
    return nullcontext(client) if scheduler is None else running_cluster(scheduler)


def _conclude(config: S1Config, plan: RunPlan, run: S1Run, reporter: Reporter) -> None:
    """Say at the end what there is, and what to look at first."""
    if config.report:
        reporter.line(f"Report: {config.directory / INDEX}")
        if plan.chosen is None and set(config.directory.glob("segmentation_*.h5")) - {
            result.path for result in run
        }:
            reporter.line(
                "  covers this run only; for all segmentations: python -m "
                f"picket_gpu.report {config.directory}"
            )
    reporter.table(table(config, run))
    look = list(odd(run)) if plan.count > 1 else []
    look += [f"warning: {text}" for one in run.lists for text in one.warnings]
    if look:
        reporter.line("Look at these first:")
    for line in look:
        reporter.line(f"  {line}")
    for line in (line for one in run.lists for line in one.named):
        reporter.line(line)
    reporter.line(last_line(config, run))
