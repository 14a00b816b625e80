"""python -m picket_gpu.pick: what a run would pick, other settings, PickET's files, bad inputs."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import pytest
import yaml

from benchmarks.sklearn_recipe import normalised
from picket_gpu import run_s1
from picket_gpu.errors import PicketError
from picket_gpu.particles.formats.csv import CSV
from picket_gpu.particles.picking import pick, pick_by_both
from picket_gpu.particles.settings import ParticleSettings
from picket_gpu.pick import main, pick_files
from tests.support.command_line import ENVIRONMENT, called, names, snapshot, the_error
from tests.support.data import DATA
from tests.support.golden_s2 import golden

STEM = "particles_0_intensities_gmm"
SIZE = 13.48  # angstrom, of the phantom's voxels


def config(directory: Path, **changes) -> dict:
    return {
        "dataset_name": "set",
        "inputs": [{"tomogram": str(DATA / "phantom_a.mrc")}],
        "output_dir": str(directory),
        "feature_extraction_params": [{"mode": "intensities"}],
        "device": "cpu",
        "report": False,
        **changes,
    }


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "picket_gpu.pick", *map(str, arguments)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
    )


def tables(directory: Path) -> dict[str, list[str]]:
    """Lines of files of particles, but those with the time they were written."""
    kinds = (".csv", ".star", ".cmm", ".json")
    found = [path for path in directory.rglob("*particle*") if path.suffix in kinds]
    return {
        str(path.relative_to(directory)): [
            line for line in path.read_text().splitlines() if "starfile Python package" not in line
        ]
        for path in found
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The output directory of a run that has picked with a diameter of 140 angstrom."""
    directory = tmp_path_factory.mktemp("run")
    run_s1(config(directory, particles={"diameter": 140}), quiet=True)
    return directory / "set"


@pytest.fixture
def run(finished, tmp_path):
    """A copy of it."""
    return Path(shutil.copytree(finished, tmp_path / "set"))


@pytest.fixture
def bare(run):
    """A copy without particles."""
    for path in run.glob("particles_*"):
        path.unlink()
    return run


def test_it_picks_what_the_run_picks(finished, bare):
    process = command(bare, "--diameter", 140)
    assert (process.returncode, process.stderr) == (0, "")
    assert tables(bare) == tables(finished)
    assert len(tables(bare)) == 3
    (line,) = process.stdout.splitlines()
    count = len(CSV.read(bare / f"{STEM}.csv"))
    assert f"{STEM}.csv (.star, .cmm, .yaml, .npz): {count} particles from " in line


def test_a_run_that_follows_keeps_it_if_its_settings_are_the_same(bare):
    assert called(main, bare, "--diameter", 140).returncode == 0
    before = snapshot(bare)
    for diameter, kept in ((140, True), (130, False)):
        settings = config(bare.parent, particles={"diameter": diameter})
        (result,) = run_s1(settings, quiet=True, overwrite_particles=not kept).particles
        assert result.reused is kept
        assert (snapshot(bare)[f"{STEM}.csv"] == before[f"{STEM}.csv"]) is kept


def test_other_settings_replace_nothing_unless_they_are_to(run, capsys):
    before = snapshot(run)
    assert main([str(run), "--diameter", "120"]) == 2
    error = the_error(capsys.readouterr().err)
    assert (
        f"{STEM}.csv: was picked with other settings (diameter: 140.0 before, 120.0 now)" in error
    )
    with pytest.raises(PicketError, match=r"threshold: auto before, 0\.5 now"):
        run_s1(config(run.parent, particles={"diameter": 140, "threshold": 0.5}), quiet=True)
    assert snapshot(run) == before


def test_a_table_edited_by_hand_holds_until_it_is_to_be_replaced(run):
    whole = (run / f"{STEM}.csv").read_text()
    fewer = "".join(whole.splitlines(keepends=True)[:-1])
    (run / f"{STEM}.csv").write_text(fewer)
    assert main([str(run), "--diameter", "140", "--quiet"]) == 0
    assert (run / f"{STEM}.csv").read_text() == fewer
    assert main([str(run), "--diameter", "140", "--overwrite", "--quiet"]) == 0
    assert (run / f"{STEM}.csv").read_text() == whole


