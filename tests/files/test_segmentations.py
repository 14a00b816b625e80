"""The files as their readers see them."""

import json
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import pytest

from picket_gpu import run_s1
from picket_gpu.files.atomic import atomic_file
from picket_gpu.files.filenames import CopickNames, TomogramFiles, scores_beside
from picket_gpu.files.formats import FORMATS
from picket_gpu.files.formats.hdf5 import HDF5
from picket_gpu.files.formats.mrc import CUT, IN_HEADER, MRC
from picket_gpu.files.segmentation import (
    has_scores,
    read_attributes,
    read_foreground,
    read_hdf5_labels,
    read_labels,
    read_own_attributes,
    read_scores,
    write_segmentation,
)
from picket_gpu.files.tomogram import TomogramHeader


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One run on a small volume with an unusual geometry, both limits, all modes and methods."""
    directory = tmp_path_factory.mktemp("run")
    tomogram = directory / "vol.mrc"
    data = np.random.default_rng(0).integers(-9, 9, (14, 15, 16)).astype(np.int16)
    data[4:9, 5:9, 5:10] += 20
    with mrcfile.new(tomogram) as mrc:
        mrc.set_data(data)
        mrc.voxel_size = (13.48, 10.0, 7.84)  # x, y, z
        mrc.header.origin = (-11.5, 22.0, 33.25)
        mrc.nstart = (3, -4, 5)
    config = {
        "dataset_name": "set",
        "inputs": [
            {"tomogram": tomogram},
            {"tomogram": tomogram, "lower_z-slice_limit": 2, "upper_z-slice_limit": 12},
        ],
        "max_num_neighborhoods_for_fitting": 700,
        "feature_extraction_params": [
            {"mode": "ffts", "n_fft_subsets": 32},
            {"mode": "gabor", "num_sinusoids": 5, "num_output_features": 30},
            {"mode": "intensities"},
        ],
        "output_dir": directory / "out",
        "device": "cpu",
    }
    return directory / "out" / "set", tomogram, run_s1(config, quiet=True)


EXPECTED = {
    "dataset_name": "set",
    "neighborhood_size": 5,
    "max_num_neighborhoods_for_fitting": 700,
    "z_lb_for_particle_extraction": "None",
    "z_ub_for_particle_extraction": "None",
    "particle_cluster_id": "None",
    "pex_mode": "None",
    "pex_min_distance": "None",
    "time_taken_for_s2": "None",
    "timestamp_s2": "None",
}
FEX = {
    "ffts": {"fex_n_fft_subsets": 32},
    "gabor": {
        "fex_num_neighborhoods_subsets": 5,
        "fex_num_sinusoids": 5,
        "fex_num_parallel_filters": 8,
        "fex_num_output_features": 30,
    },
    "intensities": {},
}
FEX_KEYS = {key for keys in FEX.values() for key in keys}


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("mode", ["ffts", "gabor", "intensities"])
@pytest.mark.parametrize("method", ["kmeans", "gmm"])
def test_hdf5_layout_attribute_by_attribute(run, index, mode, method):
    directory, tomogram, _ = run
    with h5py.File(directory / f"segmentation_{index}_{mode}_{method}.h5") as file:
        group = file["segmentations"]
        dataset = group["semantic_segmentation"]
        assert dataset.shape == (14, 15, 16)
        assert dataset.dtype == np.int8
        assert dataset.compression == "gzip"
        assert dataset.chunks is not None
        labels = dataset[()]
        assert set(np.unique(labels)) == {-1, 0, 1}
        assert (labels[2:-2, 2:-2, 2:-2] >= 0).all()
        assert (labels >= 0).sum() == 10 * 11 * 12

        attributes = dict(group.attrs)
        for key, value in (EXPECTED | FEX[mode]).items():
            assert attributes.pop(key) == value, key
        for key in FEX_KEYS - set(FEX[mode]):
            assert attributes.pop(key) == "None", key
        assert attributes.pop("tomogram_path") == str(tomogram.absolute())
        assert attributes.pop("tomogram_as_given") == str(tomogram)
        assert tuple(attributes.pop("tomogram_shape")) == (14, 15, 16)
        voxel_size = attributes.pop("voxel_size")
        assert voxel_size.dtype == np.float64
        assert tuple(voxel_size) == (7.84, 10.0, 13.48)  # z, y, x
        assert attributes.pop("z_lb_for_clusterer_fitting") == (2 if index else "None")
        assert attributes.pop("z_ub_for_clusterer_fitting") == (12 if index else "None")
        assert attributes.pop("fex_mode") == mode
        assert attributes.pop("clustering_method") == method
        seconds = [attributes.pop(f"time_taken_for_{k}") for k in ("fex", "clustering", "s1")]
        assert min(seconds[:2]) > 0
        assert seconds[2] == pytest.approx(seconds[0] + seconds[1])
        when = datetime.fromisoformat(attributes.pop("timestamp_s1"))
        assert abs(datetime.now(when.tzinfo) - when).total_seconds() < 3600
        assert attributes.pop("blur_sigma") == 2.0
        assert attributes.pop("particle_score_is") == "None"
        assert attributes.pop("padding") == "mask"
        assert attributes.pop("clip") == "None"
        assert "voxels are not cubes" in attributes.pop("warnings")
        assert attributes.pop("tomogram_name") == "vol.mrc"
        assert tuple(attributes.pop("origin")) == (-11.5, 22.0, 33.25)  # x, y, z
        for key in ("tomogram_dataset", *(f"mask_for_{use}" for use in ("fitting", "output"))):
            assert attributes.pop(key) == "None"
        for key in ("z_lb_for_prediction", "z_ub_for_prediction"):
            assert attributes.pop(key) == "None"
        for key in ("fingerprint", "tomogram_digest", "settings_digest"):
            assert re.fullmatch("[0-9a-f]{32}", attributes.pop(key))
        assert attributes.pop("share_of_label_1") == (labels == 1).sum() / (10 * 11 * 12)
        assert attributes.pop("iterations") > 0
        assert attributes.pop("converged")
        assert not attributes  # no others


TEXT, REAL, WHOLE, BOOLEAN = (str,), (np.float64,), (np.int64,), (np.bool_,)
NONE_OR = {WHOLE: (str, np.int64)}
TYPES = {
    "dataset_name": TEXT,
    "tomogram_path": TEXT,
    "tomogram_as_given": TEXT,
    "tomogram_shape": "i8 x 3",
    "voxel_size": "f8 x 3",
    "neighborhood_size": WHOLE,
    "z_lb_for_clusterer_fitting": NONE_OR[WHOLE],
    "z_ub_for_clusterer_fitting": NONE_OR[WHOLE],
    "max_num_neighborhoods_for_fitting": NONE_OR[WHOLE],
    "fex_mode": TEXT,
    "fex_n_fft_subsets": NONE_OR[WHOLE],
    "fex_num_neighborhoods_subsets": NONE_OR[WHOLE],
    "fex_num_sinusoids": NONE_OR[WHOLE],
    "fex_num_parallel_filters": NONE_OR[WHOLE],
    "fex_num_output_features": NONE_OR[WHOLE],
    "clustering_method": TEXT,
    "time_taken_for_fex": REAL,
    "time_taken_for_clustering": REAL,
    "time_taken_for_s1": REAL,
    "timestamp_s1": TEXT,
    "z_lb_for_particle_extraction": TEXT,  # S2 replaces these six
    "z_ub_for_particle_extraction": TEXT,
    "particle_cluster_id": TEXT,
    "pex_mode": TEXT,
    "pex_min_distance": TEXT,
    "time_taken_for_s2": TEXT,
    "timestamp_s2": TEXT,
    "tomogram_name": TEXT,
    "tomogram_dataset": TEXT,
    "origin": "f8 x 3",
    "mask_for_fitting": TEXT,
    "mask_for_output": TEXT,
    "z_lb_for_prediction": NONE_OR[WHOLE],
    "z_ub_for_prediction": NONE_OR[WHOLE],
    "blur_sigma": REAL,
    "particle_score_is": TEXT,  # none here
    "padding": TEXT,
    "clip": TEXT,  # none here
    "warnings": TEXT,
    "fingerprint": TEXT,
    "tomogram_digest": TEXT,
    "settings_digest": TEXT,
    "share_of_label_1": REAL,
    "iterations": WHOLE,
    "converged": BOOLEAN,
}


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("mode", ["ffts", "gabor", "intensities"])
def test_hdf5_attributes_by_their_types(run, index, mode):
    directory, *_ = run
    with h5py.File(directory / f"segmentation_{index}_{mode}_gmm.h5") as file:
        attributes = dict(file["segmentations"].attrs)
    assert set(attributes) == set(TYPES)
    for name, value in attributes.items():
        if isinstance(TYPES[name], str):
            assert f"{value.dtype.str[1:]} x {value.size}" == TYPES[name], name
        else:
            assert type(value) in TYPES[name], name
        if isinstance(value, str):
            assert value == "None" or TYPES[name] == TEXT, name


@pytest.mark.parametrize("workflow", ["ffts_gmm", "intensities_kmeans"])
def test_mrc_is_valid_and_keeps_the_geometry(run, workflow):
    directory, tomogram, _ = run
    path = directory / f"segmentation_1_{workflow}.mrc"
    assert mrcfile.validate(path, print_file=None) or mrcfile.validate(path)
    with mrcfile.open(path) as ours, mrcfile.open(tomogram) as theirs:
        assert ours.header.mode == 0
        assert ours.is_volume()
        for field in ("cella", "origin", "nxstart", "nystart", "nzstart", "mx", "my", "mz"):
            assert ours.header[field] == theirs.header[field], field
        with h5py.File(path.with_suffix(".h5")) as file:
            labels = file["segmentations/semantic_segmentation"][()]
        assert (ours.data == (labels == 1)).all()


def test_results_say_what_the_files_hold(run):
    directory, tomogram, results = run
    assert len(results) == 12
    assert sorted(directory.glob("segmentation_*")) == sorted(
        p for r in results for p in (r.path, r.path.with_suffix(".mrc"))
    )
    for result in results:
        labels = result.labels
        assert result.tomogram == tomogram
        assert result.path.name.endswith(f"_{result.mode}_{result.method}.h5")
        assert labels.dtype == np.int8
        assert result.foreground_fraction == pytest.approx(
            (labels == 1).sum() / (labels >= 0).sum()
        )
        assert result.foreground_fraction <= 0.5
        assert result.converged
        assert set(result.timings) == {"volume", "features", "clustering", "labels", "files"}


def test_labels_can_be_read_where_only_mrc_is_saved(run, tmp_path):
    _, tomogram, results = run
    config = {
        "dataset_name": "set",
        "inputs": [{"tomogram": tomogram}],
        "max_num_neighborhoods_for_fitting": 700,
        "feature_extraction_params": [{"mode": "intensities"}],
        "clustering_methods": ["gmm"],
        "output_dir": tmp_path,
        "save": ["mrc"],
        "report": False,
        "device": "cpu",
    }
    (result,) = run_s1(config, quiet=True)
    names = {p.name for p in (tmp_path / "set").iterdir()}
    assert names == {"segmentation_0_intensities_gmm.mrc", "run.json"}
    (same,) = (r for r in results[:6] if (r.mode, r.method) == ("intensities", "gmm"))
    assert (result.labels == same.labels).all()


# What is written is read back, by each format.

OWN = {
    "fingerprint": "0123456789abcdef" * 2,
    "share_of_label_1": 0.125,
    "iterations": 17,
    "converged": True,
    "time_taken_for_s1": 12.5,
    "tomogram_digest": "123456789abcdef0" * 2,
    "settings_digest": "23456789abcdef01" * 2,
}
MORE = {
    "fex_mode": "gabor",
    "voxel_size": (7.84, 10.0, 13.48),
    "origin": [-11.5, 22.0, 33.25],
    "clip": None,
    "padding": "mask",
}


def header_of(labels):
    size, origin, nstart = (7.84, 10.0, 13.48), (-11.5, 22.0, 33.25), (3, -4, 5)
    return TomogramHeader(Path("vol.mrc"), labels.shape, size, origin, nstart)


@pytest.fixture(scope="module", params=["scored", "bare"])
def written(request, tmp_path_factory):
    """Files of one segmentation by their kind, its labels, and its scores, which may be None."""
    directory = tmp_path_factory.mktemp(request.param)
    rng = np.random.default_rng(0)
    labels = np.full((9, 10, 11), -1, np.int8)
    labels[1:-1, 1:-1, 1:-1] = rng.integers(0, 2, (7, 8, 9))
    labels[3, 4, 5] = -1  # as outside a mask
    scored = [("gabor", "gmm")] if request.param == "scored" else []
    scores = rng.random(labels.shape).astype(np.float16) if scored else None
    names = CopickNames(directory / "project", "TS_01", 10.0, "me", "{mode}-{method}", "ribosome")
    files = TomogramFiles(directory, 0, ["hdf5", "mrc", "zarr", "copick"], names, scored)
    write_segmentation(files, ("gabor", "gmm"), labels, scores, header_of(labels), OWN | MORE)
    return files.of("gabor", "gmm"), labels, scores


def test_every_file_that_is_named_is_written_and_no_other(written):
    paths, *_ = written
    directory = paths["hdf5"].parent
    project = directory / "project"
    found = {path for path in directory.iterdir() if path != project}
    found |= {*(project / "ExperimentRuns/TS_01/Segmentations").iterdir()}
    assert found == {*paths.values()}
    assert {path.name for path in project.iterdir()} == {"ExperimentRuns", "copick.json"}
    objects = json.loads((project / "copick.json").read_text())["pickable_objects"]
    assert [one["name"] for one in objects] == ["ribosome"]


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_labels_and_scores_come_back(written, kind):
    paths, labels, scores = written
    path = paths[kind]
    foreground = read_foreground(path)
    assert foreground.dtype == bool
    assert (foreground == (labels == 1)).all()
    if kind == "hdf5":
        assert (read_hdf5_labels(path) == labels).all()
        expected = labels
    else:  # which do not store where there is no label
        expected = np.full_like(labels, -1)
        expected[1:-1, 1:-1, 1:-1] = (labels == 1)[1:-1, 1:-1, 1:-1]
    found = read_labels(path, 3)
    assert found.dtype == np.int8
    assert (found == expected).all()
    if scores is None or kind == "copick":
        assert not has_scores(path)
        assert read_scores(path) is None
    else:
        assert has_scores(path)
        assert read_scores(path).dtype == np.float16
        assert (read_scores(path) == scores).all()


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_attributes_come_back_as_plain_values(written, kind):
    paths, _, scores = written
    expected = dict(OWN)
    if kind != "mrc":
        expected |= {name: value for name, value in MORE.items() if value is not None}
        expected["voxel_size"] = [7.84, 10.0, 13.48]
    found = read_attributes(paths[kind])
    assert found == expected
    assert {name: type(value) for name, value in found.items()} == {
        name: type(value) for name, value in expected.items()
    }
    assert read_own_attributes(paths[kind]) == expected
    if scores is not None and kind in ("mrc", "zarr"):  # a rerun asks their files too
        assert read_own_attributes(scores_beside(paths[kind])) == expected


def test_the_labels_of_an_mrc_header(written):
    paths, *_ = written
    with mrcfile.open(paths["mrc"], header_only=True) as mrc:
        created, *ours = mrc.get_labels()
    assert created.startswith("Created by mrcfile.py")
    assert ours == [
        "picket_gpu 0123456789abcdef0123456789abcdef",
        "share 0.125 iterations 17 converged 1 seconds 12.5",
        "digests 123456789abcdef0123456789abcdef0 23456789abcdef0123456789abcdef01",
    ]


def test_a_truncated_mrc_has_no_fingerprint_that_a_rerun_wants(written, tmp_path):
    paths, *_ = written
    path = tmp_path / "cut.mrc"
    path.write_bytes(paths["mrc"].read_bytes()[:-1])
    cut = dict.fromkeys(("fingerprint", "settings_digest"), CUT)
    assert read_own_attributes(path) == OWN | cut


def foreign(directory, name):
    """A file of another program, or a damaged one."""
    path = directory / name
    if name == "other.mrc":
        mrcfile.write(path, np.zeros((3, 4, 5), np.float32))
    elif name == "labels.mrc":
        with mrcfile.new(path, np.zeros((3, 4, 5), np.float32)) as mrc:
            mrc.add_label("IMOD, clip")
            mrc.add_label("a second one of just so many words")
    elif name == "picket.h5":
        with h5py.File(path, "w") as file:
            file["segmentations/semantic_segmentation"] = np.zeros((3, 4, 5), int)
            file["segmentations"].attrs["fex_mode"] = "gabor"
    elif name == "other.h5":
        with h5py.File(path, "w") as file:
            file["data"] = np.zeros((3, 4, 5))
    elif name.endswith(".zarr") and not name.startswith("missing"):
        path.mkdir()
        text = {"other": "{}", "list": '{"picket_gpu": [1]}', "list2": "[]", "text": "<"}[path.stem]
        (path / ".zattrs").write_text(text)
    elif name.startswith("text"):
        path.write_text("hello")
    return path


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing.mrc", OSError),
        ("missing.h5", OSError),
        ("missing.zarr", OSError),
        ("missing.txt", OSError),
        ("other.mrc", {}),
        ("labels.mrc", {}),
        ("text.mrc", {}),
        ("text.txt", {}),
        ("picket.h5", {"fex_mode": "gabor"}),
        ("other.h5", KeyError),
        ("text.h5", OSError),
        ("other.zarr", KeyError),
        ("list.zarr", TypeError),
        ("list2.zarr", TypeError),
        ("text.zarr", ValueError),
    ],
)
def test_files_of_others_have_no_attributes_of_ours(tmp_path, name, says):
    path = foreign(tmp_path, name)
    assert read_own_attributes(path) is None
    if isinstance(says, dict):
        assert read_attributes(path) == says
    else:
        with pytest.raises(says):
            read_attributes(path)


@pytest.mark.parametrize("left_out", sorted(IN_HEADER))
def test_what_lacks_one_of_our_attributes_is_not_ours(tmp_path, left_out):
    path = tmp_path / "a.h5"
    labels = np.zeros((3, 4, 5), np.int8)
    HDF5.write(path, labels, None, header_of(labels), OWN | {left_out: None})
    assert left_out not in read_attributes(path)
    assert read_own_attributes(path) is None


def test_a_file_that_another_program_has_locked_is_read(written):
    paths, *_ = written
    code = f"import fcntl, time; file = open({str(paths['hdf5'])!r}, 'r+b'); "
    code += "fcntl.flock(file, fcntl.LOCK_EX); print('locked', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout.readline() == b"locked\n"
            assert read_own_attributes(paths["hdf5"]) is not None
        finally:
            holder.kill()


def test_chunks_hold_the_labels_also_at_the_ends(tmp_path):
    labels = np.random.default_rng(0).integers(-1, 2, (35, 300, 270)).astype(np.int8)
    header = header_of(labels)
    HDF5.write(tmp_path / "a.h5", labels, None, header, {"x": None})
    with h5py.File(tmp_path / "a.h5") as file:
        dataset = file["segmentations/semantic_segmentation"]
        assert dataset.chunks == (16, 256, 256)
        assert dataset.compression == "gzip"
        assert dataset.dtype == np.int8
        assert (dataset[()] == labels).all()


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_the_masks_header_has_its_statistics(tmp_path, share):
    labels = (np.random.default_rng(0).random((7, 8, 9)) < share).astype(np.int8)
    MRC.write(tmp_path / "a.mrc", labels, None, header_of(labels), OWN)
    assert mrcfile.validate(tmp_path / "a.mrc")
    with mrcfile.open(tmp_path / "a.mrc") as mrc:
        assert (mrc.data == labels).all()
        statistics = (mrc.header.dmin, mrc.header.dmax, mrc.header.dmean, mrc.header.rms)
    expected = (labels.min(), labels.max(), labels.mean(), labels.std())
    assert statistics == pytest.approx(expected, abs=1e-6)


def test_a_file_that_fails_half_way_leaves_nothing(tmp_path):
    path = tmp_path / "a.h5"
    path.write_text("before")

    def fail_half_way():
        with atomic_file(path) as temporary:
            temporary.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail_half_way()
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]
    assert path.read_text() == "before"
