"""Picked particles in a report: geometry, data, previews, reading back; not the page itself."""

import pickle
from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from picket_gpu import load_config, run_s1
from picket_gpu.files.filenames import TomogramFiles
from picket_gpu.particles.formats import FORMATS
from picket_gpu.report.__main__ import main
from picket_gpu.report.collect import begin_report
from picket_gpu.report.page import page_data, tomogram_page
from picket_gpu.report.picked import MOST_CANDIDATES, circles
from picket_gpu.report.preview import CIRCLE, FOOT, HEAD, MARGIN, TILE, preview
from picket_gpu.report.slices import central
from tests.support.pages import candidates_of, data_of
from tests.support.records import particles_of, picks_of, segmentation_of, subject_of, with_picks

SIZE = (7.84, 10.0, 13.48)
SHAPE = (20, 30, 40)


def particles(points, heights=None, count=None, diameter=120.0, shape=SHAPE, size=SIZE):
    subject = subject_of(
        shape,
        tomogram=Path("TS_01.mrc"),
        name="TS_01.mrc",
        voxel_size=size,
        origin=(-11.5, 22.0, 33.25),
    )
    return particles_of(subject, picks_of(points, heights, count), diameter)


def report_of(*found, shape=SHAPE, size=SIZE):
    subject = subject_of(shape, voxel_size=size)
    ramp = np.broadcast_to(np.linspace(0, 1, shape[2], dtype=np.float32), shape[1:])
    report = begin_report(subject, lambda z: ramp)
    for method in ("kmeans", "gmm"):
        report.add(segmentation_of(subject, "gabor", method), np.zeros(shape, dtype=np.int8))
    report.picked.extend(found)
    return report


# Where spheres cut a slice.


def test_a_circle_covers_what_the_slice_has_of_the_sphere():
    """Points of a fine grid on the plane, by their distance from the centre in space."""
    found = particles([[9.3, 14.2, 21.7]])
    y, x = (np.arange(0, n * step, 0.5) + 0.25 for n, step in zip(SHAPE[1:], SIZE[1:], strict=True))
    centre = np.array([9.3, 14.2 + 0.5, 21.7 + 0.5]) * SIZE  # from the outer corner in y and x
    seen = []
    for z in range(SHAPE[0]):
        squares = (z * SIZE[0] - centre[0]) ** 2 + np.add.outer(
            (y - centre[1]) ** 2, (x - centre[2]) ** 2
        )
        rows, columns = np.nonzero(squares < 60.0**2)
        if not len(rows):
            assert circles(found, z).shape == (0, 3)
            continue
        ((across, down, radius),) = circles(found, z)
        assert (across, down) == pytest.approx((x[columns].mean(), y[rows].mean()), abs=0.5)
        assert np.pi * radius**2 == pytest.approx(len(rows) * 0.25, rel=0.02)
        seen.append(z)
    assert seen == [z for z in range(SHAPE[0]) if abs(z - 9.3) * 7.84 < 60]


def test_only_what_is_picked_is_circled():
    points = np.tile([10.0, 15.0, 20.0], (5, 1))
    assert len(circles(particles(points, count=3), 10)) == 3
    assert len(circles(particles(points, count=0), 10)) == 0
    assert len(circles(particles(points, diameter=0.0), 10)) == 0  # not known


# What a page holds.


def test_a_page_holds_candidates_to_the_last_bit():
    rng = np.random.default_rng(0)
    points, heights = rng.random((50, 3)) * SHAPE, np.sort(rng.random(50))[::-1]
    report = report_of(particles(points, heights, 20))
    (told,) = data_of(tomogram_page(page_data(report, {})))["picked"]
    assert (candidates_of(told) == np.column_stack([points, heights])).all()
    assert (told["count"], told["total"], told["threshold"]) == (20, 50, 0.3)
    assert told["stem"] == "particles_0_gabor_gmm"


def test_a_page_without_picks_has_none():
    assert data_of(tomogram_page(page_data(report_of(), {})))["picked"] == []


def test_a_page_holds_so_many_candidates_and_says_of_how_many():
    found = particles(np.zeros((MOST_CANDIDATES + 5, 3)))
    (told,) = data_of(tomogram_page(page_data(report_of(found), {})))["picked"]
    kept = candidates_of(told)
    assert len(kept) == MOST_CANDIDATES == told["count"]
    assert told["total"] == MOST_CANDIDATES + 5
    assert (kept[:, 3] == found.picks.candidate_heights[:MOST_CANDIDATES]).all()


def test_a_report_with_picks_travels_between_processes():
    report = report_of(particles([[1, 2, 3]]))
    again = pickle.loads(pickle.dumps(report))
    assert tomogram_page(page_data(again, {})) == tomogram_page(page_data(report, {}))


# Previews.


def cyan(image):
    """Pixels of a circle, at least half."""
    red, _, blue = np.moveaxis(np.asarray(image).astype(int), 2, 0)
    return blue - red > (int(CIRCLE[5:], 16) - int(CIRCLE[1:3], 16)) / 2


