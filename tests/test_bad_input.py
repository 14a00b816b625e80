"""Bad inputs are refused in one line, and what only looks bad is taken."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from picket_gpu.__main__ import main
from tests.support.bad_inputs import (
    BAD,
    DATA,
    NSYMBT,
    RANDOM,
    TOMOGRAMS,
    WRONG_TYPES,
    patched,
    rewritten,
    voxels,
)
from tests.support.command_line import (
    ENVIRONMENT,
    GOOD,
    ONE,
    names,
    picket,
    snapshot,
    the_error,
    write_config,
    write_volume,
)
from tests.support.command_line import place as place
from tests.support.data import untraced

# Those that also go through a dry run.
IN_A_DRY_RUN = [
    "yaml missing",
    "yaml malformed",
    "duplicate key",
    "misspelled key",
    "size even",
    "upper limit outside",
    "voxels cut",
    "output_dir a file",
]
# And through a process of their own: before and after there is a configuration, and later.
IN_A_PROCESS = ["yaml missing", "misspelled key", "a NaN voxel"]
# What only a reader of the code of pydantic, PyYAML or Python could make sense of.
JARGON = re.compile(
    r"<class|<unicode string>|discriminator|(input|extract) tag|instance of|extract fields"
    r"|after validation|byte string|\[Errno|Error\b|pydantic"
)


@pytest.mark.parametrize("model", list(WRONG_TYPES), ids=lambda model: model.__name__)
def test_wrong_types_are_tried_for_every_key(model):
    keys = {field.alias or name for name, field in model.model_fields.items()}
    assert set(WRONG_TYPES[model]) == keys


@pytest.mark.parametrize("bad", list(BAD.values()), ids=list(BAD))
def test_bad_input_is_refused_before_anything_is_written(place, capsys, bad):
    bad.make(place)
    before = snapshot(place)
    assert main(["params.yaml"]) == 2
    captured = capsys.readouterr()
    message = the_error(captured.err)
    for words in bad.says:
        assert words in message
    assert JARGON.search(message) is None
    assert "Traceback" not in captured.out
    # The device at most: the plan, which a dry run makes too, has not got as far as a tomogram.
    assert (len(captured.out.splitlines()) <= 1) == bad.at_once
    assert snapshot(place) == before


@pytest.mark.parametrize("name", IN_A_DRY_RUN)
def test_a_dry_run_refuses_it_too(place, capsys, name):
    BAD[name].make(place)
    before = snapshot(place)
    assert main(["params.yaml", "--dry-run"]) == 2
    captured = capsys.readouterr()
    for words in BAD[name].says:
        assert words in the_error(captured.err)
    assert captured.out == ""
    assert snapshot(place) == before


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_A_PROCESS)
def test_bad_input_is_refused_in_a_process_of_its_own(place, name):
    BAD[name].make(place)
    before = snapshot(place)
    process = picket(place, "params.yaml")
    assert process.returncode == 2
    message = the_error(process.stderr)
    for words in BAD[name].says:
        assert words in message
    assert "Traceback" not in process.stdout + process.stderr
    assert snapshot(place) == before


# Those that claim, or lead to, more than there is.
EXPLOSIVE = [
    "yaml /dev/zero",
    "yaml too large",
    "aliases that explode",
    "aliases that explode unseen",
    "merges that explode",
    "brackets nested deep",
    "5000 unknown keys",
    "5000 entries of numbers",
    "integer of 9000 hexadecimal digits",
    "float beyond floats",
    "memory_budget of 400 digits",
    "size far above the volume",
    "a bank of 10**27 filters",
    "tomogram /dev/zero",
    "mask /dev/zero",
    "terabytes",
    "terabytes compressed",
    "gigabytes compressed",
    "gigabytes compressed, along other axes",
    "gigabytes compressed by bzip2",
    "extended header of gigabytes",
    "extended header of gigabytes compressed",
    "NumPy of exabytes",
]
# Each in a copy of a process that has imported all: of a child of this one, the peak would count
# what this one has.
MEASURE = """
import json, os, sys
import picket_gpu.pipeline
from picket_gpu.__main__ import main
for line in sys.stdin:
    place, told = json.loads(line)
    child = os.fork()
    if not child:
        os.chdir(place)
        os.dup2(os.open(told, os.O_CREAT | os.O_WRONLY), 2)
        code = 99
        try:
            code = main(["params.yaml", "--quiet"])
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status, usage = os.wait4(child, 0)
    print(json.dumps([os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024]), flush=True)
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A function of a directory: exit code, peak memory in bytes, standard error of a run there."""
    directory = tmp_path_factory.mktemp("measured")
    with subprocess.Popen(
        [sys.executable, "-c", MEASURE],
        env=untraced(ENVIRONMENT),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def measure(place: Path) -> tuple[int, int, str]:
            told = directory / "stderr"
            told.unlink(missing_ok=True)
            print(json.dumps([str(place), str(told)]), file=process.stdin, flush=True)
            return *json.loads(process.stdout.readline()), told.read_text()

        yield measure


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPLOSIVE)
def test_what_explodes_is_refused_with_little_memory(place, measured, name):
    BAD[name].make(place)
    before = snapshot(place)
    code, peak, stderr = measured(place)
    assert code == 2
    for words in BAD[name].says:
        assert words in the_error(stderr)
    assert peak < 500e6
    assert snapshot(place) == before


# Found as it is planned, or as its voxels are read.
ONE_OF_TWO = ["tomogram missing", "voxels cut"]
ONE_OF_TWO += [name for name, bad in TOMOGRAMS.items() if not bad.at_once]


@pytest.mark.parametrize("name", ONE_OF_TWO)
def test_one_bad_tomogram_among_good_ones_leaves_theirs(place, capsys, name):
    shutil.copy("tomo.mrc", "good.mrc")
    TOMOGRAMS[name].make(place)
    content = yaml.safe_load((place / "params.yaml").read_text())
    content["inputs"].append({"tomogram": "good.mrc"})
    write_config(place, **content | ONE)
    assert main(["params.yaml"]) == 1
    message = the_error(capsys.readouterr().err)
    for words in TOMOGRAMS[name].says:
        assert words in message
    assert names(place / "out/set") == {
        "segmentation_1_intensities_kmeans.h5",
        "segmentation_1_intensities_kmeans.mrc",
        "run.json",
    }


@pytest.fixture
def nobody():
    """Nobody who may read what is others'; root could."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


