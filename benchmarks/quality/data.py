"""Data sets whose particles are known: the demo, the phantom, simulated cells, simulated volumes.

Files are named as those in tests/data: NAME.mrc beside NAME_truth.npz, NAME_particles.csv or
NAME_points.csv.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import mrcfile
import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from benchmarks.quality.spheres import sphere_centres
from benchmarks.quality.volumes import RECIPES, Recipe, simulate
from benchmarks.volumes import DEMO

SHELL = 2.0  # voxels around an annotated point that count as its particle's shell
PROTEINS = range(5, 12)  # labels of a simulated cell; lower ones are membranes and filaments
# Diameters told to pick, voxels; elsewhere that of the mean particle. The demo's is the outer one.
DIAMETERS = {
    "hiv_vlp_40A": 1040 / 40,
    "phantom_a": 140 / 13.48,
    "simulated_cell_1": 120 / 10,
    "simulated_cell_3": 120 / 10,
}
NEAR = 8.0  # voxels from a shell's centre of the demo
FAR = 20.0  # voxels: beyond the largest protein of a cell


@dataclass(frozen=True)
class Targets:
    """What is to be picked.

    Attributes:
        centres: (n, 3) z y x, voxels, 0 the centre of the first one.
        distances: (n,), within which a pick finds each, voxels: half a diameter.
        diameter: what `pick` is told, voxels.
    """

    centres: np.ndarray
    distances: np.ndarray
    diameter: float


@dataclass(frozen=True)
class DataSet:
    """A tomogram and what is in it.

    Attributes:
        grey: the tomogram, float32, (z, y, x).
        masks: what Dice is taken against, bool, (z, y, x), by name; the first is what judges.
        points: annotated points or centres of particles, voxels, (n, 3), z y x.
        distance: at which a component's centroid still finds a centre, voxels; None where points
            are no centres.
        targets: what is to be picked.
        given: whether it comes as a file, rather than made by `simulate`.
    """

    name: str
    grey: np.ndarray
    masks: dict[str, np.ndarray]
    points: np.ndarray
    distance: float | None
    targets: Targets
    given: bool = True


def data_sets(directory: Path | None = None, only: Sequence[str] = ()) -> Iterator[DataSet]:
    """Those in tests/data, those in ``directory``, then simulated ones; or ``only`` some."""
    paths = {path.stem: path for path in sorted(DEMO.parent.glob("*.mrc"))}
    if directory is not None:
        paths |= {path.stem: path for path in sorted(directory.glob("*.mrc"))}
    yield from (read(path) for name, path in paths.items() if not only or name in only)
    yield from (from_recipe(recipe) for recipe in RECIPES if not only or recipe.name in only)


def read(path: Path) -> DataSet:
    """The tomogram at ``path`` with the truth beside it."""
    grey = mrcfile.read(path).astype(np.float32)
    points = path.with_name(f"{path.stem}_points.csv")
    if points.exists():
        marked = _table(points, "zyx")
        centres = sphere_centres(marked, _table(points, ("nz", "ny", "nx")))
        targets = Targets(centres, np.full(len(centres), NEAR), DIAMETERS[path.stem])
        return DataSet(path.stem, grey, {"shell": shell(marked, grey.shape)}, marked, None, targets)
    with np.load(path.with_name(f"{path.stem}_truth.npz")) as truth:
        if "instances" in truth:
            masks, centres = {"particles": truth["instances"] > 0}, truth["centers_zyx"]
            distances = None
        else:
            labels = truth["labels"]
            masks = {"proteins": np.isin(labels, PROTEINS), "all structures": labels > 0}
            with mrcfile.open(path, header_only=True) as mrc:
                voxel_size = float(mrc.voxel_size.x)
            rows = path.with_name(f"{path.stem}_particles.csv")
            # From the corner of the first voxel: centroids of labels lie 0.50 voxels lower, with
            # a standard error of 0.03 on either cell.
            centres = _table(rows, ("z_A", "y_A", "x_A")) / voxel_size - 0.5
            distances = radii_by_kind(labels, centres)
    return _with_centres(path.stem, grey, masks, centres, distances)


def from_recipe(recipe: Recipe) -> DataSet:
    """The simulated volume of ``recipe``; what is no particle has a mask where there is any."""
    made = simulate(recipe)
    masks = {"particles": made.particles}
    if made.others.any():
        masks["all structures"] = made.particles | made.others
    radii = None if recipe.large is None else made.radii  # else all are like the mean one
    return _with_centres(recipe.name, made.grey, masks, made.centres, radii, given=False)


def _with_centres(
    name: str,
    grey: np.ndarray,
    masks: dict[str, np.ndarray],
    centres: np.ndarray,
    distances: np.ndarray | None = None,
    given: bool = True,
) -> DataSet:
    """``distances`` are those of `Targets`; None for half the diameter of the mean particle."""
    mean = radius(masks, centres)
    if distances is None:
        distances = np.full(len(centres), mean)
    targets = Targets(centres, distances, DIAMETERS.get(name, 2 * mean))
    return DataSet(name, grey, masks, centres, mean, targets, given)


def radius(masks: dict[str, np.ndarray], centres: np.ndarray) -> float:
    """Of a sphere as large as the mean particle, voxels: a centroid within it finds the centre."""
    return float(np.cbrt(next(iter(masks.values())).sum() / len(centres) * 3 / (4 * np.pi)))


def radii_by_kind(labels: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Of spheres as large as the median particle of each kind, voxels, (n,).

    Args:
        labels: of a simulated cell, a number for each kind of protein.
        centres: (n, 3) z y x, voxels.
    """
    voxels = np.argwhere(np.isin(labels, PROTEINS))
    away, nearest = cKDTree(centres).query(voxels)
    kinds = labels[tuple(voxels.T)]
    mine = away < FAR
    counts = np.zeros((len(centres), max(PROTEINS) + 1))
    np.add.at(counts, (nearest[mine], kinds[mine]), 1)
    kind, size = counts.argmax(axis=1), counts.max(axis=1)
    median = [np.median(size[kind == own]) for own in kind]
    return np.cbrt(np.array(median) * 3 / (4 * np.pi))


def shell(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Voxels within `SHELL` of one of ``points``, bool, (z, y, x)."""
    away = np.ones(shape, dtype=bool)
    away[tuple(np.rint(points).astype(int).T)] = False
    return np.asarray(ndimage.distance_transform_edt(away) <= SHELL)


def _table(path: Path, columns: tuple[str, ...] | str) -> np.ndarray:
    """Numbers in ``columns`` of a CSV file, (rows, columns)."""
    with path.open(newline="") as file:
        return np.array([[float(row[name]) for name in columns] for row in csv.DictReader(file)])
