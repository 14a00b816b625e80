"""What the commands print where the output is not UTF-8: letters that it lacks are escaped."""

import subprocess
import sys

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


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "ascii"])
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
