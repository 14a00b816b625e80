"""Every format that a tomogram may have, written by the package that knows it, read by ours."""

import bz2
import gzip
import json
import pickle
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import pytest
import tifffile
import zarr

from picket_gpu import PicketError
from picket_gpu.files.lazy_volume import VolumeSelector
from picket_gpu.files.location import Url, as_location, file_signature
from picket_gpu.files.masks import read_mask
from picket_gpu.files.tomogram import read_header, read_voxels
from tests.support.ome_zarr import DATA, SHAPE, multiscale

GEOMETRY = {"voxel_size": (7.84, 10.0, 13.48), "origin": (-11.5, 22.0, 33.25), "nstart": (4, 5, 6)}


def write_mrc(path):
    with mrcfile.new(path) as mrc:
        mrc.set_data(DATA)
        mrc.voxel_size = GEOMETRY["voxel_size"][::-1]
        mrc.header.origin = GEOMETRY["origin"]
        mrc.nstart = GEOMETRY["nstart"]


def write_hdf5(path, name="data/tomogram"):
    with h5py.File(path, "w") as file:
        file.create_dataset(name, data=DATA, chunks=(5, 20, 22), compression="gzip")
        file["table"] = np.zeros((3, 4))


@pytest.mark.parametrize(
    "ending", ["mrc", "rec", "map", "st", "MRC", "mrc.gz", "rec.bz2", "map.GZ"]
)
def test_mrc_whatever_it_is_called_and_compressed(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    write_mrc(path)
    compress = {"gz": gzip.compress, "bz2": bz2.compress}.get(ending.lower().split(".")[-1], bytes)
    path.write_bytes(compress(path.read_bytes()))
    header = read_header(path)
    assert {name: getattr(header, name) for name in GEOMETRY} == GEOMETRY
    assert header.shape == SHAPE
    assert (read_voxels(path) == DATA).all()


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
@pytest.mark.parametrize("keep", [40, 2000, -40])
def test_a_compressed_file_that_is_cut(tmp_path, compress, keep):
    path = tmp_path / "a.mrc.gz"
    write_mrc(path)
    path.write_bytes(compress(path.read_bytes())[:keep])
    with pytest.raises(
        PicketError, match=r"^\S*a.mrc.gz: (MRC file is truncated or damaged|is not an MRC file)"
    ):
        read_voxels(path)


def test_a_compressed_file_with_bytes_changed(tmp_path):
    path = tmp_path / "a.mrc.gz"
    write_mrc(path)
    content = bytearray(gzip.compress(path.read_bytes()))
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(PicketError, match="MRC file"):
        read_voxels(path)


@pytest.mark.parametrize("kind", ["h5", "zarr"])
def test_a_chunk_that_is_damaged(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    if kind == "h5":
        write_hdf5(path)
        with h5py.File(path) as file:
            chunk = file["data/tomogram"].id.get_chunk_info(2)
        with path.open("r+b") as file:
            file.seek(chunk.byte_offset + 10)
            file.write(bytes(100))
    else:
        zarr.create_array(path, data=DATA, chunks=(4, 8, 8))
        (path / "c/2/1/1").write_bytes(b"broken")
    with pytest.raises(
        PicketError, match=r"^\S*a.(h5: HDF5 file is truncated or damaged|zarr: cannot be read)"
    ):
        read_voxels(path)


def test_npy(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.asfortranarray(DATA))
    assert (read_voxels(path) == DATA).all()
    header = read_header(path, VolumeSelector(voxel_size=(1.0, 2.0, 3.0)))
    assert header.voxel_size == (1.0, 2.0, 3.0)
    assert read_header(path).voxel_size == (0.0, 0.0, 0.0)


def test_npy_that_would_run_code_is_refused(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(
        PicketError, match=r"a.npy: .npy file is truncated or damaged \(.*Python objects"
    ):
        read_voxels(path)
    path.write_bytes(pickle.dumps(DATA))
    with pytest.raises(PicketError, match=r"a.npy: is not a NumPy file; check the path"):
        read_voxels(path)


class Payload:
    """Makes a directory where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.mkdir, (self.path,)


@pytest.mark.parametrize("dtype", ["<f4", "|O"])
@pytest.mark.parametrize("place", ["filters", "compressor"])
def test_zarr_that_would_run_code_is_refused(tmp_path, dtype, place):
    path = tmp_path / "a.zarr"
    keys = {"name": "v2", "separator": "."}
    zarr.create_array(path, data=DATA, chunks=SHAPE, zarr_format=2, chunk_key_encoding=keys)
    metadata = json.loads((path / ".zarray").read_text()) | {"dtype": dtype, "compressor": None}
    codec = {"id": "pickle", "protocol": 5}
    metadata[place] = [codec] if place == "filters" else codec
    (path / ".zarray").write_text(json.dumps(metadata))
    (path / "0.0.0").write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    with pytest.raises(PicketError, match=r"a.zarr: "):
        read_voxels(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("ending", ["h5", "hdf5", "hdf"])
def test_hdf5_with_one_volume_or_one_named(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    write_hdf5(path)
    assert (read_voxels(path) == DATA).all()
    with h5py.File(path, "a") as file:
        file["other"] = DATA + 1
    with pytest.raises(PicketError, match=r"2 3D datasets .*\(data/tomogram, other\); select one"):
        read_header(path)
    assert (read_voxels(path, VolumeSelector(dataset="other")) == DATA + 1).all()
    with pytest.raises(
        PicketError, match=r"has no dataset nothing \(found: data/tomogram, other\)"
    ):
        read_header(path, VolumeSelector(dataset="nothing"))


@pytest.mark.parametrize(
    "options", [{}, {"imagej": True}, {"compression": "zlib"}, {"bigtiff": True}]
)
def test_tiff(tmp_path, options):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, DATA, **options)
    assert (read_voxels(path) == DATA).all()


def test_a_tiff_that_is_cut(tmp_path):
    path = tmp_path / "a.tiff"
    tifffile.imwrite(path, DATA)
    path.write_bytes(path.read_bytes()[:-8000])
    with pytest.raises(PicketError, match=r"a.tiff: (is not a TIFF file|TIFF file is truncated)"):
        read_voxels(path)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_level_by_level(tmp_path, version):
    path = multiscale(tmp_path / "a.zarr", version)
    for choice, level in (
        (VolumeSelector(), 0),
        (VolumeSelector(level=2), 2),
        (VolumeSelector(voxel_size=(20.0, 20.0, 20.0)), 1),
        (VolumeSelector(voxel_size=(39.9, 40.0, 40.1)), 2),
        (VolumeSelector(shape=(5, 5, 6)), 2),
    ):
        step = 2**level
        header = read_header(path, choice)
        expected = DATA[::step, ::step, ::step]
        assert header.shape == expected.shape
        assert header.voxel_size == (10.0 * step,) * 3
        assert header.origin == (1.0, 2.0, 3.0)  # x, y, z
        assert (read_voxels(path, choice) == expected).all()
    with pytest.raises(PicketError, match="has no level 3; use 0 to 2"):
        read_header(path, VolumeSelector(level=3))
    with pytest.raises(
        PicketError, match=r"no level has .*10 x 10 x 10; 20 x 20 x 20; 40 x 40 x 40"
    ):
        read_header(path, VolumeSelector(voxel_size=(15.0, 15.0, 15.0)))
    overridden = read_header(path, VolumeSelector(level=1, voxel_size=(15.0, 15.0, 15.0)))
    assert overridden.voxel_size == (15.0, 15.0, 15.0)
    assert (read_voxels(path, VolumeSelector(dataset="1")) == DATA[::2, ::2, ::2]).all()
    assert read_header(path, VolumeSelector(dataset="1")).voxel_size == (20.0, 20.0, 20.0)


def test_a_scale_of_1_without_a_unit_is_no_voxel_size(tmp_path):
    path = multiscale(tmp_path / "a.zarr", "0.4", 0.1, None)
    for level in range(3):
        header = read_header(path, VolumeSelector(level=level))
        assert header.voxel_size == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("angstrom", 1.0), ("nanometer", 0.1), ("micrometer", 1e-4), (None, 1.0), ("picometer", 100)],
)
def test_units_of_ome_zarr(tmp_path, unit, factor):
    header = read_header(multiscale(tmp_path / "a.zarr", "0.4", factor, unit))
    assert header.voxel_size == (10.0, 10.0, 10.0)
    assert header.origin == pytest.approx((1.0, 2.0, 3.0))


def test_a_unit_of_no_length_leaves_the_voxel_size_unknown(tmp_path):
    header = read_header(multiscale(tmp_path / "a.zarr", "0.4", unit="parsec"))
    assert header.voxel_size == (0.0, 0.0, 0.0)


def test_axes_before_z_y_x_must_have_one_place(tmp_path):
    path = multiscale(tmp_path / "a.zarr", "0.5", axes="tczyx")
    assert (read_voxels(path) == DATA).all()
    assert read_header(path).shape == SHAPE
    group = zarr.open_group(path, mode="a")
    del group["0"]
    group.create_array("0", data=np.stack([[DATA, DATA]]))
    with pytest.raises(PicketError, match=r"has 5 dimensions \(1, 2, 18, 20, 22\); a"):
        read_header(path)


@pytest.mark.parametrize(
    "image",
    [
        {},
        {"axes": [{"name": "z"}], "datasets": [{"path": "0"}]},
        {"axes": [{"name": n} for n in "xyz"], "datasets": [{"path": "0"}]},
        {"axes": [{"name": n} for n in "zyx"], "datasets": []},
        {"axes": "zyx", "datasets": 5},
        [],
    ],
)
def test_multiscales_of_another_form(tmp_path, image):
    path = multiscale(tmp_path / "a.zarr", "0.4")
    zarr.open_group(path, mode="a").attrs["multiscales"] = [image]
    with pytest.raises(PicketError, match=r"^\S*a.zarr: (invalid multiscales|.*no multiscales)"):
        read_header(path)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_plain_zarr_array_or_group(tmp_path, zarr_format):
    path = tmp_path / "a.zarr"
    zarr.create_array(path, data=DATA, chunks=(4, 8, 8), zarr_format=zarr_format)
    assert (read_voxels(path) == DATA).all()
    group = zarr.open_group(tmp_path / "b.zarr", mode="w", zarr_format=zarr_format)
    group.create_array("one", data=DATA)
    assert (read_voxels(tmp_path / "b.zarr") == DATA).all()
    group.create_array("two", data=DATA + 1)
    with pytest.raises(PicketError, match="2 3D arrays"):
        read_header(tmp_path / "b.zarr")
    assert (read_voxels(tmp_path / "b.zarr", VolumeSelector(dataset="two")) == DATA + 1).all()
    with pytest.raises(PicketError, match="has no array three"):
        read_header(tmp_path / "b.zarr", VolumeSelector(dataset="three"))
    with pytest.raises(PicketError, match=r"b\.zarr: has no resolution levels; remove level"):
        read_header(tmp_path / "b.zarr", VolumeSelector(level=0))
    with pytest.raises(PicketError, match=r"a\.zarr: has no resolution levels; remove level"):
        read_header(path, VolumeSelector(level=0))
    with pytest.raises(PicketError, match=r"a\.zarr: is a single array; remove dataset"):
        read_header(path, VolumeSelector(dataset="one"))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("2-d.npy", np.zeros((4, 5))),
        ("4-d.npy", np.zeros((2, 4, 5, 6))),
        ("complex.npy", np.ones((4, 5, 6), dtype=complex)),
        ("text.npy", np.full((4, 5, 6), "a")),
        ("empty.npy", np.zeros((0, 5, 6))),
        ("constant.npy", np.ones((4, 5, 6))),
        ("colours.tif", np.zeros((6, 7, 3), dtype=np.uint8)),
    ],
)
def test_what_is_no_volume(tmp_path, name, data):
    path = tmp_path / name
    if path.suffix == ".npy":
        np.save(path, data)
    else:
        tifffile.imwrite(path, data, photometric="rgb")
    with pytest.raises(
        PicketError, match=rf"^\S*{name}: (has|contains|every voxel|TIFF file is empty)"
    ):
        read_header(path)


@pytest.mark.parametrize("kind", ["npy", "h5", "zarr"])
def test_a_header_that_tells_of_terabytes(tmp_path, kind):
    path, shape = tmp_path / f"a.{kind}", (10**4, 10**4, 10**4)
    if kind == "npy":
        np.lib.format.open_memmap(path, "w+", np.float32, (2, 2, 2))
        content = path.read_bytes().replace(b"(2, 2, 2)", b"(20, 10000000, 10000000)")
        path.write_bytes(content)
    elif kind == "h5":
        with h5py.File(path, "w") as file:
            file.create_dataset("a", shape, "f4", chunks=(1, 100, 100))
    else:
        zarr.create_array(path, shape=shape, dtype="f4", chunks=(1, 100, 100))
    with pytest.raises(
        PicketError, match=r"more than the .* GiB of this machine|npy file is truncated"
    ):
        read_header(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_a_voxel_that_is_no_number_in_float32(tmp_path, value):
    data = DATA.astype(np.float64)
    data[17, 0, 0] = value
    np.save(tmp_path / "a.npy", data)
    with pytest.raises(PicketError, match="NaN or infinite"):
        read_voxels(tmp_path / "a.npy")


@pytest.mark.parametrize("ending", ["mrc", "npy", "h5", "tif", "zarr"])
def test_a_mask_of_any_format_is_where_it_is_above_0(tmp_path, ending):
    path, mask = tmp_path / f"mask.{ending}", (DATA // 300).astype(np.int8)
    if ending == "mrc":
        mrcfile.write(path, mask)
    elif ending == "npy":
        np.save(path, mask > 0)
        assert np.load(path).dtype == bool
    elif ending == "h5":
        with h5py.File(path, "w") as file:
            file["mask"] = mask
    elif ending == "tif":
        tifffile.imwrite(path, mask)
    else:
        zarr.create_array(path, data=mask)
    assert (read_mask(path, SHAPE) == (mask > 0)).all()
    with pytest.raises(PicketError, match=r"mask has \(18, 20, 22\) voxels .*\(9, 9, 9\)"):
        read_mask(path, (9, 9, 9))


def test_the_level_of_a_mask_is_the_one_of_its_shape(tmp_path):
    path = multiscale(tmp_path / "mask.zarr", "0.4")
    assert (read_mask(path, (9, 10, 11)) == (DATA[::2, ::2, ::2] > 0)).all()


# URLs.


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def http(tmp_path):
    pytest.importorskip("aiohttp")
    """A server of ``tmp_path`` on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_zarr_at_an_http_address(tmp_path, http, version):
    multiscale(tmp_path / "run 1.zarr", version)
    url = as_location(f"{http}/run%201.zarr")
    assert isinstance(url, Url)
    assert url.name == "run 1.zarr"
    header = read_header(url, VolumeSelector(level=1))
    assert header.voxel_size == (20.0, 20.0, 20.0)
    assert (read_voxels(url, VolumeSelector(level=1)) == DATA[::2, ::2, ::2]).all()
    before = file_signature(url, {})
    assert file_signature(url, {}) == before
    zarr.open_group(tmp_path / "run 1.zarr", mode="a").attrs["changed"] = True
    assert file_signature(url, {}) != before


def test_levels_at_an_http_address_have_what_the_groups_above_say(tmp_path, http):
    multiscale(tmp_path / "a.zarr", "0.5")
    raw = zarr.create_group(tmp_path / "raw.zarr", zarr_format=2)
    raw.attrs["bioformats2raw.layout"] = 3
    multiscale(tmp_path / "raw.zarr" / "0", "0.4", axes="tczyx")
    for way, size in (("a.zarr/1", 20.0), ("raw.zarr", 10.0), ("raw.zarr/0/2", 40.0)):
        header = read_header(as_location(f"{http}/{way}"))
        assert header.voxel_size == (size, size, size)
        assert header.place == (1.0, 2.0, 3.0)


def test_nothing_at_an_http_address(http):
    with pytest.raises(PicketError, match=r"nothing.zarr: cannot be read as Zarr"):
        read_header(as_location(f"{http}/nothing.zarr"))
    with pytest.raises(OSError, match=r"nothing.zarr"):
        file_signature(as_location(f"{http}/nothing.zarr"), {})


def test_no_server_at_an_address():
    pytest.importorskip("aiohttp")
    with pytest.raises(PicketError, match=r"cannot be read as Zarr \(.*127.0.0.1"):
        read_header(as_location("http://127.0.0.1:9/a.zarr"))


def test_a_file_url_is_a_path(tmp_path):
    multiscale(tmp_path / "a b.zarr", "0.4")
    where = as_location(f"file://{tmp_path}/a%20b.zarr")
    assert where == Path(tmp_path / "a b.zarr")
    assert read_header(where).shape == SHAPE


def test_a_zarr_in_a_bucket(tmp_path, monkeypatch):
    moto = pytest.importorskip("moto.server", reason="moto is not installed")
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    import fsspec

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        options = {"endpoint_url": f"http://{host}:{port}", "skip_instance_cache": True}
        bucket = fsspec.filesystem("s3", **options)
        bucket.mkdir("tomograms")
        multiscale(tmp_path / "a.zarr", "0.4")
        bucket.put(str(tmp_path / "a.zarr"), "tomograms/a.zarr", recursive=True)
        url = as_location("s3://tomograms/a.zarr")
        choice = VolumeSelector(storage_options=options)
        assert read_header(url, choice).shape == SHAPE
        assert (read_voxels(url, choice) == DATA).all()
        assert file_signature(url, options) == file_signature(url, options)
    finally:
        server.stop()


# Damage of every format, met before anything starts.


def damaged_tiff(path):
    tifffile.imwrite(path, DATA, compression="zlib")
    content = bytearray(path.read_bytes())
    content[len(content) // 4 :: 50] = bytes(len(content[len(content) // 4 :: 50]))
    path.write_bytes(content)


def group_of_text(path):
    zarr.open_group(path, mode="w", attributes={"ome": "x"})


def array_cut_short(path):
    multiscale(path, "0.5")
    (path / "0/zarr.json").write_text('{"shape')


def dataset_without_voxels(path):
    with h5py.File(path, "w") as file:
        file["tomogram"] = h5py.Empty("f4")


@pytest.mark.parametrize("as_mask", [False, True])
@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("bad.tif", damaged_tiff),
        ("group.zarr", group_of_text),
        ("array.zarr", array_cut_short),
        ("bad.h5", dataset_without_voxels),
    ],
)
def test_one_that_is_damaged_does_not_stop_the_others(tmp_path, name, damage, as_mask):
    from picket_gpu import run_s1

    np.save(tmp_path / "good.npy", DATA)
    damage(tmp_path / name)
    bad = {"tomogram": tmp_path / name}
    if as_mask:
        bad = {"tomogram": tmp_path / "good.npy", "mask": tmp_path / name}
    elif name == "bad.h5":
        bad["dataset"] = "tomogram"
    config = {
        "dataset_name": "set",
        "inputs": [bad, {"tomogram": tmp_path / "good.npy"}],
        "feature_extraction_params": [{"mode": "intensities"}],
        "clustering_methods": ["kmeans"],
        "output_dir": tmp_path,
        "device": "cpu",
        "report": False,
    }
    run = run_s1(config, quiet=True)
    assert [result.path.name for result in run] == ["segmentation_1_intensities_kmeans.h5"]
    (failure,) = run.failures
    assert isinstance(failure.error, PicketError)
    assert name in failure.message


def test_a_stack_of_volumes_is_refused_compressed_or_not(tmp_path):
    path = tmp_path / "a.mrc"
    with mrcfile.new(path) as mrc:
        mrc.set_data(DATA.reshape(2, 9, 20, 22).astype(np.float32))
    with pytest.raises(PicketError, match="4 dimensions"):
        read_header(path)
    (tmp_path / "a.mrc.gz").write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(PicketError, match="4 dimensions"):
        read_header(tmp_path / "a.mrc.gz")


def test_labels_of_ours_with_scores_beside_them_are_a_mask(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["segmentations/semantic_segmentation"] = np.sign(DATA).astype(np.int8)
        file["segmentations/particle_score"] = np.ones(SHAPE, np.float16)
    assert (read_mask(tmp_path / "a.h5", SHAPE) == (DATA > 0)).all()
