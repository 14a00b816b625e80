"""How time grows with the volume: 50^3, 100^3 and 200^3 voxels, six workflows, on the CPU.

The larger cubes hold the same grey values as the smaller ones (see volumes.py). The least there is
to do is proportional to the voxels, so 8 times the voxels should cost 8 times the time.

    python benchmarks/scaling.py [--sizes 50 100 200] [--memory-budget BYTES]

The last line of the output is JSON.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import tempfile

from benchmarks.cpu_vs_sklearn import in_own_process


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 100, 200])
    parser.add_argument("--memory-budget", type=int, help="bytes")
    options = parser.parse_args()
    print(f"{'voxels':>10}{'seconds':>10}{'us/voxel':>10}{'peak MiB':>10}{'4 V + 600 MB, MiB':>20}")
    rows = []
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "labels.npz"
            run = in_own_process("total", size, options.memory_budget, file)
        rows.append({"size": size, "seconds": run["total"], "peak_mib": run["peak_mib"]})
        micro = run["total"] / size**3 * 1e6
        limit = (16 * size**3 + 600e6) / 2**20
        print(
            f"{size:>8}^3{run['total']:>10.2f}{micro:>10.2f}{run['peak_mib']:>10.0f}{limit:>20.0f}"
        )
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
