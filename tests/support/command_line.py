"""One small tomogram, a parameter file for it, and the program run on them."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
import yaml

SHAPE = (12, 14, 16)
FEATURES = {"ffts": 27, "gabor": 5, "intensities": 27}
GABOR = {
    "mode": "gabor",
    "num_sinusoids": 3,
    "num_neighborhoods_subsets": 2,
    "num_parallel_filters": 4,
    "num_output_features": 5,
}
GOOD: dict[str, Any] = {
    "dataset_name": "set",
    "inputs": [{"tomogram": "tomo.mrc", "lower_z-slice_limit": 2, "upper_z-slice_limit": 10}],
    "neighborhood_size": 3,
    "feature_extraction_params": [
        {"mode": "ffts", "n_fft_subsets": 4},
        GABOR,
        {"mode": "intensities"},
    ],
    "clustering_methods": ["kmeans", "gmm"],
    "output_dir": "out",
    "device": "cpu",
}
WINDOWS = (8 - 2) * (14 - 2) * (16 - 2)  # between the limits
STEMS = [f"segmentation_0_{mode}_{method}" for mode in FEATURES for method in ("kmeans", "gmm")]
REPORT = {"report.html", "preview_0.png", "run.json"}
FILES = {f"{stem}{suffix}" for stem in STEMS for suffix in (".h5", ".mrc")} | REPORT
# One workflow and no report, where these do not matter.
ONE = {
    "feature_extraction_params": [{"mode": "intensities"}],
    "clustering_methods": ["kmeans"],
    "report": False,
}
TWICE = [{"tomogram": "tomo.mrc"}, {"tomogram": "tomo.mrc", "name": "again"}]
# Rich takes these as a terminal; some CI services set them.
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name not in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
}


def picket(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own, with ``directory`` as working directory."""
    return subprocess.run(
        [sys.executable, "-m", "picket_gpu", *arguments],
        cwd=directory,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
    )


def called(
    main: Callable[[list[str]], int], *arguments: object, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """A command in this process, as fast as a process of its own is slow to begin."""
    with (
        chdir(cwd or Path.cwd()),
        redirect_stdout(StringIO()) as out,
        redirect_stderr(StringIO()) as err,
    ):
        code = main([*map(str, arguments)])
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def write_config(directory: Path, **changes: Any) -> None:
    """`GOOD` with changes; a key whose value is `...` is left out."""
    content = {key: value for key, value in (GOOD | changes).items() if value is not ...}
    (directory / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def write_volume(path: Path, data: np.ndarray) -> None:
    mrcfile.write(path, data, voxel_size=10.0, overwrite=True)


def fill(directory: Path) -> Path:
    """``directory`` with a good tomogram and a good parameter file."""
    noise = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    write_volume(directory / "tomo.mrc", noise)
    write_config(directory)
    return directory


def snapshot(directory: Path) -> dict[str, tuple[bytes | None, int]]:
    """Contents and modification times of all that is under ``directory``."""
    return {
        str(path.relative_to(directory)): (
            path.read_bytes() if path.is_file() else None,
            path.lstat().st_mtime_ns,
        )
        for path in directory.rglob("*")
    }


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def the_error(stderr: str) -> str:
    """The message of a standard error that holds one line, an error."""
    (line,) = stderr.splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The working directory, with a good tomogram and a good parameter file."""
    monkeypatch.chdir(tmp_path)
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return fill(tmp_path)
