"""Sizes, places and axes of formats other than MRC, as other programs write them."""

import struct

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from fsspec import AbstractFileSystem, register_implementation

from picket_gpu import PicketError
from picket_gpu.files.lazy_volume import VolumeSelector
from picket_gpu.files.location import Url
from picket_gpu.files.tomogram import read_header, read_mask, read_voxels
from tests.support.ome_zarr import DATA, SHAPE, multiscale


def em_file(path, data, machine=6, kind=5, order="<"):
    header = struct.pack("<4b", machine, 0, 0, kind) + struct.pack(f"{order}3i", *SHAPE[::-1])
    path.write_bytes(header.ljust(512, b"\0") + data.tobytes())
    return path


@pytest.mark.parametrize(("machine", "order"), [(6, "<"), (1, "<"), (0, ">"), (3, ">"), (5, ">")])
@pytest.mark.parametrize("kind", [(1, "i1"), (2, "i2"), (4, "i4"), (5, "f4"), (9, "f8")])
def test_em_files_of_any_machine_and_type(tmp_path, machine, order, kind):
    number, dtype = kind
    data = (DATA // 10).astype(np.dtype(dtype).newbyteorder(order))
    path = em_file(tmp_path / "a.em", data, machine, number, order)
    header = read_header(path)
    assert header.shape == SHAPE
    assert "has no voxel size; set voxel_size" in header.warnings[0]
    assert (read_voxels(path) == DATA // 10).all()
    assert (read_mask(path, SHAPE) == (DATA // 10 > 0)).all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: data[:-1], r"not a whole EM file, \d+ of \d+ bytes; copy it again"),
        (lambda data: data[:100], "is not an EM file"),
        (lambda data: b"\x4d" + data[1:], "is not an EM file"),
        (lambda data: data[:3] + b"\x08" + data[4:], "EM type 8 is not supported; use one of 1,"),
        (lambda data: data[:4] + bytes(4) + data[8:], "0.* voxels .*; copy it again"),
    ],
)
def test_em_files_that_are_damaged(tmp_path, change, says):
    path = em_file(tmp_path / "a.em", DATA.astype("<f4"))
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(PicketError, match=says):
        read_header(path)


def test_sizes_of_eman2(tmp_path):
    path = tmp_path / "a.hdf"
    with h5py.File(path, "w") as file:
        file["MDF/images/0/image"] = DATA
        file["MDF/images/0"].attrs.update({f"EMAN.apix_{axis}": 13.48 for axis in "xyz"})
    header = read_header(path)
    assert header.voxel_size == (13.48, 13.48, 13.48)
    assert header.warnings == ()
    assert read_header(path, VolumeSelector(voxel_size=(2.0, 2.0, 2.0))).voxel_size == (2, 2, 2)
    assert (read_voxels(path) == DATA).all()


def test_sizes_of_chimerax(tmp_path):
    path = tmp_path / "a.cmap"
    with h5py.File(path, "w") as file:
        group = file.create_group("Chimera/image1")
        group.attrs.update({"step": (10.0, 20.0, 30.0), "origin": (1.0, 2.0, 3.0)})
        group["data_zyx"] = DATA
        group["data_zyx_2"] = DATA[::2, ::2, ::2]
        group["data_zyx_2"].attrs["subsample_spacing"] = (2, 2, 2)
    header = read_header(path)
    assert header.shape == SHAPE
    assert header.voxel_size == (30.0, 20.0, 10.0)
    assert header.place == (1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("unit", "factor"), [("nm", 10), ("µm", 1e4), ("Å", 1), ("pm", 0.01), (None, 1e4)]
)
def test_sizes_of_ome_tiff(tmp_path, unit, factor):
    path = tmp_path / "a.tif"
    told = {"axes": "ZYX"}
    for axis, length in zip("XYZ", (1.0, 2.0, 3.0), strict=True):
        told[f"PhysicalSize{axis}"] = length
        if unit:
            told[f"PhysicalSize{axis}Unit"] = unit
    tifffile.imwrite(path, DATA, ome=True, metadata=told)
    assert read_header(path).voxel_size == pytest.approx((3 * factor, 2 * factor, factor))
    assert (read_voxels(path) == DATA).all()


@pytest.mark.parametrize(
    ("unit", "factor"), [("nm", 10), ("micron", 1e4), ("angstrom", 1), ("\\u00B5m", 1e4)]
)
def test_sizes_of_imagej(tmp_path, unit, factor):
    path = tmp_path / "a.tif"
    metadata = {"axes": "ZYX", "spacing": 3.0, "unit": unit}
    tifffile.imwrite(path, DATA, imagej=True, resolution=(1.0, 0.5), metadata=metadata)
    assert read_header(path).voxel_size == pytest.approx((3 * factor, 2 * factor, factor))
    assert (read_voxels(path) == DATA).all()


@pytest.mark.parametrize(
    "options", [{}, {"resolution": (72, 72), "resolutionunit": "INCH"}, {"metadata": None}]
)
def test_a_resolution_in_print_is_no_voxel_size(tmp_path, options):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, DATA, **options)
    assert "has no voxel size" in read_header(path).warnings[0]


@pytest.mark.parametrize("metadata", [None, {}])
def test_tiff_whose_pages_were_appended_one_by_one(tmp_path, metadata):
    path = tmp_path / "a.tif"
    for plane in DATA:
        tifffile.imwrite(path, plane, append=True, metadata=metadata)
    assert read_header(path).shape == SHAPE
    assert (read_voxels(path) == DATA).all()


def test_tiff_of_unequal_pages_is_no_volume(tmp_path):
    path = tmp_path / "a.tif"
    for plane in (DATA[0], DATA[1], DATA[2, :5]):
        tifffile.imwrite(path, plane, append=True)
    with pytest.raises(PicketError, match=r"a\.tif: has 2 dimensions; a tomogram has 3"):
        read_header(path)


AXES = [(1, *SHAPE), (1, 1, *SHAPE), (*SHAPE, 1), (1, *SHAPE, 1)]


@pytest.mark.parametrize("shape", AXES)
@pytest.mark.parametrize("ending", ["npy", "h5", "tif", "zarr"])
def test_axes_of_length_1_are_left_out(tmp_path, ending, shape):
    path, data = tmp_path / f"a.{ending}", DATA.reshape(shape)
    if ending == "npy":
        np.save(path, data)
    elif ending == "h5":
        with h5py.File(path, "w") as file:
            file["a"] = data
    elif ending == "tif":
        tifffile.imwrite(path, data, photometric="minisblack")
    else:
        zarr.create_array(path, data=data)
    assert read_header(path).shape == SHAPE
    assert (read_voxels(path) == DATA).all()
    assert (read_mask(path, SHAPE) == (DATA > 0)).all()


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
    with pytest.raises(PicketError, match=r"holds 2 images \(0, 1\); name an array by dataset"):
        read_header(path)
    assert read_header(path, VolumeSelector(dataset="1/0")).voxel_size == (10.0, 10.0, 10.0)


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


@pytest.mark.parametrize("name", ["a.mrc", "a.rec", "a.MRC.gz", "a.map.bz2", "a.h5", "a.em?x=1"])
def test_files_at_urls_are_refused_in_a_line(name):
    with pytest.raises(PicketError, match=r"^https://\S+: of URLs only Zarr can be read.*download"):
        read_header(Url(f"https://127.0.0.1:1/{name}"))


class Refusing(AbstractFileSystem):
    """A protocol whose server wants credentials, as s3 without any."""

    protocol = "refusing"

    def _refuse(self, *_, **__):
        raise PermissionError("Access Denied")

    info = ls = cat_file = _refuse


def test_missing_credentials_hint_at_anon():
    register_implementation("refusing", Refusing, clobber=True)
    with pytest.raises(PicketError, match=r"refusing://\S+: .*storage_options: {anon: true}"):
        read_header(Url("refusing://bucket/a.zarr"))
