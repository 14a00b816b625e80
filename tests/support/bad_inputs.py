"""Bad inputs, by name. Each breaks one thing in a directory where all is good."""

import bz2
import gzip
import io
import json
import os
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import h5py
import numpy as np
import tifffile
import yaml
import zarr

from picket_gpu.config.s1 import Copick, S1Config, TomogramInput
from picket_gpu.files.masks import Mask
from picket_gpu.method.features import FFTs, Gabor, Intensities
from picket_gpu.particles.settings import ParticleSettings
from tests.support.command_line import GABOR, GOOD, SHAPE, write_config, write_volume

Break: TypeAlias = Callable[[Path], object]


class Bad(NamedTuple):
    """A fault, what its message must hold, and whether it shows before the voxels are read."""

    make: Break
    says: tuple[str, ...]
    at_once: bool = True


def config(**changes: Any) -> Break:
    return lambda directory: write_config(directory, **changes)


def entry(**changes: Any) -> Break:
    return config(inputs=[{"tomogram": "tomo.mrc"} | changes])


def modes(*modes: Any) -> Break:
    return config(feature_extraction_params=list(modes))


def text(content: str | bytes) -> Break:
    data = content.encode() if isinstance(content, str) else content
    return lambda directory: (directory / "params.yaml").write_bytes(data)


def appended(lines: str) -> Break:
    def append(directory: Path) -> None:
        with (directory / "params.yaml").open("a") as file:
            file.write(lines)

    return append


def tomogram(content: bytes) -> Break:
    return lambda directory: (directory / "tomo.mrc").write_bytes(content)


def replaced(old: str, new: str) -> Break:
    """A part of the text of the good parameter file, which has it once, written otherwise."""
    good = yaml.safe_dump(GOOD, sort_keys=False)
    assert good.count(old) == 1
    return text(good.replace(old, new))


def link(name: str, to: str) -> Break:
    def replace(directory: Path) -> None:
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).unlink(missing_ok=True)
        (directory / name).symlink_to(to)

    return replace


def rewritten(change: Callable[[bytes], bytes], *breaks: Break) -> Break:
    """The bytes of the tomogram changed, after ``breaks``."""

    def write(directory: Path) -> None:
        for make in breaks:
            make(directory)
        path = directory / "tomo.mrc"
        path.write_bytes(change(path.read_bytes()))

    return write


def other(name: str, content: bytes) -> Break:
    """A tomogram in a format that its ending tells."""

    def write(directory: Path) -> None:
        (directory / name).write_bytes(content)
        write_config(directory, inputs=[{"tomogram": name}])

    return write


def npy(header: str) -> Break:
    start = b"\x93NUMPY\x01\0" + struct.pack("<H", 118)
    return other("tomo.npy", start + header.encode().ljust(117) + b"\n")


def array(data: np.ndarray) -> Break:
    buffer = io.BytesIO()
    np.save(buffer, data)
    return other("tomo.npy", buffer.getvalue())


def tiff(*parts: np.ndarray) -> Break:
    """A TIFF to which each part was appended."""

    def write(directory: Path) -> None:
        for part in parts:
            tifffile.imwrite(directory / "tomo.tif", part, append=True)
        entry(tomogram="tomo.tif")(directory)

    return write


def em(kind: int, size: int) -> Break:
    """An EM file of 3 x 4 x 5 voxels of a type, with so many bytes of them."""
    header = struct.pack("<4b3i", 6, 0, 0, kind, 5, 4, 3).ljust(512, b"\0")
    return other("tomo.em", header + bytes(size))


def images(number: int, **keys: Any) -> Break:
    """What bioformats2raw writes of a file with several images."""

    def write(directory: Path) -> None:
        group = zarr.create_group(directory / "tomo.zarr", zarr_format=2)
        group.attrs["bioformats2raw.layout"] = 3
        for image in range(number):
            group.create_group(str(image))
        entry(tomogram="tomo.zarr", **keys)(directory)

    return write


def cut(size: int) -> Break:
    """Only the first ``size`` bytes of the tomogram, or all but the last ``-size``."""

    def truncate(directory: Path) -> None:
        path = directory / "tomo.mrc"
        path.write_bytes(path.read_bytes()[:size])

    return truncate


def compressed_and_cut(directory: Path) -> None:
    path = directory / "tomo.mrc"
    path.write_bytes(gzip.compress(path.read_bytes())[:-999])


def pipe(directory: Path) -> None:
    (directory / "tomo.mrc").unlink()
    os.mkfifo(directory / "tomo.mrc")


def volumes(given: Any = "mask.mrc", *, mask: np.ndarray) -> Break:
    """A mask with these values, named by the key."""

    def write(directory: Path) -> None:
        write_volume(directory / "mask.mrc", mask)
        entry(mask=given)(directory)

    return write


def several_datasets(directory: Path, **choice: str) -> None:
    """A mask in a file with two datasets of three axes, and one of four."""
    with h5py.File(directory / "mask.h5", "w") as file:
        file["a"] = file["c"] = np.ones(SHAPE, "u1")
        file["b"] = np.ones((*SHAPE, 2), "u1")
    entry(mask={"file": "mask.h5", **choice})(directory)


def masked(shape: tuple[int, ...], **keys: Any) -> Break:
    """A mask of ``shape`` with one voxel in it, named by the keys of the tomogram."""

    def write(directory: Path) -> None:
        mask = np.zeros(shape, dtype=np.int8)
        mask[6, 7, 8] = 1
        write_volume(directory / "mask.mrc", mask)
        entry(**keys)(directory)

    return write


def patched(offset: int, code: str, *values: Any) -> Break:
    """``values`` written into the tomogram at ``offset`` bytes."""

    def patch(directory: Path) -> None:
        with (directory / "tomo.mrc").open("r+b") as file:
            file.seek(offset)
            file.write(struct.pack(code, *values))

    return patch


def several(*breaks: Break) -> Break:
    """One after the other."""

    def write(directory: Path) -> None:
        for one in breaks:
            one(directory)

    return write


def rewritten_as(name: str) -> Break:
    """A copy of the tomogram."""
    return lambda directory: (directory / name).write_bytes((directory / "tomo.mrc").read_bytes())


LOOP = "data_global\nloop_\n_rlnTomoReconstructedTomogram"


def star(content: str) -> Break:
    return lambda directory: (directory / "tomograms.star").write_text(content)


def unknown_size(**changes: Any) -> Break:
    """A tomogram whose header does not tell the voxel size."""

    def write(directory: Path) -> None:
        patched(40, "<f", 0.0)(directory)  # the cell's length on x
        write_config(directory, **changes)

    return write