@pytest.mark.parametrize(
    ("locked", "says"),
    [
        ("params.yaml", ("params.yaml", "Permission denied", "name a YAML file")),
        ("tomo.mrc", ("tomo.mrc", "no permission to read it")),
        ("locked", ("locked/tomo.mrc", "Permission denied", "check the tomogram's path")),
    ],
)
def test_what_may_not_be_read_is_named(place, capsys, request, locked, says):
    place.chmod(0o755)
    if locked == "locked":
        (place / locked).mkdir()
        write_config(place, inputs=[{"tomogram": "locked/tomo.mrc"}])
    (place / locked).chmod(0)
    request.getfixturevalue("nobody")
    assert main(["params.yaml"]) == 2
    message = the_error(capsys.readouterr().err)
    for words in says:
        assert words in message


# What only looks bad.


@pytest.mark.parametrize(
    "name",
    [
        " a  b.mrc",
        "a'b\"c.mrc",
        "a\nb.mrc",
        "\u5cf6 \xe9.mrc",
        "-q.mrc",
        "../a/./tomo.mrc",
        "a#b: c.mrc",
    ],
)
def test_names_may_be_odd(tmp_path, monkeypatch, capsys, name):
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    write_volume(Path(name), RANDOM)
    write_config(Path(), **ONE, inputs=[{"tomogram": name}])
    assert main(["params.yaml"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "written",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: (
            text.replace("inputs:\n-", "inputs:\n- &first")
            + "max_num_neighborhoods_for_fitting: 1_000_000_000\n"
        ),
        lambda text: text + "\n# \u5cf6\n...\n",
        lambda text: json.dumps(yaml.safe_load(text)),
    ],
    ids=["byte order mark", "line ends of Windows", "of an old Mac", "an anchor", "an end", "JSON"],
)
def test_a_parameter_file_may_be_written_in_many_ways(place, capsys, written):
    good = yaml.safe_dump(GOOD | ONE, sort_keys=False)
    (place / "params.yaml").write_bytes(written(good).encode())
    assert main(["params.yaml"]) == 0
    assert capsys.readouterr().err == ""


