"""The configuration that a segmentation was made with, from what is there."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from picket_gpu.config.inputs import TomogramInput
from picket_gpu.config.s1 import S1Config
from picket_gpu.files.segmentations import tomogram_of
from picket_gpu.run.sources import read_records


def config_of_record(
    path: Path, index: int, fingerprint: str
) -> tuple[S1Config, TomogramInput] | None:
    """The configuration that a segmentation was made with, if a record beside it has it."""
    for record in read_records(path.parent):
        with suppress(KeyError, TypeError, ValueError, IndexError):  # of another version
            made = {
                segmentation["fingerprint"]
                for unit in record["units"]
                for segmentation in unit["segmentations"]
                if unit["index"] == index
            }
            if fingerprint in made:
                config = S1Config.model_validate(record["config"])
                place = Path(record.get("working_directory") or "")
                return config, _located(config.inputs[index], place)
    return None


def _located(entry: TomogramInput, place: Path) -> TomogramInput:
    """An entry whose files are there: of relative paths, where the run started."""
    names = ("tomogram", "mask", "mask_for_fitting", "mask_for_output")
    wheres = {name: getattr(entry, name) for name in names}
    return entry.model_copy(
        update={
            name: place / where
            for name, where in wheres.items()
            if isinstance(where, Path) and not where.exists() and (place / where).exists()
        }
    )


def config_of_attributes(path: Path, told: Mapping[str, Any]) -> tuple[S1Config, TomogramInput]:
    """As much of a configuration as a file tells.

    Raises:
        ValueError: what it tells cannot be.
    """
    tomogram = tomogram_of({"tomogram_path": path} | dict(told))
    name = told.get("tomogram_name")
    keys = {
        "dataset": "tomogram_dataset",
        "mask_for_fitting": "mask_for_fitting",
        "mask_for_output": "mask_for_output",
        "prediction_lower_z_slice_limit": "z_lb_for_prediction",
        "prediction_upper_z_slice_limit": "z_ub_for_prediction",
    }
    entry = {key: told[attribute] for key, attribute in keys.items() if attribute in told}
    entry |= {"tomogram": tomogram, "name": None if name == tomogram.name else name}
    entry["voxel_size"] = size_of(told)  # chooses the level of an OME-Zarr
    names = ("neighborhood_size", "blur_sigma", "padding", "clip")
    settings = {key: told[key] for key in names if key in told}
    if "fingerprint" not in told:  # PickET takes padding as data
        settings.setdefault("padding", "keep")
    dataset = str(told.get("dataset_name", path.absolute().parent.name)) or "unknown"
    try:
        config = S1Config.model_validate(
            {"dataset_name": dataset, "inputs": [entry], "output_dir": path.parent, **settings}
        )
    except ValidationError as error:
        fault = error.errors()[0]
        raise ValueError(f"{fault['loc'][-1]}: {fault['msg']}") from None
    return config, config.inputs[0]


def size_of(told: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """A voxel size, angstrom, (z, y, x); None where it is not told, or not possible."""
    size = three(told["voxel_size"]) if "voxel_size" in told else None
    return size if size and all(0 < length < inf for length in size) else None


def three(told: Iterable[Any]) -> tuple[float, float, float]:
    """Three numbers.

    Raises:
        ValueError: they are not three, or no numbers.
    """
    first, second, third = (float(number) for number in told)
    return (first, second, third)
