"""The particles of several tomograms together: lists, thresholds, names, what is left out."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from contextlib import chdir, contextmanager
from itertools import pairwise
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import starfile
import yaml

from picket_gpu import PicketError, run_s1
from picket_gpu.__main__ import main
from picket_gpu.evaluate import main as evaluate_main
from picket_gpu.files import atomic
from picket_gpu.particles.files import (
    files_of,
    read_candidates,
    read_metadata,
    read_with_candidates,
    write_particles,
)
from picket_gpu.particles.formats.csv import CSV
from picket_gpu.particles.formats.npz import NPZ
from picket_gpu.particles.points import points_in, read_points
from picket_gpu.pick import main as pick_main
from picket_gpu.run.dataset import update_lists
from tests.support.command_line import ENVIRONMENT, snapshot, the_error
from tests.support.heights import both, otsu_of
from tests.support.pages import candidates_of, data_of
from tests.support.three_tomograms import checked, record

OUT = Path("out/set")
SHAPE, VOXEL = (24, 48, 48), 10.0
RADIUS = 3.5  # of the balls, in voxels
DEPTHS = ([8.0] * 3, [1.0] * 9, [0.6] * 9)  # of the balls in each tomogram; noise has 1
DIAMETER = 70.0
PICK = {"diameter": DIAMETER}
POOLED = PICK | {"threshold": "dataset"}
SHELLS, RODS = PICK | {"name": "shells"}, {"diameter": 40.0, "name": "rods"}
KEY = "gabor_gmm"
SOURCES = ("both", "score", "tomogram")


def write_balls(path: Path, seed: int, depths: list[float]) -> None:
    rng = np.random.default_rng(seed)
    volume = rng.standard_normal(SHAPE).astype(np.float32)
    places = np.array([(z, y, x) for z in (6, 17) for y in (8, 24, 40) for x in (8, 24, 40)])
    voxels = np.moveaxis(np.indices(SHAPE), 0, -1)
    for place, depth in zip(rng.permutation(places), depths, strict=False):
        centre = place + rng.uniform(-1, 1, 3)
        volume[np.linalg.norm(voxels - centre, axis=3) < RADIUS] -= depth
    mrcfile.write(path, volume, voxel_size=VOXEL, overwrite=True)


def mapping(particles=None, **changes) -> dict:
    return {
        "dataset_name": "set",
        "inputs": [{"tomogram": f"b{number}.mrc"} for number in range(len(DEPTHS))],
        "neighborhood_size": 3,
        "feature_extraction_params": [{"mode": "gabor"}],
        "clustering_methods": ["gmm"],
        "output_dir": "out",
        "device": "cpu",
        "scores": True,
        "particles": particles,
    } | changes


def run(particles, *parts, overwrite=False, **changes):
    """A run; or one for each part, of which the last is returned."""
    for part in parts or [None]:
        given = {"tomograms": part, "overwrite_particles": overwrite}
        results = run_s1(mapping(particles, **changes), quiet=True, **given)
    return results


def pick(*options) -> int:
    return pick_main([str(OUT), *map(str, options), "-q"])


@pytest.fixture(scope="module")
def segmented(tmp_path_factory):
    """Three tomograms, segmented, with pages; nothing is picked."""
    directory = tmp_path_factory.mktemp("segmented")
    first = directory / "first"
    first.mkdir()
    with chdir(first):
        for number, depths in enumerate(DEPTHS):
            write_balls(Path(f"b{number}.mrc"), number, depths)
        run(None)
    # So that the tomograms are not found where they were, but in the working directory.
    return first.rename(directory / "kept")


@pytest.fixture(scope="module")
def once_picked(segmented, tmp_path_factory):
    """All that, and particles by ``PICK``."""
    first = tmp_path_factory.mktemp("picked") / "first"
    shutil.copytree(segmented, first)
    with chdir(first):
        run(PICK)
    return first.rename(first.with_name("kept"))


@pytest.fixture
def place(segmented, tmp_path, monkeypatch):
    """A copy of what is segmented, as working directory."""
    return work_on(segmented, tmp_path, monkeypatch)


@pytest.fixture
def place_with_picks(once_picked, tmp_path, monkeypatch):
    """The same with particles by ``PICK``."""
    return work_on(once_picked, tmp_path, monkeypatch)


def work_on(kept, tmp_path, monkeypatch):
    shutil.copytree(kept, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


# What files, pages and the index say, which must be the same.


def picked() -> dict[str, dict[int, Path]]:
    """CSV files of tomograms, by workflow and name, and by tomogram."""
    found = defaultdict(dict)
    for path in OUT.glob("particles_*.csv"):
        if named := re.fullmatch(r"particles_(\d+)_(.+)", path.stem):
            found[named[2]][int(named[1])] = path
    return found


def tables(key: str = KEY) -> list[np.ndarray]:
    """Tables of tomograms."""
    return [CSV.read(path) for _, path in sorted(picked()[key].items())]


def thresholds(key: str = KEY) -> list[float]:
    files = sorted(picked()[key].items())
    return [read_metadata(path.with_suffix(".yaml"))["threshold"] for _, path in files]


def check(pages: bool = True) -> None:
    """Compare all that there is about particles."""
    known = set()
    for key, files in picked().items():
        for path in files.values():
            known |= check_one(path)
        if len(files) > 1:
            known |= check_list(key, files)
    assert {path.name for path in OUT.glob("particles_*")} == known
    assert not [path for path in OUT.iterdir() if path.name.startswith(".")]
    if pages:
        check_pages()


def check_one(path: Path) -> set[str]:
    """Files of one tomogram; returns their names."""
    table = CSV.read(path)
    wanted = [".csv", ".yaml", ".npz"] + [".star", ".cmm"] * bool(len(table))
    told = read_metadata(path.with_suffix(".yaml"))
    assert told["count"] == len(table)
    stored = read_candidates(path.with_suffix(".npz"))
    assert told["threshold"] == stored.threshold
    if len(table):
        assert len(star(path)) == len(table)
        assert path.with_suffix(".cmm").read_text().count("<marker ") == len(table)
        assert table[:, 3].min() >= told["threshold"]
    return {path.with_suffix(ending).name for ending in wanted}


def star(path: Path):
    return starfile.read(path.with_suffix(".star"), always_dict=True)["particles"]


def check_list(key: str, files: dict[int, Path]) -> set[str]:
    """The list of all tomograms; returns names of its files."""
    path = OUT / f"particles_{key}.csv"
    with path.open(newline="") as file:
        head, *rows = csv.reader(file)
    names = [f"b{number}" for number in sorted(files)]
    each = {number: CSV.read(one) for number, one in files.items()}
    expected = np.concatenate([each[number] for number in sorted(files)])
    assert [head[0], head[4]] == ["tomogram", "score"]
    counts = [len(each[number]) for number in sorted(files)]
    assert [row[0] for row in rows] == np.repeat(names, counts).tolist()
    numbers = np.array([row[1:] for row in rows], dtype=float).reshape(-1, expected.shape[1])
    np.testing.assert_array_equal(numbers, expected)
    about = yaml.safe_load(path.with_suffix(".yaml").read_text())
    told = [(one["index"], one["name"], one["particles"]) for one in about["tomograms"]]
    assert told == list(zip(sorted(files), names, counts, strict=True))
    yamls = [read_metadata(files[number].with_suffix(".yaml")) for number in sorted(files)]
    assert [one["threshold"] for one in about["tomograms"]] == [one["threshold"] for one in yamls]
    if len(rows):
        assert star(path)["rlnTomoName"].tolist() == np.repeat(names, counts).tolist()
    wanted = [".csv", ".yaml"] + [".star"] * bool(rows)
    return {path.with_suffix(ending).name for ending in wanted}


def check_pages() -> None:
    """Pages and the index against the tables."""
    index = {row["index"]: row for row in data_of((OUT / "report.html").read_text())["tomograms"]}
    shown = 0
    for number in range(len(DEPTHS)):
        own = {key: files[number] for key, files in picked().items() if number in files}
        page = data_of((OUT / f"report_{number}.html").read_text())["picked"]
        assert sorted(one["stem"] for one in page) == sorted(path.stem for path in own.values())
        rows = {row_key(row): row for row in index[number]["picks"]}
        assert rows.keys() == own.keys()
        for key, path in own.items():
            (one,) = [one for one in page if one["stem"] == path.stem]
            table = CSV.read(path)
            found = candidates_of(one)[one["first"] : one["first"] + one["count"]]
            np.testing.assert_array_equal(found, table[:, [6, 5, 4, 3]])
            assert (rows[key]["count"], rows[key]["threshold"]) == (len(table), one["threshold"])
            assert sorted(one["files"]) == sorted(path.name for path in OUT.glob(f"{path.stem}.*"))
            shown += 1
    assert shown == sum(map(len, picked().values()))


def row_key(row: dict) -> str:
    return "_".join(filter(None, (row["mode"], row["method"], row["picking"], row["name"])))


def lists() -> dict[str, bytes]:
    """Contents of the lists of all tomograms."""
    found = sorted(OUT.glob("particles_*"))
    return {path.name: path.read_bytes() for path in found if not path.stem.split("_")[1].isdigit()}


def stamps() -> dict[str, tuple[int, int]]:
    files = [*OUT.glob("particles_*"), *OUT.glob("*.html")]
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in files}


def contents() -> dict[str, bytes]:
    """Tables and lists; other files hold times."""
    return lists() | {path.name: path.read_bytes() for path in OUT.glob("particles_*_*.csv")}


# Lists.


def test_a_run_ends_with_a_list_of_all_tomograms(place):
    results = run(PICK)
    check()
    (told,) = results.lists
    assert told.key == ("gabor", "gmm", None)
    assert told.count == sum(one.count for one in results.particles) == sum(map(len, tables()))
    assert [one.index for one in told.particles] == [0, 1, 2]
    assert {path.name for path in told.files.values()} == set(lists())
    (recorded,) = checked(record(OUT))["lists"]
    assert recorded | {"files": sorted(recorded["files"])} == {
        "mode": "gabor",
        "method": "gmm",
        "picking": None,
        "tomograms": 3,
        "count": told.count,
        "files": sorted(lists()),
        "warnings": told.warnings,
    }


@pytest.mark.parametrize(
    "particles",
    [
        POOLED,
        pytest.param(PICK, marks=pytest.mark.slow),
        pytest.param([SHELLS, RODS], marks=pytest.mark.slow),
    ],
    ids=["pooled", "own", "two"],
)
@pytest.mark.slow
def test_parts_in_any_order_make_what_a_whole_run_makes(place, segmented, particles):
    run(particles)
    check()
    expected = contents()
    for parts in ([[1], [0, 2]], [[2], [1], [0]]):
        shutil.rmtree("out")
        shutil.copytree(segmented / "out", "out")
        for part in parts:
            run(particles, part)
            check()
        assert contents() == expected


def test_there_is_no_list_of_one_tomogram(place):
    assert [one.files for one in run(PICK, [1]).lists] == [{}]
    check()
    assert lists() == {}
    run(PICK, [2])
    check()
    assert len(lists()) == 3
    for path in OUT.glob("particles_2_*"):
        path.unlink()
    run(PICK, [1])
    assert lists() == {}


def test_nothing_is_written_again_where_nothing_changes(place):
    for particles in (POOLED, [SHELLS, RODS]):
        run(particles)
        before = stamps()
        assert all(one.reused for one in run(particles).particles)
        run(particles, [2])
        for settings in particles if isinstance(particles, list) else [particles]:
            options = [text for key in settings for text in (f"--{key}", settings[key])]
            assert pick(*options) == 0
        assert stamps() == before


def test_pick_makes_the_lists_of_a_run(place, segmented):
    run([SHELLS, RODS])
    expected = contents()
    shutil.rmtree("out")
    shutil.copytree(segmented / "out", "out")
    assert pick("--diameter", DIAMETER, "--name", "shells") == 0
    check()
    assert pick("--diameter", 40, "--name", "rods", "--not-in", "shells") == 0
    check()
    assert contents() == expected
    before = stamps()
    assert all(one.reused for one in run([SHELLS, RODS]).particles)
    assert stamps() == before


def test_a_list_without_rows_has_no_star(place_with_picks):
    run(PICK | {"threshold": 100}, overwrite=True)
    check()
    assert set(lists()) == {f"particles_{KEY}.csv", f"particles_{KEY}.yaml"}
    assert [len(table) for table in tables()] == [0, 0, 0]
    run(PICK, overwrite=True)
    check()
    assert len(lists()) == 3


def test_a_list_that_was_changed_by_hand_is_put_aside(place, capsys):
    run(PICK)
    path = OUT / f"particles_{KEY}.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    edited = path.read_bytes()
    run(PICK)
    assert path.read_bytes() == edited  # nothing has changed
    assert pick("--diameter", DIAMETER, "--threshold", 0.5, "--overwrite") == 0
    aside = path.with_suffix(".edited.csv")
    assert aside.read_bytes() == edited
    aside.unlink()
    check()
    path.write_bytes(edited)
    Path("params.yaml").write_text(yaml.safe_dump(mapping(PICK)))
    assert main(["params.yaml", "--overwrite-particles"]) == 0
    (told,) = [line for line in capsys.readouterr().out.splitlines() if "by hand" in line]
    assert (
        f"{path.name}: was changed by hand, and is written again; the changed list is kept as"
        in told
    )
    assert aside.read_bytes() == edited


def test_a_lost_list_is_written_again(place_with_picks):
    expected = lists()
    for name in expected:
        (OUT / name).unlink()
        run(PICK, [0])
        assert lists() == expected


def test_files_of_others_that_are_named_like_a_list_are_left(place):
    other = OUT / "particles_mine.yaml"
    other.write_text("mine: true\n")
    run(PICK)
    assert other.read_text() == "mine: true\n"


@pytest.mark.parametrize("particles", [PICK, POOLED], ids=["own", "pooled"])
def test_a_tomogram_that_was_taken_out_is_in_no_list(place, capsys, particles):
    two = mapping(particles)["inputs"][:2]
    run(particles, inputs=two)
    expected = contents()
    run(particles)
    assert contents() != expected
    capsys.readouterr()
    Path("params.yaml").write_text(yaml.safe_dump(mapping(particles, inputs=two)))
    assert main(["params.yaml"]) == 0
    (warning,) = [line for line in capsys.readouterr().out.splitlines() if "no longer" in line]
    assert "particles_2_* are of tomograms that inputs no longer have; left out" in warning
    left = {name: data for name, data in contents().items() if "_2_" not in name}
    assert left == expected
    assert pick("--diameter", DIAMETER, "--threshold", particles.get("threshold", "auto")) == 0
    assert {name: data for name, data in contents().items() if "_2_" not in name} == expected


def test_names_of_before_are_told(place, capsys):
    run(PICK)
    renamed = [{"tomogram": f"b{n}.mrc", "name": f"TS_{n}"} for n in range(len(DEPTHS))]
    Path("params.yaml").write_text(yaml.safe_dump(mapping(PICK, inputs=renamed)))
    assert main(["params.yaml", "--tomograms", "0"]) == 0
    assert "names TS_1 as b1.mrc, TS_2 as b2.mrc, as they were called before; run" in (
        capsys.readouterr().out
    )
    assert main(["params.yaml"]) == 0
    assert "called before" not in capsys.readouterr().out
    assert set(star(OUT / f"particles_{KEY}.csv")["rlnTomoName"]) == {"TS_0", "TS_1", "TS_2"}


def test_tomograms_of_one_name_have_no_list(place, capsys):
    run(PICK, inputs=[{"tomogram": "b0.mrc", "name": "one"}, {"tomogram": "b1.mrc"}])
    assert lists() != {}
    renamed = [{"tomogram": "b0.mrc"}, {"tomogram": "b1.mrc", "name": "one"}]
    results = run(PICK, [1], inputs=renamed, overwrite=True)
    (told,) = results.lists
    assert told.files == {}
    assert f"particles_{KEY}: not written, because several tomograms are called one" in str(
        told.warnings
    )
    assert lists() == {}


def test_tomograms_of_other_settings_are_named(place):
    run(PICK, [0], [1])
    results = run(PICK | {"spacing": 90.0}, [2])
    check()
    (told,) = results.lists
    warning = (
        "gabor-gmm: b2 was picked with other settings than b0; pick in all of them again with "
        "--overwrite"
    )
    assert warning in told.warnings
    assert warning in json.loads((OUT / "run_2.json").read_text())["lists"][0]["warnings"]
    about = yaml.safe_load((OUT / f"particles_{KEY}.yaml").read_text())
    assert "spacing" not in about["particles"]
    assert [one.get("settings", {}).get("spacing") for one in about["tomograms"]] == [
        None,
        None,
        90.0,
    ]


@pytest.mark.parametrize(
    "beside", [{"formats": ["imod"]}, {"workflows": ["gabor-gmm"]}], ids=["formats", "workflows"]
)
def test_what_particles_do_not_depend_on_moves_no_threshold(place, beside):
    run(POOLED)
    before = tables()
    results = run(POOLED | beside, [0])
    assert results.lists[0].warnings == []
    assert [len(table) for table in tables()] == [len(table) for table in before]
    np.testing.assert_array_equal(np.concatenate(tables()), np.concatenate(before))


def test_a_list_for_relion_4_needs_the_binning_of_all(place):
    run(PICK)
    name = f"particles_{KEY}.relion4.star"
    for_relion = PICK | {"formats": ["relion4"], "binning": 4.0}
    (warning,) = run(for_relion, [0]).lists[0].warnings
    assert warning.startswith(f"{name}: not written, because b1, b2 were picked without binning")
    assert f"particles_{KEY}.yaml" in lists()
    assert run(for_relion).lists[0].warnings == []
    before = {path.name: read_points(path)[0].coordinates for path in OUT.glob("*relion4.star")}
    assert name in before
    table = OUT / f"particles_1_{KEY}.csv"
    edited = cut_short(table)
    run(for_relion | {"binning": 2.0})
    np.testing.assert_array_equal(CSV.read(table), edited)
    for path in OUT.glob("particles_[02]*relion4.star"):
        found = read_points(path)[0].coordinates
        np.testing.assert_allclose(found, before[path.name] / 2, atol=1e-6)
    first = read_points(OUT / f"particles_1_{KEY}.relion4.star")[0].coordinates
    np.testing.assert_allclose(first, edited[:, 6:3:-1] * 2, atol=1e-6)


def test_formats_have_lists_too(place_with_picks):
    results = run(PICK | {"formats": ["warp", "dynamo", "imod"]})
    assert all(one.reused for one in results.particles)
    further = {f"particles_{KEY}{ending}" for ending in (".warp.star", ".tbl", ".doc")}
    assert lists().keys() >= further
    assert f"particles_{KEY}.imod.txt" not in lists()  # which holds one tomogram
    total = sum(map(len, tables()))
    assert len(starfile.read(OUT / f"particles_{KEY}.warp.star")) == total
    assert len((OUT / f"particles_{KEY}.tbl").read_text().splitlines()) == total
    run(PICK, overwrite=True)
    assert not lists().keys() & further
    check()


# One threshold.


def stored(key: str = KEY):
    """Candidates of each tomogram that may be picked, as files keep them."""
    found = [OUT / f"particles_{number}_{key}.npz" for number in range(len(DEPTHS))]
    return [read_candidates(path).pool.free for path in found if path.exists()]


def expected_counts(each, source: str) -> list[int]:
    if source == "both":
        return [count for *_, count in both(each, DIAMETER)]
    pooled = np.concatenate([one.heights[0] for one in each])
    unit = pooled.max() if source == "tomogram" else 1.0
    return (
        [int(np.count_nonzero(one.heights[0] >= otsu_of(pooled))) for one in each] if unit else []
    )


@pytest.mark.parametrize("source", SOURCES)
def test_the_threshold_of_a_dataset_is_otsus_of_all_heights(place, source):
    key = "tomogram_ball" if source == "tomogram" else KEY
    run(PICK | {"source": source})
    alone = [len(table) for table in tables(key)]
    run(POOLED | {"source": source}, overwrite=True)
    check()
    counts = [len(table) for table in tables(key)]
    assert counts == expected_counts(stored(key), source)
    assert counts != alone
    (one,) = set(thresholds(key))
    if source == "both":
        assert one == 0
    else:
        pooled = np.concatenate([found.heights[0] for found in stored(key)])
        unit = pooled.max() if source == "tomogram" else 1.0
        assert one == pytest.approx(
            min(otsu_of(pooled) / unit, 0.5 * pooled.max() / unit), rel=1e-9
        ) or (one == pytest.approx(otsu_of(pooled) / unit, rel=1e-9))


@pytest.mark.parametrize("source", ["both", "score"])
def test_every_tomogram_that_joins_moves_the_threshold(place, source):
    told = POOLED | {"source": source}
    seen = []
    for number in (0, 2, 1):
        results = run(told, [number])
        check()
        assert [len(table) for table in tables()] == expected_counts(stored(), source)
        (only,) = results.particles
        assert only.count == len(CSV.read(only.path))
        seen.append((thresholds()[0], contents()["particles_0_gabor_gmm.csv"]))
    assert len(set(seen)) > 1


def test_the_record_of_a_run_has_what_was_chosen_last(place):
    run(POOLED, [0])
    results = run(POOLED)
    units = [unit for unit in checked(record(OUT))["units"] if unit["mode"] == "particles"]
    told = {unit["index"]: unit["particles"][0] for unit in units}
    assert [told[n]["count"] for n in range(3)] == [len(table) for table in tables()]
    assert [told[n]["threshold"] for n in range(3)] == thresholds()
    assert [sorted(told[n]["files"]) for n in range(3)] == [
        sorted(path.name for path in OUT.glob(f"particles_{n}_*")) for n in range(3)
    ]
    assert [one.count for one in results.particles] == [len(table) for table in tables()]
    assert [one.reused for one in results.particles] == [True, False, False]


def test_what_another_job_has_chosen_meanwhile_is_told(place):
    early = run(POOLED | {"source": "score"}, [0]).particles
    run(POOLED | {"source": "score"}, [1], [2])
    update = update_lists(OUT, early)
    (changed,) = update.changed
    assert (changed.index, changed.threshold) == (0, thresholds()[0])
    assert changed.threshold != early[0].threshold
    assert update_lists(OUT, [changed]).changed == []


def test_a_run_tells_what_others_have_chosen_while_it_ran(place, monkeypatch):
    """Two other parts run from begin to end when this one has picked and written its page."""
    told, others = POOLED | {"source": "score"}, [[1], [2]]

    def meanwhile(directory, known, names):
        while others:
            run(told, others.pop())
        return update_lists(directory, known, names)

    monkeypatch.setattr("picket_gpu.run.runner.update_lists", meanwhile)
    (mine,) = run(told, [0]).particles
    check()
    assert (mine.threshold, mine.count) == (thresholds()[0], len(tables()[0]))
    (unit,) = [
        unit
        for unit in json.loads((OUT / "run_0.json").read_text())["units"]
        if unit["mode"] == "particles"
    ]
    assert unit["particles"][0]["threshold"] == mine.threshold


@pytest.mark.parametrize(
    "source", ["both", *(pytest.param(one, marks=pytest.mark.slow) for one in SOURCES[1:])]
)
def test_heights_of_one_hill_take_the_threshold_of_all(place, source):
    """A threshold explains three quarters of the variance of heights that are spread evenly."""
    noise = np.random.default_rng(9).standard_normal((48, 80, 80)).astype(np.float32)
    mrcfile.write("b2.mrc", noise, voxel_size=VOXEL, overwrite=True)
    key = "tomogram_ball" if source == "tomogram" else KEY
    first = run(PICK | {"source": source, "threshold": "tomogram"})
    assert {one.threshold_of for one in first.particles} == {"tomogram"}
    own = [len(table) for table in tables(key)]
    pooled = expected_counts(stored(key), source)
    hills = [one.separation >= 0.75 for one in first.particles]
    assert True in hills
    assert False in hills
    results = run(PICK | {"source": source}, overwrite=True)
    check()
    expected = [
        mine if two else of_all for mine, of_all, two in zip(own, pooled, hills, strict=True)
    ]
    assert [one.count for one in results.particles] == expected
    assert [one.threshold_of == "tomogram" for one in results.particles] == hills
    told = [f"b{n} ({pooled[n]}, {own[n]} by its own)" for n in range(3) if not hills[n]]
    (warning,) = results.lists[0].warnings
    assert f"form one hill, not two, in {', '.join(told)}; " in warning
    assert not any(one.doubt for one in results.particles)
    assert run(POOLED | {"source": source}, overwrite=True).lists[0].warnings == []


def test_pages_have_the_settings_of_a_pick_that_finds_the_same(place):
    run(PICK)
    before = contents()
    assert pick("--diameter", DIAMETER, "--threshold", 0, "--overwrite") == 0
    assert contents().keys() == before.keys()
    assert [one for one in contents() if contents()[one] != before[one] and ".csv" in one] == []
    told = PICK | {"threshold": 0}
    for number in range(len(DEPTHS)):
        (one,) = data_of((OUT / f"report_{number}.html").read_text())["picked"]
        assert one["settings"] == told
    index = data_of((OUT / "report.html").read_text())["tomograms"]
    assert [row["picks"][0]["settings"] for row in index] == [told] * len(DEPTHS)


def test_pages_say_where_a_number_would_count_other_heights(place):
    for source in SOURCES:
        for threshold, other in (("auto", False), ("dataset", source != "score")):
            run(PICK | {"source": source, "threshold": threshold}, overwrite=True)
            key = "tomogram_ball" if source == "tomogram" else KEY
            for number in range(len(DEPTHS)):
                picked = data_of((OUT / f"report_{number}.html").read_text())["picked"]
                (told,) = [one for one in picked if one["stem"] == f"particles_{number}_{key}"]
                assert told["otherScale"] is other


@pytest.mark.parametrize("threshold", ["dataset", "tomogram"])
def test_evaluate_tells_what_a_number_in_place_of_a_word_picks(place, capsys, threshold):
    """Also where heights of a tomogram form one hill: a number counts from that of all there."""
    write_balls(Path("b1.mrc"), 5, [])
    shutil.rmtree("out")
    hills = [
        read_candidates(OUT / Path(one.files[0]).with_suffix(".npz").name).pool.has_two_hills
        for one in run(PICK | {"threshold": threshold}).particles
    ]
    assert hills == [True, False, True]
    rows = "".join(f"b{number},24,24,12\n" for number in range(3))
    Path("truth.csv").write_text(f"tomogram,x,y,z\n{rows}")
    numbers = [-0.5, 0.3, 1]
    assert evaluate_main([str(OUT), "truth.csv", "--json", "--thresholds", *map(str, numbers)]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    for one in told["thresholds"]:
        assert pick("--diameter", DIAMETER, "--threshold", one["threshold"], "--overwrite") == 0
        assert one["picks"] == sum(map(len, tables()))


def test_an_empty_tomogram_is_a_part_of_the_list(place):
    """One that has candidates, all of which are excluded."""
    everything = "x,y,z\n" + "".join(
        f"{x},{y},{z}\n" for z in (0, 12, 23) for y in (0, 24, 47) for x in (0, 24, 47)
    )
    for number in range(3):
        Path(f"no_{number}.csv").write_text(everything if number == 1 else "x,y,z\n")
    for threshold in ("auto", "dataset"):
        told = PICK | {"threshold": threshold, "exclude": "no_{index}.csv", "exclude_radius": 300.0}
        run(told, overwrite=True)
        check()
        counts = [len(table) for table in tables()]
        assert counts[1] == 0 < min(counts[0], counts[2])


# Without the tomogram.


def spoil() -> None:
    """Tomograms that end a run that reads their voxels, and look as they did from outside."""
    for number in range(len(DEPTHS)):
        path = Path(f"b{number}.mrc")
        before = path.stat()
        with mrcfile.mmap(path, "r+") as file:
            file.data[3, 3, 3] = np.nan
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHOICES = {
    "threshold": {"threshold": 1.0},
    "dataset": {"threshold": "dataset"},
    "most": {"max_height": 1.0},
    "number": {"max_particles": 2},
    "places": {"exclude": ["all.csv"]},
    "mask": {"exclude_mask": "mask.mrc"},
}


def write_exclusions() -> None:
    rows = [f"{6 + 36 * n % 40},{8},{12}\n" for n in range(4)]
    Path("all.csv").write_text("x,y,z\n" + "".join(rows))
    mask = np.zeros(SHAPE, np.int8)
    mask[:, :, 24:] = 2
    mrcfile.write("mask.mrc", mask, overwrite=True)


@pytest.mark.parametrize("choice", CHOICES)
def test_another_choice_reads_no_tomogram(place, once_picked, choice):
    write_exclusions()
    told = PICK | CHOICES[choice]
    run(told)
    expected = contents()
    for by_run in (True, False):
        shutil.rmtree("out")
        shutil.copytree(once_picked / "out", "out")
        assert contents() != expected
        if by_run:
            spoil()
            run(told, overwrite=True)
        else:
            for number in range(3):
                Path(f"b{number}.mrc").rename(f"gone{number}.mrc")
            options = [text for key in told for text in (f"--{key.replace('_', '-')}", told[key])]
            flat = [one for text in options for one in (text if isinstance(text, list) else [text])]
            assert pick(*flat, "--overwrite") == 0
        assert contents() == expected
        check()
        for number in range(3):
            if Path(f"gone{number}.mrc").exists():
                Path(f"gone{number}.mrc").rename(f"b{number}.mrc")
            shutil.copy2(once_picked / f"b{number}.mrc", f"b{number}.mrc")


def test_another_diameter_reads_the_tomogram(place_with_picks, capsys):
    before = contents()
    for number in range(3):
        Path(f"b{number}.mrc").unlink()
    assert pick("--diameter", 60, "--overwrite") == 2
    assert capsys.readouterr().err.count("or use --source score") == 3
    assert contents() == before


# Heights.


def test_no_pick_is_above_the_greatest_height(place):
    every = run(PICK)
    heights = np.concatenate([one.heights for one in every.particles])
    most = float(np.median(heights))
    run(PICK | {"max_height": most}, overwrite=True)
    check()
    for before, table in zip(every.particles, tables(), strict=True):
        kept = before.heights <= most
        assert 0 <= kept.sum() < before.count or before.count == kept.sum()
        np.testing.assert_array_equal(table[:, 3], before.heights[kept])
        np.testing.assert_array_equal(table[:, [6, 5, 4]], before.coordinates[kept])
    assert sum(map(len, tables())) == np.count_nonzero(heights <= most)


# Names.


def near(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distance in angstrom from each point to the nearest other."""
    if not len(others):
        return np.full(len(points), np.inf)
    return np.linalg.norm((points[:, None] - others) * VOXEL, axis=2).min(axis=1)


