"""Configurations and headers that nobody would think of; and what a fuzzer found worth keeping."""

import struct
import tracemalloc
from copy import deepcopy
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from picket_gpu.config.load import load_config
from picket_gpu.errors import PicketError
from tests.fuzz.checks import DIRECTORY, check_message, check_mrc, check_yaml
from tests.support.command_line import GOOD

pytestmark = pytest.mark.slow
CORPUS = Path(__file__).parent / "fuzz" / "corpus"


def examples(count: int) -> settings:
    return settings(max_examples=count, derandomize=True, deadline=None, database=None)


# Configurations.

NAMES = st.text("abcXYZ 0123\u00e9\u5cf6.'\"#:-_", min_size=1, max_size=20)
BOUNDS = st.lists(st.integers(0, 10**6), min_size=2, max_size=2, unique=True).map(sorted)
ENTRIES = st.builds(
    lambda path, low, high, other: {
        "tomogram": path,
        "lower_z-slice_limit": low,
        "upper_z-slice_limit": high,
        **other.pop("choice", {}),
        **other,
    },
    NAMES,
    st.just(None),
    st.integers(1, 2**63 - 1) | st.none(),
    st.fixed_dictionaries(
        {},
        optional={
            "name": NAMES,
            "voxel_size": st.floats(1e-6, 1e6)
            | st.lists(st.floats(0.1, 99), min_size=3, max_size=3),
            "choice": st.fixed_dictionaries({"level": st.integers(0, 9)})
            | st.fixed_dictionaries({"dataset": NAMES}),
            "storage_options": st.dictionaries(NAMES, st.booleans() | st.integers() | NAMES),
            "mask": NAMES | st.none(),
        },
    ),
)
MODES = st.lists(
    st.fixed_dictionaries({"mode": st.just("ffts")}, optional={"n_fft_subsets": st.integers(1, 99)})
    | st.fixed_dictionaries(
        {"mode": st.just("gabor"), "num_output_features": st.integers(1, 64)},
        optional={"num_sinusoids": st.integers(4, 100)},
    )
    | st.just({"mode": "intensities"}),
    min_size=1,
    max_size=3,
    unique_by=lambda mode: mode["mode"],
)
VALID = st.fixed_dictionaries(
    {
        "dataset_name": NAMES.filter(lambda name: name not in (".", "..")),
        "inputs": st.lists(
            ENTRIES, min_size=1, max_size=3, unique_by=lambda entry: entry["tomogram"]
        ),
        "output_dir": NAMES,
    },
    optional={
        "neighborhood_size": st.integers(1, 50).map(lambda half: 2 * half + 1),
        "max_num_neighborhoods_for_fitting": st.integers(2, 2**63 - 1) | st.none(),
        "feature_extraction_params": MODES,
        "clustering_methods": st.permutations(["kmeans", "gmm"]) | st.just(["gmm"]),
        "seed": st.integers(0, 2**63 - 1),
        "device": st.sampled_from(["auto", "cpu", "gpu", "gpu:0", "gpu:12"]),
        "kmeans_engine": st.sampled_from(["auto", "cuml", "native"]),
        "precision": st.sampled_from(["float32", "tf32"]),
        "memory_budget": st.integers(1, 2**80) | st.sampled_from(["12 GiB", "500MB", ".5 TiB"]),
        "blur_sigma": st.floats(0, 100) | st.integers(0, 100),
        "save": st.permutations(["hdf5", "mrc", "zarr"]),
        "copick": st.just({"user": "me", "session": "{mode}.{method}"}),
        "scores": st.booleans(),
        "report": st.booleans(),
    },
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63, -(10**400), 10**4000])
    | st.floats()
    | st.text(max_size=9)
    | st.sampled_from(["", ".", "..", "a\nb", "\x1b[31m", "\0", "\ud800", "x" * 5000, "http://["])
    | st.binary(max_size=9)
    | st.dates()
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=3),
    max_leaves=6,
)
# What no key takes.
WRONG = st.sampled_from(
    [
        float("nan"),
        float("-inf"),
        -1,
        -(10**5000),
        "",
        "\0",
        "\ud800",
        b"bytes",
        [],
        [None],
        [[{}]],
        {"colour": "red"},
        {1: 2},
        object(),
    ]
)


@examples(300)
@given(VALID)
def test_a_valid_configuration_loads_as_it_is(told):
    config = load_config(told)
    assert config.dataset_name == told["dataset_name"]
    assert [str(entry.tomogram) for entry in config.inputs] == [
        str(Path(entry["tomogram"])) for entry in told["inputs"]
    ]
    path = Path(DIRECTORY.name, "valid.yaml")
    path.write_text(yaml.safe_dump(told, sort_keys=False))
    assert load_config(path) == config


@examples(400)
@given(VALID, WRONG, st.sampled_from(sorted({*GOOD, "seed", "blur_sigma", "save", "copick"})))
def test_a_wrong_value_is_refused_by_the_name_of_its_key(told, wrong, key):
    with pytest.raises(PicketError) as fault:
        load_config(told | {key: wrong})
    check_message(str(fault.value), key)


