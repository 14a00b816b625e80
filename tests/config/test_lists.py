"""Patterns and star files that stand for several tomograms."""

import csv
import gzip
import json
import re
import shutil
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import pytest
import starfile
import yaml
import zarr

from picket_gpu import PicketError, load_config, run_s1
from picket_gpu.__main__ import main
from picket_gpu.particles.settings import ParticleSettings
from picket_gpu.pick import pick_files
from tests.support.command_line import ONE, SHAPE, called

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
        match=rf"^tomograms\.star: row 2 has {number} values for 2 columns; write the file again",
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
    told = called(main, "params.yaml", "--dry-run").stdout
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


# Rows of a star file without a tomogram


BOTH = f"{LOOP} #2\n_rlnTomoReconstructedTomogramDenoised #3\n"
NA = "(N/A in rlnTomoReconstructedTomogramDenoised)"


def listed(text):
    """What a star file says of its tomograms: path, warnings, fault."""
    Path("tomograms.star").write_text(text)
    entries = load_config(settings({"tomogram": "tomograms.star"})).inputs
    return [(str(one.tomogram), one.listed.warnings, one.listed.fault) for one in entries]


@pytest.mark.parametrize("nothing", ["N/A", "None", "nan", "<NA>", '""', "''"])
def test_a_tomogram_that_is_not_denoised_is_used_and_named(place, nothing):
    for name in ("a.mrc", "b.mrc", "denoised.mrc"):
        write(place / name)
    text = nothing.strip("'\"")
    warning = (
        f"tomograms.star: B is not denoised ({text} in rlnTomoReconstructedTomogramDenoised); "
        "using b.mrc"
    )
    assert listed(f"{BOTH}A a.mrc denoised.mrc\nB b.mrc {nothing}\n") == [
        ("denoised.mrc", (), None),
        ("b.mrc", (warning,), None),
    ]


def test_where_none_is_denoised_there_is_nothing_to_tell(place):
    write(place / "a.mrc")
    assert listed(f"{BOTH}A a.mrc N/A\nB a.mrc N/A\n") == [("a.mrc", (), None)] * 2


def test_a_denoised_tomogram_that_is_lost_is_told(place):
    write(place / "a.mrc")
    warning = "tomograms.star: A: denoised.mrc was not found; using a.mrc"
    assert listed(f"{BOTH}A a.mrc denoised.mrc\n") == [("a.mrc", (warning,), None)]


@pytest.mark.parametrize(
    ("row", "where", "fault"),
    [
        ("TS_02 N/A N/A", "N/A", f"tomograms.star: TS_02 has no tomogram {NA}"),
        ("TS_02 'N/A' x[1].mrc", "x[1].mrc", "tomograms.star: TS_02: x[1].mrc was not found in"),
    ],
)
def test_a_row_without_a_tomogram_fails_alone(place, capsys, row, where, fault):
    for seed, name in enumerate(("raw_1.mrc", "done_1.mrc", "done_3.mrc")):
        write(place / name, seed)
    rows = ["TS_01 N/A done_1.mrc", row, "TS_03 N/A done_3.mrc"]
    Path("tomograms.star").write_text(BOTH + "\n".join(rows) + "\n")
    entry = {"tomogram": "tomograms.star"}
    config = settings(entry, neighborhood_size=3, **ONE, particles={"diameter": 60.0})
    config["particles"]["source"] = "tomogram"
    Path("params.yaml").write_text(yaml.safe_dump(config))
    for options in (["--dry-run"], []):
        assert main(["params.yaml", *options]) == 1
        output = capsys.readouterr()
        (line,) = output.err.splitlines()
        assert line.startswith(f"error: {fault}")
        assert re.search(r"tomogram 2, TS_03|^2 +TS_03 ", output.out, re.MULTILINE)
    # The number of the row is kept for it.
    made = sorted(path.name for path in Path("out/set").glob("segmentation_*.h5"))
    assert made == [f"segmentation_{number}_intensities_kmeans.h5" for number in (0, 2)]
    record = json.loads(Path("out/set/run.json").read_text())
    assert {unit["index"]: unit["tomogram"] for unit in record["units"]}[1] == where
    # Once it is there, it is done, and the others are kept.
    write(place / "done_2.mrc", 5)
    rows[1] = "TS_02 N/A done_2.mrc"
    Path("tomograms.star").write_text(BOTH + "\n".join(rows) + "\n")
    assert [one.reused for one in run_s1("params.yaml", quiet=True)] == [True, False, True]