def test_lists_of_names_and_of_files_are_options(run):
    first, second = (f"{STEM}{name}.csv" for name in ("_first", "_second"))
    half = str(run / "half.csv")
    whole = (run / f"{STEM}.csv").read_text().splitlines(keepends=True)
    Path(half).write_text("".join(whole[: len(whole) // 2]))
    for name in ("first", "second"):
        given = ["--diameter", "140", "--name", name, "--not-in", "first", "--quiet"]
        assert main([str(run), *given[: 4 if name == "first" else 6]]) == 0
    assert (run / first).read_text() == "".join(whole)
    assert not {*(run / second).read_text().splitlines()[1:]} & {*map(str.strip, whole)}
    both = ["--exclude", half, str(run / first)]
    assert main([str(run), "--diameter", "140", "--name", "third", *both, "--quiet"]) == 0
    left = (run / f"{STEM}_third.csv").read_text().splitlines()[1:]
    assert not {*left} & {*map(str.strip, whole)}


def test_it_keeps_what_a_run_has_picked_with_the_same_settings(run, capsys):
    before = snapshot(run)
    assert main([str(run), "--diameter", "140.0"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("picked earlier")
    assert snapshot(run) == before


def test_another_diameter_replaces_them(run):
    before = tables(run)
    assert main([str(run), "--diameter", "120", "-q", "--overwrite"]) == 0
    assert tables(run).keys() == before.keys()
    assert all(tables(run)[name] != before[name] for name in before)
    with h5py.File(run / "segmentation_0_intensities_gmm.h5") as file:
        group = file["segmentations"]
        scores, labels = group["particle_score"][...], group["semantic_segmentation"][...]
    picks = pick_by_both(
        scores,
        normalised(mrcfile.read(DATA / "phantom_a.mrc")),
        120.0,
        label=None,
        voxel_size=(SIZE,) * 3,
        inside=labels != -1,
    )
    # But for the last digit of the blur.
    found = CSV.read(run / f"{STEM}.csv")[:, 6:3:-1]
    np.testing.assert_allclose(found, picks.coordinates, atol=0.01)


def test_a_file_of_every_kind_gives_the_same(finished, bare, tmp_path):
    for suffix in (".h5", ".mrc"):
        out = tmp_path / suffix
        segmentation = bare / f"segmentation_0_intensities_gmm{suffix}"
        assert main([str(segmentation), "--diameter", "140", "--output-dir", str(out), "-q"]) == 0
        assert tables(out) == tables(finished)


def test_mrc_files_alone_will_do(finished, bare, tmp_path):
    """Their record says what they are of."""
    for path in bare.glob("*.h5"):
        path.unlink()
    assert main([str(bare), "--diameter", "140", "-q"]) == 0
    assert tables(bare) == tables(finished)


def test_attributes_will_do_without_a_record(finished, bare):
    (bare / "run.json").unlink()
    assert main([str(bare), "--diameter", "140", "-q"]) == 0
    assert tables(bare) == tables(finished)


def test_zarr_gives_the_same(finished, tmp_path):
    run_s1(config(tmp_path, save=["zarr"], scores=True), quiet=True)
    for record in (True, False):
        if not record:
            (tmp_path / "set/run.json").unlink()
        assert main([str(tmp_path / "set"), "--diameter", "140", "-q", "--overwrite"]) == 0
        assert tables(tmp_path / "set") == tables(finished)


def test_further_formats_are_options(run):
    before = snapshot(run)
    formats = ("warp", "imod", "dynamo", "relion4")
    process = called(main, run, "--diameter", 140, "--formats", *formats, "--binning", 4)
    assert (process.returncode, process.stderr) == (0, "")
    endings = ".star, .cmm, .yaml, .warp.star, .imod.txt, .tbl, .doc, .relion4.star, .npz"
    assert f"{STEM}.csv ({endings}): " in process.stdout
    after = snapshot(run)
    made = {f"{STEM}{ending}" for ending in endings.split(", ")[3:-1]}  # candidates are there
    assert {name for name in after if Path(name).name in made} == after.keys() - before.keys()
    assert {Path(name).name for name in after.keys() - before.keys()} == made
    found = CSV.read(run / f"{STEM}.csv")[:, 4:7]
    assert np.abs(np.loadtxt(run / f"{STEM}.imod.txt") - found - [0.5, 0.5, 0]).max() <= 0.51e-3
    tomogram = DATA / "phantom_a.mrc"
    assert (run / f"{STEM}.doc").read_text() == f"1 {tomogram.absolute()}\n"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--formats", "relion4"], "relion4 counts in unbinned voxels; set binning"),
        (["--formats", "warp", "warp"], "--formats: warp appears twice; remove one"),
        (["--formats", "eman"], "--formats"),
        (["--binning", "4"], "binning: has no effect without formats: [relion4]; remove it"),
        (["--formats", "relion4", "--binning", "0.5"], "--binning: "),
    ],
)
def test_formats_that_cannot_be_are_told(run, capsys, options, text):
    before = snapshot(run)
    assert main([str(run), "--diameter", "140", *options]) == 2
    assert text in the_error(capsys.readouterr().err)
    assert snapshot(run) == before


def test_picks_of_copick_go_along(tmp_path):
    particles = {"diameter": 140}
    run_s1(config(tmp_path, save=["hdf5", "copick"], particles=particles), quiet=True)
    made = tables(tmp_path)
    assert len(made) == 4
    assert main([str(tmp_path / "set"), "--diameter", "120", "-q", "--overwrite"]) == 0
    assert all(tables(tmp_path)[name] != made[name] for name in made)
    assert main([str(tmp_path / "set"), "--diameter", "140", "-q", "--overwrite"]) == 0
    assert tables(tmp_path) == made


def test_workflows_are_chosen_and_a_file_is_what_it_is(bare, tmp_path):
    arguments = ["--diameter", "140", "--workflow", "intensities-kmeans", "intensities-gmm", "-q"]
    assert main([str(bare), *arguments]) == 0
    assert len(tables(bare)) == 6
    file = bare / "segmentation_0_intensities_kmeans.h5"
    assert main([str(file), "--diameter", "140", "--output-dir", str(tmp_path / "o"), "-q"]) == 0
    assert tables(tmp_path / "o").keys() == {
        f"particles_0_intensities_kmeans{suffix}" for suffix in (".csv", ".star", ".cmm")
    }


def test_the_tomogram_itself(bare):
    particles = {"diameter": 140, "source": "tomogram"}
    run_s1(config(bare.parent, scores=True, particles=particles), quiet=True)
    made = tables(bare)
    assert made
    for path in bare.glob("particles_*"):
        path.unlink()
    assert main([str(bare), "--diameter", "140", "--source", "tomogram", "-q"]) == 0
    assert tables(bare) == made


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        (
            {"method": "watershed", "min_distance": 67.4, "margin": 67.4},
            ["--method", "watershed", "--min-distance", "67.4", "--margin", "67.4"],
        ),
        (
            {"method": "components", "least_size": 40.0, "max_particles": 5},
            ["--method", "components", "--least-size", "40", "--max-particles", "5"],
        ),
    ],
    ids=["watershed", "components"],
)
def test_picket_methods_in_a_run_and_in_the_command(bare, settings, options):
    if settings["method"] == "watershed":
        pytest.importorskip("skimage")
    # Scores are kept, for the segmentations to be the same.
    run_s1(config(bare.parent, particles={"diameter": 140} | settings), quiet=True)
    made = tables(bare)
    method = settings["method"]
    assert made.keys() == {f"{STEM}_{method}{suffix}" for suffix in (".csv", ".star", ".cmm")}
    for path in bare.glob("particles_*"):
        path.unlink()
    assert main([str(bare), "--diameter", "140", *options, "-q"]) == 0
    assert tables(bare) == made
    told = yaml.safe_load((bare / f"{STEM}_{method}.yaml").read_text())["metadata"]
    assert (
        told["pex_mode"]
        == {
            "watershed": "watershed_segmentation",
            "components": "connected_component_labeling",
        }[method]
    )
    assert told["pex_min_distance"] == {"watershed": 5, "components": "None"}[method]


def test_results_of_another_segmentation_do_not_stay(bare):
    main([str(bare), "--diameter", "140", "--method", "components", "-q"])
    assert (bare / f"{STEM}_components.csv").exists()
    run_s1(config(bare.parent, scores=True, blur_sigma=1.5), quiet=True)
    assert not list(bare.glob("particles_*"))


def test_for_scripts(bare):
    results, failures = pick_files([bare], ParticleSettings(diameter=140, max_particles=3))
    assert failures == []
    (result,) = results
    assert result.path == bare / f"{STEM}.csv"
    assert (result.mode, result.method, result.count) == ("intensities", "gmm", 3)
    assert result.coordinates.shape == (3, 3)


def test_one_that_fails_does_not_stop_the_rest(bare, capsys):
    shutil.copy(
        bare / "segmentation_0_intensities_gmm.h5", bare / "segmentation_1_intensities_gmm.h5"
    )
    with h5py.File(bare / "segmentation_0_intensities_gmm.h5", "r+") as file:
        file["segmentations/particle_score"][0, 0, 0] = 7
    assert main([str(bare), "--diameter", "140"]) == 1
    told = capsys.readouterr()
    assert "scores: must be 0 to 1" in the_error(told.err)
    assert "particles_1_intensities_gmm.csv" in told.out


# PickET's own files.


def picket_file(path: Path, labels: np.ndarray, **attributes: object) -> Path:
    """As S1 of PickET writes it."""
    told = {
        "dataset_name": "set",
        "tomogram_path": str(DATA / "phantom_a.mrc"),
        "tomogram_shape": "None",
        "voxel_size": np.array([SIZE] * 3),
        "neighborhood_size": 5,
        "fex_mode": "intensities",
        "clustering_method": "gmm",
        **attributes,
    }
    with h5py.File(path, "w") as file:
        group = file.create_group("segmentations")
        group.create_dataset("semantic_segmentation", data=labels.astype(np.int64))
        for name, value in told.items():
            if value is not ...:
                group.attrs[name] = value
    return path


@pytest.fixture(scope="module")
def labels():
    return golden("phantom_a", "cc_label1").labels


NAME = "segmentation_0_intensities_gmm.h5"


def test_labels_serve_as_scores_and_the_border_has_none(tmp_path, labels):
    inside = labels != -1
    expected = pick((labels == 1).astype(np.float16), 140.0, voxel_size=(SIZE,) * 3, inside=inside)
    swapped = np.where(inside, labels, 1)  # PickET may leave its border so
    for border, told in (("none", swapped), ("-1", labels)):
        (tmp_path / border).mkdir()
        picket_file(tmp_path / border / NAME, told)
        options = ["--diameter", "140", "--source", "score", "-q"]
        assert main([str(tmp_path / border), *options]) == 0
        table = CSV.read(tmp_path / border / f"{STEM}.csv")
        np.testing.assert_array_equal(table[:, 6:3:-1], expected.coordinates)


def test_geometry_comes_from_the_tomogram_or_an_option(tmp_path, labels, capsys):
    path = picket_file(tmp_path / NAME, labels, voxel_size=...)
    score = ["--source", "score"]
    assert main([str(path), "--diameter", "140", *score, "-q"]) == 0
    first = CSV.read(tmp_path / f"{STEM}.csv")
    picket_file(path, labels, voxel_size=..., tomogram_path="gone.mrc")
    assert main([str(path), "--diameter", "140"]) == 2
    assert "voxel size is unknown; give --voxel-size" in the_error(capsys.readouterr().err)
    assert main([str(path), "--diameter", "140", "--voxel-size", "13.48", *score]) == 0
    assert "origin of the tomogram is unknown" in capsys.readouterr().out
    np.testing.assert_array_equal(CSV.read(tmp_path / f"{STEM}.csv")[:, 3:], first[:, 3:])
    size = ["--diameter", "280", "--voxel-size", "26.96", "--overwrite"]
    assert main([str(path), *size, *score, "-q"]) == 0
    table = CSV.read(tmp_path / f"{STEM}.csv")
    np.testing.assert_array_equal(table[:, 3:], first[:, 3:])
    np.testing.assert_allclose(table[:, :3], 26.96 * table[:, 4:])


def test_without_its_tomogram_it_says_what_to_do_and_picks_from_nothing_else(
    tmp_path, labels, capsys
):
    path = picket_file(tmp_path / NAME, labels, tomogram_path="gone.mrc")
    before = snapshot(tmp_path)
    told = [str(path), "--diameter", "140", "--voxel-size", "13.48"]
    assert main(told) == 2
    error = the_error(capsys.readouterr().err)
    assert error.startswith(f"{path}: gone.mrc: no such file")
    assert error.endswith("; or use --source score, which picks without the tomogram")
    assert snapshot(tmp_path) == before
    picket_file(path, labels, tomogram_path=...)  # nor a name of it
    assert main(told) == 2
    assert "records no tomogram; use --source score" in the_error(capsys.readouterr().err)
    assert main([*told, "--source", "score", "-q"]) == 0


def test_the_contrast_that_was_found_is_told_and_kept(bare, capsys):
    for source, contrast in (("both", "dark"), ("tomogram", "dark"), ("score", None)):
        options = [str(bare), "--diameter", "140", "--source", source]
        assert main([*options, "--overwrite"]) == 0
        (line,) = capsys.readouterr().out.splitlines()
        assert (", dark, threshold" in line) == (contrast is not None)
        stem = STEM if source != "tomogram" else "particles_0_tomogram_ball"
        told = yaml.safe_load((bare / f"{stem}.yaml").read_text())["metadata"]
        assert told.get("particles_contrast") == contrast
        assert main(options) == 0
        again = capsys.readouterr().out.splitlines()[0]
        assert again == line + ", picked earlier"


def test_a_threshold_of_both_counts_from_the_automatic_one(bare):
    heights = {}
    for threshold in ("auto", 0, 1, -0.9):
        options = ["--diameter", "140", "--threshold", str(threshold), "-q", "--overwrite"]
        assert main([str(bare), *options]) == 0
        heights[threshold] = CSV.read(bare / f"{STEM}.csv")[:, 3]
    np.testing.assert_array_equal(heights[0], heights["auto"])
    assert heights["auto"].min() >= 0
    np.testing.assert_array_equal(heights[1], heights[0][heights[0] >= 1])
    np.testing.assert_array_equal(heights[0], heights[-0.9][heights[-0.9] >= 0])
    assert len(heights[-0.9]) > len(heights[0]) > len(heights[1]) > 0


def test_each_particle_has_the_size_by_which_it_is_picked(bare, capsys):
    """In the table, the spheres, napari's circles and the page made again."""
    options = [str(bare), "--diameter", "110", "170"]
    assert main(options) == 0
    line = capsys.readouterr().out.splitlines()[0]
    table = CSV.read(bare / f"{STEM}.csv")
    assert (bare / f"{STEM}.csv").read_text().startswith("x_angstrom,y_angstrom,z_angstrom,score,")
    sizes = table[:, 7]
    assert len(set(sizes)) > 1
    assert set(np.round(sizes, 6)) <= set(np.round(np.geomspace(110, 170, 7), 6))
    radii = re.findall(r'radius="([0-9.]+)"', (bare / f"{STEM}.cmm").read_text())
    np.testing.assert_allclose(np.array(radii, dtype=float), sizes / 2, atol=6e-4)
    # Two are as far apart as 0.4 of both sizes.
    places = table[:, 4:7] * SIZE
    gaps = np.linalg.norm(places[:, None] - places[None], axis=2)
    least = 0.4 * (sizes[:, None] + sizes[None])
    above = np.triu_indices(len(places), 1)
    assert (gaps[above] >= least[above] - 1e-6).all()
    assert main(options) == 0  # from the files
    assert capsys.readouterr().out.splitlines()[0] == line + ", picked earlier"
    (again,), _ = pick_files([bare], ParticleSettings(diameter=[110, 170]))
    np.testing.assert_array_equal(again.diameters, sizes)
    assert list(again.to_dataframe().columns)[-1] == "diameter_angstrom"


def test_a_file_that_was_replaced_is_picked_from_again(tmp_path, labels, capsys):
    path = picket_file(tmp_path / NAME, labels)
    main([str(path), "--diameter", "140"])
    picket_file(path, np.roll(labels, 3, axis=2))
    main([str(path), "--diameter", "140"])
    assert "picked earlier" not in capsys.readouterr().out


# Its step 2.


def s2_file(directory: Path, inputs: list, modes: list, **changes) -> Path:
    content = {
        "dataset_name": "set",
        "output_dir": str(directory / "out"),
        "inputs": inputs,
        "particle_extraction_params": modes,
        **changes,
    }
    path = directory / "s2.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


COMPONENTS = {"mode": "connected_component_labeling"}
WATERSHED = {"mode": "watershed_segmentation", "min_distance": 5}
S2_STEM = "predicted_centroids_0_intensities_gmm"


def test_step_2_picks_what_picket_picks(tmp_path, labels):
    pytest.importorskip("skimage")
    segmentation = str(picket_file(tmp_path / NAME, labels))
    entry = {"segmentation": segmentation, "particle_cluster_id": 1}
    process = called(main, s2_file(tmp_path, [entry], [COMPONENTS, WATERSHED]))
    assert (process.returncode, process.stderr) == (0, "")
    assert len(process.stdout.splitlines()) == 2
    out = tmp_path / "out/set/predicted_particles"
    for mode, case in ((COMPONENTS, "cc_label1"), (WATERSHED, "ws5_label1")):
        expected = golden("phantom_a", case)
        table = CSV.read(out / f"{S2_STEM}_{mode['mode']}.csv")
        found = table[:, 6:3:-1]
        ours, theirs = np.lexsort(found.T), np.lexsort(expected.centroids.T)
        np.testing.assert_array_equal(found[ours].astype(np.float32), expected.centroids[theirs])
        content = yaml.safe_load((out / f"{S2_STEM}_{mode['mode']}.yaml").read_text())
        voxels = content["Predicted_Particle_Centroid_Coordinates"]
        assert voxels == [dict(zip("xyz", row, strict=True)) for row in np.rint(table[:, 4:])]
        told = content["metadata"]
        assert told["pex_mode"] == mode["mode"]
        assert told["pex_min_distance"] == mode.get("min_distance", "None")
        assert told["particle_cluster_id"] == 1
        assert told["z_lb_for_particle_extraction"] == "None"


def test_step_2_never_has_two_results_of_one_name(tmp_path, labels):
    pytest.importorskip("skimage")
    path = picket_file(tmp_path / NAME, labels)
    entry = {"segmentation": str(path), "particle_cluster_id": 1}
    limits = {"lower_z-slice_limit": 8, "upper_z-slice_limit": 20}
    (tmp_path / "b").mkdir()
    other = {"segmentation": str(picket_file(tmp_path / "b" / NAME, 1 - abs(labels)))}
    inputs = [entry, entry | limits, entry | other, entry | {"particle_cluster_id": 0}]
    parameters = s2_file(tmp_path, inputs, [COMPONENTS, WATERSHED, WATERSHED | {"min_distance": 3}])
    assert main([str(parameters), "-q"]) == 0
    out = tmp_path / "out/set/predicted_particles"
    stems = {path.stem for path in out.glob("*.yaml")}
    of_input = ["file0_label1_z0toend", "file0_label1_z8to20", "file1_label1_z0toend"]
    of_input += ["file0_label0_z0toend"]
    of_mode = ["connected_component_labeling_{}", "watershed_segmentation_{}_distance5"]
    of_mode += ["watershed_segmentation_{}_distance3"]
    assert stems == {f"{S2_STEM}_{mode.format(told)}" for told in of_input for mode in of_mode}
    limited = golden("phantom_a", "cc_label1_z8_20")
    table = CSV.read(out / f"{S2_STEM}_connected_component_labeling_file0_label1_z8to20.csv")
    assert len(table) == len(limited.centroids)
    before = snapshot(out)
    assert main([str(parameters), "-q"]) == 0
    assert snapshot(out) == before


def test_step_2_replaces_other_settings_only_if_told(tmp_path, labels, capsys):
    pytest.importorskip("skimage")
    entry = {"segmentation": str(picket_file(tmp_path / NAME, labels)), "particle_cluster_id": 1}
    assert main([str(s2_file(tmp_path, [entry], [WATERSHED])), "-q"]) == 0
    parameters = s2_file(tmp_path, [entry], [WATERSHED | {"min_distance": 3}])
    before = snapshot(tmp_path / "out")
    assert main([str(parameters)]) == 2
    assert "use --overwrite to replace it, or change dataset_name" in the_error(
        capsys.readouterr().err
    )
    assert snapshot(tmp_path / "out") == before
    assert main([str(parameters), "--overwrite"]) == 0
    assert snapshot(tmp_path / "out") != before


def test_step_2_without_a_voxel_size_has_voxels_only(tmp_path, labels):
    path = picket_file(tmp_path / NAME, labels, voxel_size=..., tomogram_path="gone.mrc")
    entry = {"segmentation": str(path), "particle_cluster_id": 1}
    assert main([str(s2_file(tmp_path, [entry], [COMPONENTS])), "-q"]) == 0
    assert {Path(name).suffix for name in names(tmp_path / "out/set/predicted_particles")} == {
        ".yaml"
    }


def test_step_2_tells_of_limits_beyond_the_volume_and_of_labels_that_are_nowhere(
    tmp_path, labels, capsys
):
    entry = {"segmentation": str(picket_file(tmp_path / NAME, labels)), "particle_cluster_id": 1}
    parameters = s2_file(tmp_path, [entry, entry | {"lower_z-slice_limit": 40}], [COMPONENTS])
    assert main([str(parameters)]) == 2
    message = the_error(capsys.readouterr().err)
    assert message.startswith(f"{parameters}: inputs[1].lower_z-slice_limit")
    assert "lie outside the volume of 32" in message
    assert not (tmp_path / "out").exists()
    parameters = s2_file(tmp_path, [entry | {"particle_cluster_id": 3}], [COMPONENTS])
    for _ in range(2):
        assert main([str(parameters)]) == 0
        assert "no voxel has the label 3" in capsys.readouterr().out


# Bad inputs.

BAD = {
    "no diameter": ([], "--diameter: is missing"),
    "diameter a word": (
        ["--diameter", "x"],
        "--diameter: must be a number above 0 and at most 1e6, or two",
    ),
    "diameter nan": (["--diameter", "nan"], "--diameter: must be a number above 0"),
    "diameter in voxels": (["--diameter", "14"], "--diameter: must be 26.96 to 1294.08 angstrom"),
    "diameter huge": (["--diameter", "1e5"], "--diameter: must be 26.96 to 1294.08 angstrom"),
    "threshold": (
        ["--threshold", "101"],
        "--threshold: must be auto, tomogram, dataset or a number from -100 to 100",
    ),
    "threshold of scores": (
        ["--source", "score", "--threshold", "1.5"],
        "--threshold: must be auto, tomogram, dataset or a number from 0 to 1",
    ),
    "spacing": (["--spacing", "0"], "--spacing: must be above 0 (got 0)"),
    "margin": (["--margin", "-1"], "--margin: must be 0 or more (got -1)"),
    "number": (["--max-particles", "1.5"], "--max-particles: must be an integer (got 1.5)"),
    "label": (["--label", "2"], "--label: must be 0, 1 or 'auto' (got 2)"),
    "source": (
        ["--source", "mask"],
        "--source: must be 'both', 'score' or 'tomogram' (got 'mask')",
    ),
    "method": (["--method", "blob"], "--method: must be 'ball', 'components' or"),
    "workflow": (
        ["--workflow", "gabor-gmm"],
        "--workflow: gabor-gmm is not among the workflows; use one of",
    ),
    "workflow twice": (["--workflow", "a", "a"], "--workflow: a appears twice"),
    "distance": (["--min-distance", "50"], "--min-distance: has no effect with method ball"),
    "size": (["--least-size", "50"], "--least-size: has no effect with method ball"),
    "spacing of parts": (
        ["--method", "watershed", "--spacing", "50"],
        "--spacing: has no effect with method watershed",
    ),
    "labels of the tomogram": (
        ["--method", "components", "--source", "tomogram"],
        "--method: components needs labels",
    ),
    "voxel size": (["--voxel-size", "0"], "--voxel-size: must be a number of angstrom above 0"),
    "voxel size a word": (["--voxel-size", "x"], "--voxel-size: must be a number"),
    "diameters the wrong way round": (
        ["--diameter", "160", "80"],
        "--diameter: must be one number, or two in brackets, the lesser first",
    ),
    "diameters of labels": (
        ["--method", "components", "--diameter", "80", "160"],
        "diameter: must be one number with method: components",
    ),
    "device": (["--device", "tpu"], "device: must be auto, cpu, gpu or gpu:N"),
    "output_dir a file": (["--output-dir", "FILE"], "--output-dir: "),
}


@pytest.mark.parametrize(("options", "says"), list(BAD.values()), ids=list(BAD))
def test_bad_options_are_refused_in_one_line(run, capsys, options, says):
    before = snapshot(run)
    options = [str(run / "run.json") if option == "FILE" else option for option in options]
    if "--diameter" not in options and says != BAD["no diameter"][1]:
        options += ["--diameter", "140"]
    assert main([str(run), *options]) == 2
    assert says in the_error(capsys.readouterr().err)
    assert snapshot(run) == before


@pytest.mark.slow
def test_bad_options_in_a_process_of_its_own(run):
    process = command(run, "--diameter", -5)
    assert process.returncode == 2
    assert the_error(process.stderr).startswith("--diameter: must be a number above 0")


def test_bad_files_are_refused_in_one_line(run, tmp_path, labels, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "segmentation_0_a_b.h5").write_text("no HDF5")
    shutil.copy(run / NAME, tmp_path / "tomogram.h5")
    with h5py.File(tmp_path / "segmentation_1_a_b.h5", "w") as file:
        file.create_dataset("data", data=np.zeros((3, 3, 3)))
    picket_file(tmp_path / "segmentation_2_a_b.h5", labels, neighborhood_size=4)
    for name, says in {
        "empty": "contains no segmentation_*.h5",
        "gone": "no such file",
        "gone.h5": "no such file",
        "segmentation_0_a_b.h5": "is not an S1 segmentation",
        "segmentation_1_a_b.h5": "is not an S1 segmentation",
        "segmentation_2_a_b.h5": "neighborhood_size",
        "tomogram.h5": "file name has no tomogram number",
        "s2.yaml": "no such file; name a YAML file with S2 parameters",
    }.items():
        options = [] if name == "s2.yaml" else ["--diameter", "140"]
        assert main([str(tmp_path / name), *options]) == 2
        message = the_error(capsys.readouterr().err)
        assert message.startswith(f"{tmp_path / name}: ")
        assert says in message


def test_what_it_did_not_make_is_not_replaced(bare, capsys):
    (bare / f"{STEM}.csv").write_text("mine\n")
    before = snapshot(bare)
    assert main([str(bare), "--diameter", "140"]) == 2
    assert "use --overwrite" in the_error(capsys.readouterr().err)
    assert snapshot(bare) == before
    assert main([str(bare), "--diameter", "140", "--overwrite", "-q"]) == 0
    assert (bare / f"{STEM}.csv").read_text() != "mine\n"


def test_two_results_of_one_name_are_refused(bare, tmp_path, capsys):
    other = Path(shutil.copytree(bare, tmp_path / "other"))
    arguments = [str(bare), str(other), "--diameter", "140"]
    assert main([*arguments, "--output-dir", str(tmp_path / "out")]) == 2
    assert f"would both be written to {STEM}.csv" in the_error(capsys.readouterr().err)
    assert not (tmp_path / "out").exists()
    assert main([*arguments, "-q"]) == 0


def test_the_parameter_file_of_step_2_goes_alone(run, tmp_path, capsys):
    path = s2_file(
        tmp_path, [{"segmentation": str(run / NAME), "particle_cluster_id": 1}], [COMPONENTS]
    )
    for arguments, says in (
        ([str(run), str(path)], "must be the only path"),
        ([str(path), "--diameter", "140"], "--diameter: has no effect with the S2"),
        ([str(path), "--output-dir", "o"], "--output-dir: has no effect with the S2"),
    ):
        assert main(arguments) == 2
        assert says in the_error(capsys.readouterr().err)
