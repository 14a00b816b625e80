"""Long runs: what fails is named and the rest goes on; a rerun does what is missing, no more."""

import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import chdir
from datetime import datetime
from pathlib import Path

import h5py
import jsonschema
import mrcfile
import numpy as np
import pytest

from picket_gpu import PicketError, run_s1
from picket_gpu.__main__ import main
from picket_gpu.errors import NothingDoneError
from picket_gpu.files import segmentation
from picket_gpu.files.atomic import remove_leftovers
from picket_gpu.report.__main__ import main as report_main
from picket_gpu.run.record import Records, json_schema
from tests.support.command_line import ENVIRONMENT, the_error
from tests.support.data import untraced
from tests.support.pages import data_of
from tests.support.three_tomograms import (
    RECORD_SCHEMA,
    assert_complete,
    break_nan,
    checked,
    configure,
    labels,
    record,
    stamps,
    start,
    wait_for_line,
    write_tomogram,
)
from tests.support.three_tomograms import place as place
from tests.support.three_tomograms import undisturbed as undisturbed


@pytest.fixture(scope="module")
def complete_once(tmp_path_factory):
    directory = tmp_path_factory.mktemp("complete") / "first"
    directory.mkdir()
    with chdir(directory):
        for number in range(3):
            write_tomogram(directory / f"t{number}.mrc", 10 * number)
        configure()
        run_s1("params.yaml", quiet=True)
    # So that the tomograms are not found where they were, but in the working directory.
    return directory.rename(directory.with_name("kept"))


@pytest.fixture
def complete(complete_once, place):
    """`place` after a run."""
    return shutil.copytree(complete_once, place, dirs_exist_ok=True)


# Isolation.


def break_missing(path):
    path.unlink()


def break_cut(path):
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.filterwarnings("ignore:Data array contains NaN values:RuntimeWarning")
@pytest.mark.parametrize(
    ("fault", "says"),
    [("missing", "no such file"), ("cut", "MRC file is truncated"), ("nan", "NaN")],
)
def test_a_bad_tomogram_is_named_and_the_others_are_done(place, capsys, fault, says):
    globals()[f"break_{fault}"](place / "t1.mrc")
    assert main(["params.yaml"]) == 1
    captured = capsys.readouterr()
    message = the_error(captured.err)
    assert "t1.mrc" in message
    assert says in message
    assert "  FAILED: " in captured.out
    indices = {name.split("_")[1] for name in stamps()}
    assert indices == {"0", "2"}
    failed = [unit for unit in record()["units"] if unit["status"] == "failed"]
    assert [(unit["index"], unit["mode"]) for unit in failed] == [(1, None)]
    assert says in failed[0]["error"]
    assert failed[0]["traceback"] is None
    # Mended, only that one is run.
    before = stamps()
    write_tomogram(place / "t1.mrc", 10)
    assert main(["params.yaml"]) == 0
    assert len(stamps()) == 24
    assert before.items() <= stamps().items()


def test_a_feature_mode_that_fails_leaves_the_others(place, capsys):
    blocked = place / "out/set/segmentation_1_gabor_gmm.h5"
    blocked.mkdir(parents=True)
    assert main(["params.yaml", "--overwrite"]) == 1
    assert "segmentation_1_gabor_gmm.h5" in the_error(capsys.readouterr().err)
    assert len(list(blocked.parent.glob("segmentation_1_intensities_*"))) == 4
    assert len(list(blocked.parent.glob("segmentation_2_*"))) == 8
    failed = [unit for unit in record()["units"] if unit["status"] == "failed"]
    assert [(unit["index"], unit["mode"]) for unit in failed] == [(1, "gabor")]


def test_an_error_that_nobody_foresaw_is_told_with_its_traceback(place, capsys, monkeypatch):
    from picket_gpu.method import recipe

    real = recipe.prepare

    def prepare(backend, voxels, sigma, plan, name, *others):
        if name == "t1.mrc":
            raise ZeroDivisionError("one\nday")
        return real(backend, voxels, sigma, plan, name, *others)

    monkeypatch.setattr(recipe, "prepare", prepare)
    assert main(["params.yaml"]) == 1
    assert the_error(capsys.readouterr().err) == "t1.mrc: ZeroDivisionError: one day"
    (failed,) = [unit for unit in record()["units"] if unit["status"] == "failed"]
    assert "in prepare" in failed["traceback"]


