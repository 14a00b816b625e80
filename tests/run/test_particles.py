"""Particles as a part of a run: planned, picked, recorded, resumed."""

import csv
import json
import os
import re
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import starfile
import yaml

from benchmarks.sklearn_recipe import normalised
from picket_gpu import PicketError, run_s1
from picket_gpu.__main__ import main
from picket_gpu.device.select import select_backend
from picket_gpu.errors import NothingDoneError
from picket_gpu.files.segmentation import read_labels, read_scores
from picket_gpu.particles.picking import pick, pick_by_both
from tests.support.command_line import the_error
from tests.support.data import DATA
from tests.support.pages import data_of
from tests.support.three_tomograms import break_nan, configure, record, stamps
from tests.support.three_tomograms import place as place

OUT = Path("out/set")
ENDINGS = (".csv", ".star", ".cmm", ".yaml", ".npz")
VOXEL = 13.48
PICK = {"diameter": 140.0}


def run(**changes):
    """A run of one workflow without a report, unless told otherwise."""
    one = {
        "feature_extraction_params": [{"mode": "gabor"}],
        "clustering_methods": ["gmm"],
        "report": False,
        "particles": PICK,
    }
    replaced = changes.pop("overwrite_particles", False)
    configure(**(one | changes))
    return run_s1("params.yaml", quiet=True, overwrite_particles=replaced)


def particle_stamps() -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in OUT.glob("particles_*")}


def picked() -> set[str]:
    return {path.name for path in OUT.glob("particles_*")}


def files(index=0, workflow="gabor_gmm") -> set[str]:
    return {f"particles_{index}_{workflow}{ending}" for ending in ENDINGS}


def lists(workflow="gabor_gmm") -> set[str]:
    """Of all tomograms."""
    return {f"particles_{workflow}{ending}" for ending in (".csv", ".star", ".yaml")}


def test_a_run_ends_with_what_pick_finds_in_its_scores(place):
    results = run()
    assert picked() == files(0) | files(1) | files(2) | lists()
    assert [r.path.name for r in results.particles] == [
        f"particles_{i}_gabor_gmm.csv" for i in range(3)
    ]
    for segmentation, particles in zip(results, results.particles, strict=True):
        labels = read_labels(segmentation.path, 5)
        blurred = normalised(mrcfile.read(segmentation.tomogram))
        expected = pick_by_both(
            read_scores(segmentation.path),
            blurred,
            140.0,
            label=None,
            voxel_size=(VOXEL,) * 3,
            inside=labels != -1,
            backend=select_backend("cpu"),
        )
        assert expected.count > 0
        # But for a last digit of the blur.
        np.testing.assert_allclose(particles.coordinates, expected.coordinates, atol=0.01)
        np.testing.assert_allclose(particles.heights, expected.heights, atol=0.01)
        assert particles.threshold == expected.threshold == 0
        assert particles.contrast == ("dark" if expected.dark else "bright")
        assert particles.label == expected.label
        assert particles.count == expected.count
        assert particles.candidates == len(expected.candidates)
        with particles.path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        z, y, x = expected.coordinates[0]
        assert [float(rows[0][name]) for name in "xyz"] == pytest.approx([x, y, z], abs=0.01)
        assert float(rows[0]["x_angstrom"]) == pytest.approx(float(rows[0]["x"]) * VOXEL, rel=1e-6)
        table = starfile.read(particles.path.with_suffix(".star"))
        assert len(table) == expected.count
        assert set(table["rlnTomoName"]) == {particles.tomogram.stem}


def test_scores_alone_pick_what_pick_finds_in_them(place):
    results = run(particles=PICK | {"source": "score"})
    for segmentation, particles in zip(results, results.particles, strict=True):
        expected = pick(
            read_scores(segmentation.path),
            140.0,
            label=None,
            voxel_size=(VOXEL,) * 3,
            inside=read_labels(segmentation.path, 5) != -1,
            backend=select_backend("cpu"),
        )
        assert expected.count > 0
        np.testing.assert_array_equal(particles.coordinates, expected.coordinates)
        np.testing.assert_array_equal(particles.heights, expected.heights)
        assert particles.threshold == expected.threshold
        assert particles.contrast is None


