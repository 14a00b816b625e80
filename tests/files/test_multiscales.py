"""What OME-Zarr of several versions and writers tells of size and place."""

import shutil

import pytest
import zarr

from picket_gpu import PicketError
from picket_gpu.files.lazy_volume import VolumeSelector
from picket_gpu.files.location import as_location
from picket_gpu.files.masks import read_mask
from picket_gpu.files.tomogram import read_header, read_voxels
from tests.support.ome_zarr import DATA, SHAPE, multiscale


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_level_by_its_own_path_has_what_the_group_above_says(tmp_path, version):
    path = multiscale(tmp_path / "a.zarr", version)
    for level in range(3):
        alone = read_header(path / str(level))
        named = read_header(path, VolumeSelector(dataset=str(level)))
        chosen = read_header(path, VolumeSelector(level=level))
        assert alone.voxel_size == named.voxel_size == chosen.voxel_size == (10.0 * 2**level,) * 3
        assert alone.place == named.place == chosen.place == (1.0, 2.0, 3.0)
        assert alone.warnings == ()


def bioformats2raw(path, images):
    group = zarr.create_group(path, zarr_format=2)
    group.attrs["bioformats2raw.layout"] = 3
    for number in range(images):
        multiscale(path / str(number), "0.4", axes="tczyx")
    return path


def test_the_only_image_of_bioformats2raw(tmp_path):
    path = bioformats2raw(tmp_path / "a.zarr", 1)
    for selector, level in (
        (VolumeSelector(), 0),
        (VolumeSelector(level=1), 1),
        (VolumeSelector(dataset="0/1"), 1),
    ):
        header = read_header(path, selector)
        assert header.voxel_size == (10.0 * 2**level,) * 3
        assert header.place == (1.0, 2.0, 3.0)
        step = 2**level
        assert (read_voxels(path, selector) == DATA[::step, ::step, ::step]).all()
    for way in ("0", "0/0"):
        assert read_header(path / way).voxel_size == (10.0, 10.0, 10.0)


def test_several_images_of_bioformats2raw_are_named(tmp_path):
    path = bioformats2raw(tmp_path / "a.zarr", 2)
    with pytest.raises(PicketError, match=r"contains 2 images \(0, 1\); select one with dataset"):
        read_header(path)
    for name, size in (("1", 10.0), ("1/0", 10.0), ("1/2", 40.0)):
        assert read_header(path, VolumeSelector(dataset=name)).voxel_size == (size, size, size)


@pytest.mark.parametrize("axes", [None, ["t", "c", "z", "y", "x"], ["z", "y", "x"]])
def test_ome_zarr_before_0_4_has_no_voxel_size(tmp_path, axes):
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    extra = 0 if axes and len(axes) == 3 else 2
    for level in range(2):
        data = DATA[:: 2**level, :: 2**level, :: 2**level]
        group.create_array(str(level), data=data.reshape((1,) * extra + data.shape))
    image = {"version": "0.1", "datasets": [{"path": "0"}, {"path": "1"}]}
    group.attrs["multiscales"] = [image | ({"axes": axes} if axes else {})]
    header = read_header(tmp_path / "a.zarr")
    assert header.shape == SHAPE
    assert "has no voxel size" in header.warnings[0]
    assert (read_voxels(tmp_path / "a.zarr") == DATA).all()
    coarse = read_voxels(tmp_path / "a.zarr", VolumeSelector(level=1))
    assert (coarse == DATA[::2, ::2, ::2]).all()


NANOMETERS = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]


def image(path, steps=(), shared=(), axes=NANOMETERS, name="0"):
    """A group of one level at ``name`` with these transformations."""
    group = zarr.open_group(path, mode="a", zarr_format=2)
    group.create_array(name, data=DATA)
    told = {"version": "0.4", "axes": axes, "coordinateTransformations": list(shared)}
    told["datasets"] = [{"path": name, "coordinateTransformations": list(steps)}]
    group.attrs["multiscales"] = [*group.attrs.get("multiscales", []), told]
    return path


def scale(*factors):
    return {"type": "scale", "scale": factors}


def translation(*shifts):
    return {"type": "translation", "translation": shifts}


def test_transformations_of_an_image_come_after_those_of_its_levels(tmp_path):
    path = image(
        tmp_path / "a.zarr",
        [scale(2, 4, 8), translation(1, 2, 3)],
        [scale(0.5, 0.5, 0.5), translation(10, 20, 30)],
    )
    header = read_header(path)
    assert header.voxel_size == (10.0, 20.0, 40.0)
    assert header.place == (315.0, 210.0, 105.0)  # (3 x 0.5 + 30) nm along x


@pytest.mark.parametrize("shift", [1.5e30, float("nan"), -float("inf")])
def test_a_translation_that_is_no_place_is_none(tmp_path, shift):
    path = image(tmp_path / "a.zarr", [scale(1, 1, 1), translation(1, shift, 3)])
    header = read_header(path)
    assert header.place == (0, 0, 0)
    (warning,) = header.warnings
    assert "impossible origin" in warning


