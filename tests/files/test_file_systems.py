"""File systems without memory mapping or without fsync: FUSE, and some network file systems."""

import errno
import os

import mrcfile
import numpy as np
import pytest

from picket_gpu import PicketError
from picket_gpu.files.atomic import atomic_file
from picket_gpu.files.tomogram import read_header, read_voxels

VOXELS = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def em(path):
    header = np.zeros(512, np.uint8)
    header[[0, 3]] = 6, 5
    header[4:16].view("<i4")[:] = VOXELS.shape[::-1]
    path.write_bytes(header.tobytes() + VOXELS.tobytes())


def tiff(path):
    pytest.importorskip("tifffile").imwrite(path, VOXELS, photometric="minisblack")


WRITERS = {
    "mrc": lambda path: mrcfile.write(path, VOXELS),
    "em": em,
    "npy": lambda path: np.save(path, VOXELS),
    "tif": tiff,
}


def without_mapping(monkeypatch, number):
    def refuse(*arguments, **more):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("mmap.mmap", refuse)


@pytest.mark.parametrize("ending", WRITERS)
@pytest.mark.parametrize("number", [errno.ENODEV, errno.ENOSYS, errno.ENOTSUP])
def test_a_file_that_cannot_be_mapped_is_read(tmp_path, monkeypatch, ending, number):
    path = tmp_path / f"a.{ending}"
    WRITERS[ending](path)
    without_mapping(monkeypatch, number)
    assert read_header(path).shape == VOXELS.shape
    assert (read_voxels(path) == VOXELS).all()


@pytest.mark.parametrize("ending", WRITERS)
def test_other_errors_of_mapping_are_told(tmp_path, monkeypatch, ending):
    path = tmp_path / f"a.{ending}"
    WRITERS[ending](path)
    without_mapping(monkeypatch, errno.ENOMEM)
    with pytest.raises((OSError, PicketError), match=os.strerror(errno.ENOMEM)):
        read_voxels(path)


@pytest.mark.parametrize(
    ("number", "is_written"),
    [(errno.EINVAL, True), (errno.ENOTSUP, True), (errno.EIO, False), (errno.ENOSPC, False)],
)
def test_a_file_that_cannot_be_synced_is_kept(tmp_path, monkeypatch, number, is_written):
    def refuse(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    path = tmp_path / "a.txt"
    try:
        with atomic_file(path) as temporary:
            temporary.write_text("all of it")
    except OSError as error:
        assert (error.errno, is_written) == (number, False)  # noqa: PT017
    assert [one.name for one in tmp_path.iterdir()] == (["a.txt"] if is_written else [])
