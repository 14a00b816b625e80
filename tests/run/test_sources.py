"""No segmentation of another tomogram is replaced unasked."""

import os
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from picket_gpu import PicketError, run_s1
from tests.support.command_line import ONE, SHAPE

FFTS = {"feature_extraction_params": [{"mode": "ffts", "n_fft_subsets": 4}]}
KINDS = pytest.mark.parametrize("save", [["hdf5", "mrc"], ["mrc"], ["zarr"]])


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).random(SHAPE, dtype=np.float32)
    mrcfile.write(path, noise, voxel_size=10, overwrite=True)
    return path


def run(*names, output="out", overwrite=False, **changes):
    """Whether each segmentation was there before."""
    settings = {"dataset_name": "set", "output_dir": output, "neighborhood_size": 3, **ONE}
    settings |= {"inputs": [{"tomogram": name} for name in names]} | changes
    return [result.reused for result in run_s1(settings, quiet=True, overwrite=overwrite)]


def state(directory: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in directory.rglob("*")}


@KINDS
def test_a_tomogram_in_front_of_the_list_is_refused_before_anything_is_replaced(place, save):
    for seed, name in enumerate("abc"):
        write(place / f"{name}.mrc", seed)
    run("b.mrc", "c.mrc", save=save)
    before = state(place / "out")
    with pytest.raises(
        PicketError, match=r"segmentation_0\S+: belongs to \S*b\.mrc.* a\.mrc; keep"
    ):
        run("a.mrc", "b.mrc", "c.mrc", save=save)
    with pytest.raises(
        PicketError, match=r"segmentation_0\S+: belongs to \S*b\.mrc.* c\.mrc; keep"
    ):
        run("c.mrc", save=save)  # b was taken out
    assert state(place / "out") == before
    assert run("b.mrc", "c.mrc", "a.mrc", save=save) == [True, True, False]
    assert run("a.mrc", "b.mrc", "c.mrc", save=save, overwrite=True) == [False] * 3


def test_files_of_kinds_that_are_not_wanted_now_are_not_removed_either(place):
    write(place / "a.mrc")
    write(place / "b.mrc", 1)
    run("b.mrc", save=["hdf5"])
    before = state(place / "out")
    with pytest.raises(PicketError, match=r"segmentation_0\S+\.h5: belongs to \S*b\.mrc.* a\.mrc"):
        run("a.mrc", save=["mrc"])
    assert state(place / "out") == before


def test_a_number_is_one_tomogram_by_all_feature_modes(place):
    write(place / "a.mrc")
    write(place / "b.mrc", 1)
    run("b.mrc")
    before = state(place / "out")
    with pytest.raises(
        PicketError, match=r"belongs to \S*b\.mrc, but number 0 is now a\.mrc; .* move"
    ):
        run("a.mrc", **FFTS)
    assert state(place / "out") == before


def test_an_mrc_file_that_the_newest_record_does_not_have_is_of_the_tomogram_of_its_number(place):
    write(place / "a.mrc")
    write(place / "b.mrc", 1)
    run("b.mrc", save=["mrc"])
    run("b.mrc", save=["mrc"], **FFTS)
    with pytest.raises(PicketError, match=r"belongs to \S*b\.mrc.* a\.mrc"):
        run("a.mrc", save=["mrc"])
    (place / "out/set/run.json").unlink()  # nothing tells what they are of
    assert run("a.mrc", save=["mrc"]) == [False]


@KINDS
def test_one_path_in_two_directories_is_two_tomograms(place, monkeypatch, save):
    for seed, name in enumerate(("p", "q")):
        write(place / name / "a.mrc", seed)
    monkeypatch.chdir(place / "p")
    run("a.mrc", output="../out", save=save)
    monkeypatch.chdir(place / "q")
    with pytest.raises(PicketError, match=r"belongs to \S*p/a\.mrc "):
        run("a.mrc", output="../out", save=save)


@KINDS
@pytest.mark.parametrize("name", ["p/a.mrc", "{place}/p/a.mrc", "p/../p/a.mrc", "link.mrc"])
def test_one_tomogram_by_several_paths_is_the_same(place, monkeypatch, save, name):
    write(place / "p/a.mrc")
    (place / "link.mrc").symlink_to("p/a.mrc")
    monkeypatch.chdir(place / "p")
    run("a.mrc", output="../out", save=save)
    monkeypatch.chdir(place)
    assert run(name.format(place=place), save=save) == [True]


@KINDS
def test_a_tomogram_that_was_rewritten_is_made_again(place, save):
    write(place / "a.mrc")
    run("a.mrc", save=save)
    write(place / "a.mrc", 1)
    assert run("a.mrc", save=save) == [False]
    assert run("a.mrc", save=save, seed=1) == [False]


@KINDS
def test_a_project_that_was_moved_is_the_same(place, monkeypatch, save):
    write(place / "old/a.mrc")
    monkeypatch.chdir(place / "old")
    run("a.mrc", save=save)
    os.rename(place / "old", place / "new")
    monkeypatch.chdir(place / "new")
    assert run("a.mrc", save=save) == [True]
    assert run("a.mrc", save=save, seed=1) == [False]
