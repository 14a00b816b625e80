"""What answers gain: F1 of picks after 5 to 80 of them, in their tomogram and in another.

    python -m benchmarks.quality.answers [--only NAME ...]

Simulated volumes of 96^3, two seeds of each recipe that nothing was chosen by, picked by default
settings, gabor-gmm; right within half a diameter. Answers follow the truth: a candidate is good if
it is the nearest to a particle, and right. They are asked in the order that a report asks in, five
draws for each volume. For one kind among two its own diameter is told, and the others are wrong.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import mrcfile
import numpy as np
from scipy.spatial import cKDTree

from benchmarks.markdown import markdown
from benchmarks.quality.data import from_recipe
from benchmarks.quality.truth import detection
from benchmarks.quality.volumes import RECIPES, Recipe, simulate
from picket_gpu.particles.choices import GOOD, LEAST, Answers, probabilities
from picket_gpu.particles.formats.npz import NPZ
from picket_gpu.particles.threshold import otsu
from picket_gpu.pipeline import run_s1

COUNTS = (5, 10, 20, 40, 80)
DRAWS = 5
SEEDS = (200, 300)  # added to those of the recipes
BACKGROUND = 10  # candidates that count as bad
BOUNDARY = 5.5  # voxels, radius between the kinds
STRATA = 8
_TWO = next(recipe for recipe in RECIPES if recipe.name == "two kinds")
_OTHERS = {
    "two kinds": _TWO,
    "two kinds, membranes": replace(_TWO, membranes=3),
    "two kinds, beads": replace(_TWO, fiducials=6),
}
KINDS = {
    f"{kind} of {name}": (recipe, kind)
    for name, recipe in _OTHERS.items()
    for kind in ("small", "large")
}


@dataclass(frozen=True)
class Volume:
    """Candidates of one volume, highest first, and what is to be picked.

    Attributes:
        points, heights, looks: (m, 3) voxels, (m,), and (m, 23) standardised descriptors.
        good: (m,) bool, the truth.
        centres, distances: of the particles, (n, 3) and (n,) voxels.
    """

    points: np.ndarray
    heights: np.ndarray
    looks: np.ndarray
    good: np.ndarray
    centres: np.ndarray
    distances: np.ndarray

    def f1(self, picked: np.ndarray) -> float:
        """Of candidates, (m,) bool."""
        return detection(self.points[picked], self.centres, self.distances)["F1"]


def volume_of(recipe: Recipe, kind: str | None, directory: str) -> Volume:
    """Simulate, segment and pick; particles of one ``kind`` alone are wanted, if it is told."""
    made = simulate(recipe)
    if kind is None:
        targets = from_recipe(recipe).targets
        centres, distances = targets.centres, targets.distances
        diameter = targets.diameter
    else:
        wanted = (made.radii > BOUNDARY) == (kind == "large")
        centres, distances = made.centres[wanted], made.radii[wanted]
        diameter = 2 * float(distances.mean())
    path = Path(directory) / f"{recipe.name} {recipe.seed} {kind}.mrc"
    mrcfile.write(path, made.grey, voxel_size=10.0)
    run = run_s1(
        {
            "dataset_name": path.stem,
            "inputs": [{"tomogram": str(path)}],
            "feature_extraction_params": [{"mode": "gabor"}],
            "clustering_methods": ["gmm"],
            "particles": {"diameter": 10.0 * diameter},
            "output_dir": directory,
            "save": ["hdf5"],
            "report": False,
        },
        quiet=True,
    )
    pool = NPZ.read(run.particles[0].path.with_suffix(".npz")).pool
    assert pool is not None
    ranked = pool.ranked()
    looks = pool.looks(ranked)
    assert looks is not None
    away, nearest = cKDTree(ranked.points).query(centres)
    good = np.zeros(len(ranked.points), dtype=bool)
    good[nearest[away <= distances]] = True
    return Volume(ranked.points, ranked.heights, looks, good, centres, distances)


def model(volume: Volume, answered: Sequence[int]) -> Answers:
    """The model of answers that follow the truth."""
    half, count = len(volume.heights) // 2, len(volume.heights)
    ground = {int(half + (i + 0.5) * (count - half) / BACKGROUND) for i in range(BACKGROUND)}
    used = [*answered, *sorted(ground - {*answered})]
    good = volume.good[used] & (np.arange(len(used)) < len(answered))
    wanted = np.where(good, GOOD, -GOOD)
    # Below five answers a page asks by the model too, and does not pick by it.
    return Answers(volume.looks[used], volume.heights[used], wanted, max(len(answered), LEAST))


def asked(volume: Volume, rng: np.random.Generator) -> Iterator[int]:
    """Candidates in the order of questions: a good one; then in turn the least sure, a current pick
    at random, the least sure, and one of a random stratum of heights."""
    above = np.count_nonzero(volume.heights >= otsu(volume.heights))
    first = min(len(volume.heights), max(60, 3 * int(above)))
    answered = [int(rng.choice(np.flatnonzero(volume.good)))]
    yield answered[0]
    for turn in range(first):
        left = np.setdiff1d(np.arange(first), answered)
        if not len(left):
            return
        p = probabilities(model(volume, answered).odds(volume.looks, volume.heights))
        picks = left[p[left] >= otsu(p)]
        if turn % 2 == 0:
            chosen = left[np.argmin(abs(p[left] - 0.5))]
        elif turn % 4 == 1 and len(picks):
            chosen = rng.choice(picks)
        else:
            strata = [part for part in np.array_split(left, STRATA) if len(part)]
            chosen = rng.choice(strata[rng.integers(len(strata))])
        answered.append(int(chosen))
        yield answered[-1]


def measure(volumes: Sequence[Volume]) -> np.ndarray:
    """Mean F1 of no answers and of `COUNTS`, in the volume and in the other one, (2, counts)."""
    found = np.full((2, len(volumes), DRAWS, 1 + len(COUNTS)), np.nan)
    for number, volume in enumerate(volumes):
        other = volumes[1 - number]
        for draw in range(DRAWS):
            for place, one in enumerate((volume, other)):
                found[place, number, draw, 0] = one.f1(one.heights >= otsu(one.heights))
            answered: list[int] = []
            for candidate in asked(volume, np.random.default_rng([number, draw])):
                answered.append(candidate)
                if len(answered) in COUNTS:
                    column = 1 + COUNTS.index(len(answered))
                    learned = model(volume, answered)
                    for place, one in enumerate((volume, other)):
                        p = probabilities(learned.odds(one.looks, one.heights))
                        picked = p >= otsu(p)
                        if one is volume:
                            picked[answered] = volume.good[answered]
                        found[place, number, draw, column] = one.f1(picked)
                if len(answered) == COUNTS[-1]:
                    break
            # There were no more candidates to ask about.
            for place in range(2):
                row = found[place, number, draw]
                row[np.isnan(row)] = row[~np.isnan(row)][-1]
    return found.mean(axis=(1, 2))


def _row(name: str, figures: np.ndarray) -> list[str]:
    same, other = ([f"{figure:.2f}" for figure in place] for place in figures)
    return [name, same[0], " ".join(same[1:]), other[0], " ".join(other[1:])]


def main() -> None:
    """Print the table, a row for each recipe and kind, and their means."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality.answers", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these rows")
    only = parser.parse_args().only
    general = {recipe.name: (recipe, None) for recipe in RECIPES}
    counts = " ".join(map(str, COUNTS))
    head = ["", "0", f"same: {counts}", "0", f"other: {counts}"]
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        for title, tasks in (("general list", general), ("one kind of two", KINDS)):
            figures = {}
            for name, (recipe, kind) in tasks.items():
                if only is None or name in only:
                    seeds = (replace(recipe, name=name, seed=recipe.seed + s) for s in SEEDS)
                    figures[name] = measure([volume_of(one, kind, directory) for one in seeds])
                    print(_row(name, figures[name]), flush=True)
            rows += [_row(name, each) for name, each in figures.items()]
            if figures:
                rows.append(_row(f"**{title}, mean**", np.mean([*figures.values()], axis=0)))
    print(markdown(head, rows))


if __name__ == "__main__":
    main()