def test_a_preview_circles_particles_where_they_are():
    """On the blurred slice, and on the workflow that they are picked from, not on another."""
    shape, size = (40, 90, 60), (10.0, 10.0, 20.0)  # wider than high
    report = report_of(shape=shape, size=size)
    places = report.layout.places
    z = places[central(len(places))[1]]
    found = particles([[z, 30.2, 40.4]], shape=shape, size=size, diameter=20.0)
    report.picked.append(found)
    scale = TILE / (60 * 20)
    height = round(90 * 10 * scale)
    middle = np.array([40.9 * 20, 30.7 * 10]) * scale  # x, y
    image = cyan(preview(page_data(report, {}), report.picked))
    rings = []
    for row in range(3):
        for column in range(3):
            left, top = MARGIN + column * (TILE + MARGIN), HEAD + row * (height + FOOT)
            tile = image[top : top + height, left : left + TILE]
            rings += [(row, column)] * bool(tile.any())
            y, x = np.nonzero(tile)
            if len(x):
                assert (x.mean() + 0.5, y.mean() + 0.5) == pytest.approx(middle, abs=0.5)
                distances = np.hypot(x + 0.5 - middle[0], y + 0.5 - middle[1])
                assert abs(distances - 10.0 * scale).max() < 2
    assert rings == [(1, 0), (1, 2)]


def test_a_preview_without_picks_has_no_circles():
    assert not cyan(preview(page_data(report_of(), {}), [])).any()


# Reading back.


@pytest.fixture
def done(tmp_path):
    """A run of one tomogram with particles beside its segmentations, and these particles.

    They have no candidates, as those of earlier versions.
    """
    noise = np.random.default_rng(0).random((12, 14, 16), dtype=np.float32)
    mrcfile.write(tmp_path / "TS_01.mrc", noise, voxel_size=10)
    with mrcfile.open(tmp_path / "TS_01.mrc", "r+") as file:
        file.nstart = (3, -2, 5)
    config = load_config(
        {
            "dataset_name": "set",
            "inputs": [{"tomogram": tmp_path / "TS_01.mrc"}],
            "output_dir": tmp_path,
            "neighborhood_size": 3,
            "feature_extraction_params": [{"mode": "intensities"}],
            "device": "cpu",
        }
    )
    run_s1(config, quiet=True)
    points = [[5.25, 6.5, 1 / 3], [7.0, 3.0, 9.125], [2.0, 2.0, 2.0]]
    found = particles(points, [0.9, 2 / 3, 0.1], 2, 37.5, (12, 14, 16), (10.0,) * 3)
    found = found.model_copy(update={"origin": (30.0, -20.0, 50.0)})  # of nstart
    paths = TomogramFiles(config.directory, 0, []).particles("intensities", "gmm")
    del paths["candidates"]
    for kind, path in paths.items():
        FORMATS[kind].write(path, [found])
    return config.directory, paths, found


def test_a_report_made_again_has_what_was_picked(done):
    directory, paths, found = done
    assert main([str(directory), "-q"]) == 0
    (told,) = data_of((directory / "report.html").read_text())["picked"]
    expected = np.column_stack([found.picks.coordinates, found.picks.heights])
    assert (candidates_of(told) == expected).all()
    assert (told["mode"], told["method"], told["count"]) == ("intensities", "gmm", 2)
    assert told["diameter"] == pytest.approx(37.5, abs=1e-3)
    assert told["origin"] == [30.0, -20.0, 50.0]
    assert told["starName"] == "TS_01"
    assert told["files"] == [path.name for path in paths.values()]


def test_without_markers_there_is_no_diameter_and_no_circle(done):
    directory, paths, _ = done
    paths["cmm"].unlink()
    assert main([str(directory), "-q"]) == 0
    (told,) = data_of((directory / "report.html").read_text())["picked"]
    assert (told["diameter"], told["count"]) == (0.0, 2)


def test_nothing_picked_is_read_too(done):
    directory, paths, found = done
    none = with_picks(found, replace(found.picks, count=0))
    for kind, path in paths.items():
        FORMATS[kind].write(path, [none])
    assert main([str(directory), "-q"]) == 0
    (told,) = data_of((directory / "report.html").read_text())["picked"]
    assert told["count"] == told["total"] == 0


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("csv", ""),
        ("csv", "x,y,z\n1,2,3\n"),
        ("csv", "x_angstrom,y_angstrom,z_angstrom,score,x,y,z\n1,2,3\n"),
        ("csv", "x_angstrom,y_angstrom,z_angstrom,score,x,y,z\n1,2,3,a,5,6,7\n"),
        ("csv", "x_angstrom,y_angstrom,z_angstrom,score,x,y,z\n1,2,3,nan,5,6,7\n"),
        ("cmm", "<marker_set name='a'><marker"),
        ("cmm", "<marker_set name='a'><marker id='1'/></marker_set>"),
        ("cmm", "<marker_set name='a'><marker radius='nan'/></marker_set>"),
        ("cmm", "<marker_set><marker radius='3'/></marker_set>"),
    ],
)
def test_files_that_are_not_whole_are_named(done, capsys, kind, text):
    directory, paths, _ = done
    before = (directory / "report.html").read_bytes()
    paths[kind].write_text(text)
    assert main([str(directory), "-q"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{paths[kind].name}: file of particles is truncated or damaged" in line
    assert (directory / "report.html").read_bytes() == before
