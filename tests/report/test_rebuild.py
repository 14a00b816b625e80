"""Pages made again are the pages of the run: grey slices, particles, candidates."""

import mrcfile
import numpy as np
import pytest

from picket_gpu import run_s1
from picket_gpu.report.__main__ import main
from tests.support.data import DATA
from tests.support.pages import candidates_of, data_of


@pytest.fixture
def settings(tmp_path):
    """A tomogram of particles, a strip of which its mask leaves out, and how to segment it."""
    volume = mrcfile.read(DATA / "phantom_a.mrc")[:, :60, :60].copy()
    inside = np.ones(volume.shape, dtype=np.int8)
    inside[:, :, 45:] = 0
    volume[:, :, 45:] -= 500  # as carbon: blurred into the rest if it is not padding
    mrcfile.write(tmp_path / "a.mrc", volume, voxel_size=13.48)
    mrcfile.write(tmp_path / "mask.mrc", inside, voxel_size=13.48)
    return {
        "dataset_name": "set",
        "inputs": [{"tomogram": tmp_path / "a.mrc", "mask": tmp_path / "mask.mrc"}],
        "feature_extraction_params": [{"mode": "intensities"}],
        "output_dir": tmp_path,
        "device": "cpu",
    }


def made_twice(settings):
    """Data of the run's page, and of the page made again."""
    run_s1(settings, quiet=True)
    page = settings["output_dir"] / "set/report.html"
    first = data_of(page.read_text())
    page.unlink()
    assert main([str(page.parent), "-q"]) == 0
    return first, data_of(page.read_text())


def outside_as_padding(settings):
    (entry,) = settings["inputs"]
    return settings | {"inputs": [entry | {"outside_is_padding": True}]}


@pytest.mark.parametrize("save", [["hdf5"], ["zarr"], ["mrc"]])
def test_slices_are_blurred_as_in_the_run(settings, save):
    """The record of the run has the settings that an MRC file lacks."""
    first, again = made_twice(outside_as_padding(settings) | {"save": save})
    assert again["grey"] == first["grey"]
    assert again["histogram"] == first["histogram"]
    for one, other in zip(again["workflows"], first["workflows"], strict=True):
        for key in ("mode", "method", "separation", "components", "bits", "fingerprint"):
            assert one[key] == other[key], key
        assert one["share"] == pytest.approx(other["share"], abs=1e-8)  # nine digits in MRC


@pytest.mark.parametrize(
    "particles",
    [
        {},
        {"workflows": ["intensities-kmeans", "intensities-gmm"]},
        {"method": "components", "workflows": ["intensities-kmeans"], "threshold": 0.9},
        {"method": "watershed", "threshold": 0.5},
        {"source": "tomogram"},
    ],
    ids=str,
)
def test_particles_and_candidates_are_those_of_the_run(settings, particles):
    if particles.get("method") == "watershed":
        pytest.importorskip("skimage")
    particles = {"diameter": 140.0, **particles}
    first, again = made_twice(outside_as_padding(settings) | {"particles": particles})
    assert len(first["picked"]) == len(particles.get("workflows", [1]))
    ours, theirs = ({(p["mode"], p["method"]): p for p in d["picked"]} for d in (again, first))
    assert ours.keys() == theirs.keys()
    for workflow, told in theirs.items():
        assert 0 < told["count"] < told["total"]
        assert ours[workflow] == told
        assert (candidates_of(ours[workflow]) == candidates_of(told)).all()


def test_particles_that_were_changed_by_hand_are_shown_as_they_are(settings):
    run_s1(settings | {"particles": {"diameter": 140.0}}, quiet=True)
    directory = settings["output_dir"] / "set"
    path = directory / "particles_0_intensities_gmm.csv"
    filed = path.read_bytes()
    head, *rows = filed.decode().splitlines(keepends=True)
    path.write_text("".join([head, *rows[1:]]))  # edited by hand
    assert main([str(directory), "-q"]) == 0
    (told,) = data_of((directory / "report.html").read_text())["picked"]
    assert told["count"] == told["total"] == len(rows) - 1
    path.write_bytes(filed)
    assert main([str(directory), "-q"]) == 0
    (told,) = data_of((directory / "report.html").read_text())["picked"]
    assert (told["count"], told["total"] > len(rows)) == (len(rows), True)


def test_no_page_is_replaced_where_particles_are_damaged(settings, tmp_path, capsys):
    (entry,) = settings["inputs"]
    mrcfile.write(tmp_path / "b.mrc", mrcfile.read(entry["tomogram"]), voxel_size=13.48)
    inputs = [entry, {"tomogram": tmp_path / "b.mrc"}]
    run_s1(settings | {"inputs": inputs, "particles": {"diameter": 140.0}}, quiet=True)
    directory = tmp_path / "set"
    (directory / "particles_1_intensities_gmm.csv").write_text("x,y\n")
    before = {path: path.stat().st_mtime_ns for path in directory.iterdir()}
    assert main([str(directory), "-q"]) == 2
    assert "particles_1_intensities_gmm.csv: file of particles is" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in directory.iterdir()} == before
