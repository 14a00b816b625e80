"""The command line as its users meet it: exit codes, messages, files."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import pytest

import picket_gpu
from picket_gpu.__main__ import main
from picket_gpu.device.select import select_backend
from tests.support.command_line import (
    ENVIRONMENT,
    FEATURES,
    FILES,
    GABOR,
    ONE,
    SHAPE,
    STEMS,
    TWICE,
    WINDOWS,
    called,
    fill,
    names,
    picket,
    snapshot,
    the_error,
    write_config,
)
from tests.support.command_line import place as place


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A directory in which a good run was made, and that run's process."""
    directory = fill(tmp_path_factory.mktemp("finished"))
    return directory, picket(directory, "params.yaml")


# A good run.


def test_a_good_run_exits_with_0_and_no_complaint(finished):
    _, process = finished
    assert (process.returncode, process.stderr) == (0, "")


def test_it_says_first_where_it_computes_and_why(finished):
    _, process = finished
    first = process.stdout.splitlines()[0]
    assert re.fullmatch(r"Device: CPU, \d+ threads? \(chosen by device: cpu\)", first)


def test_it_prints_the_shape_of_the_features_of_each_mode(finished):
    _, process = finished
    shapes = [line for line in process.stdout.splitlines() if "Features array" in line]
    assert shapes == [f"Features array of shape: ({WINDOWS}, {d})" for d in FEATURES.values()]


@pytest.mark.parametrize(
    ("changes", "windows"),
    [
        ({"inputs": [{"tomogram": "tomo.mrc"}]}, 10 * 12 * 14),
        ({"neighborhood_size": 5}, 4 * 10 * 12),
        ({"max_num_neighborhoods_for_fitting": 500}, 500),
        ({"max_num_neighborhoods_for_fitting": 10**9}, WINDOWS),
    ],
    ids=["no limits", "larger windows", "a cap", "a cap above the count"],
)
def test_the_shape_follows_the_parameters(place, capsys, changes, windows):
    write_config(place, **ONE, **changes)
    assert main(["params.yaml"]) == 0
    side = changes.get("neighborhood_size", 3)
    out = capsys.readouterr().out.splitlines()
    assert f"Features array of shape: ({windows}, {side**3})" in out


def test_it_writes_the_files_of_six_workflows_and_nothing_else(finished):
    directory, _ = finished
    assert names(directory) == {"tomo.mrc", "params.yaml", "out"}
    assert names(directory / "out") == {"set"}
    assert names(directory / "out/set") == FILES


def test_it_names_each_workflow_it_has_done(finished):
    _, process = finished
    for stem in STEMS:
        _, _, mode, method = stem.split("_")
        assert len(re.findall(rf"^  {mode} {method}: .*%", process.stdout, re.M)) == 1
        assert f"{stem}.h5" in process.stdout


def test_a_log_has_no_escape_codes(finished):
    _, process = finished
    assert all(line.isprintable() for line in process.stdout.split("\n"))


@pytest.mark.parametrize(
    "name",
    ["tomogram_" + "x" * 100 + ".mrc", "[bold]a[link].mrc", "a:dog:.mrc"],
    ids=["long", "markup", "emoji"],
)
def test_a_log_holds_names_whole_and_as_they_are(place, capsys, name):
    shutil.copy("tomo.mrc", name)
    write_config(place, **ONE, inputs=[{"tomogram": name}])
    assert main(["params.yaml"]) == 0
    out = capsys.readouterr().out.splitlines()
    # Once when the tomogram is begun, once in the table at the end.
    assert len([line for line in out if name in line]) == 2


# Existing files.


def test_a_second_run_leaves_what_is_done(finished):
    directory, _ = finished
    before = snapshot(directory)
    process = called(main, "params.yaml", cwd=directory)
    assert (process.returncode, process.stderr) == (0, "")
    for mode in FEATURES:
        assert f"  {mode}: done earlier" in process.stdout.splitlines()
    assert "Features array" not in process.stdout
    after = snapshot(directory)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed <= {"out/set/run.json", "out/set"}


