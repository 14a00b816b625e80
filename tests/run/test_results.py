"""Results of a run in a script: by name, by tomogram, in angstrom, as a table."""

import numpy as np
import pytest

import picket_gpu
from picket_gpu import PicketError, run_s1
from tests.support.three_tomograms import configure
from tests.support.three_tomograms import place as place

PARTICLES = {"diameter": 140, "workflows": ["gabor-gmm", "intensities-gmm"]}


@pytest.fixture
def run(place):
    inputs = [{"tomogram": "t0.mrc"}, {"tomogram": "t1.mrc", "name": "TS_04"}]
    configure(inputs=inputs, particles=PARTICLES, report=False)
    return run_s1("params.yaml", quiet=True)


def test_a_segmentation_by_its_name(run):
    found = run.get("TS_04", "gabor-gmm")
    assert (found.index, found.mode, found.method) == (1, "gabor", "gmm")
    assert found is run.get(1, "gabor-gmm")
    assert run.get("t0", "gabor-gmm") is run.get("t0.mrc", "gabor-gmm")
    assert found.labels.shape == found.shape == (20, 24, 28)
    assert found.voxel_size == pytest.approx((13.48,) * 3)
    assert found.features["num_sinusoids"] == 10


def test_names_that_are_not_there_are_refused_with_those_that_are(run):
    with pytest.raises(PicketError, match=r"TS_05: no such tomogram .*; use one of t0, TS_04"):
        run.get("TS_05", "gabor-gmm")
    with pytest.raises(PicketError, match=r"ffts-gmm: no such workflow .* gabor-kmeans, gabor-gmm"):
        run.get("TS_04", "ffts-gmm")


def test_by_tomogram(run):
    groups = run.by_tomogram()
    assert list(groups) == ["t0", "TS_04"]
    assert [one for group in groups.values() for one in group] == list(run)
    assert [one.workflow for one in run.particles_of("TS_04")] == [
        ("gabor", "gmm"),
        ("intensities", "gmm"),
    ]


def test_two_tomograms_of_one_name_need_their_index(place):
    configure(
        inputs=[{"tomogram": "t0.mrc", "name": "a"}, {"tomogram": "t1.mrc", "name": "a"}],
        feature_extraction_params=[{"mode": "intensities"}],
        clustering_methods=["kmeans"],
        report=False,
    )
    run = run_s1("params.yaml", quiet=True)
    with pytest.raises(PicketError, match="a: several tomograms have this name; use the index"):
        run.get("a", "intensities-kmeans")
    with pytest.raises(PicketError, match="a: several tomograms have this name; set name"):
        run.by_tomogram()
    assert run.get(1, "intensities-kmeans").index == 1
    with pytest.raises(PicketError, match="particles: the run has picked none"):
        run.to_dataframe()


def test_coordinates_in_voxels_and_in_angstrom(run):
    for particles in run.particles:
        assert particles.count > 0
        assert particles.coordinates.shape == (particles.count, 3)
        np.testing.assert_allclose(
            particles.coordinates_angstrom,
            particles.coordinates * 13.48 + np.array(particles.origin)[::-1],
        )


def test_a_table_of_all_particles(run):
    table = run.to_dataframe()
    assert list(table.columns)[:2] == ["tomogram", "workflow"]
    assert len(table) == sum(particles.count for particles in run.particles)
    rows = table[(table.tomogram == "TS_04") & (table.workflow == "gabor-gmm")]
    (particles, _) = run.particles_of("TS_04")
    np.testing.assert_array_equal(rows[["z", "y", "x"]], particles.coordinates)
    np.testing.assert_array_equal(rows["score"], particles.heights)


def test_what_was_picked_earlier_is_the_same(run):
    again = run_s1("params.yaml", quiet=True)
    for one, other in zip(again.particles, run.particles, strict=True):
        assert one.reused
        np.testing.assert_array_equal(one.coordinates, other.coordinates)
        names = ("threshold", "candidates", "count", "label", "workflow", "settings", "diameter")
        for name in names:
            assert getattr(one, name) == getattr(other, name)


def test_dir_lists_the_public_names():
    assert dir(picket_gpu) == sorted([*picket_gpu.__all__, "__version__"])
