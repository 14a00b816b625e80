"""The first visit to a machine with a GPU.

python -m benchmarks.visit pack DIR             here: all that the visit needs, in one folder
python DIR/visit.py --output FILE.json          there: needs no network, installs nothing
python -m benchmarks.visit run --output FILE.json      the same from a clone that is installed
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn

from benchmarks.visit.page import page
from benchmarks.visit.plan import STAND_IN, Step, chosen
from benchmarks.visit.runner import Visit
from picket_gpu.run.record import commit

ROOT = Path(__file__).parents[2]


def run(options: argparse.Namespace) -> None:
    """Run the steps; what is done is in the file whatever happens."""
    steps = chosen(options.only, options.skip)
    output = options.output.absolute()
    output.parent.mkdir(parents=True, exist_ok=True)
    heading = {
        "suite": "rehearsal" if options.rehearse else "gpu",
        "git_commit": commit(),
        "started": time.strftime("%Y-%m-%d %H:%M:%S"),
        "python": platform.python_version(),
        "device": STAND_IN if options.rehearse else _gpus(),
    }
    if options.rehearse:
        paths = [str(Path(__file__).with_name("rehearsal")), str(ROOT)]
        if earlier := os.environ.get("PYTHONPATH"):
            paths.append(earlier)
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    visit = Visit(output, heading)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    if options.work:
        options.work.mkdir(parents=True, exist_ok=True)
    with nullcontext(options.work) if options.work else tempfile.TemporaryDirectory() as work:
        place = Path(work).absolute()

        def command(step: Step) -> list[str]:
            words = [sys.executable, "-m", "benchmarks.visit", "step", step.name]
            return [*words, str(output), str(place), *["--rehearse"] * options.rehearse]

        os.chdir(ROOT)
        try:
            complete = visit.run(steps, command, place, options.minutes * 60)
        except KeyboardInterrupt as interrupt:
            print(f"interrupted; {output} has what was done", file=sys.stderr)
            raise SystemExit(143 if interrupt.args else 130) from None
        finally:
            print(page(visit.result), flush=True)
    print(f"{output}: {_counts(visit.result['steps'])}")
    if not complete:
        raise SystemExit(1)


def step(options: argparse.Namespace) -> None:
    """One step, as the runner starts it."""
    from benchmarks.visit.step import run_step

    threading.Thread(target=_end_with, args=[os.getppid()], daemon=True).start()
    result = json.loads(options.result.read_text())
    for update in run_step(options.name, result, options.work, options.rehearse):
        print(json.dumps(update), flush=True)


def pack(options: argparse.Namespace) -> None:
    from benchmarks.visit.pack import pack

    size = pack(ROOT, options.folder, options.python)
    print(f"{options.folder}: {size / 2**20:.1f} MiB; there: python {options.folder.name}/visit.py")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.visit", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    kinds = parser.add_subparsers(required=True, metavar="pack|run")
    one = kinds.add_parser("pack", help="make the folder")
    one.add_argument("folder", type=Path)
    one.add_argument("--python", default="3.12", help="version of Python there (default: 3.12)")
    one.set_defaults(function=pack)
    one = kinds.add_parser("run", help="run the steps")
    one.add_argument("--output", type=Path, default=Path("visit.json"), help="JSON, continued")
    one.add_argument("--minutes", type=float, default=55, help="for all steps (default: 55)")
    one.add_argument("--work", type=Path, help="keep temporary files here, 15 GB")
    for name, which in (("--only", "these"), ("--skip", "all but these")):
        text = f"{which} steps, by how their names begin"
        one.add_argument(name, nargs="+", default=[], metavar="NAME", help=text)
    one.add_argument("--rehearse", action="store_true", help="small, on a CPU that plays the GPU")
    one.set_defaults(function=run)
    one = kinds.add_parser("step")
    one.add_argument("name")
    one.add_argument("result", type=Path)
    one.add_argument("work", type=Path)
    one.add_argument("--rehearse", action="store_true")
    one.set_defaults(function=step)
    options = parser.parse_args(arguments)
    options.function(options)


def _gpus() -> str:
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        found = ""
    return found.strip() or "no GPU found"


def _counts(steps: dict[str, dict[str, Any]]) -> str:
    """Such as "20 done, 1 failed"."""
    states = [state["status"] for state in steps.values()]
    return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))


def _end_with(parent: int) -> None:
    """End this process group when its parent is killed: it would disturb what is measured next."""
    while os.getppid() == parent:
        time.sleep(1)
    os.killpg(0, signal.SIGKILL)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt("told to end")


if __name__ == "__main__":
    main()
