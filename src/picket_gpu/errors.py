"""Errors that a user can fix, each in one line."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

# Parts of a tomogram that failed: feature mode, particles or None for all of it, and the message.
FailedParts: TypeAlias = list[tuple[str | None, str]]


def one_line(error: Exception) -> str:
    """The words of another library's error, or its name where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


class PicketError(Exception):
    """Error in the input, in one line: what is wrong, and how to fix it.

    The command line prints it without a traceback and ends with exit code 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def printable(text: str) -> str:
    """Text with escapes for line breaks, and for what would steer a terminal."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


@dataclass(frozen=True)
class Failure:
    """Failed part of a run: a tomogram, or one of its feature modes.

    Attributes:
        index: index of the tomogram in ``inputs``, from 0.
        tomogram: file or URL of the tomogram.
        mode: feature mode; None for all feature modes.
        error: exception that was raised.
    """

    index: int
    tomogram: Path | str
    mode: str | None
    error: Exception

    @property
    def message(self) -> str:
        """Error message, in one line that names the file."""
        text, where = str(self.error), printable(str(self.tomogram))
        if not isinstance(self.error, PicketError):
            text = printable(f"{type(self.error).__name__}: {' '.join(text.split())}")
        return text if where in text else f"{where}: {text}"


class NothingDoneError(PicketError):
    """Error of a run in which every part failed.

    Attributes:
        failures: failed parts, at least one.
    """

    def __init__(self, failures: Sequence[Failure]) -> None:
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        super().__init__(failures[0].message + more)
        self.failures = list(failures)
