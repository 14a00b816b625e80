"""What a second worker gains: 24 small tomograms by one worker of one thread, and by two.

    python -m benchmarks.workers

prints seconds and their ratio. Both run in turn, twice, for machines whose load varies.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mrcfile
import yaml

from benchmarks.volumes import demo_volume

TOMOGRAMS, SIDE = 24, 72


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        names = [f"t{number}.mrc" for number in range(TOMOGRAMS)]
        for name in names:
            mrcfile.write(place / name, demo_volume((SIDE, SIDE, SIDE)), voxel_size=40)
        config = {
            "dataset_name": "set",
            "inputs": [{"tomogram": name} for name in names],
            "output_dir": "out",
            "device": "cpu",
        }
        (place / "params.yaml").write_text(yaml.safe_dump(config))
        for _ in range(2):
            one, two = (run(place, workers) for workers in (1, 2))
            print(f"1 worker {one:.1f} s, 2 workers {two:.1f} s, ratio {two / one:.2f}")


def run(place: Path, workers: int) -> float:
    """Seconds of a run, from start to end of the process."""
    command = [sys.executable, "-m", "picket_gpu", "params.yaml", "--workers", str(workers)]
    environment = os.environ | {"OMP_NUM_THREADS": str(workers)}  # one thread for each worker
    started = time.perf_counter()
    subprocess.run([*command, "-q", "--overwrite"], cwd=place, env=environment, check=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