def test_each_tomogram_is_named_where_all_fail(place, capsys):
    for number in range(3):
        (place / f"t{number}.mrc").unlink()
    assert main(["params.yaml"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        ["error", f"t{number}.mrc"] for number in range(3)
    ]
    assert not Path("out").exists()
    with pytest.raises(NothingDoneError, match=r"t0.mrc: no such file.* \(and 2 more\)") as told:
        run_s1("params.yaml", quiet=True)
    assert [failure.index for failure in told.value.failures] == [0, 1, 2]


def test_nothing_but_a_fault_that_nobody_foresaw_is_one_line_too(place, capsys, monkeypatch):
    monkeypatch.setattr("picket_gpu.method.recipe.prepare", lambda *_: 1 / 0)
    configure(inputs=[{"tomogram": "t0.mrc"}])
    assert main(["params.yaml"]) == 1
    assert the_error(capsys.readouterr().err) == "t0.mrc: ZeroDivisionError: division by zero"


def test_a_tomogram_of_which_nothing_can_be_known_does_not_stop_the_rest(place, capsys):
    path = "x" * 300 + ".mrc"
    configure(inputs=[{"tomogram": "t0.mrc"}, {"tomogram": path}])
    assert main(["params.yaml"]) == 1
    assert path in the_error(capsys.readouterr().err)
    assert {name.split("_")[1] for name in stamps()} == {"0"}


def test_a_file_that_may_not_be_read_is_a_failure_of_its_tomogram(complete, capsys, monkeypatch):
    before, real = stamps(), segmentation.read_attributes

    def read_attributes(path):
        if path.name == "segmentation_1_gabor_kmeans.h5":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(segmentation, "read_attributes", read_attributes)
    assert main(["params.yaml"]) == 1
    message = the_error(capsys.readouterr().err)
    assert "segmentation_1_gabor_kmeans.h5: no permission to read it" in message
    assert stamps().keys() == before.keys()


def test_a_run_from_python_tells_its_failures(place):
    break_cut(place / "t0.mrc")
    run = run_s1("params.yaml", quiet=True)
    assert [result.path.name.split("_")[1] for result in run] == ["1"] * 4 + ["2"] * 4
    (failure,) = run.failures
    assert (failure.index, failure.tomogram) == (0, Path("t0.mrc"))


# Parts.


def test_parts_of_a_run_make_up_the_whole(place, undisturbed):
    expected, _ = undisturbed
    assert main(["params.yaml", "--tomograms", "1-2"]) == 0
    assert {name.split("_")[1] for name in stamps()} == {"1", "2"}
    assert main(["params.yaml", "--tomograms", "0"]) == 0
    found = labels(Path("out/set"))
    assert found.keys() == expected.keys()
    assert all((found[name] == expected[name]).all() for name in expected)
    # Neither a record nor a row of the index is lost.
    parts = [json.loads(Path(f"out/set/run_{first}.json").read_text()) for first in (0, 1)]
    assert [part["tomograms"] for part in parts] == [[0], [1, 2]]
    assert {unit["index"] for unit in parts[1]["units"]} == {1, 2}
    index = data_of(Path("out/set/report.html").read_text())
    assert [tomogram["index"] for tomogram in index["tomograms"]] == [0, 1, 2]
    assert len(index["tomograms"]) == 3


def states():
    """What the index says of each tomogram."""
    rows = data_of(Path("out/set/report.html").read_text())["tomograms"]
    assert [row["name"] for row in rows] == ["t0.mrc", "t1.mrc", "t2.mrc"]
    failed = [[(told["part"], told["message"]) for told in row["failures"]] for row in rows]
    return ["page" in row for row in rows], failed


@pytest.mark.filterwarnings("ignore:Data array contains NaN values:RuntimeWarning")
@pytest.mark.parametrize("fault", ["cut", "nan"])
def test_failures_of_a_part_stay_in_the_index_until_they_are_mended(place, fault):
    """Of tomograms that cannot be read, and of those that cannot be segmented."""
    content = (place / "t0.mrc").read_bytes()
    globals()[f"break_{fault}"](place / "t0.mrc")
    assert main(["params.yaml", "--tomograms", "0"]) == 2  # the first job, before any directory
    assert main(["params.yaml", "--tomograms", "2"]) == 0
    pages, failed = states()
    assert pages == [False, False, True]
    assert [len(parts) for parts in failed] == [1, 0, 0]
    part, message = failed[0][0]
    assert part is None
    assert "t0.mrc" in message
    assert {"cut": "truncated", "nan": "NaN"}[fault] in message
    assert main(["params.yaml", "--tomograms", "1"]) == 0
    assert states() == ([False, True, True], failed)
    rebuilt = data_of(Path("out/set/report.html").read_text())["tomograms"]
    Path("out/set/report.html").unlink()
    assert report_main(["out/set", "-q"]) == 0
    assert states() == ([False, True, True], failed)
    again = data_of(Path("out/set/report.html").read_text())["tomograms"]
    assert [row.keys() for row in again] == [row.keys() for row in rebuilt]
    (place / "t0.mrc").write_bytes(content)
    assert main(["params.yaml", "--tomograms", "0"]) == 0
    assert states() == ([True] * 3, [[]] * 3)
    configure(inputs=[{"tomogram": name} for name in ("t0.mrc", "t1.mrc", "t2.mrc")])
    assert main(["params.yaml", "--tomograms", "1"]) == 0
    assert states() == ([True] * 3, [[]] * 3)


def test_failures_of_another_tomogram_of_that_number_are_left_out(place):
    configure(inputs=[{"tomogram": name} for name in ("gone.mrc", "t1.mrc", "t2.mrc")])
    assert main(["params.yaml", "--tomograms", "0-1"]) == 1
    configure(inputs=[{"tomogram": name} for name in ("t0.mrc", "t1.mrc", "t2.mrc")])
    assert main(["params.yaml", "--tomograms", "2"]) == 0
    assert states() == ([False, True, True], [[]] * 3)


def test_a_part_that_cannot_be_read_keeps_the_record_of_what_it_made(place):
    assert main(["params.yaml", "--tomograms", "0"]) == 0
    before = Path("out/set/run_0.json").read_bytes()
    (place / "t0.mrc").unlink()
    assert main(["params.yaml", "--tomograms", "0"]) == 2
    assert Path("out/set/run_0.json").read_bytes() == before


def test_a_part_asks_nothing_of_other_inputs(place, monkeypatch):
    from picket_gpu.run import fingerprint, plan

    asked = []

    def file_signature(where, options):
        asked.append(where.name)
        return real(where, options)

    real = fingerprint.file_signature
    monkeypatch.setattr(fingerprint, "file_signature", file_signature)
    run_s1("params.yaml", tomograms=[1], quiet=True)
    assert set(asked) == {"t1.mrc"}
    assert plan.links_of(1, [0, 1, 2], False)["previous"] == "report_0.html"


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ("3", "3 is out of range; inputs are numbered 0 to 2"),
        ("2-1", "must name at least one"),
        ("a", "not a list of numbers"),
        ("-1", "not a list of numbers"),
        ("0-", "not a list of numbers"),
    ],
)
def test_a_part_that_is_not_there_is_refused(place, capsys, part, says):
    try:
        code = main(["params.yaml", f"--tomograms={part}"])
    except SystemExit as error:
        code = error.code
    assert code == 2
    assert says in capsys.readouterr().err
    assert not Path("out").exists()