def voxels(data: np.ndarray, **changes: Any) -> Break:
    """Another tomogram, by default without limits."""

    def write(directory: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # mrcfile tells of NaN
            write_volume(directory / "tomo.mrc", data)
        write_config(directory, **{"inputs": [{"tomogram": "tomo.mrc"}]} | changes)

    return write


def directory_instead(name: str) -> Break:
    def replace(directory: Path) -> None:
        (directory / name).unlink()
        (directory / name).mkdir()

    return replace


def file_at(name: str) -> Break:
    def write(directory: Path) -> None:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text("a file")

    return write


# Byte offsets in an MRC file.
NX, NY, NZ, MODE, MZ, MAPC, ISPG, NSYMBT, MAP, MACHST = 0, 4, 8, 12, 36, 64, 88, 92, 208, 212
DATA = 1024
GOOD_LINES = len(yaml.safe_dump(GOOD).splitlines())
RANDOM = np.random.default_rng(1).random((16, 16, 16), dtype=np.float32)
NEARLY_FLAT = np.zeros(SHAPE, dtype=np.float32)
NEARLY_FLAT[6, 7, 8] = 1e-45  # the least of float32, of which a blur leaves nothing
FLAT_TO_9 = np.where(np.arange(12)[:, None, None] < 9, 0, RANDOM[:12]).astype(np.float32)

GARBAGE = np.random.default_rng(2).bytes(100)


def exploding(first: str, item: str) -> str:
    """Nine of nine of nine, and so on: 387 million values in 400 bytes."""
    layers = [f"a0: &a0 {first}"]
    for number in range(1, 10):
        layers.append(f"a{number}: &a{number} " + item % ", ".join([f"*a{number - 1}"] * 9))
    return "\n".join(layers)


LISTS = exploding("[x, x, x, x, x, x, x, x, x]", "[%s]")
IN_BRACES = LISTS.replace("\n", ", ")
MERGES = exploding("{x: 1}", "{<<: [%s]}")
EXPLODES = "aliases expand to more than 100000 values; write them out"

PARAMETER_FILES = {
    "yaml missing": Bad(lambda d: (d / "params.yaml").unlink(), ("params.yaml", "no such file")),
    "yaml is a directory": Bad(directory_instead("params.yaml"), ("params.yaml",)),
    "yaml empty": Bad(text(""), ("params.yaml",)),
    "yaml of comments": Bad(text("# dataset_name: a\n"), ("params.yaml",)),
    "yaml malformed": Bad(text("dataset_name: a\ninputs: [{]\n"), ("params.yaml", "line 2")),
    "yaml with a tab": Bad(text("dataset_name:\n\t- a\n"), ("params.yaml", "line 2")),
    "yaml not text": Bad(text(b"\x89PNG\r\n\x1a\n\x00\xff"), ("params.yaml",)),
    "yaml a list": Bad(text("- dataset_name\n- inputs\n"), ("params.yaml",)),
    "yaml a word": Bad(text("dataset_name\n"), ("params.yaml",)),
    "yaml two documents": Bad(appended("---\nseed: 1\n"), ("params.yaml",)),
    "yaml with code": Bad(appended("seed: !!python/object/apply:os.getpid []\n"), ("params.yaml",)),
    "number without digits": Bad(appended("seed: 0x_\n"), ("params.yaml", "0x_")),
    "duplicate key": Bad(
        appended("dataset_name: again\n"),
        ("params.yaml", "dataset_name", "twice", f"line {GOOD_LINES + 1}"),
    ),
    "duplicate nested key": Bad(
        text(yaml.safe_dump(GOOD).replace("  tomogram: tomo.mrc", "  tomogram: a\n  tomogram: b")),
        ("params.yaml", "tomogram", "twice"),
    ),
    "key a number": Bad(appended("1: 2\n"), ("params.yaml", "1", "keys should be strings")),
    "unknown key": Bad(appended("colour: red\n"), ("colour", "known keys", "neighborhood_size")),
    "misspelled key": Bad(
        appended("neighbourhood_size: 5\n"),
        ("neighbourhood_size", "unknown key", "did you mean neighborhood_size?"),
    ),
    "misspelled limit": Bad(
        entry(lower_zslice_limit=3),
        ("lower_zslice_limit", "unknown key", "did you mean lower_z-slice_limit?"),
    ),
    "misspelled fft setting": Bad(
        modes({"mode": "ffts", "n_fft_subset": 3}),
        ("n_fft_subset", "unknown key", "did you mean n_fft_subsets?"),
    ),
    "misspelled gabor setting": Bad(
        modes({"mode": "gabor", "num_sinusoid": 3}),
        ("num_sinusoid", "unknown key", "did you mean num_sinusoids?"),
    ),
    "setting of another mode": Bad(
        modes({"mode": "intensities", "n_fft_subsets": 3}), ("n_fft_subsets", "unknown key")
    ),
    "limit under both its names": Bad(
        entry(**{"lower_z-slice_limit": 2, "lower_z_slice_limit": 3}), ("lower_z_slice_limit",)
    ),
    "no dataset_name": Bad(config(dataset_name=...), ("dataset_name", "missing")),
    "no inputs": Bad(config(inputs=...), ("inputs", "missing")),
    "no output_dir": Bad(config(output_dir=...), ("output_dir", "missing")),
    "no tomogram": Bad(config(inputs=[{}]), ("inputs[0].tomogram", "missing")),
    "two faults": Bad(config(seed=-1, device="tpu"), ("seed", "and 1 more")),
    "yaml a dangling link": Bad(
        link("params.yaml", "nowhere.yaml"), ("params.yaml", "no such file; name a YAML file")
    ),
    "yaml a link to itself": Bad(
        link("params.yaml", "params.yaml"), ("params.yaml", "cannot be read", "name a YAML file")
    ),
    "yaml /dev/null": Bad(link("params.yaml", "/dev/null"), ("params.yaml", "keys and values")),
    "yaml /dev/zero": Bad(
        link("params.yaml", "/dev/zero"), ("params.yaml", "larger than 4 MiB; name a YAML file")
    ),
    "yaml too large": Bad(text(b"#" * 2**22 + b"\n"), ("params.yaml", "larger than 4 MiB")),
    "yaml in UTF-16": Bad(
        text("dataset_name: set\n".encode("utf-16")), ("params.yaml", "save it as UTF-8")
    ),
    "yaml in Latin-1": Bad(
        text("dataset_name: \xe9\n".encode("latin-1")), ("params.yaml", "save it as UTF-8")
    ),
    "yaml with a null": Bad(
        appended("seed: \0\n"), ("params.yaml", f"line {GOOD_LINES + 1}", r"'\x00'", "remove it")
    ),
    "yaml with an escape code": Bad(
        appended("seed: \x1b[31m\n"), ("params.yaml", r"'\x1b'", "remove it")
    ),
    "yaml a piece of JSON": Bad(text('{"dataset_name": "a"'), ("params.yaml", "line 1")),
    "yaml under a title": Bad(
        text("s1:\n  dataset_name: set\n"), ("params.yaml", "s1", "unknown key")
    ),
    "brackets nested deep": Bad(
        text("inputs: " + "[" * 500 + "]" * 500), ("params.yaml", "nested too deeply")
    ),
    "indented deep": Bad(
        text("".join(" " * depth + "a:\n" for depth in range(500))),
        ("params.yaml", "nested too deeply"),
    ),
    "indented too far": Bad(appended("  seed: 1\n"), ("params.yaml", f"line {GOOD_LINES + 1}")),
    "quote left open": Bad(appended("seed: '1\n"), ("params.yaml", f"line {GOOD_LINES + 2}")),
    "an at sign": Bad(appended("seed: @1\n"), ("params.yaml", "'@'")),
    "a percent sign": Bad(appended("%seed\n"), ("params.yaml", "line")),
    "aliases that explode": Bad(appended(LISTS + "\n"), ("params.yaml", EXPLODES)),
    "aliases that explode unseen": Bad(
        replaced("tomogram: tomo.mrc", f"tomogram: tomo.mrc\n  storage_options: {{{IN_BRACES}}}"),
        ("params.yaml", EXPLODES),
    ),
    "merges that explode": Bad(appended(MERGES + "\n"), ("params.yaml", EXPLODES)),
    "anchor inside itself": Bad(
        appended("copick: &a {directory: *a}\n"), ("params.yaml", "contains itself; write")
    ),
    "anchor around all": Bad(text("&a\ninputs: *a\n"), ("params.yaml", "contains itself")),
    "alias of nothing": Bad(appended("seed: *nothing\n"), ("params.yaml", "'nothing'")),
    "anchor twice": Bad(
        appended("seed: &a 1\nscores: &a true\n"), ("params.yaml", f"line {GOOD_LINES + 2}")
    ),
    "tag for no boolean": Bad(appended("scores: !!bool maybe\n"), ("maybe is not a valid bool",)),
    "tag for no integer": Bad(appended("seed: !!int ''\n"), ("is not a valid int",)),
    "tag for no float": Bad(appended("blur_sigma: !!float ''\n"), ("is not a valid float",)),
    "tag for no date": Bad(
        appended("seed: !!timestamp today\n"), ("today is not a valid timestamp",)
    ),
    "tag for two lines": Bad(appended('seed: !!int "a\\nb"\n'), (r"a\nb is not a valid int",)),
    "tag of bytes": Bad(appended("precision: !!binary aGk=\n"), ("precision", "b'hi'")),
    "tag of a set": Bad(appended("seed: !!set {a}\n"), ("seed", "{'a'}")),
    "tag of pairs": Bad(appended("copick: !!pairs [a: 1]\n"), ("copick", "keys and values")),
    "tag unknown": Bad(appended("seed: !mine 1\n"), ("params.yaml", "'!mine'")),
    "tag with an escape code": Bad(appended("seed: !a%1B 1\n"), ("params.yaml", r"\x1b")),
    "escape for no character": Bad(
        appended(r'name: "\U00110000"'), ("params.yaml", "an escape or number is out of range")
    ),
    "escape beyond 32 bits": Bad(
        appended(r'name: "\Ue0040000"'), ("params.yaml", "an escape or number is out of range")
    ),
    "version of 5000 digits": Bad(
        text(f"%YAML {'1' * 5000}.1\n---\n"), ("params.yaml: is not valid YAML: line 1", "range")
    ),
    "integer of 5000 digits": Bad(appended(f"seed: {'9' * 5000}\n"), ("999 is not a valid int",)),
    "integer of 4000 digits": Bad(
        appended(f"seed: {'9' * 4000}\n"), ("999 is too large a number",)
    ),
    "integer of 9000 hexadecimal digits": Bad(
        appended(f"seed: 0x{'f' * 9000}\n"), ("ffff is too large a number",)
    ),
    "mode of 9000 hexadecimal digits": Bad(
        text(f"feature_extraction_params: [{{mode: 0x{'f' * 9000}}}]\n"),
        ("ffff is too large a number",),
    ),
    "key of 9000 hexadecimal digits": Bad(
        text(f"? 0x{'f' * 9000}\n: 1\n"), ("ffff is too large a number",)
    ),
    "limit of 9000 hexadecimal digits": Bad(
        replaced("slice_limit: 2", f"slice_limit: 0x{'f' * 9000}"),
        ("ffff is too large a number",),
    ),
    "float beyond floats": Bad(
        appended(f"blur_sigma: 1{':0' * 300}.5\n"), ("is not a valid float",)
    ),
    "key of two lines": Bad(appended('"a\\nb": 1\n'), ("params.yaml", "unknown key")),
    "key of two lines twice": Bad(appended('"a\\nb": 1\n' * 2), (r"the key a\nb appears twice",)),
    "key half a character": Bad(appended(r'"\ud800": 1'), ("params.yaml", r"'\ud800'")),
    "key of 9000 letters": Bad(appended(f"? {'k' * 9000}\n: 1\n"), ("kkk…: unknown key",)),
    "5000 unknown keys": Bad(
        appended("".join(f"k{number}: 1\n" for number in range(5000))), ("k0", "unknown key")
    ),
}

VALUES = {
    "a required key that is misspelled": Bad(
        config(particles={"diametre": 60.0}), ("particles.diametre", "did you mean diameter")
    ),
    "particles without a diameter": Bad(
        config(particles={"threshold": 0.5}), ("particles.diameter", "is missing")
    ),
    "particles of a misspelled key": Bad(
        config(particles={"diameter": 60.0, "workflow": ["gabor-gmm"]}),
        ("particles.workflow", "did you mean workflows"),
    ),
    "particles of a workflow that is not run": Bad(
        config(
            particles={"diameter": 60.0, "workflows": ["gabor-gmm"]}, clustering_methods=["kmeans"]
        ),
        ("particles.workflows", "gabor-gmm is not among the workflows", "gabor-kmeans"),
    ),
    "particles of one workflow twice": Bad(
        config(particles={"diameter": 60.0, "workflows": ["gabor-gmm", "gabor-gmm"]}),
        ("particles.workflows", "gabor-gmm appears twice"),
    ),
    "particles several without names": Bad(
        config(particles=[{"diameter": 60.0}, {"diameter": 80.0, "name": "rods"}]),
        ("particles[0].name", "needs a name of its own"),
    ),
    "particles several of one name": Bad(
        config(particles=[{"diameter": 60.0, "name": "rods"}, {"diameter": 80.0, "name": "rods"}]),
        ("particles[1].name", "needs a name of its own"),
    ),
    "particles no list of settings": Bad(config(particles=[]), ("particles", "empty")),
    "particles a list with a misspelled key": Bad(
        config(particles=[{"diameter": 60.0, "name": "rods"}, {"diametre": 60.0}]),
        ("particles[1].diametre", "did you mean diameter"),
    ),
    "particles a list with a wrong value": Bad(
        config(particles=[{"diameter": 60.0, "name": "rods", "threshold": "high"}]),
        ("particles[0].threshold", "auto, dataset or a number", "high"),
    ),
    "particles not in later ones": Bad(
        config(
            particles=[
                {"diameter": 60.0, "name": "rods", "not_in": ["shells"]},
                {"diameter": 80.0, "name": "shells"},
            ]
        ),
        ("particles[0].not_in", "shells is not the name of an entry before"),
    ),
    "particles not in unknown ones": Bad(
        config(particles={"diameter": 60.0, "not_in": "shells"}),
        ("particles.not_in", "shells is not the name of an entry before"),
    ),
    "particles of a height below the threshold": Bad(
        config(particles={"diameter": 60.0, "threshold": 0.5, "max_height": 0.4}),
        ("particles", "max_height: must be 0.5, the threshold, or more"),
    ),
    "particles of a radius of nothing": Bad(
        config(particles={"diameter": 60.0, "exclude_radius": 50.0}),
        ("particles", "exclude_radius: has no effect without exclude"),
    ),
    "particles of labels by a threshold of the dataset": Bad(
        config(particles={"diameter": 60.0, "method": "components", "threshold": "dataset"}),
        ("particles", "threshold: must be auto or a number"),
    ),
    "particles beside points that are missing": Bad(
        config(particles={"diameter": 60.0, "exclude": "beads.csv"}),
        ("exclude: beads.csv: no such file", "correct the path"),
    ),
    "particles beside points of a tomogram that are missing": Bad(
        config(particles={"diameter": 60.0, "exclude": "{name}_{index}.csv"}),
        ("exclude: tomo_0.csv: no such file", "tomo.mrc"),
    ),
    "particles in a mask that is missing": Bad(
        config(particles={"diameter": 60.0, "exclude_mask": "{name}_no.mrc"}),
        ("tomo_no.mrc", "no such file"),
    ),
    "particles in a mask of another shape": Bad(
        lambda directory: (
            write_volume(directory / "small.mrc", np.zeros((3, 3, 3), np.int8)),
            write_config(directory, particles={"diameter": 60.0, "exclude_mask": "small.mrc"}),
        ),
        ("small.mrc", "3"),
    ),
    "particles of less than two voxels": Bad(
        config(particles={"diameter": 19.9}), ("particles.diameter", "20 to 160", "19.9")
    ),
    "particles larger than the volume": Bad(
        config(particles={"diameter": 161.0}), ("particles.diameter", "20 to 160", "161")
    ),
    "particles of scores that nothing keeps": Bad(
        config(particles={"diameter": 60.0}, save=["copick"]), ("particles", "add hdf5")
    ),
    "dataset_name empty": Bad(config(dataset_name=""), ("dataset_name",)),
    "dataset_name with slash": Bad(config(dataset_name="a/b"), ("dataset_name", "a/b")),
    "dataset_name absolute": Bad(config(dataset_name="/a"), ("dataset_name", "/a")),
    "dataset_name dots": Bad(config(dataset_name=".."), ("dataset_name", "..")),
    "dataset_name too long": Bad(config(dataset_name="x" * 300), ("x" * 300, "too long")),
    "dataset_name with backslash": Bad(
        config(dataset_name="..\\a"), ("dataset_name", "without slashes")
    ),
    "dataset_name of two lines": Bad(
        config(dataset_name="a\nb"), ("dataset_name", "on one line", r"'a\nb'")
    ),
    "outside of nothing": Bad(
        entry(outside_is_padding=True), ("outside_is_padding", "mask or z-slice limits")
    ),
    "a pattern that matches nothing": Bad(
        entry(tomogram="none*.mrc"), ("inputs[0].tomogram", "none*.mrc matches no file")
    ),
    "a pattern of 300 letters": Bad(
        entry(tomogram=f"{'a' * 300}*.mrc"), ("inputs[0].tomogram", "*.mrc matches no file")
    ),
    "a name for several": Bad(
        several(rewritten_as("a1.mrc"), rewritten_as("a2.mrc"), entry(tomogram="a?.mrc", name="a")),
        ("inputs[0].name", "a would name 2 tomograms"),
    ),
    "a star file that is none": Bad(
        several(star("nothing\n"), entry(tomogram="tomograms.star")),
        ("tomograms.star", "_rlnTomoReconstructedTomogram"),
    ),
    "a star file of halves": Bad(
        several(star(f"{LOOP}Half1\ntomo.mrc\n"), entry(tomogram="tomograms.star")),
        ("tomograms.star", "only half tomograms", "_rlnTomoReconstructedTomogramHalf1", "denoise"),
    ),
    "a star file of no rows": Bad(
        several(star(f"{LOOP}\n"), entry(tomogram="tomograms.star")),
        ("tomograms.star", "lists no tomogram"),
    ),
    "a star file of a row too long": Bad(
        several(star(f"{LOOP}\ntomo.mrc\na b.mrc\n"), entry(tomogram="tomograms.star")),
        ("tomograms.star", "row 2 has 2 values for 1 columns"),
    ),
    "a star file of a name too long": Bad(
        several(
            star(f"{LOOP}\n_rlnTomoName\ntomo.mrc {'a' * 201}\n"), entry(tomogram="tomograms.star")
        ),
        ("tomograms.star", "name", "too long"),
    ),
    "a star file that is an MRC file": Bad(
        several(rewritten_as("tomograms.star"), entry(tomogram="tomograms.star")),
        ("tomograms.star", "cannot be read as a STAR file", "not UTF-8 text"),
    ),
    "a name for all of a star file": Bad(
        several(star(f"{LOOP}\ntomo.mrc\ntomo.mrc\n"), entry(tomogram="tomograms.star", name="a")),
        ("inputs[0].name", "a would name 2 tomograms"),
    ),
    "no star file": Bad(
        entry(tomogram="tomograms.star"), ("tomograms.star", "No such file or directory")
    ),
    "a template of a wildcard that is not there": Bad(
        entry(tomogram="t*.mrc", name="{2}"),
        ("inputs[0].name", "{2} is unknown for tomo.mrc; use {1}, {stem} or {parent}"),
    ),
    "a template of one file": Bad(
        entry(name="TS_{1}"), ("inputs[0].name", "{1} is unknown for tomo.mrc; use {stem} or")
    ),
    "a template that makes nothing": Bad(
        entry(tomogram="tomo*.mrc", name="{1}"),
        ("inputs[0].name", "{1} is empty for tomo.mrc; use another template"),
    ),
    "two tomograms of one name, picked": Bad(
        several(
            rewritten_as("tomo.rec"),
            config(
                inputs=[{"tomogram": "tomo.mrc"}, {"tomogram": "tomo.rec"}],
                particles={"diameter": 60.0},
            ),
        ),
        ("inputs[1].name", "tomo.mrc and tomo.rec are both called tomo; give each its own name"),
    ),
    "a name that no star file can hold": Bad(
        config(inputs=[{"tomogram": "tomo.mrc", "name": "a  b"}], particles={"diameter": 60.0}),
        ("inputs[0].name", "'a  b' has two spaces in a row", "set another name for tomo.mrc"),
    ),
    "a star file of nothing but N/A": Bad(
        several(star(f"{LOOP}\nN/A\n"), entry(tomogram="tomograms.star")),
        ("tomograms.star: row 1 has no tomogram (N/A in rlnTomoReconstructedTomogram)", "RELION"),
    ),
    "a star file of files that are gone": Bad(
        several(
            star(f"{LOOP}\ngone/a.mrc\n"),
            entry(tomogram="tomograms.star"),
        ),
        ("tomograms.star", "gone/a.mrc", "RELION's project directory"),
    ),
    "dataset_name with an escape code": Bad(
        config(dataset_name="a\x1bb"), ("dataset_name", "printable", r"'a\x1bb'")
    ),
    "dataset_name of 400 bytes": Bad(
        config(dataset_name="\xe9" * 200), ("dataset_name", "is too long")
    ),
    "dataset_name half a character": Bad(
        replaced("dataset_name: set", r'dataset_name: "\ud800"'), ("dataset_name", r"'\ud800'")
    ),
    "dataset_name nothing": Bad(config(dataset_name=None), ("dataset_name", "None")),
    "inputs nothing": Bad(config(inputs=None), ("inputs", "must be a list in brackets")),
    "entry nothing": Bad(config(inputs=[None]), ("inputs[0]", "keys and values in braces")),
    "entry a list": Bad(
        config(inputs=[[{"tomogram": "tomo.mrc"}]]), ("inputs[0]", "keys and values in braces")
    ),
    "5000 entries of numbers": Bad(config(inputs=[1] * 5000), ("inputs[0]", "and 4999 more")),
    "entry twice": Bad(
        config(inputs=[{"tomogram": "tomo.mrc"}] * 2),
        ("inputs", "tomo.mrc has the same settings in [0] and in [1]; remove one"),
    ),
    "entry twice in other words": Bad(
        config(
            inputs=[
                {"tomogram": "tomo.mrc", "lower_z-slice_limit": 2},
                {"tomogram": "tomo.mrc"},
                {"tomogram": "./tomo.mrc", "lower_z_slice_limit": 2, "mask": None},
            ]
        ),
        ("inputs", "same settings in [0] and in [2]"),
    ),
    "modes nothing": Bad(
        config(feature_extraction_params=None), ("feature_extraction_params", "a list")
    ),
    "inputs empty": Bad(config(inputs=[]), ("inputs",)),
    "modes empty": Bad(modes(), ("feature_extraction_params",)),
    "methods empty": Bad(config(clustering_methods=[]), ("clustering_methods",)),
    "save empty": Bad(config(save=[]), ("save",)),
    "size even": Bad(config(neighborhood_size=4), ("neighborhood_size", "odd", "4")),
    "size 1": Bad(config(neighborhood_size=1), ("neighborhood_size", "3 or more", "1")),
    "size negative": Bad(config(neighborhood_size=-3), ("neighborhood_size", "-3")),
    "size above z": Bad(
        voxels(RANDOM[:4], neighborhood_size=5), ("tomo.mrc", "4 z-slices", "neighborhood_size 5")
    ),
    "size above y": Bad(
        voxels(RANDOM[:, :4], neighborhood_size=5), ("tomo.mrc", "4 x 16", "neighborhood_size 5")
    ),
    "room for one neighborhood": Bad(
        voxels(RANDOM[:3, :3, :3]), ("tomo.mrc", "room for one neighborhood")
    ),
    "size far above the volume": Bad(
        config(neighborhood_size=2**31 + 1), ("tomo.mrc", "neighborhood_size 2147483649")
    ),
    "size beyond 64 bits": Bad(
        config(neighborhood_size=10**30 + 1), ("neighborhood_size", "00001")
    ),
    "limit far outside": Bad(
        entry(**{"lower_z-slice_limit": 10**15}), ("tomo.mrc", "lower_z-slice_limit 1000")
    ),
    "limit beyond 64 bits": Bad(
        entry(**{"lower_z-slice_limit": 10**30}), ("inputs[0].lower_z-slice_limit", "000")
    ),
    "limits crossed": Bad(
        entry(**{"lower_z-slice_limit": 9, "upper_z-slice_limit": 2}),
        ("inputs[0]", "lower_z-slice_limit 9", "upper_z-slice_limit 2"),
    ),
    "limits equal": Bad(
        entry(**{"lower_z-slice_limit": 5, "upper_z-slice_limit": 5}),
        ("lower_z-slice_limit 5", "upper_z-slice_limit 5"),
    ),
    "lower limit negative": Bad(
        entry(**{"lower_z-slice_limit": -1}), ("inputs[0].lower_z-slice_limit", "-1")
    ),
    "upper limit negative": Bad(
        entry(**{"upper_z-slice_limit": -1}), ("inputs[0].upper_z-slice_limit", "-1")
    ),
    "lower limit outside": Bad(
        entry(**{"lower_z-slice_limit": 13}), ("tomo.mrc", "lower_z-slice_limit 13", "0 to 12")
    ),
    "upper limit outside": Bad(
        entry(**{"upper_z-slice_limit": 13}), ("tomo.mrc", "upper_z-slice_limit 13", "0 to 12")
    ),
    "prediction beyond the end": Bad(
        entry(**{"prediction_upper_z-slice_limit": 13}),
        ("tomo.mrc", "prediction_upper_z-slice_limit 13", "0 to 12"),
    ),
    "prediction limits crossed": Bad(
        entry(**{"prediction_lower_z-slice_limit": 8, "prediction_upper_z-slice_limit": 8}),
        ("inputs[0]", "prediction_lower_z-slice_limit 8 must be below"),
    ),
    "mask missing": Bad(entry(mask="mask.mrc"), ("mask.mrc", "no such file")),
    "mask of another shape": Bad(
        masked((12, 14, 15), mask="mask.mrc"), ("mask.mrc", "(12, 14, 15)", "(12, 14, 16)")
    ),
    "mask of one window": Bad(
        masked((12, 14, 16), mask_for_fitting="mask.mrc"),
        ("tomo.mrc", "in the mask (1,"),
    ),
    "mask outside the prediction": Bad(
        masked((12, 14, 16), mask_for_output="mask.mrc", **{"prediction_upper_z-slice_limit": 5}),
        ("mask.mrc", "no voxel"),
    ),
    "mask twice": Bad(
        entry(mask="mask.mrc", mask_for_output="mask.mrc"), ("inputs[0]", "mask_for_fitting")
    ),
    "mask empty": Bad(entry(mask=""), ("inputs[0].mask", "must not be empty")),
    "mask of nothing": Bad(
        volumes(mask=np.zeros(SHAPE, "i1")), ("mask.mrc", "the mask is empty (value 0,")
    ),
    "mask without the label": Bad(
        volumes({"file": "mask.mrc", "labels": [7]}, mask=np.ones(SHAPE, "i1")),
        ("mask.mrc", "empty where mask.mrc is 7 (value 1)"),
    ),
    "mask of several datasets": Bad(
        several_datasets, ("mask.h5: contains 2 3D datasets", "mask: {file: mask.h5, dataset: a}")
    ),
    "mask of four axes": Bad(
        lambda directory: several_datasets(directory, dataset="b"),
        ("mask.h5: has 4 dimensions", "a mask has 3 (z, y, x)"),
    ),
    "mask a pattern": Bad(
        entry(mask="masks/*.mrc"), ("inputs[0].mask: masks/*.mrc is a pattern", "{name}")
    ),
    "mask of an unknown name": Bad(
        entry(mask="masks/{series}.mrc"), ("{series} in masks/{series}.mrc stands for nothing",)
    ),
    "mask of a template missing": Bad(
        entry(mask="masks/{name}.mrc"), ("masks/tomo.mrc: no such file; check the mask's path",)
    ),
    "mask of a misspelled key": Bad(
        entry(mask={"file": "mask.mrc", "label": 1}), ("mask.label: unknown key", "mean labels?")
    ),
    "mask chosen twice": Bad(
        entry(mask={"file": "mask.mrc", "labels": 1, "above": 2.0}),
        ("inputs[0].mask", "labels, without and above exclude each other"),
    ),
    "level of an MRC": Bad(
        entry(level=0), ("tomo.mrc", "level applies to OME-Zarr only; remove it")
    ),
    "dataset of an MRC": Bad(
        entry(dataset="data"), ("tomo.mrc", "dataset applies to HDF5 and Zarr only; remove it")
    ),
    "level and dataset": Bad(
        entry(level=0, dataset="0"), ("inputs[0]", "select an array; remove one")
    ),
    "name of two lines": Bad(entry(name="a\nb"), ("inputs[0].name", "on one line")),
    "voxel_size zero": Bad(entry(voxel_size=0), ("inputs[0].voxel_size",)),
    "voxel_size infinite": Bad(entry(voxel_size=float("inf")), ("inputs[0].voxel_size",)),
    "voxel_size nan": Bad(entry(voxel_size=float("nan")), ("inputs[0].voxel_size", "nan")),
    "voxel_size negative": Bad(entry(voxel_size=-1.0), ("inputs[0].voxel_size", "-1.0")),
    "voxel_size of two axes": Bad(entry(voxel_size=[1.0, 1.0]), ("inputs[0].voxel_size[2]",)),
    "voxel_size 1e-320": Bad(entry(voxel_size=1e-320), ("inputs[0].voxel_size", "1e-320")),
    "voxel_size of 300 digits": Bad(entry(voxel_size=10**300), ("inputs[0].voxel_size", "000")),
    "storage_options by number": Bad(
        entry(storage_options={1: 2}), ("inputs[0].storage_options", "must be text (got 1)")
    ),
    "url of no protocol": Bad(entry(tomogram="gopher://a/b.zarr"), ("gopher://a/b.zarr", "gopher")),
    "url malformed": Bad(entry(tomogram="http://[a/b.zarr"), ("inputs[0].tomogram", "IPv6")),
    "copick user with an underscore": Bad(config(copick={"user": "a_b"}), ("copick.user", "a_b")),
    "copick session without the mode": Bad(
        config(copick={"session": "{method}"}), ("copick.session", "{mode}")
    ),
    "copick without a voxel size": Bad(unknown_size(save=["copick"]), ("tomo.mrc", "voxel_size")),
    "copick run of another alphabet": Bad(
        config(save=["copick"], inputs=[{"tomogram": "tomo.mrc", "name": "a b"}]),
        ("inputs[0].name", "'a b'"),
    ),
    "copick run twice": Bad(
        config(save=["copick"], inputs=[{"tomogram": "tomo.mrc"}, {"tomogram": "more/tomo.rec"}]),
        ("inputs[1].name", "tomo.mrc and more/tomo.rec are both called tomo"),
    ),
    "prediction in the border": Bad(
        entry(**{"prediction_lower_z-slice_limit": 11}),
        ("tomo.mrc", "prediction_lower_z-slice_limit 11", "use 1 to 11"),
    ),
    "prediction of nothing": Bad(
        entry(**{"prediction_upper_z-slice_limit": 0}),
        ("tomo.mrc", "prediction_upper_z-slice_limit 0", "use 1 to 11"),
    ),
    "password in a url": Bad(
        entry(tomogram="https://user:hunter2@a/b.zarr"), ("inputs[0].tomogram", "storage_options")
    ),
    "file url without a path": Bad(
        entry(tomogram="file://tomo.mrc"), ("inputs[0].tomogram", "absolute path")
    ),
    "section thin": Bad(
        entry(**{"lower_z-slice_limit": 6, "upper_z-slice_limit": 8}),
        ("tomo.mrc", "6 to 8", "lower_z-slice_limit", "upper_z-slice_limit"),
    ),
    "section thin at the end": Bad(entry(**{"lower_z-slice_limit": 11}), ("tomo.mrc", "11 to 12")),
    "cap 0": Bad(
        config(max_num_neighborhoods_for_fitting=0), ("max_num_neighborhoods_for_fitting", "0")
    ),
    "cap 1": Bad(
        config(max_num_neighborhoods_for_fitting=1), ("max_num_neighborhoods_for_fitting", "1")
    ),
    "cap beyond 64 bits": Bad(
        config(max_num_neighborhoods_for_fitting=10**30),
        ("max_num_neighborhoods_for_fitting", "000"),
    ),
    "mode in capitals": Bad(modes({"mode": "FFTS"}), ("feature_extraction_params[0].mode", "FFTS")),
    "mode nothing": Bad(modes({"mode": None}), ("feature_extraction_params[0].mode", "None")),
    "mode a list": Bad(modes({"mode": ["ffts"]}), ("feature_extraction_params[0].mode", "ffts")),
    "modes nested": Bad(modes([{"mode": "ffts"}]), ("feature_extraction_params[0]", "in braces")),
    "n_fft_subsets beyond 64 bits": Bad(
        modes({"mode": "ffts", "n_fft_subsets": 10**30}), ("n_fft_subsets", "000")
    ),
    "num_neighborhoods_subsets beyond 64 bits": Bad(
        modes(GABOR | {"num_neighborhoods_subsets": 10**30}), ("num_neighborhoods_subsets", "000")
    ),
    "num_parallel_filters beyond 64 bits": Bad(
        modes(GABOR | {"num_parallel_filters": 10**30}), ("num_parallel_filters", "000")
    ),
    "a bank of 10**27 filters": Bad(
        modes(GABOR | {"num_sinusoids": 10**9}), ("num_sinusoids", "100", "1000000000")
    ),
    "mode unknown": Bad(
        modes({"mode": "wavelets"}),
        ("feature_extraction_params[0]", "mode", "wavelets", "ffts", "gabor", "intensities"),
    ),
    "mode missing": Bad(
        modes({"n_fft_subsets": 3}), ("feature_extraction_params[0]", "mode", "missing")
    ),
    "mode twice": Bad(
        modes({"mode": "ffts"}, {"mode": "ffts", "n_fft_subsets": 3}),
        ("feature_extraction_params", "ffts", "twice"),
    ),
    "n_fft_subsets 0": Bad(
        modes({"mode": "ffts", "n_fft_subsets": 0}),
        ("feature_extraction_params[0]", "n_fft_subsets"),
    ),
    "num_sinusoids 0": Bad(modes(GABOR | {"num_sinusoids": 0}), ("num_sinusoids", "0")),
    "num_neighborhoods_subsets 0": Bad(
        modes(GABOR | {"num_neighborhoods_subsets": 0}), ("num_neighborhoods_subsets", "0")
    ),
    "num_parallel_filters 0": Bad(
        modes(GABOR | {"num_parallel_filters": 0}), ("num_parallel_filters", "0")
    ),
    "num_output_features 0": Bad(
        modes(GABOR | {"num_output_features": 0}), ("num_output_features", "0")
    ),
    "more features than filters": Bad(
        modes(GABOR | {"num_sinusoids": 2, "num_output_features": 9}),
        ("feature_extraction_params[0]", "num_output_features is 9", "use 8 or fewer"),
    ),
    "method unknown": Bad(
        config(clustering_methods=["kmeans", "dbscan"]),
        ("clustering_methods[1]", "dbscan", "'kmeans' or 'gmm'"),
    ),
    "method twice": Bad(
        config(clustering_methods=["gmm", "gmm"]), ("clustering_methods", "gmm", "twice")
    ),
    "device unknown": Bad(config(device="cuda"), ("device", "cuda", "'auto', 'cpu', 'gpu'")),
    "device negative": Bad(config(device="gpu:-1"), ("device", "'gpu:N'")),
    "device of 5000 digits": Bad(config(device="gpu:" + "9" * 5000), ("device", "'gpu:N'", "999…")),
    "device without a number": Bad(config(device="gpu:"), ("device", "gpu:", "'gpu:N'")),
    "engine unknown": Bad(
        config(kmeans_engine="faiss"), ("kmeans_engine", "faiss", "'auto', 'cuml' or 'native'")
    ),
    "engine that needs a GPU": Bad(
        config(kmeans_engine="cuml"), ("kmeans_engine: cuml needs a GPU", "auto or native")
    ),
    "precision unknown": Bad(
        config(precision="float16"), ("precision", "float16", "'float32' or 'tf32'")
    ),
    "save unknown": Bad(
        config(save=["tiff"]), ("save[0]", "tiff", "'hdf5', 'mrc', 'zarr' or 'copick'")
    ),
    "save twice": Bad(config(save=["mrc", "mrc"]), ("save", "mrc", "twice")),
    "seed negative": Bad(config(seed=-1), ("seed", "-1")),
    "seed of 64 bits": Bad(config(seed=2**63), ("seed", str(2**63))),
    "memory_budget too small": Bad(
        config(memory_budget="1 MiB"), ("memory_budget", "1 MiB", "12 x 14 x 16", "needs")
    ),
    "memory_budget nonsense": Bad(config(memory_budget="lots"), ("memory_budget", "lots")),
    "memory_budget unknown unit": Bad(
        config(memory_budget="4 floppies"), ("memory_budget", "4 floppies")
    ),
    "memory_budget negative": Bad(config(memory_budget=-1), ("memory_budget", "-1")),
    "memory_budget nothing": Bad(config(memory_budget=""), ("memory_budget", "12 GiB")),
    "memory_budget 0": Bad(config(memory_budget="0 GiB"), ("memory_budget", "needs")),
    "memory_budget nan": Bad(config(memory_budget="nan GiB"), ("memory_budget", "nan GiB")),
    "memory_budget infinite": Bad(config(memory_budget=float("inf")), ("memory_budget", "inf")),
    "memory_budget of 400 digits": Bad(
        config(memory_budget="1" + "0" * 400 + " GiB"), ("memory_budget", "12 GiB", "000…")
    ),
    "blur_sigma of 300 digits": Bad(config(blur_sigma=10**300), ("blur_sigma", "100", "000")),
    "blur_sigma above 100": Bad(config(blur_sigma=1e9), ("blur_sigma", "100")),
    "blur_sigma negative": Bad(config(blur_sigma=-0.5), ("blur_sigma", "-0.5")),
    "blur_sigma nan": Bad(config(blur_sigma=float("nan")), ("blur_sigma", "nan")),
    "blur_sigma infinite": Bad(config(blur_sigma=float("inf")), ("blur_sigma", "inf")),
    "output_dir a file": Bad(file_at("out"), ("output_dir", "out")),
    "output_dir below a file": Bad(
        config(output_dir="tomo.mrc/out"), ("output_dir", "tomo.mrc/out")
    ),
    "output_dir a device": Bad(
        config(output_dir="/dev/null"), ("output_dir: /dev/null/set", "choose another")
    ),
    "output_dir a dangling link": Bad(
        link("out", "nowhere"), ("output_dir: out/set", "out is a dangling link; choose another")
    ),
    "output_dir a link to itself": Bad(link("out", "out"), ("output_dir: out/set", "symbolic")),
    "dataset directory a dangling link": Bad(
        link("out/set", "nowhere"), ("output_dir", "out/set is a dangling link")
    ),
    "output_dir of 4000 letters": Bad(
        config(output_dir="x" * 4000), ("output_dir: xxx", "name too long", "choose another")
    ),
    "output_dir of 6000 letters": Bad(
        config(output_dir="/".join(["x" * 99] * 60)), ("output_dir: xxx", "name too long")
    ),
    "output_dir with a null": Bad(config(output_dir="a\0"), ("output_dir", "null character")),
    "output_dir half a character": Bad(
        replaced("output_dir: out", r'output_dir: "\ud800"'), ("output_dir", "UTF-8")
    ),
    "dataset directory a file": Bad(file_at("out/set"), ("output_dir", "out/set")),
}

PATHS = {
    "tomogram a dangling link": Bad(
        link("tomo.mrc", "nowhere.mrc"), ("tomo.mrc", "no such file; check the tomogram's path")
    ),
    "tomogram a link to itself": Bad(
        link("tomo.mrc", "tomo.mrc"), ("tomo.mrc", "cannot be read", "check the tomogram's path")
    ),
    "tomogram below a file": Bad(
        entry(tomogram="tomo.mrc/a.mrc"), ("tomo.mrc/a.mrc", "no such file; check")
    ),
    "tomogram one up": Bad(entry(tomogram="../tomo.mrc"), ("../tomo.mrc", "no such file; check")),
    "tomogram the root": Bad(
        entry(tomogram="/"), ("/: directory is not a Zarr", "the path of a volume")
    ),
    "tomogram /dev/null": Bad(entry(tomogram="/dev/null"), ("/dev/null", "the path of a volume")),
    "tomogram /dev/zero": Bad(entry(tomogram="/dev/zero"), ("/dev/zero", "the path of a volume")),
    "mask /dev/zero": Bad(entry(mask="/dev/zero"), ("/dev/zero", "is not a regular file")),
    "tomogram of 4000 letters": Bad(
        entry(tomogram="x" * 4000), ("xxx", "name too long); check the tomogram's path")
    ),
    "tomogram of 6000 letters": Bad(
        entry(tomogram="/".join(["x" * 99] * 60)), ("xxx", "name too long); check")
    ),
    "mask of 4000 letters": Bad(entry(mask="x" * 4000), ("xxx", "name too long")),
    "tomogram of two lines": Bad(entry(tomogram="a\nb.mrc"), (r"a\nb.mrc: no such file",)),
    "tomogram with an escape code": Bad(
        entry(tomogram="a\x1b[31m.mrc"), (r"a\x1b[31m.mrc: no such file",)
    ),
    "tomogram with spaces": Bad(entry(tomogram=" a  b "), (" a  b : no such file",)),
    "tomogram with quotes": Bad(entry(tomogram="a'\"b"), ("a'\"b: no such file",)),
    "tomogram in another script": Bad(entry(tomogram="\u5cf6.mrc"), ("\u5cf6.mrc: no such file",)),
    "tomogram with a null": Bad(
        replaced("tomogram: tomo.mrc", r'tomogram: "a\0.mrc"'), ("inputs[0].tomogram", "null")
    ),
    "tomogram half a character": Bad(
        replaced("tomogram: tomo.mrc", r'tomogram: "\ud800.mrc"'), ("inputs[0].tomogram", "UTF-8")
    ),
    "url of a file": Bad(entry(tomogram="file:///nowhere.mrc"), ("/nowhere.mrc: no such file",)),
    "url of two lines": Bad(
        entry(tomogram="memory://a\nb.zarr"), (r"memory://a\nb.zarr: cannot be read as Zarr",)
    ),
}

TOMOGRAMS = {
    "tomogram missing": Bad(lambda d: (d / "tomo.mrc").unlink(), ("tomo.mrc", "no such file")),
    "tomogram a directory": Bad(directory_instead("tomo.mrc"), ("tomo.mrc", "not a Zarr")),
    "tomogram empty": Bad(tomogram(b""), ("tomo.mrc", "MRC")),
    "tomogram a short text": Bad(tomogram(b"hello\n"), ("tomo.mrc", "MRC")),
    "tomogram a long text": Bad(tomogram(b"hello " * 999), ("tomo.mrc", "MRC")),
    "tomogram compressed and cut": Bad(compressed_and_cut, ("tomo.mrc", "MRC file is truncated")),
    "tomogram a pipe": Bad(pipe, ("tomo.mrc", "is not a regular file")),
    "header cut": Bad(cut(1000), ("tomo.mrc", "MRC")),
    "voxels cut": Bad(cut(-1), ("tomo.mrc", "MRC file is truncated")),
    "voxels cut away": Bad(cut(DATA), ("tomo.mrc", "MRC file is truncated")),
    "no sections": Bad(patched(NZ, "<i", 0), ("tomo.mrc",)),
    "no columns": Bad(patched(NX, "<i", 0), ("tomo.mrc",)),
    "negative sections": Bad(patched(NZ, "<i", -12), ("tomo.mrc",)),
    "sections beyond the file": Bad(patched(NZ, "<i", 10**6), ("tomo.mrc",)),
    "complex voxels": Bad(
        voxels(RANDOM.astype(np.complex64)), ("tomo.mrc", "MRC mode 4 is not supported", "float32")
    ),
    "4-bit voxels": Bad(
        patched(MODE, "<i", 101), ("tomo.mrc", "MRC mode 101 is not supported", "float32")
    ),
    "an image": Bad(voxels(RANDOM[0]), ("tomo.mrc", "2 dimensions")),
    "four dimensions": Bad(voxels(RANDOM.reshape(2, 8, 16, 16)), ("tomo.mrc", "4 dimensions")),
    "constant": Bad(voxels(np.full(SHAPE, 7, np.int16)), ("tomo.mrc", "7")),
    "header alone": Bad(cut(DATA), ("tomo.mrc", "1024 of 11776 bytes); copy it again")),
    "another map id and mode": Bad(
        several(patched(MODE, "<i", 7), patched(MAP, "4s", b"PAM ")),
        ("tomo.mrc", "no MAP", "check the path"),
    ),
    "machine stamp of nothing, and a mode": Bad(
        several(patched(MODE, "<i", 7), patched(MACHST, "4s", b"\0\0\0\0")),
        ("tomo.mrc", "machine stamp: 0x00"),
    ),
    "axes that are no order": Bad(
        patched(MAPC, "<3i", 1, 1, 3), ("tomo.mrc", "(1, 1, 3)", "mapc mapr maps")
    ),
    "an extended header that is not there": Bad(
        patched(NSYMBT, "<i", 1024), ("tomo.mrc", "extended header of 1024 bytes", "nsymbt")
    ),
    "an extended header that is not there, compressed": Bad(
        rewritten(gzip.compress, patched(NSYMBT, "<i", 1024)),
        ("tomo.mrc", "extended header of 1024 bytes", "nsymbt"),
    ),
    "an odd machine stamp, and voxels cut": Bad(
        several(patched(MACHST, "4s", b"\x44\0\0\0"), cut(-1)),
        ("tomo.mrc", "11775 of 11776 bytes); copy it again"),
    ),
    "the machine stamp of the other order, and voxels cut": Bad(
        several(patched(MACHST, "4s", b"\x11\x11\0\0"), cut(-1)),
        ("tomo.mrc", "11775 of 11776 bytes); copy it again"),
    ),
    "no MAP, and an extended header that is not there": Bad(
        several(patched(MAP, "8s", bytes(8)), patched(NSYMBT, "<i", 1024)),
        ("tomo.mrc", "extended header of 1024 bytes", "nsymbt"),
    ),
    "4-bit voxels of IMOD": Bad(
        several(voxels((RANDOM * 99).astype(np.int8)), patched(152, "<2i", 1146047817, 16)),
        ("tomo.mrc", "4-bit voxels"),
    ),
    "complex integers": Bad(patched(MODE, "<i", 3), ("tomo.mrc", "MRC mode 3 is not supported")),
    "mode negative": Bad(patched(MODE, "<i", -1), ("tomo.mrc", "MRC mode -1 is not supported")),
    "negative columns": Bad(patched(NX, "<i", -(2**31)), ("tomo.mrc", "-2147483648", "copy it")),
    "terabytes": Bad(
        patched(NX, "<3i", 2**20, 2**20, 2**10), ("tomo.mrc", "MRC file is truncated")
    ),
    "terabytes compressed": Bad(
        rewritten(gzip.compress, patched(NX, "<3i", 2**20, 2**20, 2**10)),
        ("tomo.mrc", "GiB of this machine; bin the tomogram, or copy it again"),
    ),
    "gigabytes compressed": Bad(
        rewritten(gzip.compress, patched(NX, "<4i", 30000, 30000, 1, 0)),
        ("tomo.mrc", "11776 of 900001024 bytes); copy it again"),
    ),
    "gigabytes compressed, along other axes": Bad(
        rewritten(
            gzip.compress, patched(NX, "<4i", 30000, 30000, 1, 0), patched(MAPC, "<3i", 3, 2, 1)
        ),
        ("tomo.mrc", "11776 of 900001024 bytes); copy it again"),
    ),
    "gigabytes compressed by bzip2": Bad(
        rewritten(bz2.compress, patched(NX, "<4i", 30000, 30000, 1, 0)),
        ("tomo.mrc", "11776 of 900001024 bytes); copy it again"),
    ),
    "extended header of gigabytes": Bad(
        patched(NSYMBT, "<i", 2**31 - 1),
        ("tomo.mrc", "extended header, 2147483647 bytes; the file is damaged, copy"),
    ),
    "extended header of gigabytes compressed": Bad(
        rewritten(
            lambda data: gzip.compress(data[:DATA] + bytes(2**26) + data[DATA:]),
            patched(NSYMBT, "<i", 2**31 - 1),
        ),
        ("tomo.mrc", "extended header, 2147483647 bytes; the file is damaged, copy it again"),
    ),
    "extended header negative": Bad(
        patched(NSYMBT, "<i", -80), ("tomo.mrc", "-80 bytes; the file is damaged, copy")
    ),
    "extended header beyond the file": Bad(
        several(patched(NSYMBT, "<i", 80), cut(-1)),
        ("tomo.mrc", "11775 of 11856 bytes); copy it again"),
    ),
    "stack of volumes of no sections": Bad(
        rewritten(lambda data: data, patched(ISPG, "<i", 401), patched(MZ, "<i", 0)),
        ("tomo.mrc", "(12, 14, 16) voxels", "copy it again"),
    ),
    "stack of volumes compressed": Bad(
        rewritten(gzip.compress, patched(ISPG, "<i", 401), patched(MZ, "<i", 4)),
        ("tomo.mrc", "4 dimensions"),
    ),
    "an image compressed": Bad(
        rewritten(gzip.compress, voxels(RANDOM[0])), ("tomo.mrc", "2 dimensions")
    ),
    "constant compressed": Bad(
        rewritten(gzip.compress, voxels(np.full(SHAPE, 7, np.int16))), ("tomo.mrc", "value 7.0")
    ),
    "compressed twice": Bad(
        rewritten(lambda data: gzip.compress(gzip.compress(data))), ("tomo.mrc", "no MAP")
    ),
    "compressed nothing": Bad(
        tomogram(gzip.compress(b"")), ("tomo.mrc", "0 bytes, a header has 1024")
    ),
    "compressed text": Bad(
        tomogram(gzip.compress(b"text")), ("tomo.mrc", "4 bytes, a header has 1024")
    ),
    "the start of gzip": Bad(tomogram(b"\x1f\x8b"), ("tomo.mrc", "is not an MRC file")),
    "the start of bzip2": Bad(tomogram(b"BZ"), ("tomo.mrc", "is not an MRC file")),
    "gzip of garbage": Bad(tomogram(b"\x1f\x8b" + GARBAGE), ("tomo.mrc", "is not an MRC file")),
    "NumPy of nothing": Bad(
        other("tomo.npy", b""), ("tomo.npy", ".npy file is truncated or damaged")
    ),
    "NumPy of garbage": Bad(
        npy("(" * 50), ("tomo.npy", ".npy file is truncated or damaged", "copy it again")
    ),
    "NumPy of a null": Bad(npy("{\0}"), ("tomo.npy", ".npy file is truncated or damaged")),
    "NumPy of exabytes": Bad(
        npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({2**40}, {2**40}, 3)}}"),
        ("tomo.npy", ".npy file is truncated or damaged"),
    ),
    "NumPy of Python objects": Bad(
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (3, 4, 5)}"), ("tomo.npy", "object")
    ),
    "NumPy of five axes": Bad(
        array(np.stack([RANDOM, RANDOM])[None]), ("tomo.npy", "5 dimensions (1, 2, ")
    ),
    "EM of complex numbers": Bad(em(8, 480), ("tomo.em", "EM type 8 is not supported")),
    "EM that is cut": Bad(em(5, 239), ("tomo.em", "751 of 752 bytes", "copy it again")),
    "EM of a few bytes": Bad(other("tomo.em", b"\6\0\0\5"), ("tomo.em", "is not an EM file")),
    "EM of another machine": Bad(
        other("tomo.em", b"M" + GARBAGE * 9), ("tomo.em", "is not an EM file")
    ),
    "TIFF of unequal pages": Bad(
        tiff(RANDOM[0], RANDOM[1, :5]), ("tomo.tif", "TIFF pages differ", "save one volume")
    ),
    "TIFF of two volumes": Bad(
        tiff(RANDOM[:8], RANDOM[8:]), ("tomo.tif", "contains 2 volumes", "save one volume per file")
    ),
    "images of bioformats2raw": Bad(images(2), ("tomo.zarr", "2 images (0, 1)", "dataset")),
    "an image that is none": Bad(images(2, dataset="1"), ("tomo.zarr", "has no array 1")),
    "HDF5 of garbage": Bad(
        other("tomo.h5", b"\x89HDF\r\n\x1a\n" + GARBAGE), ("tomo.h5", "cannot be read as HDF5")
    ),
    "TIFF of its first bytes": Bad(
        other("tomo.tif", b"II*\0"), ("tomo.tif", "is not a TIFF file", "check the path")
    ),
    "TIFF that leads nowhere": Bad(
        other("tomo.tif", b"II*\0\xff\xff\xff\xff"), ("tomo.tif", "is not a TIFF file")
    ),
    # What follows shows only once all voxels are read.
    "another checksum": Bad(
        rewritten(lambda data: gzip.compress(data)[:-8] + bytes(8)),
        ("tomo.mrc", "MRC file is truncated", "copy it again"),
        False,
    ),
    "NaN voxels only": Bad(voxels(np.full(SHAPE, np.nan, np.float32)), ("tomo.mrc", "NaN"), False),
    "an infinite voxel of 16 bits": Bad(
        voxels(np.where(np.arange(16) == 3, np.float16("inf"), RANDOM[:12, :14].astype("float16"))),
        ("tomo.mrc", "infinite"),
        False,
    ),
    "a NaN voxel": Bad(patched(DATA + 4000, "<f", float("nan")), ("tomo.mrc", "NaN"), False),
    "an infinite voxel": Bad(patched(DATA, "<f", float("inf")), ("tomo.mrc", "infinite"), False),
    "constant once blurred": Bad(voxels(NEARLY_FLAT), ("tomo.mrc", "constant"), False),
    "padding between the limits": Bad(
        voxels(
            FLAT_TO_9, blur_sigma=0, inputs=[{"tomogram": "tomo.mrc", "upper_z-slice_limit": 8}]
        ),
        ("tomo.mrc", "away from padding (0,"),
        False,
    ),
    "constant between the limits": Bad(
        voxels(
            FLAT_TO_9,
            blur_sigma=0,
            padding="keep",
            inputs=[{"tomogram": "tomo.mrc", "upper_z-slice_limit": 8}],
        ),
        ("tomo.mrc", "z-slice limits"),
        False,
    ),
}

