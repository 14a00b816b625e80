"""Sizes, places and axes of formats other than MRC, as other programs write them."""

import struct

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from fsspec import AbstractFileSystem, register_implementation

from picket_gpu import PicketError
from picket_gpu.files.lazy_volume import VolumeSelector, planes_of
from picket_gpu.files.location import Url
from picket_gpu.files.masks import read_mask
from picket_gpu.files.tomogram import read_header, read_voxels
from tests.support.ome_zarr import DATA, SHAPE


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
        (lambda data: data[:-1], r"EM file is truncated \(\d+ of \d+ bytes\); copy it again"),
        (lambda data: data[:100], "is not an EM file"),
        (lambda data: b"\x4d" + data[1:], "is not an EM file"),
        (lambda data: data[:3] + b"\x08" + data[4:], "EM type 8 is not supported; use one of 1,"),
        (lambda data: data[:4] + bytes(4) + data[8:], "0.* voxels .*; .* copy it again"),
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
    with h5py.File(path, "a") as file:
        file["MDF/images/1/image"] = DATA + 1
        file["MDF/images/1"].attrs.update({f"EMAN.apix_{axis}": 5.0 for axis in "xyz"})
        file["MDF/images/1"].attrs.update({f"EMAN.origin_{axis}": 7.0 for axis in "xyz"})
    with pytest.raises(
        PicketError, match=r"2 3D datasets .*\(MDF/images/0/image, MDF/images/1/image"
    ):
        read_header(path)
    second = read_header(path, VolumeSelector(dataset="MDF/images/1/image"))
    assert second.voxel_size == (5.0, 5.0, 5.0)
    assert second.place == (7.0, 7.0, 7.0)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-0.1, 1.0), (-0.3, 0.8), (-1.0, 0.0)])
def test_a_mask_of_eman2_is_above_its_own_zero(tmp_path, low, high):
    path = tmp_path / "mask.hdf"
    mask = np.zeros(SHAPE)
    mask[3:9, 4:12, 5:13] = 0.7
    mask[0, 0] = -0.05
    mask = np.clip(mask, low, high)
    mask[10] = high
    mask[11] = low
    with h5py.File(path, "w") as file:
        stored = np.floor((mask - low) / (high - low) * 255 + 0.5).astype("u1")
        file["MDF/images/0/image"] = stored
        file["MDF/images/0"].attrs.update(
            {
                "EMAN.stored_renderbits": np.int32(8),
                "EMAN.stored_rendermin": low,
                "EMAN.stored_rendermax": high,
                **{f"EMAN.apix_{axis}": 10.0 for axis in "xyz"},
            }
        )
    if high > 0:
        assert (read_mask(path, SHAPE) == (mask > 0)).all()
    else:
        with pytest.raises(PicketError, match="the mask is empty"):
            read_mask(path, SHAPE)


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
    assert (read_voxels(path) == DATA).all()
    assert (read_mask(path, SHAPE) == (DATA > 0)).all()
    coarse = read_header(path, VolumeSelector(dataset="Chimera/image1/data_zyx_2"))
    assert coarse.voxel_size == (60.0, 40.0, 20.0)
    assert coarse.place == (1.0, 2.0, 3.0)


@pytest.mark.parametrize("origin", [(np.nan, 2.0, 3.0), (1.5e30, 2.0, 3.0), "none"])
def test_an_origin_that_is_no_place_is_none_in_any_format(tmp_path, origin):
    path = tmp_path / "a.cmap"
    with h5py.File(path, "w") as file:
        group = file.create_group("Chimera/image1")
        group.attrs.update({"step": (10.0, 10.0, 10.0), "origin": origin})
        group["data_zyx"] = DATA
    header = read_header(path)
    assert header.place == (0, 0, 0)
    (warning,) = header.warnings
    assert warning.startswith(f"{path}: impossible origin, ")
    assert warning.endswith("angstrom (x y z); placed at 0 0 0")
    assert header.voxel_size == (10.0, 10.0, 10.0)


