"""python -m picket_gpu.pick on masks and scores of other programs, and on what is neither."""

import gzip
import itertools
import json
import shutil
import struct
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import pytest
import tifffile
import zarr
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from picket_gpu import PicketError, run_s1
from picket_gpu.files.segmentation import read_foreground
from picket_gpu.particles.formats.csv import CSV
from picket_gpu.pick import main
from picket_gpu.report.__main__ import main as report
from picket_gpu.view import layers
from tests.support.command_line import names, the_error

SHAPE = (24, 44, 48)
SIZE, DIAMETER = 10.0, 80.0  # angstrom
CENTRES = [(6, 12, 33), (12, 8, 21), (8, 20, 10), (16, 30, 20), (12, 37, 40), (15, 20, 38)]
INSIDE = np.zeros(SHAPE, bool)
for CENTRE in CENTRES:
    SQUARES = sum((g - c) ** 2 for g, c in zip(np.indices(SHAPE), CENTRE, strict=True))
    INSIDE |= SQUARES < (DIAMETER / SIZE / 2) ** 2
BYTES = (INSIDE * 255).astype("u1")
SCORES = gaussian_filter(INSIDE.astype("f4"), 1)
GREY = (np.random.default_rng(0).normal(size=SHAPE) - 3 * INSIDE).astype("f4")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mrc(name, values, flags=None, **header):
    """An MRC file, with IMOD's stamp if its flags are given."""
    with mrcfile.new(name, np.ascontiguousarray(values), overwrite=True) as file:
        file.set_volume()
        file.voxel_size = SIZE
        for field, value in header.items():
            file.header[field] = value
    if flags is not None:
        with Path(name).open("r+b") as stream:
            stream.seek(152)
            stream.write(struct.pack("<2i", 1146047817, flags))


def compressed(name, values):
    mrc("plain.mrc", values)
    Path(name).write_bytes(gzip.compress(Path("plain.mrc").read_bytes()))


def hdf5(name, values):
    with h5py.File(name, "w") as file:
        file["exported_data"] = values[..., None]


def ome(name, values):
    group = zarr.create_group(name, zarr_format=2)
    group.create_array("0", shape=values.shape, dtype=values.dtype)[...] = values


def pick(name, *options):
    told = ["--diameter", f"{DIAMETER:g}", "--device", "cpu", "--output-dir", "o", *options]
    return main([name, *told])


def check_picks():
    """That the only table in o/ has each particle within half a voxel, and nothing else."""
    (table,) = Path("o").glob("particles_*.csv")
    points = CSV.read(table)[:, 6:3:-1]
    distances, nearest = cKDTree(CENTRES).query(points)
    assert sorted(nearest) == list(range(len(CENTRES)))
    assert distances.max() < 0.5


@pytest.mark.parametrize(
    ("name", "write", "says"),
    [
        ("TS_01_ribosome_mask.mrc", lambda n: mrc(n, INSIDE.astype("i1")), "a mask of 0 and 1"),
        ("a.mrc", lambda n: mrc(n, (INSIDE * 255).astype("u2")), "a mask of 0 and 255"),
        ("a.mrc", lambda n: mrc(n, INSIDE.astype("f4")), "a mask of 0 and 1"),
        (
            "a.mrc",
            lambda n: mrc(n, BYTES.view("i1"), 0),
            "a mask of 0 and 255",
        ),
        ("a.mrc", lambda n: mrc(n, (INSIDE - 128).astype("i1"), 1), "a mask of 0 and 1"),
        ("a.rec", lambda n: mrc(n, INSIDE.astype("i1")), "a mask of 0 and 1"),
        ("a.mrc.gz", lambda n: compressed(n, INSIDE.astype("i1")), "a mask of 0 and 1"),
        ("a.npy", lambda n: np.save(n, INSIDE), "a mask of 0 and 1"),
        (
            "a.tif",
            lambda n: tifffile.imwrite(n, BYTES),
            "a mask of 0 and 255",
        ),
        ("a.h5", lambda n: hdf5(n, INSIDE.astype("u1")), "a mask of 0 and 1"),
        ("a.zarr", lambda n: ome(n, INSIDE.astype("u1")), "a mask of 0 and 1"),
        ("TS_01_scores.mrc", lambda n: mrc(n, SCORES), "scores from 0 to "),
        ("a.mrc", lambda n: mrc(n, SCORES.astype("f2")), "scores from 0 to "),
        ("a.npy", lambda n: np.save(n, SCORES.astype("f8")), "scores from 0 to "),
    ],
)
def test_masks_and_scores_of_other_programs_are_picked_from(place, capsys, name, write, says):
    write(name)
    assert pick(name, "--voxel-size", f"{SIZE:g}") == 0
    warning, told = capsys.readouterr().out.splitlines()
    assert warning.startswith(f"warning: {name}: is no S1 segmentation; using it as {says}")
    assert f"{len(CENTRES)} particles from " in told
    check_picks()


@pytest.mark.parametrize("axes", list(itertools.permutations("xyz")), ids="".join)
def test_any_order_of_axes_gives_the_same(place, axes):
    """Picks, and what the viewer shows."""
    turned = INSIDE.astype("i1").transpose(["zyx".index(axis) for axis in reversed(axes)])
    order = {f"map{n}": "xyz".index(axis) + 1 for n, axis in zip("crs", axes, strict=True)}
    depth, height, width = SHAPE
    cell = {"mx": width, "my": height, "mz": depth, "cella": tuple(SIZE * n for n in SHAPE[::-1])}
    mrc("a.mrc", turned, **order, **cell)
    mrc("tomogram.mrc", GREY)
    assert pick("a.mrc") == 0
    check_picks()
    assert (read_foreground(Path("a.mrc")) == INSIDE).all()
    _, labels = layers(Path("a.mrc"), Path("tomogram.mrc"))
    assert (labels.data == INSIDE).all()