@pytest.mark.parametrize("source", ["both", "score", "tomogram"])
def test_heights_of_one_hill_are_doubted(place, capsys, source):
    """The three tomograms are noise, where no threshold parts two groups of heights."""
    noise = np.random.default_rng(0).standard_normal((48, 48, 48)).astype(np.float32)
    mrcfile.write("noise.mrc", noise, voxel_size=VOXEL)
    changes = {
        "inputs": [{"tomogram": "noise.mrc"}],
        "feature_extraction_params": [{"mode": "gabor"}],
    }
    particles = {"diameter": 6 * VOXEL, "source": source}
    warned = run(**changes, particles=particles)
    (text,) = warned.warnings
    assert "heights of candidates form one hill" in text
    assert warned.particles[0].separation < 0.75
    (step,) = [one for one in record()["units"] if one["mode"] == "particles"]
    assert step["warnings"] == [text]
    assert run(**changes, particles=particles).warnings == [text]  # picked earlier
    changes |= {"particles": particles | {"threshold": 0.1}, "overwrite_particles": True}
    assert run(**changes).warnings == []


def test_the_record_and_the_yaml_say_how(place):
    results = run()
    unit = next(u for u in record()["units"] if u["mode"] == "particles" and u["index"] == 1)
    (told,) = unit["particles"]
    assert unit["status"] == "done"
    assert (told["mode"], told["method"]) == ("gabor", "gmm")
    assert set(told["files"]) == files(1)
    assert told["settings"] | PICK == told["settings"]
    assert told["count"] == results.particles[1].count
    assert told["threshold"] == results.particles[1].threshold
    content = yaml.safe_load((OUT / "particles_1_gabor_gmm.yaml").read_text())
    metadata = content["metadata"]
    assert metadata["fex_mode"] == "gabor"
    assert metadata["particle_cluster_id"] == 1
    assert json.loads(metadata["particles_settings"])["diameter"] == 140.0
    assert len(content["Predicted_Particle_Centroid_Coordinates"]) == told["count"]


