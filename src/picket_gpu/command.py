"""Shared parts of the commands: their --help, exit codes, one-line errors on standard error."""

import argparse
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import TextIOWrapper

from picket_gpu.errors import Failure, NothingDoneError, PicketError


def continue_in_utf8() -> None:
    """Start this process again in Python's UTF-8 mode, if names of files have another encoding.

    Under a locale such as C or de_DE.ISO-8859-1 names beyond ASCII in a parameter file would be
    those of no file, and those of files could not be written to records. What is printed keeps the
    encoding of the terminal.
    """
    if sys.getfilesystemencoding().lower() == "utf-8" or sys.flags.utf8_mode:
        return
    printed = f"{getattr(sys.stdout, 'encoding', None) or 'ascii'}:backslashreplace"
    environment = {"PYTHONIOENCODING": printed} | os.environ | {"PYTHONUTF8": "1"}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def parser_for(name: str, description: str, example: str, page: str) -> argparse.ArgumentParser:
    """A parser whose --help ends with an example and the page of the docs to read.

    Args:
        name: how the command is called, such as "picket-gpu".
        example: arguments of the example.
        page: path in the repository.
    """
    return argparse.ArgumentParser(
        prog=name,
        description=description,
        epilog=f"example: {name} {example}\ndocumentation: {page} in the repository of picket_gpu",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def exit_code(run: Callable[[], int]) -> int:
    """Run a command, and print an error in one line.

    Returns:
        The exit code that ``run`` returns; 2 for invalid input, 1 for a system error, 130 after
        Ctrl-C, 143 after SIGTERM.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # what a locale other than UTF-8 lacks is escaped
            stream.reconfigure(errors="backslashreplace")
    try:
        signal.signal(signal.SIGTERM, _interrupt)
        _check_working_directory()
        return run()
    except NothingDoneError as error:
        report_failures(error.failures)
        return 2 if all(isinstance(one.error, PicketError) for one in error.failures) else 1
    except PicketError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (OSError, MemoryError) as error:
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        print("interrupted", file=sys.stderr)
        return 143 if interrupt.args else 130


def _check_working_directory() -> None:
    """Check that records, which are UTF-8, can name the working directory.

    Raises:
        PicketError: they cannot.
    """
    with suppress(FileNotFoundError):
        directory = os.getcwd()
        if re.search("[\ud800-\udfff]", directory):
            raise PicketError(f"the name of {directory} is not text in UTF-8; rename the directory")


def _interrupt(*_: object) -> None:
    """Raise what Ctrl-C raises, so that no partial file stays."""
    raise KeyboardInterrupt("SIGTERM")


def report_failures(failures: Sequence[Failure]) -> int:
    """Print failures, equal messages once, and return the exit code."""
    for message in dict.fromkeys(failure.message for failure in failures):
        print(f"error: {message}", file=sys.stderr)
    return 1 if failures else 0