# Resuming.


def test_a_rerun_of_a_complete_run_touches_nothing(place, capsys):
    first = run_s1("params.yaml", quiet=True)
    before = {path: path.stat().st_mtime_ns for path in Path("out/set").iterdir()}
    again = run_s1("params.yaml")
    assert "done earlier" in capsys.readouterr().out
    del before[Path("out/set/run.json")]
    for path, changed in before.items():
        assert path.stat().st_mtime_ns == changed, path
    for ours, theirs in zip(again, first, strict=True):
        assert ours.reused
        assert (ours.path, ours.iterations, ours.converged) == (
            theirs.path,
            theirs.iterations,
            theirs.converged,
        )
        assert ours.foreground_fraction == pytest.approx(theirs.foreground_fraction, rel=1e-6)
        assert (ours.labels == theirs.labels).all()


@pytest.mark.parametrize("save", [["hdf5"], ["mrc"]])
def test_what_is_done_is_known_from_either_kind_of_file(place, save):
    configure(save=save, scores=True)
    first = run_s1("params.yaml", quiet=True)
    again = run_s1("params.yaml", quiet=True)
    assert all(result.reused for result in again)
    for ours, theirs in zip(again, first, strict=True):
        assert ours.foreground_fraction == pytest.approx(theirs.foreground_fraction, rel=1e-6)


