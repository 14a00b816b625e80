"""Warnings are errors in tests, and not in the plugins that a user of pytest happens to have."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOISY = """
import warnings
warnings.warn("on import")
def pytest_configure(config): warnings.warn("configured")
def pytest_collection_modifyitems(items): warnings.warn("collected")
"""


def test_a_warning_is_an_error(pytestconfig):
    if pytestconfig.getoption("pythonwarnings"):
        pytest.skip("-W says what a warning is")
    with pytest.raises(UserWarning, match="of a test"):
        warnings.warn("of a test", stacklevel=1)


@pytest.mark.slow
def test_a_plugin_that_warns_does_not_end_the_session(tmp_path):
    (tmp_path / "noisy.py").write_text(NOISY)
    command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "noisy", "-p", "no:cacheprovider"]
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    process = subprocess.run(
        [*command, "tests/test_conftest.py::test_a_warning_is_an_error"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert "1 passed" in process.stdout, process.stdout + process.stderr
    assert process.returncode == 0
