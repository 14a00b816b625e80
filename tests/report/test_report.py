"""What a report is made of: counts, slices, sizes, files; test_browser.py looks at the pages."""

import re
import shutil
import subprocess
import sys
from base64 import b64decode
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from zlib import decompress

import h5py
import mrcfile
import numpy as np
import pytest
import yaml
from PIL import Image
from scipy import ndimage

from picket_gpu import pipeline, run_s1
from picket_gpu.device.select import select_backend
from picket_gpu.files.filenames import report_names
from picket_gpu.method.memory import plan_memory
from picket_gpu.method.preprocess import prepare
from picket_gpu.method.volume import StreamedVolume
from picket_gpu.method.windows import fit_windows
from picket_gpu.report.__main__ import main
from picket_gpu.report.binning import block_sums
from picket_gpu.report.collect import begin_report
from picket_gpu.report.components import find_components
from picket_gpu.report.page import MOST_BYTES, page_data, tomogram_page, yaml_text
from picket_gpu.report.preview import preview
from picket_gpu.report.slices import MOST_PIXELS, MOST_SAMPLES, MOST_SIDE, choose_layout, separation
from picket_gpu.report.write import Index, write_page
from tests.support.command_line import ONE
from tests.support.data import DATA
from tests.support.pages import data_of
from tests.support.records import segmentation_of, subject_of

# Components.


def test_components_of_known_shapes():
    labels = np.zeros((30, 40, 50), dtype=np.int8)
    labels[:2] = -1
    labels[3:7, 3:7, 3:7] = 1  # 64 voxels
    labels[7:10, 7:10, 7:10] = 1  # 27, touching the first by a corner only
    labels[20:22, 5:7, 5:7] = 1  # 8
    labels[15:25, 15:25, 15:25] = 1  # 1000
    found = find_components(labels)
    assert found.sizes.tolist() == [27, 64, 1000]
    assert found.smaller == 1
    assert found.largest == pytest.approx(1000 / 1099)
    # Spheres as large, of voxels of 8 x 10 x 12.5 angstrom, which is 1000 cubic angstrom.
    spheres = 4 / 3 * np.pi * (found.diameters((8, 10, 12.5)) / 2) ** 3
    np.testing.assert_allclose(spheres, [27e3, 64e3, 1e6])


@pytest.mark.parametrize("value", [0, -1])
def test_no_components(value):
    found = find_components(np.full((8, 9, 10), value, dtype=np.int8))
    assert (len(found.sizes), found.smaller, found.largest) == (0, 0, 0.0)


@pytest.mark.parametrize("block", [1, 2000, 7000, 2**22])
@pytest.mark.parametrize("threads", ["1", "3"])
def test_blocks_are_joined_as_if_there_were_none(block, threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    smooth = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((31, 40, 50)), 1.2)
    for share in (0.05, 0.3, 0.5):
        labels = (smooth > np.quantile(smooth, 1 - share)).astype(np.int8)
        numbered, _ = ndimage.label(labels)
        sizes = np.sort(np.bincount(numbered.ravel())[1:])
        found = find_components(labels, block)
        assert found.sizes.tolist() == sizes[sizes >= 27].tolist()
        assert found.smaller == (sizes < 27).sum()
        assert found.largest == pytest.approx(sizes[-1] / sizes.sum())


def test_sums_of_blocks_leave_their_input_alone():
    values = np.arange(24, dtype=np.float32).reshape(4, 6)
    before = values.copy()
    assert block_sums(values, 2).tolist() == [[14, 22, 30], [62, 70, 78]]
    assert block_sums(values, 1).tolist() == before.tolist()
    assert (values == before).all()
    assert block_sums(np.ones((80, 80, 80), dtype=bool), 40).tolist() == [[[64000] * 2] * 2] * 2


# Slices.


