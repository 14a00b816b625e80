"""Records of runs, run.json: what was done, with which settings, versions and results.

``python -m picket_gpu.run.record`` prints its JSON Schema, configs/run.schema.json.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from traceback import format_exception
from typing import Any, Literal, NamedTuple, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from picket_gpu.config.s1 import S1Config
from picket_gpu.errors import FailedParts, Failure, PicketError
from picket_gpu.files.atomic import Pace, atomic_file
from picket_gpu.files.location import Location, as_location, is_same
from picket_gpu.files.segmentation import Segmentation
from picket_gpu.particles.particles import Particles

# Asked for one by one: to read what all installed packages say of themselves takes a while.
PACKAGES: tuple[str, ...] = (
    *("picket-gpu", "numpy", "scipy", "h5py", "mrcfile", "zarr", "fsspec", "s3fs", "tifffile"),
    *("distributed", "dask-cuda", "cupy", "cupy-cuda12x", "cupy-cuda13x"),
    *("cuml", "cuml-cu12", "cuml-cu13", "rmm", "rmm-cu12", "rmm-cu13"),
)
COMMIT = "PICKET_GPU_COMMIT"
PARTICLES = "particles"  # in place of a feature mode
Status: TypeAlias = Literal["done", "done earlier", "failed"]


class FoundBeads(BaseModel):
    """Gold beads and hot voxels that were left out of a tomogram."""

    model_config = ConfigDict(extra="forbid")

    count: int = Field(description="Number of beads and hot voxels")
    diameter: float = Field(description="Median diameter in voxels")
    file: str = Field(description="File of their positions, next to this record")


class Step(BaseModel):
    """One step of a run: a tomogram by a feature mode, its particles, or a failure."""

    model_config = ConfigDict(extra="forbid")

    index: int = Field(description="Index of the tomogram in inputs, from 0")
    tomogram: str = Field(description="File or URL of the tomogram, as in the configuration")
    mode: str | None = Field(
        description="Feature mode; null for all modes, particles for picked particles"
    )
    status: Status = Field(description="Outcome: done in this run, done earlier, or failed")
    error: str | None = Field(None, description="Error message, if the step failed")
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
    beads: FoundBeads | None = Field(None, description="Gold beads that were left out, if any")
    warnings: list[str] = Field([], description="Warnings about the tomogram and its results")
    aside: list[str] = Field([], exclude=True)  # what to tell of tables that were put aside
    segmentations: list[Segmentation] = Field(
        [], description="Segmentations of this step, one per clustering method"
    )
    particles: list[Particles] = Field([], description="Particles of one workflow")


class ListRecord(BaseModel):
    """Particles of one workflow and name in all tomograms of the directory."""

    model_config = ConfigDict(extra="forbid")

    mode: str = Field(description="Feature mode; tomogram if picked without a segmentation")
    method: str = Field(description="Clustering method; ball if picked without a segmentation")
    picking: str | None = Field(description="Name of the particles; null for none")
    tomograms: int = Field(description="Number of tomograms that were picked in")
    count: int = Field(description="Number of particles picked in them")
    files: list[str] = Field(
        description="Files of the list, relative to the directory of this record"
    )
    warnings: list[str] = Field([], description="Warnings about the list")


class RunRecord(BaseModel):
    """Record of one run, rewritten while it runs and at its end."""

    model_config = ConfigDict(extra="forbid")

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
    adopted: dict[str, str] = Field(
        {},
        description="Fingerprints of segmentations that were kept for a copy of their tomogram, by "
        "the fingerprints that they would have for it",
    )
    lists: list[ListRecord] = Field(
        [], description="Lists of particles of all tomograms, as they were at the end of the run"
    )
    units: list[Step] = Field([], description="Steps, in the order in which they ended")


def json_schema() -> dict[str, Any]:
    """JSON Schema of run.json, as in configs/run.schema.json."""
    return RunRecord.model_json_schema(mode="serialization")


class RecordFile:
    """The file of a run's record, which grows step by step.

    It is written again at the pace of `Pace`, and at the end.
    """

    def __init__(
        self,
        path: Path,
        config: S1Config,
        device: str,
        tomograms: list[int] | None,
        adopted: Mapping[str, str],
    ) -> None:
        self.path = path
        self._record = RunRecord(
            started=now(),
            config=config.model_dump(mode="json", by_alias=True),
            versions={"python": platform.python_version(), **versions(PACKAGES)},
            commit=commit(),
            host=platform.node(),
            working_directory=os.getcwd(),
            device=device,
            tomograms=tomograms,
            seed=config.seed,
            adopted=dict(adopted),
        )
        self._steps: list[str] = []
        self._pace = Pace()

    def add(self, step: Mapping[str, Any], hold: bool = False) -> int:
        """Add a step, as JSON has it.

        Args:
            hold: leave the file as it is.

        Returns:
            Its place, for `replace`.
        """
        self._steps.append(json.dumps(step, ensure_ascii=False))
        if not hold and self._pace.is_due:
            self.write()
        return len(self._steps) - 1

    def replace(self, place: int, step: Mapping[str, Any]) -> None:
        """Put another step in the place of one; the file is left as it is."""
        self._steps[place] = json.dumps(step, ensure_ascii=False)

    def add_lists(self, lists: Iterable[ListRecord]) -> None:
        """Add the lists of all tomograms; the file is left as it is."""
        self._record.lists = list(lists)

    def finish(self) -> None:
        """Note that the run is over, and write the file."""
        self._record.finished = now()
        self.write()

    def write(self) -> None:
        """Replace the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        head = self._record.model_dump_json(indent=1, exclude={"units"}).removesuffix("\n}")
        steps = ",".join(f"\n  {step}" for step in self._steps)
        with self._pace.writing(), atomic_file(self.path) as temporary:
            temporary.write_text(f'{head},\n "units": [{steps}\n ]\n}}\n', encoding="utf-8")


