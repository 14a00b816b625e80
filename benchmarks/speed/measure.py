"""Runs one case, in a process of its own so that its peak memory is its own.

    python -m benchmarks.speed.measure CASE_AS_JSON TOMOGRAM DIRECTORY

Labels go to DIRECTORY; the last line of the output is JSON.
"""

import json
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from math import prod
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import h5py
import mrcfile
import numpy as np
import yaml

from benchmarks.speed.cases import Case
from benchmarks.speed.machine import device_memory
from benchmarks.volumes import VOXEL_SIZE, demo_volume
from picket_gpu.files.readers.hdf5 import DATASET, GROUP

MANY = 10**7  # voxels, of which labels are compared by workflows at the same time
AGAIN = 15.0  # seconds of a run that is made once more, to watch the device's memory


def run_case(case: Case, tomogram: Path, directory: Path) -> dict[str, Any]:
    """Measure ``case`` in a child process."""
    command = [sys.executable, "-m", "benchmarks.speed.measure", json.dumps(vars(case))]
    command += [str(tomogram), str(directory)]
    root = Path(__file__).parents[2]
    child = subprocess.run(command, capture_output=True, text=True, cwd=root)
    if child.returncode:
        lines = child.stderr.strip().splitlines() or [f"exit code {child.returncode}"]
        return {"error": lines[-1], "stderr": child.stderr.strip()[-4000:]}
    figures: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return figures


def configuration(case: Case, tomogram: Path, directory: Path) -> dict[str, Any]:
    """The S1 parameters of a case."""
    content: dict[str, Any] = {
        "dataset_name": "labels",
        "inputs": [{"tomogram": str(tomogram)}],
        "feature_extraction_params": [{"mode": mode} for mode in case.modes],
        "clustering_methods": list(case.methods),
        "output_dir": str(directory),
        "device": case.device,
        "kmeans_engine": case.kmeans_engine,
        "precision": case.precision,
    }
    if case.cap:
        content["max_num_neighborhoods_for_fitting"] = case.cap
    if case.budget:
        content["memory_budget"] = case.budget
    if case.diameter:
        content["particles"] = {"diameter": case.diameter}
    return content


def through_api(case: Case, tomogram: Path, directory: Path) -> dict[str, Any]:
    """``run_s1`` in this process, warmed up by a small volume."""
    from picket_gpu import run_s1

    config = configuration(case, tomogram, directory)
    small = directory / "warm.mrc"
    mrcfile.write(small, demo_volume((24, 40, 40)), voxel_size=VOXEL_SIZE)
    warm = {"inputs": [{"tomogram": str(small)}], "dataset_name": "warm"}
    run_s1({**config, **warm, "memory_budget": None}, quiet=True)
    runs = []
    for _ in range(case.repeats):
        started = time.perf_counter()
        results = run_s1(config, overwrite=True, quiet=True)
        runs.append((time.perf_counter() - started, results))
    runs.sort(key=lambda run: run[0])
    seconds, results = runs[len(runs) // 2]
    memory = _memory(case, directory, seconds, lambda: run_s1(config, overwrite=True, quiet=True))
    stages: dict[str, float] = {"volume": results[0].timings["volume"]}
    for result in results:
        stages["files"] = stages.get("files", 0) + result.timings["files"]
        if result.method == results[0].method:
            stages["features"] = stages.get("features", 0) + result.timings["features"]
        for stage in ("clustering", "labels"):
            name = f"{stage}, {result.method}"
            stages[name] = stages.get(name, 0) + result.timings[stage]
    by_mode: dict[str, dict[str, float]] = {}
    for result in results:
        of_mode = by_mode.setdefault(result.mode, {"features": result.timings["features"]})
        of_mode[result.method] = result.timings["clustering"]
        of_mode["labels"] = of_mode.get("labels", 0) + result.timings["labels"]
    if results.particles:
        stages["picking"] = sum(particles.seconds for particles in results.particles)
    return {
        "seconds": seconds,
        "all_seconds": [s for s, _ in runs],
        "stages": stages,
        "by_mode": by_mode,
        "iterations": {f"{r.mode}_{r.method}": r.iterations for r in results},
        "peak_host_mib": peak_mib(),
        **memory,
    }


def through_cli(case: Case, tomogram: Path, directory: Path) -> dict[str, Any]:
    """The command line, its start included."""
    parameters = directory / "parameters.yaml"
    parameters.write_text(yaml.safe_dump(configuration(case, tomogram, directory)))
    command = [sys.executable, "-m", "picket_gpu", str(parameters), "--overwrite", "--quiet"]
    seconds = []
    for _ in range(case.repeats):
        started = time.perf_counter()
        subprocess.run(command, check=True)
        seconds.append(time.perf_counter() - started)
    run = partial(subprocess.run, command, check=True)
    memory = _memory(case, directory, median(seconds), run)
    # Of the largest child, or of this small process where it started it.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {
        "seconds": median(seconds),
        "all_seconds": seconds,
        "peak_host_mib": peak,
        **memory,
    }


