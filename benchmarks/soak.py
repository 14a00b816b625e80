"""Whether a long run grows: 400 small tomograms in one run, in one process and on two workers.

    python -m benchmarks.soak

prints, for each process, resident memory, open files and threads by tens of tomograms: the most
that was seen whenever a feature mode was done; and milliseconds of CPU for a tomogram. The last
line is JSON.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import mrcfile
import numpy as np
import yaml

SHAPE = (16, 20, 20)
BLOCK = 10  # tomograms
# For glibc: memory that is freed goes back at once, so that what is resident is what is held.
ENVIRONMENT = {"MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
PAGE = os.sysconf("SC_PAGE_SIZE")


class Use(NamedTuple):
    """What a process holds."""

    memory: int  # resident bytes
    files: int
    threads: int
    seconds: float  # of CPU so far


Series = dict[str, list[Use]]  # by process, the most in each ten tomograms


def soak(tomograms: int, workers: int | None = None) -> Series:
    """Run that many tomograms by the command line, in one process or on workers, and watch.

    Tens begin with tomograms that are done, whichever worker did them.
    """
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        units = write_inputs(place, tomograms)
        command = [sys.executable, "-m", "picket_gpu", "params.yaml", "--log-format", "json"]
        if workers is not None:
            command += ["--workers", str(workers)]
        most: Series = {}
        options: dict[str, Any] = {"cwd": place, "env": os.environ | ENVIRONMENT}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options) as process:
            assert process.stdout is not None
            done = 0
            for line in process.stdout:
                if json.loads(line)["event"] == "unit":
                    watch(process.pid, most, done // (units * BLOCK))
                    done += 1
        if process.returncode or done != units * tomograms:
            raise RuntimeError(f"{done} units done, exit code {process.returncode}")
    return most


def write_inputs(place: Path, tomograms: int) -> int:
    """Tomograms and parameters for all workflows; how many units a tomogram has."""
    rng = np.random.default_rng(0)
    names = [f"t{number}.mrc" for number in range(tomograms)]
    for name in names:
        volume = rng.standard_normal(SHAPE, dtype=np.float32)
        volume[5:10, 6:13, 7:14] += 3  # a particle, for clusters that are soon found
        mrcfile.write(place / name, volume)
    # One batch: 64 of so few windows would only take time.
    modes = [{"mode": "ffts", "n_fft_subsets": 1}, {"mode": "gabor"}, {"mode": "intensities"}]
    config = {
        "dataset_name": "set",
        "inputs": [{"tomogram": name} for name in names],
        "neighborhood_size": 3,
        "feature_extraction_params": modes,
        "output_dir": "out",
        "device": "cpu",
    }
    (place / "params.yaml").write_text(yaml.safe_dump(config))
    return len(modes)


def watch(process: int, most: Series, block: int) -> None:
    """Note what a run's process and its workers hold now."""
    for name, number in processes(process).items():
        try:
            now = use(number)
        except OSError:  # it has just ended
            continue
        blocks = most.setdefault(name, [])
        if len(blocks) <= block:
            blocks.append(now)
        else:
            blocks[-1] = Use(*map(max, blocks[-1], now))


def processes(run: int) -> dict[str, int]:
    """The process of a run and its workers, which Python has spawned."""
    found = {"run": run}
    for children in Path(f"/proc/{run}/task").glob("*/children"):  # of each thread
        for child in children.read_text().split():
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                found[f"worker {child}"] = int(child)
    return found


def use(process: int) -> Use:
    """What a process holds now."""
    place = Path(f"/proc/{process}")
    resident = int((place / "statm").read_text().split()[1]) * PAGE
    status = (place / "status").read_text().splitlines()
    (threads,) = (int(line.split()[1]) for line in status if line.startswith("Threads:"))
    times = (place / "stat").read_text().rpartition(")")[2].split()[11:13]  # user, system
    seconds = sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
    return Use(resident, len(list((place / "fd").iterdir())), threads, seconds)


def growth(blocks: list[Use], figure: Callable[[Use], int]) -> float:
    """How much more of something is held in the last ten tomograms than in the second ten, as a
    share: the first ten load what is loaded once."""
    return figure(blocks[-1]) / figure(blocks[1]) - 1


def milliseconds(series: Series) -> list[float]:
    """CPU for a tomogram in ms, all processes together, by blocks from the second on."""
    return [
        1000 / BLOCK * sum(later.seconds - one.seconds for one, later in steps)
        for steps in zip(*(pairwise(blocks) for blocks in series.values()), strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--tomograms", type=int, default=400)
    tomograms = parser.parse_args().tomograms
    result: dict[str, Any] = {}
    for workers in (None, 2):
        where = "in one process" if workers is None else f"on {workers} workers"
        print(f"{tomograms} tomograms {where}")
        series = soak(tomograms, workers)
        for name, blocks in series.items():
            print(f"  {name}")
            print("    MiB    ", *(f"{block.memory / 2**20:.1f}" for block in blocks))
            print("    files  ", *(block.files for block in blocks))
            print("    threads", *(block.threads for block in blocks))
        print("  CPU, ms a tomogram", *(f"{each:.0f}" for each in milliseconds(series)))
        result[where] = series
    print(json.dumps(result))


if __name__ == "__main__":
    main()
