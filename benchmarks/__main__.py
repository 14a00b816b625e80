"""Measurements and their tables; README.md beside this file says what they are for.

python -m benchmarks quick|cpu|gpu [--output FILE.json] [--only TEXT]
python -m benchmarks table FILE.json ...      prints the tables
python -m benchmarks readme                   puts them into README.md, from results/
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import mrcfile

from benchmarks.cases import SUITES
from benchmarks.machine import describe
from benchmarks.measure import agreement, run_case
from benchmarks.rivals import measure_rivals
from benchmarks.stages import measure_stages
from benchmarks.table import tables
from benchmarks.volumes import VOXEL_SIZE, demo_volume
from picket_gpu.backend import select_backend

HERE = Path(__file__).parent
MARKS = ("<!-- tables: python -m benchmarks readme -->\n", "<!-- end of tables -->\n")


def measure(suite: str, only: str) -> dict[str, Any]:
    """Measure the cases of a suite, in order, in one temporary directory."""
    backend = select_backend("gpu" if suite == "gpu" else "cpu", "native")
    print(f"{suite}: {backend.reason}", file=sys.stderr)
    machine = describe(backend)
    result: dict[str, Any] = {"suite": suite, "machine": machine, "cases": {}}
    with tempfile.TemporaryDirectory() as directory:
        for number, case in enumerate(SUITES[suite]):
            if only not in case.name:
                continue
            tomogram = Path(directory, f"{'x'.join(map(str, case.shape))}.mrc")
            if not tomogram.exists():
                volume = demo_volume(case.shape)
                mrcfile.write(tomogram, volume, voxel_size=VOXEL_SIZE)
                del volume
            place = Path(directory, str(number))
            place.mkdir()
            figures = run_case(case, tomogram, place)
            result["cases"][case.name] = figures
            names = [c.name for c in SUITES[suite]]
            judge = Path(directory, str(names.index(case.judge))) if case.judge else None
            if judge and (judge / "labels").exists() and "error" not in figures:
                figures["agreement"] = agreement(case, place, judge)
            print(f"  {case.name}: {figures.get('seconds', figures)}", file=sys.stderr)
    if not only:
        size = {"quick": 24, "cpu": 100, "gpu": 400}[suite]
        result["stages"] = measure_stages(backend, size, machine)
        if suite == "gpu":
            result["rivals"] = measure_rivals(backend)
            result["tests"] = gpu_tests()
    return result


def gpu_tests() -> str:
    """The last line of the tests that need a GPU."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "--no-header"]
    process = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True)
    return f"exit code {process.returncode}: {process.stdout.strip().splitlines()[-1]}"


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
        print(tables(measurements, [m["suite"] for m in measurements]), end="")
        return
    if options.what == "readme":
        update_readme()
        return
    result = measure(options.what, options.only)
    if options.output:
        options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
