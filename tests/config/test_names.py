"""Names of tomograms: templates, equal names, and names that a format cannot hold."""

from pathlib import Path

import mrcfile
import numpy as np
import pytest
import starfile
import yaml
from hypothesis import given
from hypothesis import strategies as st

from picket_gpu import PicketError, load_config, run_s1
from picket_gpu.__main__ import main
from picket_gpu.config.names import matched
from picket_gpu.particles.star_table import name_fault
from tests.support.command_line import ONE, SHAPE, called, the_error

PICKED = {"particles": {"diameter": 60.0}}
COPICK = {"save": ["hdf5", "copick"]}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings(*inputs, **changes):
    content = {"dataset_name": "set", "inputs": list(inputs), "output_dir": "out"}
    return content | {"neighborhood_size": 3} | changes


def write(name: str) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(map(ord, name))
    noise = np.random.default_rng(seed).random(SHAPE, dtype=np.float32)
    mrcfile.write(path, noise, voxel_size=10, overwrite=True)


def run_names(pattern, name, *files, **changes):
    for file in files:
        write(file)
    config = load_config(settings({"tomogram": pattern, "name": name}, **changes))
    return [entry.run_name for entry in config.inputs]


@pytest.mark.parametrize(
    ("file", "pattern", "template"),
    [
        ("rec_{}.mrc", "rec_*.mrc", "{1}"),  # RELION
        ("rec_{}.mrc", "rec_TS_??.mrc", "TS_{1}"),
        ("rec_{}.mrc", "rec_TS_[0-9][0-9].mrc", "TS_{1}"),
        ("{}_10.00Apx.mrc", "*_10.00Apx.mrc", "{1}"),  # Warp
        ("{}_10.00Apx.mrc", "*_*.mrc", "{1}"),
        ("{}_Vol.mrc", "*_Vol.mrc", "{1}"),  # AreTomo
        ("{}/rec.mrc", "*/rec.mrc", "{1}"),  # IMOD
        ("{}/rec.mrc", "TS_*/rec.mrc", "{parent}"),
        ("data/{}/rec.mrc", "**/rec.mrc", "{parent}"),
        ("{}/a/b/rec.mrc", "*/**/rec.mrc", "{1}"),
        ("a/b/{}.mrc", "**/*.mrc", "{2}"),
        ("{}.mrc", "**/*.mrc", "{2}"),
        ("{}.mrc", "*.mrc", "{stem}"),
        (  # copick
            "project/ExperimentRuns/{}/VoxelSpacing10.000/wbp.zarr",
            "project/ExperimentRuns/*/VoxelSpacing10.000/wbp.zarr",
            "{1}",
        ),
    ],
)
@pytest.mark.parametrize("ending", ["", ".tomostar"])
def test_names_of_a_pattern_are_a_part_of_the_paths(place, file, pattern, template, ending):
    files = [file.format(f"TS_0{number}") for number in (1, 2)]
    names = run_names(pattern, template + ending, *files, **PICKED)
    assert names == [f"TS_01{ending}", f"TS_02{ending}"]


letters = st.text("ab.*?[]!-_^\\", min_size=1, max_size=4).filter(
    lambda name: name not in (".", "..")
)


@given(st.lists(letters, min_size=1, max_size=5))
def test_what_a_star_stands_for_is_what_stood_there(parts):
    """Literal text around one star, whatever its letters are to a regular expression."""
    path = Path("_".join(["x", *parts, "y"]))
    pattern = Path(f"{_literal(path.name[:2])}*{_literal(path.name[-2:])}")
    assert matched(pattern, path) == {"1": path.name[2:-2]}


def _literal(text: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)


@pytest.mark.parametrize(
    ("pattern", "path", "groups"),
    [
        ("[!a]*_c.mrc", "b_c.mrc", ["b"]),
        ("a[]]b*.mrc", "a]bc.mrc", ["]", "c"]),
        ("a[b*", "a[bc", ["c"]),  # an open bracket is a letter
        ("a.*", "a.mrc", ["mrc"]),
        ("[^a]b*", "^bc", ["^", "c"]),
        ("[z-ab]b*", "bbc", ["b", "c"]),  # there is nothing from z to a
        ("[\\]b*", "\\bc", ["\\", "c"]),
        ("*/a/*", "b/a/c", ["b", "c"]),
        ("**", "b/a/c", ["b/a/c"]),
        ("a/**/c", "a/c", [""]),
    ],
)
def test_wildcards_are_those_of_glob(pattern, path, groups):
    assert list(matched(Path(pattern), Path(path)).values()) == groups


def test_a_template_for_one_file(place):
    assert run_names("data/TS_01.mrc", "{parent}-{stem}", "data/TS_01.mrc") == ["data-TS_01"]
    assert run_names("TS_01/rec.mrc", "{parent}", "TS_01/rec.mrc", **PICKED) == ["TS_01"]


def test_a_configuration_that_was_loaded_is_not_changed_again(place):
    write("rec_{a}.mrc")
    config = load_config(settings({"tomogram": "rec_*.mrc", "name": "{1}"}))
    assert [entry.name for entry in config.inputs] == ["{a}"]
    assert load_config(config) is config