def test_a_dry_run_names_files_and_writes_none(place, capsys):
    configure(feature_extraction_params=[{"mode": "gabor"}], particles=PICK)
    assert main(["params.yaml", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert len(re.findall(r"from gabor-gmm and the tomogram, in at most \d+ MiB\n", out)) == 1
    assert out.count("gabor, particles, report\n") == 3
    assert main(["params.yaml", "--dry-run", "--tomograms", "1"]) == 0
    out = capsys.readouterr().out
    assert len(re.findall(r"from gabor-gmm and the tomogram, in at most \d+ MiB\n", out)) == 1
    assert {Path(line.strip()).name for line in out.splitlines()} >= files(1)
    assert not OUT.exists()
    run(clustering_methods=["kmeans", "gmm"])
    configure(feature_extraction_params=[{"mode": "gabor"}], particles=PICK, report=False)
    assert main(["params.yaml", "--dry-run"]) == 0
    assert len(re.findall(r"^\d  .* done earlier$", capsys.readouterr().out, re.M)) == 3
    assert main(["params.yaml", "--dry-run", "--tomograms", "1"]) == 0
    assert capsys.readouterr().out.count(" MiB, done earlier") == 1


def test_a_rerun_leaves_all_as_it_is(place):
    first = run()
    before = particle_stamps(), stamps()
    again = run()
    assert (particle_stamps(), stamps()) == before
    assert all(r.reused for r in again.particles)
    for one, other in zip(first.particles, again.particles, strict=True):
        assert (one.count, one.threshold, one.candidates) == (
            other.count,
            other.threshold,
            other.candidates,
        )
    assert {u["status"] for u in record()["units"]} == {"done earlier"}


@pytest.mark.parametrize("report", [False, True])
def test_other_settings_pick_again_and_segment_nothing(place, report):
    run(report=report)
    before = stamps()
    first = particle_stamps()
    results = run(report=report, particles={"diameter": 110.0}, overwrite_particles=True)
    assert stamps() == before
    assert all(particle_stamps()[name] > first[name] for name in first)
    assert not any(r.reused for r in results.particles)


def test_the_index_counts_them(place):
    results = run(report=True)
    told = data_of((OUT / "report.html").read_text())["tomograms"]
    picks = [pick for entry in told for pick in entry["picks"]]
    assert [pick["count"] for pick in picks] == [result.count for result in results.particles]
    assert {(pick["mode"], pick["method"]) for pick in picks} == {("gabor", "gmm")}
    changed = PICK | {"max_particles": 1}
    again = run(report=True, particles=changed, overwrite_particles=True)
    assert {result.count for result in again.particles} == {1}
    told = data_of((OUT / "report.html").read_text())["tomograms"]
    assert [pick["count"] for entry in told for pick in entry["picks"]] == [1, 1, 1]


@pytest.mark.parametrize("report", [False, True])
def test_what_is_lost_is_written_again(place, report):
    run(report=report)
    before = particle_stamps()
    lost = [OUT / f"particles_1_gabor_gmm{ending}" for ending in (".star", ".cmm")]
    contents = [path.read_bytes() for path in lost]
    for path in lost:
        path.unlink()
    assert all(particles.reused for particles in run(report=report).particles)
    after = particle_stamps()
    assert {name for name in before if after[name] != before[name]} == {p.name for p in lost}
    assert [path.read_bytes() for path in lost] == contents


@pytest.mark.parametrize("report", [False, True])
def test_a_format_that_is_added_is_written_without_picking_again(place, report, capsys):
    first = run(report=report)
    before, new = particle_stamps(), {f"particles_{i}_gabor_gmm.warp.star" for i in range(3)}
    kept = {name for name in before if name not in lists() and not name.endswith(".npz")}
    wanted = PICK | {"formats": ["warp"]}
    one = [{"mode": "gabor"}]
    configure(
        feature_extraction_params=one, clustering_methods=["gmm"], particles=wanted, report=report
    )
    for index in range(3):
        assert main(["params.yaml", "--dry-run", "--tomograms", str(index)]) == 0
        out = capsys.readouterr().out.split("Files:")[1]
        (told,) = [Path(line.strip()).name for line in out.splitlines() if "particles_" in line]
        assert told == f"particles_{index}_gabor_gmm.warp.star"
    results = run(report=report, particles=wanted)
    assert all(particles.reused for particles in results.particles)
    after = particle_stamps()
    assert after.keys() - before.keys() == new | {"particles_gabor_gmm.warp.star"}
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    for one, other in zip(first.particles, results.particles, strict=True):
        added = f"{other.path.stem}.warp.star"
        assert {*other.files} == {*one.files, added}
        table = starfile.read(other.place_of(added))
        voxels = table[[f"rlnCoordinate{axis}" for axis in "ZYX"]].to_numpy()
        assert np.abs(voxels - other.coordinates).max() <= 0.51e-6
        assert set(table["rlnMicrographName"]) == {f"{other.tomogram.stem}.tomostar"}
    assert all(particles.reused for particles in run(report=report).particles)
    after_all = particle_stamps()
    assert {name: after_all[name] for name in kept} == {name: before[name] for name in kept}


def test_an_old_format_goes_with_what_was_picked(place):
    run(particles=PICK | {"formats": ["relion4", "dynamo"], "binning": 4})
    further = {f"particles_0_gabor_gmm{ending}" for ending in (".relion4.star", ".tbl", ".doc")}
    assert picked() >= files(0) | further
    run(particles={"diameter": 110.0}, overwrite_particles=True)
    assert picked() == files(0) | files(1) | files(2) | lists()


@pytest.mark.parametrize("report", [False, True])
def test_without_particles_there_is_no_star(place, report, capsys):
    none = PICK | {"threshold": 100, "formats": ["warp", "imod"]}
    results = run(report=report, particles=none)
    each = (".csv", ".yaml", ".npz")
    some = {f"particles_{i}_gabor_gmm{ending}" for i in range(3) for ending in each}
    assert picked() == some | {"particles_gabor_gmm.csv", "particles_gabor_gmm.yaml"}
    assert [particles.count for particles in results.particles] == [0, 0, 0]
    assert results.particles[0].files == [f"particles_0_gabor_gmm{ending}" for ending in each]
    before = particle_stamps()
    assert all(particles.reused for particles in run(report=report, particles=none).particles)
    assert particle_stamps() == before
    assert main(["params.yaml", "--dry-run"]) == 0
    assert "particles_0_" not in capsys.readouterr().out


def test_an_empty_star_of_an_older_version_goes(place):
    none = PICK | {"threshold": 100}
    run(particles=none)
    old = OUT / "particles_0_gabor_gmm.star"
    old.write_text("data_particles\n\nloop_\n_rlnTomoName #1\n")
    assert all(particles.reused for particles in run(particles=none).particles)
    run(particles=none | {"threshold": 99}, overwrite_particles=True)
    assert not old.exists()


def test_a_lost_csv_is_picked_again(place):
    run()
    before = particle_stamps()
    (OUT / "particles_1_gabor_gmm.csv").unlink()
    run()
    after = particle_stamps()
    assert {name for name in before if after[name] != before[name]} == files(1)


def test_particles_of_a_segmentation_that_is_replaced_go(place):
    run()
    run(particles=None, scores=True, blur_sigma=1.5)
    assert picked() == set()


def test_a_file_of_others_is_not_replaced(place, capsys):
    run(particles=None)
    mine = OUT / "particles_0_gabor_gmm.csv"
    mine.write_text("x,y,z\n1,2,3\n")
    with pytest.raises(PicketError, match="already exists and carries no picket_gpu settings"):
        run()
    assert mine.read_text() == "x,y,z\n1,2,3\n"
    assert main(["params.yaml", "--overwrite", "-q"]) == 0
    assert mine.read_text().startswith("x_angstrom")


@pytest.mark.filterwarnings("ignore:Data array contains NaN values:RuntimeWarning")
def test_a_tomogram_that_fails_stops_no_other(place, capsys):
    break_nan(place / "t1.mrc")
    results = run()
    assert picked() == files(0) | files(2) | lists()
    assert [(f.index, f.mode) for f in results.failures] == [(1, None)]
    configure(feature_extraction_params=[{"mode": "gabor"}], particles=PICK, output_dir="other")
    pytest.importorskip("distributed")
    assert main(["params.yaml", "--workers", "1", "-q"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_mode_that_fails_leaves_nothing_to_pick_from(place, monkeypatch):
    def fail(*_):
        raise PicketError("no")

    monkeypatch.setattr("picket_gpu.run.task.run_workflows", fail)
    with pytest.raises(NothingDoneError) as caught:
        run(inputs=[{"tomogram": "t0.mrc"}])
    assert [(f.mode, f.message) for f in caught.value.failures] == [
        ("gabor", "t0.mrc: no"),
        ("particles", "t0.mrc: no particles, because the segmentation by gabor-gmm failed"),
    ]
    assert not OUT.exists()


def test_each_workflow_that_is_asked_for_has_its_files(place):
    results = run(
        clustering_methods=["kmeans", "gmm"],
        particles=PICK | {"workflows": ["gabor-kmeans", "gabor-gmm"], "max_particles": 2},
    )
    assert picked() >= files(0, "gabor_kmeans") | files(0, "gabor_gmm")
    assert len(results.particles) == 6
    assert all(r.count <= 2 for r in results.particles)


def test_the_default_is_the_mixture_of_gabor_then_any_mixture_then_all(place):
    both = [{"mode": "intensities"}, {"mode": "gabor"}]
    assert {r.mode for r in run(feature_extraction_params=both).particles} == {"gabor"}
    one = run(feature_extraction_params=[{"mode": "intensities"}])
    assert {(r.mode, r.method) for r in one.particles} == {("intensities", "gmm")}
    rest = run(feature_extraction_params=both, clustering_methods=["kmeans"])
    assert {(r.mode, r.method) for r in rest.particles} == {
        ("gabor", "kmeans"),
        ("intensities", "kmeans"),
    }


def test_picking_in_the_tomogram_needs_no_scores(place):
    results = run(particles=PICK | {"source": "tomogram"})
    of_each = [files(index, "tomogram_ball") for index in range(3)]
    assert picked() == set().union(*of_each, lists("tomogram_ball"))
    assert read_scores(results[0].path) is None
    assert all(r.count > 0 for r in results.particles)
    before = particle_stamps()
    run(particles=PICK | {"source": "tomogram"})
    assert particle_stamps() == before


@pytest.mark.parametrize("source", ["both", "score", "tomogram"])
@pytest.mark.parametrize("save", ["hdf5", "mrc"])
def test_no_particle_lies_outside_the_mask(place, source, save):
    """Files other than HDF5 do not say where there is none."""
    mask = np.zeros((20, 24, 28), dtype=np.int8)
    mask[:, 8:20, 6:22] = 1
    mrcfile.write(place / "mask.mrc", mask)
    results = run(
        inputs=[{"tomogram": "t0.mrc", "mask": "mask.mrc"}],
        particles=PICK | {"source": source},
        save=[save],
    )
    found = np.rint(results.particles[0].coordinates).astype(int)
    assert len(found) > 0
    assert mask[tuple(found.T)].all()


@pytest.mark.parametrize("save", [["mrc"], ["hdf5"]])
def test_the_kind_of_file_does_not_matter(place, save):
    usual = run().particles[0].coordinates
    again = run(save=save, output_dir="other").particles[0].coordinates
    np.testing.assert_array_equal(again, usual)


@pytest.mark.slow
def test_workers_pick_the_same(place):
    pytest.importorskip("distributed")
    expected = [r.coordinates for r in run(output_dir="here").particles]
    configure(
        feature_extraction_params=[{"mode": "gabor"}],
        clustering_methods=["gmm"],
        report=True,
        particles=PICK,
    )
    assert main(["params.yaml", "--workers", "2", "-q"]) == 0
    found = [r.coordinates for r in run_s1("params.yaml", quiet=True).particles]
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_tomogram_without_a_voxel_size_is_refused_before_anything_is_done(place, capsys):
    with mrcfile.open("t1.mrc", "r+") as mrc:
        mrc.voxel_size = 0
    configure(particles=PICK)
    assert main(["params.yaml"]) == 2
    assert "t1.mrc: picking particles needs a voxel size" in the_error(capsys.readouterr().err)
    assert not os.path.exists("out")
    configure(
        particles=PICK,
        inputs=[{"tomogram": "t1.mrc", "voxel_size": VOXEL}],
        feature_extraction_params=[{"mode": "gabor"}],
    )
    assert main(["params.yaml", "-q"]) == 0


@pytest.mark.parametrize("diameter", [26.0, 400.0])
def test_a_diameter_that_cannot_be_meant_is_refused(place, capsys, diameter):
    configure(particles={"diameter": diameter})
    assert main(["params.yaml"]) == 2
    error = the_error(capsys.readouterr().err)
    assert error.startswith("particles.diameter: must be 26.96 to 377.44 angstrom for t0.mrc")
    assert not os.path.exists("out")


def test_a_number_counts_from_the_threshold_that_auto_finds(place):
    noise = np.random.default_rng(0).normal(size=(40, 64, 64)).astype("f4")
    with mrcfile.new("noise.mrc", noise) as file:
        file.voxel_size = VOXEL
    inputs = [{"tomogram": str(DATA / "phantom_a.mrc")}, {"tomogram": "noise.mrc"}]
    counts = {}
    for threshold in ("auto", 0.0, "tomogram"):
        found = run(
            inputs=inputs, particles=PICK | {"threshold": threshold}, overwrite_particles=True
        )
        counts[threshold] = [one.count for one in found.particles]
    assert counts["auto"][0] > 10
    assert counts[0.0] == counts["auto"]
    assert counts["tomogram"][0] == counts["auto"][0]
    assert counts["tomogram"][1] > counts["auto"][1] + 10


def test_a_list_in_voxels_of_several_sizes_is_told(place):
    inputs = [{"tomogram": f"t{number}.mrc", "voxel_size": VOXEL} for number in range(2)]
    particles = PICK | {"threshold": -1.0, "formats": ["warp", "dynamo"]}
    (alike,) = run(inputs=inputs, particles=particles).lists
    assert alike.warnings == []
    inputs[1]["voxel_size"] = 10.0
    (unlike,) = run(inputs=inputs, particles=particles, overwrite_particles=True).lists
    assert all(one.count for one in unlike.particles)
    (warning,) = unlike.warnings
    assert "particles_gabor_gmm.warp.star: is in voxels of 13.48 and 10 angstrom" in warning
