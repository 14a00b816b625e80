"""How long it takes until picket_gpu answers: python -m benchmarks.startup.

Each command runs in a process of its own, after one whose time does not count, beside a bare
interpreter.
The last line of the output is JSON.
"""

import json
import subprocess
import sys
import time
from statistics import median

REPEATS = 15
COMMANDS = {
    "bare interpreter": ["-c", "pass"],
    "import picket_gpu": ["-c", "import picket_gpu"],
    "picket-gpu --help": ["-m", "picket_gpu", "--help"],
    "import run_s1": ["-c", "from picket_gpu import run_s1"],
}


def seconds(arguments: list[str]) -> float:
    """Median time of a command."""
    times = []
    for _ in range(REPEATS + 1):
        started = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return median(times[1:])


if __name__ == "__main__":
    figures = {name: seconds(arguments) for name, arguments in COMMANDS.items()}
    for name, value in figures.items():
        print(f"{name:20} {value:.3f} s", file=sys.stderr)
    print(json.dumps(figures))
