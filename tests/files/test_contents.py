"""Files and directories as labs have them: odd names, archives, slices, what is not read."""

import bz2
import gzip
import io
import json
import lzma
import re
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import pytest
import tifffile
import zarr

from picket_gpu import PicketError, run_s1
from picket_gpu.files.lazy_volume import VolumeSelector
from picket_gpu.files.masks import read_mask
from picket_gpu.files.tomogram import read_header, read_voxels
from tests.support.command_line import ENVIRONMENT, GOOD, ONE
from tests.support.ome_zarr import DATA, multiscale

SHAPE = DATA.shape
GREY = np.random.default_rng(0).normal(128, 20, (6, 8, 10)).round().astype(np.uint8)


def write_hdf5(path):
    with h5py.File(path, "w") as file:
        file["a"] = DATA


def write_npy(path):
    with path.open("wb") as file:
        np.save(file, DATA)


def write_mrc(path):
    mrcfile.write(path, DATA.astype(np.float32), overwrite=True)


WRITERS = {
    "hdf5": write_hdf5,
    "tiff": lambda path: tifffile.imwrite(path, DATA),
    "bigtiff": lambda path: tifffile.imwrite(path, DATA, bigtiff=True, byteorder=">"),
    "npy": write_npy,
    "mrc": write_mrc,
}


@pytest.mark.parametrize("name", ["a.mrc", "a.nxs", "a", "a.h5", "a.tif", "a.em", "a.npy", "a.zip"])
@pytest.mark.parametrize("kind", WRITERS)
def test_the_content_decides_what_a_file_is(tmp_path, kind, name):
    WRITERS[kind](tmp_path / name)
    assert (read_voxels(tmp_path / name) == DATA).all()


def tar():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.mrc"))
    return buffer.getvalue()


NIFTI = struct.pack("<i", 348).ljust(344, b"\0") + b"n+1\0" + bytes(2000)
COPICK = b'{"config_type": "filesystem", "pickable_objects": []}'
FOREIGN = {
    "a.mrc.xz": (lzma.compress(bytes(2000)), "is not an MRC file but a file compressed by xz; dec"),
    "a.mrc.zst": (b"\x28\xb5\x2f\xfd" + bytes(2000), "compressed by zstd; decompress it"),
    "a.tar": (tar(), "a tar archive; unpack it and name the volume in it"),
    "a.nii": (NIFTI, "is not an MRC file but a NIfTI file; convert it to MRC"),
    "a.nii.gz": (gzip.compress(NIFTI), "holds a NIfTI file, and only MRC is read compressed; dec"),
    "a.tif.bz2": (bz2.compress(b"II*\0"), "only MRC is read compressed; decompress it"),
    "a.em.gz": (gzip.compress(bytes(2000)), "only MRC is read compressed; decompress it"),
    "a.gz": (gzip.compress(b"\x89HDF\r\n\x1a\n" + bytes(2000)), "holds an HDF5 file, and only MRC"),
    "copick.json": (COPICK, "configuration of a copick project; name a tomogram of the project"),
    "config.json": (b"\xef\xbb\xbf" + COPICK, "a copick project; name a tomogram of the project"),
    "a.txt": ("Zeile 1\r\n\tμ".encode()[:-1], "is not an MRC file but text; check the path"),
    "a.png": (b"\x89PNG\r\n\x1a\n" + bytes(2000), "a picture; name the volume itself"),
    "a.h5": (b"text", "is not an HDF5 file; check the path and the extension"),
    "a.npy": (b"text", "is not a NumPy file; check the path and the extension"),
    "a.tif": (b"text", "is not a TIFF file; check the path and the extension"),
    "a.zip": (b"text", "zip archive is damaged (File is not a zip file); copy it again"),
    "a.dat": (bytes(range(256)) * 9, "is not an MRC file (header has no MAP"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_not_read_is_named(tmp_path, name):
    content, says = FOREIGN[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PicketError, match=rf"^\S*{re.escape(name)}: .*{re.escape(says)}"):
        read_header(tmp_path / name)


# Zipped Zarr.


def zipped(path, root, within=""):
    with zipfile.ZipFile(path, "w") as archive:
        for file in root.rglob("*"):
            if file.is_file():
                archive.write(file, Path(within, file.relative_to(root)))
    return path


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("within", ["", "a.zarr", "some/where/a.zarr"])
@pytest.mark.parametrize("name", ["a.zarr.zip", "a.ozx", "a.zip", "a.zarr"])
def test_a_zipped_zarr_is_read_as_its_directory(tmp_path, version, within, name):
    root = multiscale(tmp_path / "root.zarr", version)
    path = zipped(tmp_path / name, root, within)
    for selector in (None, VolumeSelector(level=1), VolumeSelector(dataset="2")):
        one, other = read_header(path, selector), read_header(root, selector)
        assert (one.shape, one.voxel_size, one.place) == (
            (other.shape, other.voxel_size, other.place)
        )
        assert (read_voxels(path, selector) == read_voxels(root, selector)).all()
    assert (read_mask(path, SHAPE) == read_mask(root, SHAPE)).all()


def test_a_run_reads_and_resumes_a_zipped_zarr(tmp_path):
    path = zipped(tmp_path / "a.zarr.zip", multiscale(tmp_path / "root.zarr", "0.5"))
    config = GOOD | ONE | {"inputs": [{"tomogram": path}], "output_dir": tmp_path / "out"}
    (first,) = run_s1(config, quiet=True)
    config["inputs"] = [{"tomogram": tmp_path / "root.zarr"}]
    (other,) = run_s1(config | {"dataset_name": "other"}, quiet=True)
    assert (first.labels == other.labels).all()
    assert first.voxel_size == (10.0, 10.0, 10.0)
    config["inputs"] = [{"tomogram": path}]
    assert run_s1(config, quiet=True)[0].reused


def test_a_single_array_is_read_from_a_zip_too(tmp_path):
    zarr.save_array(tmp_path / "root.zarr", DATA)
    path = zipped(tmp_path / "a.zip", tmp_path / "root.zarr")
    assert (read_voxels(path) == DATA).all()


def write_npz(path):
    with path.open("wb") as file:
        np.savez(file, a=DATA)


def write_zipped_mrc(path):
    write_mrc(path.with_name("b.mrc"))
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(path.with_name("b.mrc"), "b.mrc")


def write_two_zarrs(path):
    for name in ("b.zarr", "c.zarr"):
        multiscale(path.with_name("both") / name, "0.4")
    zipped(path, path.with_name("both"))


def write_cut(path):
    zipped(path, multiscale(path.with_name("b.zarr"), "0.4"))
    path.write_bytes(path.read_bytes()[:-50])


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (write_npz, "is a NumPy archive; save one array as .npy"),
        (write_zipped_mrc, "zip archive is not one Zarr (no Zarr); unzip it and name the volume"),
        (write_two_zarrs, "zip archive is not one Zarr (b.zarr, c.zarr); unzip it and name the"),
        (write_cut, "zip archive is damaged (File is not a zip file); copy it again"),
    ],
)
def test_other_archives_are_named(tmp_path, write, says):
    write(tmp_path / "a.zip")
    with pytest.raises(PicketError, match=rf"^\S*a\.zip: {re.escape(says)}"):
        read_header(tmp_path / "a.zip")


