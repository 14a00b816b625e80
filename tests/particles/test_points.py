"""Lists of points, as this program and others write them, in voxels of a tomogram."""

import json
from pathlib import Path

import numpy as np
import pytest

from picket_gpu import PicketError
from picket_gpu.files.beads import write_beads
from picket_gpu.files.filenames import FURTHER, CopickNames, TomogramFiles
from picket_gpu.method.beads import Beads
from picket_gpu.particles.formats import FORMATS
from picket_gpu.particles.points import READERS, points_in, read_points
from tests.support.records import particles_of, picks_of, subject_of

SHAPE = (20, 31, 40)  # z, y, x
SIZE = (7.84, 10.0, 13.48)  # z, y, x
ORIGIN = (-11.5, 22.0, 33.25)  # x, y, z
VOXELS = np.array([[2.0, 3.0, 5.0], [19.25, 1 / 3, 38.7], [0.0, 30.0, 0.1]])  # z, y, x
ANGSTROM = (VOXELS * SIZE)[:, ::-1]  # x, y, z, from the centre of the first voxel


def tomogram(number=1, **changes):
    path = Path(f"TS_0{number}.mrc")
    fields = {"tomogram": path, "name": path.name, "index": number, "voxel_size": SIZE}
    return subject_of(SHAPE, **fields | {"origin": ORIGIN} | changes)


def found(subject, voxels=VOXELS):
    return particles_of(subject, picks_of(voxels), settings={"binning": 4})


def path_of(directory, kind):
    names = CopickNames(directory / "project", "TS_01", 13.48, "me", "{mode}-{method}", "particle")
    return TomogramFiles(directory, 1, ["copick"], names).particles("a", "b", None, FURTHER)[kind]


# The last digit that each format has, in voxels; markers have 0.001 angstrom.
@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("csv", 0),
        ("star", 0.51e-6),
        ("cmm", 0.51e-3 / 7.84),
        ("copick", 1e-12),
        ("warp", 0.51e-6),
        ("imod", 0.51e-3),
        ("dynamo", 0.51e-5),
    ],
)
def test_what_a_run_writes_comes_back(tmp_path, kind, error):
    path = path_of(tmp_path, kind)
    FORMATS[kind].write(path, [found(tomogram())])
    (read,) = read_points(path)
    assert read.name in (None, "TS_01", "TS_01.tomostar")
    points = points_in(path, tomogram())
    assert points.dtype == np.float64
    assert points.shape == (3, 3)
    assert np.abs(points - VOXELS).max() <= error


def test_the_centre_is_where_relion_has_it(tmp_path):
    """Of tomograms from RELION's list, a part of a voxel from half their number."""
    path, odd = path_of(tmp_path, "star"), tomogram(centre=(10.25, 15.375, 20.125))
    FORMATS["star"].write(path, [found(odd)])
    assert np.abs(points_in(path, odd) - VOXELS).max() < 1e-6
    # 0.25 x 7.84 angstrom of z, for one
    shift = points_in(path, tomogram()) - VOXELS
    np.testing.assert_allclose(shift, np.tile([-0.25, 0.125, -0.125], (3, 1)), atol=1e-6)


def test_every_format_of_points_but_yaml_is_read(tmp_path):
    endings = {path_of(tmp_path, kind).suffix for kind in FORMATS}
    assert endings - {".yaml", ".doc", ".npz"} <= READERS.keys()


@pytest.mark.parametrize("kind", ["csv", "star", "warp", "dynamo"])
def test_each_tomogram_of_a_dataset_gets_its_own(tmp_path, kind):
    lists = [found(tomogram(1)), found(tomogram(2), VOXELS[:1])]
    path = path_of(tmp_path, kind)
    FORMATS[kind].write(path, lists)
    if kind == "dynamo":
        FORMATS["dynamo tomograms"].write(path_of(tmp_path, "dynamo tomograms"), lists)
    assert [len(one.coordinates) for one in read_points(path)] == [3, 1]
    assert np.abs(points_in(path, tomogram(1)) - VOXELS).max() < 1e-5
    assert np.abs(points_in(path, tomogram(2)) - VOXELS[:1]).max() < 1e-5
    assert points_in(path, tomogram(3)).shape == (0, 3)


def test_relion4_needs_the_size_of_its_voxels(tmp_path):
    path = path_of(tmp_path, "relion4")
    cubic = tomogram(voxel_size=(10.0, 10.0, 10.0))
    FORMATS["relion4"].write(path, [found(cubic)])
    assert np.abs(points_in(path, cubic, voxel_size=2.5) - VOXELS).max() < 1e-6
    with pytest.raises(PicketError, match=r"2 of 3 points are outside TS_01\.mrc \(20 x 31 x 40"):
        points_in(path, cubic)