def places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Of all that is inside mappings and lists."""
    if isinstance(value, dict):
        inside = list(value.items())
    else:
        inside = list(enumerate(value)) if isinstance(value, list) else []
    return [(*place, key) for key, _ in inside] + [
        deeper for key, one in inside for deeper in places(one, (*place, key))
    ]


@st.composite
def nearly_valid(draw: st.DrawFn) -> dict[Any, Any]:
    """A valid configuration with anything at all in some places."""
    told = deepcopy(draw(VALID))
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(places(told)))
        inside = told
        for step in way:
            inside = inside[step]
        if draw(st.booleans()) and isinstance(inside, dict):
            inside[draw(SCALARS)] = inside.pop(last)
        else:
            inside[last] = draw(ANYTHING)
    return told


@examples(400)
@given(nearly_valid())
def test_any_configuration_loads_or_is_refused_in_one_line(told):
    try:
        load_config(told)
    except PicketError as fault:
        check_message(str(fault))


LINES = st.lists(
    st.sampled_from(
        [
            *yaml.safe_dump(GOOD, sort_keys=False).splitlines(),
            *["a:", "&a", "*a", "[*a]", "{}", "-", "?", "|", ">", "%", "@", "!", "!!int", "!!set"],
            *["<<:", "*b", "&b", "'x", r"\U", "---", "...", "#", "0x", "1:2", "~", '"', "\t"],
        ]
    ),
    max_size=30,
)


@examples(200)
@given(st.text() | LINES.map("\n".join) | LINES.map(" ".join))
def test_any_text_is_a_configuration_or_refused_in_one_line(text):
    check_yaml(text.encode(errors="surrogatepass"))


# Tomograms.

ODD = [0, 1, -1, 2, 4, 16, 80, 401, 2**15, 2**16, 2**30, 2**31 - 1, -(2**31)]
# Offset, type and values of the fields of a header.
FIELDS: dict[str, tuple[int, str, st.SearchStrategy[Any]]] = {
    **{
        name: (4 * place, "i", st.sampled_from(ODD) | st.integers(-9, 99))
        for place, name in enumerate(["nx", "ny", "nz", "mode", "nxstart", "nystart", "nzstart"])
    },
    **{
        name: (28 + 4 * place, "i", st.sampled_from(ODD))
        for place, name in enumerate(["mx", "my", "mz"])
    },
    **{
        f"cell {axis}": (40 + 4 * place, "f", st.floats(width=32))
        for place, axis in enumerate("xyz")
    },
    **{
        name: (64 + 4 * place, "i", st.sampled_from([1, 2, 3, 0, -2]))
        for place, name in enumerate(["mapc", "mapr", "maps"])
    },
    "ispg": (88, "i", st.sampled_from([0, 1, 400, 401, 630, 631, -1])),
    "nsymbt": (92, "i", st.sampled_from(ODD)),
    "imodStamp": (152, "i", st.just(1146047817)),
    "imodFlags": (156, "i", st.sampled_from([0, 1, 4, 13, 16])),
    "origin": (196, "f", st.floats(width=32)),
    "map": (208, "4s", st.sampled_from([b"MAP ", b"MAP\0", b"PAM ", b"\0\0\0\0"])),
    "machst": (
        212,
        "4s",
        st.sampled_from([b"DD\0\0", b"DA\0\0", b"\x11\x11\0\0", b"D\0\0\0", b"\0\0\0\0"]),
    ),
}
HEADERS = st.fixed_dictionaries({}, optional={name: told[2] for name, told in FIELDS.items()})
MOST = 500e6  # bytes that reading may take, whatever the header says


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The bytes of a tomogram of 1264."""
    path = tmp_path_factory.mktemp("small") / "tomo.mrc"
    mrcfile.write(path, np.arange(60, dtype=np.float32).reshape(3, 4, 5), voxel_size=10.0)
    return path.read_bytes()


def check_bounded(data: bytes) -> None:
    """As `check_mrc`, and memory."""
    tracemalloc.start()
    try:
        check_mrc(data)
        assert tracemalloc.get_traced_memory()[1] < MOST
    finally:
        tracemalloc.stop()


@examples(400)
@given(told=HEADERS, order=st.sampled_from("<>"), size=st.none() | st.integers(0, 1300))
def test_any_header_is_read_or_refused_in_one_line(small, told, order, size):
    data = bytearray(small)
    for name, value in told.items():
        offset, code, _ = FIELDS[name]
        struct.pack_into(order + code, data, offset, value)
    check_bounded(bytes(data[:size]))


@examples(300)
@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255)), max_size=20))
def test_any_bytes_in_a_header_are_read_or_refused_in_one_line(small, changes):
    data = bytearray(small)
    for offset, value in changes:
        data[offset] = value
    check_bounded(bytes(data))


# The fuzzers' corpus.


@pytest.mark.parametrize("path", sorted(CORPUS.glob("yaml/*")), ids=lambda path: path.name)
def test_parameter_files_of_the_corpus(path):
    check_yaml(path.read_bytes())


@pytest.mark.parametrize("path", sorted(CORPUS.glob("mrc/*")), ids=lambda path: path.name)
def test_tomograms_of_the_corpus(path):
    check_mrc(path.read_bytes())
