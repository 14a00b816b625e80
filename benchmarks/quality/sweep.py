"""At which size and noise particles are found: F1 of picks on simulated volumes.

    python -m benchmarks.quality.sweep

Ellipsoids of axes within a fifth of a radius, as in `RECIPES`: at most an eighth of a volume of
96^3, missing wedge, noise in densities of a particle. Picked by default settings, gabor-gmm, from
the mean diameter; right within half of it.
"""

from dataclasses import replace

import numpy as np

from benchmarks.quality.truth import detection
from benchmarks.quality.volumes import RECIPES, simulate
from picket_gpu.pipeline import run_s1

DIAMETERS = (5, 7, 10, 14, 20, 28)  # voxels
NOISE = (1.0, 2.0, 4.0, 8.0)
SEEDS = (10, 11)
MOST = 100  # particles


def f1(diameter: float, noise: float, seed: int, directory: str) -> float:
    """Of the picks in one volume."""
    import mrcfile

    radius, side = diameter / 2, RECIPES[0].side
    count = min(MOST, int(side**3 / 8 / (4 / 3 * np.pi * radius**3)))
    recipe = replace(
        RECIPES[0],
        radii=(0.8 * radius, 1.2 * radius),
        count=count,
        noise=noise,
        seed=seed,
    )
    made = simulate(recipe)
    path = f"{directory}/{diameter}_{noise}_{seed}.mrc"
    mrcfile.write(path, made.grey, voxel_size=1.0)
    run = run_s1(
        {
            "dataset_name": f"{diameter}_{noise}_{seed}",
            "inputs": [{"tomogram": path, "voxel_size": 10.0}],
            "feature_extraction_params": [{"mode": "gabor"}],
            "clustering_methods": ["gmm"],
            "particles": {"diameter": 10.0 * diameter},
            "output_dir": directory,
            "report": False,
        },
        quiet=True,
    )
    return detection(run.particles[0].coordinates, made.centres, radius)["F1"]


def main() -> None:
    """Print the table, a row a diameter, a column a noise."""
    import tempfile

    print("| diameter, voxels | " + " | ".join(f"noise {noise:g}" for noise in NOISE) + " |")
    print("|---" * (len(NOISE) + 1) + "|")
    with tempfile.TemporaryDirectory() as directory:
        for diameter in DIAMETERS:
            cells = [
                f"{np.mean([f1(diameter, noise, seed, directory) for seed in SEEDS]):.2f}"
                for noise in NOISE
            ]
            print(f"| {diameter} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
