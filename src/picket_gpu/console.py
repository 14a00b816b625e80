"""Output of a run: lines that stay, and a status that is replaced."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column
from rich.text import Text

LogFormat: TypeAlias = Literal["text", "json"]


class Reporter:
    """Prints nothing; base of the others.

    Attributes:
        details: receiver of what is said of one tomogram while it runs. Of a run over several
            tomograms a person sees a line each, and no details.
    """

    @property
    def details(self) -> "Reporter":
        return self

    def line(self, text: str, worker: str = "") -> None:
        """Print a line that stays, with the name of the worker if there are several."""

    def status(self, text: str, worker: str = "") -> None:
        """Show the current step, with the name of the worker if there are several."""

    def begin(self, mode: str) -> None:
        """Note that a feature mode of a tomogram begins."""

    def advance(self, steps: int) -> None:
        """Count steps of tomograms that are done or have failed."""

    def done(self, text: str, left: float | None) -> None:
        """Print the line of one of several tomograms, which is done or has failed.

        Args:
            left: seconds that the others will take; None if that is not known.
        """
        self.line(text if left is None else f"{text}; {about(left)}")

    def unit(self, record: Mapping[str, Any]) -> None:
        """Report a step as the record of the run has it."""

    @contextmanager
    def bar(self, steps: int, tomograms: int) -> Iterator[None]:
        """Show progress inside the context.

        Args:
            steps: number of steps of all tomograms.
            tomograms: number of tomograms, those that are done or cannot be read included.
        """
        yield

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Print a table, header first."""


SILENT = Reporter()


class _WithoutLines(Reporter):
    """Passes on what a bar shows, and no lines."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def status(self, text: str, worker: str = "") -> None:
        self._reporter.status(text, worker)

    def advance(self, steps: int) -> None:
        self._reporter.advance(steps)


def about(seconds: float) -> str:
    """A time that is left, for people, who need no more than two digits of it."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute left"
    if minutes < 60:
        return f"about {minutes} min left"
    hours, tens = divmod(round(minutes / 10), 6)
    return f"about {hours} h{f' {tens}0 min' if tens and hours < 10 else ''} left"


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The lines of a table; cells are never cut."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


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
        self._tomograms = 1
        self._done = 0

    @property
    def details(self) -> Reporter:
        return self if self._tomograms == 1 else _WithoutLines(self)

    def line(self, text: str, worker: str = "") -> None:
        self._console.print(f"{worker}: {text}" if worker else text)

    def status(self, text: str, worker: str = "") -> None:
        if worker:
            self._statuses[worker] = text
            statuses = sorted(self._statuses.items())
            text = "\n".join(f"{name}: {status}" for name, status in statuses if status)
        self._update(status=text)

    def advance(self, steps: int) -> None:
        if self._progress:
            self._progress.advance(self._progress.task_ids[0], steps)

    def done(self, text: str, left: float | None) -> None:
        if self._progress is None:
            super().done(text, left)
            return
        self._done += 1
        end = None if left is None else time.monotonic() + left
        self._update(done=self._done, end=end, refresh=True)
        self.line(text)

    def _update(self, **fields: Any) -> None:
        if self._progress:
            self._progress.update(self._progress.task_ids[0], **fields)

    @contextmanager
    def bar(self, steps: int, tomograms: int) -> Iterator[None]:
        """Show a progress bar inside the context, on a terminal."""
        self._tomograms = tomograms
        if not self._console.is_terminal:
            yield
            return
        columns: Iterable[ProgressColumn] = (
            (TextColumn("Steps"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            if tomograms == 1
            else (
                TextColumn(f"{{task.fields[done]}} of {tomograms} tomograms"),
                BarColumn(),
                TimeElapsedColumn(),
                _TimeLeft(Column(no_wrap=True)),
            )
        )
        with _Bar(*columns, console=self._console, transient=True) as self._progress:
            self._progress.add_task("", total=steps, status="", done=0, end=None)
            yield
        self._progress = None

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """A table that stays, its header first."""
        for line in aligned(rows):
            self.line(line)


class _Bar(Progress):
    """A bar, and below it what is going on, which may be a line for each worker."""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            if task.fields["status"]:
                yield Text(task.fields["status"])


class _TimeLeft(ProgressColumn):
    """Counts down the time that was estimated when the last tomogram was done."""

    def render(self, task: Task) -> Text:
        end = task.fields["end"]
        return Text("" if end is None else about(max(0.0, end - time.monotonic())))