def coordinates(key: str) -> list[np.ndarray]:
    return [table[:, [6, 5, 4]] for table in tables(key)]


APART = 0.4 * (DIAMETER + RODS["diameter"])  # 0.8 of the mean of both


def test_what_an_earlier_name_has_claimed_is_left_alone(place):
    run([RODS])
    alone = coordinates(f"{KEY}_rods")
    results = run([SHELLS, RODS], overwrite=True)
    check()
    shells, rods = coordinates(f"{KEY}_shells"), coordinates(f"{KEY}_rods")
    assert sum(
        near(one, other).min(initial=np.inf) < APART
        for one, other in zip(alone, shells, strict=True)
    )
    for one, other in zip(rods, shells, strict=True):
        assert (near(one, other) >= APART * (1 - 1e-9)).all()
    assert [one.key[2] for one in results.lists] == ["rods", "shells"] or [
        one.key[2] for one in results.lists
    ] == ["shells", "rods"]
    assert [one.settings.get("not_in") for one in results.particles] == [None, ["shells"]] * 3
    assert [(one.index, one.picking) for one in results.particles] == [
        (number, name) for number in range(3) for name in ("shells", "rods")
    ]
    for free, shell in zip(stored(f"{KEY}_rods"), shells, strict=True):
        assert (near(free.points, shell) >= APART * (1 - 1e-9)).all()