class Made(NamedTuple):
    """What a record says of the segmentations with one fingerprint.

    Attributes:
        tomogram: where the tomogram was.
        as_given: as the user wrote it.
        number: index of the tomogram.
        rank: place among the segmentations of all records.
        record: the record.
        unit: what it says of the step.
    """

    tomogram: Location
    as_given: str
    number: int
    rank: int
    record: Mapping[str, Any]
    unit: Mapping[str, Any]

    def beside(self, where: Location) -> Location:
        """A location, from where the run started if it is relative."""
        return _beside(where, self.record)


class _Failed(NamedTuple):
    """What failed of a tomogram: where it was, and as the user wrote it."""

    where: Location
    as_given: str
    parts: FailedParts


class Records:
    """What the records of all runs in a directory say. What is no record says nothing.

    Attributes:
        made: of segmentations, by fingerprint; the newest record that has one is right.
        last: of the last segmentation of each tomogram, by index.
        inputs: names and paths of the tomograms that the newest record is of, by index.
        adopted: fingerprints of segmentations that were kept for a copy of their tomogram, by
            those that they would have for it.
    """

    def __init__(self, directory: Path) -> None:
        self.made: dict[str, Made] = {}
        self.last: dict[int, Made] = {}
        self.inputs: dict[int, tuple[str, str]] = {}
        self.adopted: dict[str, str] = {}
        self._failed: dict[int, _Failed] = {}
        for record in _records(directory):
            failed: dict[int, _Failed] = {}
            with suppress(KeyError, TypeError, ValueError):
                for unit in record["units"]:
                    index, given = unit["index"], unit["tomogram"]
                    where = _beside(as_location(given), record)
                    parts = failed.setdefault(index, _Failed(where, given, [])).parts
                    if unit["status"] == "failed":
                        parts.append((unit["mode"], str(unit["error"])))
                    for line in unit["segmentations"]:
                        made = Made(where, given, index, len(self.made), record, unit)
                        self.made[line["fingerprint"]] = self.last[index] = made
            self._failed |= failed
            with suppress(KeyError, TypeError, ValueError):
                self.inputs = _inputs(record)
            with suppress(TypeError, ValueError):
                self.adopted |= record.get("adopted", {})

    def failures(self, tomograms: Mapping[int, tuple[str, str]]) -> dict[int, FailedParts]:
        """What failed of each tomogram in the newest record that names it, by index.

        Args:
            tomograms: their names and paths; what is recorded of others is left out.
        """
        found = {}
        for index, failed in self._failed.items():
            given = tomograms.get(index, ("", ""))[1]
            same = given == failed.as_given or (given and is_same(failed.where, as_location(given)))
            if failed.parts and same:
                found[index] = failed.parts
        return found


def _records(directory: Path) -> list[dict[str, Any]]:
    """The oldest first; of two that started in one second, that which was written first."""
    found = []
    for path in directory.glob("run*.json"):
        with suppress(OSError, ValueError):
            record = json.loads(path.read_bytes())
            if isinstance(record, dict) and "started" in record:
                found.append((str(record["started"]), path.stat().st_mtime_ns, record))
    return [record for *_, record in sorted(found, key=lambda one: one[:2])]


def _beside(where: Location, record: Mapping[str, Any]) -> Location:
    if isinstance(where, Path):
        return Path(record.get("working_directory") or "") / where
    return where


def _inputs(record: Mapping[str, Any]) -> dict[int, tuple[str, str]]:
    """Names and paths of the tomograms of a run, by index."""
    entries = enumerate(record["config"]["inputs"])
    paths = [(index, entry, as_location(entry["tomogram"])) for index, entry in entries]
    return {index: (entry.get("name") or at.name, str(at)) for index, entry, at in paths}


def failed_step(failure: Failure) -> Step:
    """The step of a failure."""
    foreseen = isinstance(failure.error, PicketError | OSError | MemoryError)
    return Step(
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
    """Versions of those ``packages`` that are installed, by name."""
    found = {}
    for name in packages:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def commit() -> str | None:
    """Git commit of the repository that the package runs from, with "-dirty" if files differ; None
    if it runs from elsewhere."""
    root = Path(__file__).parents[3]
    if (given := os.environ.get(COMMIT)) or not (root / ".git").exists():
        return given or None  # a copy has no history
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        process = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return process.stdout.strip() or None


def peak_host_bytes() -> int | None:
    """Peak memory of this process so far, in bytes; None on Windows."""
    if sys.platform == "win32":
        return None
    import resource  # not on Windows

    with suppress(OSError):  # Linux, whose ru_maxrss begins with that of the parent
        for line in Path("/proc/self/status").read_bytes().splitlines():
            if line.startswith(b"VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")
