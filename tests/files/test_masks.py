"""Masks of other programs: labels, probabilities, several in a file; and what is odd about them."""

import json
import re
import struct

import h5py
import mrcfile
import numpy as np
import pytest
import zarr
from pydantic import ValidationError

from picket_gpu.config.inputs import TomogramInput
from picket_gpu.errors import PicketError
from picket_gpu.files.location import Url
from picket_gpu.files.masks import Mask, examine_mask, read_mask

SHAPE = (10, 12, 14)
INSIDE = np.zeros(SHAPE, bool)
INSIDE[2:8, 3:9, 2:12] = True
LABELS = np.random.default_rng(0).integers(0, 5, SHAPE)


def write(path, values, flags=None):
    """A mask, with IMOD's stamp if its flags are given."""
    mrcfile.write(path, values, overwrite=True)
    if flags is not None:
        with path.open("r+b") as file:
            file.seek(152)
            file.write(struct.pack("<2i", 1146047817, flags))
    return path


# Which voxels.


@pytest.mark.parametrize("dtype", ["i1", "u2", "i2", "f4"])
@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({}, LABELS > 0),
        ({"labels": 1}, LABELS == 1),
        ({"labels": [1, 3]}, (LABELS == 1) | (LABELS == 3)),
        ({"labels": [0]}, LABELS == 0),
        ({"labels": [1, 300, -300]}, LABELS == 1),
        ({"without": 2}, LABELS != 2),
        ({"without": [0, 4]}, (LABELS != 0) & (LABELS != 4)),
        ({"above": 2.5}, LABELS > 2.5),
    ],
)
def test_the_values_that_are_chosen(tmp_path, dtype, choice, expected):
    path = write(tmp_path / "a.mrc", LABELS.astype(dtype))
    assert (read_mask(Mask(file=path, **choice), SHAPE) == expected).all()


@pytest.mark.parametrize("flags", [12, 13])
def test_labels_in_the_bytes_of_imod_are_as_imod_shows_them(tmp_path, flags):
    stored = LABELS if flags == 12 else LABELS - 128
    path = write(tmp_path / "a.mrc", stored.astype("i1"), flags)
    assert (read_mask(Mask(file=path, labels=[1, 3]), SHAPE) == np.isin(LABELS, (1, 3))).all()
    assert (read_mask(Mask(file=path, above=1.5), SHAPE) == (LABELS > 1.5)).all()


def test_nan_belongs_to_no_mask(tmp_path):
    values = LABELS.astype("f4")
    values[5] = np.nan
    np.save(tmp_path / "a.npy", values)
    for choice in ({}, {"labels": 1}, {"without": 1}):
        voxels = read_mask(Mask(file=tmp_path / "a.npy", **choice), SHAPE)
        assert not voxels[5].any()
        assert voxels.any()


def test_one_of_several_datasets(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["one"], file["group/two"] = INSIDE.astype("u1"), (~INSIDE).astype("u1")
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    for name, values in (("one", INSIDE), ("three", INSIDE), ("group/two", ~INSIDE)):
        group.create_array(name, shape=SHAPE, dtype="u1")[...] = values
    for file in (tmp_path / "a.h5", tmp_path / "a.zarr"):
        assert (read_mask(Mask(file=file, dataset="one"), SHAPE) == INSIDE).all()
        assert (read_mask(Mask(file=file, dataset="group/two"), SHAPE) == ~INSIDE).all()
    for name, first in (("a.h5", "group/two"), ("a.zarr", "one")):
        with pytest.raises(PicketError) as error:
            read_mask(tmp_path / name, SHAPE)
        remedy = f"select one by mask: {{file: {tmp_path / name}, dataset: {first}}}"
        assert str(error.value).endswith(remedy)  # it works, see above


# What is odd.


def warnings(directory, values, **choice):
    mask = Mask(file=write(directory / "mask.mrc", values), **choice)
    return [line.removeprefix(f"{mask}: ") for line in examine_mask(mask, SHAPE).warnings]


FIRST = np.zeros(SHAPE, bool)
FIRST[0, 0, 0] = True
SOFT = np.where(INSIDE, 0.93, 0.02).astype("f4")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.where(INSIDE, 2, 1).astype("u2"), r"the whole volume \(values 1 to 2\); .*labels: 1}"),
        (np.where(INSIDE, 1, 2).astype("i1"), r"the whole volume \(values 1 to 2\); .*labels: 1}"),
        (SOFT, r"the whole volume \(values 0.02 to 0.93\); .*above: 0.5}"),
        (SOFT * ~FIRST, r"all but 1 of 1,680 voxels \(values 0 to 0.93\); .*above: 0.5}"),
        (~FIRST * np.where(INSIDE, 1, 2).astype("i1"), r"all but 1 of 1,680 .*labels: 1}"),
        (np.full(SHAPE, 255, "u2"), r"the whole volume \(value 255\); it changes nothing"),
        (np.ones(SHAPE, "i1"), r"the whole volume \(value 1\); it changes nothing"),
        (np.ones(SHAPE, "f4"), r"the whole volume \(value 1\); it changes nothing"),
        # Labels and limits in a message are such that they tell parts of the mask apart.
        (np.where(INSIDE, 5, 3).astype("i1"), r"the whole volume \(values 3 to 5\); .*labels: 3}"),
        (np.where(INSIDE, 230, 20).astype("u2"), r"the whole .* labels, or a limit .*above: 125}"),
        (SOFT * 100, r"the whole volume \(values 2 to 93\); .*above: 47.5}"),
        ((~FIRST).astype("i1"), r"all but 1 of 1,680 .*\); check that it is the right file"),
    ],
)
def test_a_mask_that_does_nothing_is_told_with_its_values(tmp_path, values, says):
    (line,) = warnings(tmp_path, values)
    assert re.match("the mask covers " + says, line)


