"""Three small tomograms, a parameter file for them, and what a run makes of them."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import h5py
import jsonschema
import mrcfile
import numpy as np
import pytest
import yaml

from picket_gpu.files.filenames import record_name
from tests.support.command_line import ENVIRONMENT
from tests.support.data import DATA, untraced

RECORD_SCHEMA = Path(__file__).parents[2] / "configs/run.schema.json"


def write_tomogram(path: Path, seed: int) -> None:
    phantom = mrcfile.read(DATA / "phantom_a.mrc")[6:26, seed : seed + 24, 20:48]
    mrcfile.write(path, phantom, voxel_size=13.48, overwrite=True)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Three good tomograms and a parameter file."""
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        write_tomogram(tmp_path / f"t{number}.mrc", 10 * number)
    configure()
    return tmp_path


def configure(**changes) -> None:
    content = {
        "dataset_name": "set",
        "inputs": [{"tomogram": f"t{number}.mrc"} for number in range(3)],
        "feature_extraction_params": [{"mode": "gabor"}, {"mode": "intensities"}],
        "output_dir": "out",
        "device": "cpu",
    }
    Path("params.yaml").write_text(yaml.safe_dump(content | changes))


def stamps(directory: Path = Path("out/set")) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in directory.glob("segmentation_*")}


def labels(directory: Path) -> dict[str, np.ndarray]:
    found = {}
    for path in sorted(directory.glob("segmentation_*.h5")):
        with h5py.File(path) as file:
            found[path.name] = file["segmentations/semantic_segmentation"][()]
    return found


def record(directory: Path = Path("out/set")) -> dict:
    return json.loads((directory / record_name(None)).read_text())


def checked(record: dict) -> dict:
    """A record that follows the schema."""
    jsonschema.validate(record, json.loads(RECORD_SCHEMA.read_text()))
    return record


def break_nan(path):
    with mrcfile.open(path, "r+") as mrc:
        mrc.data[3, 3, 3] = np.nan


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    directory = tmp_path_factory.mktemp("undisturbed")
    previous = Path.cwd()
    os.chdir(directory)
    try:
        for number in range(3):
            write_tomogram(directory / f"t{number}.mrc", 10 * number)
        configure()
        started = time.perf_counter()
        command = [sys.executable, "-m", "picket_gpu", "params.yaml", "-q"]
        subprocess.run(command, env=untraced(ENVIRONMENT), check=True)
        seconds = time.perf_counter() - started
    finally:
        os.chdir(previous)
    return labels(directory / "out/set"), seconds


def start(*options: str, **how) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "picket_gpu", "params.yaml", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **{"env": ENVIRONMENT, **how},
    )


def wait_for_line(process: subprocess.Popen, text: str) -> None:
    """Until a line with ``text`` comes out."""
    assert any(text in line for line in iter(process.stdout.readline, "")), "it ended before"


def assert_complete(directory: Path, expected: dict[str, np.ndarray]) -> None:
    found = labels(directory)
    assert found.keys() == expected.keys()
    for name, volume in found.items():
        assert (volume == expected[name]).all()
        mask = mrcfile.read(directory / name.replace(".h5", ".mrc"))
        assert ((volume == 1) == mask).all()
    assert [path.name for path in directory.iterdir() if path.name.startswith(".")] == []
