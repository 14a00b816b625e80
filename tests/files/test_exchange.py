"""Segmentations as other packages see them: zarr, ome-zarr-models, napari, copick, mrcfile."""

import json
import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import pytest
import zarr

from picket_gpu import PicketError, run_s1
from picket_gpu.__main__ import main
from picket_gpu.files.atomic import atomic_directory, remove
from picket_gpu.files.formats.omezarr import mean, most_frequent
from picket_gpu.files.segmentation import read_own_attributes
from picket_gpu.files.tomogram import read_header
from picket_gpu.method.labels import FOREGROUND
from picket_gpu.report.__main__ import main as rebuild_main
from picket_gpu.view import add_layers, layers
from picket_gpu.view import main as view
from tests.support.ome_zarr import multiscale

SHAPE, SIZE, ORIGIN = (21, 30, 35), (10.0, 10.0, 10.0), (-11.5, 22.0, 33.25)
METHODS = ("kmeans", "gmm")


def write_tomogram(path, seed=0):
    data = np.random.default_rng(seed).integers(-9, 9, SHAPE).astype(np.int16)
    data[6:14, 8:17, 9:20] += 20
    with mrcfile.new(path) as mrc:
        mrc.set_data(data)
        mrc.voxel_size = SIZE[0]
        mrc.header.origin = ORIGIN
    return path


