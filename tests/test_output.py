"""What the commands print where the output is not UTF-8: letters that it lacks are escaped."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import yaml

from tests.support.command_line import ENVIRONMENT, GOOD, ONE

COMMANDS = ("evaluate", "pick", "report", "view")
NAME = "lamelle_\u65e5\u672c_\u03bc"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    directory = tmp_path_factory.mktemp("output")
    volume = np.random.default_rng(0).normal(size=(12, 14, 16)).astype(np.float32)
    volume[4:8, 5:9, 5:9] -= 4
    mrcfile.write(directory / f"{NAME}.mrc", volume, voxel_size=10)
    config = GOOD | ONE | {"inputs": [{"tomogram": f"{NAME}.mrc"}], "scores": True}
    (directory / "a.yaml").write_text(yaml.safe_dump(config))
    return directory


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_no_command_ends_in_a_traceback(place, encoding):
    def run(module, *arguments):
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=place,
            env=ENVIRONMENT | {"PYTHONIOENCODING": encoding},
            capture_output=True,
            encoding=encoding,
        )

    escaped = NAME.encode("ascii", "backslashreplace").decode()
    for module, *arguments in (
        ("picket_gpu", "a.yaml", "--dry-run"),
        ("picket_gpu", "a.yaml", "--overwrite"),
        ("picket_gpu", "a.yaml", "--log-format", "json"),
        ("picket_gpu.report", "out/set"),
    ):
        found = run(module, *arguments)
        assert (found.returncode, found.stderr) == (0, "")
        assert escaped in found.stdout
    assert run("picket_gpu.pick", "out/set", "--diameter", "60").returncode == 0
    for module in ("picket_gpu", *(f"picket_gpu.{name}" for name in COMMANDS)):
        found = run(module, f"{NAME}.txt")
        assert found.returncode == 2
        assert "Traceback" not in found.stderr
        assert run(module, "--help").returncode == 0


# The locale C without Python's own remedies; ISO-8859-1 need not be installed.
C = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def python(directory, *arguments, **more):
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=directory,
        env=ENVIRONMENT | more,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )


@pytest.mark.parametrize("locale", [C, C | {"PYTHONIOENCODING": "latin-1"}])
def test_names_of_files_are_those_of_the_parameter_file_whatever_the_locale(tmp_path, locale):
    place = tmp_path / NAME
    place.mkdir()
    rng = np.random.default_rng(0)
    for name in (NAME, "mask_\u00e4"):
        volume = rng.random((12, 14, 16), dtype=np.float32)
        mrcfile.write(place / f"{name}.mrc", volume, voxel_size=10)
    entry = {"tomogram": f"{NAME}.mrc", "mask": "mask_\u00e4.mrc"}
    particles = {"diameter": 60, "workflows": ["intensities-kmeans"]}
    changes = {"inputs": [entry], "output_dir": "aus_\u00f6", "particles": particles}
    text = yaml.safe_dump(GOOD | ONE | changes, allow_unicode=True)
    (place / f"{NAME}.yaml").write_text(text, encoding="utf-8")
    directory = "aus_\u00f6/set"
    for command in (
        ("picket_gpu", f"{NAME}.yaml", "--dry-run"),
        ("picket_gpu", f"{NAME}.yaml"),
        ("picket_gpu.pick", directory, "--diameter", "70", "--overwrite"),
        ("picket_gpu.report", directory),
        ("picket_gpu.evaluate", directory, f"{directory}/particles_0_intensities_kmeans.csv"),
    ):
        done = python(place, *command, **locale)
        assert (done.returncode, done.stderr) == (0, ""), command
    assert {path.name for path in place.iterdir()} == {
        *(f"{NAME}{ending}" for ending in (".mrc", ".yaml")),
        *("mask_\u00e4.mrc", "aus_\u00f6"),
    }
    record = json.loads((place / directory / "run.json").read_text(encoding="utf-8"))
    assert NAME in json.dumps(record, ensure_ascii=False)


def test_a_working_directory_that_is_not_utf8_is_refused_before_the_run(tmp_path):
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    try:
        place.mkdir()
    except OSError:
        pytest.skip("the file system takes UTF-8 only")
    for command in (("picket_gpu", "a.yaml"), ("picket_gpu.pick", "out", "--diameter", "60")):
        done = python(place, *command)
        assert done.returncode == 2
        assert done.stderr.endswith("caf\\udce9 is not text in UTF-8; rename the directory\n")
        assert done.stderr.count("\n") == 1


def test_a_file_of_a_pattern_that_is_not_utf8_fails_alone(tmp_path):
    rng = np.random.default_rng(0)
    mrcfile.write(tmp_path / "a.mrc", rng.random((12, 14, 16), dtype=np.float32), voxel_size=10)
    bad = os.fsencode(tmp_path) + b"/b\xff.mrc"
    try:
        shutil.copy(tmp_path / "a.mrc", bad)
    except OSError:
        pytest.skip("the file system takes UTF-8 only")
    config = GOOD | ONE | {"inputs": [{"tomogram": "*.mrc"}]}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(config))
    done = python(tmp_path, "picket_gpu", "a.yaml")
    assert done.returncode == 1
    assert done.stderr == "error: b\\udcff.mrc: its name is not text in UTF-8; rename the file\n"
    assert (tmp_path / "out/set/segmentation_0_intensities_kmeans.h5").exists()
