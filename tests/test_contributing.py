"""The feature mode of CONTRIBUTING.md, added as it says to a copy of the package."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from sklearn.cluster import KMeans

ROOT = Path(__file__).parents[1]
USE = """
import json, sys
import numpy as np
from picket_gpu import PicketError, load_config, run_s1, segment
from picket_gpu.config.schema import json_schema
volume = np.load(sys.argv[1])
labels = segment(volume, features={"mode": "shells", "radius": 2.0}, clustering="kmeans")
np.save(sys.argv[2], labels)
config = {"dataset_name": "set", "inputs": [{"tomogram": sys.argv[1]}], "output_dir": sys.argv[3],
          "feature_extraction_params": [{"mode": "shells"}]}
results = run_s1(config, quiet=True)
try:
    load_config(config | {"feature_extraction_params": [{"mode": "shells", "radios": 1.0}]})
except PicketError as error:
    message = str(error)
print(json.dumps([[r.path.name for r in results], message, "Shells" in json_schema()]))
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the package with the new mode; the directory to import it from."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    module, union = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    source = tmp_path_factory.mktemp("src")
    shutil.copytree(ROOT / "src/picket_gpu", source / "picket_gpu")
    (source / "picket_gpu/method/features/shells.py").write_text(module, encoding="utf-8")
    init = source / "picket_gpu/method/features/__init__.py"
    imported, _, definition = union.partition("\n\n")
    before = init.read_text(encoding="utf-8")
    after = re.sub(r"^FeatureParams: .*\n", definition, before, flags=re.MULTILINE)
    assert after != before
    last = "from picket_gpu.method.features.intensities import Intensities\n"
    init.write_text(after.replace(last, last + imported + "\n"), encoding="utf-8")
    return source


def shell_means(volume, radius):
    """The features of every window, computed from the definition."""
    windows = np.lib.stride_tricks.sliding_window_view(volume, (5, 5, 5)).reshape(-1, 125)
    places = np.indices((5, 5, 5)).reshape(3, -1) - 2
    squares = (places**2).sum(axis=0)
    kept = [n for n in np.unique(squares) if n <= radius**2]
    return np.stack([windows[:, squares == n].mean(axis=1) for n in kept], axis=1)


def test_the_new_mode_segments_and_is_known_everywhere(package, phantom, tmp_path):
    volume = phantom[:24, :40, :44]
    np.save(tmp_path / "a.npy", volume)
    arguments = [tmp_path / "a.npy", tmp_path / "labels.npy", tmp_path / "out"]
    process = subprocess.run(
        [sys.executable, "-c", USE, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    files, message, in_schema = json.loads(process.stdout.splitlines()[-1])
    assert files == [f"segmentation_0_shells_{method}.h5" for method in ("kmeans", "gmm")]
    assert "unknown key; did you mean radius?" in message
    assert in_schema

    features = shell_means(gaussian_filter(volume, 2.0), 2.0)
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    expected = KMeans(2, n_init=5, random_state=0, tol=0).fit(scaled).labels_
    labels = np.load(tmp_path / "labels.npy")[2:-2, 2:-2, 2:-2].ravel()
    same = (labels == expected).mean()
    assert max(same, 1 - same) >= 0.999
