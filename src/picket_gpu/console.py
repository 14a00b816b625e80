"""What a run tells its user: lines that stay, and a status that comes and goes."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

LogFormat: TypeAlias = Literal["text", "json"]


class Reporter:
    """Tells nobody. What a function without a console gets."""

    def line(self, text: str, worker: str = "") -> None:
        """A line that stays, told by a worker where there are several."""

    def status(self, text: str, worker: str = "") -> None:
        """What is being done right now, by a worker where there are several."""

    def begin(self, mode: str) -> None:
        """A feature mode of a tomogram begins."""

    def advance(self, steps: int) -> None:
        """So many more feature modes of tomograms are done or given up."""

    def unit(self, record: Mapping[str, Any]) -> None:
        """What became of a step, as in the record of the run."""

    @contextmanager
    def bar(self, total: int) -> Iterator[None]:
        """Show progress through ``total`` steps inside the context."""
        yield

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """A table that stays, its header first."""


SILENT = Reporter()


def reporter_for(log_format: LogFormat, quiet: bool) -> Reporter:
    """The one that a user asked for."""
    if quiet:
        return SILENT
    return JsonReporter() if log_format == "json" else ConsoleReporter()


class JsonReporter(Reporter):
    """A JSON object a line on standard output, for programs: its ``event`` is line, status or unit,
    and a unit's other keys are those of the record of the run. What a worker tells has a
    ``worker``, whose status is empty between units."""

    def line(self, text: str, worker: str = "") -> None:
        self._event("line", text=text.strip(), **({"worker": worker} if worker else {}))

    def status(self, text: str, worker: str = "") -> None:
        self._event("status", text=text, **({"worker": worker} if worker else {}))

    def unit(self, record: Mapping[str, Any]) -> None:
        self._event("unit", **record)

    def _event(self, event: str, **values: Any) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        # In one piece: workers' events come by another thread.
        print(json.dumps({"event": event, "time": now, **values}) + "\n", end="", flush=True)


class ConsoleReporter(Reporter):
    """Lines on standard output; on a terminal also a progress bar with the status.

    Without a terminal (a Slurm log) there are lines only. What a worker tells begins with its name.
    """

    def __init__(self) -> None:
        self._console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._progress: Progress | None = None
        self._statuses: dict[str, str] = {}

    def line(self, text: str, worker: str = "") -> None:
        self._console.print(f"{worker}: {text}" if worker else text)

    def status(self, text: str, worker: str = "") -> None:
        if worker:
            self._statuses[worker] = text
            told = sorted(self._statuses.items())
            text = "\n".join(f"{name}: {status}" for name, status in told if status)
        if self._progress:
            self._progress.update(self._progress.task_ids[0], status=text)

    def advance(self, steps: int) -> None:
        if self._progress:
            self._progress.advance(self._progress.task_ids[0], steps)

    @contextmanager
    def bar(self, total: int) -> Iterator[None]:
        """Show a progress bar of ``total`` steps inside the context, on a terminal."""
        if not self._console.is_terminal:
            yield
            return
        columns = (
            TextColumn("Steps"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[status]}", markup=False),
        )
        with Progress(*columns, console=self._console, transient=True) as self._progress:
            self._progress.add_task("", total=total, status="")
            yield
        self._progress = None

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """A table that stays, its header first; names are never cut."""
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.line("  ".join(cells).rstrip())