def test_entries_may_share_what_an_alias_stands_for(place, capsys):
    good = yaml.safe_dump(GOOD | ONE | {"inputs": []}, sort_keys=False)
    entries = "[&first {tomogram: tomo.mrc, name: a}, {<<: *first, name: b}]"
    (place / "params.yaml").write_text(good.replace("[]", entries))
    assert main(["params.yaml"]) == 0
    assert len(names(place / "out/set")) == 5


def test_a_tomogram_may_be_there_twice_with_other_limits(place, capsys):
    limits = {"upper_z-slice_limit": 9}
    write_config(place, **ONE, inputs=[{"tomogram": "tomo.mrc"}, {"tomogram": "tomo.mrc"} | limits])
    assert main(["params.yaml"]) == 0
    assert len(names(place / "out/set")) == 5


WIDE = RANDOM.reshape(4, 4, 256)[:, :, np.arange(23106) % 256]  # 23106 columns begin with "BZ"
HARMLESS = {
    "no voxel size": patched(40, "<3f", 0, 0, 0),
    "voxel sizes that differ": patched(40, "<3f", 10, 2000, 0.5),
    "cell infinite": patched(40, "<3f", float("nan"), float("inf"), -1),
    "cell of extremes": patched(40, "<3f", 3e38, 1e-45, 1e-30),
    "samplings of extremes": patched(28, "<3i", -(2**31), 2**31 - 1, 0),
    "first voxels of extremes": patched(16, "<3i", -(2**31), 2**31 - 1, 0),
    "origin infinite": patched(196, "<3f", float("nan"), float("inf"), -3e38),
    "statistics infinite": patched(76, "<3f", float("nan"), float("inf"), -3e38),
    "axes of zeros": patched(64, "<3i", 0, 0, 0),
    "labels of garbage": patched(220, "<i800s", 2**31 - 1, b"\xff" * 800),
    "an extended header": rewritten(
        lambda data: data[:DATA] + b"\xff" * 80 + data[DATA:], patched(NSYMBT, "<i", 80)
    ),
    "more than the header says": rewritten(lambda data: data + bytes(10**6)),
    "columns like bzip2": voxels(WIDE),
    "integers of extremes": voxels(np.where(RANDOM > 0.5, 32767, -32768).astype(np.int16)),
    "floats of extremes": voxels(np.where(RANDOM > 0.5, 3.4e38, -3.4e38).astype(np.float32)),
    "floats next to 0": voxels((RANDOM * 1e-41).astype(np.float32)),
}


@pytest.mark.parametrize("name", list(HARMLESS))
def test_a_header_and_voxels_may_be_odd(place, capsys, name):
    HARMLESS[name](place)
    write_config(place, **ONE | {"report": True}, inputs=[{"tomogram": "tomo.mrc"}])
    assert main(["params.yaml"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_what_follows_the_voxels_of_a_compressed_file_is_left_alone(place, measured):
    plain = (place / "tomo.mrc").read_bytes()
    (place / "tomo.mrc").write_bytes(gzip.compress(plain + bytes(2**29), 1))
    write_config(place, **ONE)
    code, peak, stderr = measured(place)
    assert (code, stderr) == (0, "")
    assert peak < 500e6


@pytest.mark.parametrize(
    "changes",
    [
        {"max_num_neighborhoods_for_fitting": 2**63 - 1},
        {"memory_budget": 2**80},
        {"memory_budget": "999999999 TiB"},
        {"blur_sigma": 1e-320},
        {"blur_sigma": 100.0},
        {"seed": 2**63 - 1},
    ],
    ids=lambda changes: " ".join(changes),
)
def test_numbers_may_be_at_their_ends(place, capsys, changes):
    write_config(place, **ONE, **changes)
    assert main(["params.yaml"]) == 0
    assert capsys.readouterr().err == ""
