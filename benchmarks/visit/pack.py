"""All that a visit needs in one folder: our wheel, those that may be missing there, tests, data."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from picket_gpu.run.record import commit

# With what they need but NumPy, which a machine with CuPy has. Pillow comes with Matplotlib, and
# starfile is needed only where coordinates are written.
PURE = ("mrcfile", "threadpoolctl")
WITH_NEEDS = ("pydantic",)
TARGET = ["--only-binary=:all:", "--implementation", "cp", "--platform", "manylinux2014_x86_64"]
FILES = (
    "pyproject.toml",
    "benchmarks/__init__.py",
    "benchmarks/markdown.py",
    "benchmarks/sklearn_recipe.py",
    "benchmarks/speed",
    "benchmarks/visit",
    "benchmarks/volumes.py",
    "tests/__init__.py",
    "tests/conftest.py",
    "tests/data/hiv_vlp_40A.mrc",
    "tests/data/phantom_a.mrc",
    "tests/data/golden/hiv_vlp_40A.npz",
    "tests/device/__init__.py",
    "tests/device/test_gpu.py",
    "tests/support/__init__.py",
    "tests/support/data.py",
    "tests/support/rounding.py",
    # for a rehearsal
    "tests/support/cuda_on_host.py",
    "tests/support/cupy_stand_in.py",
    "tests/support/device_double.py",
)
LEFT_OUT = shutil.ignore_patterns("__pycache__")
START = "visit.py"


def pack(root: Path, folder: Path, python: str) -> int:
    """Fill ``folder`` from the clone at ``root``; its size in bytes.

    Args:
        python: version there, such as "3.12".

    Raises:
        SystemExit: ``folder`` is not empty.
        subprocess.CalledProcessError: a wheel could not be made or had.
    """
    folder = folder.absolute()  # pip runs elsewhere
    if folder.exists() and any(folder.iterdir()):
        raise SystemExit(f"error: {folder}: not empty; give a new folder, or empty this one")
    copy_files(root, folder)
    wheels = folder / "wheels"
    _pip("wheel", "--no-deps", "-w", str(wheels), str(root))
    target = [*TARGET, "--python-version", python, "-d", str(wheels)]
    _pip("download", *target, *WITH_NEEDS)
    _pip("download", *target, "--no-deps", *PURE)
    about = {
        "git_commit": commit(),
        "python": python,
        "wheels": sorted(p.name for p in wheels.iterdir()),
    }
    (folder / "folder.json").write_text(json.dumps(about, indent=1) + "\n")
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def copy_files(root: Path, folder: Path) -> None:
    """Benchmarks, the GPU tests and their data, and the script that starts the visit."""
    for name in FILES:
        source, target = root / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=LEFT_OUT)
        else:
            shutil.copyfile(source, target)
    shutil.copyfile(root / "benchmarks" / "visit" / "start.py", folder / START)


def _pip(*arguments: str) -> None:
    with tempfile.TemporaryDirectory() as elsewhere:  # where no file is taken for a package
        command = [sys.executable, "-m", "pip", "-q", *arguments]
        subprocess.run(command, check=True, cwd=elsewhere)