# IsoNet


ISONET_1 = """
data_

loop_
_rlnIndex #1
_rlnMicrographName #2
_rlnPixelSize #3
_rlnDefocus #4
_rlnNumberSubtomo #5
_rlnDeconvTomoName #6
_rlnMaskName #7
1  tomoset/TS01-wbp.rec  10.800000  38838.257812  100  hiv_deconv/TS01-wbp.rec  None
2  tomoset/TS43-wbp.rec  10.800000  25292.275391  100  None  None
"""
ISONET_2 = """
data_

loop_
_rlnIndex #1
_rlnTomoName #2
_rlnTomoReconstructedTomogramHalf1 #3
_rlnTomoReconstructedTomogramHalf2 #4
_rlnPixelSize #5
_rlnCorrectedTomoName #6
_rlnDenoisedTomoName #7
1 full/TS_01.mrc even/TS_01.mrc odd/TS_01.mrc 10.0 corrected/c_TS_01.mrc None
2 full/TS_02.mrc even/TS_02.mrc odd/TS_02.mrc 10.0 None denoised/d_TS_02.mrc
3 None even/TS_03.mrc odd/TS_03.mrc auto None None
"""


def test_a_list_of_isonet_1(place):
    for name in ("tomoset/TS01-wbp.rec", "hiv_deconv/TS01-wbp.rec", "tomoset/TS43-wbp.rec"):
        write(place / name)
    size = (10.8, 10.8, 10.8)
    assert of_star(ISONET_1) == [
        ("TS01-wbp", "hiv_deconv/TS01-wbp.rec", size),
        ("TS43-wbp", "tomoset/TS43-wbp.rec", size),
    ]
    assert listed(ISONET_1)[1][1] == (
        "tomograms.star: TS43-wbp is not deconvolved (None in rlnDeconvTomoName); using "
        "tomoset/TS43-wbp.rec",
    )


def test_a_list_of_isonet_2(place):
    for number in (1, 2):
        for name in ("full/TS_0{}.mrc", "corrected/c_TS_0{}.mrc", "denoised/d_TS_0{}.mrc"):
            write(place / name.format(number))
    size = (10.0, 10.0, 10.0)
    assert of_star(ISONET_2) == [
        ("TS_01", "corrected/c_TS_01.mrc", size),
        ("TS_02", "denoised/d_TS_02.mrc", size),
        ("row 3", "N/A", None),
    ]
    (_, first, _), (_, second, _), (_, _, fault) = listed(ISONET_2)
    assert first == ()
    assert second == (
        "tomograms.star: TS_02 is not corrected (None in rlnCorrectedTomoName); using "
        "denoised/d_TS_02.mrc",
    )
    assert fault.startswith("tomograms.star: row 3 has no tomogram (N/A in rlnCorrectedTomoName, ")
    named = {"tomogram": "tomograms.star", "name": "{name}.tomostar"}
    names = [one.name for one in load_config(settings(named)).inputs]
    assert names == ["TS_01.tomostar", "TS_02.tomostar", "row 3"]


@pytest.mark.parametrize(
    "columns",
    [
        "_rlnIndex _rlnImageName _rlnPixelSize",  # IsoNet's subtomograms
        "_rlnMicrographName _rlnOpticsGroup _rlnPixelSize",  # RELION's micrographs
        "_rlnTomoName _rlnCoordinateX _rlnPixelSize",  # particles
    ],
)
def test_other_lists_are_none_of_tomograms(place, columns):
    write(place / "a.mrc")
    table = "\n".join(columns.split())
    with pytest.raises(PicketError, match="has no column _rlnTomoReconstructedTomogram; recon"):
        of_star(f"data_\nloop_\n{table}\na.mrc 1 1\n")


