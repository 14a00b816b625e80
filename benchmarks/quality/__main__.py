"""How well the workflows find known particles, and whether a figure without truth could tell.

    python -m benchmarks.quality [--data DIR] [--json FILE]

Data sets are those in tests/data, those in DIR (named as tests/data), and simulated volumes.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np

from benchmarks.quality.data import DataSet, data_sets
from benchmarks.quality.figures import without_truth
from benchmarks.quality.picking import pick_figures, pick_table, step_2
from benchmarks.quality.table import data_set_tables, summary
from benchmarks.quality.truth import against_truth
from benchmarks.sklearn_recipe import METHODS, MODES, normalised
from picket_gpu.pipeline import run_s1

SIDE = 5


def segment(
    data: DataSet, modes: Sequence[str], methods: Sequence[str], device: str
) -> dict[str, np.ndarray]:
    """Labels of each workflow, int8, (z, y, x), through ``run_s1``."""
    with tempfile.TemporaryDirectory() as directory:
        tomogram = Path(directory) / "tomogram.mrc"
        mrcfile.write(tomogram, data.grey)
        results = run_s1(
            {
                "dataset_name": "quality",
                "inputs": [{"tomogram": str(tomogram)}],
                "neighborhood_size": SIDE,
                "feature_extraction_params": [{"mode": mode} for mode in modes],
                "clustering_methods": list(methods),
                "output_dir": directory,
                "seed": 0,
                "device": device,
                "save": ["hdf5"],
                "report": False,
            },
            quiet=True,
        )
        return {f"{result.mode}-{result.method}": result.labels for result in results}


def measure(data: DataSet, segmentations: dict[str, np.ndarray]) -> dict[str, Any]:
    """All figures of one data set, as JSON holds them."""
    return {
        "given": data.given,
        "distance": data.distance,
        "points": len(data.points),
        "marked": {name: float(mask.mean()) for name, mask in data.masks.items()},
        "truth": {
            name: against_truth(data, labels, SIDE) for name, labels in segmentations.items()
        },
        "figures": without_truth(segmentations, normalised(data.grey), SIDE),
        "picks": _picks(data, segmentations),
    }


def _picks(data: DataSet, segmentations: dict[str, np.ndarray]) -> dict[str, Any]:
    """What PickET's step 2 finds, by workflow; nothing where points are no centres."""
    if data.distance is None:
        return {}
    return {n: pick_figures(data, step_2(labels), SIDE) for n, labels in segmentations.items()}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--data", type=Path, help="a directory with further data sets")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--device", default="auto", help="as in the parameter file")
    parser.add_argument("--only", nargs="+", default=(), metavar="NAME", help="these data sets")
    parser.add_argument("--modes", nargs="+", default=MODES, choices=MODES)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    options = parser.parse_args(argv)
    measured: dict[str, Any] = {}
    for data in data_sets(options.data, options.only):
        segmentations = segment(data, options.modes, options.methods, options.device)
        measured[data.name] = measure(data, segmentations)
        print(data_set_tables(data.name, measured[data.name]), flush=True)
        if picks := measured[data.name]["picks"]:
            print("F1 (picks) of PickET's step 2\n\n" + pick_table(picks) + "\n", flush=True)
        if options.json:
            options.json.write_text(json.dumps(measured, indent=1) + "\n")
    print(summary(measured))


if __name__ == "__main__":
    main()
