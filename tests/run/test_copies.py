"""Segmentations of a tomogram that was copied are kept, and those of changed voxels are not."""

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from picket_gpu import PicketError, run_s1
from picket_gpu.files.lazy_volume import VolumeSelector
from picket_gpu.files.tomogram import has_digest, read_with_digest
from picket_gpu.pick import main as pick
from picket_gpu.report.__main__ import main as report
from tests.support.command_line import ONE

SHAPE = (20, 22, 24)
FFTS = {"mode": "ffts", "n_fft_subsets": 4}
KINDS = pytest.mark.parametrize("save", [["hdf5", "mrc"], ["mrc"], ["zarr"]])


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    grey = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    Path("node1").mkdir()
    mrcfile.write("node1/a.mrc", grey, voxel_size=10)
    mask = np.zeros(SHAPE, np.int8)
    mask[:, 4:18] = 1
    mrcfile.write("node1/mask.mrc", mask, voxel_size=10)
    return tmp_path


def copied(source: str = "node1", target: str = "node2", keep: bool = False) -> None:
    """A job's own copy; the first one is gone with its job, unless it is to be kept."""
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    for path in Path(target).iterdir():
        os.utime(path, (1e9, 1e9))
    if not keep:
        shutil.rmtree(source)


def run(node, overwrite=False, **changes):
    """What is done by mode: whether its segmentations were there before."""
    settings = {"dataset_name": "set", "output_dir": "out", "neighborhood_size": 3, **ONE}
    settings |= {"inputs": [{"tomogram": f"{node}/a.mrc"}]} | changes
    found = run_s1(settings, quiet=True, overwrite=overwrite)
    return {result.mode: result.reused for result in found}


def masked(node):
    return {"inputs": [{"tomogram": f"{node}/a.mrc", "mask": f"{node}/mask.mrc"}]}


def stamps() -> dict[Path, int]:
    files = Path("out/set").rglob("*")
    return {path: path.stat().st_mtime_ns for path in files if path.name != "run.json"}


@KINDS
@pytest.mark.parametrize("keep", [True, False])
def test_a_copy_at_another_path_keeps_everything(place, save, keep):
    changes = {"save": save, "report": True, "scores": True, "particles": {"diameter": 60}}
    run("node1", **changes)
    before = stamps()
    copied(keep=keep)
    assert run("node2", **changes) == {"intensities": True}
    assert stamps() == before
    assert run("node2", seed=1, **changes) == {"intensities": False}


@KINDS
def test_a_copy_in_the_place_of_the_first_is_the_same(place, save):
    run("node1", save=save)
    os.utime("node1/a.mrc", (1e9, 1e9))
    assert run("node1", save=save) == {"intensities": True}


@KINDS
def test_voxels_of_masks_count_and_not_where_they_are(place, save):
    run("node1", save=save, **masked("node1"))
    copied()
    assert run("node2", save=save, **masked("node2")) == {"intensities": True}
    assert report(["out/set", "-q"]) == 0  # which reads the masks where they are now
    assert run("node2", save=save) == {"intensities": False}
    run("node2", save=save, **masked("node2"))
    with mrcfile.open("node2/mask.mrc", "r+") as mrc:
        mrc.data[-1, 4, 0] = 0
    assert run("node2", save=save, **masked("node2")) == {"intensities": False}


@pytest.mark.parametrize("changed", [(0, 0, 0), (10, 11, 12), (19, 21, 23)])
def test_one_other_voxel_is_another_tomogram(place, changed):
    run("node1")
    copied(keep=True)
    with mrcfile.open("node2/a.mrc", "r+") as mrc:
        mrc.data[changed] += 1e-6
    with pytest.raises(PicketError, match=r"belongs to \S*node1/a\.mrc and would be replaced"):
        run("node2")
    shutil.copyfile("node2/a.mrc", "node1/a.mrc")
    assert run("node1") == {"intensities": False}


@pytest.mark.parametrize("field", ["voxel_size", "nstart"])
def test_a_corrected_header_is_written_to_all_files_anew(place, field):
    run("node1")
    copied()
    with mrcfile.open("node2/a.mrc", "r+") as mrc:
        setattr(mrc, field, 11)
    assert run("node2") == {"intensities": False}
    with mrcfile.open("out/set/segmentation_0_intensities_kmeans.mrc", header_only=True) as mrc:
        assert getattr(mrc, field).x == 11