def test_names_from_a_template_are_in_files_and_records(place):
    for number in (1, 2):
        write(f"rec_TS_0{number}.mrc")
    config = settings({"tomogram": "rec_*.mrc", "name": "{1}.tomostar"}, **ONE, **PICKED, **COPICK)
    Path("params.yaml").write_text(yaml.safe_dump(config))
    told = called(main, "params.yaml", "--dry-run").stdout.splitlines()
    assert any(line.startswith("1         TS_02.tomostar ") for line in told)
    alone = called(main, "params.yaml", "--dry-run", "--tomograms", "1").stdout.splitlines()
    place_of = alone.index("[tomogram 1, 2 of 2] rec_TS_02.mrc")
    assert alone[place_of + 1] == "  name: TS_02.tomostar"
    done = called(main, "params.yaml")
    assert done.returncode == 0, done.stderr
    assert "tomogram 1, TS_02.tomostar: " in done.stdout
    for number in (0, 1):
        (path,) = Path("out/set").glob(f"particles_{number}_*.star")
        table = starfile.read(path, parse_as_string=["rlnTomoName"])
        assert set(table["rlnTomoName"]) == {f"TS_0{number + 1}.tomostar"}
    runs = Path("out/set/copick/ExperimentRuns")
    assert sorted(path.name for path in runs.iterdir()) == ["TS_01.tomostar", "TS_02.tomostar"]


# Equal names


TWO = [{"tomogram": "a/rec.mrc"}, {"tomogram": "b/rec.rec"}]
LIMITS = [{"tomogram": "a/rec.mrc"}, {"tomogram": "a/rec.mrc", "lower_z-slice_limit": 4}]


@pytest.mark.parametrize("changes", [PICKED, COPICK, PICKED | COPICK])
@pytest.mark.parametrize("inputs", [TWO, LIMITS])
def test_equal_names_are_refused_where_lists_depend_on_them(changes, inputs):
    second = inputs[1]["tomogram"]
    with pytest.raises(PicketError) as refused:
        load_config(settings(*inputs, **changes))
    assert str(refused.value) == (
        f"inputs[1].name: a/rec.mrc and {second} are both called rec; give each its own name, for "
        "a pattern by a template such as {1}"
    )
    named = [inputs[0], inputs[1] | {"name": "other"}]
    assert [one.run_name for one in load_config(settings(*named, **changes)).inputs][1] == "other"


def test_a_name_that_is_that_of_another_file_is_refused_too():
    inputs = [{"tomogram": "TS_01.mrc"}, {"tomogram": "a.mrc", "name": "TS_01"}]
    with pytest.raises(PicketError, match=r"TS_01\.mrc and a\.mrc are both called TS_01"):
        load_config(settings(*inputs, **PICKED))
    # The name of a file is its name less the ending, also where it is set.
    inputs = [{"tomogram": "a/b.mrc", "name": "b.mrc"}, {"tomogram": "b.rec"}]
    with pytest.raises(PicketError, match=r"a/b\.mrc and b\.rec are both called b;"):
        load_config(settings(*inputs, **PICKED))


def test_equal_names_by_a_pattern_are_refused_before_the_run(place, capsys):
    for number in (1, 2):
        write(f"TS_0{number}/rec.mrc")
    config = settings({"tomogram": "TS_*/rec.mrc"}, **ONE, **PICKED)
    Path("params.yaml").write_text(yaml.safe_dump(config))
    for options in ([], ["--dry-run"]):
        assert main(["params.yaml", *options]) == 2
        message = the_error(capsys.readouterr().err)
        assert message.startswith("params.yaml: inputs[1].name: TS_01/rec.mrc and TS_02/rec.mrc")
    assert not Path("out").exists()


def test_without_lists_a_tomogram_may_be_there_twice_and_the_summary_tells_them_apart(
    place, capsys
):
    """As PickET's own parameter files may have it, with other limits."""
    for number in (1, 2):
        write(f"TS_0{number}/rec.mrc")
    twice = {"tomogram": "TS_01/rec.mrc", "lower_z-slice_limit": 4}
    config = settings({"tomogram": "TS_*/rec.mrc"}, twice, **ONE)
    Path("params.yaml").write_text(yaml.safe_dump(config))
    assert main(["params.yaml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = [line.split() for line in lines if " intensities  kmeans" in line]
    assert [row[0] for row in table] == ["TS_01/rec.mrc", "TS_02/rec.mrc", "TS_01/rec.mrc"]


# Names that a format cannot hold


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("TS#1", "the character #"),
        ("5'UTR", "the character '"),
        ('5"', 'the character "'),
        ("a  b", "two spaces in a row"),
        ("a   b", "two spaces in a row"),
        ("a\tb", "a tab"),
        ("a\u00a0b", "a blank that is no space"),
        (" a", "a space at its start or end"),
        ("a ", "a space at its start or end"),
    ],
)
def test_names_that_a_star_file_cannot_hold_are_told_by_what_is_wrong(name, fault):
    assert name_fault(name) == fault
    entry = {"tomogram": f"data/{name}.mrc"}
    with pytest.raises(PicketError) as refused:
        load_config(settings({"tomogram": "a.mrc"}, entry, **PICKED))
    message = f"{name!r} has {fault}, which STAR files cannot hold; set another name for data/"
    assert str(refused.value).startswith(f"inputs[1].name: {message}")
    load_config(settings(entry))
    load_config(settings(entry | {"name": "plain"}, **PICKED))


def test_a_segmentation_is_not_lost_for_its_name(place):
    write("TS#1.mrc")
    config = settings({"tomogram": "TS#1.mrc"}, **ONE)
    run_s1(config, quiet=True)
    before = {path: path.read_bytes() for path in Path("out/set").glob("segmentation_*")}
    with pytest.raises(PicketError, match="'TS#1' has the character #"):
        run_s1(config | PICKED, quiet=True)
    assert {path: path.read_bytes() for path in Path("out/set").glob("segmentation_*")} == before
    named = settings({"tomogram": "TS#1.mrc", "name": "TS1"}, **ONE, **PICKED)
    run = run_s1(named | {"particles": PICKED["particles"] | {"source": "tomogram"}}, quiet=True)
    assert [one.reused for one in run] == [True]
    assert len(run.particles) == 1