@pytest.mark.parametrize(
    "shape", [(3, 3, 3), (101, 135, 135), (512, 1024, 1024), (2000, 400, 400), (5, 7, 90_000)]
)
@pytest.mark.parametrize("side", [3, 5])
def test_slices_span_the_labelled_part_and_stay_small(shape, side):
    shape = tuple(max(n, side) for n in shape)
    layout = choose_layout(shape, side)
    half = side // 2
    assert layout.places == sorted(set(layout.places))
    if len(layout.places) > 1:
        assert (layout.places[0], layout.places[-1]) == (half, shape[0] - 1 - half)
        steps = np.diff(layout.places)
        assert steps.max() - steps.min() <= 1
    rows, columns = layout.pixels
    assert min(rows, columns) >= 1
    if min(shape[1:]) * MOST_SIDE >= max(shape[1:]):
        assert max(rows, columns) <= MOST_SIDE
    assert rows * columns * len(layout.places) <= MOST_PIXELS
    sample = np.broadcast_to(0, shape[1:])[layout.sampled]
    assert 1 <= sample.size * len(layout.places) <= MOST_SAMPLES


def test_separation_is_the_root_of_fishers_criterion():
    rng = np.random.default_rng(0)
    grey = np.concatenate([rng.normal(3, 2, 30_000), rng.normal(8, 1, 10_000)])
    ones = np.arange(40_000) >= 30_000
    expected = 5 / np.sqrt(0.75 * 4 + 0.25 * 1)
    labels = ones.astype(np.int8)
    assert separation(grey, labels) == pytest.approx(expected, rel=0.02)
    assert separation(-7 * grey + 3, 1 - labels) == pytest.approx(separation(grey, labels))
    with_none = np.append(labels, np.full(999, -1, np.int8))
    assert separation(np.append(grey, np.full(999, 1e9)), with_none) == separation(grey, labels)
    assert separation(grey, np.zeros(40_000, np.int8)) is None
    assert separation(np.array([1.0, 1, 2, 2]), np.array([1, 1, 0, 0])) is None


# Pages.


def test_a_page_holds_the_slices(hiv):
    labels = (hiv > 20).astype(np.int8)
    blurred = ndimage.gaussian_filter(hiv.astype(np.float32), 2)
    report = begin_report(subject_of(hiv.shape), lambda z: blurred[z])
    report.add(segmentation_of(report.subject, "gabor", "gmm"), labels)
    data = data_of(tomogram_page(page_data(report, {})))
    assert data["places"] == list(range(2, 99))
    for number in (0, 48, 96):
        z = data["places"][number]
        picture = np.asarray(Image.open(BytesIO(b64decode(data["grey"][number]))))
        assert np.corrcoef(picture.ravel(), blurred[z].ravel())[0, 1] > 0.99
        packed = np.frombuffer(
            decompress(b64decode(data["workflows"][0]["bits"][number])), np.uint8
        )
        bits = np.unpackbits(packed, count=picture.size).reshape(picture.shape)
        assert (bits == labels[z]).all()
    assert sum(data["histogram"]) == 97 * 135 * 135
    assert (
        sum(data["workflows"][0]["components"]["counts"])
        == (data["workflows"][0]["components"]["count"])
    )