# For each key, values of wrong types. Text is never taken for a number, nor True for 1.
NO_INTEGER = ["5", 5.0, True, [5]]
WRONG_TYPES: dict[type, dict[str, list[Any]]] = {
    S1Config: {
        "dataset_name": [5, True, ["set"]],
        "inputs": ["tomo.mrc", 5, {"tomogram": "tomo.mrc"}, ["tomo.mrc"]],
        "neighborhood_size": NO_INTEGER,
        "max_num_neighborhoods_for_fitting": NO_INTEGER,
        "feature_extraction_params": ["ffts", 5, {"mode": "ffts"}, ["ffts"]],
        "clustering_methods": ["kmeans", 5, {"kmeans": "gmm"}, [5]],
        "output_dir": [5, True, ["out"]],
        "seed": NO_INTEGER,
        "device": [5, True, ["cpu"]],
        "kmeans_engine": [5, True, ["cuml"]],
        "precision": [5, True, ["tf32"]],
        "memory_budget": [True, 1.5, ["12 GiB"]],
        "blur_sigma": ["2", True, [2.0]],
        "padding": [5, True, ["mask"]],
        "beads": [5, True, ["mask"], "exclude"],
        "clip": ["5", True, [5.0], 0.5, 1001.0],
        "save": ["mrc", 5, [5]],
        "copick": ["me", 5, ["me"]],
        "scores": ["yes", 1, [True]],
        "particles": [140, "140", [140.0], True],
        "report": ["yes", 1, [True]],
    },
    TomogramInput: {
        "tomogram": [5, True, ["tomo.mrc"]],
        "lower_z-slice_limit": NO_INTEGER,
        "upper_z-slice_limit": NO_INTEGER,
        "name": [5, True, ["TS_01"]],
        "voxel_size": ["13.48", True, [1.0, 2.0], {"z": 1.0}],
        "centre": ["half", 5.0, True, [1.0, 2.0], [1.0, 2.0, float("nan")]],
        "level": NO_INTEGER,
        "dataset": [5, True, ["data"]],
        "storage_options": ["anon", 5, ["anon"]],
        "mask": [5, True, ["mask.mrc"]],
        "mask_for_fitting": [5, True, ["mask.mrc"]],
        "outside_is_padding": ["yes", 1, [True]],
        "mask_for_output": [5, True, ["mask.mrc"]],
        "prediction_lower_z-slice_limit": NO_INTEGER,
        "prediction_upper_z-slice_limit": NO_INTEGER,
    },
    Mask: {
        "file": [5, True, ["mask.mrc"], ""],
        "dataset": [5, True, ["data"], ""],
        "labels": ["1", True, [], [1.0], 2**40],
        "without": ["1", True, [], [1.0]],
        "above": ["1", True, [1.0], float("nan")],
    },
    Copick: {
        "directory": [5, True, ["project"]],
        "user": [5, True, ["me"]],
        "session": [5, True, ["{mode}"]],
        "object": [5, True, ["ribosome"]],
    },
    ParticleSettings: {
        "diameter": [
            "140",
            True,
            [140.0],
            [140.0, 140.0],
            [160.0, 140.0],
            ["a", 140.0],
            0.0,
            -1.0,
            float("inf"),
            float("nan"),
        ],
        "source": [5, True, ["score"], "labels"],
        "workflows": ["gabor-gmm", 5, [5], []],
        "label": ["1", 2, -1, [1], "both"],
        "contrast": [5, True, ["dark"], "light"],
        "threshold": ["0.5", True, [0.5], 100.5, -100.5],
        "spacing": ["100", True, [100.0], 0.0],
        "margin": ["100", True, [100.0], -1.0],
        "max_particles": [*NO_INTEGER, 0],
        "method": [5, True, ["ball"], "mean_shift"],
        "min_distance": ["60", True, [60.0], 0.0],
        "least_size": ["60", True, [60.0], -1.0],
        "choices": [5, [5], [], True],
        "name": [5, True, ["shells"], "", "two words", "a_b", "a/b", "a" * 41, "watershed"],
        "max_height": ["0.5", True, [0.5], 100.5, float("nan")],
        "not_in": [5, True, [5]],
        "exclude": [5, True, [5], [], "", [""]],
        "exclude_radius": ["100", True, [100.0], 0.0, float("inf")],
        "exclude_mask": [5, True, ["mask.mrc"], ""],
        "formats": ["warp", 5, [5], ["eman"], []],
        "binning": ["4", True, [4], 0.5, float("nan")],
    },
    FFTs: {"mode": [5, True, ["ffts"]], "n_fft_subsets": NO_INTEGER},
    Gabor: {
        "mode": [5],
        "num_sinusoids": NO_INTEGER,
        "num_neighborhoods_subsets": NO_INTEGER,
        "num_parallel_filters": NO_INTEGER,
        "num_output_features": NO_INTEGER,
    },
    Intensities: {"mode": [5]},
}
PLACES: dict[type, Callable[..., Break]] = {
    S1Config: config,
    TomogramInput: entry,
    Mask: lambda **changes: entry(mask={"file": "mask.mrc"} | changes),
    Copick: lambda **changes: config(copick=changes),
    ParticleSettings: lambda **changes: config(particles={"diameter": 60.0} | changes),
    FFTs: lambda **changes: modes({"mode": "ffts"} | changes),
    Gabor: lambda **changes: modes(GABOR | changes),
    Intensities: lambda **changes: modes({"mode": "intensities"} | changes),
}
TYPES = {
    f"{model.__name__} {key} {value!r}": Bad(
        PLACES[model](**{key: value}),
        (key,) if isinstance(value, list | dict) else (key, repr(value)),
    )
    for model, keys in WRONG_TYPES.items()
    for key, values in keys.items()
    for value in values
}