def test_names_of_a_star_file_by_a_template(place):
    for name in ("rec_a.mrc", "rec_b.mrc"):
        write(place / name)
    Path("tomograms.star").write_text(f"{LOOP} #2\nA rec_a.mrc\nB rec_b.mrc\n")
    for template, names in (("{name}.tomostar", ["A.tomostar", "B.tomostar"]), ("{stem}", None)):
        entry = {"tomogram": "tomograms.star", "name": template}
        found = [one.name for one in load_config(settings(entry)).inputs]
        assert found == (names or ["rec_a", "rec_b"])


# The centre that RELION counts from


SIZED = f"""{LOOP} #2
_rlnTomoTiltSeriesPixelSize #3
_rlnTomoTomogramBinning #4
_rlnTomoSizeX #5
_rlnTomoSizeY #6
_rlnTomoSizeZ #7
"""


def test_coordinates_count_from_half_the_unbinned_voxels(place, capsys):
    """16 x 14 x 12 voxels (x y z) of 4 times 2.5 angstrom: RELION rounded 63, 57 and 49."""
    write(place / "a.mrc")
    Path("tomograms.star").write_text(f"{SIZED}A a.mrc 2.5 4.0 63 57 49\n")
    config = settings({"tomogram": "tomograms.star"}, neighborhood_size=3, **ONE)
    config["particles"] = {"diameter": 40.0, "threshold": -50.0}
    Path("params.yaml").write_text(yaml.safe_dump(config))
    assert main(["params.yaml"]) == 0
    assert "warning" not in capsys.readouterr().out
    star, table = stars("out/set")
    assert len(table) > 5
    zyx = np.array([[float(row[axis]) for axis in "xyz"] for row in table])
    # RELION extracts at the coordinate by the pixel size plus half the unbinned size.
    extracted = star / 2.5 + np.array([63, 57, 49]) / 2
    assert extracted == pytest.approx(zyx * 4, abs=1e-5)
    before = {path.name: path.read_bytes() for path in Path("out/set").glob("segmentation_*.h5")}
    # Picked again from the files, and by a run without the list, whose centre is the middle.
    shutil.copytree("out/set", "copy")
    pick_files(["copy"], ParticleSettings(diameter=40.0, threshold=-50.0), overwrite=True)
    assert stars("copy")[0] == pytest.approx(star)
    entry = {"tomogram": "a.mrc", "name": "A", "voxel_size": 10.0}
    (result,) = run_s1(config | {"inputs": [entry]}, quiet=True)
    assert result.reused  # labels do not depend on it
    moved = stars("out/set")[0] - star
    assert moved == pytest.approx(np.broadcast_to([-1.25, 1.25, 1.25], moved.shape), abs=1e-5)
    assert before == {
        path.name: path.read_bytes() for path in Path("out/set").glob("segmentation_*.h5")
    }


