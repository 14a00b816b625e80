"""PickET's S2 parameter file: its schema, and loading it.

Keys and meanings are PickET's. Keys that PickET would ignore are errors here, and so are values for
which it would silently pick nothing, such as a ``particle_cluster_id`` in quotes.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from picket_gpu.config.faults import first_fault
from picket_gpu.config.inputs import Slice
from picket_gpu.config.s1 import DatasetName, NamedPath
from picket_gpu.config.yaml_file import read_yaml, scalar
from picket_gpu.errors import PicketError
from picket_gpu.particles.picket_s2 import MODES, ExtractionMode


class S2Input(BaseModel):
    """One segmentation, and which of its voxels to pick from."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    segmentation: NamedPath = Field(description="HDF5 file of a segmentation")
    particle_cluster_id: int = Field(lt=2**63, description="Label of the particles, 0 or 1")
    lower_z_slice_limit: Slice | None = Field(
        None,
        alias="lower_z-slice_limit",
        description="First z-slice to pick in, counted from 0; default: the first",
    )
    upper_z_slice_limit: Slice | None = Field(
        None,
        alias="upper_z-slice_limit",
        description="Last z-slice to pick in, counted from 0, inclusive; default: the last",
    )

    @field_validator("particle_cluster_id", mode="before")
    @classmethod
    def _label(cls, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError("must be a whole number without quotes, such as 1")
        if value < 0:
            raise ValueError("must be 0 or more, because -1 marks unlabelled voxels")
        return value

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        lower, upper = self.lower_z_slice_limit, self.upper_z_slice_limit
        if lower is not None and upper is not None and lower > upper:
            raise ValueError(
                f"lower_z-slice_limit {lower} must not be above upper_z-slice_limit {upper}"
            )
        return self

    @property
    def z_slices(self) -> tuple[int | None, int | None]:
        """The first slice and the one after the last, as Python counts; None for no limit."""
        upper = self.upper_z_slice_limit
        return self.lower_z_slice_limit, None if upper is None else upper + 1


class S2Config(BaseModel):
    """Settings of a run of PickET's step 2: its parameter file as an object."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset_name: DatasetName = Field(description="Name of the output directory below output_dir")
    output_dir: NamedPath = Field(
        description="Directory of all outputs, created if missing; files go to "
        "output_dir/dataset_name/"
    )
    inputs: list[S2Input] = Field(min_length=1, description="Segmentations, a list")
    particle_extraction_params: list[ExtractionMode] = Field(
        min_length=1, description="Extraction modes, each applied to every segmentation"
    )

    @field_validator("inputs", "particle_extraction_params")
    @classmethod
    def _distinct(cls, entries: list[Any]) -> list[Any]:
        places: dict[str, int] = {}
        for place, entry in enumerate(entries):
            first = places.setdefault(repr(entry), place)
            if first != place:
                raise ValueError(f"[{first}] and [{place}] are the same; remove one")
        return entries

    @property
    def directory(self) -> Path:
        """Where the outputs go."""
        return self.output_dir / self.dataset_name


_FILE = "name a YAML file with S2 parameters"
_MODELS = {"": S2Config, "inputs": S2Input, **MODES}


def load_s2_config(source: Mapping[str, Any] | str | Path) -> S2Config:
    """Load and check PickET's S2 parameter file.

    Args:
        source: path of the YAML file, or a mapping with its keys.

    Raises:
        PicketError: the file cannot be read, is not YAML, or has invalid keys or values.
    """
    where = "" if isinstance(source, Mapping) else f"{source}: "
    content = source if isinstance(source, Mapping) else read_yaml(Path(source), _FILE)
    try:
        return S2Config.model_validate(content)
    except ValidationError as error:
        written = None if isinstance(source, Mapping) else partial(scalar, Path(source))
        raise PicketError(where + first_fault(error, _MODELS, written)) from None
