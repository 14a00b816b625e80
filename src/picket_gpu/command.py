"""What the commands share: exit codes, and errors in one line on standard error."""

import signal
import sys
from collections.abc import Callable, Sequence

from picket_gpu.errors import Failure, NothingDoneError, PicketError


def exit_code(run: Callable[[], int]) -> int:
    """Run, and tell an error in one line.

    Returns:
        What ``run`` does, or 2 for a fault of the input, 1 for another one, 130 if interrupted, 143
        if told to end (SIGTERM).
    """
    try:
        signal.signal(signal.SIGTERM, _interrupt)
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


def _interrupt(*_: object) -> None:
    """As Ctrl-C does, so that nothing half-written stays."""
    raise KeyboardInterrupt("SIGTERM")


def report_failures(failures: Sequence[Failure]) -> int:
    """Name what failed, once where all modes of a tomogram failed alike; returns the exit code."""
    for message in dict.fromkeys(failure.message for failure in failures):
        print(f"error: {message}", file=sys.stderr)
    return 1 if failures else 0