@pytest.mark.parametrize("kind", ["f4", "i2"])
def test_a_tomogram_is_told_from_a_mask(tmp_path, kind):
    grey = (np.random.default_rng(0).normal(size=SHAPE) * 100).astype(kind)
    (line,) = warnings(tmp_path, grey)
    assert line.startswith(f"the mask has values {grey.min():g} to {grey.max():g}, as tomograms")


NOISE = np.random.default_rng(0).normal(size=SHAPE)


@pytest.mark.parametrize("noise", [1e-7, 1e-3, 0.05])
def test_a_background_that_is_not_quite_0_is_told_with_a_limit(tmp_path, noise):
    values = (INSIDE + noise * NOISE).astype("f4")
    (line,) = warnings(tmp_path, values)
    assert re.search(r"and what is above 0 belongs to it; choose a limit \(.*above: 0.5}\)$", line)
    mask = Mask(file=tmp_path / "mask.mrc", above=0.5)
    content = examine_mask(mask, SHAPE)
    assert content.warnings == ()
    assert (content.voxels == INSIDE).all()


def test_labels_of_a_mask_without_whole_numbers(tmp_path):
    values = (INSIDE + 1e-7 * NOISE).astype("f4")
    apart = np.count_nonzero(values != np.rint(values))
    assert 0 < np.count_nonzero(values == 1) < np.count_nonzero(INSIDE)  # some would be lost
    (line,) = warnings(tmp_path, values, labels=1)
    assert line.startswith(f"the mask has {apart:,} voxels between labels (values -")
    assert "choose a limit in place of labels ({file" in line
    with pytest.raises(PicketError, match=r"choose other labels, or a limit \(.*above: 0.5}\)$"):
        warnings(tmp_path, values, labels=2)


def test_a_limit_that_no_voxel_exceeds(tmp_path):
    with pytest.raises(
        PicketError, match=r"\(values 0 to 1, voxels above 1 .*; choose a lower limit$"
    ):
        warnings(tmp_path, INSIDE.astype("i1"), above=1.0)


@pytest.mark.parametrize(
    ("values", "likely"),
    [
        (INSIDE[::2, ::2, ::2], " (this one seems to be binned by 2)"),
        (INSIDE[:3, :4, :4], " (this one seems to be binned by 3)"),  # where 3 does not divide it
        (np.zeros((20, 24, 28)), " (this one seems to be unbinned by 2)"),
        (INSIDE.transpose(2, 1, 0), " (this one seems to have its axes in another order than z"),
        (INSIDE[1:], ""),
        (INSIDE[:5], ""),
    ],
)
def test_why_a_mask_has_another_shape(tmp_path, values, likely):
    with pytest.raises(PicketError) as error:
        warnings(tmp_path, np.ascontiguousarray(values).astype("i1"))
    assert f"use a mask of the same shape{likely}" in str(error.value)
    assert likely or str(error.value).endswith("shape")


