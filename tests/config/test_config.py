"""The S1 parameter file: the documented text, defaults, names, and what the package exports."""

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import jsonschema
import pytest
import yaml
from pydantic import BaseModel, ValidationError

import picket_gpu
from picket_gpu import PicketError, S1Config, load_config
from picket_gpu.config.s1 import Copick, TomogramInput
from picket_gpu.config.schema import json_schema
from picket_gpu.files.masks import Mask
from picket_gpu.method.features import FFTs, Gabor, Intensities

ROOT = Path(__file__).parents[2]

# PickET's documentation of S1 inputs, its blocks one after the other, as they are printed there.
DOCUMENTED = """\
dataset_name: my_dataset
inputs:
[
    {
    tomogram: /data/tomograms/a.mrc,
    lower_z-slice_limit: 30, #[Optional]#
    upper_z-slice_limit: 170 #[Optional]#
        },
    {
    tomogram: b.rec,
    lower_z-slice_limit: 0, #[Optional]#
    upper_z-slice_limit: 95 #[Optional]#
        },
]
neighborhood_size: 5
max_num_neighborhoods_for_fitting: 100_000_000
feature_extraction_params:
[
    {
    mode: ffts,
    n_fft_subsets: 64,
        },

    {
    mode: gabor,
    num_sinusoids: 10,
    num_neighborhoods_subsets: 5,
    num_parallel_filters: 8,
    num_output_features: 64
        },

    {
    mode: intensities
        }
]
clustering_methods: [kmeans, gmm]
output_dir: /data/picket_results/
"""
LAYOUTS = {
    "as printed": DOCUMENTED,
    "with the margin of the code block": textwrap.indent(DOCUMENTED, "    "),
    "bracket after the key": DOCUMENTED.replace(":\n[", ": ["),
    "comment between key and bracket": DOCUMENTED.replace(":\n[", ": #[List]#\n["),
    "empty line between key and bracket": DOCUMENTED.replace(":\n[", ":\n\n["),
    "bracket indented": DOCUMENTED.replace(":\n[", ":\n  ["),
    "Windows line ends": DOCUMENTED.replace(":\n[", ": [").replace("\n", "\r\n"),
}

PICKETS = {"tomogram", "lower_z_slice_limit", "upper_z_slice_limit"}
REQUIRED = {"dataset_name": "d", "inputs": [{"tomogram": "a.mrc"}], "output_dir": "out"}


