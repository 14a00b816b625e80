"""A tomogram, its segmentations and its particles, as a run describes them, without files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from picket_gpu.files.segmentation import Segmentation, Subject
from picket_gpu.particles.candidates import Candidates, Scale
from picket_gpu.particles.particles import Particles
from picket_gpu.particles.picks import Picks
from picket_gpu.particles.pool import Pool


def subject_of(shape: Sequence[int], **changes: Any) -> Subject:
    fields = {
        "directory": Path("out/set"),
        "index": 0,
        "tomogram": Path("tomo.mrc"),
        "name": "tomo.mrc",
        "dataset_name": "set",
        "shape": tuple(shape),
        "voxel_size": (10.0, 10.0, 10.0),
        "neighborhood_size": 5,
    }
    return Subject(**fields | changes)


def segmentation_of(subject: Subject, mode: str, method: str, **changes: Any) -> Segmentation:
    fields = {
        "mode": mode,
        "method": method,
        "fingerprint": f"{mode} {method}",
        "files": [f"segmentation_{subject.index}_{mode}_{method}.h5"],
        "foreground_fraction": 0.5,
        "iterations": 7,
        "converged": True,
        "timings": {"labels": 1.5},
    }
    return Segmentation(**subject.fields, **fields | changes)


def particles_of(
    subject: Subject,
    picks: Picks,
    diameter: float = 260.0,
    workflow: tuple[str, str] = ("gabor", "gmm"),
    **changes: Any,
) -> Particles:
    name = "_".join(["particles", str(subject.index), *workflow])
    fields = {
        "mode": workflow[0],
        "method": workflow[1],
        "fingerprint": "0123456789" * 3,  # a number in YAML, but for its quotes
        "files": [f"{name}.csv", f"{name}.star"],
        "candidates": len(picks.candidates),
        "diameter": diameter,
        "picks": picks,
        "pool": pool_of(picks),
    }
    return Particles(**subject.fields, **fields | changes)


def pool_of(picks: Picks) -> Pool:
    """A pool of the candidates of picks, of which those above the threshold are picked."""
    count = len(picks.candidates)
    candidates = Candidates(
        picks.candidates,
        np.full(count, 1.0) if picks.candidate_diameters is None else picks.candidate_diameters,
        picks.candidate_heights[None, :],
        np.zeros(count, np.int8),
        (1.0, 1.0, 1.0),
        sizes=picks.candidate_diameters is not None,
        label=picks.label,
        dark=picks.dark,
    )
    none = np.zeros(count, dtype=bool)
    return Pool(candidates, none, none, Scale((), 0.0, 1.0, picks.threshold), "0" * 32)


def with_picks(particles: Particles, picks: Picks) -> Particles:
    """The same particles, but for where they are."""
    changes = {"picks": picks, "candidates": len(picks.candidates), "pool": pool_of(picks)}
    return particles.model_copy(update=changes)


def picks_of(points: Any, heights: Any = None, count: int | None = None) -> Picks:
    """Picks at points, (n, 3), z, y, x, of which the first are picked, or all."""
    points = np.array(points, dtype=np.float64).reshape(-1, 3)
    if heights is None:
        heights = np.linspace(0.9, 0.1, len(points))
    return Picks(points, np.array(heights), 0.3, len(points) if count is None else count)