def test_later_names_follow_when_earlier_ones_change(place, segmented):
    """By a run of both, a run of the first, and `pick`; the tomograms are not read."""
    told = [SHELLS | {"threshold": 1.5}, RODS]
    run(told)
    expected = contents()
    shutil.rmtree("out")
    shutil.copytree(segmented / "out", "out")
    run([SHELLS, RODS])
    before = contents()
    assert before["particles_2_gabor_gmm_rods.csv"] != expected["particles_2_gabor_gmm_rods.csv"]
    spoil()
    options = ("--diameter", DIAMETER, "--name", "shells")
    assert pick(*options, "--threshold", 1.5, "--overwrite") == 0
    check()
    assert contents() == expected
    run(SHELLS, overwrite=True)
    check()
    assert contents() == before
    run(told, overwrite=True)
    check()
    assert contents() == expected


@pytest.mark.slow
def test_later_names_follow_a_table_that_was_edited(place):
    run([SHELLS, RODS])
    table = OUT / "particles_1_gabor_gmm_shells.csv"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text(lines[0])
    run([SHELLS, RODS])
    assert len(CSV.read(table)) == 0
    assert read_candidates(OUT / "particles_1_gabor_gmm_rods.npz").pool.claimed.sum() == 0
    alone = run([RODS | {"name": "alone"}]).particles[1]
    np.testing.assert_array_equal(coordinates(f"{KEY}_rods")[1], alone.coordinates)
    check_pages()