def stars(directory):
    """Coordinates in STAR, (n, 3), and rows of the CSV file."""
    (path,) = Path(directory).glob("particles_*.star")
    table = starfile.read(path)
    star = table[[f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ"]].to_numpy()
    with path.with_suffix(".csv").open(newline="") as file:
        return star, list(csv.DictReader(file))


def test_a_centre_in_the_parameter_file_wins(place):
    write(place / "a.mrc")
    Path("tomograms.star").write_text(f"{SIZED}A a.mrc 2.5 4.0 63 57 49\n")
    entry = {"tomogram": "tomograms.star"}
    (of_list,) = load_config(settings(entry)).inputs
    assert of_list.centre == (6.125, 7.125, 7.875)
    (given,) = load_config(settings(entry | {"centre": [6, 7.5, 8]})).inputs
    assert given.centre == (6.0, 7.5, 8.0)
    assert given.facts() == of_list.facts()


@pytest.mark.parametrize("sizes", ["0 0 0", "N/A 57 49", "nan 57 49", "-1 57 49", "inf 57 49"])
def test_sizes_that_are_none_give_no_centre(place, sizes):
    write(place / "a.mrc")
    Path("tomograms.star").write_text(f"{SIZED}A a.mrc 2.5 4.0 {sizes}\n")
    assert load_config(settings({"tomogram": "tomograms.star"})).inputs[0].centre is None


def test_a_list_of_another_tomogram_is_doubted(place):
    write(place / "a.mrc")
    Path("tomograms.star").write_text(f"{SIZED}A a.mrc 2.5 8.0 126 114 147\n")
    config = settings({"tomogram": "tomograms.star"}, neighborhood_size=3, **ONE)
    size, warning = run_s1(config, quiet=True).warnings
    assert "the voxel size of tomograms.star is 20 x 20 x 20, but the file has 10 x" in size
    assert warning.startswith(
        "a.mrc: coordinates in STAR files count from voxel 9.1875 7.125 7.875 (z y x), which is not"
    )


# What picket_gpu wrote


@pytest.mark.parametrize("save", [["hdf5", "mrc"], ["zarr", "mrc"]])
def test_a_pattern_leaves_out_what_picket_gpu_wrote(place, capsys, save):
    """Whether results sort before or behind the tomograms."""
    for seed, name in enumerate(("tomo/a.mrc", "tomo/z.mrc", "tomo/segmentation_9_a_b.mrc")):
        write(place / name, seed)
    pattern = "**/*.[mzh]*"  # MRC, Zarr, HDF5
    config = settings({"tomogram": pattern}, **ONE, neighborhood_size=3, scores=True, save=save)
    config |= {"output_dir": ".", "dataset_name": "tomo"}
    Path("params.yaml").write_text(yaml.safe_dump(config))
    first = run_s1("params.yaml", quiet=True)
    inputs = [str(one.tomogram) for one in first]
    # It is called like an output, and is none.
    assert inputs == ["tomo/a.mrc", "tomo/segmentation_9_a_b.mrc", "tomo/z.mrc"]
    for _ in range(2):
        capsys.readouterr()
        assert main(["params.yaml"]) == 0
        output = capsys.readouterr().out
        assert "3 segmentations in tomo" in output
        assert output.count(": 1 segmentation, done earlier") == 3
    written = [*Path("tomo").glob("segmentation_[012]_*.[mzh]*")]
    assert len(written) == 3 * {"hdf5": 3, "zarr": 4}[save[0]]
    assert any(
        line.startswith(f"inputs[0].tomogram: left out {len(written)} files that picket_gpu wrote")
        for line in output.splitlines()
    )
    assert main(["params.yaml", "--dry-run"]) == 0
    assert "files that picket_gpu wrote, such as tomo/segmentation_0_" in capsys.readouterr().out


def test_a_file_that_picket_gpu_wrote_can_be_named(place):
    write(place / "a.mrc")
    run_s1(settings({"tomogram": "a.mrc"}, neighborhood_size=3, **ONE), quiet=True)
    mask = "out/set/segmentation_0_intensities_kmeans.mrc"
    config = load_config(settings({"tomogram": mask, "mask": mask}))
    assert [str(one.tomogram) for one in config.inputs] == [mask]
    with pytest.raises(
        PicketError,
        match=rf"^inputs\[0\]\.tomogram: out/set/\*\.mrc matches only a file that picket_gpu "
        rf"wrote, {mask}$",
    ):
        load_config(settings({"tomogram": "out/set/*.mrc"}))


def test_a_pattern_for_everything_leaves_out_all_files_of_a_run(place, capsys):
    """Tables, pages and records too, and the directory of the run."""
    write(place / "tomo/a.mrc", 1)
    noise = np.random.default_rng(2).random(SHAPE, dtype=np.float32)
    zarr.save_array(str(place / "tomo/b.zarr"), noise)
    particles = {"diameter": 60, "workflows": ["intensities-kmeans"], "formats": ["imod", "dynamo"]}
    one = ONE | {"report": True, "particles": particles, "neighborhood_size": 3}
    for pattern, directory in (
        ("tomo/**/*", "tomo/set"),
        ("tomo/*", "tomo/set"),
        ("tomo/*", "tomo"),
    ):
        config = settings({"tomogram": pattern, "voxel_size": 10.0}, **one)
        config |= {"output_dir": str(Path(directory).parent), "dataset_name": Path(directory).name}
        Path("params.yaml").write_text(yaml.safe_dump(config))
        for _ in range(2):
            assert main(["params.yaml"]) == 0
            output = capsys.readouterr().out
            assert "2 segmentations, " in output
        assert output.count("done earlier") == 2
        assert "that picket_gpu wrote" in output
        shutil.rmtree("tomo/set", ignore_errors=True)


def test_a_copy_of_a_segmentation_by_another_name_is_left_out(place):
    write(place / "a.mrc")
    run_s1(settings({"tomogram": "a.mrc"}, neighborhood_size=3, **ONE), quiet=True)
    mask = Path("out/set/segmentation_0_intensities_kmeans.mrc").read_bytes()
    Path("b.rec").write_bytes(mask)
    Path("c.mrc.gz").write_bytes(gzip.compress(mask))
    config = load_config(settings({"tomogram": "*.[mr]*"}))
    assert [str(one.tomogram) for one in config.inputs] == ["a.mrc"]
    assert config.notes == (
        "inputs[0].tomogram: left out 2 files that picket_gpu wrote, such as b.rec",
    )


@pytest.mark.parametrize("mask", ["data/{name}_mask.mrc", "data/TS_01_mask.mrc"])
@pytest.mark.parametrize("key", ["mask", "mask_for_fitting", "mask_for_output"])
def test_a_pattern_leaves_out_masks_beside_the_tomograms(place, mask, key):
    names = ["TS_01", "TS_02"]
    for name in names:
        write(place / f"data/{name}.mrc")
        if "{" in mask or name in mask:
            write(place / f"data/{name}_mask.mrc")
    config = load_config(settings({"tomogram": "data/*.mrc", key: mask}))
    assert [str(one.tomogram) for one in config.inputs] == [f"data/{name}.mrc" for name in names]
    count = len(list(Path("data").glob("*_mask.mrc")))
    files = "a file" if count == 1 else f"{count} files"
    (note,) = config.notes
    assert note.startswith(f"inputs[0].tomogram: left out {files} named as masks, ")
    assert note.endswith("data/TS_01_mask.mrc")


def test_directories_with_wildcards_in_their_names(place):
    """One that is there as it is written is meant, else what matches it."""
    write(place / "x[1]/TS_01.mrc")
    write(place / "x1/TS_02.mrc")
    write(place / "y1/TS_03.mrc")
    entries = [
        {"tomogram": "x[1]/TS_*.mrc", "name": "n{1}"},
        {"tomogram": str(place / "y[1]/*.mrc"), "name": "m{1}"},
    ]
    config = load_config(settings(*entries))
    found = [(str(one.tomogram), one.name) for one in config.inputs]
    assert found == [("x[1]/TS_01.mrc", "n01"), (str(place / "y1/TS_03.mrc"), "m1")]


def test_a_pattern_of_lists_is_refused(place):
    Path("a.star").write_text("data_\n")
    with pytest.raises(PicketError, match=r"\*\.star is a pattern of lists; name each in an entry"):
        load_config(settings({"tomogram": "*.star"}))


@pytest.mark.parametrize("key", ["tomogram", "mask"])
@pytest.mark.parametrize("options", [[], ["--overwrite"], ["--dry-run"]])
def test_an_input_with_the_name_of_an_output_is_never_replaced(place, capsys, key, options):
    place = Path("d/segmentation_0_intensities_kmeans.mrc")
    write(Path("a.mrc").absolute())
    write(place.absolute())
    entry = {"tomogram": "a.mrc"} | {key: str(place)}
    config = settings(entry, neighborhood_size=3, **ONE, save=["hdf5"])
    config |= {"output_dir": ".", "dataset_name": "d"}
    Path("params.yaml").write_text(yaml.safe_dump(config))
    before = place.read_bytes()
    assert main(["params.yaml", *options]) == 2
    assert capsys.readouterr().err == (
        f"error: {place}: is an input, and the run would replace it by a segmentation; change "
        "dataset_name, or move the file\n"
    )
    assert place.read_bytes() == before
    assert [one.name for one in Path("d").iterdir()] == [place.name]


SINGLE = "data_global\n_rlnTomoName TS_01\n_rlnTomoReconstructedTomogram rec.mrc\n{}"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (SINGLE.format("_rlnTomoTiltSeriesPixelSize 2.5 #\n_rlnTomoTomogramBinning 4\n"), 10.0),
        (SINGLE.format("\ndata_other\n_rlnTomoName B\n"), None),
        ("DATA_a\nLoop_\n_rlnTomoName\n_rlnTomoReconstructedTomogram\nTS_01 rec.mrc\n", None),
        ("data_a\nloop_\n_rlnTomoName\n_rlnTomoReconstructedTomogram\nTS_01 $REC/rec.mrc\n", None),
        ("data_a\nloop_\n_rlnTomoName\n_rlnTomoReconstructedTomogram\nTS_01 ~/rec.mrc\n", None),
    ],
)
def test_lists_that_other_programs_write(place, monkeypatch, text, size):
    monkeypatch.setenv("REC", str(place))
    monkeypatch.setenv("HOME", str(place))
    write(place / "rec.mrc")
    Path("a.star").write_text(text)
    (one,) = load_config(settings({"tomogram": "a.star"})).inputs
    assert (one.name, one.tomogram.absolute()) == ("TS_01", place / "rec.mrc")
    assert one.voxel_size == (None if size is None else (size, size, size))
    assert one.listed.fault is None


