"""MRC files as people have them: turned axes, unsigned bytes, odd stamps, places, masks of IMOD."""

import bz2
import gzip
import itertools
import struct
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import pytest
import zarr

from picket_gpu import PicketError, run_s1
from picket_gpu.files.masks import read_mask
from picket_gpu.files.tomogram import read_header, read_voxels
from picket_gpu.run.existing import Directory
from picket_gpu.view import layers

SHAPE = (10, 12, 14)
DATA = np.random.default_rng(0).normal(100, 30, SHAPE).astype(np.float32)
GREY = DATA.clip(0, 255).round().astype(np.uint8)
ORDERS = {"<": b"DA\0\0", ">": b"\x11\x11\0\0"}
IMOD = 1146047817


def write(path: Path, data: np.ndarray, *patches: tuple[int, str, tuple]) -> Path:
    """An MRC file of voxels of 10 angstrom, and values packed into its header at some bytes."""
    mrcfile.write(path, data, voxel_size=10, overwrite=True)
    path.write_bytes(patched(path, *patches))
    return path


def patched(path: Path, *patches: tuple[int, str, tuple]) -> bytes:
    """The content of a file with values packed into it at some bytes."""
    content = bytearray(path.read_bytes())
    for at, form, values in patches:
        struct.pack_into(form, content, at, *values)
    return bytes(content)


def swapped(path: Path) -> Path:
    """The same file in the other byte order."""
    with mrcfile.open(path) as mrc:
        header, data = mrc.header.copy(), mrc.data.copy()
    order = header.dtype.newbyteorder(">")
    fields = header.astype(order)
    fields["machst"] = np.frombuffer(ORDERS[">"], np.uint8)
    content = bytearray(fields.tobytes())
    # mrcfile takes IMOD's stamp and flags for bytes.
    struct.pack_into(">2i", content, 152, *struct.unpack_from("<2i", content, 152))
    path.write_bytes(content + data.astype(data.dtype.newbyteorder(">")).tobytes())
    return path


def turned(path: Path, axes: str) -> Path:
    """`DATA` with columns, rows and sections along ``axes``; starts x 5, y 6, z -7."""
    stored = np.ascontiguousarray(DATA.transpose(["zyx".index(axis) for axis in axes[::-1]]))
    start = {"x": 5, "y": 6, "z": -7}
    return write(
        path,
        stored,
        (16, "<3i", tuple(start[axis] for axis in axes)),
        (28, "<3i", SHAPE[::-1]),
        (40, "<3f", (140, 240, 300)),  # 10, 20, 30 angstrom along x, y, z
        (64, "<3i", tuple("xyz".index(axis) + 1 for axis in axes)),
    )


@pytest.mark.parametrize("axes", ["".join(axes) for axes in itertools.permutations("xyz")])
@pytest.mark.parametrize("kind", ["plain", "gz", "bz2", "other order"])
def test_axes_are_turned_to_z_y_x_with_all_that_goes_with_them(tmp_path, axes, kind):
    path = turned(tmp_path / "a.mrc", axes)
    if kind == "other order":
        swapped(path)
    elif kind != "plain":
        path.write_bytes({"gz": gzip, "bz2": bz2}[kind].compress(path.read_bytes()))
    header = read_header(path)
    assert header.shape == SHAPE
    assert header.voxel_size == (30.0, 20.0, 10.0)
    assert header.nstart == (5, 6, -7)
    assert header.place == (50.0, 120.0, -210.0)
    assert (read_voxels(path) == DATA).all()
    assert (read_mask(path, SHAPE) == (DATA > 0)).all()


def test_axes_of_zeros_are_x_y_z(tmp_path):
    path = write(tmp_path / "a.mrc", DATA, (64, "<3i", (0, 0, 0)))
    assert (read_voxels(path) == DATA).all()
    assert read_header(path).warnings == ()