@pytest.mark.slow
def test_pooled_names_leave_alone_what_pooled_names_claim(place, segmented):
    told = [SHELLS | {"threshold": "dataset"}, RODS | {"threshold": "dataset"}]
    run(told, [0], [1], [2])
    check()
    expected = contents()
    shutil.rmtree("out")
    shutil.copytree(segmented / "out", "out")
    run(told, [2, 1], [0])
    assert contents() == expected
    counts = [len(table) for table in tables(f"{KEY}_shells")]
    assert counts == expected_counts(stored(f"{KEY}_shells"), "both")


@pytest.mark.slow
def test_names_that_leave_each_other_alone_settle(place):
    """Which `pick` allows, one after the other."""
    assert pick("--diameter", DIAMETER, "--name", "a") == 0
    assert pick("--diameter", 60, "--name", "b", "--not-in", "a") == 0
    assert pick("--diameter", 40, "--name", "c", "--not-in", "a", "b") == 0
    assert pick("--diameter", DIAMETER, "--name", "a", "--not-in", "c", "--overwrite") == 0
    check()
    before = stamps()
    assert update_lists(OUT).changed == []
    assert pick("--diameter", DIAMETER, "--name", "a", "--not-in", "c") == 0
    assert stamps() == before


@pytest.mark.slow
def test_names_are_those_before_in_any_order(place):
    """A run of a list, and picks one by one, mean the same."""
    third = {"diameter": 50.0, "name": "a"}
    run([SHELLS, third, RODS])
    before = stamps()
    assert pick("--diameter", 40, "--name", "rods") == 0
    assert pick("--diameter", 50, "--name", "a", "--not-in", "shells") == 0
    assert stamps() == before
    run([SHELLS, third, RODS | {"not_in": ["shells", "a"]}])
    run([SHELLS, third, RODS | {"not_in": ["a", "shells"]}])
    assert stamps() == before


