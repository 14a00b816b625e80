"""File systems without memory mapping or without fsync: FUSE, and some network file systems."""

import errno
import os
import re

import mrcfile
import numpy as np
import pytest

from picket_gpu import PicketError
from picket_gpu.files.atomic import atomic_directory, atomic_file
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
    [(errno.EINVAL, True), (errno.ENOTSUP, True), (errno.EIO, False)],
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


FULL = {
    errno.ENOSPC: "no space left on the disk; make room and run again",
    errno.EDQUOT: "the disk quota is used up; make room and run again",
    errno.EFBIG: "the file is larger than allowed (ulimit -f); raise the limit and run again",
}


@pytest.mark.parametrize("number", FULL)
@pytest.mark.parametrize("by", ["Python", "HDF5", "HDF5 that closes"])
@pytest.mark.parametrize("writing", [atomic_file, atomic_directory])
def test_a_full_disk_is_told_with_the_file(tmp_path, number, by, writing):
    error = {
        "Python": OSError(number, os.strerror(number)),
        "HDF5": OSError(
            f"[Errno {number}] Can't write (time = now\n, errno = {number}, error = x)"
        ),
        "HDF5 that closes": RuntimeError(f"Can't decrement id ref count (errno = {number}, ...)"),
    }[by]
    path = tmp_path / "a"

    def write():
        with writing(path) as temporary:
            if writing is atomic_directory:
                temporary.mkdir()
            raise error

    with pytest.raises(OSError, match=rf"^{re.escape(f'{path}: {FULL[number]}')}$"):
        write()
    assert [*tmp_path.iterdir()] == []


def test_other_errors_are_those_that_they_were(tmp_path):
    for error in (OSError(errno.EIO, "of the disk"), RuntimeError("of HDF5"), ValueError("x")):
        with pytest.raises(type(error)) as told, atomic_file(tmp_path / "a"):
            raise error
        assert told.value is error


def test_a_directory_that_a_library_still_writes_to_is_removed(tmp_path, monkeypatch):
    """As Zarr's threads do for a moment after a chunk could not be written."""
    late = [1, 2, 3]

    def write_on(_):
        if late:
            directories[0].mkdir(exist_ok=True)
            (directories[0] / str(late.pop())).touch()

    def write():
        with atomic_directory(tmp_path / "a") as temporary:
            directories.append(temporary)
            temporary.mkdir()
            raise ValueError("stop")

    directories = []
    monkeypatch.setattr("picket_gpu.files.atomic.time.sleep", write_on)
    with pytest.raises(ValueError, match="stop"):
        write()
    assert late == []
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_directory_without_permission_is_told_by_its_name(tmp_path, number):
    path = tmp_path / "a.csv"

    def write(refused):
        with atomic_file(path):
            raise OSError(number, os.strerror(number), str(refused))

    with pytest.raises(PermissionError) as told:
        write(path.with_name(".a.csv.host.1.1.part"))
    assert str(told.value) == (
        f"{path}: no permission to write in {tmp_path}; choose another directory"
    )
    with pytest.raises(OSError, match=re.escape(os.strerror(number))) as told:
        write("/elsewhere/b.mrc")  # an input, say
    assert told.value.errno == number
