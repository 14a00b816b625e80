"""How well the workflows find known particles, and whether a figure without truth could tell.

    python -m benchmarks.quality [--data DIR] [--json FILE]

Data sets are those in tests/data, those in DIR (named as tests/data), and simulated volumes.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import mrcfile
import numpy as np

from benchmarks.quality.data import DataSet, data_sets
from benchmarks.quality.figures import without_truth
from benchmarks.quality.picking import (
    TOMOGRAM,
    from_both,
    from_scores,
    from_tomogram,
    pick_figures,
    pick_table,
    step_2,
)
from benchmarks.quality.table import data_set_tables, summary
from benchmarks.quality.truth import against_truth
from benchmarks.sklearn_recipe import METHODS, MODES, normalised
from picket_gpu.device.select import select_backend
from picket_gpu.pipeline import run_s1

SIDE = 5


class Segmentation(NamedTuple):
    """Labels, int8, and scores, float16, both (z, y, x)."""

    labels: np.ndarray
    scores: np.ndarray


def segment(
    data: DataSet, modes: Sequence[str], methods: Sequence[str], device: str
) -> dict[str, Segmentation]:
    """The segmentation of each workflow through ``run_s1``."""
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
                "scores": True,
                "report": False,
            },
            quiet=True,
        )
        return {
            f"{result.mode}-{result.method}": Segmentation(result.labels, result.scores)
            for result in results
        }


def measure(data: DataSet, segmentations: dict[str, Segmentation], device: str) -> dict[str, Any]:
    """All figures of one data set, as JSON holds them."""
    labels = {name: segmentation.labels for name, segmentation in segmentations.items()}
    return {
        "given": data.given,
        "distance": data.distance,
        "points": len(data.points),
        "marked": {name: float(mask.mean()) for name, mask in data.masks.items()},
        "truth": {name: against_truth(data, found, SIDE) for name, found in labels.items()},
        "figures": without_truth(labels, normalised(data.grey), SIDE),
        "picks": measure_picks(data, segmentations, device),
    }


def measure_picks(
    data: DataSet, segmentations: dict[str, Segmentation], device: str
) -> dict[str, Any]:
    """What is picked from each workflow, the tomogram and both: figures by what picked."""
    backend = select_backend(device)
    targets = data.targets
    blurred = normalised(data.grey)
    picks = {
        name: step_2(labels)
        | from_scores(scores, labels, targets.diameter, backend)
        | from_both(scores, labels, blurred, targets.diameter, backend)
        for name, (labels, scores) in segmentations.items()
    }
    picks[TOMOGRAM] = from_tomogram(blurred, targets.diameter, backend)
    return {name: pick_figures(targets, p, data.grey.shape, SIDE) for name, p in picks.items()}


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
        measured[data.name] = measure(data, segmentations, options.device)
        print(data_set_tables(data.name, measured[data.name]), flush=True)
        shells = data.distance is None
        shown = f"Shells found of {len(data.targets.centres)}" if shells else "F1"
        print(
            f"{shown} (picks)\n\n{pick_table(measured[data.name]['picks'], shells)}\n", flush=True
        )
        if options.json:
            options.json.write_text(json.dumps(measured, indent=1) + "\n")
    print(summary(measured))


if __name__ == "__main__":
    main()