@pytest.mark.parametrize("scaled", [True, False])
def test_beads(tmp_path, scaled):
    size = {} if scaled else {"voxel_size": (0.0, 0.0, 0.0)}
    subject = tomogram(directory=tmp_path, **size)
    path = write_beads(subject, Beads(VOXELS, np.array([3.0, 2.0, 1.0])))
    assert (points_in(path, subject) == VOXELS).all()


def test_no_points(tmp_path):
    for kind in ("csv", "copick"):
        path = path_of(tmp_path, kind)
        FORMATS[kind].write(path, [found(tomogram(), np.empty((0, 3)))])
        assert points_in(path, tomogram()).shape == (0, 3)
    for name in ("a.ndjson", "a.txt", "a.tbl"):
        (tmp_path / name).write_text("")
        assert points_in(tmp_path / name, tomogram()).shape == (0, 3)


def read(directory, name, text, subject=None, **options):
    path = directory / name
    path.write_text(text)
    return points_in(path, subject or tomogram(), **options)


def star(names, *rows, block="particles"):
    head = [f"_{name} #{number}" for number, name in enumerate(names, 1)]
    lines = [" ".join(map(str, row)) for row in rows]
    return "\n".join([f"data_{block}", "", "loop_", *head, *lines, "", ""])


def xyz(name):
    return [name.format(axis) for axis in "XYZ"]


def test_relion5_of_others(tmp_path):
    """Half the number of voxels is the centre; shifts are subtracted (particle_set.cpp)."""
    middle = np.array([20, 15.5, 10])
    columns = [*xyz("rlnCenteredCoordinate{}Angst"), *xyz("rlnOrigin{}Angst"), "rlnTomoName"]
    centred = ANGSTROM - middle * SIZE[::-1]
    shift = np.array([1.0, -2.0, 3.0])
    rows = [[*(row + shift), *shift, "TS_01"] for row in centred]
    general = "data_general\n\n_rlnTomoSubTomosAre2DStacks 1\n\n"
    text = general + star(["rlnOpticsGroup"], [1], block="optics") + star(columns, *rows)
    assert np.abs(read(tmp_path, "a.star", text) - VOXELS).max() < 1e-9
    # Shifts of turned subtomograms are along their own axes.
    rows = [[*row, *shift, "TS_01", 30.0] for row in centred]
    text = star([*columns, "rlnTomoSubtomogramRot"], *rows)
    assert np.abs(read(tmp_path, "a.star", text) - VOXELS).max() < 1e-9


def test_relion4_of_others(tmp_path):
    """Its optics groups have the size of the unbinned voxels that coordinates count."""
    optics = star(
        ["rlnOpticsGroup", "rlnTomoTiltSeriesPixelSize", "rlnImagePixelSize"],
        *([1, 2.0, 8.0], [2, 4.0, 8.0]),
        block="optics",
    )
    columns = [*xyz("rlnCoordinate{}"), *xyz("rlnOrigin{}Angst"), "rlnTomoName", "rlnOpticsGroup"]
    shift = np.array([1.0, -2.0, 3.0])
    rows = [
        [*((row + shift) / size), *shift, "TS_01", group]
        for row, (group, size) in zip(ANGSTROM, [(1, 2), (2, 4), (1, 2)], strict=True)
    ]
    rows.append([0, 0, 0, 0, 0, 0, "TS_02", 1])
    assert np.abs(read(tmp_path, "a.star", optics + star(columns, *rows)) - VOXELS).max() < 1e-9


@pytest.mark.parametrize(
    ("columns", "values", "scale"),
    [
        ([], [], SIZE[::-1]),  # voxels of the tomogram, as its documentation has them
        (["rlnPixelSize"], [5.0], 5.0),
        (["rlnDetectorPixelSize"], [5.0], 5.0),
        (["rlnMagnification", "rlnDetectorPixelSize"], [20000.0, 10.0], 5.0),
    ],
)
def test_warp_of_others(tmp_path, columns, values, scale):
    names = [*xyz("rlnCoordinate{}"), "rlnMicrographName", *columns]
    rows = [[*row, "TS_01.tomostar", *values] for row in ANGSTROM / scale]
    text = star(names, *rows, block="")
    assert np.abs(read(tmp_path, "a.star", text) - VOXELS).max() < 1e-9
    by_path = text.replace("TS_01.tomostar", "../tomostar/TS_01.mrc")
    assert np.abs(read(tmp_path, "a.star", by_path) - VOXELS).max() < 1e-9


