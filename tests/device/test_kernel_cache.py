"""CuPy's directory for compiled kernels where the home directory is missing or read-only."""

import os
import subprocess
import sys

import pytest

from picket_gpu.device.kernel_cache import provide_kernel_cache
from tests.support.command_line import ENVIRONMENT

NAMES = ("CUPY_CACHE_DIR", "CUPY_CACHE_IN_MEMORY")


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    for name in NAMES:
        monkeypatch.setenv(name, "")  # to be restored
        monkeypatch.delenv(name)


def chosen():
    return {name: os.environ[name] for name in NAMES if name in os.environ}


def test_kernels_are_kept_in_memory_only_where_they_must_be(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "new"))  # can be made
    provide_kernel_cache()
    assert chosen() == {}
    monkeypatch.setenv("HOME", str(tmp_path / "file/home"))
    provide_kernel_cache()
    assert chosen() == {"CUPY_CACHE_DIR": "/", "CUPY_CACHE_IN_MEMORY": "1"}
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_home_directory_that_may_not_be_entered(tmp_path, monkeypatch):
    def refuse(path, *arguments, **more):
        if str(path).startswith(f"{tmp_path}/"):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, *arguments, **more)

    stat = os.stat
    monkeypatch.setattr(os, "stat", refuse)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setenv("HOME", str(tmp_path))
    provide_kernel_cache()
    assert chosen()["CUPY_CACHE_IN_MEMORY"] == "1"


def test_a_directory_that_a_user_sets_holds(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file/home"))
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path))
    provide_kernel_cache()
    assert chosen() == {"CUPY_CACHE_DIR": str(tmp_path)}


def test_a_run_without_a_home_directory(tmp_path):
    """A Zarr file, whose library imports CuPy, on the device that CuPy finds."""
    pytest.importorskip("zarr")
    (tmp_path / "file").touch()
    code = (
        "import numpy, pathlib, picket_gpu; from picket_gpu.files.readers import open_volume; "
        "from picket_gpu.device.select import select_backend; "
        "numpy.random.seed(0); import picket_gpu.files.formats.omezarr as z; "
        "from picket_gpu.files.tomogram import TomogramHeader; "
        "h = TomogramHeader(pathlib.Path('a'), (4, 4, 4), (1.0,) * 3, (0.0,) * 3, (0,) * 3); "
        "z.OMEZarr.write(pathlib.Path('b.zarr'), numpy.ones((4, 4, 4), 'i1'), None, h, {}); "
        "print(open_volume(pathlib.Path('b.zarr')).shape, select_backend('auto').reason)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=ENVIRONMENT | {"HOME": str(tmp_path / "file/home")},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("(4, 4, 4) ")
    assert "cannot be imported: [Errno" not in done.stdout
