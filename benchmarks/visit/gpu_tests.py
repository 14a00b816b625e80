"""The GPU tests in this process, their outcomes told as they come.

A CUDA error can spoil all that comes after it in a process, so those that did not pass are run once
more, each in a process of its own.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest

ROOT = Path(__file__).parents[2]
FILE = "tests/device/test_gpu.py"
# Without the plugins that other tests need, or that a machine happens to have; warnings of packages
# that only a GPU machine has are no failures.
OPTIONS = ["-o", "addopts=-q", "-p", "no:cacheprovider", "-W", "default", "--rootdir", str(ROOT)]
OUTCOMES = ("passed", "failed", "skipped", "not run")
TEXT = 3000  # characters kept of what a test says
ALONE = 60  # seconds of a test alone, at most


class Recorder:
    """A pytest plugin that prints all outcomes as a line of JSON after each test."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.outcomes: dict[str, dict[str, Any]] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.outcomes = {item.nodeid: {"outcome": "not run"} for item in session.items}
        self._tell()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.outcome == "passed" and report.when != "call":
            return
        outcome: dict[str, Any] = {"outcome": report.outcome, "seconds": round(report.duration, 2)}
        if report.outcome != "passed":
            outcome["text"] = report.longreprtext[-TEXT:] or str(report.longrepr)[-TEXT:]
        self.outcomes[report.nodeid] = outcome
        self._tell()

    def _tell(self) -> None:
        told = {"tests": summary(self.outcomes), "test_outcomes": self.outcomes}
        # On a line of its own: pytest's dots go to the same place.
        print("\n" + json.dumps(told), file=self._out, flush=True)


def summary(outcomes: dict[str, dict[str, Any]]) -> str:
    """Such as "40 passed, 1 skipped"."""
    kinds = [outcome["outcome"] for outcome in outcomes.values()]
    parts = [f"{kinds.count(kind)} {kind}" for kind in OUTCOMES if kind in kinds]
    return ", ".join(parts) or "none found"


def run_all(keep: str = "") -> int:
    """Run the GPU tests, or those that pytest's ``-k`` keeps; returns pytest's exit code."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.chdir(ROOT)
    # pytest captures standard output while it runs.
    with os.fdopen(os.dup(1), "w") as out:
        arguments = [*OPTIONS, "-m", "gpu", "-k", keep, FILE]
        return int(pytest.main(arguments, plugins=[Recorder(out)]))


def run_each_alone(outcomes: dict[str, dict[str, Any]]) -> Iterator[dict[str, str]]:
    """Outcomes so far of the tests that did not pass, each in a process of its own; first of those
    that failed, then of those that were not run."""
    alone: dict[str, str] = {}
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    for kind in ("failed", "not run"):
        for name in [name for name, outcome in outcomes.items() if outcome["outcome"] == kind]:
            command = [sys.executable, "-m", "pytest", *OPTIONS, "--tb=short", name]
            options = {"cwd": ROOT, "env": environment, "capture_output": True, "text": True}
            try:
                process = subprocess.run(command, timeout=ALONE, check=False, **options)
            except subprocess.TimeoutExpired:
                alone[name] = f"more than {ALONE} s"
            else:
                passed = process.returncode == 0
                alone[name] = "passed" if passed else (process.stdout + process.stderr)[-TEXT:]
            yield alone
