"""Files of coordinates, as their readers see them."""

import csv
import json
import os
import resource
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import get_args
from xml.etree import ElementTree

import mrcfile
import numpy as np
import pytest
import starfile
import yaml

from picket_gpu import PicketError
from picket_gpu.files.filenames import FURTHER, CopickNames, TomogramFiles
from picket_gpu.files.tomogram import read_header
from picket_gpu.particles.files import describe, write_particles
from picket_gpu.particles.formats import FORMATS
from picket_gpu.particles.formats.cmm import CMM
from picket_gpu.particles.formats.csv import CSV
from picket_gpu.particles.formats.star import STAR
from picket_gpu.particles.formats.yaml import YAML
from picket_gpu.particles.picks import Picks
from picket_gpu.particles.settings import ParticleSettings
from picket_gpu.particles.star_table import MOST_THRESHOLDS
from tests.support.records import particles_of, subject_of, with_picks

SHAPE = (20, 31, 40)  # z, y, x
SIZE = (7.84, 10.0, 13.48)  # z, y, x
ORIGIN = (-11.5, 22.0, 33.25)  # x, y, z
COORDINATES = np.array([[2.0, 3.0, 5.0], [19.25, 1 / 3, 38.7], [0.0, 30.0, 0.1]])  # z, y, x
HEIGHTS = np.array([0.91, 2 / 3, 0.5, 0.1])
CSV_COLUMNS = ["x_angstrom", "y_angstrom", "z_angstrom", "score", "x", "y", "z"]
CENTRED = [f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ"]
COLUMNS = [*CENTRED, "rlnAutopickFigureOfMerit", "rlnTomoName"]
KINDS = sorted(FORMATS)


def picks_of(coordinates, heights=HEIGHTS):
    """Picks, and one candidate more that no file may have."""
    candidates = np.vstack([coordinates, [[9.0, 9.0, 9.0]]])
    count = len(coordinates)
    return Picks(candidates, heights[: count + 1], 0.3, count)


TOMOGRAM = subject_of(
    SHAPE, tomogram=Path("TS_01.mrc"), name="TS_01.mrc", voxel_size=SIZE, origin=ORIGIN
)
SETTINGS = {"diameter": 260.0, "formats": ["relion4"], "binning": 4}
FOUND = particles_of(TOMOGRAM, picks_of(COORDINATES), settings=SETTINGS)
NONE = with_picks(FOUND, picks_of(np.empty((0, 3))))
OTHER = with_picks(
    FOUND.model_copy(update={"tomogram": Path("TS_02.mrc"), "name": "TS_02.mrc", "index": 4}),
    picks_of(np.array([[1.0, 2.0, 3.0]])),
)


def changed(**fields):
    return FOUND.model_copy(update=fields)


def path_of(directory, kind):
    names = CopickNames(directory / "project", "TS_01", 10.0, "me", "{mode}-{method}", "particle")
    return TomogramFiles(directory, 3, ["copick"], names).particles("gabor", "gmm", None, FURTHER)[
        kind
    ]


def written(directory, kind, particles=FOUND):
    path = path_of(directory, kind)
    FORMATS[kind].write(path, [particles])
    return path


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def read_star(path):
    return starfile.read(path, always_dict=True, parse_as_string=["rlnTomoName"])


def test_csv(tmp_path):
    path = written(tmp_path, "csv")
    assert path.read_text().splitlines()[0] == "x_angstrom,y_angstrom,z_angstrom,score,x,y,z"
    rows = read_csv(path)
    assert len(rows) == 3
    for row, (z, y, x), height in zip(rows, COORDINATES, HEIGHTS, strict=False):
        # To the last bit.
        assert [float(row[axis]) for axis in "xyz"] == [x, y, z]
        assert float(row["score"]) == height
        angstrom = [float(row[f"{axis}_angstrom"]) for axis in "xyz"]
        assert angstrom == pytest.approx([-11.5 + 13.48 * x, 22 + 10 * y, 33.25 + 7.84 * z])
    assert float(rows[0]["x_angstrom"]) == pytest.approx(55.9)


def test_csv_of_several_names_the_tomogram_first(tmp_path):
    CSV.write(tmp_path / "all.csv", [FOUND, NONE, OTHER])
    rows = read_csv(tmp_path / "all.csv")
    assert list(rows[0]) == ["tomogram", *CSV_COLUMNS]
    assert [row.pop("tomogram") for row in rows] == ["TS_01"] * 3 + ["TS_02"]
    assert rows[:3] == read_csv(written(tmp_path, "csv"))
    assert [rows[3][axis] for axis in "xyz"] == ["3.0", "2.0", "1.0"]
    CSV.write(tmp_path / "one.csv", [OTHER], named=True)
    assert read_csv(tmp_path / "one.csv") == [{"tomogram": "TS_02"} | rows[3]]


def test_csv_of_several_has_sizes_where_one_has_them(tmp_path):
    own = replace(picks_of(np.array([[1.0, 2.0, 3.0]])), candidate_diameters=np.array([90.0, 1.0]))
    CSV.write(tmp_path / "all.csv", [with_picks(FOUND, own), FOUND])
    rows = read_csv(tmp_path / "all.csv")
    assert [float(row["diameter_angstrom"]) for row in rows] == [90, 260, 260, 260]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not FORMATS[kind].several])
