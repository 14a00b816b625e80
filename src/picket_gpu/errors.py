"""Faults that a user can mend, each in one line."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


def one_line(error: Exception) -> str:
    """The words of another library's error, or its name where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


class PicketError(Exception):
    """A fault in the input, in one line: what is wrong, and what would be right.

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
    """A part of a run that came to nothing.

    Attributes:
        index: the tomogram's place in ``inputs``, from 0.
        tomogram: its file or URL.
        mode: feature mode; None for all of them.
        error: why.
    """

    index: int
    tomogram: Path | str
    mode: str | None
    error: Exception

    @property
    def message(self) -> str:
        """Why, in one line that names the file."""
        text, where = str(self.error), printable(str(self.tomogram))
        if not isinstance(self.error, PicketError):
            text = printable(f"{type(self.error).__name__}: {' '.join(text.split())}")
        return text if where in text else f"{where}: {text}"


class NothingDoneError(PicketError):
    """All parts of a run came to nothing.

    Attributes:
        failures: why, at least one.
    """

    def __init__(self, failures: Sequence[Failure]) -> None:
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        super().__init__(failures[0].message + more)
        self.failures = list(failures)