def test_copies_in_a_cmap_leave_no_choice(tmp_path):
    path = tmp_path / "a.cmap"
    with h5py.File(path, "w") as file:
        group = file.create_group("image1")
        group.attrs["step"] = (2.0, 2.0, 2.0)
        group.create_dataset("data_yzx", data=DATA, chunks=(18, 4, 22))
        group["data_zyx"] = DATA
        group["data_zyx_2x2x2"] = DATA[::2, ::2, ::2]  # that does not say so
    assert read_header(path).voxel_size == (2.0, 2.0, 2.0)
    assert (read_voxels(path) == DATA).all()
    coarse = read_header(path, VolumeSelector(dataset="image1/data_zyx_2x2x2"))
    assert coarse.voxel_size == (0.0, 0.0, 0.0)
    with h5py.File(path, "a") as file:
        file["image2/data_zyx"] = DATA
        file["image2"].attrs["step"] = (2.0, 2.0, 2.0)
    with pytest.raises(
        PicketError, match=r"2 3D datasets .*\(image1/data_zyx, image2/data_zyx\); select"
    ):
        read_header(path)


@pytest.mark.parametrize(
    "told",
    [
        {"step": 5},
        {"step": "fast"},
        {"step": (1.0, np.nan, 1.0)},
        {"EMAN.apix_x": 2.0},
        {f"EMAN.apix_{axis}": "two" for axis in "xyz"},
    ],
)
def test_attributes_of_other_programs_are_no_voxel_size(tmp_path, told):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["g/a"] = DATA
        file["g"].attrs.update(told)
    assert read_header(path).voxel_size == (0.0, 0.0, 0.0)
    assert (read_voxels(path) == DATA).all()


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


@pytest.mark.parametrize("told", [{}, {"PhysicalSizeX": "wide"}, {"PhysicalSizeXUnit": "pixel"}])
def test_ome_tiff_without_a_size_in_a_unit_of_length(tmp_path, told):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, DATA, ome=True, metadata={"axes": "ZYX", **told})
    assert "has no voxel size" in read_header(path).warnings[0]
    assert (read_voxels(path) == DATA).all()


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("nm", 10),
        ("NM", 10),
        ("nanometers", 10),
        ("micron", 1e4),
        ("microns", 1e4),
        ("um", 1e4),
        ("\\u00B5m", 1e4),
        ("\\u00C5", 1),
        ("Angstrom", 1),
        ("micrometre", 1e4),
        ("pm", 0.01),
        ("pixel", 0),
        ("inch", 0),
    ],
)
def test_sizes_of_imagej(tmp_path, unit, factor):
    path = tmp_path / "a.tif"
    metadata = {"axes": "ZYX", "spacing": 3.0, "unit": unit}
    tifffile.imwrite(path, DATA, imagej=True, resolution=(1.0, 0.5), metadata=metadata)
    assert read_header(path).voxel_size == pytest.approx((3 * factor, 2 * factor, factor))
    assert (read_voxels(path) == DATA).all()


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"unit": "micron", "zunit": "nm", "spacing": 3.0}, (30.0, 2e4, 1e4)),
        ({"unit": "nm", "yunit": "angstrom", "spacing": 3.0}, (30.0, 2.0, 10.0)),
        ({"unit": "nm", "spacing": -3.0}, (30.0, 20.0, 10.0)),
        ({"unit": "nm"}, (10.0, 20.0, 10.0)),  # a spacing of 1 is not written
        ({"spacing": 3.0}, (0.0, 0.0, 0.0)),
        ({"unit": "nm", "spacing": "wide"}, (0.0, 0.0, 0.0)),
    ],
)
def test_sizes_of_imagej_by_axis(tmp_path, told, expected):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, DATA, imagej=True, resolution=(1.0, 0.5), metadata={"axes": "ZYX"} | told
    )
    assert read_header(path).voxel_size == pytest.approx(expected)
    assert (read_mask(path, SHAPE) == (DATA > 0)).all()


@pytest.mark.parametrize("xml", ["<OME><broken</OME>", "<OME/>"])
def test_ome_xml_that_tells_nothing(tmp_path, xml):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, DATA, description=f'<?xml version="1.0"?>{xml}', metadata=None)
    assert "has no voxel size" in read_header(path).warnings[0]
    assert (read_voxels(path) == DATA).all()


