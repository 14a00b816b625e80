"""Particles in napari."""

import shutil

import mrcfile
import numpy as np
import pytest

from picket_gpu import PicketError, run_s1
from picket_gpu.particles.formats.csv import CSV
from picket_gpu.view import add_layers, layers
from picket_gpu.view import main as view

SHAPE = (16, 30, 36)  # z, y, x
SIZE = (13.0, 10.0, 8.0)  # angstrom, z, y, x
ORIGIN = (-11.5, 22.0, 33.25)  # angstrom, x, y, z
CENTRES = np.array([[5, 8, 9], [9, 20, 26]])  # z, y, x
DIAMETER = 80.0
NAME = "particles_0_intensities_gmm"

# napari's own warnings.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Directory of a run over two balls in noise, picked from both workflows."""
    directory = tmp_path_factory.mktemp("run")
    data = np.random.default_rng(0).normal(0, 1, SHAPE).astype(np.float32)
    for centre in CENTRES:
        offsets = [np.arange(n) - c for n, c in zip(SHAPE, centre, strict=True)]
        zyx = np.meshgrid(*(d * s for d, s in zip(offsets, SIZE, strict=True)), indexing="ij")
        data[sum(d**2 for d in zyx) <= (DIAMETER / 2) ** 2] += 20
    with mrcfile.new(directory / "vol.mrc") as mrc:
        mrc.set_data(data)
        mrc.voxel_size = SIZE[::-1]
        mrc.header.origin = ORIGIN
    config = {
        "dataset_name": "set",
        "inputs": [{"tomogram": directory / "vol.mrc", "name": "TS_01"}],
        "feature_extraction_params": [{"mode": "intensities"}],
        "output_dir": directory / "out",
        "save": ["hdf5", "mrc", "zarr"],
        "particles": {"diameter": DIAMETER, "workflows": ["intensities-gmm", "intensities-kmeans"]},
        "device": "cpu",
        "report": False,
    }
    run_s1(config, quiet=True)
    return directory / "out/set"


@pytest.fixture
def copy(run, tmp_path):
    return shutil.copytree(run, tmp_path / "copy")


def viewed(path, tomogram=None):
    pytest.importorskip("napari")
    from napari.components import ViewerModel

    viewer = ViewerModel()
    add_layers(viewer, path, tomogram)
    return viewer


def names(path):
    """Of the layers; a run that picks from scores saves them too."""
    tomogram, score, *others = (layer.settings["name"] for layer in layers(path))
    assert (tomogram, score) == ("TS_01", "score")
    return others


@pytest.mark.parametrize("ending", [".h5", ".zarr", ".mrc"])
def test_particles_are_where_their_angstrom_say(run, ending):
    tomogram = run.parents[1] / "vol.mrc" if ending == ".mrc" else None
    viewer = viewed(run / f"segmentation_0_intensities_gmm{ending}", tomogram)
    points = viewer.layers[-1]
    table = CSV.read(run / f"{NAME}.csv")
    assert points.name == NAME
    assert len(points.data) == len(CENTRES)
    for row, place in zip(table, points.data, strict=True):
        assert points.data_to_world(place) == pytest.approx(row[2::-1])  # of x, y, z
        voxel = viewer.layers[0].world_to_data(points.data_to_world(place))
        assert voxel == pytest.approx(row[:3:-1])
        assert viewer.layers[0].data[tuple(np.rint(voxel).astype(int))] > 10  # in a ball
    assert (points.features["score"] == table[:, 3]).all()
    assert tuple(str(unit) for unit in points.units) == ("angstrom",) * 3
    assert (points.face_color == 0).all()  # a ring


def test_a_slice_shows_the_circle_in_which_it_cuts_a_sphere(run):
    viewer = viewed(run / "segmentation_0_intensities_gmm.h5")
    points = viewer.layers[-1]
    z, y, x = points.data_to_world(points.data[0])
    cuts = 0
    for number in range(SHAPE[0]):
        height = ORIGIN[2] + SIZE[0] * number
        viewer.dims.set_point(0, height)
        squared = (DIAMETER / 2) ** 2 - (height - z) ** 2

        def hit(dy, dx, height=height):
            return points.get_value((height, y + dy, x + dx), world=True) == 0

        assert hit(0, 0) == (squared > 0)
        if squared > 0:
            radius = np.sqrt(squared)
            cuts += 1
            for dy, dx in ((0, radius), (radius, 0), (0, -radius), (-radius, 0)):
                assert hit(0.99 * dy, 0.99 * dx)
                assert not hit(1.01 * dy, 1.01 * dx)
    assert cuts in (6, 7)  # 80 angstrom over 13


