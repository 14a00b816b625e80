"""Start a visit from the folder that holds this file: `python visit.py --output FILE.json`.

The wheels are unpacked into a temporary directory that only this process and its children see.
"""

import json
import os
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> None:
    about = json.loads((HERE / "folder.json").read_text())
    this = f"{sys.version_info.major}.{sys.version_info.minor}"
    if this != about["python"]:
        sys.exit(f"error: the wheels are for Python {about['python']}, this is {this}; use that")
    with tempfile.TemporaryDirectory() as site:
        for wheel in sorted((HERE / "wheels").glob("*.whl")):
            zipfile.ZipFile(wheel).extractall(site)
        paths = [site, str(HERE)]
        if earlier := os.environ.get("PYTHONPATH"):
            paths.append(earlier)
        sys.path[:0] = paths
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
        os.environ["PICKET_GPU_COMMIT"] = about["git_commit"]
        from benchmarks.visit.__main__ import main as visit

        visit(["run", *sys.argv[1:]])


if __name__ == "__main__":
    main()
