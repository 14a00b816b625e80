"""The record of a run: run.json, for people who must know later what was done."""

import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from traceback import format_exception
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from picket_gpu.config.s1 import S1Config
from picket_gpu.errors import Failure, PicketError
from picket_gpu.files.atomic import atomic_file
from picket_gpu.particles.settings import ParticleSettings
from picket_gpu.run.machine import PACKAGES, commit, peak_host_bytes, versions
from picket_gpu.run.picking import PickingPlan
from picket_gpu.run.plan import TomogramPlan
from picket_gpu.run.results import ParticleResult, SegmentationResult

PARTICLES = "particles"  # in place of a feature mode
Status: TypeAlias = Literal["done", "done earlier", "failed"]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SegmentationRecord(_Record):
    """One segmentation of a task."""

    method: str = Field(description="Clustering method")
    fingerprint: str = Field(description="Digest of everything that the labels depend on")
    files: list[str] = Field(
        description="Files of the segmentation, relative to the directory of this record"
    )
    share: float = Field(description="Foreground fraction: labelled voxels with label 1, 0 to 1")
    iterations: int = Field(description="Number of iterations of the clustering method")
    converged: bool = Field(description="Whether the clustering method met its stopping rule")
    passes: float | None = Field(
        None, description="Mean number of times that the features of a neighborhood were computed"
    )
    seconds: dict[str, float] = Field(description="Seconds per stage")


class ParticlesRecord(_Record):
    """Particles of one tomogram, picked from one workflow."""

    mode: str = Field(description="Feature mode; tomogram if picked without a segmentation")
    method: str = Field(description="Clustering method; ball if picked without a segmentation")
    fingerprint: str = Field(description="Digest of everything that the particles depend on")
    files: list[str] = Field(
        description="Files of the particles, relative to the directory of this record"
    )
    settings: dict[str, Any] = Field(description="Settings for picking, lengths in angstrom")
    threshold: float = Field(description="Least height of a candidate that is picked")
    label: int = Field(1, description="Label of the particles")
    candidates: int = Field(description="Number of candidates")
    count: int = Field(description="Number of particles picked")
    seconds: float = Field(description="Seconds for picking and writing")


class UnitRecord(_Record):
    """One task (a tomogram and a feature mode), picked particles, or a tomogram that failed."""

    index: int = Field(description="Index of the tomogram in inputs, from 0")
    tomogram: str = Field(description="File or URL of the tomogram, as in the configuration")
    mode: str | None = Field(
        description="Feature mode; null for all modes, particles for picked particles"
    )
    status: Status = Field(description="Outcome: done in this run, done earlier, or failed")
    error: str | None = Field(None, description="Error message, if the task failed")
    traceback: str | None = Field(None, description="Traceback of an unexpected error")
    windows: int | None = Field(None, description="Number of neighborhoods used for fitting")
    worker: str | None = Field(None, description="Name of the Dask worker")
    host: str | None = Field(None, description="Host name of the Dask worker")
    device: str | None = Field(None, description="Device used, and why")
    peak_host_bytes: int | None = Field(
        None, description="Peak host memory of the process so far, in bytes"
    )
    peak_device_bytes: int | None = Field(
        None, description="Peak GPU memory of the process's arrays so far, in bytes"
    )
    warnings: list[str] = Field([], description="Warnings about the tomogram and its results")
    segmentations: list[SegmentationRecord] = Field(
        [], description="Segmentations of this task, one per clustering method"
    )
    particles: list[ParticlesRecord] = Field([], description="Particles of one workflow")


