"""Figures of a segmentation that need no truth, and how they rank workflows beside it."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage
from scipy.stats import spearmanr

from benchmarks.quality.truth import dice
from picket_gpu.method.labels import FOREGROUND, core
from picket_gpu.report.components import find_components

# Each figure, and whether a better workflow should have more of it (1) or less (-1). Decided
# before any was compared with truth, the first four by what had been seen on other volumes.
BETTER = {
    "share": -1,
    "largest": -1,
    "Fisher": 1,
    "spread": -1,
    "d-prime": 1,
    "between": 1,
    "components": 1,
    "specks": -1,
    "median size": -1,
    "surface": -1,
    "edge": 1,
    "agreement": 1,
}


def without_truth(
    segmentations: Mapping[str, np.ndarray], blurred: np.ndarray, side: int
) -> dict[str, dict[str, float]]:
    """The figures of `BETTER` for every workflow.

    Args:
        segmentations: int8 labels of each workflow, (z, y, x).
        blurred: the tomogram after the blur of S1, (z, y, x).
        side: of the windows.
    """
    grey = core(blurred, side)
    steps = ndimage.gaussian_gradient_magnitude(grey, 0.5)
    found = {name: core(labels, side) == FOREGROUND for name, labels in segmentations.items()}
    return {
        name: shape_figures(mask) | grey_figures(mask, grey, steps) | {"agreement": others}
        for (name, mask), others in zip(found.items(), agreement([*found.values()]), strict=True)
    }


def shape_figures(mask: np.ndarray) -> dict[str, float]:
    """Of the components of a mask.

    Returns:
        ``share`` of all voxels; ``largest``: share of the mask in the largest component;
        ``components`` of `SMALLEST` voxels or more; ``specks``: share of components that are
        smaller; ``spread``: interquartile range of the logarithm of diameters; ``median size`` in
        voxels; ``surface``: share of the mask's voxels that have a neighbour outside. NaN where
        there are too few components.
    """
    components = find_components(mask.astype(np.int8), mask.size)
    sizes, marked = components.sizes, np.count_nonzero(mask)
    inside = ndimage.binary_erosion(mask, border_value=1)
    quartiles = np.percentile(np.log(sizes) / 3, (25, 75)) if len(sizes) > 1 else (0.0, np.nan)
    return {
        "share": float(mask.mean()),
        "largest": components.largest,
        "components": float(len(sizes)),
        "specks": components.smaller / max(1, len(sizes) + components.smaller),
        "spread": float(quartiles[1] - quartiles[0]),
        "median size": float(np.median(sizes)) if len(sizes) else float("nan"),
        "surface": float(1 - np.count_nonzero(inside) / max(1, marked)),
    }


def grey_figures(mask: np.ndarray, grey: np.ndarray, steps: np.ndarray) -> dict[str, float]:
    """Of the grey values inside and outside a mask.

    Args:
        grey: blurred grey values.
        steps: magnitudes of their gradient.

    Returns:
        ``Fisher``: difference of means over the pooled standard deviation, voxels counting alike;
        ``d-prime``: the same, labels counting alike; ``between``: share of the variance that lies
        between labels; ``edge``: mean gradient on the mask's surface over the mean everywhere.
    """
    ones, zeros = grey[mask].astype(np.float64), grey[~mask].astype(np.float64)
    if not len(ones) or not len(zeros):
        return dict.fromkeys(("Fisher", "d-prime", "between", "edge"), 0.0)
    difference = abs(ones.mean() - zeros.mean())
    within = (ones.var() * len(ones) + zeros.var() * len(zeros)) / grey.size
    surface = mask & ~ndimage.binary_erosion(mask, border_value=1)
    return {
        "Fisher": float(difference / np.sqrt(within)),
        "d-prime": float(difference / np.sqrt((ones.var() + zeros.var()) / 2)),
        "between": float(1 - within / grey.var(dtype=np.float64)),
        "edge": float(steps[surface].mean() / steps.mean()) if surface.any() else 0.0,
    }


def agreement(masks: Sequence[np.ndarray]) -> list[float]:
    """Mean Dice of each mask to the others; 0 for one alone."""
    dices = np.array([[dice(a, b) for b in masks] for a in masks])
    return [float(np.delete(row, n).mean()) if len(row) > 1 else 0.0 for n, row in enumerate(dices)]


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's; NaN where one of them is the same throughout."""
    if min(len(set(a)), len(set(b))) == 1:
        return float("nan")
    return float(spearmanr(a, b).statistic)