@pytest.mark.parametrize(
    "options", [{}, {"resolution": (72, 72), "resolutionunit": "INCH"}, {"metadata": None}]
)
def test_a_resolution_in_print_is_no_voxel_size(tmp_path, options):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, DATA, **options)
    assert "has no voxel size" in read_header(path).warnings[0]


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"bigtiff": True}])
@pytest.mark.parametrize("metadata", [None, {}])
def test_tiff_whose_pages_were_appended_one_by_one(tmp_path, metadata, options):
    path = tmp_path / "a.tif"
    for plane in DATA:
        tifffile.imwrite(path, plane, append=True, metadata=metadata, **options)
    assert read_header(path).shape == SHAPE
    assert (read_voxels(path) == DATA).all()
    assert (read_mask(path, SHAPE) == (DATA > 0)).all()


def test_tiff_of_unequal_pages_is_no_volume(tmp_path):
    path = tmp_path / "a.tif"
    for plane in (DATA[0], DATA[1], DATA[2, :5]):
        tifffile.imwrite(path, plane, append=True)
    with pytest.raises(
        PicketError, match=r"pages differ, \(20, 22\) int16 and \(5, 22\) int16; sa"
    ):
        read_header(path)


def test_tiff_of_pages_of_two_types_is_no_volume(tmp_path):
    path = tmp_path / "a.tif"
    for plane in (DATA[0], DATA[1].astype(np.float32)):
        tifffile.imwrite(path, plane, append=True)
    with pytest.raises(PicketError, match=r"pages differ, .* int16 and \(20, 22\) float32; save"):
        read_header(path)


def test_tiff_of_several_volumes_is_not_read_in_part(tmp_path):
    path = tmp_path / "a.tif"
    for part in (DATA[:8], DATA[8:]):
        tifffile.imwrite(path, part, append=True)
    with pytest.raises(PicketError, match=r"a\.tif: contains 2 volumes; save one volume per"):
        read_header(path)


def test_a_picture_beside_the_volume_is_not_part_of_it(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, DATA)
    tifffile.imwrite(path, DATA[0], append=True)
    tifffile.imwrite(path, DATA[:4, ::2, ::2], append=True, photometric="minisblack")
    assert read_header(path).shape == SHAPE
    assert (read_voxels(path) == DATA).all()


AXES = [(1, *SHAPE), (1, 1, *SHAPE), (*SHAPE, 1), (1, *SHAPE, 1), (18, 1, 20, 22)]


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
        zarr.create_group(path).create_array("one", data=data)
        assert (read_voxels(path / "one") == DATA).all()
    assert read_header(path).shape == SHAPE
    assert (read_voxels(path) == DATA).all()
    assert (read_mask(path, SHAPE) == (DATA > 0)).all()


@pytest.mark.parametrize("shape", AXES)
@pytest.mark.parametrize("options", [{"ome": True}, {"metadata": None}, {"imagej": True}, {}])
def test_axes_of_length_1_in_a_compressed_tiff(tmp_path, shape, options):
    path, options = tmp_path / "a.tif", {"photometric": "minisblack"} | options
    if "imagej" in options:
        shape = (1,) * (5 - len(shape)) + shape
    else:
        options["compression"] = "zlib"
    if shape[-1] == 1 and options.get("metadata", {}) is None:
        pytest.skip("its pages are rows, and nothing tells of planes")
    tifffile.imwrite(path, DATA.reshape(shape), **options)
    assert read_header(path).shape == SHAPE
    assert (read_voxels(path) == DATA).all()


def test_more_than_three_axes_of_some_length_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.stack([DATA, DATA])[None])
    with pytest.raises(PicketError, match=r"5 dimensions \(1, 2, 18, 20, 22\); a tomogram has 3"):
        read_header(tmp_path / "a.npy")


def test_planes_of_a_volume_with_axes_of_length_1_are_read_a_few_at_a_time():
    sizes = [block.shape for block in planes_of(DATA[None, ..., None], 5)]
    assert sizes == [(5, 20, 22)] * 3 + [(3, 20, 22)]


@pytest.mark.parametrize("name", ["a.mrc", "a.rec", "a.MRC.gz", "a.map.bz2", "a.h5", "a.em?x=1"])
def test_files_at_urls_are_refused_in_a_line(name):
    with pytest.raises(
        PicketError, match=r"^https://\S+: only Zarr can be read from a URL; download"
    ):
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
