"""Output of a run: lines that stay, and a status that is replaced."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

LogFormat: TypeAlias = Literal["text", "json"]


class Reporter:
    """Prints nothing; base of the others."""

    def line(self, text: str, worker: str = "") -> None:
        """Print a line that stays, with the name of the worker if there are several."""

    def status(self, text: str, worker: str = "") -> None:
        """Show the current step, with the name of the worker if there are several."""

    def begin(self, mode: str) -> None:
        """Note that a feature mode of a tomogram begins."""

    def advance(self, steps: int) -> None:
        """Count feature modes of tomograms that are done or have failed."""

    def unit(self, record: Mapping[str, Any]) -> None:
        """Report a step as the record of the run has it."""

    @contextmanager
    def bar(self, total: int) -> Iterator[None]:
        """Show progress through ``total`` steps inside the context."""
        yield

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Print a table, header first."""


SILENT = Reporter()


def reporter_for(log_format: LogFormat, quiet: bool) -> Reporter:
    """The reporter that a user asked for."""
    if quiet:
        return SILENT
    return JsonReporter() if log_format == "json" else ConsoleReporter()


class JsonReporter(Reporter):
    """Prints a JSON object per line on standard output, for programs.

    Its ``event`` is line, status or unit; the other keys of a unit are those of a step in the
    record of the run. Lines and statuses of a worker have a ``worker``, whose status is empty
    between tomograms.
    """

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

    Without a terminal (a Slurm log) there are lines only. Lines of a worker begin with its name.
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
            statuses = sorted(self._statuses.items())
            text = "\n".join(f"{name}: {status}" for name, status in statuses if status)
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
