"""S1 from a configuration to files."""

import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from picket_gpu.backend import Backend, select_backend
from picket_gpu.clustering import Method
from picket_gpu.config import S1Config, load_config
from picket_gpu.console import ConsoleReporter, Reporter
from picket_gpu.labels import share_of_ones
from picket_gpu.output import (
    attributes,
    read_labels,
    read_scores,
    write_hdf5,
    write_mrc,
    write_scores,
)
from picket_gpu.plan import TomogramPlan, plan_run
from picket_gpu.preprocess import Prepared, prepare
from picket_gpu.report.collect import Subject, TomogramReport, Workflow, begin_report
from picket_gpu.report.write import INDEX, ReportWriter
from picket_gpu.tomogram import read_voxels
from picket_gpu.workflows import Segmentation, segment_prepared


@dataclass(frozen=True)
class SegmentationResult:
    """One segmentation that a run has written.

    Attributes:
        path: its file, HDF5 where that was saved.
        tomogram: the tomogram's path as in the configuration.
        mode: feature mode.
        method: clustering method.
        timings: seconds for ``features``, ``clustering``, ``labels`` and ``files``, and ``volume``:
            reading, blurring and scaling the tomogram, which its workflows share.
        share: of the labelled voxels, how many have label 1.
        iterations: of the clustering method.
        converged: whether it met its stopping rule.
        neighborhood_size: window side in voxels.
    """

    path: Path
    tomogram: Path
    mode: str
    method: Method
    timings: dict[str, float]
    share: float
    iterations: int
    converged: bool
    neighborhood_size: int

    @property
    def seconds(self) -> float:
        """Time of this segmentation, that of the volume left out."""
        return sum(seconds for stage, seconds in self.timings.items() if stage != "volume")

    @property
    def labels(self) -> np.ndarray:
        """int8 labels, (z, y, x), read from the file: a hundred tomograms do not fit in memory."""
        return read_labels(self.path, self.neighborhood_size)

    @property
    def scores(self) -> np.ndarray:
        """float16 scores, (z, y, x), read from the file: how sure label 1 is, 0 to 1.

        Raises:
            PicketError: none were saved.
        """
        return read_scores(self.path)


def run_s1(
    config: S1Config | Mapping[str, Any] | str | Path,
    *,
    overwrite: bool = False,
    quiet: bool = False,
) -> list[SegmentationResult]:
    """Segment every tomogram of a configuration by every workflow, and write the files.

    Args:
        config: an `S1Config`, a mapping with its keys, or the path of a YAML file.
        overwrite: replace segmentations that are there, all their files; otherwise they are an
            error.
        quiet: print nothing.

    Returns:
        One result per segmentation, in the order of inputs, modes and methods.

    Raises:
        PicketError: the configuration or a tomogram is unusable. All that can be known without
            reading every voxel is found before anything is written.
    """
    config = load_config(config)
    backend = select_backend(config.device, config.kmeans_engine)
    console = None if quiet else ConsoleReporter()
    if console:
        console.line(f"Device: {backend.reason}")
        if config.precision == "tf32" and backend.name == "cpu":
            console.line("precision: tf32 is for GPUs; here products are float32")
    plans = plan_run(config, backend, overwrite)
    if console is None:
        return _run(config, backend, plans, Reporter())
    workflows = len(config.feature_extraction_params) * len(config.clustering_methods)
    with console.bar(len(plans) * workflows):
        results = _run(config, backend, plans, console)
    console.line(f"{len(results)} segmentations in {config.directory}")
    if config.report:
        console.line(f"Report: {config.directory / INDEX}")
        if set(config.directory.glob("segmentation_*.h5")) - {result.path for result in results}:
            console.line(f"  of this run; of all: python -m picket_gpu.report {config.directory}")
    console.table(_summary(results))
    return results


