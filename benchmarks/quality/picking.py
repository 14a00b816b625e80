"""How well picks find known particles: PickET's step 2 on the labels of each workflow."""

from collections.abc import Mapping

import numpy as np

from benchmarks.markdown import markdown
from benchmarks.quality.data import DataSet
from benchmarks.quality.truth import detection
from picket_gpu.particles.components import components
from picket_gpu.particles.watershed import watershed

DOCUMENTED = 15  # voxels: min_distance of PickET's example
DISTANCES = (3, 5, 8, 10, 12, DOCUMENTED)  # the best of them by the truth is reported


def step_2(labels: np.ndarray) -> dict[str, np.ndarray]:
    """Coordinates, (n, 3) z y x in voxels, by PickET's modes, label 1 as particle."""
    picks = {"components": components(labels).coordinates}
    for m in DISTANCES:
        picks[f"watershed {m}"] = watershed(labels, min_distance=m, border=m).coordinates
    return picks


def pick_figures(
    data: DataSet, picks: Mapping[str, np.ndarray], side: int
) -> dict[str, dict[str, float]]:
    """Number, precision, recall and F1 of picks by name.

    Args:
        data: with centres of particles.
        side: of the windows; centres without a whole window do not count.
    """
    assert data.distance is not None
    half = side // 2
    last = np.subtract(data.grey.shape, 1 + half)
    nearest = np.rint(data.points)
    centres = data.points[((nearest >= half) & (nearest <= last)).all(1)]
    return {
        name: {"picks": float(len(found))} | detection(found, centres, data.distance)
        for name, found in picks.items()
    }


def pick_table(figures: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """F1 of PickET's modes for each workflow, and of its watershed at the best distance."""
    rows = []
    for workflow, picked in figures.items():
        best = max(DISTANCES, key=lambda m: picked[f"watershed {m}"]["F1"])
        shown = [picked[f"watershed {m}"] for m in (DOCUMENTED, best)]
        cells = [f"{p['F1']:.2f} ({p['picks']:.0f})" for p in (picked["components"], *shown)]
        rows.append([workflow, *cells, str(best)])
    names = ["workflow", "components", f"watershed {DOCUMENTED}", "watershed, best", "at"]
    return markdown(names, rows)
