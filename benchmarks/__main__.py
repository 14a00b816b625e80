"""Measurements and their tables; README.md beside this file says what they are for.

python -m benchmarks quick|cpu|gpu [--output FILE.json] [--only TEXT]
python -m benchmarks table FILE.json ...      prints the tables
python -m benchmarks readme                   puts them into README.md, from results/
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mrcfile

from benchmarks.speed.cases import DEMO_SHAPE, SUITES, Case, Shape
from benchmarks.speed.machine import describe
from benchmarks.speed.measure import agreement, run_case
from benchmarks.speed.rivals import measure_rivals
from benchmarks.speed.stages import measure_stages
from benchmarks.speed.table import tables
from benchmarks.volumes import DEMO, VOXEL_SIZE, demo_volume
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
            result["cases"][case.name] = _measure_case(case, Path(directory), result["cases"])
            print(f"  {case.name}: {result['cases'][case.name]}", file=sys.stderr)
            save(result)
            wanted = {_place(directory, later.judge) for later in cases[number + 1 :]}
            if (place := _place(directory, case.name)) not in wanted:
                shutil.rmtree(place, ignore_errors=True)
    if only:
        return result
    size, windows = {"quick": (20, 1000), "cpu": (100, 10**6), "gpu": (400, 10**7)}[suite]
    sections: dict[str, Callable[[], Any]] = {
        "stages": lambda: measure_stages(backend, size, result["machine"]),
        "rivals": lambda: measure_rivals(backend.name, windows),
    }
    if suite == "gpu":
        sections["tests"] = gpu_tests
    for name, section in sections.items():
        result[name] = section()
        save(result)
    return result


def _measure_case(case: Case, directory: Path, done: dict[str, Any]) -> dict[str, Any]:
    if case.kmeans_engine == "cuml" and find_spec("cuml") is None:
        return {"missing": "cuML is not installed"}
    place = _place(directory, case.name)
    place.mkdir()
    figures = run_case(case, _tomogram(case.shape, directory), place)
    if case.judge and "error" not in figures and "seconds" in done.get(case.judge, {}):
        figures["agreement"] = agreement(case, place, _place(directory, case.judge))
    return figures


def _place(directory: Path | str, name: str | None) -> Path:
    """Where the labels of a case go."""
    return Path(directory, str(name).replace("/", "_"))


def _tomogram(shape: Shape, directory: Path) -> Path:
    """The file of a volume of ``shape``, written when first asked for."""
    if shape == DEMO_SHAPE:
        return DEMO
    file = directory / f"{'x'.join(map(str, shape))}.mrc"
    if not file.exists():
        mrcfile.write(file, demo_volume(shape), voxel_size=VOXEL_SIZE)
    return file


def gpu_tests() -> str:
    """The last line of the tests that need a GPU."""
    # One process for one GPU, without the plugins that other tests need.
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-o", "addopts=-q"]
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