def test_a_mask_that_we_wrote_may_be_turned_too(place):
    """Our label stays in the header, and the axes change, as when a program saves it again."""
    mrc("tomogram.mrc", GREY)
    config = {
        "dataset_name": "set",
        "inputs": [{"tomogram": "tomogram.mrc"}],
        "output_dir": ".",
        "feature_extraction_params": [{"mode": "intensities"}],
        "clustering_methods": ["gmm"],
        "save": ["mrc"],
        "scores": True,
        "report": False,
        "device": "cpu",
    }
    (result,) = run_s1(config, quiet=True)
    expected = result.labels == 1
    with mrcfile.open(result.path, mode="r+") as file:
        data = file.data.copy()
        file.set_data(np.ascontiguousarray(data.transpose(1, 0, 2)))
        file.header.mapc, file.header.mapr, file.header.maps = 1, 3, 2
        file.header.mx, file.header.my, file.header.mz = SHAPE[::-1]
        file.header.cella = tuple(SIZE * n for n in SHAPE[::-1])
    assert (read_foreground(result.path) == expected).all()
    # Its scores, by themselves, are scores.
    assert pick("set/segmentation_0_intensities_gmm_score.mrc") == 0


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (GREY, "float32, values from -"),
        ((GREY * 100).astype("i2"), "not a tomogram"),
        ((GREY * 10 + 128).clip(0, 255).astype("u2"), "save one label as 0 and 1"),
        (np.indices(SHAPE)[0].astype("u2") // 8, "values from 0 to 2); save one label as 0 and 1"),
        (INSIDE.astype("i1") + 1, "values from 1 to 2); save one label as 0 and 1"),
        (np.ones(SHAPE, "i1"), "the value 1 only"),
        (np.zeros(SHAPE, "f4"), "the value 0 only"),
        (SCORES - 0.1, "or scores cut off at 0 and 1"),
        (SCORES * 2, "or scores cut off at 0 and 1"),
    ],
)
@pytest.mark.parametrize("name", ["TS_01_bin4_rec.mrc", "a.mrc"])
def test_what_is_neither_is_refused_by_name_and_nothing_is_written(
    place, capsys, name, values, says
):
    mrc(name, values)
    before = names(place)
    for source in ([], ["--source", "score"]):
        assert pick(name, *source) == 2
        error = the_error(capsys.readouterr().err)
        assert error.startswith(f"{name}: is not an S1 segmentation, nor a mask of 0 and another")
        assert says in error
    with pytest.raises(PicketError, match="nor a mask of 0 and another value, nor scores"):
        list(layers(Path(name), Path(name)))
    assert names(place) == before


def test_what_a_mask_lacks_is_told(place, capsys):
    np.save("a.npy", INSIDE)
    assert pick("a.npy") == 2
    assert "voxel size is unknown; give --voxel-size" in the_error(capsys.readouterr().err)
    mrc("b.mrc", INSIDE.astype("i1"))
    assert pick("b.mrc", "--source", "both") == 2
    assert "records no tomogram; use --source score" in the_error(capsys.readouterr().err)
    assert pick("b.mrc", "--threshold", "-2") == 2
    assert the_error(capsys.readouterr().err).startswith("--threshold: must be auto, tomogram")
    assert pick("b.mrc", "--voxel-size", "10.05", "--method", "components") == 0  # within 1%
    assert "angstrom" not in capsys.readouterr().out
    assert main(["b.mrc", "--diameter", "8", "--voxel-size", "1", "--device", "cpu"]) == 0
    assert "b.mrc: --voxel-size is 1 x 1 x 1, but the file has 10 x 10 x 10 angstrom" in (
        capsys.readouterr().out
    )
    with h5py.File("two.h5", "w") as file:
        file["a"] = file["b"] = INSIDE.astype("u1")
    assert pick("two.h5") == 2
    assert "2 3D datasets (a, b); save one in a file of its own" in (
        the_error(capsys.readouterr().err)
    )


def test_two_masks_of_one_series_have_particles_of_their_own(place):
    for name in ("TS_07_bin4_rec_ribosomes.mrc", "TS_07_bin4_rec_proteasomes.mrc"):
        mrc(name, INSIDE.astype("i1"))
        assert pick(name, "-q") == 0
    tables = {path.name for path in Path("o").glob("*.csv")}
    assert tables == {
        "particles_7_TS07bin4recribosomes_mask.csv",
        "particles_7_TS07bin4recproteasomes_mask.csv",
    }


def test_a_page_needs_more_than_a_mask(place, capsys):
    mrc("segmentation_0_my_mask.mrc", INSIDE.astype("i1"))
    assert pick("segmentation_0_my_mask.mrc", "-q") == 0
    assert names(place / "o") >= {"particles_0_my_mask.csv"}
    Path("run.json").write_text(json.dumps({}))
    assert report(["."]) == 2
    assert "segmentation_0_my_mask.mrc: is not from S1 and names no tomogram" in (
        the_error(capsys.readouterr().err)
    )
    shutil.rmtree("o")


@pytest.mark.parametrize("name", ["TS#1.mrc", "5'UTR.mrc", "a  b.mrc"])
def test_a_name_that_star_files_cannot_hold_is_refused_before_anything_is_written(
    place, capsys, name
):
    for one in ("ok.mrc", name):
        mrc(one, INSIDE.astype("i1"))
    assert main(["ok.mrc", name, "--diameter", str(DIAMETER)]) == 2
    error = the_error(capsys.readouterr().err)
    assert error.startswith(f"{name}: the name ")
    assert error.endswith("which STAR files cannot hold; rename the file")
    assert names(place) == {"ok.mrc", name}
