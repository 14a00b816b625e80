"""Disk space that a run is said to take at most, against files that it writes."""

from types import SimpleNamespace

import mrcfile
import numpy as np
import pytest

from picket_gpu import run_s1
from picket_gpu.config.load import load_config
from picket_gpu.device.select import select_backend
from picket_gpu.files.filenames import CopickNames
from picket_gpu.files.formats import FORMATS
from picket_gpu.files.tomogram import read_header
from picket_gpu.run.disk_space import describe_disk_space, disk_space, in_words
from picket_gpu.run.plan import plan_run

ATTRIBUTES = dict.fromkeys(("share_of_label_1", "iterations", "converged", "time_taken_for_s1"), 0)
ENDINGS = {"hdf5": ".h5", "mrc": ".mrc", "zarr": ".zarr"}


def size_of(directory) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


@pytest.mark.parametrize("scored", [False, True])
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("shape", [(40, 130, 270), (17, 60, 70)])
def test_files_of_noise_are_no_larger(tmp_path, kind, scored, shape):
    if kind in ("zarr", "copick"):
        pytest.importorskip("zarr")
    random = np.random.default_rng(0)
    (tmp_path / "out").mkdir()
    mrcfile.write(tmp_path / "a.mrc", random.random(shape, dtype=np.float32), voxel_size=10.0)
    labels = random.integers(-1, 2, shape).astype(np.int8)
    scores = random.random(shape).astype(np.float16) if scored else None
    names = CopickNames(tmp_path / "out", "run", 10.0, "me", "s", "thing")
    path = names.path("m", "k") if kind == "copick" else tmp_path / f"out/a{ENDINGS[kind]}"
    header = read_header(tmp_path / "a.mrc")
    FORMATS[kind].write(path, labels, scores, header, ATTRIBUTES | {"fingerprint": "f" * 32})
    most = FORMATS[kind].most_bytes(shape, scored)
    # Beside the voxels there are metadata, counted as 64 KiB in each file, which need less.
    assert most / 2 - 2**17 < size_of(tmp_path / "out") <= most


def settings(**changes):
    return {
        "dataset_name": "set",
        "inputs": [{"tomogram": "a.mrc"}],
        "feature_extraction_params": [{"mode": "intensities"}],
        "neighborhood_size": 3,
        "blur_sigma": 0,
        "scores": True,
        "output_dir": "out",
        "device": "cpu",
    } | changes


@pytest.fixture
def noise(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = np.random.default_rng(0).standard_normal((30, 90, 100)).astype(np.float32)
    mrcfile.write("a.mrc", data, voxel_size=10.0)
    return tmp_path


def space_for(config):
    return disk_space(config, plan_run(config, select_backend("cpu"), False).tomograms)


def test_a_run_writes_no_more_than_it_was_said_to(noise):
    config = load_config(settings())
    space = space_for(config)
    assert list(space.by_kind) == ["hdf5", "mrc", "report"]
    run_s1(config, quiet=True)
    written = {
        "hdf5": sum(path.stat().st_size for path in config.directory.glob("*.h5")),
        "mrc": sum(path.stat().st_size for path in config.directory.glob("*.mrc")),
        "report": sum(path.stat().st_size for path in config.directory.glob("*re*.[hp]*")),
    }
    assert written["mrc"] == space.by_kind["mrc"]
    for kind, size in written.items():
        assert 0 < size <= space.by_kind[kind], kind
    assert space_for(config).total == 0  # all is done


def test_it_says_how_to_write_less(noise):
    config = load_config(settings())
    total, less = describe_disk_space(config, space_for(config))
    assert total.startswith("Disk space: at most ")
    assert less == (
        "  for less: save: [hdf5]; scores: false; report: false; fewer clustering methods"
    )
    least = load_config(
        settings(save=["hdf5"], scores=False, report=False, clustering_methods=["gmm"])
    )
    (total,) = describe_disk_space(least, space_for(least))
    assert "scores" not in total
    assert space_for(least).total < space_for(config).total / 10


def test_a_disk_that_is_too_small_is_told_of(noise, monkeypatch, capsys):
    from picket_gpu.__main__ import main

    (noise / "a.yaml").write_text(str(settings()))
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1_234_000))
    assert main(["a.yaml", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "MB, and 1.2 MB are free in out/set; write less, or choose another output_dir" in out
    (noise / "b.mrc").write_bytes((noise / "a.mrc").read_bytes())
    (noise / "a.yaml").write_text(str(settings(inputs=[{"tomogram": "?.mrc"}])))
    assert main(["a.yaml", "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("warning: files may take ")


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0.0 kB"),
        (9_949, "9.9 kB"),
        (9_951, "10 kB"),
        (999_499, "999 kB"),
        (999_501, "1.0 MB"),
        (20_800_000_000, "21 GB"),
        (3_000_000_000_000_000, "3,000 TB"),
    ],
)
def test_sizes_in_words(size, words):
    assert in_words(size) == words