@pytest.mark.parametrize(
    "steps",
    [
        [],
        [{"type": "identity"}],
        [translation(1, 2, 3)],
        [scale(1, 1, 1), {"type": "affine", "affine": [[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]]}],
        [{"type": "scale", "path": "scales"}],
    ],
)
def test_transformations_that_tell_no_scale_leave_the_size_unknown(tmp_path, steps):
    path = image(tmp_path / "a.zarr", steps)
    header = read_header(path)
    assert header.voxel_size == (0.0, 0.0, 0.0)
    assert "has no voxel size; set voxel_size" in header.warnings[0]
    told = read_header(path, VolumeSelector(voxel_size=(5.0, 5.0, 5.0)))
    assert told.voxel_size == (5.0, 5.0, 5.0)
    assert told.warnings == ()


def test_axes_in_another_order_are_named(tmp_path):
    path = image(tmp_path / "a.zarr", [scale(1, 2, 3)], axes=NANOMETERS[::-1])
    for where in (path, path / "0"):
        with pytest.raises(PicketError, match=r"\(axes \['x', 'y', 'z'\] do not end in z, y, x\)"):
            read_header(where)


def test_a_scale_for_other_axes_is_refused(tmp_path):
    path = image(tmp_path / "a.zarr", [scale(2)])
    with pytest.raises(
        PicketError, match=r"invalid multiscales \(a scale of 1 numbers for 3 axes\)"
    ):
        read_header(path)


def test_a_level_below_a_directory_that_is_no_group(tmp_path):
    path = image(tmp_path / "a.zarr", [scale(1, 1, 1)], name="s/0")
    (path / "s" / ".zgroup").unlink(missing_ok=True)
    assert read_header(path / "s" / "0").voxel_size == (10.0, 10.0, 10.0)
    assert read_header(path, VolumeSelector(dataset="s/0")).voxel_size == (10.0, 10.0, 10.0)


def test_a_level_by_a_relative_path(tmp_path, monkeypatch):
    path = multiscale(tmp_path / "a.zarr", "0.4")
    monkeypatch.chdir(path)
    assert read_header(as_location("1")).voxel_size == (20.0, 20.0, 20.0)


def test_each_of_several_images_in_a_group_has_its_size(tmp_path):
    path = image(tmp_path / "a.zarr", [scale(1, 1, 1)])
    image(path, [scale(3, 3, 3)], name="b")
    for selector, size in (
        (VolumeSelector(), 10.0),
        (VolumeSelector(dataset="0"), 10.0),
        (VolumeSelector(dataset="b"), 30.0),
    ):
        assert read_header(path, selector).voxel_size == (size, size, size)
    assert read_header(path / "b").voxel_size == (30.0, 30.0, 30.0)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_images_of_bioformats2raw_by_their_list(tmp_path, version):
    path = tmp_path / "a.zarr"
    group = zarr.create_group(path, zarr_format={"0.4": 2, "0.5": 3}[version])
    wrap = (lambda told: {"ome": told | {"version": "0.5"}}) if version == "0.5" else dict
    group.attrs.update(wrap({"bioformats2raw.layout": 3}))
    group.create_group("OME").attrs.update(wrap({"series": ["A/first"]}))
    multiscale(path / "A" / "first", version)
    multiscale(path / "0", version, 3.0)  # which the list does not have
    for selector, level in ((VolumeSelector(), 0), (VolumeSelector(level=2), 2)):
        header = read_header(path, selector)
        assert header.voxel_size == (10.0 * 2**level,) * 3
    named = read_header(path, VolumeSelector(dataset="A/first/1"))
    assert named.voxel_size == read_header(path / "A/first/1").voxel_size == (20.0, 20.0, 20.0)
    assert (read_mask(path, SHAPE) == (DATA > 0)).all()
    group["OME"].attrs.update(wrap({"series": ["A/first", "0"]}))
    with pytest.raises(PicketError, match=r"2 images \(A/first, 0\); select one with dataset"):
        read_header(path)


def test_the_only_image_of_bioformats2raw_need_not_be_the_first(tmp_path):
    path = bioformats2raw(tmp_path / "a.zarr", 3)
    shutil.rmtree(path / "0")
    shutil.rmtree(path / "1")
    assert read_header(path).voxel_size == (10.0, 10.0, 10.0)


def test_images_are_listed_by_number(tmp_path):
    path = bioformats2raw(tmp_path / "a.zarr", 11)
    with pytest.raises(PicketError, match=r"contains 11 images \(0, 1, 2, 3, 4, 5, 6, 7, 8\)"):
        read_header(path)


def test_a_voxel_size_is_taken_for_a_level_that_has_none(tmp_path):
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    for level in range(2):
        group.create_array(str(level), data=DATA[:: 2**level, :: 2**level, :: 2**level])
    datasets = [{"path": "0"}, {"path": "1"}]
    group.attrs["multiscales"] = [{"version": "0.3", "axes": list("zyx"), "datasets": datasets}]
    path = tmp_path / "a.zarr"
    header = read_header(path, VolumeSelector(voxel_size=(7.0, 7.0, 7.0)))
    assert (header.shape, header.voxel_size) == (SHAPE, (7.0, 7.0, 7.0))
    coarse = DATA[::2, ::2, ::2]
    assert (read_mask(path, coarse.shape) == (coarse > 0)).all()  # chosen by its shape
