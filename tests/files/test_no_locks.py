"""File systems without locks: everything works on them, whatever their error is."""

import shutil
import subprocess
import sys
from contextlib import chdir

import h5py
import numpy as np
import pytest
import yaml

from picket_gpu import run_s1
from tests.support.command_line import ENVIRONMENT, GOOD, ONE

COMPILER = shutil.which("gcc") or shutil.which("cc")
# As HDF5 asks for locks: on NFS without lockd, Cray's DVS, BeeGFS, and mounts that seem busy.
ERRORS = {"ENOLCK": 37, "ENOTSUPP": 524, "EOPNOTSUPP": 95, "EAGAIN": 11}
NO_LOCKS = """
#include <errno.h>
#include <stdlib.h>
int flock(int fd, int operation) { errno = atoi(getenv("NO_LOCKS")); return -1; }
"""
pytestmark = pytest.mark.skipif(
    COMPILER is None or sys.platform != "linux", reason="needs gcc and LD_PRELOAD"
)


@pytest.fixture(scope="module")
def preloaded(tmp_path_factory):
    """A library that takes the place of the system's, and has no locks."""
    directory = tmp_path_factory.mktemp("preloaded")
    (directory / "no_locks.c").write_text(NO_LOCKS)
    command = [COMPILER, "-shared", "-fPIC", "-o", "no_locks.so", "no_locks.c"]
    subprocess.run(command, cwd=directory, check=True)
    return directory / "no_locks.so"


@pytest.fixture
def python(preloaded):
    def run(directory, *arguments, error="ENOLCK", **more):
        more |= {"LD_PRELOAD": str(preloaded), "NO_LOCKS": str(ERRORS[error])}
        command = [sys.executable, *map(str, arguments)]
        found = subprocess.run(
            command, cwd=directory, env=ENVIRONMENT | more, capture_output=True, text=True
        )
        assert (found.returncode, found.stderr) == (0, ""), found.stderr
        return found.stdout

    return run


@pytest.fixture
def place(tmp_path):
    volume = np.random.default_rng(0).normal(size=(16, 18, 20)).astype(np.float32)
    volume[5:10, 6:12, 6:12] -= 3
    with h5py.File(tmp_path / "tomo.h5", "w") as file:
        file["tomogram"] = volume
    with h5py.File(tmp_path / "mask.h5", "w") as file:
        file["mask"] = np.ones(volume.shape, np.uint8)
    entry = {"tomogram": "tomo.h5", "mask": "mask.h5", "voxel_size": 10.0}
    config = GOOD | ONE | {"inputs": [entry], "scores": True, "save": ["hdf5"]}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


def labels(place):
    with h5py.File(place / "out/set/segmentation_0_intensities_kmeans.h5") as file:
        return file["segmentations/semantic_segmentation"][...]


def test_the_library_does_take_locks_away(place, python):
    code = "import h5py\ntry: h5py.File('tomo.h5')\nexcept OSError as error: print(error.errno)"
    assert {int(python(place, "-c", code, error=name)) for name in ERRORS} == {*ERRORS.values()}


@pytest.mark.parametrize("error", ERRORS)
def test_a_run_reads_and_writes(place, python, error):
    python(place, "-m", "picket_gpu", "params.yaml", error=error)
    without = labels(place)
    with chdir(place):
        run_s1("params.yaml", overwrite=True, quiet=True)
    assert (labels(place) == without).all()
    assert "done earlier" in python(place, "-m", "picket_gpu", "params.yaml", error=error)


@pytest.mark.parametrize("asked", ["TRUE", "BEST_EFFORT", "FALSE"])
def test_a_variable_that_asks_for_locks_does_not_lose_a_segmentation(place, python, asked):
    for _ in range(2):
        output = python(place, "-m", "picket_gpu", "params.yaml", HDF5_USE_FILE_LOCKING=asked)
        assert "1 segmentation in out/set" in output
    assert "done earlier" in output
    assert set(np.unique(labels(place))) == {-1, 0, 1}


def test_the_other_commands_read_and_write_too(place, python):
    python(place, "-m", "picket_gpu", "params.yaml")
    options = ("--diameter", 60, "--threshold", 0)
    assert "1 particle from" in python(place, "-m", "picket_gpu.pick", "out/set", *options)
    python(place, "-m", "picket_gpu.report", "out/set")
    assert (place / "out/set/report.html").exists()
    code = (
        "from pathlib import Path; from picket_gpu.view import layers; "
        "print([one.kind for one in layers(Path('out/set/segmentation_0_intensities_kmeans.h5'))])"
    )
    assert "'image', 'image', 'labels'" in python(place, "-c", code)


def test_workers_read_and_write_too(place, python):
    pytest.importorskip("distributed")
    output = python(place, "-m", "picket_gpu", "params.yaml", "--workers", "1")
    assert "1 segmentation in out/set" in output
    assert set(np.unique(labels(place))) == {-1, 0, 1}