def test_a_variable_of_a_list_that_is_not_set_fails_alone(place, monkeypatch):
    monkeypatch.delenv("UNSET", raising=False)
    write(place / "rec.mrc")
    rows = "A $UNSET/rec.mrc\nB rec.mrc\n"
    Path("a.star").write_text(f"data_\nloop_\n_rlnTomoName\n_rlnTomoReconstructedTomogram\n{rows}")
    lost, found = load_config(settings({"tomogram": "a.star"})).inputs
    assert "A: $UNSET/rec.mrc was not found" in lost.listed.fault
    assert found.listed.fault is None


@pytest.mark.parametrize("size", ["1e40", "nan", "-2.5", "0", "1e-9", "N/A"])
def test_a_pixel_size_that_cannot_be_is_none(place, size):
    write(place / "rec.mrc")
    Path("a.star").write_text(
        SINGLE.format(f"_rlnTomoTiltSeriesPixelSize {size}\n_rlnTomoTomogramBinning 1\n")
    )
    (one,) = load_config(settings({"tomogram": "a.star"})).inputs
    assert one.voxel_size is None


def test_a_voxel_size_of_a_list_that_contradicts_the_file_is_told_as_such(place, capsys):
    write(place / "rec.mrc")
    Path("a.star").write_text(
        SINGLE.format("_rlnTomoTiltSeriesPixelSize 1.25\n_rlnTomoTomogramBinning 4\n")
    )
    told = {}
    for size in (None, 5.0):
        config = settings({"tomogram": "a.star"} | ({"voxel_size": size} if size else {}), **ONE)
        Path("params.yaml").write_text(yaml.safe_dump(config))
        assert main(["params.yaml", "--dry-run"]) == 0
        told[size] = capsys.readouterr().out
    contradiction = "is 5 x 5 x 5, but the file has 10 x 10 x 10 angstrom (z y x)"
    assert f"warning: rec.mrc: the voxel size of a.star {contradiction}" in told[None]
    assert f"warning: rec.mrc: voxel_size {contradiction}" in told[5.0]