def test_pick_needs_names_that_exist(place, capsys):
    assert pick("--diameter", 40, "--name", "rods", "--not-in", "shells") == 2
    assert the_error(capsys.readouterr().err) == (
        "--not-in: shells: no particles have this name in out/set"
    )
    assert picked() == {}


# What is not replaced.


@pytest.mark.parametrize("named", [False, True])
def test_nothing_of_other_settings_is_replaced_unasked(place, capsys, named):
    name = {"name": "shells"} if named else {}
    run(PICK | name)
    before = snapshot(OUT)
    option = ["--name", "shells"] if named else []
    assert pick("--diameter", DIAMETER, *option, "--threshold", 0.5) == 2
    told = "picked with other settings (threshold: auto before, 0.5 now)"
    assert told in the_error(capsys.readouterr().err)
    with pytest.raises(PicketError) as caught:
        run(PICK | name | {"threshold": 0.5})
    assert told in str(caught.value)
    assert "--overwrite-particles" in str(caught.value)
    assert snapshot(OUT) == before
    run(PICK | name | {"threshold": 0.5}, overwrite=True)
    check()
    assert set(thresholds(f"{KEY}_shells" if named else KEY)) == {0.5}


def test_another_name_replaces_nothing(place_with_picks):
    before = stamps()
    assert pick("--diameter", 40, "--name", "rods") == 0
    run(SHELLS)
    check()
    particles = {
        name: one for name, one in stamps().items() if name in before and "report" not in name
    }
    assert particles == {name: before[name] for name in particles}
    assert len(picked()) == 3


# Places that are excluded.


