"""The command line as its users meet it: exit codes, messages, files."""

import gzip
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import h5py
import mrcfile
import numpy as np
import pytest
import yaml

import picket_gpu
from picket_gpu.__main__ import main
from picket_gpu.backend import select_backend
from picket_gpu.config import Copick, S1Config, TomogramInput
from picket_gpu.features import FFTs, Gabor, Intensities

SHAPE = (12, 14, 16)
FEATURES = {"ffts": 27, "gabor": 5, "intensities": 27}
GABOR = {
    "mode": "gabor",
    "num_sinusoids": 3,
    "num_neighborhoods_subsets": 2,
    "num_parallel_filters": 4,
    "num_output_features": 5,
}
GOOD: dict[str, Any] = {
    "dataset_name": "set",
    "inputs": [{"tomogram": "tomo.mrc", "lower_z-slice_limit": 2, "upper_z-slice_limit": 10}],
    "neighborhood_size": 3,
    "feature_extraction_params": [
        {"mode": "ffts", "n_fft_subsets": 4},
        GABOR,
        {"mode": "intensities"},
    ],
    "clustering_methods": ["kmeans", "gmm"],
    "output_dir": "out",
    "device": "cpu",
}
WINDOWS = (8 - 2) * (14 - 2) * (16 - 2)  # between the limits
STEMS = [f"segmentation_0_{mode}_{method}" for mode in FEATURES for method in ("kmeans", "gmm")]
REPORT = {"report.html", "preview_0.png", "run.json"}
FILES = {f"{stem}{suffix}" for stem in STEMS for suffix in (".h5", ".mrc")} | REPORT
# One workflow and no report, where these do not matter.
ONE = {
    "feature_extraction_params": [{"mode": "intensities"}],
    "clustering_methods": ["kmeans"],
    "report": False,
}

# Rich takes these as a terminal; some CI services set them.
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name not in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
}


