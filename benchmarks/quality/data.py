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

from benchmarks.quality.volumes import RECIPES, Recipe, simulate
from benchmarks.volumes import DEMO

SHELL = 2.0  # voxels around an annotated point that count as its particle's shell
PROTEINS = range(5, 12)  # labels of a simulated cell; lower ones are membranes and filaments


@dataclass(frozen=True)
class DataSet:
    """A tomogram and what is in it.

    Attributes:
        grey: the tomogram, float32, (z, y, x).
        masks: what Dice is taken against, bool, (z, y, x), by name; the first is what judges.
        points: annotated points or centres of particles, voxels, (n, 3), z y x.
        distance: at which a component's centroid still finds a centre, voxels; None where points
            are no centres.
        given: whether it comes as a file, rather than made by `simulate`.
    """

    name: str
    grey: np.ndarray
    masks: dict[str, np.ndarray]
    points: np.ndarray
    distance: float | None
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
        return DataSet(path.stem, grey, {"shell": shell(marked, grey.shape)}, marked, None)
    with np.load(path.with_name(f"{path.stem}_truth.npz")) as truth:
        if "instances" in truth:
            masks, centres = {"particles": truth["instances"] > 0}, truth["centers_zyx"]
        else:
            labels = truth["labels"]
            masks = {"proteins": np.isin(labels, PROTEINS), "all structures": labels > 0}
            with mrcfile.open(path, header_only=True) as mrc:
                voxel_size = float(mrc.voxel_size.x)
            rows = path.with_name(f"{path.stem}_particles.csv")
            centres = _table(rows, ("z_A", "y_A", "x_A")) / voxel_size
    return DataSet(path.stem, grey, masks, centres, radius(masks, centres))


def from_recipe(recipe: Recipe) -> DataSet:
    """The simulated volume of ``recipe``; what is no particle has a mask where there is any."""
    grey, particles, others, centres = simulate(recipe)
    masks = {"particles": particles}
    if others.any():
        masks["all structures"] = particles | others
    return DataSet(recipe.name, grey, masks, centres, radius(masks, centres), given=False)


def radius(masks: dict[str, np.ndarray], centres: np.ndarray) -> float:
    """Of a sphere as large as the mean particle, voxels: a centroid within it finds the centre."""
    return float(np.cbrt(next(iter(masks.values())).sum() / len(centres) * 3 / (4 * np.pi)))


def shell(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Voxels within `SHELL` of one of ``points``, bool, (z, y, x)."""
    away = np.ones(shape, dtype=bool)
    away[tuple(np.rint(points).astype(int).T)] = False
    return np.asarray(ndimage.distance_transform_edt(away) <= SHELL)


def _table(path: Path, columns: tuple[str, ...] | str) -> np.ndarray:
    """Numbers in ``columns`` of a CSV file, (rows, columns)."""
    with path.open(newline="") as file:
        return np.array([[float(row[name]) for name in columns] for row in csv.DictReader(file)])