@pytest.mark.parametrize("axes", [(1, 1, 3), (1, 2, 4), (0, 1, 2), (-1, 2, 3)])
def test_axes_that_are_no_order_are_named(tmp_path, axes):
    path = write(tmp_path / "a.mrc", DATA, (64, "<3i", axes))
    with pytest.raises(
        PicketError, match=r"a\.mrc: MRC header gives the axes .* \(mapc mapr maps\)"
    ):
        read_header(path)


def test_outputs_of_a_turned_tomogram_lie_on_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    turned(Path("a.mrc"), "zxy")
    run = run_s1(settings("a.mrc", save=["hdf5", "mrc"]), quiet=True)
    with mrcfile.open(run[0].path.with_suffix(".mrc")) as mrc:
        assert mrc.data.shape == SHAPE
        assert [int(n) for n in (mrc.header.mapc, mrc.header.mapr, mrc.header.maps)] == [1, 2, 3]
        assert mrc.voxel_size.tolist() == (10.0, 20.0, 30.0)
        assert mrc.nstart.tolist() == (5, 6, -7)


def settings(*paths, **changes):
    return {
        "dataset_name": "set",
        "inputs": [{"tomogram": path} for path in paths],
        "neighborhood_size": 3,
        "feature_extraction_params": [{"mode": "intensities"}],
        "clustering_methods": ["kmeans"],
        "output_dir": "out",
        "report": False,
    } | changes


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("name", "stored", "patches"),
    [
        ("unsigned by IMOD", GREY, [(152, "<2i", (IMOD, 12))]),
        ("unsigned by statistics", GREY, [(76, "<3f", (0, 255, 100))]),
        ("signed by IMOD", (GREY.astype(int) - 128).astype(np.int8), [(152, "<2i", (IMOD, 13))]),
        ("signed", (GREY.astype(int) - 128).astype(np.int8), []),
    ],
)
def test_bytes_are_signed_or_not(tmp_path, name, stored, patches, order):
    path = write(tmp_path / "a.mrc", stored.view(np.int8), *patches)
    if order == ">":
        swapped(path)
    assert (read_voxels(path) == stored).all()


def test_a_mask_of_bytes_is_as_imod_shows_it(tmp_path):
    inside = DATA > 100
    unsigned, signed = [(152, "<2i", (IMOD, 12))], [(152, "<2i", (IMOD, 13))]
    soft = np.where(inside, 200, 0).astype(np.uint8)
    for values, patches in (
        (inside.astype(np.int8), []),
        (np.where(inside, 255, 0).astype(np.uint8), unsigned),
        (np.where(inside, -127, -128).astype(np.int8), signed),
        (soft, unsigned),
        (soft, [(76, "<3f", (0, 200, 100))]),
    ):
        path = write(tmp_path / "a.mrc", values.view(np.int8), *patches)
        assert (read_mask(path, SHAPE) == inside).all()
        path.write_bytes(gzip.compress(path.read_bytes()))
        assert (read_mask(path, SHAPE) == inside).all()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ((0, -1), r"the mask is empty \(values -1 to 0"),  # 0 and 255, read as signed
        ((-128, -127), r"the mask is empty \(values -128 to -127"),
        ((0, 0), r"the mask is empty \(value 0,"),
        ((90, -56), "signed bytes from -56 to 90, which may be unsigned"),  # 90 and 200
        ((90, -1), "signed bytes from -1 to 90, which may be unsigned"),  # 90 and 255
    ],
)
def test_a_mask_whose_bytes_could_be_misread_is_refused(tmp_path, values, says):
    path = write(tmp_path / "a.mrc", np.where(DATA > 100, *values[::-1]).astype(np.int8))
    with pytest.raises(PicketError, match=says):
        read_mask(path, SHAPE)


