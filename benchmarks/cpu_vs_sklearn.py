"""picket_gpu on the CPU against the textbook scikit-learn recipe: time, agreement, memory.

Both run the six workflows on the same volume and the same cores, each in a process of its own so
that its peak memory is its own. A workflow's ratio compares it run alone, features included;
the total compares six in one run, where both share what can be shared.

    python benchmarks/cpu_vs_sklearn.py [--size 100] [--memory-budget BYTES]

The last line of the output is JSON.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import sklearn_recipe as recipe
from benchmarks.volumes import demo_cube

WORKFLOWS = [(mode, method) for mode in recipe.MODES for method in recipe.METHODS]


def run_recipe(size: int, _: int | None, labels_file: str) -> dict:
    """Times of the recipe; labels go to ``labels_file``."""
    started = time.perf_counter()
    results = recipe.segment_all(demo_cube(size))
    total = time.perf_counter() - started
    np.savez(labels_file, **{"_".join(w): r["labels"] for w, r in results.items()})
    alone = {"_".join(w): r["extraction"] + r["clustering"] for w, r in results.items()}
    return {"total": total, "alone": alone}


def run_ours(size: int, budget: int | None, labels_file: str) -> dict:
    """Times of picket_gpu; labels go to ``labels_file``."""
    from picket_gpu.backend import select_backend
    from picket_gpu.features import FFTs, Gabor, Intensities
    from picket_gpu.memory import plan_memory
    from picket_gpu.neighborhoods import fit_windows
    from picket_gpu.preprocess import prepare
    from picket_gpu.segmentation import segment_prepared

    volume = demo_cube(size)
    backend = select_backend("cpu")
    started = time.perf_counter()
    windows = fit_windows(volume.shape, 5)
    plan = plan_memory(backend, windows, 2, budget)
    with backend.exclusive():
        prepared = prepare(backend, volume, 2.0, plan)
        modes = [FFTs(), Gabor(), Intensities()]
        results = list(segment_prepared(backend, prepared, windows, modes, recipe.METHODS, plan))
    total = time.perf_counter() - started
    inner = (slice(2, -2),) * 3
    np.savez(labels_file, **{f"{r.mode.mode}_{r.method}": r.labels[inner] for r in results})
    return {"total": total}


def run_ours_alone(size: int, budget: int | None, labels_file: str) -> dict:
    """Times of picket_gpu: six workflows in one run as `run_ours`, then each alone."""
    from picket_gpu import segment

    figures = run_ours(size, budget, labels_file) | {"alone": {}}
    volume = demo_cube(size)
    for mode, method in WORKFLOWS:
        started = time.perf_counter()
        segment(volume, features=mode, clustering=method, device="cpu", memory_budget=budget)
        figures["alone"][f"{mode}_{method}"] = time.perf_counter() - started
    return figures


RUNNERS = {"recipe": run_recipe, "total": run_ours, "ours": run_ours_alone}


def in_own_process(who: str, size: int, budget: int | None, labels_file: Path) -> dict:
    """The runner's result, with the peak resident memory of its process."""
    command = [sys.executable, __file__, "--child", who, "--size", str(size)]
    command += ["--labels", str(labels_file)]
    command += ["--memory-budget", str(budget)] if budget else []
    child = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(child.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=100, help="voxels a side (default 100)")
    parser.add_argument("--memory-budget", type=int, help="bytes, for ours")
    parser.add_argument("--child", choices=RUNNERS, help=argparse.SUPPRESS)
    parser.add_argument("--labels", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        figures = RUNNERS[options.child](options.size, options.memory_budget, options.labels)
        figures["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(figures))
        return

    with tempfile.TemporaryDirectory() as directory:
        runs, labels = {}, {}
        for who in ("ours", "recipe"):
            file = Path(directory) / f"{who}.npz"
            runs[who] = in_own_process(who, options.size, options.memory_budget, file)
            labels[who] = np.load(file)
        agreement = {
            "_".join(w): float(
                (labels["ours"]["_".join(w)] == labels["recipe"]["_".join(w)]).mean()
            )
            for w in WORKFLOWS
        }
    print(f"{options.size}^3 voxels, {len(os.sched_getaffinity(0))} cores; seconds of one run")
    print(f"{'workflow':<20}{'scikit-learn':>14}{'picket_gpu':>12}{'ratio':>8}{'agreement':>12}")
    ratio = {}
    for name, ours in runs["ours"]["alone"].items():
        theirs = runs["recipe"]["alone"][name]
        ratio[name] = theirs / ours
        print(f"{name:<20}{theirs:>14.1f}{ours:>12.2f}{ratio[name]:>8.1f}{agreement[name]:>12.5f}")
    ours, theirs = runs["ours"], runs["recipe"]
    ratio["total"] = theirs["total"] / ours["total"]
    total = f"{theirs['total']:>14.1f}{ours['total']:>12.2f}{ratio['total']:>8.1f}"
    print(f"{'six in one run':<20}{total}")
    print(f"{'peak memory, MiB':<20}{theirs['peak_mib']:>14.0f}{ours['peak_mib']:>12.0f}")
    print(json.dumps({"size": options.size, "runs": runs, "ratio": ratio, "agreement": agreement}))


if __name__ == "__main__":
    main()