# Directories.


def slices(directory, names, planes=DATA):
    directory.mkdir()
    for name, plane in zip(names, planes, strict=True):
        tifffile.imwrite(directory / name, plane)
    return directory


@pytest.mark.parametrize("name", ["s_{:03d}.tif", "s_{}.tif", "{}_of_9.TIFF"])
def test_slices_are_a_volume_in_the_order_of_their_numbers(tmp_path, name):
    names = [name.format(number) for number in range(len(DATA))]
    path = slices(tmp_path / "slices", names)
    (path / "Thumbs.db").write_text("no slice")
    (path / "._s_1.tif").write_text("no slice either")
    header = read_header(path)
    assert header.shape == SHAPE
    assert header.warnings == (f"{path}: has no voxel size; set voxel_size",)
    assert (read_voxels(path) == DATA).all()
    config = GOOD | ONE | {"inputs": [{"tomogram": path, "voxel_size": 10.0}]}
    config["output_dir"] = tmp_path / "out"
    assert not run_s1(config, quiet=True)[0].reused
    assert run_s1(config, quiet=True)[0].reused
    tifffile.imwrite(path / names[3], DATA[4])
    assert not run_s1(config, quiet=True)[0].reused


def lettered(name, numbers):
    return [name.format(number, 99 - number) for number in numbers]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (lettered("s_{:03d}.tif", range(2, 26, 2)), None),  # every other
        (lettered("s_{}_z{}.tif", range(12)), None),  # one up, one down
        (lettered("20240115_{:02d}_10{:03d}7.tif", range(12)), None),  # with a time
        ([f"s{letter}.tif" for letter in "abcdefghijkl"], None),
        (
            lettered("s_{}.tif", [*range(7), *range(8, 13)]),
            "not numbered evenly, s_6.tif is followed by s_8.tif; z counts on from one to the next",
        ),
        (
            lettered("a1_{}.tif", range(6)) + lettered("a2_{}.tif", range(6)),
            "not numbered evenly, a1_5.tif is followed by a2_0.tif; z counts on",
        ),
        (
            [*lettered("s_{}.tif", range(11)), "s_3.tiff"],
            "the same number, s_3.tif and s_3.tiff; check that all are of one volume",
        ),
        (
            lettered("a_{}.tif", range(6)) + lettered("b_{}.tif", range(6)),
            "named in several ways, a_0.tif and b_0.tif; check that all are of one volume",
        ),
    ],
)
def test_slices_that_may_be_missing_or_of_another_volume_are_told(tmp_path, names, says):
    path = slices(tmp_path / "some", names, DATA[:12])
    told = [line for line in read_header(path).warnings if "TIFF slices" in line]
    assert len(told) == (says is not None)
    assert says is None or says in told[0]