@pytest.mark.parametrize("slab", [None, 7])
def test_slices_come_from_a_device_too(slab):
    """From arrays that are not NumPy's, whether the volume is there or streamed."""
    pytest.importorskip("cupy", reason="the double takes its names and keywords from cupy")
    from tests.support.device_double import DeviceDouble

    volume = mrcfile.read(DATA / "phantom_a.mrc")[:24, :40, :50]
    device, host = DeviceDouble(), select_backend("cpu")
    windows = fit_windows(volume.shape, 5)
    reports = []
    for backend, planes in ((device, slab), (host, None)):
        plan = replace(plan_memory(backend, windows, 1), slab_planes=planes)
        with backend.exclusive():
            prepared = prepare(backend, volume, 2.0, plan)
            assert isinstance(prepared.volume, StreamedVolume) == (planes is not None)
            picture = partial(prepared.volume.grey_slice, download=backend.download)
            reports.append(begin_report(subject_of(volume.shape), picture))
    ours, theirs = (r.grey for r in reports)
    assert np.corrcoef(ours.sample.ravel(), theirs.sample.ravel())[0, 1] > 0.999999
    (z,) = {len(one.jpegs) // 2 for one in (ours, theirs)}
    pixels = [np.asarray(Image.open(BytesIO(one.jpegs[z]))).astype(int) for one in (ours, theirs)]
    # JPEG makes a little more of a step of one.
    assert (np.abs(pixels[0] - pixels[1]) <= 3).all()


@pytest.mark.slow
def test_a_page_is_at_most_12_mb_whatever_the_labels():
    """Noise does not compress; slices are left out evenly until the page is small enough."""
    shape = (70, 512, 512)
    rng = np.random.default_rng(0)
    report = begin_report(
        subject_of(shape), lambda z: np.random.default_rng(z).random(shape[1:], dtype=np.float32)
    )
    labels = rng.integers(0, 2, shape, dtype=np.int8)
    for number in range(6):
        report.add(segmentation_of(report.subject, f"m{number}", "gmm"), labels)
    page = tomogram_page(page_data(report, {}))
    assert MOST_BYTES / 4 < len(page) <= MOST_BYTES <= 12_000_000
    places = data_of(page)["places"]
    assert places == report.layout.places[:: len(report.layout.places) // len(places)]
    assert len(places) < len(report.layout.places)
    assert {len(w["bits"]) for w in data_of(page)["workflows"]} == {len(places)}


def test_pages_ask_nothing_of_a_network(tmp_path, hiv):
    report = begin_report(subject_of(hiv.shape), lambda z: hiv[z].astype(np.float32))
    report.add(segmentation_of(report.subject, "gabor", "gmm"), (hiv > 20).astype(np.int8))
    tomograms = {number: (f"{number}.mrc", f"data/{number}.mrc") for number in range(2)}
    index = Index(tmp_path, "set", tomograms, {})
    index.add(write_page(tmp_path, report, alone=False, links={}))
    index.finish()
    for name in ("report.html", "report_0.html"):
        page = (tmp_path / name).read_text()
        assert page.isascii()
        addresses = set(re.findall(r"https?://[^\s\"'`]+", page))
        assert addresses <= {"http://www.w3.org/2000/svg"}  # the name of SVG, not an address
        assert not re.search(r"<(link|script|img)[^>]*(src|href)=\"(?!data:)", page)


@pytest.mark.parametrize(
    "name",
    [
        "plain.h5",
        "a: b #c.h5",
        'it\'s "quoted".h5',
        "é漢😀.h5",
        "line\nbreak\ttab.h5",
        "back\\slash",
        "x" * 300,
        "\u2028\u0085",
        " lead and trail ",
    ],
)
def test_paths_in_yaml_are_read_as_they_are(name):
    text = yaml_text(Path("/d") / name)
    assert "\n" not in text
    assert yaml.safe_load(f"inputs:\n  - segmentation: {text}\n") == {
        "inputs": [{"segmentation": f"/d/{name}"}]
    }


def test_no_name_can_leave_the_data(hiv):
    path = Path("</script><script>alert(1)</script>{{script}}<!--.mrc")
    report = begin_report(
        subject_of(hiv.shape, name=path.name, tomogram=path), lambda z: hiv[z].astype(np.float32)
    )
    page = tomogram_page(page_data(report, {}))
    assert page.count("<script") == page.count("</script>") == 3
    assert data_of(page)["path"] == str(path)
    assert "alert(1)</script>" not in page


# Previews.


def test_preview_has_a_picture_for_each_slice_and_workflow(hiv):
    blurred = ndimage.gaussian_filter(hiv.astype(np.float32), 2)
    report = begin_report(subject_of(hiv.shape), lambda z: blurred[z])
    labels = np.zeros(hiv.shape, dtype=np.int8)
    labels[:, 60:80, 60:80] = 1
    for number in range(6):
        report.add(segmentation_of(report.subject, f"m{number}", "gmm"), labels)
    image = np.asarray(preview(page_data(report, {}), report.picked)).astype(int)
    orange = (image[:, :, 0] - image[:, :, 2]) > 60
    _, squares = ndimage.label(ndimage.binary_opening(orange, iterations=8))
    assert squares == 3 * 6


def test_preview_of_voxels_that_are_not_cubes():
    report = begin_report(
        subject_of((9, 40, 60), voxel_size=(20.0, 20.0, 10.0)),
        lambda z: np.random.default_rng(z).random((40, 60)),
    )
    width, height = preview(page_data(report, {}), report.picked).size
    assert width > 192  # 40 voxels of 20 by 60 of 10: higher than wide
    assert height > 3 * 256


# Files of a run.


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two tomograms, the second with limits."""
    directory = tmp_path_factory.mktemp("run")
    volume = mrcfile.read(DATA / "phantom_a.mrc")
    mrcfile.write(directory / "a.mrc", volume[:, :50, :60], voxel_size=13.48)
    mrcfile.write(directory / "b.mrc", volume[:, 40:90, 30:90], voxel_size=13.48)
    config = {
        "dataset_name": "set",
        "inputs": [
            {"tomogram": directory / "a.mrc"},
            {"tomogram": directory / "b.mrc", "lower_z-slice_limit": 5, "upper_z-slice_limit": 30},
        ],
        "blur_sigma": 1.5,
        "output_dir": directory,
        "device": "cpu",
    }
    run_s1(config, quiet=True)
    return config


def test_a_run_of_several_writes_an_index_and_pages(run):
    directory = run["output_dir"] / "set"
    names = {path.name for path in directory.iterdir() if "segmentation" not in path.name}
    assert names == {*report_names([0, 1], alone=False), "run.json"}
    names.remove("run.json")
    assert names == {
        "report.html",
        "report_0.html",
        "report_1.html",
        "preview_0.png",
        "preview_1.png",
    }


def test_a_run_on_a_device_has_the_same_report(run, tmp_path, monkeypatch):
    """There findings are made aside, while the next workflow is computed."""
    pytest.importorskip("cupy", reason="the double takes its names and keywords from cupy")
    from tests.support.device_double import DeviceDouble

    monkeypatch.setattr(pipeline, "select_backend", lambda *_: DeviceDouble())
    run_s1(run | {"inputs": run["inputs"][:1], "output_dir": tmp_path}, quiet=True)
    ours = data_of((tmp_path / "set/report.html").read_text())["workflows"]
    theirs = data_of((run["output_dir"] / "set/report_0.html").read_text())["workflows"]
    assert [(w["mode"], w["method"]) for w in ours] == [(w["mode"], w["method"]) for w in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one["share"] == pytest.approx(other["share"], abs=1e-3)
        assert one["separation"] == pytest.approx(other["separation"], rel=1e-2)


def test_report_false_writes_none(run, tmp_path):
    run_s1(run | ONE | {"output_dir": tmp_path}, quiet=True)
    names = {path.name for path in (tmp_path / "set").iterdir()} - {"run.json"}
    assert len(names) == 4
    assert all(name.startswith("segmentation_") for name in names)


def test_rebuilding_gives_the_report_of_the_run(run, tmp_path, monkeypatch):
    original = run["output_dir"] / "set"
    directory = tmp_path / "set"
    shutil.copytree(original, directory)
    for name in report_names([0, 1], alone=False):
        (directory / name).unlink()
    monkeypatch.chdir(tmp_path)
    assert main(["set", "--quiet"]) == 0
    for name in ("preview_0.png", "preview_1.png"):
        assert (directory / name).read_bytes() == (original / name).read_bytes()
    for name in ("report_0.html", "report_1.html", "report.html"):
        ours, theirs = (data_of((d / name).read_text()) for d in (directory, original))
        assert without_places(ours) == without_places(theirs)
    again = data_of((directory / "report_0.html").read_text())
    assert yaml.safe_load(again["workflows"][0]["file"]) == str(
        directory / "segmentation_0_ffts_kmeans.h5"
    )


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A run on a relative path, from its project's directory."""
    project = tmp_path / "project"
    project.mkdir()
    noise = np.random.default_rng(0).random((12, 14, 16), dtype=np.float32)
    mrcfile.write(project / "a.mrc", noise, voxel_size=10)
    monkeypatch.chdir(project)
    config = {
        "dataset_name": "set",
        "inputs": [{"tomogram": "a.mrc"}],
        "output_dir": "out",
        "neighborhood_size": 3,
        "feature_extraction_params": [{"mode": "intensities"}],
        "device": "cpu",
    }
    run_s1(config, quiet=True)
    return config


def test_a_tomogram_is_found_from_any_directory(small, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    assert main([str(tmp_path / "project/out/set"), "-q"]) == 0


def test_tomograms_of_a_project_that_was_moved_are_found_from_its_directory(
    small, tmp_path, monkeypatch, capsys
):
    (tmp_path / "project").rename(tmp_path / "moved")
    monkeypatch.chdir("/")
    assert main([str(tmp_path / "moved/out/set"), "-q"]) == 2
    assert (
        "a.mrc: no such file; run from the directory in which S1 was run" in capsys.readouterr().err
    )
    monkeypatch.chdir(tmp_path / "moved")
    assert main(["out/set", "-q"]) == 0


def test_one_tomogram_by_two_paths_is_one_page(small, tmp_path):
    again = {"inputs": [{"tomogram": tmp_path / "project/a.mrc"}]}
    ffts = {"feature_extraction_params": [{"mode": "ffts", "n_fft_subsets": 4}]}
    run_s1(small | again | ffts, quiet=True)
    assert main(["out/set", "-q"]) == 0
    modes = [w["mode"] for w in data_of(Path("out/set/report.html").read_text())["workflows"]]
    assert modes == ["ffts", "ffts", "intensities", "intensities"]


def without_places(data):
    """What does not depend on where files lie, nor on how long they took to write."""
    if isinstance(data, dict):
        return {
            k: without_places(v)
            for k, v in data.items()
            if k not in ("directory", "file", "outputDir", "seconds")
        }
    return [without_places(item) for item in data] if isinstance(data, list) else data


@pytest.fixture
def files(run, tmp_path):
    """The HDF5 files of a run, to spoil."""
    for path in (run["output_dir"] / "set").glob("segmentation_0_*.h5"):
        shutil.copy(path, tmp_path)
    return tmp_path


def test_files_of_the_original_will_do(files):
    """They have the attributes of S1, but neither iterations nor the blur."""
    for path in files.glob("*.h5"):
        with h5py.File(path, "a") as file:
            for name in ("iterations", "converged", "blur_sigma"):
                del file["segmentations"].attrs[name]
    assert main([str(files), "-q"]) == 0
    data = data_of((files / "report.html").read_text())
    assert [w["iterations"] for w in data["workflows"]] == [None] * 6
    assert [w["mode"] for w in data["workflows"]][::2] == ["ffts", "gabor", "intensities"]


def test_a_border_that_the_original_labelled_does_not_count(run, files):
    """Where it exchanges the clusters, the original makes -1 into 1."""
    for path in files.glob("*.h5"):
        with h5py.File(path, "a") as file:
            labels = file["segmentations/semantic_segmentation"]
            labels[...] = np.where(labels[()] == -1, 1, labels[()])
    assert main([str(files), "-q"]) == 0
    ours = data_of((files / "report.html").read_text())
    theirs = data_of((run["output_dir"] / "set/report_0.html").read_text())
    assert without_places(ours["workflows"]) == without_places(theirs["workflows"])


def test_a_report_that_cannot_be_rebuilt_is_left_as_it_was(run, tmp_path, capsys):
    shutil.copytree(run["output_dir"] / "set", tmp_path / "set")
    with h5py.File(tmp_path / "set/segmentation_1_gabor_gmm.h5", "a") as file:
        for key in ("tomogram_path", "tomogram_as_given"):
            file["segmentations"].attrs[key] = "/gone/tomo.mrc"
        del file["segmentations"].attrs["tomogram_digest"]  # by which a copy would do
    before = {path: path.read_bytes() for path in (tmp_path / "set").iterdir()}
    assert main([str(tmp_path / "set")]) == 2
    assert {path: path.read_bytes() for path in (tmp_path / "set").iterdir()} == before


def spoil(name):
    def attribute(files, name, value, which="ffts_kmeans"):
        with h5py.File(files / f"segmentation_0_{which}.h5", "a") as file:
            file["segmentations"].attrs[name] = value

    def all_attributes(files, name, value):
        for path in files.iterdir():
            attribute(files, name, value, path.stem.removeprefix("segmentation_0_"))

    def cut(files):
        path = files / "segmentation_0_gabor_gmm.h5"
        path.write_bytes(path.read_bytes()[:3000])

    def strange(files):
        with h5py.File(files / "segmentation_0_gabor_gmm.h5", "w") as file:
            file["other"] = 1

    def moved(files):
        all_attributes(files, "tomogram_path", "/gone/tomo.mrc")
        all_attributes(files, "tomogram_as_given", "/gone/tomo.mrc")

    def elsewhere(files):
        all_attributes(files, "tomogram_path", "gone/tomo.mrc")
        all_attributes(files, "tomogram_as_given", "gone/tomo.mrc")

    def other(files):
        all_attributes(files, "tomogram_path", str(DATA / "hiv_vlp_40A.mrc"))

    def mixed(files):
        attribute(files, "tomogram_path", str(DATA / "hiv_vlp_40A.mrc"), "gabor_gmm")
        attribute(files, "tomogram_digest", "0" * 32, "gabor_gmm")

    def sized(files):
        attribute(files, "voxel_size", "None")

    def thin(files):
        attribute(files, "neighborhood_size", 1)

    def flat(files):
        with h5py.File(files / "segmentation_0_ffts_kmeans.h5", "a") as file:
            del file["segmentations/semantic_segmentation"]
            file["segmentations/semantic_segmentation"] = np.zeros((9, 9), np.int8)

    def bare(files):
        with h5py.File(files / "segmentation_0_ffts_kmeans.h5", "a") as file:
            del file["segmentations"].attrs["voxel_size"]

    def none(files):
        for path in files.iterdir():
            path.unlink()

    return locals()[name]


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("cut", ("segmentation_0_gabor_gmm.h5", "not an S1 segmentation")),
        ("strange", ("segmentation_0_gabor_gmm.h5", "contains no 3D dataset")),
        ("moved", ("/gone/tomo.mrc", "no such file")),
        ("elsewhere", ("gone/tomo.mrc", "no such file", "in which S1 was run")),
        ("mixed", ("segmentation_0_gabor_gmm.h5", "another tomogram")),
        ("thin", ("segmentation_0_ffts_kmeans.h5", "neighborhood_size 1")),
        ("flat", ("segmentation_0_ffts_kmeans.h5", "has 2 dimensions")),
        ("other", ("hiv_vlp_40A.mrc", "(101, 135, 135)", "(32, 50, 60)")),
        ("none", ("contains no segmentation_*.h5, .zarr or .mrc", "name output_dir/dataset_name")),
    ],
)
def test_what_cannot_be_rebuilt_is_named(files, capsys, fault, says):
    spoil(fault)(files)
    before = {path.name for path in files.iterdir()}
    assert main([str(files)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert all(words in line for words in says)
    assert {path.name for path in files.iterdir()} == before


@pytest.mark.parametrize("fault", ["sized", "bare"])
def test_a_voxel_size_that_a_file_lacks_is_that_of_the_tomogram(files, fault):
    spoil(fault)(files)
    assert main([str(files), "-q"]) == 0
    data = data_of((files / "report.html").read_text())
    assert len(data["workflows"]) == 6
    assert data["voxelSize"] == pytest.approx([13.48] * 3)


def test_no_directory_is_an_error(tmp_path, capsys):
    assert main([str(tmp_path / "none")]) == 2
    assert "no such directory" in capsys.readouterr().err


def test_rebuilding_as_a_user_does(files):
    command = [sys.executable, "-m", "picket_gpu.report", str(files)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.splitlines()[-1] == f"Report: {files / 'report.html'}"
    assert (files / "preview_0.png").exists()


@pytest.mark.parametrize("length", [np.nan, np.inf, -np.inf, -10.0, 0.0])
def test_a_voxel_size_that_makes_no_sense_is_unknown(tmp_path, length):
    with mrcfile.new(tmp_path / "a.mrc") as mrc:
        mrc.set_data(mrcfile.read(DATA / "phantom_a.mrc")[:, :30, :30])
        mrc.voxel_size = 10.0
        mrc.header.cella.x = length
    config = {
        "dataset_name": "set",
        "inputs": [{"tomogram": tmp_path / "a.mrc"}],
        "feature_extraction_params": [{"mode": "intensities"}],
        "output_dir": tmp_path,
        "device": "cpu",
    }
    run_s1(config, quiet=True)
    data = data_of((tmp_path / "set/report.html").read_text())
    assert data["voxelSize"] == [10.0, 10.0, 0.0]
    assert data["workflows"][0]["components"]["unit"] == "voxels"


def test_a_run_says_when_its_report_leaves_something_out(run, tmp_path, capsys):
    config = run | {"inputs": run["inputs"][:1], "output_dir": tmp_path}
    for mode, told in (("intensities", False), ("gabor", True)):
        run_s1(config | {"feature_extraction_params": [{"mode": mode}]})
        assert ("python -m picket_gpu.report" in capsys.readouterr().out) == told


def test_only_mrc_files_give_a_report_without_inputs_for_s2(run, tmp_path):
    run_s1(run | {"inputs": run["inputs"][:1], "output_dir": tmp_path, "save": ["mrc"]}, quiet=True)
    data = data_of((tmp_path / "set/report.html").read_text())
    assert [w["file"] for w in data["workflows"]] == [None] * 6
