"""Which workflows of a run with particles have scores, and what a rerun makes of those it finds."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from picket_gpu import PicketError, run_s1
from picket_gpu.config.s1 import S1Config
from picket_gpu.device.select import select_backend
from picket_gpu.files.segmentation import has_scores, read_labels, read_scores
from picket_gpu.particles.picking import pick
from picket_gpu.pick import main
from picket_gpu.run.plan import plan_run, recipe_of
from tests.support.three_tomograms import place as place
from tests.support.three_tomograms import stamps

PICK = {"diameter": 140.0, "source": "score"}
OUT = Path("out/set")


def config(**changes) -> dict:
    """Four workflows of one tomogram."""
    return {
        "dataset_name": "set",
        "inputs": [{"tomogram": "t0.mrc"}],
        "feature_extraction_params": [{"mode": "gabor"}, {"mode": "intensities"}],
        "output_dir": "out",
        "device": "cpu",
        "report": False,
        "particles": PICK,
        **changes,
    }


def run(**changes):
    return run_s1(config(**changes), quiet=True)


def picking(*workflows: str) -> dict:
    return PICK | {"workflows": list(workflows)}


def scored(results) -> set[str]:
    return {f"{r.mode}-{r.method}" for r in results if has_scores(r.path)}


def from_scores(result) -> np.ndarray:
    """What the scores of a segmentation give."""
    inside = read_labels(result.path, 5) != -1
    scores = read_scores(result.path)
    size = (13.48,) * 3
    return pick(scores, 140.0, voxel_size=size, inside=inside, backend=select_backend("cpu"))


@pytest.mark.parametrize("save", [["hdf5"], ["mrc"]])
def test_only_what_is_picked_from_has_scores_and_nothing_else_differs(place, save):
    few, every = run(save=save), run(save=save, scores=True, output_dir="every")
    assert scored(few) == {"gabor-gmm"}
    assert len(scored(every)) == 4
    for ours, theirs in zip(few, every, strict=True):
        np.testing.assert_array_equal(ours.labels, theirs.labels)
    np.testing.assert_array_equal(few[1].scores, every[1].scores)
    (ours,), (theirs,) = few.particles, every.particles
    assert ours.count > 0
    np.testing.assert_array_equal(ours.coordinates, theirs.coordinates)
    np.testing.assert_array_equal(ours.heights, theirs.heights)
    with pytest.raises(PicketError, match="contains no scores; run again with scores: true"):
        _ = few[0].scores


def test_both_sources_need_the_scores_of_what_is_picked_from(place):
    assert scored(run(particles={"diameter": 140.0})) == {"gabor-gmm"}
    before = stamps()
    changed = config(particles={"diameter": 140.0, "spacing": 100.0})
    (particles,) = run_s1(changed, quiet=True, overwrite_particles=True).particles
    assert stamps() == before
    assert particles.settings["source"] == "both"


def test_files_and_attributes_say_which_have_scores(place):
    results = run()
    assert {path.name for path in OUT.glob("*_score.mrc")} == {"segmentation_0_gabor_gmm_score.mrc"}
    for result in results:
        with h5py.File(result.path) as file:
            told = file["segmentations"].attrs["particle_score_is"]
        assert (told != "None") == ((result.mode, result.method) == ("gabor", "gmm"))


@pytest.mark.parametrize("method", ["components", "watershed"])
def test_picking_from_labels_needs_no_scores(place, method):
    assert scored(run(particles=PICK | {"method": method})) == set()


@pytest.mark.parametrize("save", [["hdf5"], ["mrc"], ["zarr"]])
def test_a_rerun_scores_what_it_picks_from_and_keeps_the_rest(place, save):
    run(save=save)
    before = stamps()
    again = run(save=save, particles=picking("intensities-kmeans"))
    kept = {r.mode for r in again if r.reused}
    assert kept == {"gabor"}
    assert scored(again) == {"gabor-gmm", "intensities-kmeans"}
    assert {name for name, stamp in stamps().items() if before.get(name) == stamp} == {
        name for name in before if "gabor" in name
    }
    (particles,) = again.particles
    np.testing.assert_array_equal(particles.coordinates, from_scores(again[2]).coordinates)
    before = stamps()
    back = run(save=save)  # from what the first run has scored
    assert all(r.reused for r in back)
    assert stamps() == before
    assert back.particles[0].reused


def test_scores_that_nobody_asks_for_are_kept(place):
    run(scores=True, particles=None)
    before = stamps()
    assert all(r.reused for r in run())
    assert all(r.reused for r in run(particles=None))
    assert stamps() == before


def test_all_are_scored_once_that_is_asked_for(place):
    run()
    again = run(scores=True)
    assert not any(r.reused for r in again)  # both feature modes lack some
    assert len(scored(again)) == 4
    assert again.particles[0].reused


def test_a_run_never_keeps_what_was_picked_from_labels(place, capsys):
    run()
    told = ["--diameter", "140", "--source", "score", "--workflow", "intensities-gmm"]
    assert main([str(OUT), *told]) == 0
    assert "has no scores; using its labels, as scores of 0 and 1" in capsys.readouterr().out
    of_labels = (OUT / "particles_0_intensities_gmm.csv").read_text()
    again = run(particles=picking("intensities-gmm"))
    assert (OUT / "particles_0_intensities_gmm.csv").read_text() != of_labels
    (particles,) = again.particles
    assert not particles.reused
    np.testing.assert_array_equal(particles.coordinates, from_scores(again[3]).coordinates)
    assert main([str(OUT), *told]) == 0  # and what a run has picked from scores, it keeps
    assert run(particles=picking("intensities-gmm")).particles[0].reused


def test_memory_is_that_of_the_feature_mode_with_the_most(place):
    backend = select_backend("cpu")

    def fixed(**changes) -> int:
        settings = S1Config(**config(**changes))
        (plan,) = plan_run(settings, backend, False, [0]).tomograms
        memory = recipe_of(plan.subject, settings, {}, backend).memory(backend)
        return memory.budget - memory.cache_bytes

    voxels = 20 * 24 * 28
    assert fixed(scores=True) - fixed() == 2 * voxels
    assert fixed(particles=picking("gabor-gmm", "intensities-kmeans")) == fixed()
    assert fixed(particles=picking("gabor-gmm", "gabor-kmeans")) == fixed(scores=True)


def test_workflows_of_two_runs_are_picked_from_in_one_copick_project(place):
    """Each record knows but its own workflow."""
    changes = {"save": ["hdf5", "copick"], "particles": None, "clustering_methods": ["gmm"]}
    run(**changes, feature_extraction_params=[{"mode": "gabor"}])
    made = config(**changes, feature_extraction_params=[{"mode": "intensities"}])
    run_s1(made, tomograms=[0], quiet=True)
    told = ["--diameter", "140", "--workflow", "gabor-gmm", "intensities-gmm"]
    assert main([str(OUT), *told, "-q"]) == 0
    assert len(list(OUT.rglob("*-gmm_particle.json"))) == 2
