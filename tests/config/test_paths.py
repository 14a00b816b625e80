"""``~`` and environment variables in paths: of a parameter file, and of the commands."""

from pathlib import Path

import mrcfile
import numpy as np
import pytest
from pydantic import TypeAdapter

from picket_gpu import PicketError, load_config, pick, report, view
from picket_gpu.__main__ import main
from picket_gpu.config.s2 import load_s2_config
from picket_gpu.files.location import RecordedPlace, as_written, expanded
from picket_gpu.report.__main__ import main as report_main
from tests.support.command_line import ONE, SHAPE, names, the_error, write_config
from tests.support.command_line import place as place

VARIABLES = {"DATA": "/data", "SET_2": "set", "EMPTY": ""}


@pytest.fixture(autouse=True)
def variables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("UNSET", raising=False)
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("~", "HOME"),
        ("~/a b/c.mrc", "HOME/a b/c.mrc"),
        ("$DATA/a.mrc", "/data/a.mrc"),
        ("${DATA}/a.mrc", "/data/a.mrc"),
        ("a/$SET_2/b${SET_2}b.mrc", "a/set/bsetb.mrc"),
        # What a shell leaves as it is.
        ("a/~/b.mrc", "a/~/b.mrc"),
        ("a~.mrc", "a~.mrc"),
        ("cost$.mrc", "cost$.mrc"),
        ("cost$5/b", "cost$5/b"),  # no name of a variable
        (r"\$DATA/a\$b.mrc", "$DATA/a$b.mrc"),
        ("a$/b", "a$/b"),
        ("s3://bucket/$DATA/~/a.zarr", "s3://bucket/$DATA/~/a.zarr"),
    ],
)
def test_paths_are_those_that_a_shell_would_make(tmp_path, written, meant):
    assert expanded(written) == meant.replace("HOME", str(tmp_path / "home"))


@pytest.mark.parametrize("name", ["UNSET", "EMPTY"])
@pytest.mark.parametrize("form", ["${}", "${{{}}}"])
def test_a_variable_that_is_not_set_is_refused_by_its_name(name, form):
    with pytest.raises(ValueError, match=f"environment variable {name} is not set; set it, or"):
        expanded(f"a/{form.format(name)}/b.mrc")


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("${UNSET:-/scratch}/a", r"not \$\{UNSET:-/scratch\}/a; write the path, with \\\$ for a "),
        ("a/$(pwd)/b", r"only \$NAME and \$\{NAME\} are replaced, not \$\(pwd\)/b; write the path"),
        (
            "~nobody-here/a",
            r"directory ~nobody-here is unknown; write the path, or \./~nobody-here/a",
        ),
    ],
)
def test_what_would_become_a_directory_of_that_name_is_refused(written, told):
    with pytest.raises(ValueError, match=told):
        expanded(written)
    assert expanded(f"./{written}".replace("$", r"\$")) == f"./{written}"  # as the message says


def test_an_account_without_a_home_directory(monkeypatch):
    monkeypatch.setenv("HOME", "")
    with pytest.raises(ValueError, match="the home directory ~ is unknown; write the path, or"):
        expanded("~/results")


@pytest.mark.parametrize("written", ["~/a.mrc", "$DATA/a.mrc", "${UNSET}/a.mrc", "$UNSET.mrc"])
def test_what_exists_under_the_name_as_written_is_meant(written):
    Path(written).parent.mkdir(parents=True, exist_ok=True)
    Path(written).touch()
    assert expanded(written) == written


def test_paths_of_a_program_and_of_records_are_as_they_are():
    assert as_written(Path("~/$UNSET")) == Path("~/$UNSET")
    assert TypeAdapter(RecordedPlace).validate_python("~/$UNSET") == Path("~/$UNSET")


MASKS = ("mask", "mask_for_fitting", "mask_for_output")


def test_every_path_of_a_parameter_file(tmp_path):
    places = {"tomogram": "~/t.mrc", "mask_for_fitting": "$DATA/f.mrc"}
    entries = [places | {"mask_for_output": "${DATA}/o.mrc"}, {"tomogram": "t", "mask": "~/m.mrc"}]
    config = load_config(
        {
            "dataset_name": "set",
            "inputs": entries,
            "output_dir": "~/out",
            "copick": {"directory": "${DATA}/project"},
        }
    )
    home = tmp_path / "home"
    first, second = config.inputs
    assert first.tomogram == home / "t.mrc"
    assert first.mask_for_fitting.file == Path("/data/f.mrc")
    assert first.mask_for_output.file == Path("/data/o.mrc")
    assert second.mask.file == home / "m.mrc"
    assert config.output_dir == home / "out"
    assert config.copick.directory == Path("/data/project")