def test_labels_of_both_signs_are_a_mask(tmp_path):
    labels = np.digitize(DATA, (80, 110, 125)).astype(np.int8) - 1  # -1 to 2
    path = write(tmp_path / "a.mrc", labels)
    assert (read_mask(path, SHAPE) == (labels > 0)).all()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("least", "stored"), [(0, GREY), (-128, (GREY.astype(int) - 128).astype(np.int8))]
)
def test_bytes_without_map_are_unsigned_unless_their_least_is_below_0(
    tmp_path, least, stored, order
):
    path = write(tmp_path / "a.mrc", stored.view(np.int8), (76, "<3f", (least, 0, 0)))
    if order == ">":
        swapped(path)
    path.write_bytes(patched(path, (208, ">8s", (bytes(8),))))
    assert (read_voxels(path) == stored).all()


def test_a_file_without_map_has_no_origin_but_nstart(tmp_path):
    origin, start = (196, "<3f", (1, 2, 3)), (16, "<3i", (5, 6, 7))
    path = write(tmp_path / "a.mrc", DATA, origin, start, (208, "4s", (bytes(4),)))
    header = read_header(path)
    assert header.origin == (0.0, 0.0, 0.0)
    assert header.place == (50.0, 60.0, 70.0)


@pytest.mark.parametrize("order", ORDERS)
def test_where_both_byte_orders_make_sense_the_smaller_volume_is_there(tmp_path, order):
    voxels = np.zeros((256, 256, 256), np.int8)  # 256 is 65536 the other way
    voxels[0, 0, 5] = 3
    path = write(tmp_path / "a.mrc", voxels)
    if order == ">":
        swapped(path)
    content = patched(path, (64, "12s", (bytes(12),)), (208, "8s", (bytes(8),)))
    path.write_bytes(gzip.compress(content, 1))
    (warning,) = read_header(path).warnings
    assert warning.endswith({"<": "read as little-endian", ">": "read as big-endian"}[order])
    assert (read_voxels(path) == voxels).all()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", ["plain", "gz"])
@pytest.mark.parametrize(
    ("patches", "says"),
    [
        ([(208, "8s", (bytes(8),))], "no MAP in bytes 208 to 210 and the unknown machine stamp"),
        ([(212, "4s", (b"\x44\x20\x20\x20",))], "unknown machine stamp: 0x44 0x20 0x20 0x20"),
        ([(212, "4s", (b"\x44\0\0\0",))], "unknown machine stamp: 0x44 0x00 0x00 0x00"),
        ([(212, "4s", (bytes(4),))], "unknown machine stamp: 0x00"),
        (None, "the machine stamp of a "),  # that of the other order
    ],
)
def test_the_byte_order_is_that_which_fits(tmp_path, order, kind, patches, says):
    path = write(tmp_path / "a.mrc", DATA)
    if order == ">":
        swapped(path)
    other = ORDERS["<" if order == ">" else ">"]
    content = patched(path, *patches or [(212, "4s", (other,))])
    path.write_bytes(gzip.compress(content) if kind == "gz" else content)
    (warning,) = read_header(path).warnings
    assert says in warning
    assert warning.startswith(f"{path}: ")
    assert warning.endswith({"<": "read as little-endian", ">": "read as big-endian"}[order])
    assert (read_voxels(path) == DATA).all()
    assert (read_mask(path, SHAPE) == (DATA > 0)).all()


def test_what_fits_in_no_byte_order_is_no_mrc_file(tmp_path):
    path = write(tmp_path / "a.mrc", DATA, (208, "8s", (bytes(8),)), (12, "<i", (77,)))
    with pytest.raises(PicketError, match=r"a\.mrc: is not an MRC file .*; check the path"):
        read_header(path)


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress])
def test_an_extended_header_that_is_not_there_is_named(tmp_path, compress):
    path = write(tmp_path / "a.mrc", DATA, (92, "<i", (2048,)))
    path.write_bytes(compress(path.read_bytes()))
    with pytest.raises(PicketError, match=r"extended header of 2048 bytes, but .* nsymbt to 0"):
        read_voxels(path)


