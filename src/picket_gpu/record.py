"""The record of a run: run.json, for people who must know later what was done."""

import os
import platform
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from traceback import format_exception
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from picket_gpu.config import S1Config
from picket_gpu.errors import Failure, PicketError
from picket_gpu.writers.whole import whole_file

# Asked for one by one: to read what all installed packages say of themselves takes a while.
PACKAGES: tuple[str, ...] = (
    *("picket-gpu", "numpy", "scipy", "h5py", "mrcfile", "zarr", "fsspec", "s3fs", "tifffile"),
    *("distributed", "dask-cuda", "cupy", "cupy-cuda12x", "cupy-cuda13x"),
    *("cuml", "cuml-cu12", "cuml-cu13", "rmm", "rmm-cu12", "rmm-cu13"),
)
COMMIT = "PICKET_GPU_COMMIT"


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
    seconds: dict[str, float] = Field(description="time of each stage")


class UnitRecord(_Record):
    """One tomogram by one feature mode, or a tomogram that failed as a whole."""

    index: int = Field(description="the tomogram's place in inputs, from 0")
    tomogram: str = Field(description="its file, as in the configuration")
    mode: str | None = Field(description="feature mode; null for all of them")
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


class RunRecord(_Record):
    """One run, rewritten whenever a unit is done."""

    format: Literal[1] = 1
    started: datetime
    finished: datetime | None = Field(
        None, description="missing while it runs, or if it was killed"
    )
    config: dict[str, Any] = Field(description="as used, with defaults")
    versions: dict[str, str]
    commit: str | None = Field(description="of the repository that the package runs from")
    host: str
    device: str = Field(description="where it computed, and why")
    tomograms: list[int] | None = Field(
        None, description="the part of inputs that it was for, from 0; null for all"
    )
    seed: int
    units: list[UnitRecord] = []

    def write(self, path: Path) -> None:
        """Replace the record at ``path``."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as temporary:
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
        device=device,
        tomograms=tomograms,
        seed=config.seed,
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


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Of those ``packages`` that are installed."""
    found = {}
    for name in packages:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def commit() -> str | None:
    """Of the repository that the package runs from, if it does; "-dirty" where files differ."""
    root = Path(__file__).parents[2]
    if (told := os.environ.get(COMMIT)) or not (root / ".git").exists():
        return told or None  # a copy without its history can be told
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        process = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return process.stdout.strip() or None