def test_shifts_of_relion3_are_in_voxels(tmp_path):
    names = [*xyz("rlnCoordinate{}"), *xyz("rlnOrigin{}")]
    shift = np.array([1.0, 2.0, 3.0])
    rows = [[*(row + shift), *shift] for row in VOXELS[:, ::-1]]
    assert np.abs(read(tmp_path, "a.star", star(names, *rows)) - VOXELS).max() < 1e-9


def test_chimerax(tmp_path):
    """A file with several sets; a map lies at its origin."""
    sets = [
        f'<marker_set name="marker set {number}">\n'
        f'<marker id="1" x="{x}" y="{y}" z="{z}" r="1" g="1" b="0" radius="9"/>\n'
        "</marker_set>"
        for number, (x, y, z) in enumerate(ANGSTROM + ORIGIN, 1)
    ]
    text = "<marker_sets>\n" + "\n".join(sets) + "\n</marker_sets>\n"
    assert np.abs(read(tmp_path, "a.cmm", text) - VOXELS).max() < 1e-9


# imodmodel writes with a method of pydantic that will go.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_model_of_imod(tmp_path):
    """The centre of the first voxel is at 0.5, 0.5, 0.0 (IMOD Binary File Format)."""
    imodmodel = pytest.importorskip("imodmodel")
    pandas = pytest.importorskip("pandas")
    points = VOXELS[:, ::-1] + [0.5, 0.5, 0]
    table = pandas.DataFrame(points, columns=[*"xyz"])
    table = table.assign(object_id=[0, 0, 1], contour_id=[0, 1, 0])
    imodmodel.write(table, tmp_path / "a.mod")
    assert np.abs(points_in(tmp_path / "a.mod", tomogram()) - VOXELS).max() < 1e-5  # float32
    (tmp_path / "a.mod").write_bytes((tmp_path / "a.mod").read_bytes()[:500])
    with pytest.raises(PicketError, match=r"a\.mod: cannot be read as a list of points"):
        read_points(tmp_path / "a.mod")


@pytest.mark.parametrize("before", ["", "1 ", "2 13 "])
def test_text_of_imod(tmp_path, before):
    rows = [before + " ".join(map(str, row)) for row in VOXELS[:, ::-1] + [0.5, 0.5, 0]]
    assert np.abs(read(tmp_path, "a.txt", "\n".join(rows)) - VOXELS).max() < 1e-9


@pytest.mark.parametrize("kind", ["point", "orientedPoint", "instancePoint"])
def test_the_data_portal(tmp_path, kind):
    lines = [
        json.dumps({"type": kind, "location": dict(zip("xyz", row, strict=True))})
        for row in VOXELS[:, ::-1].tolist()
    ]
    assert (read(tmp_path, "a.ndjson", "\n".join(lines) + "\n") == VOXELS).all()


def test_dynamo_of_others(tmp_path):
    """Pixels count from 1, shifts are added, and some columns have complex numbers."""
    shift = np.array([0.5, -0.25, 1.0])

    def row(number, place):
        columns = ["0"] * 35
        columns[0], columns[19], columns[27] = "1", str(number), "0+1.2i"
        columns[3:6] = map(str, shift)
        columns[23:26] = map(str, place[::-1] + 1 - shift)
        return " ".join(columns)

    text = "\n".join(row(7, place) for place in VOXELS)
    assert np.abs(read(tmp_path, "a.tbl", text) - VOXELS).max() < 1e-9
    text += "\n" + row(9, VOXELS[0])
    with pytest.raises(PicketError, match=r"numbers 2 tomograms, and neither a\.doc nor indices_c"):
        read(tmp_path, "a.tbl", text)
    (tmp_path / "indices_column20.doc").write_text("7 /data/TS_01.mrc\n9 /data/TS_02.mrc\n")
    assert np.abs(read(tmp_path, "a.tbl", text) - VOXELS).max() < 1e-9
    (tmp_path / "indices_column20.doc").write_text("7 /data/TS_01.mrc\n")
    with pytest.raises(PicketError, match=r"indices_column20\.doc does not name tomogram 9"):
        read(tmp_path, "a.tbl", text)


def test_tomograms_of_one_name_are_told_apart_by_their_paths(tmp_path):
    lists = [
        found(tomogram(number, tomogram=Path(f"{number}/tomo.mrc"), name=f"tomo {number}"), voxels)
        for number, voxels in ((1, VOXELS), (2, VOXELS[:1]))
    ]
    for kind in ("dynamo", "dynamo tomograms"):
        FORMATS[kind].write(path_of(tmp_path, kind), lists)
    for one in lists:
        points = points_in(path_of(tmp_path, "dynamo"), one)
        assert np.abs(points - one.coordinates).max() < 1e-5