@pytest.mark.parametrize(
    ("planes", "says"),
    [
        ([DATA[0], DATA[1, :9]], "TIFF slices differ, 0.tif"),
        ([DATA[0], DATA[1].astype("f8")], "keep the slices of one volume only"),
        ([DATA, DATA], "contains TIFF volumes, not slices; to use all, write"),
    ],
)
def test_tiff_files_that_are_no_slices_of_a_volume_are_named(tmp_path, planes, says):
    path = slices(tmp_path / "some", [f"{n}.tif" for n in range(len(planes))], planes)
    with pytest.raises(PicketError, match=rf"^\S*some: .*{re.escape(says)}"):
        read_header(path)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ([], "directory is not a Zarr; tomogram must be the path of a volume"),
        (["notes.txt"], "directory is not a Zarr; tomogram must be the path of a volume"),
        (["copick.json"], "directory is not a Zarr but a copick project; name a tomogram in it"),
        (["ExperimentRuns"], "directory is not a Zarr but a copick project; name a tomogram"),
        (
            ["0.png", "1.png"],
            "directory is not a Zarr but has pictures; save them as TIFF slices, or as one",
        ),
        (["attributes.json"], "directory is not a Zarr but N5, which is not read; convert it to"),
        (["a.mrc", "b.mrc", "c.h5"], "directory is not a Zarr; to use all tomograms in it, write"),
    ],
)
def test_other_directories_are_named(tmp_path, names, says):
    path = tmp_path / "some"
    path.mkdir()
    for name in names:
        (path / name).touch()
    with pytest.raises(PicketError, match=rf"^\S*some: {re.escape(says)}") as told:
        read_header(path)
    if "a.mrc" in names:
        assert str(told.value).endswith(f"{path}/*.mrc")


# TIFF that needs codecs.


def recompressed(path, code, planes=GREY):
    """A TIFF that says that its pages are compressed in some way."""
    tifffile.imwrite(path, planes, metadata=None, photometric="minisblack")
    entry = struct.pack("<HHI", 259, 3, 1)
    path.write_bytes(
        re.sub(
            re.escape(entry) + b"..", entry + struct.pack("<H", code), path.read_bytes(), flags=re.S
        )
    )
    return path


CODECS = {5: "LZW", 7: "JPEG", 34887: "LERC", 34934: "JPEGXR", 50000: "ZSTD", 50001: "WEBP"}
PLACES = ["tomogram", "mask", "slices"]
WITHOUT = """
import contextlib, io, json, os, sys
sys.modules["imagecodecs"] = sys.modules["compression"] = sys.modules["backports"] = None
from picket_gpu.__main__ import main
told = {}
for name in os.listdir():
    options = [] if name.startswith("mask") else ["--dry-run"]
    with (
        contextlib.chdir(name),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()) as error,
    ):
        told[name] = main(["params.yaml", *options]), error.getvalue()
json.dump(told, sys.stdout)
"""


@pytest.fixture(scope="module")
def without_imagecodecs(tmp_path_factory):
    """Exit codes and standard errors of a process that has no imagecodecs, by place and code."""
    directory = tmp_path_factory.mktemp("codecs")
    for place in PLACES:
        for code in CODECS:
            at = directory / f"{place} {code}"
            at.mkdir()
            where = at / "a.tif"
            if place == "slices":
                (at / "slices").mkdir()
                where = at / "slices/a.tif"
            recompressed(where, code, GREY[0] if place == "slices" else GREY)
            mrcfile.write(at / "a.mrc", GREY.astype(np.int16))
            entry = {"tomogram": "a.tif" if place == "tomogram" else "slices"}
            entry = {"tomogram": "a.mrc", "mask": "a.tif"} if place == "mask" else entry
            (at / "params.yaml").write_text(str(GOOD | ONE | {"inputs": [entry]}))
    found = subprocess.run(
        [sys.executable, "-c", WITHOUT],
        cwd=directory,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(found.stdout)


@pytest.mark.parametrize("code", CODECS)
@pytest.mark.parametrize("place", PLACES)
def test_a_compression_names_the_package_that_it_needs(without_imagecodecs, code, place):
    exit_code, error = without_imagecodecs[f"{place} {code}"]
    assert exit_code in (1, 2)
    assert "Traceback" not in error
    where = "slices/a.tif" if place == "slices" else "a.tif"
    assert (
        f"{where}: TIFF with compression {CODECS[code]} needs imagecodecs; "
        "install imagecodecs, or save it uncompressed"
    ) in error


def test_a_compression_that_nobody_reads_is_named(tmp_path):
    path = recompressed(tmp_path / "a.tif", 34661)
    with pytest.raises(
        PicketError, match="compression JBIG is not supported; save it uncompressed"
    ):
        read_voxels(path)


def test_a_compressed_page_is_read_where_its_codec_is_there(tmp_path):
    pytest.importorskip("imagecodecs")
    tifffile.imwrite(tmp_path / "a.tif", GREY, compression="lzw")
    assert (read_voxels(tmp_path / "a.tif") == GREY).all()
