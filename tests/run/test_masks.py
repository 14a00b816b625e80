"""Parts of a tomogram to fit on and to label: masks and z-slices."""

import json
from itertools import product

import h5py
import mrcfile
import numpy as np
import pytest
from scipy.ndimage import binary_erosion, gaussian_filter

from picket_gpu import run_s1
from picket_gpu.__main__ import main
from picket_gpu.files.masks import Mask
from picket_gpu.files.segmentation import read_labels
from picket_gpu.method.labels import core
from picket_gpu.method.windows import fit_windows, masked_windows
from picket_gpu.report.__main__ import main as rebuild
from picket_gpu.run.existing import Directory
from tests.support.command_line import ONE, called, write_config
from tests.support.data import DATA
from tests.support.pages import data_of

SHAPE = (32, 64, 60)


def tomogram_in(directory):
    """A part of the phantom, in a file."""
    path = directory / "phantom.mrc"
    if not path.exists():
        directory.mkdir(exist_ok=True)
        mrcfile.write(path, mrcfile.read(DATA / "phantom_a.mrc")[:, :64, 20:80])
    return path


def mask_file(path, mask):
    mrcfile.write(path, mask.astype(np.int8), overwrite=True)
    return path


def ball(radius=28.0):
    """A flat ellipsoid in the middle of the phantom."""
    z, y, x = np.ogrid[tuple(slice(n) for n in SHAPE)]
    return ((z - 15) / 10) ** 2 + ((y - 31) / radius) ** 2 + ((x - 30) / radius) ** 2 < 1


