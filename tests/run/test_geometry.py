"""What a run says of a tomogram whose depth lies along y, or whose voxel size is contradicted."""

import h5py
import mrcfile
import numpy as np
import pytest

from picket_gpu.config.inputs import TomogramInput
from picket_gpu.files.tomogram import read_header
from tests.support.command_line import ONE, picket, write_config

FLAT = "y is by far the shortest axis (24 x 10 x 30 voxels, z y x), so z-slice limits cut across"
SIZES = "voxel_size is 13.48 x 13.48 x 13.48, but the file has 1.348 x 1.348 x 1.348 angstrom"


def write(path, shape, size=10.0):
    data = np.random.default_rng(0).normal(size=shape).astype("f4")
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["MDF/images/0/image"] = data
            attributes = file["MDF/images/0"].attrs
            attributes.update({f"EMAN.apix_{axis}": size for axis in "xyz"})
    else:
        mrcfile.write(path, data, voxel_size=size, overwrite=True)
    return path


def warnings(path, **keys):
    entry = TomogramInput(tomogram=path, **keys)
    lines = read_header(path, entry.selector).warnings
    assert all(line.startswith(f"{path}: ") for line in lines)
    return [line.removeprefix(f"{path}: ") for line in lines]


def test_both_are_told_in_the_plan_the_run_the_page_and_the_record(tmp_path):
    write(tmp_path / "a.mrc", (24, 10, 30), 1.348)
    entry = {"tomogram": "a.mrc", "voxel_size": 13.48, "lower_z-slice_limit": 4}
    write_config(tmp_path, inputs=[entry], **ONE | {"report": True})
    plan, run = picket(tmp_path, "params.yaml", "--dry-run"), picket(tmp_path, "params.yaml")
    for process in (plan, run):
        assert (process.returncode, process.stderr) == (0, "")
        for text in (FLAT, SIZES):
            assert process.stdout.count(f"  warning: a.mrc: {text}") == 1
    for name in ("report.html", "run.json"):
        written = (tmp_path / "out/set" / name).read_text()
        assert FLAT in written
        assert SIZES in written


@pytest.mark.parametrize(
    ("shape", "is_told"),
    [
        ((60, 24, 64), True),
        ((20, 10, 20), True),
        ((19, 10, 20), False),
        ((20, 20, 20), False),  # a cube
        ((24, 60, 64), False),  # z is the shortest
        ((24, 24, 64), False),
    ],
)
def test_a_depth_along_y_is_told(tmp_path, shape, is_told):
    lines = warnings(write(tmp_path / "a.mrc", shape))
    assert [line.startswith("y is by far the shortest axis") for line in lines] == [True] * is_told


@pytest.mark.parametrize(
    ("shape", "is_told"),
    [((60, 64, 24), True), ((20, 20, 10), True), ((19, 20, 10), False), ((24, 24, 24), False)],
)
def test_a_depth_along_x_is_told(tmp_path, shape, is_told):
    lines = warnings(write(tmp_path / "a.mrc", shape))
    told = "x is by far the shortest axis ({} x {} x {} voxels, z y x), so".format(*shape)
    assert [line.startswith(told) for line in lines] == [True] * is_told


@pytest.mark.parametrize("name", ["a.mrc", "a.h5"])
@pytest.mark.parametrize(
    ("stored", "given", "is_told"),
    [
        (10.0, 10.0, False),
        (10.0, 10.1, False),  # 1%
        (10.0, 10.11, True),
        (10.0, 1.0, True),
        (1.348, 13.48, True),
        (13.48, [13.48, 13.48, 26.96], True),
        (1.0, 13.48, False),  # as unset
        (0.0, 13.48, False),
    ],
)
def test_a_voxel_size_that_contradicts_the_file_is_told(tmp_path, name, stored, given, is_told):
    path = write(tmp_path / name, (12, 14, 16), stored)
    lines = warnings(path, voxel_size=given)
    assert [line.startswith("voxel_size is ") for line in lines] == [True] * is_told
    assert all("outputs do not lie on the tomogram" in line for line in lines)