BAD = PARAMETER_FILES | VALUES | PATHS | TOMOGRAMS | TYPES


# Of components and watershed, keys of `ParticleSettings`.
def picking(**changes: Any) -> Break:
    return config(particles={"diameter": 60.0} | changes)


def choices(content: Any) -> Break:
    return lambda directory: (directory / "choices.json").write_text(json.dumps(content))


BY_LABELS = {
    f"particles {key} {value!r}": Bad(picking(method="watershed", **{key: value}), (key,))
    for key in ("min_distance", "least_size")
    for value in ("50", True, [50.0], -1.0, float("nan"))
} | {
    "particles method unknown": Bad(picking(method="meanshift"), ("particles.method", "meanshift")),
    "particles method a number": Bad(picking(method=5), ("particles.method", "5")),
    "particles threshold of scores": Bad(
        picking(source="score", threshold=1.5), ("particles.threshold", "0 to 1", "1.5")
    ),
    "particles threshold of the tomogram": Bad(
        picking(source="tomogram", threshold=-0.1), ("particles.threshold", "0 to 1", "-0.1")
    ),
    "particles threshold of labels": Bad(
        picking(method="components", threshold=1.5), ("particles.threshold", "0 to 1", "1.5")
    ),
    "particles sizes of labels": Bad(
        picking(diameter=[60.0, 90.0], method="components"), ("diameter", "one number")
    ),
    "particles labels of both": Bad(
        picking(source="both", method="components"), ("method", "needs labels")
    ),
    "particles distance of a ball": Bad(picking(min_distance=50.0), ("min_distance", "method")),
    "particles size of a ball": Bad(picking(least_size=50.0), ("least_size", "method")),
    "particles a format twice": Bad(
        picking(formats=["warp", "warp"]), ("formats", "appears twice")
    ),
    "particles relion4 unscaled": Bad(picking(formats=["relion4"]), ("formats", "set binning")),
    "particles binning of none": Bad(picking(binning=4), ("binning", "no effect without formats")),
    "particles choices missing": Bad(
        picking(choices="none.json"), ("none.json", "no such file of choices", "report")
    ),
    "particles choices that are none": Bad(
        several(file_at("c.json"), picking(choices="c.json")), ("c.json", "cannot be read")
    ),
    "particles choices of points": Bad(
        several(choices({"format": "points"}), picking(choices=["choices.json"])),
        ("choices.json", "is not a file of choices"),
    ),
    "particles choices of a later version": Bad(
        several(
            choices({"format": "picket_gpu choices", "version": 2}), picking(choices="choices.json")
        ),
        ("choices.json", "version", "must be 1", "got 2"),
    ),
    "particles choices of scores": Bad(
        picking(source="score", choices="c.json"), ("choices", "needs the tomogram")
    ),
    "particles choices and a height": Bad(
        picking(threshold=1.5, choices="c.json"), ("threshold", "0 to 1", "probability")
    ),
    "particles labels of the tomogram": Bad(
        picking(source="tomogram", method="components"), ("method", "needs labels")
    ),
}
BAD |= BY_LABELS