def segmentations(directory, entry, **keys):
    """Results of both methods on intensities of the phantom, labels by method."""
    config = {
        "dataset_name": "set",
        "inputs": [{"tomogram": tomogram_in(directory)} | entry],
        "feature_extraction_params": [{"mode": "intensities"}],
        "output_dir": directory,
        "report": False,
        "device": "cpu",
    }
    return {result.method: result for result in run_s1(config | keys, quiet=True)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Without any mask."""
    return segmentations(tmp_path_factory.mktemp("whole"), {}, scores=True)


# Windows.


@pytest.mark.parametrize(("lower", "upper"), [(None, None), (2, 9)])
def test_windows_are_those_with_their_centre_in_the_mask(lower, upper):
    shape = (11, 12, 13)
    mask = np.random.default_rng(0).random(shape) < 0.3
    chosen = masked_windows(fit_windows(shape, 5, lower, upper), mask)
    first, last = lower or 0, upper or shape[0]
    corners = product(range(first, last - 4), range(8), range(9))
    expected = [number for number, (z, y, x) in enumerate(corners) if mask[z + 2, y + 2, x + 2]]
    assert chosen.index.tolist() == expected
    assert chosen.count == len(expected)
    assert chosen.index.dtype == np.uint32


@pytest.mark.parametrize("seed", [0, 1])
def test_a_cap_draws_from_the_mask(seed):
    shape = (40, 41, 42)
    mask = np.random.default_rng(0).random(shape) < 0.5
    everything = masked_windows(fit_windows(shape, 5), mask)
    drawn = masked_windows(fit_windows(shape, 5, cap=1000, seed=seed), mask)
    assert drawn.count == 1000
    assert (np.diff(drawn.index.astype(int)) > 0).all()
    assert np.isin(drawn.index, everything.index).all()
    again = masked_windows(fit_windows(shape, 5, cap=1000, seed=seed), mask)
    assert (drawn.index == again.index).all()
    other = masked_windows(fit_windows(shape, 5, cap=1000, seed=seed + 1), mask)
    assert (drawn.index != other.index).any()
    # Uniform: the drawn windows' mean place is that of all, within 5 of its standard errors.
    error = everything.index.std() / 1000**0.5
    assert abs(drawn.index.mean() - everything.index.mean()) < 5 * error
    more = masked_windows(fit_windows(shape, 5, cap=10**6), mask)
    assert (more.index == everything.index).all()


# Fitting.


def test_a_mask_of_everything_fits_as_none_does(tmp_path, whole):
    path = mask_file(tmp_path / "mask.mrc", np.ones(SHAPE))
    for method, result in segmentations(tmp_path, {"mask": path}).items():
        assert (result.labels == whole[method].labels).mean() >= 0.9999


def test_a_mask_of_slices_fits_as_limits_on_z_do(tmp_path):
    slices = np.zeros(SHAPE)
    slices[7:22] = 1  # centres of windows from 5 to 24
    path = mask_file(tmp_path / "mask.mrc", slices)
    by_mask = segmentations(tmp_path / "a", {"mask_for_fitting": path})
    limits = {"lower_z-slice_limit": 5, "upper_z-slice_limit": 24}
    by_limits = segmentations(tmp_path / "b", limits)
    for method, result in by_mask.items():
        assert (result.labels >= 0).sum() == 28 * 60 * 56
        assert (result.labels == by_limits[method].labels).mean() >= 0.9999


def test_what_is_outside_the_fitting_mask_does_not_matter(tmp_path):
    grey, mask = mrcfile.read(tomogram_in(tmp_path)), ball()
    changed = grey.copy()  # outside the same values elsewhere, so that scaling is the same
    changed[~mask] = np.random.default_rng(0).permutation(grey[~mask])
    mrcfile.write(tmp_path / "changed.mrc", changed)
    inner = binary_erosion(mask, np.ones((5, 5, 5)))  # no window reaches out; no blur
    path = mask_file(tmp_path / "mask.mrc", inner)
    keys = {"blur_sigma": 0.0, "max_num_neighborhoods_for_fitting": 20_000}
    results = [
        segmentations(tmp_path / str(n), entry | {"mask_for_fitting": path}, **keys)
        for n, entry in enumerate(({}, {"tomogram": tmp_path / "changed.mrc"}))
    ]
    for method, result in results[0].items():
        same = result.labels == results[1][method].labels
        # Outside, another cluster may be the more frequent one.
        assert abs(same[inner].mean() - 0.5) >= 0.4999


# Output.


@pytest.mark.parametrize("save", [["hdf5"], ["mrc"], ["zarr"]])
def test_the_mask_for_output_only_takes_labels_away(tmp_path, whole, save):
    mask = ball()
    path = mask_file(tmp_path / "mask.mrc", mask)
    results = segmentations(tmp_path, {"mask_for_output": path}, scores=True, save=save)
    for method, result in results.items():
        labels, labelled = result.labels, mask & (whole[method].labels >= 0)
        before, exchanged = counted_in(whole[method].labels, labelled)
        assert (labels[labelled] == before[labelled]).all()
        outside = core_of(~labelled)
        assert set(np.unique(labels[outside])) == {-1 if save == ["hdf5"] else 0}
        assert result.foreground_fraction == before[labelled].mean() <= 0.5
        scores = whole[method].scores[labelled]
        expected = 1 - scores if exchanged else scores
        assert abs(result.scores[labelled] - expected).max() <= np.finfo(np.float16).eps
        assert ((result.scores > 0.5) == (labels == 1)).all()
        assert (result.scores[~labelled] == 0).all()


def counted_in(labels, labelled):
    """Labels with 0 for what is more frequent where ``labelled``, and whether that is new."""
    exchanged = labels[labelled].mean() > 0.5
    return np.where(labelled & exchanged, 1 - labels, labels), exchanged


def core_of(volume):
    """``volume`` without the border, which has no labels at all."""
    inside = np.zeros_like(volume)
    core(inside, 5)[...] = core(volume, 5)
    return inside


def test_clusters_are_counted_where_labels_are_wanted(tmp_path, whole):
    """A mask around label 1 makes it the more frequent one: it becomes the background."""
    before = whole["gmm"].labels
    path = mask_file(tmp_path / "mask.mrc", before == 1)
    result = segmentations(tmp_path, {"mask_for_output": path}, scores=True)["gmm"]
    assert set(np.unique(result.labels[before == 1])) == {0}
    assert (result.labels[before != 1] == -1).all()
    assert result.foreground_fraction == 0
    assert (result.scores <= 0.5).all()


@pytest.mark.parametrize(
    ("lower", "upper", "expected"), [(6, 20, (6, 20)), (None, 9, (2, 9)), (25, None, (25, 30))]
)
def test_z_slices_to_label(tmp_path, whole, lower, upper, expected):
    limits = {"prediction_lower_z-slice_limit": lower, "prediction_upper_z-slice_limit": upper}
    results = segmentations(tmp_path, {key: n for key, n in limits.items() if n is not None})
    inside = slice(*expected)
    for method, result in results.items():
        labelled = np.zeros(SHAPE, dtype=bool)
        labelled[inside] = whole[method].labels[inside] >= 0
        before, _ = counted_in(whole[method].labels, labelled)
        assert (result.labels[labelled] == before[labelled]).all()
        assert set(np.unique(np.delete(result.labels, np.r_[inside], axis=0))) == {-1}
        assert result.foreground_fraction == before[labelled].mean()
    with h5py.File(result.path) as file:
        attributes = file["segmentations"].attrs
        assert attributes["z_lb_for_prediction"] == ("None" if lower is None else lower)
        assert attributes["z_ub_for_prediction"] == ("None" if upper is None else upper)


def test_a_mask_that_we_wrote_is_a_mask(tmp_path, whole):
    first = segmentations(tmp_path / "first", {}, save=["mrc"])["kmeans"]
    mask = mrcfile.read(first.path)
    assert set(np.unique(mask)) == {0, 1}
    results = segmentations(tmp_path / "second", {"mask": first.path})
    for result in results.values():
        assert ((result.labels >= 0) == (mask > 0)).all()
        assert 0 < result.foreground_fraction <= 0.5


def test_another_mask_makes_other_segmentations(tmp_path):
    path = mask_file(tmp_path / "mask.mrc", ball())
    first = segmentations(tmp_path, {"mask": path})
    assert not any(result.reused for result in first.values())
    assert all(result.reused for result in segmentations(tmp_path, {"mask": path}).values())
    mask_file(path, ball(20))
    again = segmentations(tmp_path, {"mask": path})
    assert not any(result.reused for result in again.values())
    assert (read_labels(again["gmm"].path, 5)[~ball(20)] == -1).all()


def test_the_plan_tells_of_masks_and_limits(tmp_path):
    from picket_gpu.config.load import load_config
    from picket_gpu.device.select import select_backend
    from picket_gpu.run.dry_run import describe_plan
    from picket_gpu.run.plan import plan_run

    path = mask_file(tmp_path / "mask.mrc", ball())
    config = load_config(
        {
            "dataset_name": "set",
            "inputs": [
                {
                    "tomogram": tomogram_in(tmp_path),
                    "mask": path,
                    "name": "phantom",
                    "prediction_lower_z-slice_limit": 4,
                }
            ],
            "output_dir": tmp_path,
        }
    )
    backend = select_backend("cpu")
    lines = list(describe_plan(config, backend, plan_run(config, backend, False)))
    assert f"  fitting: where {path} is above 0" in lines
    assert f"  labelling: where {path} is above 0" in lines
    assert "  labelling: z-slices 4-31 (28 slices)" in lines
    assert any("at most 94,080 neighborhoods" in line for line in lines)


def test_separation_is_that_of_the_two_labels(tmp_path):
    """What has no label is no cluster, whatever file labels are read from again."""
    grey = np.random.default_rng(0).standard_normal((24, 30, 32)).astype(np.float32)
    grey[8:16, 6:14, 8:18] += 6
    grey[:, 20:] += 40  # outside the mask
    mask = np.ones(grey.shape)
    mask[:, 18:] = 0
    mrcfile.write(tmp_path / "vol.mrc", grey)
    config = {
        "dataset_name": "set",
        "inputs": [
            {"tomogram": tmp_path / "vol.mrc", "mask": mask_file(tmp_path / "mask.mrc", mask)}
        ],
        "feature_extraction_params": [{"mode": "intensities"}],
        "clustering_methods": ["kmeans"],
        "output_dir": tmp_path,
        "save": ["mrc"],
        "device": "cpu",
    }
    page = tmp_path / "set/report.html"
    found = []
    for _ in range(2):  # the second from the MRC file
        (result,) = run_s1(config, quiet=True)
        found.append(data_of(page.read_text())["workflows"][0]["separation"])
        page.unlink()
    assert result.reused
    labels = np.where(mask > 0, result.labels, -1)
    blurred = gaussian_filter(grey, 2.0)
    parts = [blurred[labels == n] for n in (0, 1)]
    pooled = sum(part.size * part.var() for part in parts) / sum(part.size for part in parts)
    expected = abs(parts[0].mean() - parts[1].mean()) / pooled**0.5
    assert found == pytest.approx([expected] * 2, rel=0.02)


def test_a_mask_that_cannot_be_read_fails_its_tomogram_only(tmp_path):
    path = mask_file(tmp_path / "mask.mrc", ball())
    path.write_bytes(path.read_bytes()[:-1])
    good = tomogram_in(tmp_path)
    config = {
        "dataset_name": "set",
        "inputs": [{"tomogram": good, "mask": path}, {"tomogram": good}],
        "feature_extraction_params": [{"mode": "intensities"}],
        "clustering_methods": ["kmeans"],
        "output_dir": tmp_path,
        "device": "cpu",
        "report": False,
    }
    run = run_s1(config, quiet=True)
    assert [result.tomogram for result in run] == [good]
    (failure,) = run.failures
    assert failure.index == 0
    assert "mask.mrc: MRC file is truncated" in failure.message


# Masks of other programs.


def write_pair(directory, number):
    """A tomogram and its mask, by one name."""
    for place in ("data", "masks"):
        (directory / place).mkdir(exist_ok=True)
    grey = np.random.default_rng(number).normal(size=SHAPE).astype(np.float32)
    mrcfile.write(directory / f"data/TS_0{number}.mrc", grey, voxel_size=10)
    inside = np.zeros(SHAPE)
    inside[4:20, 4:40, 6 * number : 50] = 1
    mask_file(directory / f"masks/TS_0{number}.mrc", inside)
    return inside > 0


def inputs_of(directory, *entries, **changes):
    keys = {"dataset_name": "set", "neighborhood_size": 5, "output_dir": "out", **ONE}
    write_config(directory, inputs=list(entries), **keys | changes)


def labelled(path):
    with h5py.File(path) as file:
        return file["segmentations/semantic_segmentation"][...] >= 0


def test_each_of_a_pattern_has_its_own_mask(tmp_path):
    inside = [write_pair(tmp_path, number) for number in (1, 2)]
    inputs_of(tmp_path, {"tomogram": "data/*.mrc", "mask": "masks/{name}.mrc"})
    process = called(main, "params.yaml", cwd=tmp_path)
    assert (process.returncode, process.stderr) == (0, "")
    assert "warning" not in process.stdout
    files = [tmp_path / f"out/set/segmentation_{number}_intensities_kmeans.h5" for number in (0, 1)]
    for path, expected in zip(files, inside, strict=True):
        assert (labelled(path) == expected).all()
    # Pages made again, and picks, read the masks by the paths of that run.
    found = Directory(tmp_path / "out/set").read(files[1])
    assert found.mask_for_output.file == tmp_path / "masks/TS_02.mrc"
    inputs_of(tmp_path, {"tomogram": "data/*.mrc", "mask": "masks/TS_01.mrc"})
    shared = called(main, "params.yaml", "--dry-run", cwd=tmp_path).stdout
    told = "2 tomograms (0-1): masks/TS_01.mrc: is the mask of 2 tomograms; if each has its own"
    assert shared.count(told) == 1
    inputs_of(
        tmp_path,
        *({"tomogram": "data/TS_01.mrc", "mask": "masks/TS_01.mrc", "name": n} for n in "ab"),
    )
    assert "is the mask of" not in called(main, "params.yaml", "--dry-run", cwd=tmp_path).stdout


def test_labels_of_a_mask_are_chosen_told_and_kept(tmp_path):
    inside = write_pair(tmp_path, 1)
    with h5py.File(tmp_path / "seg.h5", "w") as file:
        file["lamella"], file["other"] = np.where(inside, 3, 1).astype("u1"), inside
    entry = {"tomogram": "data/TS_01.mrc"}
    inputs_of(tmp_path, entry | {"mask": {"file": "seg.h5", "dataset": "lamella"}})
    process = called(main, "params.yaml", "--dry-run", cwd=tmp_path)
    assert "warning: seg.h5, lamella: the mask covers the whole volume (values 1 to 3)" in (
        process.stdout
    )
    mask = {"file": "seg.h5", "dataset": "lamella", "labels": [3, 4]}
    inputs_of(tmp_path, entry | {"mask": mask}, report=True)
    process = called(main, "params.yaml", cwd=tmp_path)
    assert (process.returncode, process.stderr) == (0, "")
    warning = "seg.h5, lamella: the mask has no voxel of 4 (values 1 to 3)"
    assert f"warning: {warning}" in process.stdout
    path = tmp_path / "out/set/segmentation_0_intensities_kmeans.h5"
    assert (labelled(path) == inside).all()
    with h5py.File(path) as file:
        assert warning in file["segmentations"].attrs["warnings"]
        assert json.loads(file["segmentations"].attrs["mask_for_output"]) == mask
    assert warning in (tmp_path / "out/set/report.html").read_text()
    assert warning in (tmp_path / "out/set/run.json").read_text()
    assert "done earlier" in called(main, "params.yaml", cwd=tmp_path).stdout
    # Its page is made again with that mask.
    (tmp_path / "out/set/report.html").unlink()
    assert called(rebuild, "out/set", cwd=tmp_path).returncode == 0
    (tmp_path / "out/set/run.json").unlink()
    assert Directory(path.parent).read(path).mask_for_output == Mask(**mask)


def test_masks_are_refused_before_the_first_tomogram_is_computed(tmp_path):
    for number in (1, 2):
        write_pair(tmp_path, number)
    mask_file(tmp_path / "masks/TS_02.mrc", np.zeros(SHAPE))
    inputs_of(tmp_path, {"tomogram": "data/*.mrc", "mask": "masks/{name}.mrc"})
    process = called(main, "params.yaml", "--dry-run", cwd=tmp_path)
    assert process.returncode == 1
    (line,) = process.stderr.splitlines()
    assert line.startswith("error: data/TS_02.mrc: masks/TS_02.mrc: the mask is empty (value 0,")
