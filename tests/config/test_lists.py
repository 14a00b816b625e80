"""Patterns and star files that stand for several tomograms."""

import json
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import pytest
import yaml

from picket_gpu import PicketError, load_config, run_s1
from tests.support.command_line import ONE, SHAPE, picket

STAR = """
# version 50001

data_global

loop_
_rlnTomoName #1
_rlnTomoTiltSeriesPixelSize #2
_rlnTomoTomogramBinning #3
_rlnTomoReconstructedTomogram #4
TS_01  1.35  8.0  Tomograms/job007/tomograms/rec_TS_01.mrc
'TS 02'  1.35  8.0  Tomograms/job007/tomograms/rec_TS_02.mrc

data_other
_rlnThing  5
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings(*inputs, **changes):
    return {"dataset_name": "set", "inputs": list(inputs), "output_dir": "out"} | changes


def write(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).random(SHAPE, dtype=np.float32)
    mrcfile.write(path, noise, voxel_size=10, overwrite=True)
    return path


def test_a_pattern_stands_for_all_that_match_sorted(place):
    for name in ("b10", "b2", "a", "c"):
        write(place / f"data/{name}.mrc")
    write(place / "data/c.rec")
    entry = {"tomogram": "data/*.mrc", "lower_z-slice_limit": 2}
    config = load_config(settings(entry, {"tomogram": "data/c.rec"}))
    found = [str(entry.tomogram) for entry in config.inputs]
    assert found == [f"data/{n}.mrc" for n in ("a", "b10", "b2", "c")] + ["data/c.rec"]
    assert [entry.lower_z_slice_limit for entry in config.inputs] == [2, 2, 2, 2, None]
    assert load_config(config) == config


def test_names_for_copick_are_those_of_the_files_that_match(place):
    for name in ("a", "b"):
        write(place / f"{name}.mrc")
    config = load_config(settings({"tomogram": "*.mrc"}, save=["copick"]))
    assert [entry.run_name for entry in config.inputs] == ["a", "b"]
    write(place / "c d.mrc")
    with pytest.raises(
        PicketError, match=r"inputs\[2\]\.name: 'c d' is not a valid name of a copick run"
    ):
        load_config(settings({"tomogram": "*.mrc"}, save=["copick"]))


def test_what_is_there_as_it_is_written_is_no_pattern(place):
    write(place / "a[1].mrc")
    write(place / "a1.mrc")
    config = load_config(settings({"tomogram": "a[1].mrc"}))
    assert [entry.tomogram for entry in config.inputs] == [Path("a[1].mrc")]


def test_the_same_file_by_two_patterns_is_refused(place):
    write(place / "a.mrc")
    with pytest.raises(PicketError, match=r"a\.mrc has the same settings in \[0\] and in \[1\]"):
        load_config(settings({"tomogram": "*.mrc"}, {"tomogram": "a.*"}))


@pytest.mark.parametrize("run_from", ["project", "elsewhere"])
def test_a_star_file_gives_paths_names_and_sizes(place, monkeypatch, run_from):
    project = place / "project"
    for number in (1, 2):
        write(project / f"Tomograms/job007/tomograms/rec_TS_0{number}.mrc")
    star = project / "Tomograms/job007/tomograms.star"
    star.write_text(STAR)
    monkeypatch.chdir(project if run_from == "project" else place)
    config = load_config(settings({"tomogram": str(star), "upper_z-slice_limit": 9}))
    assert [entry.name for entry in config.inputs] == ["TS_01", "TS 02"]
    assert [entry.tomogram.name for entry in config.inputs] == ["rec_TS_01.mrc", "rec_TS_02.mrc"]
    assert all(entry.tomogram.exists() for entry in config.inputs)
    assert {entry.voxel_size for entry in config.inputs} == {(10.8, 10.8, 10.8)}
    assert {entry.upper_z_slice_limit for entry in config.inputs} == {9}
    run = run_s1(config.model_copy(update=small()), quiet=True)
    assert [result.name for result in run] == ["TS_01", "TS 02"]


def small():
    from picket_gpu.method.features import Intensities

    changes = {"neighborhood_size": 3, "clustering_methods": ["kmeans"], "report": False}
    return changes | {"feature_extraction_params": [Intensities()]}


LOOP = "data_global\n\nloop_\n_rlnTomoName #1\n_rlnTomoReconstructedTomogram"


def of_star(text):
    Path("tomograms.star").write_text(text)
    config = load_config(settings({"tomogram": "tomograms.star"}))
    return [(entry.name, str(entry.tomogram), entry.voxel_size) for entry in config.inputs]


def test_denoised_tomograms_of_a_star_file_go_before_the_others(place):
    for name in ("raw.mrc", "denoised.mrc"):
        write(place / name)
    both = f"{LOOP} #2\n_rlnTomoReconstructedTomogramDenoised #3\nA raw.mrc denoised.mrc\n"
    assert of_star(both) == [("A", "denoised.mrc", None)]
    alone = f"{LOOP}Half1 #2\n_rlnTomoReconstructedTomogramDenoised #3\nA h.mrc denoised.mrc\n"
    assert of_star(alone) == [("A", "denoised.mrc", None)]


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("o'brien.mrc", "o'brien.mrc"),
        ("a#1.mrc", "a#1.mrc"),
        ("a\\1.mrc", "a\\1.mrc"),
        ("'a b.mrc'", "a b.mrc"),
        ('"it\'s a.mrc"', "it's a.mrc"),
    ],
)
def test_words_of_a_star_file(place, word, name):
    write(place / name)
    text = f"data_\nloop_\n_other #1\n1\n\n{LOOP} #2\n\n_TS {word}  # said\n\ndata_x\n_y 5\n"
    assert of_star(text) == [("_TS", name, None)]


def test_a_loop_ends_where_the_next_one_begins(place):
    write(place / "a.mrc")
    text = f"{LOOP} #2\nA a.mrc\nloop_\n_rlnOther #1\n5\n"
    assert of_star(text) == [("A", "a.mrc", None)]


@pytest.mark.parametrize("row", ["B", "B b.mrc more", "'B b.mrc'"])
def test_a_row_of_another_length_is_refused(place, row):
    write(place / "a.mrc")
    number = len(row.split()) if "'" not in row else 1
    with pytest.raises(
        PicketError,
        match=rf"^tomograms\.star: row 2 has {number} values for 2 columns; the file is",
    ):
        of_star(f"{LOOP} #2\nA a.mrc\n{row}\n")


def test_a_star_file_is_read_anew_after_an_error(place):
    write(place / "a.mrc")
    with pytest.raises(PicketError, match="row 1 has 1 values"):
        of_star(f"{LOOP} #2\nA\n")
    assert of_star(f"{LOOP} #2\nA a.mrc\n") == [("A", "a.mrc", None)]


def test_two_stars_are_any_directories(place):
    for name in ("data/b.mrc", "data/1/a.mrc", "data/1/2/c.mrc"):
        write(place / name)
    config = load_config(settings({"tomogram": "data/**/*.mrc"}))
    found = [str(entry.tomogram) for entry in config.inputs]
    assert found == ["data/1/2/c.mrc", "data/1/a.mrc", "data/b.mrc"]


def test_a_pattern_stands_for_directories(place):
    for name in ("b.zarr", "a.zarr"):
        (place / name).mkdir()
    config = load_config(settings({"tomogram": "*.zarr"}))
    assert [str(entry.tomogram) for entry in config.inputs] == ["a.zarr", "b.zarr"]


def test_numbers_follow_the_list_from_the_dry_run_to_the_record(place):
    for seed, name in enumerate(("c", "a", "b")):
        write(place / f"data/{name}.mrc", seed)
    config = settings({"tomogram": "data/*.mrc"}, neighborhood_size=3, **ONE)
    Path("params.yaml").write_text(yaml.safe_dump(config))
    told = picket(place, "params.yaml", "--dry-run").stdout
    places = [told.index(f"{name}.mrc") for name in ("a", "b", "c")]
    assert places == sorted(places)
    assert not Path("out").exists()
    (result,) = run_s1("params.yaml", tomograms=[1], quiet=True)
    with h5py.File(result.path) as file:
        attributes = dict(file["segmentations"].attrs)
    assert result.path.name == "segmentation_1_intensities_kmeans.h5"
    assert attributes["tomogram_path"] == str(place / "data/b.mrc")
    record = json.loads(Path("out/set/run_1.json").read_text())
    inputs = [entry["tomogram"] for entry in record["config"]["inputs"]]
    assert inputs == ["data/a.mrc", "data/b.mrc", "data/c.mrc"]
