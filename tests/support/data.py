"""Where files for tests are, and the environment of processes that are measured."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"


def untraced(environment=os.environ):
    """The environment of a process whose memory or time counts: coverage takes some of both."""
    return {name: value for name, value in environment.items() if "COVERAGE_" not in name}