def test_every_path_of_a_parameter_file_of_step_2(tmp_path):
    config = load_s2_config(
        {
            "dataset_name": "set",
            "output_dir": "~/out",
            "inputs": [{"segmentation": "$DATA/s.h5", "particle_cluster_id": 1}],
            "particle_extraction_params": [{"mode": "connected_component_labeling"}],
        }
    )
    assert config.output_dir == tmp_path / "home/out"
    assert config.inputs[0].segmentation == Path("/data/s.h5")


@pytest.mark.parametrize("key", ["tomogram", *MASKS])
def test_a_key_with_a_variable_that_is_not_set_is_named(key):
    entry = {"tomogram": "t.mrc"} | {key: "$UNSET/a.mrc"}
    with pytest.raises(PicketError, match=rf"^inputs\[0\]\.{key}: environment variable UNSET is"):
        load_config({"dataset_name": "set", "inputs": [entry], "output_dir": "out"})


def test_a_pattern_in_a_directory_of_a_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA", str(tmp_path))
    for name in ("a", "b"):
        mrcfile.write(f"{name}.mrc", np.zeros((2, 2, 2), np.float32))
    entry = {"tomogram": "$DATA/*.mrc"}
    config = load_config({"dataset_name": "set", "inputs": [entry], "output_dir": "out"})
    assert [one.tomogram for one in config.inputs] == [tmp_path / "a.mrc", tmp_path / "b.mrc"]


def test_a_run_reads_and_writes_in_the_home_directory(place, monkeypatch, capsys):
    home = place / "home"
    home.mkdir()
    (place / "tomo.mrc").rename(home / "tomo.mrc")
    modes = [{"mode": "intensities"}]
    changes = {"feature_extraction_params": modes, "clustering_methods": ["kmeans"]}
    write_config(home, inputs=[{"tomogram": "~/tomo.mrc"}], report=False, **changes)
    assert mrcfile.mmap(home / "tomo.mrc").data.shape == SHAPE
    # No shell expands this one.
    assert main(["~/params.yaml", "--output-dir=$HOME/results"]) == 0
    assert names(home / "results/set") >= {"segmentation_0_intensities_kmeans.h5", "run.json"}
    assert names(place) == {"home", "params.yaml"}
    capsys.readouterr()
    assert report_main(["~/results/set"]) == 0
    assert (home / "results/set/report.html").exists()
    directory = ["~/results/set", "--output-dir=~/picks", "--diameter=60", "--workflow"]
    assert pick.main([*directory, "intensities-kmeans"]) == 0
    assert (home / "picks/particles_0_intensities_kmeans.csv").exists()
    assert names(place) == {"home", "params.yaml"}
    capsys.readouterr()


@pytest.mark.parametrize(
    "command",
    [
        lambda: main(["params.yaml", "--output-dir", "$UNSET/out"]),
        lambda: main(["$UNSET/params.yaml"]),
        lambda: pick.main(["$UNSET/set", "--diameter", "60"]),
        lambda: pick.main(["set", "--diameter", "60", "--output-dir", "$UNSET"]),
        lambda: report.__main__.main(["$UNSET"]),
        lambda: view.main(["$UNSET"]),
        lambda: view.main(["a.h5", "--tomogram", "$UNSET"]),
    ],
)
def test_a_variable_that_is_not_set_is_refused_by_the_commands(command, capsys):
    with pytest.raises(SystemExit) as end:
        command()
    assert end.value.code == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "environment variable UNSET is not set; set it, or write the path" in message


def test_a_file_of_a_scheduler(place, capsys):
    pytest.importorskip("distributed")
    assert main(["params.yaml", "--scheduler", "$UNSET/scheduler.json"]) == 2
    assert the_error(capsys.readouterr().err).startswith("scheduler: environment variable UNSET")


@pytest.mark.parametrize("key", ["exclude", "choices"])
def test_a_variable_in_lists_of_a_picking(place, capsys, key):
    particles = {"diameter": 60, "workflows": ["intensities-kmeans"], key: ["$UNSET/a.csv"]}
    write_config(place, particles=particles, **ONE)
    for more in ([], ["--dry-run"]):
        assert main(["params.yaml", *more]) == 2
        message = the_error(capsys.readouterr().err)
        assert message.startswith(f"{key}: ")
        assert message.endswith("environment variable UNSET is not set; set it, or write the path")
    assert not (place / "out").exists()
    write_config(place, **ONE)
    assert main(["params.yaml"]) == 0
    options = ["--diameter", "60", f"--{key}", "$UNSET/a.csv"]
    capsys.readouterr()
    assert pick.main(["out/set", *options]) == 2
    assert "environment variable UNSET is not set" in the_error(capsys.readouterr().err)
