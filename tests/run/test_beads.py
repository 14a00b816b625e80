"""Gold beads in a run: the table, the record, the page, the picks, and what a rerun keeps."""

import csv
import json

import h5py
import mrcfile
import numpy as np
import pytest

from picket_gpu import run_s1
from tests.method.test_beads import BEADS, image, particles, with_beads
from tests.support.pages import data_of

LINE = "tomo.mrc: 5 gold beads about "
OLD = "tomo.mrc: 99% of the voxels lie within 3%, such as gold beads; set clip: 5 to limit them"


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "out/set"


def write(density):
    with mrcfile.new("tomo.mrc", image(density), overwrite=True) as mrc:
        mrc.voxel_size = 10
        mrc.header.origin = (100, 200, 300)


def run(**changes):
    settings = {
        "dataset_name": "set",
        "inputs": [{"tomogram": "tomo.mrc"}],
        "feature_extraction_params": [{"mode": "intensities"}],
        "clustering_methods": ["gmm"],
        "particles": {"diameter": 80},
        "output_dir": "out",
        "device": "cpu",
    }
    return run_s1(settings | changes, quiet=True)


def rows(place):
    with (place / "beads_0.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_beads_are_reported_and_not_picked(place):
    write(with_beads(particles()))
    result = run()
    (warning,) = (text for text in result.warnings if "gold" in text)
    assert warning.startswith(LINE)
    table = rows(place)
    centres = np.array([[float(row[axis]) for axis in "zyx"] for row in table])
    away = np.linalg.norm(centres[:, None] - BEADS[None], axis=-1)
    assert away.min(axis=0).max() < 1.5
    for row in table:
        for axis, origin in (("x", 100), ("y", 200), ("z", 300)):
            assert float(row[f"{axis}_angstrom"]) == pytest.approx(10 * float(row[axis]) + origin)
        assert float(row["diameter_angstrom"]) == pytest.approx(10 * float(row["diameter"]))
    step = json.loads((place / "run.json").read_text())["units"][0]
    assert step["beads"]["count"] == 5
    assert step["beads"]["file"] == "beads_0.csv"
    assert warning in step["warnings"]
    assert warning in data_of((place / "report.html").read_text())["warnings"]
    picks = result.particles[0].coordinates
    assert np.linalg.norm(picks[:, None] - BEADS[None], axis=-1).min() > 4  # radius of a particle
    kept = run(dataset_name="kept", beads="keep").particles[0].coordinates
    away = np.linalg.norm(kept[:, None] - BEADS[None], axis=-1)
    assert away.min(axis=0).max() < 3 + 2  # radius of a bead, and the blur


def test_without_beads_nothing_changes(place):
    write(particles())
    result = run()
    assert not (place / "beads_0.csv").exists()
    assert json.loads((place / "run.json").read_text())["units"][0]["beads"] is None
    assert "gold" not in str(result.warnings)
    kept = run(dataset_name="kept", beads="keep")
    assert (result[0].labels == kept[0].labels).all()
    assert result[0].fingerprint != kept[0].fingerprint
    with h5py.File(place / result[0].files[0]) as file:
        assert "beads" not in file["segmentations"].attrs
    with h5py.File(place.parent / "kept" / kept[0].files[0]) as file:
        assert file["segmentations"].attrs["beads"] == "keep"


def test_a_table_of_beads_that_are_kept_now_is_removed(place):
    write(with_beads(particles()))
    run()
    assert len(rows(place)) == 5
    run(beads="keep")
    assert not (place / "beads_0.csv").exists()


def test_unknown_voxel_sizes_leave_angstrom_empty(place):
    mrcfile.write("tomo.mrc", image(with_beads(particles())))
    run(particles=None)
    assert {row["x_angstrom"] for row in rows(place)} == {""}
    assert float(rows(place)[0]["diameter"]) > 4


@pytest.mark.parametrize(("warning", "expected"), [(OLD, False), ("something else", True)])
def test_segmentations_that_warned_of_beads_are_computed_again(place, warning, expected):
    write(with_beads(particles()))
    first = run()
    before = (place / "particles_0_intensities_gmm.csv").stat().st_mtime_ns
    for path in place.glob("segmentation_*.h5"):
        with h5py.File(path, "r+") as file:
            file["segmentations"].attrs["warnings"] = warning
    again = run()
    assert again[0].reused == expected
    assert again[0].fingerprint == first[0].fingerprint
    after = (place / "particles_0_intensities_gmm.csv").stat().st_mtime_ns
    assert (before == after) == expected