def test_bytes_of_two_voxels_each_are_refused(tmp_path):
    path = write(tmp_path / "a.mrc", GREY.view(np.int8), (152, "<2i", (IMOD, 16)))
    with pytest.raises(PicketError, match=r"a\.mrc: 4-bit voxels"):
        read_header(path)


@pytest.mark.parametrize(
    ("origin", "place"), [((0, 0, 0), (-200, 1000, 370)), ((1, 2, 3), (1, 2, 3))]
)
def test_nstart_is_the_place_where_there_is_no_origin(tmp_path, monkeypatch, origin, place):
    monkeypatch.chdir(tmp_path)
    write(Path("a.mrc"), DATA, (16, "<3i", (-20, 100, 37)), (196, "<3f", origin))
    kinds = ["hdf5", "mrc", "zarr", "copick"]
    run = run_s1(settings("a.mrc", save=kinds), quiet=True)
    with h5py.File(run[0].path) as file:
        assert tuple(file["segmentations"].attrs["origin"]) == place
    (copick,) = Path("out/set/copick").glob("ExperimentRuns/*/Segmentations/*.zarr")
    for path in (run[0].path.with_suffix(".zarr"), copick):
        levels = zarr.open_group(path, mode="r").attrs["multiscales"][0]["datasets"]
        moved = [level["coordinateTransformations"][1]["translation"] for level in levels]
        start = (0, 0, 0) if path == copick else place[::-1]  # copick's frame has no origin
        assert moved[0] == list(start)
        assert moved[1] == [length + 5 for length in start]
    with mrcfile.open(run[0].path.with_suffix(".mrc")) as mrc:  # as the tomogram's own
        assert mrc.nstart.tolist() == (-20, 100, 37)
        assert mrc.header.origin.tolist() == origin


def test_a_voxel_size_of_the_user_counts_for_the_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(Path("a.mrc"), DATA, (16, "<3i", (-20, 100, 37)))
    run = run_s1(settings(inputs=[{"tomogram": "a.mrc", "voxel_size": 2.0}]), quiet=True)
    with h5py.File(run[0].path) as file:
        assert tuple(file["segmentations"].attrs["origin"]) == (-40, 200, 74)
    for path in (run[0].path, run[0].path.with_suffix(".mrc")):
        for layer in layers(path, Path("a.mrc")):
            assert tuple(layer.settings["scale"]) == (2, 2, 2)
            assert tuple(layer.settings["translate"]) == (74, 200, -40)


# Origin, nstart, number of intervals (mx), the place that ChimeraX gives the map, and the warning.
NEVER_SET = [
    ((1.5e30, -2.2e-41, 0), (0, 0, 0), 14, (0, 0, 0), "an impossible origin, 1.5e+30 -2.2"),
    (
        (1.5e30, 0, 0),
        (4, 5, -6),
        14,
        (40, 50, -60),
        "0 0 angstrom (x y z); placed at nstart 4 5 -6",
    ),
    ((np.nan, 50, 60), (4, 4, 4), 14, (40, 40, 40), "an impossible origin, nan 50 60"),
    ((0, -np.inf, 0), (0, 0, 0), 14, (0, 0, 0), "0 -inf 0 angstrom (x y z); placed at 0 0 0"),
    ((2e9, 1, 1), (0, 0, 0), 14, (0, 0, 0), "an impossible origin, 2e+09 1 1"),  # steps of 128
    ((1e8, 1, 1), (0, 0, 0), 14, (1e8, 1, 1), None),  # steps of 8
    ((0, 0, 0), (1634886000, -20, 3), 14, (0, 0, 0), "nstart, 1634886000 -20 3 (x y z); placed at"),
    ((0, 0, 0), (0, -(2**31), 0), 14, (0, 0, 0), "an impossible nstart, 0 -2147483648 0"),
    ((0, 0, 0), (0, 0, 141), 14, (0, 0, 0), "an impossible nstart, 0 0 141"),
    ((0, 0, 0), (0, 0, -140), 14, (0, 0, -1400), None),
    ((0, 0, 0), (0, 0, 141), 20, (0, 0, 1410), None),  # of a larger cell
    ((1, 2, 3), (1634886000, 0, 0), 14, (1, 2, 3), None),
    (
        (np.nan, 0, 0),
        (10**9, 0, 0),
        14,
        (0, 0, 0),
        "angstrom and an impossible nstart, 1000000000 0",
    ),
]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("origin", "nstart", "cells", "place", "says"), NEVER_SET)
def test_bytes_that_were_never_set_are_no_place(
    tmp_path, order, origin, nstart, cells, place, says
):
    patches = (16, "<3i", nstart), (28, "<i", (cells,)), (40, "<f", (cells * 10,))
    path = write(tmp_path / "a.mrc", DATA, *patches, (196, "<3f", origin))
    header = read_header(path if order == "<" else swapped(path))
    assert header.place == place
    assert header.voxel_size == (10, 10, 10)
    assert (read_voxels(path) == DATA).all()
    if says is None:
        assert header.warnings == ()
        return
    (warning,) = header.warnings
    assert warning.startswith(f"{path}: MRC header has an impossible ")
    assert says in warning