def test_nothing_is_picked_near_points_that_are_excluded(place):
    """A list of each tomogram by index and by name, and one of all by name."""
    first = run(PICK)
    points = {one.index: one.coordinates[:2] for one in first.particles}
    for number, zyx in points.items():
        rows = "".join(f"{x!r},{y!r},{z!r}\n" for z, y, x in zyx.tolist())
        Path(f"beads_{number}.csv").write_text(f"x,y,z\n{rows}")
        shutil.copy(f"beads_{number}.csv", f"b{number}_beads.csv")
    rows = [f"b{n},{x!r},{y!r},{z!r}\n" for n in (2, 0, 1) for z, y, x in points[n].tolist()]
    Path("all.csv").write_text("tomogram,x,y,z\n" + "".join(rows))
    found = []
    for radius in (None, 100.0):
        for lists_ in ("beads_{index}.csv", ["{name}_beads.csv"], "all.csv"):
            told = PICK | {"exclude": lists_} | ({"exclude_radius": radius} if radius else {})
            run(told, overwrite=True)
            check()
            for number, zyx in points.items():
                kept = read_candidates(OUT / f"particles_{number}_{KEY}.npz").pool
                every = kept.candidates.points
                expected = near(every, zyx) < (radius or 0.8 * DIAMETER) * (1 - 1e-12)
                assert expected.any()
                np.testing.assert_array_equal(kept.excluded, expected)
            counts = [both([free], DIAMETER)[0][2] for free in stored()]
            assert [len(table) for table in tables()] == counts
            found.append([table.tolist() for table in tables()])
    assert found[0] == found[1] == found[2] != found[3] == found[4] == found[5]


def test_a_list_of_relion_excludes(place_with_picks):
    """What the first pick wrote as STAR for all tomograms."""
    shutil.copy(OUT / f"particles_{KEY}.star", "mine.star")
    told = run(PICK | {"name": "others", "exclude": "mine.star"})
    check()
    for one, other in zip(told.particles, coordinates(KEY), strict=True):
        assert (near(one.coordinates, other) > 0.8 * DIAMETER - 0.01).all()


def test_a_changed_list_is_read_again(place):
    Path("all.csv").write_text("x,y,z\n")
    told = PICK | {"exclude": "all.csv"}
    first = run(told)
    z, y, x = first.particles[0].coordinates[0].tolist()
    Path("all.csv").write_text(f"x,y,z\n{x},{y},{z}\n")
    spoil()
    second = run(told)
    check()
    assert (near(second.particles[0].coordinates, np.array([[z, y, x]])) > 0.79 * DIAMETER).all()


def test_nothing_is_picked_in_a_mask_that_excludes(place_with_picks):
    write_exclusions()
    assert (np.concatenate(coordinates(KEY))[:, 2] > 24).any()
    told = PICK | {"exclude_mask": {"file": "mask.mrc", "labels": [2]}}
    run(told, overwrite=True)
    check()
    assert (np.concatenate(coordinates(KEY))[:, 2] < 24).all()
    before = stamps()
    assert all(one.reused for one in run(told).particles)
    assert stamps() == before
    mask = np.zeros(SHAPE, np.int8)
    mask[:, :, :24] = 2
    mrcfile.write("mask.mrc", mask, overwrite=True)
    os.utime("mask.mrc", ns=(1, 1))
    run(told)  # the same settings
    check()
    assert (np.concatenate(coordinates(KEY))[:, 2] > 23).all()


def test_a_mask_of_zeros_excludes_nothing(place):
    first = run(PICK)
    mrcfile.write("mask.mrc", np.zeros(SHAPE, np.int8))
    second = run(PICK | {"exclude_mask": "mask.mrc"}, overwrite=True)
    for one, other in zip(first.particles, second.particles, strict=True):
        assert (one.coordinates == other.coordinates).all()


@pytest.mark.parametrize(("values", "says"), [((1, 2), "choose labels"), ((1, 1), "right file")])
def test_a_mask_that_excludes_everything_is_refused(place, capsys, values, says):
    mask = np.full(SHAPE, values[0], np.int8)
    mask[:5] = values[1]
    mrcfile.write("mask.mrc", mask)
    run(PICK)
    capsys.readouterr()
    options = ["--diameter", str(DIAMETER), "--exclude-mask", "mask.mrc", "--overwrite"]
    before = snapshot(OUT)
    assert pick_main([str(OUT), *options]) == 2
    (line, *_) = capsys.readouterr().err.splitlines()
    assert "exclude_mask: nothing is left to pick; mask.mrc: the mask covers" in line
    assert says in line
    assert snapshot(OUT) == before


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"exclude": "none.csv"}, "exclude: none.csv: no such file"),
        ({"exclude": "{name}.csv"}, "exclude: b0.csv: no such file"),
        ({"exclude_mask": "none.mrc"}, "none.mrc: no such file"),
        ({"exclude_mask": "{name}_no.mrc"}, "b0_no.mrc: no such file"),
    ],
)
def test_what_excludes_must_be_there(place, told, says):
    with pytest.raises(PicketError) as caught:
        run(PICK | told)
    assert says in str(caught.value)
    assert picked() == {}


# Directories of the version before, edited tables, damaged files.


@pytest.fixture
def older(place_with_picks):
    """Particles of a version that kept no candidates and wrote no lists."""
    for path in [*OUT.glob("particles_*.npz"), *map(OUT.joinpath, lists())]:
        path.unlink()


def test_a_directory_of_the_version_before_is_read_and_reused(older, capsys):
    before = stamps()
    results = run(PICK)
    assert all(one.reused for one in results.particles)
    assert [one.count for one in results.particles] == [len(table) for table in tables()]
    assert stamps() == before
    assert main_lines(capsys) == [
        f"warning: particles_0_{KEY}.csv, particles_1_{KEY}.csv, particles_2_{KEY}.csv: without "
        "candidates, as of an earlier version; left out of the list of all tomograms; pick again "
        "with --overwrite of pick, --overwrite-particles of a run"
    ]
    assert pick("--diameter", DIAMETER) == 0
    assert stamps() == before