def configuration(directory, **keys):
    return {
        "dataset_name": "set",
        "inputs": [{"tomogram": directory / "vol.mrc", "name": "TS_01"}],
        "feature_extraction_params": [{"mode": "intensities"}],
        "output_dir": directory / "out",
        "save": ["hdf5", "mrc", "zarr", "copick"],
        "scores": True,
        "device": "cpu",
        "report": False,
    } | keys


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One run that saves everything, and labels of its methods."""
    directory = tmp_path_factory.mktemp("run")
    write_tomogram(directory / "vol.mrc")
    results = run_s1(configuration(directory), quiet=True)
    return directory / "out/set", {result.method: result for result in results}


def file_of(directory, method, ending):
    return directory / f"segmentation_0_intensities_{method}{ending}"


# Zarr.


@pytest.mark.parametrize("method", METHODS)
def test_the_levels_of_labels_are_the_most_frequent_ones(run, method):
    directory, results = run
    group = zarr.open_group(file_of(directory, method, ".zarr"), mode="r")
    levels = [group[str(level)][...] for level in range(3)]
    assert all(level.dtype == np.uint8 for level in levels)
    assert (levels[0] == (results[method].labels == 1)).all()
    for finer, coarser in pairwise(levels):
        assert coarser.shape == tuple(-(-n // 2) for n in finer.shape)
        for place in np.ndindex(coarser.shape):
            # The last plane of an odd axis stands for two: more frequent in what there is.
            block = finer[tuple(slice(2 * n, 2 * n + 2) for n in place)]
            assert coarser[place] == (block.mean() > 0.5)


def test_scores_are_averaged(run):
    directory, results = run
    group = zarr.open_group(file_of(directory, "gmm", "_score.zarr"), mode="r")
    assert (group["0"][...] == results["gmm"].scores).all()
    block = results["gmm"].scores[10:12, 12:14, 14:16].astype(float)
    assert group["1"][5, 6, 7] == pytest.approx(block.mean(), abs=1e-3)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 2, 2), (3, 2, 5)])
def test_halving_of_any_shape(shape):
    ones = np.ones(shape, np.uint8)
    assert (most_frequent(ones) == 1).all()
    assert (most_frequent(ones * 0) == 0).all()
    assert (mean(ones.astype(np.float16)) == 1).all()
    assert most_frequent(np.indices((2, 2, 2))[0].astype(np.uint8)).item() == 0  # four each


@pytest.mark.parametrize("kind", ["", "_score"])
def test_the_models_of_ome_zarr_accept_it(run, kind):
    import ome_zarr_models
    from ome_zarr_models.v04.image import Image
    from ome_zarr_models.v04.image_label import ImageLabel

    directory, _ = run
    group = zarr.open_group(file_of(directory, "gmm", f"{kind}.zarr"), mode="r")
    model = ome_zarr_models.open_ome_zarr(group, version="0.4")
    assert type(model) is (Image if kind else ImageLabel)
    (image,) = model.attributes.multiscales
    assert [(axis.name, axis.type, axis.unit) for axis in image.axes] == [
        (name, "space", "angstrom") for name in "zyx"
    ]
    for level, dataset in enumerate(image.datasets):
        scale, translation = dataset.coordinateTransformations
        assert scale.scale == pytest.approx(np.array(SIZE) * 2**level)
        centre = np.array(ORIGIN[::-1]) + np.array(SIZE) * (2**level - 1) / 2
        assert translation.translation == pytest.approx(centre)


@pytest.mark.filterwarnings("ignore")  # of napari's own making
@pytest.mark.parametrize(("ending", "kind"), [(".zarr", "labels"), ("_score.zarr", "image")])
def test_napari_opens_it_with_its_scale(run, ending, kind):
    pytest.importorskip("napari_ome_zarr")
    from napari.layers import Image, Labels
    from napari_ome_zarr import napari_get_reader

    directory, results = run
    path = str(file_of(directory, "gmm", ending))
    ((data, settings, told),) = napari_get_reader(path)(path)
    assert told == kind
    settings.pop("visible", None)
    layer = {"labels": Labels, "image": Image}[kind](data, **settings)
    assert tuple(layer.scale) == SIZE
    assert tuple(str(unit) for unit in layer.units) == ("angstrom",) * 3
    expected = results["gmm"].labels == 1 if kind == "labels" else results["gmm"].scores
    assert (np.asarray(layer.data[0]) == expected).all()


def test_zarr_tells_how_it_was_made(run):
    directory, _ = run
    for method in METHODS:
        attributes = zarr.open_group(file_of(directory, method, ".zarr"), mode="r").attrs
        with h5py.File(file_of(directory, method, ".h5")) as file:
            told = dict(file["segmentations"].attrs)
        ours = attributes["picket_gpu"]
        assert set(ours) == set(told)
        for name, value in ours.items():
            assert np.all(told[name] == ("None" if value is None else value)), name
        both = [read_own_attributes(file_of(directory, method, e)) for e in (".zarr", ".h5")]
        assert both[0] == both[1]


def test_results_can_be_read_where_only_zarr_is_saved(run, tmp_path):
    _, results = run
    write_tomogram(tmp_path / "vol.mrc")
    for result in run_s1(configuration(tmp_path, save=["zarr"]), quiet=True):
        assert result.path.suffix == ".zarr"
        assert (result.labels == results[result.method].labels).all()
        assert (result.scores == results[result.method].scores).all()
    # What S1 wrote is a tomogram for it too, and a mask.
    again = {"tomogram": result.path, "mask": result.path, "name": "again"}
    settings = configuration(tmp_path, inputs=[again], save=["zarr"], dataset_name="again")
    (_, other) = run_s1(settings, quiet=True)
    assert ((other.labels == 1) <= (result.labels == 1)).all()


# Copick, which needs another Zarr than ours, so another interpreter.

COPICK = os.environ.get("PICKET_COPICK_PYTHON")
READ = """
import json, sys
import copick
root = copick.from_file(sys.argv[1])
found = []
for run in root.runs:
    for one in run.segmentations:
        volume = one.numpy()
        found.append({
            "run": run.name, "user": one.user_id, "session": one.session_id, "object": one.name,
            "voxel_size": one.voxel_size, "multilabel": one.is_multilabel,
            "shape": volume.shape, "ones": volume.reshape(-1).nonzero()[0].tolist(),
            "values": sorted(set(volume.reshape(-1).tolist())),
        })