def test_particles_leave_slider_and_slices_as_they_are(run, copy):
    for path in copy.glob("particles_*"):
        path.unlink()
    name = "segmentation_0_intensities_gmm.h5"
    without, viewer = viewed(copy / name), viewed(run / name)
    assert [layer.name for layer in without.layers] == [
        "TS_01",
        "score",
        name.removesuffix(".h5"),
    ]
    assert without.dims.thickness == (0, 0, 0)
    assert viewer.dims.range == without.dims.range
    for number in (0, 5, 15):
        point = ORIGIN[2] + SIZE[0] * number
        for shown in (without, viewer):
            shown.dims.set_point(0, point)
        for one, other in zip(without.layers, viewer.layers, strict=False):
            position = (point, 110.0, 100.0)
            assert one.get_value(position, world=True) == other.get_value(position, world=True)


@pytest.mark.parametrize("ending", [".csv", ".star", ".cmm", ".yaml"])
def test_files_of_particles_open_the_same(run, ending):
    expected = ["segmentation_0_intensities_gmm", NAME]
    assert names(run / "segmentation_0_intensities_gmm.h5") == expected
    assert names(run / f"{NAME}{ending}") == expected


def test_all_ways_of_picking_are_shown_and_a_file_shows_its_own(copy):
    for ending in (".csv", ".cmm"):
        shutil.copy(copy / f"{NAME}{ending}", copy / f"{NAME}_watershed{ending}")
    assert names(copy / "segmentation_0_intensities_gmm.h5")[1:] == [NAME, f"{NAME}_watershed"]
    assert names(copy / f"{NAME}_watershed.csv")[1:] == [f"{NAME}_watershed"]
    assert names(copy / "segmentation_0_intensities_kmeans.h5")[1:] == [
        "particles_0_intensities_kmeans"
    ]


def test_particles_of_the_tomogram_are_shown_over_any_of_its_segmentations(copy):
    for ending in (".csv", ".cmm"):
        shutil.move(copy / f"{NAME}{ending}", copy / f"particles_0_tomogram_ball{ending}")
    assert names(copy / "particles_0_tomogram_ball.csv") == [
        "segmentation_0_intensities_gmm",
        "particles_0_tomogram_ball",
    ]


def test_nothing_picked(copy):
    header = (copy / f"{NAME}.csv").read_text().splitlines()[0]
    (copy / f"{NAME}.csv").write_text(f"{header}\n")
    assert names(copy / f"{NAME}.csv") == ["segmentation_0_intensities_gmm"]


@pytest.mark.parametrize("kind", ["hdf5", "zarr", "mrc"])
def test_what_is_missing_or_broken_is_named(run, copy, kind, capsys):
    csv, markers = copy / f"{NAME}.csv", copy / f"{NAME}.cmm"
    ending = {"hdf5": ".h5", "zarr": ".zarr", "mrc": ".mrc"}[kind]
    segmentation = copy / f"segmentation_0_intensities_gmm{ending}"
    markers.write_text("<marker_set></marker_set>")
    with pytest.raises(
        PicketError, match=rf"{NAME}\.cmm: file of particles is truncated or damaged .*pick again"
    ):
        list(layers(segmentation))
    markers.unlink()
    with pytest.raises(PicketError, match=rf"{NAME}\.cmm: no such file; .* their diameter"):
        list(layers(csv))
    shutil.copy(run / markers.name, markers)
    csv.write_text("x,y\n1,2\n")
    with pytest.raises(
        PicketError, match=rf"{NAME}\.csv: file of particles is truncated or damaged"
    ):
        list(layers(segmentation))
    csv.unlink()
    with pytest.raises(PicketError, match=rf"{NAME}\.csv: no such file"):
        list(layers(copy / f"{NAME}.star"))
    with pytest.raises(PicketError, match=r"csv: no such file; name a segmentation or particles"):
        list(layers(csv))
    for path in copy.glob("segmentation_*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(
        PicketError, match=r"star: no segmentation of its tomogram in the same directory"
    ):
        list(layers(copy / f"{NAME}.star"))
    pytest.importorskip("napari")
    assert view([str(copy / f"{NAME}.star")]) == 2
    assert "no segmentation of its tomogram" in capsys.readouterr().err


def test_a_list_without_particles_needs_no_markers(copy):
    csv = copy / f"{NAME}.csv"
    csv.write_text(csv.read_text().splitlines()[0] + "\n")
    (copy / f"{NAME}.cmm").unlink()
    assert NAME not in names(csv)


def test_a_tomogram_without_voxel_size_has_no_place_for_particles(copy, tmp_path):
    mrcfile.write(tmp_path / "plain.mrc", np.random.default_rng(0).random(SHAPE, np.float32))
    path = copy / "segmentation_0_intensities_gmm.mrc"
    with mrcfile.open(path, "r+") as mrc:
        mrc.voxel_size = 0
    assert names(path) == [path.stem, NAME]  # run.json knows the tomogram, which has one
    (copy / "run.json").unlink()
    with pytest.raises(PicketError, match=r"has no voxel size, .*; set voxel_size and run again"):
        list(layers(path, tmp_path / "plain.mrc"))
