"""Patterns and star files that stand for several tomograms."""

from pathlib import Path

import mrcfile
import numpy as np
import pytest

from picket_gpu import PicketError, load_config, run_s1
from tests.support.command_line import ONE, SHAPE

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
    with pytest.raises(PicketError, match=r"inputs\[2\]\.name: 'c d' cannot be a copick run"):
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


# A tomogram in the place of another.


@pytest.mark.parametrize("save", [["hdf5", "mrc"], ["mrc"], ["zarr"]])
def test_no_segmentation_of_another_tomogram_is_replaced(place, save):
    names = ["a.mrc", "b.mrc", "c.mrc"]
    for seed, name in enumerate(names):
        write(place / name, seed)
    options = {"neighborhood_size": 3, "save": save, **ONE}
    run_s1(settings(*({"tomogram": n} for n in names[1:]), **options), quiet=True)
    before = {path: path.stat().st_mtime_ns for path in (place / "out").rglob("*")}
    with pytest.raises(PicketError, match=r"segmentation_0\S+: is of \S*b\.mrc, .* a\.mrc; keep"):
        run_s1(settings(*({"tomogram": n} for n in names), **options), quiet=True)
    assert {path: path.stat().st_mtime_ns for path in (place / "out").rglob("*")} == before
    # At the end they keep their numbers.
    run = run_s1(settings(*({"tomogram": n} for n in names[1:] + names[:1]), **options), quiet=True)
    assert [result.earlier for result in run] == [True, True, False]
    replaced = settings(*({"tomogram": n} for n in names), **options)
    assert not any(r.earlier for r in run_s1(replaced, quiet=True, overwrite=True))


def test_the_same_tomogram_by_another_path_or_with_other_voxels_is_made_again(place):
    write(place / "a.mrc")
    options = {"neighborhood_size": 3, **ONE}
    run_s1(settings({"tomogram": "a.mrc"}, **options), quiet=True)
    write(place / "a.mrc", 1)
    for name in ("a.mrc", str(place / "a.mrc")):
        (result,) = run_s1(settings({"tomogram": name}, **options), quiet=True)
        assert not result.earlier