@pytest.mark.parametrize("text", list(LAYOUTS.values()), ids=list(LAYOUTS))
def test_the_documented_example_loads_with_its_values(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_bytes(text.encode())
    config = load_config(path).model_dump()
    assert config.pop("copick") == Copick().model_dump()
    assert config.pop("particles") is None
    for entry in config["inputs"]:  # what PickET does not document is off
        assert {entry.pop(key) for key in set(entry) - PICKETS} == {None, False}
    assert config == {
        "dataset_name": "my_dataset",
        "inputs": [
            {
                "tomogram": Path("/data/tomograms/a.mrc"),
                "lower_z_slice_limit": 30,
                "upper_z_slice_limit": 170,
            },
            {
                "tomogram": Path("b.rec"),
                "lower_z_slice_limit": 0,
                "upper_z_slice_limit": 95,
            },
        ],
        "neighborhood_size": 5,
        "max_num_neighborhoods_for_fitting": 100_000_000,
        "feature_extraction_params": [
            {"mode": "ffts", "n_fft_subsets": 64},
            {
                "mode": "gabor",
                "num_sinusoids": 10,
                "num_neighborhoods_subsets": 5,
                "num_parallel_filters": 8,
                "num_output_features": 64,
            },
            {"mode": "intensities"},
        ],
        "clustering_methods": ["kmeans", "gmm"],
        "output_dir": Path("/data/picket_results"),
        "seed": 0,
        "device": "auto",
        "kmeans_engine": "auto",
        "precision": "float32",
        "memory_budget": None,
        "blur_sigma": 2.0,
        "padding": "mask",
        "beads": "mask",
        "clip": None,
        "save": ["hdf5", "mrc"],
        "scores": False,
        "report": True,
    }


CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


def test_there_is_a_demo():
    config = load_config(ROOT / "configs/demo.yaml")
    assert [mode.mode for mode in config.feature_extraction_params] == [
        "ffts",
        "gabor",
        "intensities",
    ]
    assert config.clustering_methods == ["kmeans", "gmm"]
    assert all((ROOT / entry.tomogram).is_file() for entry in config.inputs)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_config_of_the_repository_loads(path):
    config = load_config(path)
    written = yaml.safe_load(path.read_text())
    assert config.dataset_name == written["dataset_name"]
    assert [entry.tomogram for entry in config.inputs] == [
        Path(entry["tomogram"]) for entry in written["inputs"]
    ]


def test_defaults():
    config = load_config(REQUIRED)
    assert config.neighborhood_size == 5
    assert config.max_num_neighborhoods_for_fitting is None
    assert config.feature_extraction_params == [
        FFTs(n_fft_subsets=64),
        Gabor(
            num_sinusoids=10,
            num_neighborhoods_subsets=5,
            num_parallel_filters=8,
            num_output_features=64,
        ),
        Intensities(),
    ]
    assert config.clustering_methods == ["kmeans", "gmm"]
    assert config.seed == 0
    assert config.device == "auto"
    assert config.kmeans_engine == "auto"
    assert config.precision == "float32"
    assert config.memory_budget is None
    assert config.blur_sigma == 2.0
    assert config.save == ["hdf5", "mrc"]
    assert config.scores is False
    assert config.report is True
    assert config.inputs == [TomogramInput(tomogram=Path("a.mrc"))]
    assert config.inputs[0].lower_z_slice_limit is None
    assert config.inputs[0].upper_z_slice_limit is None


def test_two_configs_share_no_default_list():
    load_config(REQUIRED).clustering_methods.remove("gmm")
    assert load_config(REQUIRED).clustering_methods == ["kmeans", "gmm"]


def test_a_config_comes_from_a_file_a_mapping_or_a_config(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(REQUIRED | {"seed": 7}))
    from_path = load_config(path)
    assert from_path.seed == 7
    assert load_config(str(path)) == from_path
    assert load_config(REQUIRED | {"seed": 7}) == from_path
    assert load_config(REQUIRED) != from_path
    assert load_config(from_path) is from_path


def test_outputs_go_to_a_directory_named_after_the_dataset():
    assert load_config(REQUIRED).directory == Path("out/d")


def test_an_error_names_the_file_where_there_is_one(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(REQUIRED | {"seed": -7}))
    with pytest.raises(PicketError, match=r"^seed: .*-7") as of_mapping:
        load_config(REQUIRED | {"seed": -7})
    with pytest.raises(PicketError) as of_file:
        load_config(path)
    assert str(of_file.value) == f"{path}: {of_mapping.value}"


@pytest.mark.parametrize("bound", ["lower", "upper"])
def test_a_limit_goes_by_its_hyphenated_and_its_python_name(bound):
    documented, in_python = f"{bound}_z-slice_limit", f"{bound}_z_slice_limit"
    for name in (documented, in_python):
        config = load_config(REQUIRED | {"inputs": [{"tomogram": "a.mrc", name: 3}]})
        assert getattr(config.inputs[0], in_python) == 3
    assert getattr(TomogramInput(tomogram="a.mrc", **{in_python: 3}), in_python) == 3


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12 GiB", 12 * 1024**3),
        ("12GiB", 12 * 1024**3),
        ("1.5 GiB", 3 * 1024**3 // 2),
        ("900 MB", 900 * 1000**2),
        (4_000_000_000, 4_000_000_000),
        (None, None),
    ],
)
def test_memory_budget_is_in_bytes_or_with_a_unit(text, number):
    assert load_config(REQUIRED | {"memory_budget": text}).memory_budget == number