class RunRecord(_Record):
    """Record of one run, rewritten after each task."""

    format: Literal[1] = Field(1, description="Version of this format")
    started: datetime = Field(description="Time when the run started")
    finished: datetime | None = Field(
        None, description="Time when the run ended; null while it runs, or if it was killed"
    )
    config: dict[str, Any] = Field(description="Settings used, defaults included")
    versions: dict[str, str] = Field(description="Versions of Python and of packages")
    commit: str | None = Field(
        description="Git commit of the repository that the package runs from; null if there is none"
    )
    host: str = Field(description="Host name of the machine that started the run")
    working_directory: str | None = Field(
        None, description="Working directory, where relative paths start"
    )
    device: str = Field(description="Device used, and why")
    tomograms: list[int] | None = Field(
        None, description="Indices of the inputs that the run was for, from 0; null for all"
    )
    seed: int = Field(description="Random seed")
    units: list[UnitRecord] = Field([], description="Tasks, in the order in which they ended")

    def write(self, path: Path) -> None:
        """Replace the record at ``path``."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as temporary:
            temporary.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_units(path: Path) -> dict[tuple[int, str | None], UnitRecord]:
    """Units of the record at ``path``, by tomogram and feature mode; none where it is not whole."""
    try:
        record = RunRecord.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return {(unit.index, unit.mode): unit for unit in record.units}


def begin_record(config: S1Config, device: str, tomograms: list[int] | None) -> RunRecord:
    """The record of a run that starts now."""
    return RunRecord(
        started=now(),
        config=config.model_dump(mode="json", by_alias=True),
        versions={"python": platform.python_version(), **versions(PACKAGES)},
        commit=commit(),
        host=platform.node(),
        working_directory=os.getcwd(),
        device=device,
        tomograms=tomograms,
        seed=config.seed,
    )


def unit_record(
    plan: TomogramPlan,
    mode: str,
    results: list[SegmentationResult],
    status: Status,
    warnings: Iterable[str],
    **measured: Any,
) -> UnitRecord:
    """What the record says of a tomogram by one feature mode whose segmentations are there.

    Args:
        warnings: what is odd about the tomogram.
        measured: other fields, of what was done in this run.
    """
    return UnitRecord(
        index=plan.index,
        tomogram=str(plan.header.path),
        mode=mode,
        status=status,
        warnings=[
            *warnings,
            *(f"{result.method} did not converge" for result in results if not result.converged),
        ],
        segmentations=[
            SegmentationRecord(
                method=result.method,
                fingerprint=plan.fingerprints[mode, result.method],
                files=[
                    os.path.relpath(path, plan.files.directory)
                    for path in plan.files.of(mode, result.method).values()
                ],
                share=result.foreground_fraction,
                iterations=result.iterations,
                converged=result.converged,
                passes=result.passes,
                seconds=result.timings,
            )
            for result in results
        ],
        **measured,
    )


def particles_record(
    plan: TomogramPlan, picking: PickingPlan, settings: ParticleSettings, result: ParticleResult
) -> UnitRecord:
    """What the record says of particles."""
    return UnitRecord(
        index=plan.index,
        tomogram=str(plan.header.path),
        mode=PARTICLES,
        status="done earlier" if result.reused else "done",
        peak_host_bytes=None if result.reused else peak_host_bytes(),
        particles=[
            ParticlesRecord(
                mode=result.mode,
                method=result.method,
                fingerprint=picking.fingerprint,
                files=[
                    os.path.relpath(path, plan.files.directory) for path in picking.files.values()
                ],
                settings=settings.model_dump(mode="json", exclude_none=True),
                threshold=result.threshold,
                label=result.label,
                candidates=result.candidates,
                count=result.count,
                seconds=result.seconds,
            )
        ],
    )


def failed_unit(failure: Failure) -> UnitRecord:
    """What the record says of a failure."""
    foreseen = isinstance(failure.error, PicketError | OSError | MemoryError)
    return UnitRecord(
        index=failure.index,
        tomogram=str(failure.tomogram),
        mode=failure.mode,
        status="failed",
        error=failure.message,
        traceback=None if foreseen else "".join(format_exception(failure.error)),
    )


def now() -> datetime:
    """The time, to a second, with its zone."""
    return datetime.now(UTC).replace(microsecond=0)
