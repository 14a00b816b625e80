"""What PickET's step 2 picked from fixed labels: see tests/data/README.md."""

import re
from typing import NamedTuple

import numpy as np
import pytest

from tests.support.data import DATA, ROOT

# A simulated cell is too large for the repository, and may be beside it.
BESIDE = ROOT.parent / "shared" / "data" / "golden_s2"
CASES = {
    "phantom_a": {
        "cc": ["cc_label1", "cc_label0", "cc_label1_z8_20"],
        "ws": [
            "ws1_label1",
            "ws3_label1",
            "ws5_label1",
            "ws15_label1",
            "ws5_label0",
            "ws5_label1_z8_20",
        ],
    },
    "hiv_vlp_40A": {
        "cc": ["cc_label1", "cc_label0"],
        "ws": ["ws3_label1", "ws5_label1", "ws15_label1", "ws15_label0", "ws5_label1_z20_80"],
    },
    "simulated_cell_1": {
        "cc": ["cc_label1", "cc_label0"],
        "ws": ["ws5_label1", "ws8_label1", "ws15_label1", "ws15_label0", "ws8_label1_z40_79"],
    },
}


class GoldenPicks(NamedTuple):
    """One run of PickET's step 2.

    Attributes:
        labels: int8, (z, y, x).
        label: what was picked.
        min_distance: of a watershed, voxels.
        limits: lower and upper z-slice, as Python counts.
        centroids: (n, 3) float32, z y x, before they are cut to whole numbers.
        cut: (n, 3) int16, after that.
        voxels: of each instance.
    """

    labels: np.ndarray
    label: int
    min_distance: int
    limits: dict[str, int]
    centroids: np.ndarray
    cut: np.ndarray
    voxels: np.ndarray


def cases(kind: str) -> list[tuple[str, str]]:
    """Volumes and cases of a mode, cc or ws."""
    return [(volume, case) for volume, modes in CASES.items() for case in modes[kind]]


def golden(volume: str, case: str) -> GoldenPicks:
    """One case, or a skip where its volume is not at hand."""
    paths = [directory / f"{volume}.npz" for directory in (DATA / "golden_s2", BESIDE)]
    path = next((path for path in paths if path.exists()), None)
    if path is None:
        pytest.skip(f"{volume}.npz is not at hand")
    match = re.fullmatch(r"[a-z]+(\d*)_label(\d)(?:_z(\d+)_(\d+))?", case)
    assert match
    limits = {"lower": int(match[3]), "upper": int(match[4]) + 1} if match[3] else {}
    with np.load(path) as file:
        shape, half = file["shape"], int(file["half"])
        labels = np.full(shape, -1, dtype=np.int8)
        labels[half:-half, half:-half, half:-half] = 0
        labels[np.unpackbits(file["label1_bits"], count=shape.prod()).reshape(shape) == 1] = 1
        result = (file[f"{case}__{name}"] for name in ("float_zyx", "zyx", "voxels"))
        return GoldenPicks(labels, int(match[2]), int(match[1] or 0), limits, *result)


def assert_same(picks, expected: GoldenPicks) -> None:
    """The same picks with the same sizes, in whatever order."""
    assert picks.count == len(expected.centroids)
    ours = picks.coordinates
    order, theirs = np.lexsort(ours.T), np.lexsort(expected.centroids.T)
    np.testing.assert_array_equal(ours[order].astype(np.float32), expected.centroids[theirs])
    np.testing.assert_array_equal(ours[order].astype(np.int16), expected.cut[theirs])
    sizes = picks.heights[order] * expected.voxels.max()
    np.testing.assert_array_equal(np.rint(sizes), expected.voxels[theirs])