print(json.dumps({"objects": [o.name for o in root.pickable_objects], "found": found}))
"""


def read_by_copick(config):
    command = [COPICK, "-W", "ignore", "-c", READ, str(config)]
    process = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return json.loads(process.stdout.splitlines()[-1])


@pytest.mark.skipif(COPICK is None, reason="PICKET_COPICK_PYTHON names no Python with copick")
def test_copick_reads_its_segmentations(run):
    directory, results = run
    told = read_by_copick(directory / "copick/copick.json")
    assert told["objects"] == ["particle"]
    by_session = {one["session"]: one for one in told["found"]}
    assert set(by_session) == {"intensities-kmeans", "intensities-gmm"}
    for method in METHODS:
        one = by_session[f"intensities-{method}"]
        assert (one["run"], one["user"], one["object"]) == ("TS_01", "picket-gpu", "particle")
        assert one["voxel_size"] == SIZE[0]
        assert not one["multilabel"]
        assert tuple(one["shape"]) == SHAPE
        assert one["values"] == [0, 1]
        assert one["ones"] == np.flatnonzero(results[method].labels == 1).tolist()


@pytest.mark.skipif(COPICK is None, reason="PICKET_COPICK_PYTHON names no Python with copick")
def test_copick_reads_them_in_a_project_of_its_own(tmp_path):
    write_tomogram(tmp_path / "vol.mrc")
    project = tmp_path / "project"
    project.mkdir()
    config = {
        "config_type": "filesystem",
        "name": "mine",
        "description": "there before",
        "version": "1.0",
        "pickable_objects": [{"name": "ribosome", "is_particle": True, "label": 1}],
        "overlay_root": f"local://{project}",
        "overlay_fs_args": {"auto_mkdir": True},
    }
    (project / "copick.json").write_text(json.dumps(config))
    names = {"directory": project, "user": "jane", "session": "s1.{method}.{mode}"}
    keys = {"save": ["copick"], "copick": names | {"object": "ribosome"}}
    results = run_s1(configuration(tmp_path, **keys), quiet=True)
    assert json.loads((project / "copick.json").read_text()) == config
    told = read_by_copick(project / "copick.json")
    assert {(one["user"], one["session"], one["object"]) for one in told["found"]} == {
        ("jane", f"s1.{method}.intensities", "ribosome") for method in METHODS
    }
    assert {result.path.parent for result in results} == {
        project / "ExperimentRuns/TS_01/Segmentations"
    }


def test_copicks_layout(run):
    directory, _ = run
    place = directory / "copick/ExperimentRuns/TS_01/Segmentations"
    assert sorted(path.name for path in place.iterdir()) == [
        f"10.000_picket-gpu_intensities-{method}_particle.zarr" for method in sorted(METHODS)
    ]
    record = json.loads((directory / "run.json").read_text())
    files = record["units"][0]["segmentations"][0]["files"]
    assert (
        f"{place.relative_to(directory)}/10.000_picket-gpu_intensities-kmeans_particle.zarr"
        in files
    )


def test_picks_and_segmentations_of_copick_have_one_frame(tmp_path):
    """That of copick's tomograms, whose first voxel is 0 0 0, whatever the origin of the file."""
    write_tomogram(tmp_path / "vol.mrc")
    particles = {"diameter": 80, "source": "score", "workflows": ["intensities-gmm"]}
    config = configuration(tmp_path, save=["hdf5", "copick"], particles=particles)
    run = run_s1(config, quiet=True)
    place = tmp_path / "out/set/copick/ExperimentRuns/TS_01"
    (picks,) = place.glob("Picks/*.json")
    points = [point["location"] for point in json.loads(picks.read_text())["points"]]
    path = place / "Segmentations/10.000_picket-gpu_intensities-gmm_particle.zarr"
    group = zarr.open_group(path, mode="r")
    for level, dataset in enumerate(group.attrs["multiscales"][0]["datasets"]):
        scale, moved = (list(step.values())[1] for step in dataset["coordinateTransformations"])
        assert moved == [10 * (2**level - 1) / 2] * 3  # a coarser voxel is the mean of finer ones
        voxels = [
            tuple(
                round((point[axis] - start) / size)
                for axis, start, size in zip("zyx", moved, scale, strict=True)
            )
            for point in points
        ]
        assert all(group[dataset["path"]][voxel] == 1 for voxel in voxels)
    found = run.particles[0]
    expected = np.array([[point[axis] for axis in "zyx"] for point in points])
    assert found.count == len(points) > 0
    assert found.coordinates_angstrom == pytest.approx(expected + ORIGIN[::-1])


# A rerun, and what is damaged.