def through_recipe(case: Case, tomogram: Path, directory: Path) -> dict[str, Any]:
    """The scikit-learn recipe. ``alone`` is what each workflow would take by itself."""
    from benchmarks import sklearn_recipe

    volume = mrcfile.read(tomogram)
    started = time.perf_counter()
    results = sklearn_recipe.segment_all(volume)
    seconds = time.perf_counter() - started
    (directory / "labels").mkdir()
    for (mode, method), result in results.items():
        labels = np.full(volume.shape, -1, dtype=np.int8)
        labels[2:-2, 2:-2, 2:-2] = result["labels"]
        with h5py.File(_labels_file(directory, mode, method), "w") as file:
            file[f"{GROUP}/{DATASET}"] = labels
    return {
        "seconds": seconds,
        "alone": {"_".join(w): r["extraction"] + r["clustering"] for w, r in results.items()},
        "peak_host_mib": peak_mib(),
    }


def _memory(
    case: Case, directory: Path, seconds: float, run: Callable[[], Any]
) -> dict[str, float]:
    """The device's memory: the peak of our pool, as the run has noted it, and where a run of
    ``seconds`` is short enough to make it once more, what the driver saw of that one."""
    if not case.device.startswith("gpu"):
        return {}
    notes = (file.read_text() for file in (directory / "labels").glob("run*.json"))
    peaks = [int(n) for note in notes for n in re.findall(r'"peak_device_bytes": (\d+)', note)]
    memory = {"peak_pool_mib": max(peaks) / 2**20} if peaks else {}
    return memory if seconds >= AGAIN else memory | device_memory(case.device, run)


def peak_mib() -> float:
    """Most resident memory of this process; getrusage would count what its parent had."""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def agreement(case: Case, directory: Path, judge: Path) -> dict[str, float]:
    """Share of labelled voxels with the same label as in the judge's directory."""
    workflows = [(mode, method) for mode in case.modes for method in case.methods]
    ours, theirs = (
        [_labels_file(place, mode, method) for mode, method in workflows]
        for place in (directory, judge)
    )
    names = [f"{mode}_{method}" for mode, method in workflows]
    if prod(case.shape) < MANY:
        return dict(zip(names, map(_same_labels, ours, theirs), strict=True))
    # HDF5 decompresses in one thread of a process.
    with ProcessPoolExecutor(len(names), get_context("spawn")) as pool:
        return dict(zip(names, pool.map(_same_labels, ours, theirs), strict=True))


def _same_labels(ours: Path, theirs: Path) -> float:
    same = labelled = 0
    with h5py.File(ours) as one, h5py.File(theirs) as other:
        pair = [file[f"{GROUP}/{DATASET}"] for file in (one, other)]
        for first in range(0, len(pair[0]), 16):  # planes of a chunk
            a, b = (labels[first : first + 16] for labels in pair)
            same += int(np.count_nonzero((a == b) & (a >= 0)))
            labelled += int(np.count_nonzero(a >= 0))
    return same / labelled


def _labels_file(directory: Path, mode: str, method: str) -> Path:
    return directory / "labels" / f"segmentation_0_{mode}_{method}.h5"


THROUGH = {"api": through_api, "cli": through_cli, "recipe": through_recipe}

if __name__ == "__main__":
    content = json.loads(sys.argv[1])
    for key in ("shape", "modes", "methods"):
        content[key] = tuple(content[key])
    this = Case(**content)
    print(json.dumps(THROUGH[this.through](this, Path(sys.argv[2]), Path(sys.argv[3]))))