def test_what_was_never_set_goes_into_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    origin = (1.5e30, -2.2e-41, 0)
    write(Path("a.mrc"), DATA, (16, "<3i", (10**9, 0, 0)), (196, "<3f", origin))
    run = run_s1(settings("a.mrc", save=["hdf5", "mrc", "zarr"]), quiet=True)
    assert len(run.warnings) == 1
    with h5py.File(run[0].path) as file:
        assert tuple(file["segmentations"].attrs["origin"]) == (0, 0, 0)
    level = zarr.open_group(run[0].path.with_suffix(".zarr"), mode="r").attrs["multiscales"][0]
    moved = level["datasets"][0]["coordinateTransformations"][1]["translation"]
    assert moved == [0, 0, 0]
    with mrcfile.open(run[0].path.with_suffix(".mrc")) as mrc:
        assert mrc.nstart.tolist() == mrc.header.origin.tolist() == (0, 0, 0)
    # As an earlier version wrote it.
    with h5py.File(run[0].path, "r+") as file:
        file["segmentations"].attrs["origin"] = origin
    assert Directory(run[0].path.parent).read(run[0].path).origin == (0, 0, 0)


SIZES = [
    ((0, 0, 0), 10, "has no voxel size; set voxel_size"),
    ((140, 120, 0), 10, "impossible voxel size, 0 x 10 x 10 angstrom (z y x); set voxel_size"),
    ((-140, -120, -100), 10, "impossible voxel size, -10 x -10 x -10 angstrom (z y x)"),
    ((14, 12, 10), 10, "voxel size is exactly 1 angstrom"),
    ((140, 120, 100), 1, "voxels are not cubes (100 x 10 x 10 angstrom, z y x)"),
    ((140, 120, 101.5), 10, "voxels are not cubes (10.15 x 10 x 10 angstrom, z y x)"),
    ((140, 120, 100.5), 10, None),
    ((140, 120, 100), 0, "impossible voxel size, 0 x 10 x 10 angstrom (z y x)"),
]


@pytest.mark.parametrize(("cell", "sections", "says"), SIZES)
def test_a_voxel_size_that_makes_no_sense_is_told(tmp_path, cell, sections, says):
    path = write(tmp_path / "a.mrc", DATA, (36, "<i", (sections,)), (40, "<3f", cell))
    header = read_header(path)
    if says is None:
        assert header.warnings == ()
        return
    (warning,) = header.warnings
    assert warning.startswith(f"{path}: {says}")
    assert "voxel_size" in warning
    assert min(header.voxel_size) >= 0
