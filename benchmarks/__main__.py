"""Measurements and their tables; README.md beside this file says what they are for.

python -m benchmarks quick|cpu|gpu [--output FILE.json] [--only TEXT]
python -m benchmarks table FILE.json ...      prints the tables
python -m benchmarks readme                   puts them into README.md, from results/

On a GPU, `python -m benchmarks.visit` does the gpu suite in steps that may be cut short.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.speed.cases import SUITES
from benchmarks.speed.machine import describe
from benchmarks.speed.rivals import measure_rivals
from benchmarks.speed.stages import measure_stages
from benchmarks.speed.suite import labels_of, measure_case
from benchmarks.speed.table import tables
from benchmarks.visit.gpu_tests import FILE, OPTIONS
from picket_gpu.device.select import select_backend

HERE = Path(__file__).parent
MARKS = ("<!-- tables: python -m benchmarks readme -->\n", "<!-- end of tables -->\n")


def measure(suite: str, only: str, save: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Measure a suite; what is done is saved as soon as it is, since a visit may be cut short."""
    backend = select_backend("gpu" if suite == "gpu" else "cpu", "native")
    print(f"{suite}: {backend.reason}", file=sys.stderr)
    result: dict[str, Any] = {"suite": suite, "machine": describe(backend), "cases": {}}
    cases = [case for case in SUITES[suite] if only in case.name]
    with tempfile.TemporaryDirectory() as directory:
        for number, case in enumerate(cases):
            result["cases"][case.name] = measure_case(case, Path(directory), result["cases"])
            print(f"  {case.name}: {result['cases'][case.name]}", file=sys.stderr)
            save(result)
            if case.name not in {later.judge for later in cases[number + 1 :]}:
                shutil.rmtree(labels_of(case.name, Path(directory)), ignore_errors=True)
    if only:
        return result
    size, windows = {"quick": (20, 1000), "cpu": (100, 10**6), "gpu": (400, 10**7)}[suite]
    sections: dict[str, Callable[[], Any]] = {
        "stages": lambda: list(measure_stages(backend, size, result["machine"])),
        "rivals": lambda: list(measure_rivals(backend.name, windows)),
    }
    if suite == "gpu":
        sections["tests"] = gpu_tests
    for name, section in sections.items():
        result[name] = section()
        save(result)
    return result


def gpu_tests() -> str:
    """The last line of the tests that need a GPU."""
    command = [sys.executable, "-m", "pytest", *OPTIONS, "-m", "gpu", FILE]
    process = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True)
    lines = (process.stdout.strip() or process.stderr.strip() or "no output").splitlines()
    return f"exit code {process.returncode}, {lines[-1]}"


def update_readme() -> None:
    """Replace the tables of README.md by those of the files in results/."""
    readme = HERE / "README.md"
    readme.write_text(with_tables(readme.read_text()))


def with_tables(text: str) -> str:
    """``text`` with fresh tables between the marks."""
    files = sorted((HERE / "results").glob("*.json"))
    before, rest = text.split(MARKS[0])
    _, after = rest.split(MARKS[1])
    fresh = tables([json.loads(file.read_text()) for file in files], ("gpu", "cpu"))
    return f"{before}{MARKS[0]}\n{fresh}\n{MARKS[1]}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure S1.")
    parser.add_argument("what", choices=(*SUITES, "table", "readme"))
    parser.add_argument("files", nargs="*", type=Path, help="for table")
    parser.add_argument("--output", type=Path, help="where the JSON goes, beside standard output")
    parser.add_argument("--only", default="", help="cases whose name has this text")
    options = parser.parse_args()
    if options.what == "table":
        measurements = [json.loads(file.read_text()) for file in options.files]
        if any(measurement["suite"] not in SUITES for measurement in measurements):
            raise SystemExit("error: the figures of a rehearsal are not for tables")
        print(tables(measurements, [m["suite"] for m in measurements]), end="")
        return
    if options.what == "readme":
        update_readme()
        return

    def save(result: dict[str, Any]) -> None:
        if options.output:
            options.output.write_text(json.dumps(result, indent=1) + "\n")

    print(json.dumps(measure(options.what, options.only, save)))


if __name__ == "__main__":
    main()
