"""Runs steps one after the other, each in a process of its own, and keeps what is done.

Needs nothing but Python: what is broken on a machine is then a step's error and not the visit's.
The last whole line of a step's standard output that is a JSON object is its result so far, so that
a step that fails, or is stopped, leaves what it had.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.visit.plan import Step

POLL = 0.2  # seconds
GRACE = 3.0  # seconds between SIGTERM and SIGKILL
ENDED = ("done", "failed", "timed out")  # steps that a continued visit does not repeat
TAIL = 4000  # characters of a step's standard error
SHARE = 0.6  # of the time that is left, that a step may take: others come after it
LEAST = 3.0  # seconds, with fewer of which no step begins


class Visit:
    """The result of a visit, and its file, which is replaced whole after every step.

    Attributes:
        result: what was measured, and under ``steps`` how each step ended: "done", "failed",
            "timed out", "cut off", "not started", or "running" where the visit was killed.
    """

    def __init__(self, file: Path, heading: dict[str, Any]) -> None:
        """
        Raises:
            SystemExit: ``file`` holds a visit of another commit or device.
        """
        self._file = file
        self.result: dict[str, Any] = {**heading, "steps": {}}
        if file.exists():
            earlier = json.loads(file.read_text())
            for key in ("suite", "git_commit", "device"):
                if earlier.get(key) != heading[key]:
                    raise SystemExit(
                        f"error: {file}: {key} is {earlier.get(key)}, this visit's is "
                        f"{heading[key]}; give another --output"
                    )
            self.result = earlier

    def run(
        self,
        steps: Sequence[Step],
        command: Callable[[Step], list[str]],
        logs: Path,
        seconds: float,
    ) -> bool:
        """Run those ``steps`` that have not ended, within ``seconds`` in all.

        Returns:
            Whether all that were needed succeeded. After one that did not, no other begins.

        Args:
            command: the command line of a step.
            logs: directory for what the steps print.

        Raises:
            KeyboardInterrupt: interrupted, or told to end; what was done is saved.
        """
        states, deadline = self.result["steps"], time.monotonic() + seconds
        for number, step in enumerate(steps):
            status = states.get(step.name, {}).get("status")
            if status == "done" or (status in ENDED and not step.needed):
                continue
            left = deadline - time.monotonic()
            if left < LEAST:
                states[step.name] = {"status": "not started", "error": "the time was up"}
                self.save()
                continue
            log = logs / f"{number + 1:02}"
            started = time.monotonic()
            state = states[step.name] = {"status": "running"}
            try:
                self.save()
                print(f"[{number + 1}/{len(steps)}] {step.name}", flush=True)
                self._attempt(command(step), log, min(step.limit, SHARE * left), state)
                if state["status"] == "timed out" and SHARE * left < step.limit:
                    state["status"] = "cut off"
            except KeyboardInterrupt:
                state["status"] = "cut off"
                raise
            except Exception as error:  # a step's fault is not that of the next
                state.update(status="failed", error=f"{type(error).__name__}: {error}")
            finally:
                state["seconds"] = round(time.monotonic() - started, 2)
                self.save()
            print(f"    {state['status']}, {state['seconds']} s", flush=True)
            if step.needed and state["status"] != "done":
                return False
        return True

    def _attempt(self, command: list[str], log: Path, limit: float, state: dict[str, Any]) -> None:
        out, err = log.with_suffix(".out"), log.with_suffix(".err")
        deadline = time.monotonic() + limit
        with _process(command, out, err) as process:
            seen = None
            try:
                while process.poll() is None and time.monotonic() < deadline:
                    time.sleep(POLL)
                    seen = self._keep(out, seen)
                timed_out = process.poll() is None
            finally:
                _stop(process)
                self._keep(out, seen)
        if timed_out:
            state.update(status="timed out", error=f"more than {limit:.0f} s\n{_tail(err)}")
        elif process.returncode:
            state.update(status="failed", error=f"exit code {process.returncode}\n{_tail(err)}")
        else:
            state["status"] = "done"

    def _keep(self, out: Path, seen: str | None) -> str | None:
        """Merge the last result of a step that is not ``seen`` yet; returns it as text."""
        line = last_result(out.read_text(errors="replace"))
        if line is None or line == seen:
            return seen
        merge(self.result, json.loads(line))
        self.save()
        return line

    def save(self) -> None:
        """The file has the result of before or of now, never a part."""
        part = self._file.with_name(self._file.name + ".part")
        part.write_text(json.dumps(self.result, indent=1) + "\n")
        os.replace(part, self._file)


def last_result(output: str) -> str | None:
    """The last whole line that is a JSON object."""
    for line in reversed(output.split("\n")[:-1]):
        if line.startswith("{"):
            with suppress(json.JSONDecodeError):
                json.loads(line)
                return line
    return None


def merge(result: dict[str, Any], update: dict[str, Any]) -> None:
    """Put ``update`` into ``result``, mappings key by key."""
    for key, value in update.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key].update(value)
        else:
            result[key] = value


@contextmanager
def _process(command: list[str], out: Path, err: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, so that its children can be ended with it."""
    with out.open("wb") as stdout, err.open("wb") as stderr:
        yield subprocess.Popen(command, stdout=stdout, stderr=stderr, start_new_session=True)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the process, if it has not ended, and what it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)


def _tail(file: Path) -> str:
    return file.read_text(errors="replace").strip()[-TAIL:]
