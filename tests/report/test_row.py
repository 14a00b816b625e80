"""A tomogram's row of the index: heights, settings, circles; failures of other runs."""

import json
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest

from picket_gpu.errors import Failure, PicketError
from picket_gpu.particles.picks import Picks
from picket_gpu.particles.settings import ParticleSettings
from picket_gpu.report.collect import begin_report
from picket_gpu.report.page import page_data
from picket_gpu.report.picked import circles
from picket_gpu.report.row import (
    DECIMALS,
    LONGER,
    MOST_CIRCLES,
    MOST_HEIGHTS,
    describe_row,
    marks_of,
)
from picket_gpu.report.slices import central
from picket_gpu.report.write import Index, write_page
from tests.support.pages import data_of
from tests.support.records import particles_of, segmentation_of, subject_of

SHAPE, SIZE = (24, 300, 200), (7.84, 10.0, 13.48)


def report_of(heights, count, settings=None, seed=0, shape=SHAPE, **subject):
    rng = np.random.default_rng(seed)
    about = subject_of(shape, **{"voxel_size": SIZE} | subject)
    noise = rng.random(shape[1:], dtype=np.float32)
    report = begin_report(about, lambda z: noise)
    report.add(segmentation_of(about, "gabor", "gmm"), np.zeros(shape, dtype=np.int8))
    points = rng.random((len(heights), 3)) * (np.array(shape) - 1)
    threshold = float(heights[count - 1])
    picks = Picks(points, np.asarray(heights, dtype=np.float64), threshold, count)
    told = ParticleSettings(**{"diameter": 150.0} | (settings or {}))
    known = {"settings": told.model_dump(mode="json", exclude_none=True)}
    report.picked.append(particles_of(about, picks, 150.0, **known))
    return report


def row_of(report):
    return describe_row(page_data(report, {}), False, report.picked)


def marks_in(told):
    """As the page reads them."""
    if told["steps"] is None:
        return []
    marks, step, shift = [told["highest"]], 0, 0
    for byte in b64decode(told["steps"]):
        step |= (byte & 127) << shift
        shift = shift + 7 if byte & 128 else 0
        if not shift:
            marks.append(marks[-1] - step)
            step = 0
    return marks


def test_marks_compare_with_decimals_as_heights_do():
    """Also one float above and below a decimal, where multiplying rounds."""
    rng = np.random.default_rng(0)
    units = rng.integers(-400_000, 400_000, 3000)
    decimals = np.array([float(f"{unit}e-{DECIMALS}") for unit in units])
    near = np.concatenate([decimals, np.nextafter(decimals, 9), np.nextafter(decimals, -9)])
    heights = np.concatenate([near, rng.normal(size=3000)])
    marks = marks_of(heights)
    for unit, decimal in zip(units[:300], decimals[:300], strict=True):
        assert ((marks >= 2 * unit) == (heights >= decimal)).all()
        assert ((marks <= 2 * unit) == (heights <= decimal)).all()


@pytest.mark.parametrize("heights", [[1.0], [0.3, 0.3, 0.3], [3.5, 0.1, -2.75, -2.75001]])
def test_a_row_has_all_heights(heights):
    (told,) = row_of(report_of(heights, 1))["picks"]
    assert marks_in(told) == marks_of(np.array(heights)).tolist()
    assert (told["total"], told["count"], told["threshold"]) == (len(heights), 1, heights[0])


def test_a_row_has_the_highest_of_very_many():
    heights = np.sort(np.random.default_rng(0).beta(1, 4, MOST_HEIGHTS + 500))[::-1]
    (told,) = row_of(report_of(heights, 2100))["picks"]
    assert marks_in(told) == marks_of(heights[:MOST_HEIGHTS]).tolist()
    assert (told["count"], told["total"]) == (2100, MOST_HEIGHTS + 500)


def test_two_hundred_full_rows_are_below_four_megabytes():
    """Noise is the largest picture, heights of both sources are spread most."""
    rng = np.random.default_rng(0)
    heights = np.sort(rng.normal(size=MOST_HEIGHTS) * 1.5)[::-1]
    row = row_of(report_of(heights, 900, shape=(200, 960, 928)))
    assert len(b64decode(row["picks"][0]["circles"])) > 8 * 100
    assert len(json.dumps(row)) < 20_000


def test_a_row_has_the_settings_that_are_not_default():
    told = {"diameter": [90.0, 150.0], "threshold": 0.25, "label": "auto", "max_particles": 7}
    row = row_of(report_of([1.0, 0.5], 1, told))
    expected = {"diameter": [90.0, 150.0], "threshold": 0.25, "max_particles": 7}
    assert row["picks"][0]["settings"] == expected


@pytest.mark.parametrize("shape", [SHAPE, (24, 100, 300)])
def test_circles_of_a_row_are_those_of_its_slice(shape):
    heights = np.linspace(1, 0, 400)
    report = report_of(heights, 400, shape=shape)
    row = row_of(report)
    numbers = np.frombuffer(b64decode(row["picks"][0]["circles"]), "<u2").reshape(-1, 4)
    assert max(row["frame"]) == LONGER
    width, height = shape[2] * SIZE[2], shape[1] * SIZE[1]
    assert row["frame"][0] / row["frame"][1] == pytest.approx(width / height, rel=1e-3)
    (found,) = report.picked
    places = report.layout.places
    plane = places[central(len(places))[1]]
    expected = circles(found, plane)[:MOST_CIRCLES]
    scaled = expected * LONGER / max(width, height)
    assert len(expected) > 20
    np.testing.assert_allclose(numbers[:, 1:], scaled, atol=0.51)
    depth = np.abs(found.picks.candidates[numbers[:, 0], 0] - plane)
    assert (depth * SIZE[0] < 75.0).all()


# The index.

TOMOGRAMS = {number: (f"TS_{number}", f"data/TS_{number}.mrc") for number in range(4)}


def failure(index, message, mode=None):
    path = Path(TOMOGRAMS[index][1])
    return Failure(index, path, mode, PicketError(f"{path}: {message}"))


def rows_of(directory):
    return data_of((directory / "report.html").read_text())["tomograms"]


def test_an_index_has_a_row_for_each_tomogram(tmp_path):
    index = Index(
        tmp_path,
        "set",
        TOMOGRAMS,
        {0: {"gabor gmm"}, 1: set()},
        lambda: {1: [(None, "older")], 2: [("gabor", "elsewhere")]},
    )
    report = report_of([1.0, 0.5], 1, index=0, name="TS_0")
    index.add(write_page(tmp_path, report, alone=False, links={}))
    index.add_failure(failure(1, "is truncated"))
    index.finish()
    rows = rows_of(tmp_path)
    assert [row["index"] for row in rows] == [0, 1, 2, 3]
    assert ["page" in row for row in rows] == [True, False, False, False]
    assert [row["name"] for row in rows] == ["TS_0", "TS_1", "TS_2", "TS_3"]
    assert [row["failures"] for row in rows] == [
        [],
        [{"part": None, "message": "data/TS_1.mrc: is truncated"}],
        [{"part": "gabor", "message": "elsewhere"}],
        [],
    ]


def test_a_failure_that_this_run_has_mended_is_gone(tmp_path):
    index = Index(tmp_path, "set", TOMOGRAMS, {0: {"gabor gmm"}}, lambda: {0: [(None, "older")]})
    index.add(write_page(tmp_path, report_of([1.0], 1, index=0), alone=False, links={}))
    index.finish()
    assert rows_of(tmp_path)[0]["failures"] == []