def _run(
    config: S1Config, backend: Backend, plans: list[TomogramPlan], reporter: Reporter
) -> list[SegmentationResult]:
    results = []
    indices = [plan.index for plan in plans]
    writer = ReportWriter(config.directory, config.dataset_name, indices) if config.report else None
    with backend.exclusive(), ThreadPoolExecutor(1) as aside:
        for plan in plans:
            path = plan.header.path
            reporter.line(f"[{plan.index + 1}/{len(plans)}] {path}")
            reporter.status(f"{path.name}: reading, blurring")
            started = time.perf_counter()
            prepared = prepare(
                backend, read_voxels(path), config.blur_sigma, plan.memory, str(path)
            )
            backend.synchronize()
            seconds = time.perf_counter() - started
            report = _begin_report(config, backend, plan, prepared) if writer else None
            reported: deque[Future[None]] = deque()
            for result in segment_prepared(
                backend,
                prepared,
                plan.windows,
                config.feature_extraction_params,
                config.clustering_methods,
                plan.memory,
                reporter,
                name=str(path),
                precision=config.precision,
                kmeans_engine=config.kmeans_engine,
                scores=config.scores,
            ):
                results.append(_save(config, plan, result, seconds))
                reporter.line(_describe(results[-1]))
                if report:
                    reported.append(aside.submit(report.add, _workflow(results[-1]), result.labels))
                    # While a GPU computes, the host has cores and memory for the last labels.
                    while len(reported) > 2 * backend.streams:
                        reported.popleft().result()
                del result  # as large as a quarter of the volume
                reporter.advance()
            del prepared  # before the next one takes its place
            for done in reported:
                done.result()
            if writer and report:
                writer.write(report)
                writer.write_index()
    return results


def _save(
    config: S1Config, plan: TomogramPlan, result: Segmentation, volume_seconds: float
) -> SegmentationResult:
    """Write the files of one segmentation."""
    started = time.perf_counter()
    plan.directory.mkdir(parents=True, exist_ok=True)
    timestamp = datetime.now(UTC).isoformat(timespec="seconds")
    files = plan.files(result.mode.mode, result.method)
    for kind, path in files.items():
        if kind == "hdf5":
            details = attributes(config, plan.index, plan.header, result, timestamp)
            write_hdf5(path, result.labels, result.scores, details)
        elif kind == "mrc":
            write_mrc(path, result.labels, plan.header)
        elif result.scores is not None:
            write_scores(path, result.scores, plan.header)
    for path in plan.stale_files(result.mode.mode, result.method):
        path.unlink(missing_ok=True)
    return SegmentationResult(
        path=files.get("hdf5") or next(iter(files.values())),
        tomogram=plan.header.path,
        mode=result.mode.mode,
        method=result.method,
        timings=result.timings | {"files": time.perf_counter() - started, "volume": volume_seconds},
        share=share_of_ones(result.labels, config.neighborhood_size),
        iterations=result.model.iterations,
        converged=result.model.converged,
        neighborhood_size=config.neighborhood_size,
    )


def _begin_report(
    config: S1Config, backend: Backend, plan: TomogramPlan, prepared: Prepared
) -> TomogramReport:
    entry = config.inputs[plan.index]
    subject = Subject(
        index=plan.index,
        dataset=config.dataset_name,
        path=plan.header.path,
        shape=plan.header.shape,
        voxel_size=plan.header.voxel_size,
        lower=entry.lower_z_slice_limit,
        upper=entry.upper_z_slice_limit,
        side=config.neighborhood_size,
    )
    return begin_report(subject, lambda z: prepared.volume.picture(z, backend.download))


def _workflow(result: SegmentationResult) -> Workflow:
    return Workflow(
        mode=result.mode,
        method=result.method,
        path=result.path if result.path.suffix == ".h5" else None,
        share=result.share,
        iterations=result.iterations,
        converged=result.converged,
        seconds=result.seconds,
    )


def _describe(result: SegmentationResult) -> str:
    state = "" if result.converged else ", NOT CONVERGED"
    return (
        f"  {result.mode} {result.method}: {result.share:.1%} of voxels labelled 1, "
        f"{result.iterations} iterations{state}, {result.seconds:.1f} s"
    )


def _summary(results: list[SegmentationResult]) -> list[list[str]]:
    header = ["tomogram", "mode", "method", "label 1", "iterations", "seconds", "file"]
    rows = [
        [
            r.tomogram.name,
            r.mode,
            r.method,
            f"{r.share:.1%}",
            f"{r.iterations}" + ("" if r.converged else " (not converged)"),
            f"{r.seconds:.1f}",
            r.path.name,
        ]
        for r in results
    ]
    return [header, *rows]