def picket(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own, with ``directory`` as working directory."""
    return subprocess.run(
        [sys.executable, "-m", "picket_gpu", *arguments],
        cwd=directory,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
    )


def write_config(directory: Path, **changes: Any) -> None:
    """`GOOD` with changes; a key whose value is `...` is left out."""
    content = {key: value for key, value in (GOOD | changes).items() if value is not ...}
    (directory / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def write_volume(path: Path, data: np.ndarray) -> None:
    mrcfile.write(path, data, voxel_size=10.0, overwrite=True)


def fill(directory: Path) -> Path:
    """``directory`` with a good tomogram and a good parameter file."""
    noise = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    write_volume(directory / "tomo.mrc", noise)
    write_config(directory)
    return directory


def snapshot(directory: Path) -> dict[str, tuple[bytes | None, int]]:
    """Contents and modification times of all that is under ``directory``."""
    return {
        str(path.relative_to(directory)): (
            path.read_bytes() if path.is_file() else None,
            path.stat().st_mtime_ns,
        )
        for path in directory.rglob("*")
    }


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def the_error(stderr: str) -> str:
    """The message of a standard error that holds one line, an error."""
    (line,) = stderr.splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The working directory, with a good tomogram and a good parameter file."""
    monkeypatch.chdir(tmp_path)
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return fill(tmp_path)


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
    process = picket(directory, "params.yaml")
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
    process = picket(tmp_path, "params.yaml", "--overwrite")
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
    process = picket(place, "params.yaml", "--dry-run")
    assert (process.returncode, process.stderr) == (0, "")
    out = process.stdout
    assert out.startswith("Device: CPU")
    assert "tomo.mrc" in out
    assert "12 x 14 x 16 voxels" in out
    assert "z-slices 2 to 10" in out
    assert f"{WINDOWS} windows" in out
    for mode, features in FEATURES.items():
        assert f"{mode}: Features array of shape: ({WINDOWS}, {features})" in out
    assert re.search(r"memory: at most \d+ MiB", out)
    listed = out.partition("Files:\n")[2].split()
    assert sorted(listed) == sorted(f"out/set/{name}" for name in FILES)
    assert not (place / "out").exists()
    assert snapshot(place) == before


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


@pytest.mark.parametrize(("kind", "suffix"), [("hdf5", ".h5"), ("mrc", ".mrc")])
def test_save_chooses_the_kinds_of_files(place, capsys, kind, suffix):
    write_config(place, **ONE, save=[kind])
    assert main(["params.yaml"]) == 0
    name = f"segmentation_0_intensities_kmeans{suffix}"
    assert names(place / "out/set") == {name, "run.json"}
    assert name in capsys.readouterr().out


def test_each_tomogram_gets_files_with_its_number(place):
    write_config(place, **ONE, inputs=[{"tomogram": "tomo.mrc"}] * 2, save=["hdf5"])
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
    process = picket(place, "elsewhere/params.yaml")
    assert (process.returncode, process.stderr) == (0, "")
    assert names(place / "elsewhere") == {"params.yaml"}
    assert len(names(place / "out/set")) == 3


def test_device_auto_overrides_the_file_and_says_what_was_found(place):
    process = picket(place, "params.yaml", "--device", "auto", "--dry-run")
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
    process = picket(place, "params.yaml", "--device", device)
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


# Bad inputs. Each row breaks one thing in a directory where all is good.

Break: TypeAlias = Callable[[Path], object]


class Bad(NamedTuple):
    """A fault, what its message must hold, and whether it shows before the voxels are read."""

    make: Break
    says: tuple[str, ...]
    at_once: bool = True


def config(**changes: Any) -> Break:
    return lambda directory: write_config(directory, **changes)


def entry(**changes: Any) -> Break:
    return config(inputs=[{"tomogram": "tomo.mrc"} | changes])


def modes(*modes: Any) -> Break:
    return config(feature_extraction_params=list(modes))


def text(content: str | bytes) -> Break:
    data = content.encode() if isinstance(content, str) else content
    return lambda directory: (directory / "params.yaml").write_bytes(data)


def appended(lines: str) -> Break:
    def append(directory: Path) -> None:
        with (directory / "params.yaml").open("a") as file:
            file.write(lines)

    return append


def tomogram(content: bytes) -> Break:
    return lambda directory: (directory / "tomo.mrc").write_bytes(content)


def cut(size: int) -> Break:
    """Only the first ``size`` bytes of the tomogram, or all but the last ``-size``."""

    def truncate(directory: Path) -> None:
        path = directory / "tomo.mrc"
        path.write_bytes(path.read_bytes()[:size])

    return truncate


def compressed_and_cut(directory: Path) -> None:
    path = directory / "tomo.mrc"
    path.write_bytes(gzip.compress(path.read_bytes())[:-999])


def pipe(directory: Path) -> None:
    (directory / "tomo.mrc").unlink()
    os.mkfifo(directory / "tomo.mrc")


def masked(shape: tuple[int, ...], **keys: Any) -> Break:
    """A mask of ``shape`` with one voxel in it, named by the keys of the tomogram."""

    def write(directory: Path) -> None:
        mask = np.zeros(shape, dtype=np.int8)
        mask[6, 7, 8] = 1
        write_volume(directory / "mask.mrc", mask)
        entry(**keys)(directory)

    return write


def patched(offset: int, code: str, value: float) -> Break:
    """``value`` written into the tomogram at ``offset`` bytes."""

    def patch(directory: Path) -> None:
        with (directory / "tomo.mrc").open("r+b") as file:
            file.seek(offset)
            file.write(struct.pack(code, value))

    return patch


def unknown_size(**changes: Any) -> Break:
    """A tomogram whose header does not tell the voxel size."""

    def write(directory: Path) -> None:
        patched(40, "<f", 0.0)(directory)  # the cell's length on x
        write_config(directory, **changes)

    return write


def voxels(data: np.ndarray, **changes: Any) -> Break:
    """Another tomogram, by default without limits."""

    def write(directory: Path) -> None:
        write_volume(directory / "tomo.mrc", data)
        write_config(directory, **{"inputs": [{"tomogram": "tomo.mrc"}]} | changes)

    return write


def directory_instead(name: str) -> Break:
    def replace(directory: Path) -> None:
        (directory / name).unlink()
        (directory / name).mkdir()

    return replace


def file_at(name: str) -> Break:
    def write(directory: Path) -> None:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text("a file")

    return write


# Byte offsets in an MRC file: columns, sections, mode, the first voxel.
NX, NZ, MODE, DATA = 0, 8, 12, 1024
GOOD_LINES = len(yaml.safe_dump(GOOD).splitlines())
RANDOM = np.random.default_rng(1).random((16, 16, 16), dtype=np.float32)
NEARLY_FLAT = np.ones(SHAPE, dtype=np.float32)
NEARLY_FLAT[6, 7, 8] = np.nextafter(np.float32(1), np.float32(2))
FLAT_TO_9 = np.where(np.arange(12)[:, None, None] < 9, 0, RANDOM[:12]).astype(np.float32)

PARAMETER_FILES = {
    "yaml missing": Bad(lambda d: (d / "params.yaml").unlink(), ("params.yaml", "no such file")),
    "yaml is a directory": Bad(directory_instead("params.yaml"), ("params.yaml",)),
    "yaml empty": Bad(text(""), ("params.yaml",)),
    "yaml of comments": Bad(text("# dataset_name: a\n"), ("params.yaml",)),
    "yaml malformed": Bad(text("dataset_name: a\ninputs: [{]\n"), ("params.yaml", "line 2")),
    "yaml with a tab": Bad(text("dataset_name:\n\t- a\n"), ("params.yaml", "line 2")),
    "yaml not text": Bad(text(b"\x89PNG\r\n\x1a\n\x00\xff"), ("params.yaml",)),
    "yaml a list": Bad(text("- dataset_name\n- inputs\n"), ("params.yaml",)),
    "yaml a word": Bad(text("dataset_name\n"), ("params.yaml",)),
    "yaml two documents": Bad(appended("---\nseed: 1\n"), ("params.yaml",)),
    "yaml with code": Bad(appended("seed: !!python/object/apply:os.getpid []\n"), ("params.yaml",)),
    "number without digits": Bad(appended("seed: 0x_\n"), ("params.yaml", "0x_")),
    "duplicate key": Bad(
        appended("dataset_name: again\n"),
        ("params.yaml", "dataset_name", "twice", f"line {GOOD_LINES + 1}"),
    ),
    "duplicate nested key": Bad(
        text(yaml.safe_dump(GOOD).replace("  tomogram: tomo.mrc", "  tomogram: a\n  tomogram: b")),
        ("params.yaml", "tomogram", "twice"),
    ),
    "key a number": Bad(appended("1: 2\n"), ("params.yaml", "1", "keys should be strings")),
    "unknown key": Bad(appended("colour: red\n"), ("colour", "known keys", "neighborhood_size")),
    "misspelled key": Bad(
        appended("neighbourhood_size: 5\n"),
        ("neighbourhood_size", "unknown key", "did you mean neighborhood_size?"),
    ),
    "misspelled limit": Bad(
        entry(lower_zslice_limit=3),
        ("lower_zslice_limit", "unknown key", "did you mean lower_z-slice_limit?"),
    ),
    "misspelled fft setting": Bad(
        modes({"mode": "ffts", "n_fft_subset": 3}),
        ("n_fft_subset", "unknown key", "did you mean n_fft_subsets?"),
    ),
    "misspelled gabor setting": Bad(
        modes({"mode": "gabor", "num_sinusoid": 3}),
        ("num_sinusoid", "unknown key", "did you mean num_sinusoids?"),
    ),
    "setting of another mode": Bad(
        modes({"mode": "intensities", "n_fft_subsets": 3}), ("n_fft_subsets", "unknown key")
    ),
    "limit under both its names": Bad(
        entry(**{"lower_z-slice_limit": 2, "lower_z_slice_limit": 3}), ("lower_z_slice_limit",)
    ),
    "no dataset_name": Bad(config(dataset_name=...), ("dataset_name", "missing")),
    "no inputs": Bad(config(inputs=...), ("inputs", "missing")),
    "no output_dir": Bad(config(output_dir=...), ("output_dir", "missing")),
    "no tomogram": Bad(config(inputs=[{}]), ("inputs[0].tomogram", "missing")),
    "two faults": Bad(config(seed=-1, device="tpu"), ("seed", "and 1 more")),
}

VALUES = {
    "dataset_name empty": Bad(config(dataset_name=""), ("dataset_name",)),
    "dataset_name with slash": Bad(config(dataset_name="a/b"), ("dataset_name", "a/b")),
    "dataset_name absolute": Bad(config(dataset_name="/a"), ("dataset_name", "/a")),
    "dataset_name dots": Bad(config(dataset_name=".."), ("dataset_name", "..")),
    "dataset_name too long": Bad(config(dataset_name="x" * 300), ("x" * 300, "too long")),
    "inputs empty": Bad(config(inputs=[]), ("inputs",)),
    "modes empty": Bad(modes(), ("feature_extraction_params",)),
    "methods empty": Bad(config(clustering_methods=[]), ("clustering_methods",)),
    "save empty": Bad(config(save=[]), ("save",)),
    "size even": Bad(config(neighborhood_size=4), ("neighborhood_size", "odd", "4")),
    "size 1": Bad(config(neighborhood_size=1), ("neighborhood_size", "3 or more", "1")),
    "size negative": Bad(config(neighborhood_size=-3), ("neighborhood_size", "-3")),
    "size above z": Bad(
        voxels(RANDOM[:4], neighborhood_size=5), ("tomo.mrc", "4 z-slices", "neighborhood_size 5")
    ),
    "size above y": Bad(
        voxels(RANDOM[:, :4], neighborhood_size=5), ("tomo.mrc", "4 x 16", "neighborhood_size 5")
    ),
    "a single window": Bad(voxels(RANDOM[:3, :3, :3]), ("tomo.mrc", "single window")),
    "limits crossed": Bad(
        entry(**{"lower_z-slice_limit": 9, "upper_z-slice_limit": 2}),
        ("inputs[0]", "lower_z-slice_limit 9", "upper_z-slice_limit 2"),
    ),
    "limits equal": Bad(
        entry(**{"lower_z-slice_limit": 5, "upper_z-slice_limit": 5}),
        ("lower_z-slice_limit 5", "upper_z-slice_limit 5"),
    ),
    "lower limit negative": Bad(
        entry(**{"lower_z-slice_limit": -1}), ("inputs[0].lower_z-slice_limit", "-1")
    ),
    "upper limit negative": Bad(
        entry(**{"upper_z-slice_limit": -1}), ("inputs[0].upper_z-slice_limit", "-1")
    ),
    "lower limit outside": Bad(
        entry(**{"lower_z-slice_limit": 13}), ("tomo.mrc", "lower_z-slice_limit 13", "0 to 12")
    ),
    "upper limit outside": Bad(
        entry(**{"upper_z-slice_limit": 13}), ("tomo.mrc", "upper_z-slice_limit 13", "0 to 12")
    ),
    "prediction beyond the end": Bad(
        entry(**{"prediction_upper_z-slice_limit": 13}),
        ("tomo.mrc", "prediction_upper_z-slice_limit 13", "0 to 12"),
    ),
    "prediction limits crossed": Bad(
        entry(**{"prediction_lower_z-slice_limit": 8, "prediction_upper_z-slice_limit": 8}),
        ("inputs[0]", "prediction_lower_z-slice_limit 8 must be below"),
    ),
    "mask missing": Bad(entry(mask="mask.mrc"), ("mask.mrc", "no such file")),
    "mask of another shape": Bad(
        masked((12, 14, 15), mask="mask.mrc"), ("mask.mrc", "(12, 14, 15)", "(12, 14, 16)")
    ),
    "mask of one window": Bad(
        masked((12, 14, 16), mask_for_fitting="mask.mrc"), ("tomo.mrc", "1 windows"), at_once=False
    ),
    "mask outside the prediction": Bad(
        masked((12, 14, 16), mask_for_output="mask.mrc", **{"prediction_upper_z-slice_limit": 5}),
        ("mask.mrc", "no voxel"),
        at_once=False,
    ),
    "mask twice": Bad(
        entry(mask="mask.mrc", mask_for_output="mask.mrc"), ("inputs[0]", "mask_for_fitting")
    ),
    "mask empty": Bad(entry(mask=""), ("inputs[0].mask", "must not be empty")),
    "name of two lines": Bad(entry(name="a\nb"), ("inputs[0].name", "in one line")),
    "voxel_size zero": Bad(entry(voxel_size=0), ("inputs[0].voxel_size",)),
    "voxel_size infinite": Bad(entry(voxel_size=float("inf")), ("inputs[0].voxel_size",)),
    "url of no protocol": Bad(entry(tomogram="gopher://a/b.zarr"), ("gopher://a/b.zarr", "gopher")),
    "url malformed": Bad(entry(tomogram="http://[a/b.zarr"), ("inputs[0].tomogram", "IPv6")),
    "copick user with an underscore": Bad(config(copick={"user": "a_b"}), ("copick.user", "a_b")),
    "copick session without the mode": Bad(
        config(copick={"session": "{method}"}), ("copick.session", "{mode}")
    ),
    "copick without a voxel size": Bad(unknown_size(save=["copick"]), ("tomo.mrc", "voxel_size")),
    "copick run of another alphabet": Bad(
        config(save=["copick"], inputs=[{"tomogram": "tomo.mrc", "name": "a b"}]),
        ("inputs[0].name", "'a b'"),
    ),
    "copick run twice": Bad(
        config(save=["copick"], inputs=[{"tomogram": "tomo.mrc"}, {"tomogram": "more/tomo.rec"}]),
        ("inputs[1].name", "copick run tomo"),
    ),
    "prediction in the border": Bad(
        entry(**{"prediction_lower_z-slice_limit": 10}),
        ("tomo.mrc", "prediction_lower_z-slice_limit 10", "use 2 to 10"),
    ),
    "prediction of nothing": Bad(
        entry(**{"prediction_upper_z-slice_limit": 0}),
        ("tomo.mrc", "prediction_upper_z-slice_limit 0", "use 2 to 10"),
    ),
    "password in a url": Bad(
        entry(tomogram="https://user:hunter2@a/b.zarr"), ("inputs[0].tomogram", "storage_options")
    ),
    "file url without a path": Bad(
        entry(tomogram="file://tomo.mrc"), ("inputs[0].tomogram", "absolute path")
    ),
    "section thin": Bad(
        entry(**{"lower_z-slice_limit": 6, "upper_z-slice_limit": 8}),
        ("tomo.mrc", "6 to 8", "lower_z-slice_limit", "upper_z-slice_limit"),
    ),
    "section thin at the end": Bad(entry(**{"lower_z-slice_limit": 11}), ("tomo.mrc", "11 to 12")),
    "cap 0": Bad(
        config(max_num_neighborhoods_for_fitting=0), ("max_num_neighborhoods_for_fitting", "0")
    ),
    "cap 1": Bad(
        config(max_num_neighborhoods_for_fitting=1), ("max_num_neighborhoods_for_fitting", "1")
    ),
    "mode unknown": Bad(
        modes({"mode": "wavelets"}),
        ("feature_extraction_params[0]", "mode", "wavelets", "ffts", "gabor", "intensities"),
    ),
    "mode missing": Bad(
        modes({"n_fft_subsets": 3}), ("feature_extraction_params[0]", "mode", "missing")
    ),
    "mode twice": Bad(
        modes({"mode": "ffts"}, {"mode": "ffts", "n_fft_subsets": 3}),
        ("feature_extraction_params", "ffts", "twice"),
    ),
    "n_fft_subsets 0": Bad(
        modes({"mode": "ffts", "n_fft_subsets": 0}),
        ("feature_extraction_params[0]", "n_fft_subsets"),
    ),
    "num_sinusoids 0": Bad(modes(GABOR | {"num_sinusoids": 0}), ("num_sinusoids", "0")),
    "num_neighborhoods_subsets 0": Bad(
        modes(GABOR | {"num_neighborhoods_subsets": 0}), ("num_neighborhoods_subsets", "0")
    ),
    "num_parallel_filters 0": Bad(
        modes(GABOR | {"num_parallel_filters": 0}), ("num_parallel_filters", "0")
    ),
    "num_output_features 0": Bad(
        modes(GABOR | {"num_output_features": 0}), ("num_output_features", "0")
    ),
    "more features than filters": Bad(
        modes(GABOR | {"num_sinusoids": 2, "num_output_features": 9}),
        ("feature_extraction_params[0]", "num_output_features is 9", "use 8 or fewer"),
    ),
    "method unknown": Bad(
        config(clustering_methods=["kmeans", "dbscan"]),
        ("clustering_methods[1]", "dbscan", "'kmeans' or 'gmm'"),
    ),
    "method twice": Bad(
        config(clustering_methods=["gmm", "gmm"]), ("clustering_methods", "gmm", "twice")
    ),
    "device unknown": Bad(config(device="cuda"), ("device", "cuda", "'auto', 'cpu', 'gpu'")),
    "device without a number": Bad(config(device="gpu:"), ("device", "gpu:", "'gpu:N'")),
    "engine unknown": Bad(
        config(kmeans_engine="faiss"), ("kmeans_engine", "faiss", "'auto', 'cuml' or 'native'")
    ),
    "engine that needs a GPU": Bad(
        config(kmeans_engine="cuml"), ("kmeans_engine: cuml needs a GPU", "auto or native")
    ),
    "precision unknown": Bad(
        config(precision="float16"), ("precision", "float16", "'float32' or 'tf32'")
    ),
    "save unknown": Bad(
        config(save=["tiff"]), ("save[0]", "tiff", "'hdf5', 'mrc', 'zarr' or 'copick'")
    ),
    "save twice": Bad(config(save=["mrc", "mrc"]), ("save", "mrc", "twice")),
    "seed negative": Bad(config(seed=-1), ("seed", "-1")),
    "seed of 64 bits": Bad(config(seed=2**63), ("seed", str(2**63))),
    "memory_budget too small": Bad(
        config(memory_budget="1 MiB"), ("memory_budget", "1 MiB", "12 x 14 x 16", "needs")
    ),
    "memory_budget nonsense": Bad(config(memory_budget="lots"), ("memory_budget", "lots")),
    "memory_budget unknown unit": Bad(
        config(memory_budget="4 floppies"), ("memory_budget", "4 floppies")
    ),
    "memory_budget negative": Bad(config(memory_budget=-1), ("memory_budget", "-1")),
    "blur_sigma negative": Bad(config(blur_sigma=-0.5), ("blur_sigma", "-0.5")),
    "blur_sigma nan": Bad(config(blur_sigma=float("nan")), ("blur_sigma", "nan")),
    "blur_sigma infinite": Bad(config(blur_sigma=float("inf")), ("blur_sigma", "inf")),
    "output_dir a file": Bad(file_at("out"), ("output_dir", "out")),
    "output_dir below a file": Bad(
        config(output_dir="tomo.mrc/out"), ("output_dir", "tomo.mrc/out")
    ),
    "dataset directory a file": Bad(file_at("out/set"), ("output_dir", "out/set")),
}

TOMOGRAMS = {
    "tomogram missing": Bad(lambda d: (d / "tomo.mrc").unlink(), ("tomo.mrc", "no such file")),
    "tomogram a directory": Bad(directory_instead("tomo.mrc"), ("tomo.mrc", "no Zarr")),
    "tomogram empty": Bad(tomogram(b""), ("tomo.mrc", "MRC")),
    "tomogram a short text": Bad(tomogram(b"hello\n"), ("tomo.mrc", "MRC")),
    "tomogram a long text": Bad(tomogram(b"hello " * 999), ("tomo.mrc", "MRC")),
    "tomogram compressed and cut": Bad(compressed_and_cut, ("tomo.mrc", "not a whole MRC file")),
    "tomogram a pipe": Bad(pipe, ("tomo.mrc", "not a file")),
    "header cut": Bad(cut(1000), ("tomo.mrc", "MRC")),
    "voxels cut": Bad(cut(-1), ("tomo.mrc", "not a whole MRC file")),
    "voxels cut away": Bad(cut(DATA), ("tomo.mrc", "not a whole MRC file")),
    "no sections": Bad(patched(NZ, "<i", 0), ("tomo.mrc",)),
    "no columns": Bad(patched(NX, "<i", 0), ("tomo.mrc",)),
    "negative sections": Bad(patched(NZ, "<i", -12), ("tomo.mrc",)),
    "sections beyond the file": Bad(patched(NZ, "<i", 10**6), ("tomo.mrc",)),
    "complex voxels": Bad(
        voxels(RANDOM.astype(np.complex64)), ("tomo.mrc", "MRC mode 4 is not supported", "float32")
    ),
    "4-bit voxels": Bad(
        patched(MODE, "<i", 101), ("tomo.mrc", "MRC mode 101 is not supported", "float32")
    ),
    "an image": Bad(voxels(RANDOM[0]), ("tomo.mrc", "2 dimensions")),
    "four dimensions": Bad(voxels(RANDOM.reshape(2, 8, 16, 16)), ("tomo.mrc", "4 dimensions")),
    "constant": Bad(voxels(np.full(SHAPE, 7, np.int16)), ("tomo.mrc", "7")),
    # What follows shows only once all voxels are read.
    "a NaN voxel": Bad(patched(DATA + 4000, "<f", float("nan")), ("tomo.mrc", "NaN"), False),
    "an infinite voxel": Bad(patched(DATA, "<f", float("inf")), ("tomo.mrc", "infinite"), False),
    "constant once blurred": Bad(voxels(NEARLY_FLAT), ("tomo.mrc", "constant"), False),
    "constant between the limits": Bad(
        voxels(
            FLAT_TO_9,
            blur_sigma=0,
            inputs=[{"tomogram": "tomo.mrc", "upper_z-slice_limit": 8}],
        ),
        ("tomo.mrc", "z-slice limits"),
        False,
    ),
}

# For each key, values of wrong types. Text is never taken for a number, nor True for 1.
NO_INTEGER = ["5", 5.0, True, [5]]
WRONG_TYPES: dict[type, dict[str, list[Any]]] = {
    S1Config: {
        "dataset_name": [5, True, ["set"]],
        "inputs": ["tomo.mrc", 5, {"tomogram": "tomo.mrc"}, ["tomo.mrc"]],
        "neighborhood_size": NO_INTEGER,
        "max_num_neighborhoods_for_fitting": NO_INTEGER,
        "feature_extraction_params": ["ffts", 5, {"mode": "ffts"}, ["ffts"]],
        "clustering_methods": ["kmeans", 5, {"kmeans": "gmm"}, [5]],
        "output_dir": [5, True, ["out"]],
        "seed": NO_INTEGER,
        "device": [5, True, ["cpu"]],
        "kmeans_engine": [5, True, ["cuml"]],
        "precision": [5, True, ["tf32"]],
        "memory_budget": [True, 1.5, ["12 GiB"]],
        "blur_sigma": ["2", True, [2.0]],
        "save": ["mrc", 5, [5]],
        "copick": ["me", 5, ["me"]],
        "scores": ["yes", 1, [True]],
        "report": ["yes", 1, [True]],
    },
    TomogramInput: {
        "tomogram": [5, True, ["tomo.mrc"]],
        "lower_z-slice_limit": NO_INTEGER,
        "upper_z-slice_limit": NO_INTEGER,
        "name": [5, True, ["TS_01"]],
        "voxel_size": ["13.48", True, [1.0, 2.0], {"z": 1.0}],
        "level": NO_INTEGER,
        "dataset": [5, True, ["data"]],
        "storage_options": ["anon", 5, ["anon"]],
        "mask": [5, True, ["mask.mrc"]],
        "mask_for_fitting": [5, True, ["mask.mrc"]],
        "mask_for_output": [5, True, ["mask.mrc"]],
        "prediction_lower_z-slice_limit": NO_INTEGER,
        "prediction_upper_z-slice_limit": NO_INTEGER,
    },
    Copick: {
        "directory": [5, True, ["project"]],
        "user": [5, True, ["me"]],
        "session": [5, True, ["{mode}"]],
        "object": [5, True, ["ribosome"]],
    },
    FFTs: {"mode": [5, True, ["ffts"]], "n_fft_subsets": NO_INTEGER},
    Gabor: {
        "mode": [5],
        "num_sinusoids": NO_INTEGER,
        "num_neighborhoods_subsets": NO_INTEGER,
        "num_parallel_filters": NO_INTEGER,
        "num_output_features": NO_INTEGER,
    },
    Intensities: {"mode": [5]},
}
PLACES: dict[type, Callable[..., Break]] = {
    S1Config: config,
    TomogramInput: entry,
    Copick: lambda **changes: config(copick=changes),
    FFTs: lambda **changes: modes({"mode": "ffts"} | changes),
    Gabor: lambda **changes: modes(GABOR | changes),
    Intensities: lambda **changes: modes({"mode": "intensities"} | changes),
}
TYPES = {
    f"{model.__name__} {key} {value!r}": Bad(
        PLACES[model](**{key: value}),
        (key,) if isinstance(value, list | dict) else (key, repr(value)),
    )
    for model, keys in WRONG_TYPES.items()
    for key, values in keys.items()
    for value in values
}

BAD = PARAMETER_FILES | VALUES | TOMOGRAMS | TYPES
# Those that also go through a process of their own.
IN_A_PROCESS = [
    "yaml missing",
    "yaml malformed",
    "duplicate key",
    "misspelled key",
    "size even",
    "upper limit outside",
    "voxels cut",
    "a NaN voxel",
    "output_dir a file",
]
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
    assert "Traceback" not in captured.out
    assert snapshot(place) == before


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


AT_ONCE = [name for name, bad in BAD.items() if bad.at_once]


@pytest.mark.parametrize("name", AT_ONCE)
def test_a_dry_run_finds_it_too(place, capsys, name):
    BAD[name].make(place)
    before = snapshot(place)
    assert main(["params.yaml", "--dry-run"]) == 2
    captured = capsys.readouterr()
    for words in BAD[name].says:
        assert words in the_error(captured.err)
    assert captured.out == ""
    assert snapshot(place) == before


@pytest.mark.parametrize("bad", list(BAD.values()), ids=list(BAD))
def test_messages_are_in_the_words_of_the_user(place, capsys, bad):
    bad.make(place)
    main(["params.yaml"])
    found = JARGON.search(capsys.readouterr().err)
    assert found is None