def test_a_format_of_one_tomogram_takes_no_more(tmp_path, kind):
    with pytest.raises(ValueError, match="too many values"):
        FORMATS[kind].write(path_of(tmp_path, kind), [FOUND, OTHER])
    assert list(tmp_path.iterdir()) == []


def test_star(tmp_path):
    blocks = read_star(written(tmp_path, "star"))
    assert list(blocks) == ["particles"]  # Import reads the first
    table = blocks["particles"]
    assert list(table.columns) == COLUMNS
    assert set(table["rlnTomoName"]) == {"TS_01"}
    half = np.array([10, 15.5, 20])
    expected = ((COORDINATES - half) * SIZE)[:, ::-1]
    assert np.abs(table[CENTRED].to_numpy() - expected).max() <= 0.51e-6
    assert np.abs(table["rlnAutopickFigureOfMerit"] - HEIGHTS[:3]).max() <= 0.51e-6


@pytest.mark.parametrize(("size", "binning"), [(200, 4), (202, 2), (201, 1), (66, 6)])
def test_relion_finds_the_voxel_that_was_picked(tmp_path, size, binning):
    """A worked example, by RELION 5's own steps.

    It reconstructs a voxel at ``binning`` times its number, from 0 (reconstruct_tomogram.cpp), and
    extracts at the coordinate by the pixel size plus half the unbinned size (particle_set.cpp).
    """
    pixel, unbinned = 1.35, size * binning
    voxel = np.array([[0.0, size // 2, size - 1.0]])
    particles = changed(
        picks=picks_of(voxel),
        shape=(size, size, size),
        voxel_size=(pixel * binning,) * 3,
    )
    table = read_star(written(tmp_path, "star", particles))["particles"]
    (extracted,) = table[CENTRED].to_numpy() / pixel + unbinned / 2
    assert extracted == pytest.approx(voxel[0, ::-1] * binning, abs=1e-5)
    middle = table["rlnCenteredCoordinateYAngst"][0]
    assert middle == pytest.approx(0 if size % 2 == 0 else -pixel * binning / 2, abs=1e-5)


@pytest.mark.parametrize(("unbinned", "binning"), [(175, 4), (158, 4), (97, 4), (4000, 7.4)])
def test_relion_finds_it_where_binning_rounded(tmp_path, unbinned, binning):
    """The same, with the size in RELION's list; without, it is off by half of what was rounded."""
    pixel, size = 2.5, round(unbinned / binning)
    voxel = np.array([[0.0, size // 2, size - 1.0]])
    plain = changed(picks=picks_of(voxel), shape=(size,) * 3, voxel_size=(pixel * binning,) * 3)
    for centre, off in (
        ((unbinned / 2 / binning,) * 3, 0),
        (None, (unbinned - size * binning) / 2),
    ):
        particles = plain.model_copy(update={"centre": centre})
        table = read_star(written(tmp_path, "star", particles))["particles"]
        (extracted,) = table[CENTRED].to_numpy() / pixel + unbinned / 2
        assert extracted == pytest.approx(voxel[0, ::-1] * binning + off, abs=1e-5)


@pytest.mark.parametrize("name", ["01", "a b", "Größe", "1e3", "data_1", "_a"])
def test_a_name_of_a_tomogram_is_the_same_in_star(tmp_path, name):
    path = written(tmp_path, "star", changed(name=name))
    table = read_star(path)["particles"]
    assert list(table["rlnTomoName"]) == [name] * 3
    assert table["rlnAutopickFigureOfMerit"][2] == 0.5


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("", "no letters"),
        (" a", "a space at its start"),
        ("a  b", "two spaces in a row"),
        ("a#b", "the character #"),
        ('a"', 'the character "'),
        ("it's", "the character '"),
        ("a\tb", "a tab"),
        ("a\nb", "a blank that is no space"),
    ],
)
def test_a_name_that_no_star_file_can_hold_is_told(tmp_path, name, fault):
    with pytest.raises(PicketError, match=rf"gmm\.star: the name .* has {fault}.*; set another"):
        written(tmp_path, "star", changed(name=name))
    assert list(tmp_path.iterdir()) == []


def test_star_of_several_is_one_table(tmp_path):
    STAR.write(tmp_path / "all.star", [FOUND, NONE, OTHER])
    blocks = read_star(tmp_path / "all.star")
    assert list(blocks) == ["particles"]
    assert list(blocks["particles"]["rlnTomoName"]) == ["TS_01"] * 3 + ["TS_02"]
    for rows, particles in ((slice(3), FOUND), (slice(3, 4), OTHER)):
        alone = read_star(written(tmp_path, "star", particles))["particles"]
        assert (blocks["particles"][rows].to_numpy() == alone.to_numpy()).all()


def head(path):
    """The comments at the top, up to the table."""
    return path.read_text().split("data_particles")[0].rstrip().splitlines()


def test_star_says_how_it_was_made(tmp_path):
    release = version("picket-gpu")
    assert head(written(tmp_path, "star")) == [
        f"# picket_gpu {release}: gabor-gmm, dataset set",
        '# particles: {"diameter": 260.0, "formats": ["relion4"], "binning": 4}',
        "# threshold 0.3",
    ]
    # RELION looks for data_ and Warp for loop_, also in comments.
    path = written(tmp_path, "star", changed(dataset_name="data_1 loop_\n_a", settings={}))
    told = [f"# picket_gpu {release}: gabor-gmm, dataset data-1 loop-\\n_a", "# threshold 0.3"]
    assert head(path) == told
    assert len(read_star(path)["particles"]) == 3


def test_star_of_several_tells_their_thresholds(tmp_path):
    def thresholds(values):
        lists = [
            changed(name=f"T{number}", picks=replace(FOUND.picks, threshold=value))
            for number, value in enumerate(values)
        ]
        STAR.write(tmp_path / "all.star", lists)
        return head(tmp_path / "all.star")[2]

    assert thresholds([0.087, 0.087]) == "# threshold 0.087"
    assert thresholds([0.25, 0.125]) == "# thresholds 0.25 (T0), 0.125 (T1)"
    many = [0.5, -0.25, *[0.0] * MOST_THRESHOLDS]
    assert thresholds(many) == f"# thresholds -0.25 to 0.5 ({len(many)} tomograms)"


VOXELS = ["rlnCoordinateX", "rlnCoordinateY", "rlnCoordinateZ"]
SCORE = "rlnAutopickFigureOfMerit"


def test_warp(tmp_path):
    path = tmp_path / "all.warp.star"
    named = OTHER.model_copy(update={"name": "TS_02.tomostar"})
    FORMATS["warp"].write(path, [FOUND, named])
    blocks = starfile.read(path, always_dict=True)
    assert list(blocks) == ["particles"]  # WarpTools reads the first
    table = blocks["particles"]
    assert list(table.columns) == [*VOXELS, SCORE, "rlnMicrographName"]
    assert list(table["rlnMicrographName"]) == ["TS_01.tomostar"] * 3 + ["TS_02.tomostar"]
    # Voxels of the tomogram, 0 at the centre of the first; WarpTools multiplies by its option.
    expected = np.vstack([COORDINATES, [[1, 2, 3]]])[:, ::-1]
    assert np.abs(table[VOXELS].to_numpy() - expected).max() <= 0.51e-6
    assert head(path)[-1] == "# coordinates in voxels: --coords_angpix 13.48"


def test_relion4(tmp_path):
    path = written(tmp_path, "relion4")
    table = read_star(path)["particles"]
    assert list(table.columns) == [*VOXELS, SCORE, "rlnTomoName"]
    assert list(table["rlnTomoName"]) == ["TS_01"] * 3
    assert np.abs(table[VOXELS].to_numpy() - COORDINATES[:, ::-1] * 4).max() <= 0.51e-6
    assert head(path)[-1] == "# coordinates in unbinned voxels, with binning 4"
    with pytest.raises(PicketError, match=r"relion4\.star: .* set binning in particles"):
        FORMATS["relion4"].write(path, [changed(settings={"diameter": 260.0})])


def test_imod(tmp_path):
    """The centre of the first voxel is at 0.5, 0.5, 0.0 (IMOD Binary File Format)."""
    lines = written(tmp_path, "imod").read_text().splitlines()
    assert lines == ["5.500 3.500 2.000", "39.200 0.833 19.250", "0.600 30.500 0.000"]


def test_dynamo(tmp_path):
    dynamotable = pytest.importorskip("dynamotable")
    table, tomograms = tmp_path / "all.tbl", tmp_path / "all.doc"
    for kind, path in (("dynamo", table), ("dynamo tomograms", tomograms)):
        FORMATS[kind].write(path, [FOUND, OTHER])
    read = dynamotable.read(table, tomograms)
    assert list(read["tag"]) == [1, 2, 3, 4]
    assert list(read["tomo"]) == [1, 1, 1, 5]  # inputs 0 and 4
    names = [str(Path(name).absolute()) for name in ["TS_01.mrc"] * 3 + ["TS_02.mrc"]]
    assert list(read["tomo_file"]) == names
    # Pixels are counted from 1.
    expected = np.vstack([COORDINATES, [[1, 2, 3]]])[:, ::-1] + 1
    assert np.abs(read[["x", "y", "z"]].to_numpy() - expected).max() < 1e-5
    assert read["cc"].to_numpy() == pytest.approx([*HEIGHTS[:3], HEIGHTS[0]])
    assert set(read["aligned_value"]) == {1}
    assert set(read["apix"]) == {13.48}
    angles = read[["dx", "dy", "dz", "tdrot", "tilt", "narot", "ftype"]]
    assert (angles.to_numpy() == 0).all()


def test_star_comes_back(tmp_path):
    name, centred, scores = STAR.read(written(tmp_path, "star", changed(name="a b")))
    assert name == "a b"
    half = np.array([10, 15.5, 20])
    assert np.abs(centred - ((COORDINATES - half) * SIZE)[:, ::-1]).max() <= 0.51e-6
    assert np.abs(scores - HEIGHTS[:3]).max() <= 0.51e-6
    name, centred, scores = STAR.read(written(tmp_path, "star", NONE))
    assert (name, centred.shape, scores.shape) == (None, (0, 3), (0,))


@pytest.mark.parametrize(
    ("before", "after", "error"),
    [
        ("data_particles", "data_other", KeyError),
        ("_rlnAutopickFigureOfMerit", "_rlnOther", KeyError),
        ("TS_01\n", "TS_02\n", ValueError),  # in one row
    ],
)
def test_star_of_others_is_refused(tmp_path, before, after, error):
    path = written(tmp_path, "star")
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    with pytest.raises(error):
        STAR.read(path)


def test_csv_comes_back_to_the_last_bit(tmp_path):
    table = CSV.read(written(tmp_path, "csv"))
    assert (table[:, 4:] == COORDINATES[:, ::-1]).all()
    assert (table[:, 3] == HEIGHTS[:3]).all()
    assert (table[:, :3] == FOUND.positions()).all()
    assert CSV.read(written(tmp_path, "csv", NONE)).shape == (0, 7)


def test_cmm_comes_back(tmp_path):
    assert CMM.read(written(tmp_path, "cmm")) == ("TS_01", 260.0)
    assert CMM.read(written(tmp_path, "cmm", NONE)) == ("TS_01", 0.0)


def test_metadata_of_yaml_come_back(tmp_path):
    ours = {
        "particles_fingerprint": FOUND.fingerprint,
        "particles_source": "tomogram",
        "particles_threshold": 0.3,
        "particles_candidates": 4,
        "particles_picked": 3,
        "particles_label": 1,
        "particles_settings": '{"diameter":260.0}',
    }
    attributes = {"dataset_name": "a set", "particles_settings": ours["particles_settings"]}
    path = written(tmp_path, "yaml", changed(attributes=attributes, source="tomogram"))
    assert YAML.read_metadata(path) == {name: str(value) for name, value in ours.items()}
    assert YAML.read_metadata(written(tmp_path, "csv")) == {}
    assert YAML.read_metadata(tmp_path / "missing.yaml") == {}
    path.write_bytes(b"\xff\xfe")
    assert YAML.read_metadata(path) == {}


def test_cmm(tmp_path):
    particles = changed(name='a<b> & "c" ü\x01')
    root = ElementTree.parse(written(tmp_path, "cmm", particles)).getroot()
    assert (root.tag, root.get("name")) == ("marker_set", 'a<b> & "c" ü\\x01')
    assert [marker.tag for marker in root] == ["marker"] * 3
    assert [int(marker.get("id")) for marker in root] == [1, 2, 3]
    for marker, (z, y, x), height in zip(root, COORDINATES, HEIGHTS, strict=False):
        place = [float(marker.get(axis)) for axis in "xyz"]
        assert place == pytest.approx(
            [-11.5 + 13.48 * x, 22 + 10 * y, 33.25 + 7.84 * z], abs=0.51e-3
        )
        assert float(marker.get("radius")) == 130
        assert float(marker.get("score")) == pytest.approx(height, abs=0.51e-6)
        assert all(0 <= float(marker.get(colour)) <= 1 for colour in "rgb")


@pytest.mark.parametrize("origin", [(-11.5, 22.0, 33.25), (0, 0, 0)])
def test_markers_lie_where_a_map_is_shown(tmp_path, origin):
    """ChimeraX places a map by its origin, or by nstart where that is 0 (its mrc_format.py)."""
    with mrcfile.new(tmp_path / "a.mrc") as mrc:
        mrc.set_data(np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE))
        mrc.voxel_size = SIZE[::-1]
        mrc.header.origin = origin
        mrc.nstart = (3, -4, 5)  # x, y, z
    header = read_header(tmp_path / "a.mrc")
    particles = changed(voxel_size=header.voxel_size, origin=header.place)
    (marker, *_) = ElementTree.parse(written(tmp_path, "cmm", particles)).getroot()
    start = origin if any(origin) else (3 * 13.48, -4 * 10, 5 * 7.84)
    expected = np.array(start) + np.array([13.48, 10, 7.84]) * [5, 3, 2]
    assert [float(marker.get(axis)) for axis in "xyz"] == pytest.approx(expected, abs=2e-3)


def test_yaml(tmp_path):
    attributes = {
        "dataset_name": "set",
        "tomogram_path": Path("/data/vol.mrc"),
        "tomogram_shape": np.array(SHAPE),
        "voxel_size": tuple(np.float32([7.5, 10, 13.5])),
        "z_lb_for_clusterer_fitting": None,
        "fex_mode": "gabor",
        "particle_cluster_id": np.int64(1),
        "clip": 4.5,
    }
    content = yaml.safe_load(written(tmp_path, "yaml", changed(attributes=attributes)).read_text())
    assert list(content) == ["Predicted_Particle_Centroid_Coordinates", "metadata"]
    assert content["Predicted_Particle_Centroid_Coordinates"] == [
        {"x": 5, "y": 3, "z": 2},
        {"x": 39, "y": 0, "z": 19},
        {"x": 0, "y": 30, "z": 0},
    ]
    assert content["metadata"] == {
        "dataset_name": "set",
        "tomogram_path": "/data/vol.mrc",
        "tomogram_shape": [20, 31, 40],
        "voxel_size": [7.5, 10, 13.5],
        "z_lb_for_clusterer_fitting": "None",
        "fex_mode": "gabor",
        "particle_cluster_id": 1,
        "clip": 4.5,
        "z_lb_for_particle_extraction": "None",
        "z_ub_for_particle_extraction": "None",
        "pex_mode": "None",
        "pex_min_distance": "None",
        "time_taken_for_s2": "None",
        "timestamp_s2": "None",
        "particles_fingerprint": FOUND.fingerprint,
        "particles_source": "",
        "particles_threshold": 0.3,
        "particles_candidates": 4,
        "particles_picked": 3,
        "particles_label": 1,
    }


def test_no_voxel_in_yaml_is_outside(tmp_path):
    """A maximum in the last voxel of an axis may lie half a voxel further."""
    edges = picks_of(np.array([[-0.5, -0.4, 39.5], [19.5, 30.5, 40.0]]))
    content = yaml.safe_load(written(tmp_path, "yaml", with_picks(FOUND, edges)).read_text())
    assert content["Predicted_Particle_Centroid_Coordinates"] == [
        {"x": 39, "y": 0, "z": 0},
        {"x": 39, "y": 30, "z": 19},
    ]


def test_picks_lie_where_copick_has_them(tmp_path):
    path = written(tmp_path, "copick")
    assert path == tmp_path / "project/ExperimentRuns/TS_01/Picks/me_gabor-gmm_particle.json"
    content = json.loads(path.read_text())
    points = content.pop("points")
    assert content == {
        "pickable_object_name": "particle",
        "user_id": "me",
        "session_id": "gabor-gmm",
        "run_name": "TS_01",
        "voxel_spacing": SIZE[2],
        "unit": "angstrom",
        "trust_orientation": False,
    }
    locations = [[point["location"][axis] for axis in "xyz"] for point in points]
    assert np.array(locations) == pytest.approx(COORDINATES[:, ::-1] * [13.48, 10, 7.84])
    assert [point["score"] for point in points] == HEIGHTS[:3].tolist()


COPICK = os.environ.get("PICKET_COPICK_PYTHON")
READ = """
import json, sys
import copick, starfile
from copick.util.formats import relion_coordinates_to_angstrom
project, star, *centre = sys.argv[1:]
root = copick.from_file(project)
(picks,) = root.get_run("TS_01").picks
points, turns = picks.numpy()
table = starfile.read(star, always_dict=True)["particles"]
centre = tuple(map(float, centre))
print(json.dumps({
    "objects": [o.name for o in root.pickable_objects], "object": picks.pickable_object_name,
    "user": picks.user_id, "session": picks.session_id, "points": points.tolist(),
    "turned": bool((turns != [[[i == j for i in range(4)] for j in range(4)]]).any()),
    "scores": [point.score for point in picks.points],
    "star": relion_coordinates_to_angstrom(table, tomogram_center=centre).tolist(),
}))
"""


@pytest.mark.skipif(COPICK is None, reason="PICKET_COPICK_PYTHON names no Python with copick")
def test_copick_reads_its_picks_and_the_same_from_star(tmp_path):
    written(tmp_path, "copick")
    centre = [str(n * size / 2) for n, size in zip(SHAPE[::-1], SIZE[::-1], strict=True)]
    arguments = [tmp_path / "project/copick.json", written(tmp_path, "star"), *centre]
    command = [COPICK, "-W", "ignore", "-c", READ, *map(str, arguments)]
    process = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    told = json.loads(process.stdout.splitlines()[-1])
    assert (told["user"], told["session"]) == ("me", "gabor-gmm")
    assert (told["objects"], told["object"]) == (["particle"], "particle")
    assert not told["turned"]
    assert told["scores"] == HEIGHTS[:3].tolist()
    expected = COORDINATES[:, ::-1] * [13.48, 10, 7.84]
    assert np.array(told["points"]) == pytest.approx(expected, abs=1e-12)
    assert np.array(told["star"]) == pytest.approx(expected, abs=1e-6)


def test_without_picks_only_files_that_say_so_are_written(tmp_path):
    paths = {kind: path_of(tmp_path, kind) for kind in KINDS}
    for path in paths.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("of an earlier picking")
    write_particles(paths, NONE)
    assert {kind for kind, path in paths.items() if path.exists()} == {
        "csv",
        "yaml",
        "copick",
        "candidates",
    }
    assert paths["csv"].read_text() == "x_angstrom,y_angstrom,z_angstrom,score,x,y,z\n"
    content = yaml.safe_load(paths["yaml"].read_text())
    assert content["Predicted_Particle_Centroid_Coordinates"] == []
    assert json.loads(paths["copick"].read_text())["points"] == []


@contextmanager
def files_end_at(size):
    """As on a disk that fills up: a write beyond so many bytes is an OSError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("before", [None, "before"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_interrupted_leaves_what_was_there(tmp_path, kind, before):
    path = path_of(tmp_path, kind)
    if before is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(before)
    with pytest.raises(OSError, match="larger than allowed"), files_end_at(5):
        FORMATS[kind].write(path, [FOUND])
    left = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert [file.read_text() for file in left] == ([] if before is None else [before])


def test_no_two_results_share_a_name(tmp_path):
    modes, methods = ("ffts", "gabor", "intensities", "tomogram"), ("kmeans", "gmm", "ball")
    paths = []
    for index in (0, 1, 10):
        names = CopickNames(
            tmp_path / "project", f"TS_{index}", 10.0, "me", "{method}.{mode}", "particle"
        )
        files = TomogramFiles(tmp_path, index, ["hdf5", "copick"], names)
        for mode in modes:
            for method in methods:
                paths += files.of(mode, method).values()
                for picking in (None, "components", "watershed", "shells"):
                    new = files.particles(mode, method, picking, FURTHER)
                    assert {*new} == {*FORMATS}
                    paths += new.values()
    assert len({str(path).lower() for path in paths}) == len(paths)


def test_each_further_format_can_be_asked_for():
    (names,) = get_args(get_args(ParticleSettings.model_fields["formats"].annotation)[0])
    assert {*get_args(names)} == {*FURTHER}


def test_no_wildcard_for_one_format_finds_another(tmp_path):
    for kind in KINDS:
        written(tmp_path, kind)
    assert [path.name for path in tmp_path.glob("particles_*_gabor_gmm.star")] == [
        "particles_3_gabor_gmm.star"
    ]


def test_what_was_picked_is_told_with_the_files_that_there_are(tmp_path):
    files = {kind: path_of(tmp_path, kind) for kind in ("csv", "star", "copick", "warp", "imod")}
    assert describe(files, 2, 0.5, 9, False) == (
        f"{files['csv']} (.star, .json, .warp.star, .imod.txt): 2 particles from 9 candidates, "
        "threshold 0.500"
    )
    assert describe(files, 0, 0.5, 9, False) == (
        f"{files['csv']} (.json): 0 particles from 9 candidates, threshold 0.500"
    )


def test_names(tmp_path):
    files = TomogramFiles(tmp_path, 3, ["hdf5"])
    names = [path.name for path in files.particles("gabor", "gmm").values()]
    assert names == [
        f"particles_3_gabor_gmm{ending}" for ending in (".csv", ".star", ".cmm", ".yaml", ".npz")
    ]
    names = [path.name for path in files.particles("gabor", "gmm", None, FURTHER).values()][4:-1]
    endings = (".warp.star", ".relion4.star", ".imod.txt", ".tbl", ".doc")
    assert names == [f"particles_3_gabor_gmm{ending}" for ending in endings]
    assert files.particles("ffts", "kmeans", "watershed")["csv"] == (
        tmp_path / "particles_3_ffts_kmeans_watershed.csv"
    )


@pytest.mark.parametrize("part", ["", "a_b", "a-b", "../a"])
def test_a_part_of_a_name_is_letters_and_digits(tmp_path, part):
    files = TomogramFiles(tmp_path, 0, [])
    with pytest.raises(ValueError, match="letters and digits only"):
        files.particles("gabor", "gmm", part)
