"""How well a segmentation finds what is known to be there."""

import numpy as np
from scipy import ndimage

from benchmarks.quality.data import DataSet
from picket_gpu.method.labels import FOREGROUND, core
from picket_gpu.particles.evaluation import Agreement, Distance
from picket_gpu.report.components import SMALLEST

DRAWS = 20  # of random points


def against_truth(data: DataSet, labels: np.ndarray, side: int) -> dict[str, float]:
    """Figures of a segmentation, by name; those that make no sense for ``data`` are left out.

    Args:
        labels: int8, (z, y, x).
        side: of the windows; voxels and points without a whole window do not count.
    """
    found = core(labels, side) == FOREGROUND
    half = side // 2
    points = data.points - half
    points = points[((np.rint(points) >= 0) & (np.rint(points) < found.shape)).all(1)]
    masks = [core(mask, side) for mask in data.masks.values()]
    figures = {f"Dice, {name}": dice(found, m) for name, m in zip(data.masks, masks, strict=True)}
    if data.distance is not None:
        figures |= detection(centroids(found), points, data.distance)
    recall, chance = point_recall(found, points), random_recall(found, len(points))
    figures |= {"points": recall, "random": chance, "points - random": recall - chance}
    return figures | {"points / random": recall / chance if chance else float("nan")}


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Dice coefficient of two masks."""
    return float(2 * np.count_nonzero(a & b) / max(1, np.count_nonzero(a) + np.count_nonzero(b)))


def centroids(found: np.ndarray) -> np.ndarray:
    """Centroids of the components of a mask, joined through faces, of `SMALLEST` voxels or more,
    (n, 3), z y x."""
    numbered, _ = ndimage.label(found)
    sizes = np.bincount(numbered.ravel())
    large = np.flatnonzero(sizes[1:] >= SMALLEST) + 1
    return np.reshape(ndimage.center_of_mass(found, numbered, large), (len(large), found.ndim))


def detection(found: np.ndarray, true: np.ndarray, distance: Distance) -> dict[str, float]:
    """Precision, recall and F1 of points ``found`` within ``distance`` of ``true`` ones."""
    agreement = Agreement.of(found, true, distance)
    return {
        "precision": agreement.precision,
        "recall": agreement.recall,
        "F1": agreement.f1,
    }


def point_recall(found: np.ndarray, points: np.ndarray) -> float:
    """Share of ``points``, voxels, that lie in a mask."""
    return float(found[tuple(np.rint(points).astype(int).T)].mean())


def random_recall(found: np.ndarray, count: int) -> float:
    """Share of ``count`` uniformly random voxels that lie in a mask, mean of `DRAWS` draws."""
    rng = np.random.default_rng(0)
    return float(np.mean([found.flat[rng.integers(found.size, size=count)] for _ in range(DRAWS)]))