def test_a_rerun_leaves_all_kinds_as_they_are_and_redoes_what_is_missing(tmp_path):
    write_tomogram(tmp_path / "vol.mrc")
    config = configuration(tmp_path)
    run_s1(config, quiet=True)
    directory = tmp_path / "out/set"
    copick = directory / "copick/ExperimentRuns/TS_01/Segmentations"
    name = "10.000_picket-gpu_intensities-gmm_particle.zarr"
    for broken in (file_of(directory, "gmm", ".zarr"), copick / name):
        assert all(result.reused for result in run_s1(config, quiet=True))
        (broken / ".zattrs").write_text("{}")
        with pytest.raises(PicketError, match=rf"{broken.name}: already exists and carries no"):
            run_s1(config, quiet=True)
        again = run_s1(config, quiet=True, overwrite=True)
        assert not any(result.reused for result in again)
        assert read_own_attributes(broken) is not None
    kinds = {path.suffix for path in directory.glob("segmentation_*")}
    assert kinds == {".h5", ".mrc", ".zarr"}
    # Other settings without Zarr: what would contradict them goes.
    run_s1(config | {"seed": 1, "save": ["hdf5"]}, quiet=True)
    assert {path.suffix for path in directory.glob("segmentation_*")} == {".h5"}
    assert not list(directory.rglob("*.part"))


def test_a_directory_loses_its_name_before_it_is_removed(tmp_path, monkeypatch):
    path = tmp_path / "a.zarr"
    path.mkdir()
    (path / "chunk").write_text("voxels")

    def killed(directory, **_):
        assert not path.exists()
        raise KeyboardInterrupt  # in the middle

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            remove(path)
    assert [p.suffix for p in tmp_path.iterdir()] == [".part"]


def test_copick_segmentations_that_would_contradict_go_too(tmp_path):
    write_tomogram(tmp_path / "vol.mrc")
    config = configuration(tmp_path, save=["zarr", "copick"], scores=False)
    run_s1(config, quiet=True)
    place = tmp_path / "out/set/copick/ExperimentRuns/TS_01/Segmentations"
    assert len(list(place.iterdir())) == 2
    run_s1(config | {"save": ["hdf5"]}, quiet=True)
    assert len(list(place.iterdir())) == 2  # they agree
    run_s1(config | {"save": ["hdf5"], "seed": 1}, quiet=True)
    assert list(place.iterdir()) == []


def test_two_data_sets_do_not_share_a_copick_run(tmp_path):
    write_tomogram(tmp_path / "vol.mrc")
    names = {"directory": tmp_path / "project"}
    config = configuration(tmp_path, save=["copick"], copick=names, scores=False)
    run_s1(config, quiet=True)
    (tmp_path / "other").mkdir()
    other = {"tomogram": write_tomogram(tmp_path / "other/vol.mrc", 1), "name": "TS_01"}
    with pytest.raises(PicketError, match=r"vol.mrc in set, not to \S*other/vol.mrc; give"):
        run_s1(config | {"inputs": [other], "dataset_name": "other"}, quiet=True)
    assert all(result.reused for result in run_s1(config, quiet=True))
    # The same tomogram with other settings may replace them.
    assert not any(result.reused for result in run_s1(config | {"seed": 1}, quiet=True))


def test_napari_finds_a_tomogram_from_any_directory_or_where_its_project_was_moved(
    tmp_path, monkeypatch
):
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    write_tomogram(tmp_path / "project/vol.mrc")
    run_s1(configuration(Path(), save=["hdf5"]), quiet=True)
    name = "out/set/segmentation_0_intensities_gmm.h5"
    monkeypatch.chdir(tmp_path)
    assert [layer.kind for layer in layers(Path("project", name))] == ["image", "image", "labels"]
    (tmp_path / "project").rename(tmp_path / "moved")
    with pytest.raises(PicketError, match=r"vol\.mrc: no such file"):
        list(layers(Path("moved", name)))
    monkeypatch.chdir(tmp_path / "moved")
    assert [layer.kind for layer in layers(Path(name))] == ["image", "image", "labels"]


def test_a_directory_is_whole_or_not_there(tmp_path):
    path = tmp_path / "a.zarr"

    def write(content, fail=False):
        with atomic_directory(path) as temporary:
            temporary.mkdir()
            (temporary / "a").write_text(content)
            assert not path.exists() or (path / "a").read_text() == "first"
            if fail:
                raise OSError("disk full")

    write("first")
    with pytest.raises(OSError, match="disk full"):
        write("half", fail=True)
    assert (path / "a").read_text() == "first"
    write("second")
    assert (path / "a").read_text() == "second"
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