def test_a_dataset_as_part_of_the_path(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["group/one"] = INSIDE
    place = tmp_path / "a.h5"
    with pytest.raises(PicketError) as error:
        read_mask(place / "group/one", SHAPE)
    assert str(error.value) == (
        f"{place}/group/one: {place} is a file; select one by mask: {{file: {place}, "
        "dataset: group/one}"
    )


def test_a_directory_of_masks(tmp_path):
    write(tmp_path / "TS_01.mrc", INSIDE.astype("i1"))
    with pytest.raises(PicketError, match=r"a mask for each tomogram, write .*/\{name\}\.mrc$"):
        read_mask(tmp_path, SHAPE)


@pytest.mark.parametrize("labels", ["2", 2.5, {"a": 1}, None])
def test_labels_are_whole_numbers(labels):
    if labels is None:
        assert Mask(file="a.mrc", labels=labels).labels is None
        return
    with pytest.raises(ValidationError, match="must be a whole number, or a list of them"):
        Mask(file="a.mrc", labels=labels)


@pytest.mark.parametrize(
    ("values", "choice"),
    [
        (INSIDE.astype("i1"), {}),
        (INSIDE.astype("f4"), {}),
        ((INSIDE * 255).astype("u2"), {}),
        (np.where(INSIDE, 1, -1).astype("i1"), {}),  # labels of S1
        (np.where(INSIDE, 0.5, 0).astype("f4"), {}),  # a soft mask
        (np.where(INSIDE, 2, 1).astype("i1"), {"labels": 1}),
        (FIRST.astype("i1"), {"without": 1}),  # a bead left out
        (SOFT, {"above": 0.5}),
    ],
)
def test_nothing_is_odd_about_a_mask(tmp_path, values, choice):
    assert warnings(tmp_path, values, **choice) == []


def test_labels_that_are_nowhere(tmp_path):
    values = INSIDE.astype("i1")
    assert warnings(tmp_path, values, labels=[1, 3, 5]) == [
        "the mask has no voxel of 3, 5 (values 0 to 1)"
    ]
    missing, covering = warnings(tmp_path, values, without=4)
    assert missing == "the mask has no voxel of 4 (values 0 to 1)"
    assert covering.startswith("the mask covers the whole volume")
    for choice in ({"labels": 3}, {"without": [0, 1]}):
        with pytest.raises(PicketError, match=r"the mask is empty where .*choose other labels"):
            warnings(tmp_path, values, **choice)


# How it is written.


def test_a_file_alone_is_written_as_a_path_and_more_as_a_mapping():
    """Fingerprints are made of these."""
    plain = TomogramInput(tomogram="t.mrc", mask="m.mrc")
    assert plain.facts() == {"tomogram": "t.mrc", "mask": "m.mrc", "outside_is_padding": False}
    chosen = TomogramInput(tomogram="t.mrc", mask={"file": "m.h5", "labels": 2, "dataset": "a"})
    assert chosen.facts()["mask"] == {"file": "m.h5", "dataset": "a", "labels": [2]}
    for entry in (plain, chosen):
        assert TomogramInput.model_validate(json.loads(entry.model_dump_json())) == entry
        assert Mask.model_validate(entry.mask.text) == entry.mask  # as files have it


def test_a_template_is_filled_with_the_name_of_the_tomogram(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    entry = TomogramInput(tomogram="d/TS_01.mrc.gz", mask="m/{name}_{stem}.mrc")
    assert str(entry.fitting_mask) == str(entry.output_mask) == "m/TS_01_TS_01.mrc"
    assert entry.facts()["mask"] == "m/TS_01_TS_01.mrc"
    entry = TomogramInput(
        tomogram="d/rec.mrc", name="TS_02", mask_for_output={"file": "m/{name}.h5", "labels": 1}
    )
    assert entry.output_mask.rule == "m/TS_02.h5 is 1"
    assert entry.fitting_mask is None
    url = TomogramInput(tomogram="s3://b/TS_03.zarr", mask="s3://b/{name}_mask.zarr").fitting_mask
    assert url.file == Url("s3://b/TS_03_mask.zarr")
    assert isinstance(url.file, Url)
    (tmp_path / "{name}.mrc").touch()  # is what it says
    assert str(TomogramInput(tomogram="a.mrc", mask="{name}.mrc").fitting_mask) == "{name}.mrc"
    for wrong in ("m/{nam}.mrc", "m/*.mrc", "m/TS_0?.mrc", "m/{}.mrc"):
        with pytest.raises(ValidationError, match=r"\{name\}"):
            TomogramInput(tomogram="a.mrc", mask=wrong)