CHANGES = {
    "seed": 1,
    "blur_sigma": 1.5,
    "neighborhood_size": 3,
    "max_num_neighborhoods_for_fitting": 5000,
    "scores": True,
    "precision": "tf32",
}


@pytest.mark.parametrize("key", CHANGES)
def test_other_settings_are_run_again_and_it_says_so(complete, capsys, key):
    before = {name: when for name, when in stamps().items() if "_0_" in name}
    configure(inputs=[{"tomogram": "t0.mrc"}], **{key: CHANGES[key]})
    run = run_s1("params.yaml")
    assert (
        "gabor: settings or tomogram have changed since the last run; computing again"
        in capsys.readouterr().out
    )
    assert not any(result.reused for result in run)
    assert all(stamps()[name] != before[name] for name in before)


def test_settings_that_change_no_label_run_nothing_again(complete):
    configure(memory_budget="300 MiB", device="auto", kmeans_engine="native")
    assert all(result.reused for result in run_s1("params.yaml", quiet=True))


def test_only_what_changed_is_run_again(complete):
    before = stamps()
    write_tomogram(complete / "t1.mrc", 33)
    Path("out/set/segmentation_2_gabor_kmeans.mrc").unlink()
    modes = [{"mode": "gabor", "num_output_features": 40}, {"mode": "intensities"}]
    run = run_s1("params.yaml", quiet=True)
    redone = {(r.path.name.split("_")[1], r.mode) for r in run if not r.reused}
    assert redone == {("1", "gabor"), ("1", "intensities"), ("2", "gabor")}
    changed = {name for name, when in stamps().items() if before.get(name) != when}
    assert {tuple(name.split("_")[1:3]) for name in changed} == redone
    configure(feature_extraction_params=modes)
    run = run_s1("params.yaml", quiet=True)
    assert {r.mode for r in run if not r.reused} == {"gabor"}
    assert len([r for r in run if not r.reused]) == 6


def test_the_report_after_a_rerun_is_whole(complete):
    pages = [Path(f"out/set/report_{number}.html") for number in range(3)]
    before = [data_of(page.read_text()) for page in pages]
    Path("out/set/segmentation_1_gabor_kmeans.h5").unlink()
    pages[2].unlink()
    run_s1("params.yaml", quiet=True)
    after = [data_of(page.read_text()) for page in pages]
    for ours, theirs in zip(after, before, strict=True):
        for one, other in zip(ours["workflows"], theirs["workflows"], strict=True):
            assert (one["mode"], one["method"]) == (other["mode"], other["method"])
            assert one["components"] == other["components"]
            assert one["bits"] == other["bits"]
    index = data_of(Path("out/set/report.html").read_text())
    assert [entry["name"] for entry in index["tomograms"]] == ["t0.mrc", "t1.mrc", "t2.mrc"]


def test_a_tomogram_that_changes_while_it_is_segmented_is_run_again(place, monkeypatch):
    from picket_gpu.run import task

    real = task.read_with_digest

    def read(path, choice):
        made = real(path)
        write_tomogram(place / path, 33)  # after it was read
        return made

    configure(inputs=[{"tomogram": "t0.mrc"}])
    with monkeypatch.context() as patch:
        patch.setattr(task, "read_with_digest", read)
        with pytest.raises(PicketError, match=r"t0.mrc: was changed during the run"):
            run_s1("params.yaml", quiet=True)
    assert not any(result.reused for result in run_s1("params.yaml", quiet=True))


def workflows(page: str) -> list[tuple]:
    """What a page says of its segmentations, and the tomogram's row of the index."""
    told = data_of(Path(f"out/set/{page}").read_text())["workflows"]
    return [(w["mode"], w["method"], w["fingerprint"], f"{w['share']:.6f}") for w in told]


