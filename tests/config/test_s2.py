"""PickET's S2 parameter file: as printed, as the report writes it, and what is wrong with it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from picket_gpu.config.s2 import S2Config, S2Input, load_s2_config
from picket_gpu.errors import PicketError
from picket_gpu.particles.picket_s2 import ConnectedComponents, Watershed

PRINTED = """\
dataset_name: my_dataset
inputs:
[
    {
    segmentation: /data/out/my_dataset/segmentation_0_gabor_gmm.h5,
    particle_cluster_id: 1,
    lower_z-slice_limit: 30, #[Optional]#
    upper_z-slice_limit: 170 #[Optional]#
        },
    {
    segmentation: segmentation_1_ffts_kmeans.h5,
    particle_cluster_id: 0
        },
]
particle_extraction_params:
[
    {
    mode: connected_component_labeling
        },
    {
    mode: watershed_segmentation,
    min_distance: 15
        },
]
output_dir: /data/out/
"""
SEGMENTATION = {"segmentation": "segmentation_0_gabor_gmm.h5", "particle_cluster_id": 1}
COMPONENTS = {"mode": "connected_component_labeling"}
GOOD: dict[str, Any] = {
    "dataset_name": "set",
    "output_dir": "out",
    "inputs": [SEGMENTATION],
    "particle_extraction_params": [COMPONENTS],
}


def entry(**changes: Any) -> dict[str, Any]:
    return {"inputs": [SEGMENTATION | changes]}


def without(key: str) -> dict[str, Any]:
    return {"inputs": [{name: told for name, told in SEGMENTATION.items() if name != key}]}


def modes(*told: Any) -> dict[str, Any]:
    return {"particle_extraction_params": list(told)}


def watershed(**changes: Any) -> dict[str, Any]:
    return modes({"mode": "watershed_segmentation"} | changes)


LABEL, MODE = "inputs[0].particle_cluster_id: ", "particle_extraction_params[0]"
DISTANCE = f"{MODE}.watershed_segmentation.min_distance: "
# What is changed, and what the message must hold.
BAD = {
    "label in quotes": (
        entry(particle_cluster_id="1"),
        f"{LABEL}must be a whole number without quotes, such as 1 (got '1')",
    ),
    "label a float": (entry(particle_cluster_id=1.0), f"{LABEL}must be a whole number"),
    "label yes": (entry(particle_cluster_id=True), f"{LABEL}must be a whole number"),
    "label nothing": (entry(particle_cluster_id=None), f"{LABEL}must be a whole number"),
    "label of the border": (entry(particle_cluster_id=-1), f"{LABEL}must be 0 or more, because -1"),
    "no label": (without("particle_cluster_id"), f"{LABEL}is missing"),
    "no segmentation": (without("segmentation"), "inputs[0].segmentation: is missing"),
    "segmentation a number": (entry(segmentation=3), "inputs[0].segmentation: must be a path"),
    "segmentation empty": (entry(segmentation=""), "inputs[0].segmentation: must not be empty"),
    "limit negative": (
        entry(**{"upper_z-slice_limit": -1}),
        "inputs[0].upper_z-slice_limit: must be 0 or more (got -1)",
    ),
    "limit in quotes": (entry(**{"lower_z-slice_limit": "3"}), "inputs[0].lower_z-slice_limit: "),
    "limits crossed": (
        entry(**{"lower_z-slice_limit": 9, "upper_z-slice_limit": 8}),
        "inputs[0]: lower_z-slice_limit 9 must not be above upper_z-slice_limit 8",
    ),
    "misspelled limit": (
        entry(lower_z_slice_limits=3),
        "unknown key; did you mean lower_z-slice_limit?",
    ),
    "no inputs": ({"inputs": []}, "inputs: must not be empty"),
    "input twice": (
        {"inputs": [SEGMENTATION, SEGMENTATION | {"lower_z-slice_limit": None}]},
        "inputs: [0] and [1] are the same; remove one",
    ),
    "no modes": (modes(), "particle_extraction_params: must not be empty"),
    "modes missing": (
        {"particle_extraction_params": ...},
        "particle_extraction_params: is missing",
    ),
    "mode twice": (modes(COMPONENTS, COMPONENTS), "[0] and [1] are the same; remove one"),
    "mode of the error text": (
        modes({"mode": "watershed", "min_distance": 15}),
        f"{MODE}.mode: must be one of 'connected_component_labeling', 'watershed_segmentation' "
        "(got 'watershed')",
    ),
    "mode missing": (modes({"min_distance": 15}), f"{MODE}: mode is missing"),
    "mode a word": (modes("connected_component_labeling"), MODE),
    "mean shift": (
        modes({"mode": "mean_shift_clustering", "bandwidth": 8}),
        f"{MODE}: mean_shift_clustering is not supported, because the original PickET's drops",
    ),
    "distance missing": (watershed(), f"{DISTANCE}is missing"),
    "distance a float": (watershed(min_distance=15.0), f"{DISTANCE}must be an integer"),
    "distance in quotes": (watershed(min_distance="15"), f"{DISTANCE}must be an integer"),
    "distance 0": (watershed(min_distance=0), f"{DISTANCE}must be 1 or more (got 0)"),
    "misspelled distance": (
        watershed(min_distance=5, mindistance=5),
        "unknown key; did you mean min_distance?",
    ),
    "setting of another mode": (modes(COMPONENTS | {"min_distance": 5}), "min_distance: unknown"),
    "no dataset_name": ({"dataset_name": ...}, "dataset_name: is missing"),
    "dataset_name with slash": ({"dataset_name": "a/b"}, "without slashes"),
    "no output_dir": ({"output_dir": ...}, "output_dir: is missing"),
    "unknown key": ({"neighborhood_size": 5}, "neighborhood_size: unknown key; known keys are"),
}


def test_the_file_as_picket_prints_it(tmp_path):
    path = tmp_path / "s2.yaml"
    path.write_text(PRINTED)
    config = load_s2_config(path)
    assert config.directory == Path("/data/out/my_dataset")
    first, second = config.inputs
    assert first.segmentation == Path("/data/out/my_dataset/segmentation_0_gabor_gmm.h5")
    assert first.particle_cluster_id == 1
    assert first.z_slices == (30, 171)  # PickET counts slice 170 in
    assert second.particle_cluster_id == 0
    assert second.z_slices == (None, None)
    assert config.particle_extraction_params == [ConnectedComponents(), Watershed(min_distance=15)]


def test_the_file_of_the_docs():
    tutorial = Path(__file__).parents[2] / "docs" / "report.md"
    blocks = tutorial.read_text().split("```yaml\n")[1:]
    (text,) = [block.split("```")[0] for block in blocks if "particle_cluster_id" in block]
    config = load_s2_config(yaml.safe_load(text))
    assert config.inputs[0].z_slices == (20, 81)
    assert config.particle_extraction_params == [ConnectedComponents(), Watershed(min_distance=15)]


def test_one_slice_and_several_distances_and_labels():
    config = load_s2_config(
        GOOD
        | {"inputs": [SEGMENTATION, SEGMENTATION | {"particle_cluster_id": 0}]}
        | {"particle_extraction_params": [Watershed(min_distance=m) for m in (5, 15)]}
    )
    assert [mode.min_distance for mode in config.particle_extraction_params] == [5, 15]
    one = S2Input(**SEGMENTATION, lower_z_slice_limit=0, upper_z_slice_limit=0)
    assert one.z_slices == (0, 1)


@pytest.mark.parametrize(("changes", "says"), list(BAD.values()), ids=list(BAD))
def test_what_is_wrong_is_told_in_one_line_with_its_file(tmp_path, changes, says):
    content = {key: told for key, told in (GOOD | changes).items() if told is not ...}
    path = tmp_path / "s2.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(PicketError) as failure:
        load_s2_config(path)
    message = str(failure.value)
    assert message.startswith(f"{path}: ")
    assert says in message
    assert "\n" not in message
    assert len(message) < 600 + len(str(path))


def test_faults_of_the_file_itself_name_the_right_step(tmp_path):
    with pytest.raises(PicketError, match="no such file; name a YAML file with S2 parameters"):
        load_s2_config(tmp_path / "s2.yaml")
    (tmp_path / "s2.yaml").write_text("- dataset_name\n")
    with pytest.raises(PicketError, match="must hold keys and values"):
        load_s2_config(tmp_path / "s2.yaml")


def test_every_key_is_described():
    for model in (S2Config, S2Input):
        assert all(field.description for field in model.model_fields.values())
