"""How well picks find known particles: from scores, the tomogram, both, and as PickET's step 2."""

from collections.abc import Mapping

import numpy as np

from benchmarks.markdown import markdown
from benchmarks.quality.data import Targets
from benchmarks.quality.truth import detection
from picket_gpu.device.backend import Backend
from picket_gpu.method.labels import UNLABELLED
from picket_gpu.particles.by_labels import components, watershed
from picket_gpu.particles.evaluation import Agreement, Curve, match
from picket_gpu.particles.picking import pick, pick_by_both, pick_by_contrast
from picket_gpu.particles.picks import Picks

DOCUMENTED = 15  # voxels: min_distance of PickET's example
DISTANCES = (3, 5, 8, 10, 12, DOCUMENTED)  # the best of them by the truth is reported
TOLD = (1.0, 0.8, 1.25)  # diameters told to pick, of the right one
FIRST = 15  # candidates among which the demo's shells are sought
TOMOGRAM = "tomogram"


def step_2(labels: np.ndarray) -> dict[str, Picks]:
    """Picks by PickET's modes, label 1 as particle."""
    picks = {"components": components(labels)}
    for m in DISTANCES:
        picks[f"watershed {m}"] = watershed(labels, min_distance=m, border=m)
    return picks


def from_scores(
    scores: np.ndarray, labels: np.ndarray, diameter: float, backend: Backend
) -> dict[str, Picks]:
    """Picks by default settings, the diameter told as in `TOLD`."""
    inside = labels != UNLABELLED
    return {
        f"pick {t:g} D": pick(scores, t * diameter, inside=inside, backend=backend) for t in TOLD
    }


def from_both(
    scores: np.ndarray, labels: np.ndarray, blurred: np.ndarray, diameter: float, backend: Backend
) -> dict[str, Picks]:
    """Picks by default settings from scores and tomogram, likewise."""
    inside = labels != UNLABELLED
    return {
        f"both {t:g} D": pick_by_both(scores, blurred, t * diameter, inside=inside, backend=backend)
        for t in TOLD
    }


def from_tomogram(blurred: np.ndarray, diameter: float, backend: Backend) -> dict[str, Picks]:
    """Picks without a segmentation, likewise, from the tomogram blurred as for one."""
    return {f"pick {t:g} D": pick_by_contrast(blurred, t * diameter, backend=backend) for t in TOLD}


def pick_figures(
    targets: Targets, picks: Mapping[str, Picks], shape: tuple[int, ...], side: int
) -> dict[str, dict[str, float]]:
    """Figures of picks by name.

    Args:
        shape: of the tomogram.
        side: of the windows; centres without a whole window do not count.

    Returns:
        Number, precision, recall and F1; ``best``, F1 at the threshold that is best by the truth;
        ``first``, centres that one of the first `FIRST` candidates finds.
    """
    half = side // 2
    nearest = np.rint(targets.centres)
    whole = ((nearest >= half) & (nearest <= np.subtract(shape, 1 + half))).all(1)
    centres, distances = targets.centres[whole], targets.distances[whole]
    return {
        name: {
            "picks": float(found.count),
            **detection(found.coordinates, centres, distances),
            "best": best_f1(found, centres, distances),
            "first": float(Agreement.of(found.candidates[:FIRST], centres, distances).found),
        }
        for name, found in picks.items()
    }


def best_f1(picks: Picks, true: np.ndarray, distances: np.ndarray) -> float:
    """F1 at the threshold that is best by the truth."""
    right = match(picks.candidates, true, distances) >= 0
    best = Curve.of(picks.candidate_heights, right, len(true)).best()
    return 0.0 if best is None else best[1].f1


def pick_table(figures: Mapping[str, Mapping[str, Mapping[str, float]]], shells: bool) -> str:
    """A row for each workflow, and one for the tomogram itself.

    Args:
        figures: by workflow or `TOMOGRAM`, then by what picked.
        shells: whether only some particles are annotated, so that F1 says nothing: shows centres
            found by the first `FIRST` candidates.
    """
    names = ["from", "components", f"watershed {DOCUMENTED}", "watershed, best", "at"]
    for how in ("pick", "both"):
        best = [] if shells else [f"{how}, best"]
        names += [how, *best, *(f"{how}, {told:g} D" for told in TOLD[1:])]
    return markdown(names, [_row(*item, shells) for item in figures.items()])


def _row(source: str, picked: Mapping[str, Mapping[str, float]], shells: bool) -> list[str]:
    def cell(name: str) -> str:
        figure = picked[name]
        score = f"{figure['first']:.0f}" if shells else f"{figure['F1']:.2f}"
        return f"{score} ({figure['picks']:.0f})"

    row = [source]
    if source == TOMOGRAM:
        row += ["", "", "", ""]
    else:
        judge = "first" if shells else "F1"
        best = max(DISTANCES, key=lambda m: picked[f"watershed {m}"][judge])
        row += [cell("components"), cell(f"watershed {DOCUMENTED}"), cell(f"watershed {best}")]
        row.append(str(best))
    for how in ("pick", "both") if source != TOMOGRAM else ("pick",):
        right, *wrong = (f"{how} {told:g} D" for told in TOLD)
        best_of_pick = [] if shells else [f"{picked[right]['best']:.2f}"]
        row += [cell(right), *best_of_pick, *map(cell, wrong)]
    return row + [""] * (len(TOLD) + (not shells)) * (source == TOMOGRAM)