@pytest.mark.parametrize(
    ("model", "field"),
    [
        (load_config(REQUIRED), "seed"),
        (load_config(REQUIRED).inputs[0], "lower_z_slice_limit"),
        (FFTs(), "n_fft_subsets"),
        (Gabor(), "num_sinusoids"),
        (Intensities(), "mode"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_models_are_frozen(model, field):
    before = getattr(model, field)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(model, field, 2)
    assert getattr(model, field) == before


MODELS: list[type[BaseModel]] = [S1Config, TomogramInput, Mask, Copick, FFTs, Gabor, Intensities]
FIELDS = {
    f"{model.__name__}.{name}": field
    for model in MODELS
    for name, field in model.model_fields.items()
    if name != "mode"
}


@pytest.mark.parametrize("field", list(FIELDS.values()), ids=list(FIELDS))
def test_every_key_is_described(field):
    assert (field.description or "").strip()


def test_the_json_schema_has_the_names_of_the_file():
    schema = S1Config.model_json_schema()
    assert set(schema["$defs"]["TomogramInput"]["properties"]) == {
        "tomogram",
        "lower_z-slice_limit",
        "upper_z-slice_limit",
        "name",
        "voxel_size",
        "centre",
        "level",
        "dataset",
        "storage_options",
        "mask",
        "mask_for_fitting",
        "mask_for_output",
        "outside_is_padding",
        "prediction_lower_z-slice_limit",
        "prediction_upper_z-slice_limit",
    }
    assert set(schema["properties"]) == set(S1Config.model_fields)
    assert set(schema["required"]) == {"dataset_name", "inputs", "output_dir"}
    assert schema["additionalProperties"] is False


SCHEMA = ROOT / "configs" / "s1.schema.json"


def test_the_json_schema_for_editors_is_fresh():
    """After a change: python -m picket_gpu.config.schema > configs/s1.schema.json"""
    assert SCHEMA.read_text() == json_schema()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_config_names_the_schema_and_keeps_to_it(path):
    first, _, rest = path.read_text().partition("\n")
    assert first == f"# yaml-language-server: $schema={SCHEMA.name}"
    check = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    check.validate(yaml.safe_load(rest))


@pytest.mark.parametrize(
    ("changes", "valid"),
    [
        ({}, True),
        ({"max_num_neighborhoods_for_fitting": "100_000_000"}, True),  # as YAML 1.2 reads it
        ({"memory_budget": "12 GiB"}, True),
        ({"memory_budget": 12}, True),
        ({"inputs": [{"tomogram": "s3://a/b.zarr", "voxel_size": [1.0, 2, 3]}]}, True),
        ({"max_num_neighborhoods_for_fitting": 1}, False),
        ({"sede": 1}, False),
        ({"save": ["tiff"]}, False),
        ({"inputs": []}, False),
        ({"inputs": [{"tomogram": ""}]}, False),
        ({"inputs": [{"tomogram": "a.mrc", "voxel_size": 0}]}, False),
        ({"feature_extraction_params": [{"mode": "fft"}]}, False),
        ({"feature_extraction_params": [{"mode": "ffts", "num_sinusoids": 4}]}, False),
    ],
)
def test_editors_find_what_the_package_refuses(changes, valid):
    check = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    assert check.is_valid(REQUIRED | changes) == valid


PUBLIC = [
    "Particles",
    "PicketError",
    "S1Config",
    "S1Run",
    "Segmentation",
    "load_config",
    "run_s1",
    "segment",
]


def test_public_names_are_pinned():
    assert picket_gpu.__all__ == PUBLIC
    assert sorted(PUBLIC) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_resolves(name):
    assert getattr(picket_gpu, name).__name__ == name


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'picket_gpu' has no attribute 'run_s2'"):
        _ = picket_gpu.run_s2


HEAVY = ["cupy", "sklearn", "matplotlib", "scipy"]
HEAVY += ["zarr", "ome_zarr", "fsspec", "tifffile", "napari", "copick", "dask", "pandas"]


def _heavy_modules_after(statements):
    probe = f"print([name for name in {HEAVY} if name in modules])"
    code = f"from sys import modules\n{statements}\n{probe}"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout.strip()


def test_importing_the_package_imports_nothing_heavy():
    assert _heavy_modules_after("import picket_gpu, picket_gpu.__main__") == "[]"
    # The probe sees what is there: a public name brings SciPy, and neither CuPy nor the rest.
    assert _heavy_modules_after("import picket_gpu; picket_gpu.run_s1") == "['scipy']"


def test_a_date_is_a_name_like_any_other(tmp_path):
    path = tmp_path / "params.yaml"
    for name in ("2025-12-31", "2025-31-12"):
        path.write_text(f"dataset_name: {name}\ninputs: [{{tomogram: a.mrc}}]\noutput_dir: out\n")
        assert load_config(path).dataset_name == name


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            "dataset_name: 2024_01_15",
            "dataset_name: must be text (got 2024_01_15); put it in quotes",
        ),
        ("dataset_name: 001", "dataset_name: must be text (got 001); put it in quotes"),
        ("dataset_name: no", "dataset_name: must be text (got no); put it in quotes"),
        ("dataset_name: 12:30:45", "dataset_name: must be text (got 12:30:45); put it in quotes"),
        ("dataset_name: 3.10", "dataset_name: must be text (got 3.10); put it in quotes"),
        ("dataset_name: true", "dataset_name: must be text (got True); put it in quotes"),
        ("output_dir: 007", "output_dir: must be a path (got 007); put it in quotes"),
        ("copick: {user: 0x1F}", "copick.user: must be text (got 0x1F); put it in quotes"),
        ("padding: off", "padding: must be 'mask' or 'keep' (got off)"),
        ("inputs: [{tomogram: 001}]", "inputs[0].tomogram: must be a path or a URL (got 001); put"),
        ("inputs: [{tomogram: a, name: 1_0}]", "inputs[0].name: must be text (got 1_0); put it in"),
        ("inputs: [{tomogram: a, dataset: 1}]", "inputs[0].dataset: must be text (got 1); put it"),
        ("inputs: [{tomogram: a, mask: None}]", "(got 'None'); leave the key out, or write null"),
        ('inputs: [{tomogram: a, voxel_size: "13,48"}]', "(got '13,48'); write 13.48"),
        ("inputs: [{tomogram: a, voxel_size: 13,48}]", "keys should be strings; a decimal number"),
        ("max_num_neighborhoods_for_fitting: 1e6", "must be an integer (got '1e6'); write 1000000"),
        ("seed: '5'", "seed: must be an integer (got '5'); write 5"),
        ("blur_sigma: 1e-1", "blur_sigma: must be a number (got '1e-1'); write 0.1"),
        ("seed: None", "seed: must be an integer (got 'None'); leave the key out, or write null"),
        ("report: 'no'", "report: must be true or false (got 'no'); remove the quotes"),
        ("dataset_name: *.mrc", "but found '.'; put text that begins with * in quotes"),
        ("dataset_name: *a", "undefined alias 'a'; put text that begins with * in quotes"),
        ("dataset_name: @a", "start any token; put text that begins with @ in quotes"),
        ("dataset_name: !a", "the tag '!a'; put text that begins with ! in quotes"),
        ("inputs:\n-\ttomogram: a\n\tname: b", "write spaces in place of tabs"),
        ("memory_budget: 4,5 GiB", "must be bytes or text such as 12 GiB (got '4,5 GiB')"),
        ("memory_budget: 4 GiB each", "must be bytes or text such as 12 GiB (got '4 GiB each')"),
        ("inputs: [{tomogram: a, mask: none}]", "(got 'none'); leave the key out, or write null"),
        ("seed: \u00a01", "it has a blank that is not a space, type it again"),
        ("seed:\u00a01", "; line 4 has a blank that is not a space, type it again"),
    ],
)
def test_what_yaml_takes_for_something_else_is_shown_as_written(tmp_path, line, says):
    lines = {"dataset_name": "dataset_name: a", "inputs": "inputs: [{tomogram: a}]"}
    lines |= {"output_dir": "output_dir: out", re.split("[:\u00a0]", line)[0]: line}
    (tmp_path / "a.yaml").write_text("\n".join(lines.values()) + "\n", encoding="utf-8")
    with pytest.raises(PicketError, match=rf"^\S*a\.yaml: .*{re.escape(says)}"):
        load_config(tmp_path / "a.yaml")


@pytest.mark.parametrize("size", ["1,000", "1,5,5", "five"])
def test_no_number_is_made_of_what_may_be_several(tmp_path, size):
    with pytest.raises(PicketError, match=rf"\(got '{size}'\)$"):
        load_config(
            {
                "dataset_name": "a",
                "output_dir": "b",
                "inputs": [{"tomogram": "a", "voxel_size": size}],
            }
        )