def made(index: int) -> list[tuple]:
    """What the files say of the segmentations of a tomogram."""
    found = []
    for path in sorted(Path("out/set").glob(f"segmentation_{index}_*.h5")):
        with h5py.File(path) as file:
            told = dict(file["segmentations"].attrs)
        names = ("fex_mode", "clustering_method", "fingerprint")
        share = f"{told['share_of_label_1']:.6f}"
        found.append((*(told[name] for name in names), share))
    return found


def test_a_page_is_never_of_other_segmentations_than_the_files(complete, monkeypatch):
    """As where a run is interrupted between the files of a tomogram and its page."""
    configure(blur_sigma=1.0)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("picket_gpu.run.task.write_page", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_s1("params.yaml", quiet=True)
    run = run_s1("params.yaml", quiet=True)
    assert [result.reused for result in run] == [True] * 4 + [False] * 8
    for index in range(3):
        assert sorted(workflows(f"report_{index}.html")) == made(index)


def test_a_page_has_the_workflows_of_the_configuration(complete):
    configure(clustering_methods=["kmeans"])
    assert all(result.reused for result in run_s1("params.yaml", quiet=True))
    index = data_of(Path("out/set/report.html").read_text())
    assert {w["method"] for row in index["tomograms"] for w in row["workflows"]} == {"kmeans"}
    assert {method for _, method, *_ in workflows("report_1.html")} == {"kmeans"}


def test_without_a_report_no_old_one_stays_beside_new_files(complete):
    configure(blur_sigma=1.0, report=False, inputs=[{"tomogram": "t0.mrc"}, {"tomogram": "t1.mrc"}])
    run_s1("params.yaml", quiet=True)
    assert {path.name for path in Path("out/set").glob("[pr]*.[hp]*")} == {
        "report_2.html",
        "preview_2.png",
    }


def test_an_index_and_a_preview_that_are_missing_come_back(complete):
    for name in ("report.html", "preview_1.png"):
        Path(f"out/set/{name}").unlink()
    run_s1("params.yaml", quiet=True)
    assert Path("out/set/preview_1.png").exists()
    assert len(data_of(Path("out/set/report.html").read_text())["tomograms"]) == 3
    configure(inputs=[{"tomogram": "t0.mrc"}])  # whose page is where the index was
    run_s1("params.yaml", quiet=True)
    assert len(workflows("report.html")) == 4


@pytest.mark.filterwarnings("ignore:Data array contains NaN values:RuntimeWarning")
def test_the_index_does_not_show_one_tomogram_for_another(complete):
    write_tomogram(complete / "bad.mrc", 5)
    break_nan(complete / "bad.mrc")
    configure(inputs=[{"tomogram": name} for name in ("t0.mrc", "bad.mrc", "t2.mrc")])
    assert run_s1("params.yaml", quiet=True, overwrite=True).failures
    rows = data_of(Path("out/set/report.html").read_text())["tomograms"]
    assert [row["name"] for row in rows] == ["t0.mrc", "bad.mrc", "t2.mrc"]
    assert [row["name"] for row in rows if "page" in row] == ["t0.mrc", "t2.mrc"]
    assert [len(row["failures"]) for row in rows] == [0, 1, 0]


def test_a_file_that_was_cut_is_made_again(complete):
    path = Path("out/set/segmentation_2_gabor_gmm.mrc")
    whole = path.read_bytes()
    path.write_bytes(whole[:5000])
    run = run_s1("params.yaml", quiet=True)
    assert path.stat().st_size == len(whole)
    redone = {(r.path.name.split("_")[1], r.mode) for r in run if not r.reused}
    assert redone == {("2", "gabor")}


@pytest.mark.parametrize("scores", [False, True])
@pytest.mark.parametrize("ending", [".h5", ".mrc"])
def test_a_file_without_a_byte_is_made_again(place, undisturbed, ending, scores):
    configure(inputs=[{"tomogram": "t0.mrc"}], report=False, scores=scores)
    for _ in range(2):
        run_s1("params.yaml", quiet=True)
    whole = labels(Path("out/set"))
    path = Path(f"out/set/segmentation_0_gabor_gmm{ending}")
    path.write_bytes(b"")
    run_s1("params.yaml", quiet=True)
    assert path.stat().st_size > 0
    for name, volume in labels(Path("out/set")).items():
        assert (volume == whole[name]).all()


def test_a_rerun_keeps_the_record_of_how_it_was_made(complete):
    before = record()["units"]
    run_s1("params.yaml", quiet=True)
    assert record()["units"] == [unit | {"status": "done earlier"} for unit in before]
    (complete / "out/set/run.json").unlink()
    run_s1("params.yaml", quiet=True)
    assert {unit["peak_host_bytes"] for unit in record()["units"]} == {None}


@pytest.mark.parametrize("name", ["segmentation_0_gabor_gmm.h5", "segmentation_0_gabor_gmm.mrc"])
def test_files_that_s1_did_not_make_are_not_replaced(place, capsys, name):
    Path("out/set").mkdir(parents=True)
    Path(f"out/set/{name}").write_bytes(b"precious")
    assert main(["params.yaml"]) == 2
    assert name in the_error(capsys.readouterr().err)
    assert Path(f"out/set/{name}").read_bytes() == b"precious"
    assert [path.name for path in Path("out/set").iterdir()] == [name]


# Killed, interrupted, racing, without space.


@pytest.mark.slow
def test_killed_at_any_moment_a_rerun_completes(place, undisturbed):
    """Kills at random moments, each run going on where the last one was killed."""
    expected, seconds = undisturbed
    moments = random.Random(0)
    for _ in range(10):
        process = start(env=untraced(ENVIRONMENT))
        time.sleep(moments.uniform(0.1, 1.0) * seconds)
        process.kill()
        process.communicate()
        # What has its final name is whole.
        for path in Path("out/set").glob("segmentation_*"):
            if path.suffix == ".h5":
                with h5py.File(path) as file:
                    volume = file["segmentations/semantic_segmentation"][()]
                assert (volume == expected[path.name]).all()
            else:
                assert mrcfile.read(path).shape == (20, 24, 28)
        if len(stamps()) == 24:  # begin again
            for path in Path("out/set").iterdir():
                path.unlink()
    assert main(["params.yaml", "--quiet"]) == 0
    assert_complete(Path("out/set"), expected)


@pytest.mark.parametrize(
    ("sent", "code"),
    [pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow), (signal.SIGTERM, 143)],
)
def test_interrupted_it_ends_and_leaves_no_half_file(place, undisturbed, sent, code):
    expected, _ = undisturbed
    process = start()
    wait_for_line(process, "[1 of 3]")
    process.send_signal(sent)
    _, complaint = process.communicate(timeout=30)
    assert (process.returncode, complaint) == (code, "interrupted\n")
    assert not [path for path in Path("out/set").iterdir() if path.name.startswith(".")]
    assert main(["params.yaml", "--quiet"]) == 0
    assert_complete(Path("out/set"), expected)