# What is not installed.


@pytest.mark.parametrize("kind", ["zarr", "copick"])
def test_zarr_has_to_be_installed_before_anything_starts(tmp_path, monkeypatch, kind):
    write_tomogram(tmp_path / "vol.mrc")
    monkeypatch.setitem(sys.modules, "zarr", None)  # as if it were not there
    with pytest.raises(
        PicketError, match=rf"^save: {kind} needs Zarr 3; pip install -e '\.\[zarr\]'$"
    ):
        run_s1(configuration(tmp_path, save=["hdf5", kind]), quiet=True)
    assert [path.name for path in tmp_path.iterdir()] == ["vol.mrc"]


@pytest.mark.parametrize(("name", "package"), [("a.zarr", "zarr"), ("a.tif", "tifffile")])
def test_a_reader_says_what_it_needs(tmp_path, monkeypatch, name, package):
    path = tmp_path / name
    if package == "zarr":
        path.mkdir()
        (path / ".zgroup").touch()
    else:
        path.write_bytes(b"II*")
    monkeypatch.setitem(sys.modules, package, None)
    extra = {"zarr": "zarr", "tifffile": "tiff"}[package]
    with pytest.raises(PicketError, match=rf"{name}: needs .*pip install -e '\.\[{extra}\]'$"):
        read_header(path)


def test_the_viewer_says_how_to_install_napari(run, monkeypatch, capsys):
    directory, _ = run
    monkeypatch.setitem(sys.modules, "napari", None)
    assert view([str(file_of(directory, "gmm", ".h5"))]) == 2
    assert capsys.readouterr().err == ("error: viewing needs napari; pip install -e '.[napari]'\n")


# The viewer.


@pytest.mark.filterwarnings("ignore")  # of napari's own making
@pytest.mark.parametrize("ending", [".h5", ".zarr", ".mrc"])
def test_layers_are_in_angstrom_at_their_place(run, ending):
    pytest.importorskip("napari")
    from napari.components import ViewerModel

    directory, results = run
    viewer = ViewerModel()
    path = file_of(directory, "gmm", ending)
    tomogram = directory.parents[1] / "vol.mrc"
    add_layers(viewer, path, tomogram if ending == ".mrc" else None)
    grey, score, labels = viewer.layers
    assert grey.name == "TS_01"
    assert (labels.name, score.name) == (path.stem, "score")
    for layer in viewer.layers:
        assert tuple(layer.scale) == SIZE
        assert tuple(layer.translate) == ORIGIN[::-1]
        assert tuple(str(unit) for unit in layer.units) == ("angstrom",) * 3
    assert (grey.data == mrcfile.read(tomogram)).all()
    assert (labels.data == (results["gmm"].labels == FOREGROUND)).all()
    assert (score.data == results["gmm"].scores).all()
    assert not score.visible
    assert tuple(labels.colormap.map(1)) == pytest.approx((1.0, 0.47, 0.0, 1.0), abs=0.01)
    assert viewer.scale_bar.visible


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("nothing.h5", None, "no such file"),
        ("a.h5", b"hello", "is not an S1 segmentation"),
        ("a.mrc", b"hello", "is not an MRC file"),
    ],
)
def test_what_cannot_be_viewed(tmp_path, name, content, says):
    if content:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(PicketError, match=rf"{name}: {says}"):
        list(layers(tmp_path / name))


def test_a_mask_alone_does_not_name_its_tomogram(run, tmp_path):
    """The record of the run does."""
    directory, _ = run
    path = file_of(directory, "gmm", ".mrc")
    assert next(layers(path)).settings["name"] == "TS_01"
    path = Path(shutil.copy(path, tmp_path / "mask.mrc"))
    image, *_ = layers(path, directory.parents[1] / "vol.mrc")
    assert image.settings["name"] == "vol.mrc"
    with pytest.raises(PicketError, match=r"records no tomogram; name it with --tomogram"):
        list(layers(path))
    mrcfile.write(tmp_path / "other.mrc", np.random.default_rng(0).random((3, 4, 5), np.float32))
    with pytest.raises(PicketError, match=r"has \(3, 4, 5\) voxels .* \(21, 30, 35\)"):
        list(layers(path, tmp_path / "other.mrc"))


