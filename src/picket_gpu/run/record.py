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
from picket_gpu.run.machine import PACKAGES, commit, versions
from picket_gpu.run.picking import PickingPlan
from picket_gpu.run.plan import TomogramPlan
from picket_gpu.run.results import ParticleResult, SegmentationResult

PARTICLES = "particles"  # in place of a feature mode
Status: TypeAlias = Literal["done", "done earlier", "failed"]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SegmentationRecord(_Record):
    """One segmentation."""

    method: str = Field(description="clustering method")
    fingerprint: str = Field(description="of all that its labels depend on")
    files: list[str] = Field(description="its files, relative to the directory of this record")
    share: float = Field(description="of the labelled voxels, how many have label 1")
    iterations: int = Field(description="of the clustering method")
    converged: bool = Field(description="whether it met its stopping rule")
    passes: float | None = Field(
        None, description="how often the features of a window were computed, on average"
    )
    seconds: dict[str, float] = Field(description="time of each stage")


class ParticlesRecord(_Record):
    """Particles of one tomogram, from one workflow."""

    mode: str = Field(description="feature mode; tomogram if picked without a segmentation")
    method: str = Field(description="clustering method; ball if picked without a segmentation")
    fingerprint: str = Field(description="of all that they depend on")
    files: list[str] = Field(description="relative to the directory of this record")
    settings: dict[str, Any] = Field(description="of picking, lengths in angstrom")
    threshold: float = Field(description="height from which candidates are particles")
    candidates: int
    count: int = Field(description="of particles")
    seconds: float


class UnitRecord(_Record):
    """One tomogram by one feature mode, its particles, or a tomogram that failed as a whole."""

    index: int = Field(description="the tomogram's place in inputs, from 0")
    tomogram: str = Field(description="its file, as in the configuration")
    mode: str | None = Field(
        description="feature mode; null for all of them; particles for what was picked"
    )
    status: Status
    error: str | None = Field(None, description="why it failed")
    traceback: str | None = Field(None, description="of an error that was not foreseen")
    windows: int | None = Field(None, description="used for fitting")
    worker: str | None = Field(None, description="name of the Dask worker it ran on")
    host: str | None = Field(None, description="machine of that worker")
    device: str | None = Field(None, description="where it computed, and why")
    peak_host_bytes: int | None = Field(
        None, description="most memory that the process has held so far"
    )
    peak_device_bytes: int | None = Field(
        None, description="most memory of the GPU that arrays of the process have held so far"
    )
    warnings: list[str] = Field([], description="what else its user should know")
    segmentations: list[SegmentationRecord] = []
    particles: list[ParticlesRecord] = []


class RunRecord(_Record):
    """One run, rewritten whenever a task is done."""

    format: Literal[1] = 1
    started: datetime
    finished: datetime | None = Field(
        None, description="missing while it runs, or if it was killed"
    )
    config: dict[str, Any] = Field(description="as used, with defaults")
    versions: dict[str, str]
    commit: str | None = Field(description="of the repository that the package runs from")
    host: str
    working_directory: str | None = Field(None, description="where relative paths start")
    device: str = Field(description="where it computed, and why")
    tomograms: list[int] | None = Field(
        None, description="the part of inputs that it was for, from 0; null for all"
    )
    seed: int
    units: list[UnitRecord] = []

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
                share=result.share,
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
        status="done earlier" if result.earlier else "done",
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