def test_a_tomogram_without_voxel_size_takes_voxels_alone(tmp_path):
    unscaled = tomogram(voxel_size=(0.0, 0.0, 0.0))
    assert read(tmp_path, "a.csv", "x,y,z\n5,3,2\n", unscaled).tolist() == [[2, 3, 5]]
    with pytest.raises(PicketError, match=r"TS_01\.mrc: voxel size is unknown, .* set voxel_size"):
        read(tmp_path, "a.csv", "x_angstrom,y_angstrom,z_angstrom\n5,3,2\n", unscaled)


def test_one_point_outside_is_no_fault(tmp_path):
    text = "x,y,z\n5,3,2\n6,3,2\n5,3,-4\n"
    assert len(read(tmp_path, "a.csv", text)) == 3


POINT = '{"location": {"x": 1, "y": 2, "z": 3}}'


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.csv", "", "it has no columns x, y, z, nor x_angstrom, y_angstrom, z_angstrom"),
        ("a.csv", "x,y,Z,d\n1,2,3,4\n", "no columns z, nor .*; columns found: x, y, Z, d"),
        ("a.csv", "x,y,z\n1,2\n", "cannot be read"),
        ("a.csv", "x,y,z\n1,2,a\n", "could not convert"),
        ("a.csv", "x,y,z\n1,2,nan\n", "a coordinate is not a finite number"),
        ("a.star", "", "no columns rlnCenteredCoordinateXAngst, .*; columns found: none"),
        (
            "a.star",
            star(["rlnCoordinateX", "rlnCoordinateY"], [1, 2]),
            "nor rlnCoordinateX, .*, rlnCoordinateZ; columns found: rlnCoordinateX, rlnCoordinateY",
        ),
        (
            "a.star",
            star([*xyz("rlnCoordinate{}"), *xyz("rlnOrigin{}Angst")], [1, 2, 3, 1, 0, 0]),
            "rlnOriginXAngst is in angstrom and .* add a column rlnPixelSize",
        ),
        (
            "a.star",
            star([*xyz("rlnCoordinate{}"), "rlnPixelSize"], [1, 2, 3, 0]),
            "rlnPixelSize must be above 0",
        ),
        ("a.cmm", "", "cannot be read"),
        ("a.cmm", '<marker_set><marker id="1" x="1" y="2"/></marker_set>', "'z'"),
        ("a.txt", "1 2\n", "lines must be x y z"),
        ("a.txt", "1 2 3\n1 2 3 4\n", "lines must be x y z"),
        ("a.txt", "x y z\n", "could not convert"),
        ("a.json", '{"points": [{"location": {"x": 1}}]}', "'y'"),
        ("a.json", '{"points": [], "unit": "pixel"}', "unit must be angstrom .got 'pixel'"),
        ("a.json", "[1]", "cannot be read"),
        ("a.json", "{", "cannot be read"),
        ("a.ndjson", f"{POINT}\n{POINT[:-1]}\n", "cannot be read"),
        ("a.ndjson", "3\n", "cannot be read"),
        ("a.tbl", "1 2 3\n", "a row has less than 26 columns"),
        ("a.pos", "1 2 3\n", r"unknown format of points; its name must end with \.csv, \.star"),
        ("none.csv", None, "no such file; name an existing list of points"),
    ],
)
def test_faults_are_told_in_a_line(tmp_path, name, text, told):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(PicketError, match=told) as caught:
        points_in(path, tomogram())
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert len(message.splitlines()) == 1


def test_binary_files_are_refused(tmp_path):
    for ending in READERS:
        path = tmp_path / f"a{ending}"
        path.write_bytes(bytes(range(256)) * 3)
        with pytest.raises(PicketError, match=r"a\.\w+: "):
            read_points(path)


@pytest.mark.parametrize("name", ["nan", "NA", "1e5"])
def test_a_tomogram_whose_name_reads_as_a_number_in_a_star_file(tmp_path, name):
    columns = "\n".join(f"_rlnCoordinate{axis}" for axis in "XYZ")
    path = tmp_path / "a.star"
    path.write_text(f"data_\nloop_\n_rlnTomoName\n{columns}\n{name} 1 2 3\n{name} 4 5 6\n")
    (one,) = read_points(path)
    assert one.name == name
    assert one.names == {name}
