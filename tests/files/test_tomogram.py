import gzip
import struct

import mrcfile
import numpy as np
import pytest

from picket_gpu.errors import PicketError
from picket_gpu.files.tomogram import read_header, read_voxels


@pytest.mark.parametrize(
    ("dtype", "mode"), [("int8", 0), ("int16", 1), ("float32", 2), ("uint16", 6), ("float16", 12)]
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_mode_is_read_as_float32(tmp_path, dtype, mode, order):
    data = np.random.default_rng(0).integers(0, 100, (3, 4, 5)).astype(dtype)
    path = tmp_path / "a.mrc"
    with mrcfile.new(path) as mrc:
        mrc.set_data(data.astype(np.dtype(dtype).newbyteorder(order)))
    with mrcfile.open(path) as mrc:
        assert mrc.header.mode == mode
    voxels = read_voxels(path)
    assert voxels.dtype == np.float32
    assert voxels.dtype.isnative
    assert (voxels == data).all()


def test_the_header_is_read_in_the_order_said(tmp_path):
    path = tmp_path / "a.mrc"
    with mrcfile.new(path) as mrc:
        mrc.set_data(np.arange(60, dtype=np.float32).reshape(3, 4, 5))
        mrc.voxel_size = (13.48, 10.0, 7.84)
        mrc.header.origin = (1, 2, 3)
        mrc.nstart = (4, 5, 6)
    header = read_header(path)
    assert header.shape == (3, 4, 5)
    assert header.voxel_size == (7.84, 10.0, 13.48)  # z, y, x
    assert header.origin == (1, 2, 3)
    assert header.nstart == (4, 5, 6)


def test_an_image_stack_is_read_as_a_volume(tmp_path):
    # Many programs write tomograms with the space group of a stack.
    path = tmp_path / "a.st"
    with mrcfile.new(path) as mrc:
        mrc.set_data(np.arange(60, dtype=np.float32).reshape(3, 4, 5))
        mrc.set_image_stack()
    assert read_header(path).shape == (3, 4, 5)


def test_no_voxel_size_is_zero(tmp_path):
    path = tmp_path / "a.mrc"
    with mrcfile.new(path) as mrc:
        mrc.set_data(np.arange(60, dtype=np.float32).reshape(3, 4, 5))
        mrc.header.cella = (0, 0, 0)
        mrc.header.mx = mrc.header.my = mrc.header.mz = 0
    assert read_header(path).voxel_size == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("read", [read_header, read_voxels])
def test_exabytes_in_a_compressed_file_are_refused_by_its_header(tmp_path, read):
    mrcfile.write(tmp_path / "a.mrc", np.arange(60, dtype=np.float32).reshape(3, 4, 5))
    data = struct.pack("<3i", *[2**31 - 1] * 3) + (tmp_path / "a.mrc").read_bytes()[12:]
    (tmp_path / "a.mrc").write_bytes(gzip.compress(data))
    with pytest.raises(
        PicketError, match="GiB of this machine; bin the tomogram, or copy it again"
    ):
        read(tmp_path / "a.mrc")