def main_lines(capsys) -> list[str]:
    """Lines about lists that the program prints."""
    Path("params.yaml").write_text(yaml.safe_dump(mapping(PICK)))
    capsys.readouterr()
    assert main(["params.yaml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    return [line for line in lines if line.startswith(("warning: ", "All "))]


def test_a_directory_of_the_version_before_is_picked_from(older):
    before = {key: one.read_bytes() for key, one in picked()[KEY].items()}
    assert pick("--diameter", 40, "--name", "rods") == 0
    assert {key: one.read_bytes() for key, one in picked()[KEY].items()} == before
    assert f"particles_{KEY}_rods.csv" in lists()
    assert pick("--diameter", DIAMETER, "--overwrite") == 0
    check()
    assert {key: one.read_bytes() for key, one in picked()[KEY].items()} == before


def cut_short(path: Path) -> np.ndarray:
    """A table without its last row; returns what is left."""
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    return CSV.read(path)


@pytest.mark.parametrize("by_run", [True, False])
@pytest.mark.parametrize("threshold", ["auto", "dataset"])
def test_an_edited_table_holds(place, by_run, threshold):
    told = PICK | {"threshold": threshold}
    run(told)
    before = tables()
    path = OUT / f"particles_1_{KEY}.csv"
    edited = cut_short(path)
    if by_run:
        (found,) = [one for one in run(told).particles if one.index == 1]
        assert found.count == len(edited)
    else:
        assert pick("--diameter", DIAMETER, "--threshold", threshold) == 0
    np.testing.assert_array_equal(CSV.read(path), edited)
    assert len(star(path)) == path.with_suffix(".cmm").read_text().count("<marker ") == len(edited)
    assert read_metadata(path.with_suffix(".yaml"))["count"] == len(edited)
    # Its candidates count for the threshold of all as they did.
    for number in (0, 2):
        np.testing.assert_array_equal(tables()[number], before[number])
    with (OUT / f"particles_{KEY}.csv").open(newline="") as file:
        rows = [row for row in csv.reader(file) if row[0] == "b1"]
    np.testing.assert_array_equal(np.array([row[1:] for row in rows], float), edited)
    check_pages()
    settled = stamps()
    run(told)
    assert stamps() == settled


@pytest.mark.parametrize("threshold", ["auto", "dataset"])
def test_a_table_that_is_put_back_is_followed_too(place, threshold):
    told = PICK | {"threshold": threshold}
    run(told)
    before = contents()
    path = OUT / f"particles_1_{KEY}.csv"
    whole = path.read_bytes()
    cut_short(path)
    run(told)
    assert contents() != before
    path.write_bytes(whole)
    run(told)
    check()
    assert contents() == before


def test_an_edited_table_without_rows_has_no_star(place):
    run(POOLED)
    table = OUT / f"particles_1_{KEY}.csv"
    table.write_text(table.read_text().splitlines(keepends=True)[0])
    assert pick("--diameter", DIAMETER, "--threshold", "dataset") == 0
    assert not table.with_suffix(".star").exists()
    assert set(star(OUT / f"particles_{KEY}.csv")["rlnTomoName"]) == {"b0", "b2"}
    check_pages()


@pytest.mark.parametrize("how", ["pick", "run", "renamed", "segmented"])
def test_an_edited_table_that_is_replaced_is_put_aside(place, capsys, how):
    run(PICK)
    path = OUT / f"particles_1_{KEY}.csv"
    aside = path.with_suffix(".edited.csv")
    cut_short(path)
    edited = path.read_bytes()
    if how == "pick":
        options = ["--diameter", DIAMETER, "--threshold", 0.5, "--overwrite"]
        assert pick_main([str(OUT), *map(str, options)]) == 0
        lines = capsys.readouterr().out.splitlines()
        told = [line.removeprefix("warning: ") for line in lines if "by hand" in line]
    else:
        names = [{"tomogram": f"b{n}.mrc", "name": f"TS_{n}"} for n in range(len(DEPTHS))]
        other = {"run": PICK | {"threshold": 0.5}}.get(how, PICK)
        changes = {"renamed": {"inputs": names}, "segmented": {"seed": 1}}.get(how, {})
        warnings = run(other, overwrite=how == "run", **changes).warnings
        told = [line for line in warnings if "by hand" in line]
        steps = [step for step in record()["units"] if step["index"] == 1]
        assert [line for step in steps for line in step["warnings"] if "by hand" in line] == told
    assert told == [
        f"{path}: was changed by hand, and is picked again; the changed table is kept as "
        f"{aside.name}: to have it hold, copy it back in its place"
    ]
    assert aside.read_bytes() == edited
    assert path.read_bytes() != edited
    cut_short(path)
    assert pick("--diameter", DIAMETER, "--threshold", 0.7, "--overwrite") == 0
    assert aside.read_bytes() == edited
    assert path.with_suffix(".edited2.csv").exists()
    shutil.copy(aside, path)
    assert pick("--diameter", DIAMETER, "--threshold", 0.7) == 0
    assert path.read_bytes() == edited


def rewritten(path: Path, change) -> None:
    """Save cells, head and rows, as ``change`` has them."""
    with path.open(newline="") as file:
        rows = change(list(csv.reader(file)))
    path.write_text("".join(",".join(row) + "\n" for row in rows))


BY_PROGRAMS = {
    "bytes at the start": lambda text: "\ufeff" + text.replace("\n", "\r\n"),
    "semicolons": lambda text: text.replace(",", ";"),
    "commas in numbers": lambda text: text.replace(",", ";").replace(".", ","),
    "tabs": lambda text: text.replace(",", "\t"),
    "an empty row": lambda text: text + ",,,,,,\n\n",
}


@pytest.mark.parametrize("threshold", ["auto", "dataset"])
@pytest.mark.parametrize("by", BY_PROGRAMS)
def test_a_table_may_be_saved_by_a_program_for_tables(place, by, threshold):
    told = PICK | {"threshold": threshold}
    run(told)
    path = OUT / f"particles_1_{KEY}.csv"
    whole = CSV.read(path)
    text = BY_PROGRAMS[by](path.read_text())
    path.write_bytes(text.encode())
    run(told)
    np.testing.assert_array_equal(read_with_candidates(path.with_suffix(".npz")).table, whole)
    assert read_with_candidates(path.with_suffix(".npz")).edited is None
    lines = text.splitlines(keepends=True)
    path.write_bytes("".join(lines[:1] + lines[2:]).encode())
    found = run(told).particles[1]
    np.testing.assert_array_equal(found.table, whole[1:])


def test_a_table_that_was_saved_with_few_digits_is_not_edited(place):
    run(POOLED)
    path = OUT / f"particles_1_{KEY}.csv"
    rewritten(path, lambda rows: [rows[0], *([f"{float(x):.9g}" for x in row] for row in rows[1:])])
    assert read_with_candidates(path.with_suffix(".npz")).edited is None


def test_rows_may_be_added_with_voxels_or_angstrom_alone(place):
    run(POOLED)
    path = OUT / f"particles_1_{KEY}.csv"
    count, highest = len(CSV.read(path)), CSV.read(path)[:, 3].max()

    def more(rows):
        head, *others = rows
        extra = ["", "", "", "", "30.0", "20.0", "10.0"], ["300", "200", "50", "-1", "", "", ""]
        moved = [3, 6, 5, 4, 2, 1, 0]  # columns may be in any order, and others beside them
        return [
            [*(row[place] for place in moved), note]
            for row, note in [(head, "note"), *((row, "x") for row in [*others, *extra])]
        ]

    rewritten(path, more)
    table = run(POOLED).particles[1].table
    assert len(table) == count + 2
    (by_voxels,) = table[np.abs(table[:, 4:] - (30, 20, 10)).max(axis=1) == 0]
    assert by_voxels.tolist() == [300, 200, 100, highest, 30, 20, 10]
    assert table[-1].tolist() == [300, 200, 50, -1, 30, 20, 5]
    assert len(star(path)) == count + 2
    with (OUT / f"particles_{KEY}.csv").open(newline="") as file:
        rows = [row[1:] for row in csv.reader(file) if row[0] == "b1"]
    np.testing.assert_array_equal(np.array(rows, float), table)
    np.testing.assert_allclose(
        points_in(path, run(POOLED).particles[1]).sum(0), table[:, 6:3:-1].sum(0)
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda rows: [rows[0], ["999.0", *rows[1][1:]], *rows[2:]],
            "are two places in the row 999",
        ),
        (
            lambda rows: [*rows, ["1", "", "", "2", "1", "1", ""]],
            "a number is missing in the row 1,",
        ),
        (lambda rows: [row[1:] for row in rows], "no columns x_angstrom"),
        (lambda rows: [*rows, ["1", "2"]], "a row has 2 cells of 7"),
        (lambda rows: [*rows, ["nan"] * 7], "a number is not finite"),
    ],
)
@pytest.mark.parametrize("threshold", ["auto", "dataset"])
def test_a_table_that_cannot_be_meant_is_told_and_left(place, change, says, threshold):
    told = PICK | {"threshold": threshold}
    run(told)
    path = OUT / f"particles_1_{KEY}.csv"
    rewritten(path, change)
    before = path.read_bytes()
    results = run(told)
    (failure,) = results.failures
    assert says in failure.message
    assert path.name in failure.message
    assert path.read_bytes() == before
    assert [one.index for one in results.lists[0].particles] == [0, 2]