@pytest.mark.slow
def test_two_runs_at_once_do_not_harm_each_other(place, undisturbed):
    expected, _ = undisturbed
    for options in ((), ("--overwrite",)):
        processes = [start(*options), start(*options)]
        for process in processes:
            _, complaint = process.communicate(timeout=120)
            assert (process.returncode, complaint) == (0, "")
        assert_complete(Path("out/set"), expected)
        checked(record())


def test_a_full_disk_is_an_error_and_leaves_no_truncated_file(place, undisturbed, tmp_path):
    """A file system of 400 kB, too small for all segmentations."""
    expected, _ = undisturbed
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", disk], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        configure(output_dir=str(disk), report=False)
        process = start()
        _, complaint = process.communicate(timeout=120)
        assert process.returncode == 1
        assert "no space left on the disk; make room and run again" in complaint
        assert "Traceback" not in complaint
        directory = disk / "set"
        assert not [path for path in directory.iterdir() if path.name.startswith(".")]
        for name, volume in labels(directory).items():
            assert (volume == expected[name]).all()
        for path in directory.glob("*.mrc"):
            assert mrcfile.validate(path, print_file=sys.stderr)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_leftovers_of_the_dead_are_removed_and_of_the_living_kept(tmp_path):
    from picket_gpu.files.atomic import _HOST, ABANDONED

    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    old, young = ABANDONED + 600, ABANDONED - 600
    files = {  # seconds since the last change, and whether it is kept
        f".a.h5.{_HOST}.{dead.pid}.1.part": (0, False),
        f".a.h5.{_HOST}.{os.getpid()}.1.part": (old, True),
        ".a.h5.another-host.1.1.part": (0, True),
        f".b.h5.another-host.{dead.pid}.1.part": (young, True),
        f".b.h5.another-host.{os.getpid()}.1.part": (old, False),
        f".b.h5.{_HOST}.{2**70}.1.part": (old, True),
        ".of-another-program.part": (old, True),
        ".of.another.program.1.part": (old, True),
        "a.h5": (old, True),
    }
    directories = {  # the same, of what is in them
        ".a.zarr.another-host.1.1.part": (0, True),
        ".b.zarr.another-host.1.1.part": (old, False),
        ".b.zarr-old.another-host.1.1.part": (old, False),
    }
    now = time.time()
    for name, (age, _) in directories.items():
        (tmp_path / name / "0").mkdir(parents=True)
        (tmp_path / name / "0/1").touch()
        os.utime(tmp_path / name / "0/1", (now - age, now - age))
        for path in (tmp_path / name / "0", tmp_path / name):
            os.utime(path, (now - old, now - old))
    for name, (age, _) in files.items():
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (now - age, now - age))
    remove_leftovers(tmp_path)
    kept = {name for name, (_, kept) in (files | directories).items() if kept}
    assert {path.name for path in tmp_path.iterdir()} == kept


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_file_of_a_process_that_nobody_has_waited_for_goes(tmp_path):
    """It has ended, and yet it can be signalled."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays as it is
    os.kill(process.pid, 0)
    here = platform.node().replace(".", "-")
    left = tmp_path / f".a.png.{here}.{process.pid}.1.part"
    own = tmp_path / f".b.png.{here}.{os.getpid()}.1.part"
    for path in (left, own):
        path.touch()
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [own.name]
    process.wait()


# The record.


def test_the_record_of_a_run(place):
    configure(scores=True)
    run = run_s1("params.yaml", quiet=True)
    made = checked(record())
    assert made["config"]["inputs"][0]["tomogram"] == "t0.mrc"
    assert made["config"]["blur_sigma"] == 2.0
    assert made["versions"]["numpy"] == np.__version__
    assert datetime.fromisoformat(made["finished"]) >= datetime.fromisoformat(made["started"])
    assert made["device"].startswith("CPU")
    assert [(unit["index"], unit["mode"], unit["status"]) for unit in made["units"]] == [
        (index, mode, "done") for index in range(3) for mode in ("gabor", "intensities")
    ]
    unit = made["units"][0]
    assert unit["windows"] == 16 * 20 * 24
    assert 2**26 < unit["peak_host_bytes"] < 2**33
    for line, result in zip(unit["segmentations"], run, strict=False):
        assert (line["method"], line["iterations"], line["share"]) == (
            result.method,
            result.iterations,
            result.foreground_fraction,
        )
        assert line["seconds"] == result.timings
        assert line["passes"] == result.passes
        assert line["passes"] >= 2  # statistics and labels at the least, or a share, and a start
        assert len(line["files"]) == 3
        assert all((Path("out/set") / name).exists() for name in line["files"])


def test_the_schema_of_the_record_is_fresh_and_records_follow_it(place):
    assert json.loads(RECORD_SCHEMA.read_text()) == json_schema()
    configure(particles={"diameter": 130})
    run_s1("params.yaml", quiet=True)
    checked(record())
    with pytest.raises(jsonschema.ValidationError):
        checked(record() | {"seed": "none"})


def test_of_records_of_one_second_the_one_written_last_is_the_newest(place):
    for number, name in enumerate(("run_0.json", "run.json", "run_1.json")):
        config = {"inputs": [{"tomogram": f"{number}.mrc"}]}
        text = json.dumps({"started": "2026-01-01T00:00:00Z", "config": config, "units": []})
        (place / name).write_text(text)
        os.utime(place / name, (number, number))
    assert Records(place).inputs == {0: ("2.mrc", "2.mrc")}
    os.utime(place / "run.json", (9, 9))
    assert Records(place).inputs == {0: ("1.mrc", "1.mrc")}