# MRC.


@pytest.mark.parametrize("method", METHODS)
def test_masks_are_valid_and_keep_the_geometry(run, method, capsys):
    path = file_of(run[0], method, ".mrc")
    assert mrcfile.validate(path), capsys.readouterr().out
    with mrcfile.open(path) as mrc:
        assert set(np.unique(mrc.data)) == {0, 1}
        assert mrc.voxel_size.tolist() == SIZE
        assert mrc.header.origin.tolist() == ORIGIN


def test_geometry_of_an_ome_zarr_comes_out_in_every_kind(tmp_path):
    multiscale(tmp_path / "vol.zarr", "0.5", 0.1, "nanometer")
    entry = {"tomogram": tmp_path / "vol.zarr", "name": "TS_01"}
    config = configuration(tmp_path, inputs=[entry], scores=False)
    result = run_s1(config, quiet=True)[0]
    with mrcfile.open(result.path.with_suffix(".mrc")) as mrc:
        assert mrc.voxel_size.tolist() == SIZE
        assert mrc.header.origin.tolist() == pytest.approx((1, 2, 3))
    image = zarr.open_group(result.path.with_suffix(".zarr"), mode="r").attrs["multiscales"][0]
    scale, translation = image["datasets"][0]["coordinateTransformations"]
    assert (scale["scale"], translation["translation"]) == ([10.0] * 3, [3.0, 2.0, 1.0])
    with h5py.File(result.path) as file:
        attributes = file["segmentations"].attrs
        assert attributes["voxel_size"].tolist() == [10.0] * 3
        assert attributes["origin"].tolist() == pytest.approx([1, 2, 3])


# Names, and the command line.


def test_the_name_is_used_in_reports(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_tomogram(tmp_path / "vol.mrc")
    inputs = [{"tomogram": "vol.mrc", "name": "lamella 3, <b>TS_01</b>"}]
    config = configuration(Path(), inputs=inputs, save=["hdf5"], report=True, scores=False)
    text = json.dumps(config, default=str)  # which is YAML too
    Path("a.yaml").write_text(text)
    assert main(["a.yaml"]) == 0
    (row,) = (line for line in capsys.readouterr().out.splitlines() if "_gmm.h5" in line)
    assert row.startswith("lamella 3, <b>TS_01</b>  intensities  gmm")
    title = "<title>lamella 3, &lt;b&gt;TS_01&lt;/b&gt;</title>"
    assert title in Path("out/set/report.html").read_text()
    Path("out/set/report.html").unlink()
    assert rebuild_main(["out/set", "-q"]) == 0
    assert title in Path("out/set/report.html").read_text()


def test_a_voxel_size_in_the_yaml_goes_into_every_file(tmp_path):
    write_tomogram(tmp_path / "vol.mrc")
    entry = {"tomogram": tmp_path / "vol.mrc", "voxel_size": 13.48}
    result = run_s1(configuration(tmp_path, inputs=[entry]), quiet=True)[0]
    with mrcfile.open(result.path.with_suffix(".mrc")) as mrc:
        assert mrc.voxel_size.tolist() == pytest.approx((13.48,) * 3)
    with h5py.File(result.path) as file:
        assert file["segmentations"].attrs["voxel_size"].tolist() == [13.48] * 3
    group = zarr.open_group(result.path.with_suffix(".zarr"), mode="r")
    scale = group.attrs["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]
    assert scale["scale"] == [13.48] * 3
    assert (result.path.parent / "copick/ExperimentRuns/vol/Segmentations").is_dir()


def test_secrets_of_a_url_stay_out_of_the_record(tmp_path):
    write_tomogram(tmp_path / "vol.mrc")
    entry = {"tomogram": tmp_path / "vol.mrc", "storage_options": {"secret": "hunter2"}}
    run_s1(configuration(tmp_path, inputs=[entry], save=["hdf5", "zarr"]), quiet=True)
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or b"hunter2" not in path.read_bytes(), path