def test_a_lost_table_that_depends_on_others_is_written_again(place):
    run(POOLED)
    expected = contents()
    (OUT / f"particles_1_{KEY}.csv").unlink()
    run(POOLED, [0])
    check()
    assert contents() == expected


@pytest.mark.parametrize("particles", [PICK, POOLED], ids=["own", "pooled"])
def test_damaged_candidates_are_told_and_found_again(place, particles):
    run(particles)
    expected, whole = contents(), lists()
    path = OUT / f"particles_1_{KEY}.npz"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    results = run(particles, [0])
    assert [one.index for one in results.lists[0].particles] == [0, 2]
    assert lists() != whole
    run(particles, [1])
    check()
    assert contents() == expected


def test_files_of_two_jobs_at_a_time_belong_together(place, monkeypatch):
    """One writes all when the other has written its candidates and is about to write its table:
    that table is not taken for one that was changed by hand."""
    run(PICK)
    path = OUT / f"particles_1_{KEY}.npz"
    ours = read_candidates(path)
    theirs = ours.chosen_by(ours.pool, settings=ours.settings | {"threshold": 1.0})
    theirs = theirs.chosen_by(theirs.pool)
    assert 0 < theirs.count < ours.count

    def write(table, lists, real=CSV.write, **options):
        monkeypatch.setattr(CSV, "write", real)
        write_particles(files_of(theirs), theirs)
        real(table, lists, **options)

    monkeypatch.setattr(CSV, "write", write)
    write_particles(files_of(ours), ours)
    found = read_with_candidates(path)
    assert (found.edited, found.count) == (None, theirs.count)
    assert len(star(path)) == theirs.count
    check_one(path.with_suffix(".csv"))


@contextmanager
def ending_after(limit, monkeypatch):
    """As if the program were interrupted after so many files."""
    left = limit

    def ending(path, real=atomic._sync):
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        real(path)

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "_sync", ending)
        yield


def test_damaged_candidates_of_one_name_stop_no_other(place, capsys):
    run([SHELLS, RODS | {"threshold": "dataset"}])
    path = OUT / f"particles_1_{KEY}_shells.npz"
    path.write_bytes(path.read_bytes()[:100])
    before = path.read_bytes()
    options = ["--diameter", DIAMETER, "--name", "others", "--not-in", "rods"]
    assert pick(*options) == 0
    assert pick("--diameter", 40, "--name", "rods", "--threshold", 1, "--overwrite") == 1
    assert f"particles_1_{KEY}_shells.npz: file of particles is truncated or damaged" in (
        the_error(capsys.readouterr().err)
    )
    assert path.read_bytes() == before
    run(SHELLS)
    check()


# What can go wrong while it is written.


@pytest.mark.parametrize(
    "particles",
    [POOLED, pytest.param([SHELLS, RODS], marks=pytest.mark.slow)],
    ids=["pooled", "two"],
)
def test_wherever_writing_ends_the_next_update_mends_it(place, monkeypatch, particles):
    run(particles)
    undone = "particles_2_*" if particles is POOLED else "particles_?_gabor_gmm_shells.*"
    if particles is POOLED:
        for path in OUT.glob(undone):
            path.unlink()
    else:  # as if another threshold of shells had just been chosen
        for number in range(3):
            path = OUT / f"particles_{number}_{KEY}_shells.npz"
            found = read_candidates(path)
            settings = found.settings | {"threshold": 2.0}
            NPZ.write(path, [found.model_copy(update={"settings": settings})])
            path.with_suffix(".csv").unlink()
    before = Path("before")
    shutil.copytree(OUT, before)
    update_lists(OUT)
    expected = contents()
    assert expected != {path.name: path.read_bytes() for path in before.glob("particles_*.csv")}
    for limit in range(100):
        shutil.rmtree(OUT)
        shutil.copytree(before, OUT)
        with ending_after(limit, monkeypatch):
            try:
                update_lists(OUT)
                break
            except KeyboardInterrupt:
                pass
        update_lists(OUT)
        assert contents() == expected
    assert 8 < limit < 99


@pytest.mark.slow
def test_a_run_that_is_killed_leaves_what_the_next_one_mends(place, segmented, monkeypatch):
    told = [SHELLS | {"threshold": "dataset"}, RODS]
    run(told)
    expected = contents()
    for limit in range(0, 60, 7):
        shutil.rmtree("out")
        shutil.copytree(segmented / "out", "out")
        with ending_after(limit, monkeypatch), pytest.raises(KeyboardInterrupt):
            run(told)
        run(told)
        check()
        assert contents() == expected


JOB = """
import sys, yaml
from picket_gpu import run_s1

config = yaml.safe_load(open("params.yaml"))
for _ in range(int(sys.argv[2])):
    run_s1(config, tomograms=[int(sys.argv[1])], quiet=True, overwrite_particles=True)
    print("done", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("particles", [POOLED, [SHELLS | POOLED, RODS]], ids=["pooled", "two"])
def test_parts_at_the_same_time_make_what_a_whole_run_makes(place, segmented, particles):
    run(particles)
    expected = contents()
    shutil.rmtree("out")
    shutil.copytree(segmented / "out", "out")
    Path("params.yaml").write_text(yaml.safe_dump(mapping(particles)))
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", JOB, str(number), "4"],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    told = [job.communicate(timeout=300) for job in jobs]
    assert [(job.returncode, error) for job, (_, error) in zip(jobs, told, strict=True)] == (
        [(0, "")] * 3
    )
    assert contents() == expected
    check()


@pytest.mark.slow
def test_workers_make_the_same(place, segmented):
    """But for what rounding does in blocks for fewer threads."""
    pytest.importorskip("distributed")
    told = [SHELLS | {"threshold": "dataset"}, RODS]
    run(told)
    keys = [f"{KEY}_shells", f"{KEY}_rods"]
    expected = [table for key in keys for table in tables(key)]
    shutil.rmtree("out")
    shutil.copytree(segmented / "out", "out")
    Path("params.yaml").write_text(yaml.safe_dump(mapping(told)))
    assert main(["params.yaml", "--workers", "2", "-q"]) == 0
    check()
    found = [table for key in keys for table in tables(key)]
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other[:, 3:7], one[:, 3:7], atol=0.01)


# A copick project, and a run without what exists.


def test_the_object_in_copick_is_the_name(place):
    pytest.importorskip("zarr")
    run([SHELLS | {"threshold": "dataset"}, RODS], save=["hdf5", "copick"])
    for number, name in ((n, name) for n in range(3) for name in ("shells", "rods")):
        path = OUT / f"copick/ExperimentRuns/b{number}/Picks/picket-gpu_gabor-gmm_{name}.json"
        told = json.loads(path.read_text())
        assert told["pickable_object_name"] == name
        table = CSV.read(OUT / f"particles_{number}_{KEY}_{name}.csv")
        places = [[point["location"][axis] for axis in "xyz"] for point in told["points"]]
        np.testing.assert_allclose(places, table[:, 4:7].reshape(-1, 3) * VOXEL, atol=1e-3)


def test_a_first_run_writes_pages_of_all_names(place):
    shutil.rmtree("out")
    run([SHELLS | {"threshold": "dataset"}, RODS], [1], [0, 2])
    check()
    rows = data_of((OUT / "report.html").read_text())["tomograms"]
    assert [[one["name"] for one in row["picks"]] for row in rows] == [["shells", "rods"]] * 3
    for earlier, later in pairwise(rows):
        assert earlier["index"] < later["index"]