def test_files_without_digests_are_of_one_path_and_time(place):
    run("node1", save=["mrc"])
    path = Path("out/set/segmentation_0_intensities_kmeans.mrc")
    with mrcfile.open(path, "r+") as mrc:
        assert re.fullmatch(r"digests [0-9a-f]{32} [0-9a-f]{32}", mrc.get_labels()[-1])
        mrc.header.nlabl -= 1
    os.utime("node1/a.mrc", (1e9, 1e9))
    assert run("node1", save=["mrc"]) == {"intensities": False}


def test_a_truncated_mask_is_not_kept_for_a_copy(place):
    run("node1", save=["mrc"])
    path = Path("out/set/segmentation_0_intensities_kmeans.mrc")
    path.write_bytes(path.read_bytes()[:-1])
    copied()
    assert run("node2", save=["mrc"]) == {"intensities": False}


def test_half_on_one_node_and_half_on_another(place):
    run("node1", report=True)
    copied()
    both = {"feature_extraction_params": [{"mode": "intensities"}, FFTS], "report": True}
    assert run("node2", **both) == {"intensities": True, "ffts": False}
    copied("node2", "node3")
    assert run("node3", **both) == {"intensities": True, "ffts": True}
    only = {"feature_extraction_params": [FFTS]}  # the other mode's files are no hindrance
    copied("node3", "node4")
    assert run("node4", **only) == {"ffts": True}
    assert report(["out/set", "-q"]) == 0  # both are found at the newest place


def test_particles_are_picked_where_the_copy_is(place, capsys):
    run("node1", scores=True)
    copied()
    run("node2", scores=True)
    assert pick(["out/set", "--diameter", "60", "-q"]) == 0
    assert "node2" not in capsys.readouterr().err


@pytest.mark.parametrize("command", ["pick", "report"])
def test_nothing_is_made_from_other_voxels_than_were_segmented(place, capsys, command):
    run("node1", scores=True)
    with mrcfile.open("node1/a.mrc", "r+") as mrc:
        mrc.data[10, 11, 12] += 1
    arguments = ["out/set", "--diameter", "60"] if command == "pick" else ["out/set"]
    assert {"pick": pick, "report": report}[command](arguments) == 2
    assert "has other grey values than when it was segmented; restore" in capsys.readouterr().err


def test_a_copy_is_compared_once(place):
    run("node1")
    copied()
    run("node2")
    (adopted,) = json.loads(Path("out/set/run.json").read_text())["adopted"].items()
    assert adopted[0] != adopted[1]
    # As long as size and time stay, it is not read again: unreadable voxels go unnoticed.
    with mrcfile.open("node2/a.mrc", "r+") as mrc:
        mrc.data[10] = np.nan
    os.utime("node2/a.mrc", (1e9, 1e9))
    assert run("node2") == {"intensities": True}
    assert [*json.loads(Path("out/set/run.json").read_text())["adopted"].items()] == [adopted]


def test_a_run_says_what_is_kept(place, capsys):
    settings = {"dataset_name": "set", "output_dir": "out", "neighborhood_size": 3, **ONE}
    run_s1(settings | {"inputs": [{"tomogram": "node1/a.mrc"}]}, quiet=True)
    copied()
    run_s1(settings | {"inputs": [{"tomogram": "node2/a.mrc"}]})
    assert "  intensities: done earlier, from a copy of this tomogram\n" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["mrc", "npy", "big", "bytes"])
def test_the_digest_is_of_grey_values_however_they_are_stored(tmp_path, kind):
    grey = np.random.default_rng(0).integers(0, 9, (40, 3, 5)).astype(np.int8)
    path = tmp_path / ("a.npy" if kind == "npy" else "a.mrc")
    if kind == "npy":
        np.save(path, grey.astype(float))
    else:
        stored = {"mrc": np.float32, "big": ">f4", "bytes": np.int8}[kind]
        mrcfile.write(path, grey.astype(stored), voxel_size=10)
    voxels, later = read_with_digest(path)
    digest = later.result()
    assert (voxels == grey).all()
    first = hashlib.sha256(b"(40, 3, 5)" + grey[:1].astype("<f4").tobytes()).hexdigest()
    rest = hashlib.sha256(b"(40, 3, 5)" + grey.astype("<f4").tobytes()).hexdigest()
    assert digest == first[:8] + rest[:24]
    assert has_digest(path, VolumeSelector(), digest)
    assert not has_digest(path, VolumeSelector(), digest[:-1] + "x")
    assert not has_digest(path, VolumeSelector(), "x" + digest[1:])