def test_a_dry_run_says_what_is_done(finished, monkeypatch, capsys):
    directory, _ = finished
    monkeypatch.chdir(directory)
    assert main(["params.yaml", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "done earlier: ffts, gabor, intensities" in out
    assert "segmentation_" not in out
    assert main(["params.yaml", "--dry-run", "--overwrite"]) == 0
    assert "segmentation_0_ffts_kmeans.h5" in capsys.readouterr().out


@pytest.mark.parametrize("name", [f"{STEMS[0]}.mrc", f"{STEMS[-1]}.h5"])
def test_one_existing_file_is_enough_to_refuse(place, capsys, name):
    existing = place / "out/set" / name
    existing.parent.mkdir(parents=True)
    existing.write_bytes(b"precious")
    before = snapshot(place)
    assert main(["params.yaml"]) == 2
    assert f"out/set/{name}" in the_error(capsys.readouterr().err)
    assert snapshot(place) == before


def test_overwrite_replaces_every_file(finished, tmp_path):
    directory, _ = finished
    shutil.copytree(directory, tmp_path, dirs_exist_ok=True)
    for path in (tmp_path / "out/set").iterdir():
        path.write_bytes(b"old")
    process = called(main, "params.yaml", "--overwrite", cwd=tmp_path)
    assert (process.returncode, process.stderr) == (0, "")
    assert names(tmp_path / "out/set") == FILES
    for stem in STEMS:
        with h5py.File(tmp_path / f"out/set/{stem}.h5") as file:
            labels = file["segmentations/semantic_segmentation"][()]
        assert labels.shape == SHAPE
        assert (mrcfile.read(tmp_path / f"out/set/{stem}.mrc") == (labels == 1)).all()


def test_a_fault_of_the_system_exits_with_1_and_leaves_no_temporary(place, capsys):
    write_config(place, **ONE)
    blocked = place / "out/set/segmentation_0_intensities_kmeans.h5"
    blocked.mkdir(parents=True)  # --overwrite cannot replace a directory by a file
    assert main(["params.yaml", "--overwrite"]) == 1
    assert blocked.name in the_error(capsys.readouterr().err)
    assert names(blocked.parent) == {blocked.name, "run.json"}


# Options.


def test_a_dry_run_tells_everything_and_writes_nothing(place):
    before = snapshot(place)
    process = called(main, "params.yaml", "--dry-run")
    assert (process.returncode, process.stderr) == (0, "")
    out = process.stdout
    assert out.startswith("Device: CPU")
    assert "tomo.mrc" in out
    assert "12 x 14 x 16 voxels" in out
    assert "z-slices 2-9 (8 slices)" in out
    assert f"{WINDOWS:,} neighborhoods" in out
    for mode, features in FEATURES.items():
        assert f"{mode}: Features array of shape: ({WINDOWS}, {features})" in out
    assert re.search(r"memory: at most \d+ MiB", out)
    listed = out.partition("Files:\n")[2].split()
    assert sorted(listed) == sorted(f"out/set/{name}" for name in FILES)
    assert not (place / "out").exists()
    assert snapshot(place) == before


def test_a_terminal_sees_a_bar_and_what_is_going_on(place):
    write_config(place, feature_extraction_params=[GABOR], report=False)
    text, complaint, code = on_a_terminal(place, columns=120)
    assert (code, complaint) == (0, "")
    assert "Steps" in text
    assert "0/2" in text  # the feature mode, and all else
    assert "Finished 1 tomogram: 2 segmentations in out/set" in text


def test_a_terminal_sees_the_tomograms_and_the_time_that_is_left(place):
    shutil.copy("tomo.mrc", "a rather long name that must not be cut.mrc")
    names = ["tomo.mrc", "gone.mrc", "tomo.mrc", "a rather long name that must not be cut.mrc"]
    inputs = [{"tomogram": name, "voxel_size": 10 + n} for n, name in enumerate(names)]
    write_config(place, **ONE, inputs=inputs)
    seen, complaint, code = on_a_terminal(place, columns=60)
    assert (code, complaint.count("\n")) == (1, 1)
    assert "0 of 4 tomograms" in seen
    assert re.search("3 of 4 tomograms .* (less than a minute|about 1 min) left", seen)
    # The bar counts down; lines that stay do not say it again.
    lines = re.findall(r"\[\d of 4\] tomogram .*", seen)
    assert [re.sub(r"\d\.\d s", "_", line.rstrip()) for line in lines] == [
        "[1 of 4] tomogram 1, gone.mrc: failed",
        "[2 of 4] tomogram 0, tomo.mrc: 1 segmentation, _",
        "[3 of 4] tomogram 2, tomo.mrc: 1 segmentation, _",
        f"[4 of 4] tomogram 3, {names[3]}: 1 segmentation, _",
    ]


def on_a_terminal(directory, columns):
    """What a run shows on a terminal, what it complains of, and its exit code."""
    screen, terminal = pty.openpty()
    command = [sys.executable, "-m", "picket_gpu", "params.yaml"]
    options = {"stdout": terminal, "stderr": subprocess.PIPE, "text": True}
    environment = ENVIRONMENT | {"TERM": "xterm-256color", "COLUMNS": str(columns)}
    with subprocess.Popen(command, cwd=directory, env=environment, **options) as process:
        os.close(terminal)
        seen = b""
        with suppress(OSError):  # Linux's way to say that the other end is closed
            while part := os.read(screen, 4096):
                seen += part
        complaint = process.stderr.read()
    os.close(screen)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode()), complaint, process.returncode


def test_quiet_prints_nothing_on_success(place):
    write_config(place, **ONE)
    process = picket(place, "params.yaml", "--quiet")
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")
    assert len(names(place / "out/set")) == 3


def test_a_quiet_dry_run_only_checks(place, capsys):
    before = snapshot(place)
    assert main(["params.yaml", "--dry-run", "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert snapshot(place) == before


def test_quiet_still_prints_an_error(place, capsys):
    write_config(place, seed=-1)
    assert main(["params.yaml", "-q"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "seed" in the_error(captured.err)


def test_version(tmp_path):
    process = picket(tmp_path, "--version")
    expected = f"picket-gpu {picket_gpu.__version__}\n"
    assert (process.returncode, process.stdout, process.stderr) == (0, expected, "")


def test_output_dir_overrides_that_of_the_file(place, capsys):
    write_config(place, **ONE)
    assert main(["params.yaml", "--output-dir", "else/where"]) == 0
    assert f"{Path('else/where/set')}" in capsys.readouterr().out
    assert names(place / "else/where/set") == {
        "segmentation_0_intensities_kmeans.h5",
        "segmentation_0_intensities_kmeans.mrc",
        "run.json",
    }
    assert not (place / "out").exists()


@pytest.mark.parametrize("name", ["", "ou\udcfft"])
def test_an_output_dir_that_records_cannot_name_is_refused(place, capsys, name):
    before = snapshot(place)
    with pytest.raises(SystemExit) as end:
        main(["params.yaml", "--output-dir", name])
    assert end.value.code == 2
    assert "argument --output-dir: must" in capsys.readouterr().err
    assert snapshot(place) == before


@pytest.mark.parametrize(("kind", "suffix"), [("hdf5", ".h5"), ("mrc", ".mrc")])
def test_save_chooses_the_kinds_of_files(place, capsys, kind, suffix):
    write_config(place, **ONE, save=[kind])
    assert main(["params.yaml"]) == 0
    name = f"segmentation_0_intensities_kmeans{suffix}"
    assert names(place / "out/set") == {name, "run.json"}
    assert name in capsys.readouterr().out


def test_each_tomogram_gets_files_with_its_number(place):
    write_config(place, **ONE, inputs=TWICE, save=["hdf5"])
    assert main(["params.yaml"]) == 0
    assert names(place / "out/set") == {
        "segmentation_0_intensities_kmeans.h5",
        "segmentation_1_intensities_kmeans.h5",
        "run.json",
    }


def test_relative_paths_start_at_the_working_directory(place):
    (place / "elsewhere").mkdir()
    write_config(place, **ONE)
    (place / "params.yaml").rename(place / "elsewhere/params.yaml")
    process = called(main, "elsewhere/params.yaml")
    assert (process.returncode, process.stderr) == (0, "")
    assert names(place / "elsewhere") == {"params.yaml"}
    assert len(names(place / "out/set")) == 3


def test_device_auto_overrides_the_file_and_says_what_was_found(place):
    process = called(main, "params.yaml", "--device", "auto", "--dry-run")
    assert (process.returncode, process.stderr) == (0, "")
    first = process.stdout.splitlines()[0]
    if select_backend("auto").name == "gpu":
        assert re.fullmatch(r"Device: GPU \d+, .+ \(.*CuPy .+\)", first)
    else:
        assert re.fullmatch(r"Device: CPU, \d+ threads? \(CuPy .+\)", first)


@pytest.mark.parametrize("device", ["gpu", "gpu:1"])
def test_device_gpu_without_one_is_an_error_that_says_what_was_found(place, device):
    if select_backend("auto").name == "gpu":
        pytest.skip("a GPU can be used here")
    before = snapshot(place)
    process = called(main, "params.yaml", "--device", device)
    assert (process.returncode, process.stdout) == (2, "")
    message = the_error(process.stderr)
    start = f"device: {device} cannot be used: CuPy "
    assert re.match(start + r".*(cannot be imported|finds no)", message)
    assert "device: auto or cpu" in message
    assert snapshot(place) == before


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "config"),
        (["params.yaml", "--device", "tpu"], "--device"),
        (["params.yaml", "--overwrit0"], "--overwrit0"),
        (["params.yaml", "more.yaml"], "more.yaml"),
    ],
    ids=["no config", "unknown device", "unknown option", "two configs"],
)
def test_wrong_arguments_exit_with_2_and_usage(place, capsys, arguments, named):
    before = snapshot(place)
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("usage: picket-gpu ")
    assert named in captured.err.splitlines()[-1]
    assert snapshot(place) == before


def test_a_dry_run_and_a_run_warn_of_an_unknown_voxel_size(place, capsys):
    with mrcfile.open("tomo.mrc", "r+") as mrc:
        mrc.header.cella = (0, 0, 0)
    inside = np.ones(SHAPE, np.int8)
    inside[:2] = 0
    mrcfile.write("mask.mrc", inside)
    content = bytearray(Path("mask.mrc").read_bytes())
    content[212:216] = bytes(4)
    Path("mask.mrc").write_bytes(content)
    write_config(place, **ONE, inputs=[{"tomogram": "tomo.mrc", "mask": "mask.mrc"}])
    warnings = [
        "  warning: tomo.mrc: has no voxel size; set voxel_size",
        "  warning: mask.mrc: MRC header has the unknown machine stamp: 0x00 0x00 0x00 0x00; "
        "read as little-endian",
    ]
    assert main(["params.yaml", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "voxels (z y x) of unknown size\n" in out
    assert [line for line in out.splitlines() if "warning" in line] == warnings
    assert main(["params.yaml"]) == 0
    assert [x for x in capsys.readouterr().out.splitlines() if "warning" in x] == warnings
    told = json.loads(Path("out/set/run.json").read_text())["units"][0]["warnings"]
    assert told == [line.removeprefix("  warning: ") for line in warnings]
    write_config(place, **ONE, inputs=[{"tomogram": "tomo.mrc", "voxel_size": 10}])
    assert main(["params.yaml", "--dry-run"]) == 0
    assert "warning" not in capsys.readouterr().out


def test_the_package_imports_without_what_windows_lacks():
    code = (
        "import sys; sys.modules['resource'] = sys.modules['fcntl'] = None\n"
        "import picket_gpu.pipeline, picket_gpu.view, picket_gpu.report.__main__\n"
        "import picket_gpu.run.evaluation, picket_gpu.evaluate"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
