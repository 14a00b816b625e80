"""What the parameter file says of one tomogram."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from picket_gpu.files.lazy_volume import VolumeSelector
from picket_gpu.files.location import Place, name_in_lists, stem_of
from picket_gpu.files.masks import Mask


def _three(size: Any) -> Any:
    """One voxel size stands for all axes."""
    return (size, size, size) if isinstance(size, int | float) else size


LEAST_LENGTH, MOST_LENGTH = 1e-6, 1e6  # angstrom, of a voxel
Length = Annotated[float, Field(ge=LEAST_LENGTH, le=MOST_LENGTH, allow_inf_nan=False, strict=True)]
VoxelSize = Annotated[
    tuple[Length, Length, Length],
    BeforeValidator(_three),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0},
                {
                    "type": "array",
                    "items": {"type": "number", "exclusiveMinimum": 0},
                    "minItems": 3,
                    "maxItems": 3,
                },
            ]
        }
    ),
]
Slice = Annotated[int, Field(ge=0, lt=2**63, strict=True)]
Voxel = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False, strict=True)]

PATTERN = re.compile(r"[*?]|\[.+\]")
PLACEHOLDER = re.compile(r"(?<!\$)\{[^{}]*\}")  # not ${NAME}
MASKS = ("mask", "mask_for_fitting", "mask_for_output")


class Listed(NamedTuple):
    """What the list that has a tomogram says of it beside its keys.

    Attributes:
        warnings: what is odd, a line each.
        fault: why the tomogram cannot be used; None if it can.
        size_key: who says its voxel size.
    """

    warnings: tuple[str, ...] = ()
    fault: str | None = None
    size_key: str = "voxel_size"


class TomogramInput(BaseModel):
    """One tomogram: its file, the part to fit on and the part to label."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    tomogram: Place = Field(
        description="Tomogram: an MRC, EM, OME-Zarr, Zarr, HDF5, NumPy or TIFF file, the URL of a "
        "Zarr, a pattern such as data/*.mrc, or a tomograms.star of RELION 5 or IsoNet"
    )
    lower_z_slice_limit: Slice | None = Field(
        None,
        alias="lower_z-slice_limit",
        description="First z-slice used for fitting, counted from 0; default: the first",
    )
    upper_z_slice_limit: Slice | None = Field(
        None,
        alias="upper_z-slice_limit",
        description="End of the z-slices used for fitting, exclusive; default: all slices",
    )

    # What picket_gpu adds.
    name: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="Name in reports, STAR files and copick; default: the file name. For several "
        "tomograms a template: {1}, {2}, what the wildcards match, {stem}, {parent}, {name}",
    )
    voxel_size: VoxelSize | None = Field(
        None,
        description="Voxel size in angstrom, one number or [z, y, x], overriding the file. For an "
        "OME-Zarr without level it selects the level",
    )
    centre: tuple[Voxel, Voxel, Voxel] | None = Field(
        None,
        description="Centre that coordinates in STAR files count from, [z, y, x] in voxels; "
        "default: that of a tomograms.star of RELION 5, else half the number of voxels",
    )
    level: Slice | None = Field(
        None, description="Level of an OME-Zarr, counted from 0, the finest and the default"
    )
    dataset: str | None = Field(
        None,
        min_length=1,
        description="Path of the array in an HDF5 file or a Zarr group that holds several",
    )
    storage_options: dict[str, Any] = Field(
        {},
        exclude=True,  # may hold secrets, which stay out of run.json
        description="Options of fsspec for URLs, such as {anon: true}; never written to a file",
    )
    mask: Mask | None = Field(
        None,
        description="Mask, a volume of the same shape: voxels above 0 are fitted and labelled. A "
        "path, in which {name} stands for the tomogram's name, or {file: seg.mrc, labels: [1, 3]}",
    )
    mask_for_fitting: Mask | None = Field(
        None, description="Mask for fitting only: neighborhoods with their centre in it are used"
    )
    mask_for_output: Mask | None = Field(
        None, description="Mask for output only: voxels outside get no label"
    )
    outside_is_padding: bool = Field(
        False,
        strict=True,
        description="Treat what lies outside the z-slice limits and the mask for fitting as "
        "padding: it stays out of the blur and gets no labels",
    )
    prediction_lower_z_slice_limit: Slice | None = Field(
        None,
        alias="prediction_lower_z-slice_limit",
        description="First z-slice that is labelled, counted from 0; default: the first",
    )
    prediction_upper_z_slice_limit: Slice | None = Field(
        None,
        alias="prediction_upper_z-slice_limit",
        description="End of the z-slices that are labelled, exclusive; default: all slices",
    )

    _listed: Listed | None = PrivateAttr(None)

    @field_validator("mask", "mask_for_fitting", "mask_for_output", mode="before")
    @classmethod
    def _file(cls, mask: Any) -> Any:
        # Words of programming languages, text in YAML.
        if mask in ("None", "none", "nil", "N/A", "n/a") and not os.path.lexists(mask):
            raise ValueError("must be the path of a mask")
        return mask

    @field_validator("name")
    @classmethod
    def _printable(cls, name: str | None) -> str | None:
        if name is not None and not name.isprintable():
            raise ValueError("must be printable text on one line")
        return name

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for kind in ("", "prediction_"):
            lower = getattr(self, f"{kind}lower_z_slice_limit")
            upper = getattr(self, f"{kind}upper_z_slice_limit")
            if lower is not None and upper is not None and lower >= upper:
                raise ValueError(
                    f"{kind}lower_z-slice_limit {lower} must be below "
                    f"{kind}upper_z-slice_limit {upper}"
                )
        return self

    @field_validator(*MASKS)
    @classmethod
    def _one_file(cls, mask: Mask | None) -> Mask | None:
        if mask is None or not isinstance(mask.file, Path) or os.path.lexists(mask.file):
            return mask
        if PATTERN.search(str(mask.file)):
            raise ValueError(
                f"{mask.file} is a pattern, and a mask is one file; write {{name}} where the "
                "names of the tomograms differ, as in masks/{name}.mrc, or list tomograms one by "
                "one"
            )
        unknown = PLACEHOLDER.findall(str(mask.named("", "").file))
        if unknown:
            raise ValueError(
                f"{unknown[0]} in {mask.file} stands for nothing; use {{name}}, the name of the "
                "tomogram, or {stem}, its file name without the ending"
            )
        return mask

    @model_validator(mode="after")
    def _one_meaning(self) -> Self:
        if self.mask is not None and (self.mask_for_fitting or self.mask_for_output):
            raise ValueError(
                "mask covers both fitting and output; use either mask alone, or "
                "mask_for_fitting and mask_for_output"
            )
        limits = (self.lower_z_slice_limit, self.upper_z_slice_limit)
        if self.outside_is_padding and self.fitting_mask is None and limits == (None, None):
            raise ValueError("outside_is_padding needs a mask or z-slice limits; set one")
        if self.level is not None and self.dataset is not None:
            raise ValueError("level and dataset both select an array; remove one")
        return self

    @property
    def is_list(self) -> bool:
        """Whether it stands for several tomograms, by a pattern or a star file. A path that is
        there as it is written is no pattern, nor is one that came of a list."""
        where = self.tomogram
        if self.is_listed or not isinstance(where, Path):
            return False
        pattern = PATTERN.search(str(where)) is not None and not os.path.lexists(where)
        return pattern or where.suffix.lower() == ".star"

    @property
    def is_listed(self) -> bool:
        """Whether it came of a pattern, a star file or a template, with all of its keys."""
        return self._listed is not None

    @property
    def listed(self) -> Listed:
        """What the list says of it, if it came of one."""
        return self._listed or Listed()

    def of_list(self, listed: Listed) -> Self:
        """The same tomogram, as one that came of a list."""
        marked = self.model_copy()
        marked._listed = listed
        return marked

    @property
    def label(self) -> str:
        """What reports call the tomogram."""
        return self.name or self.tomogram.name

    @property
    def run_name(self) -> str:
        """What STAR files, copick and lists call the tomogram."""
        return name_in_lists(self.label, self.tomogram)

    @property
    def selector(self) -> VolumeSelector:
        """Which of the volumes of the file."""
        return VolumeSelector(
            self.dataset,
            self.level,
            self.voxel_size,
            storage_options=self.storage_options,
            size_key=self.listed.size_key,
        )

    @property
    def fitting_mask(self) -> Mask | None:
        """Where windows for fitting are, if not everywhere."""
        return self._own(self.mask_for_fitting or self.mask)

    @property
    def output_mask(self) -> Mask | None:
        """Where labels are wanted, if not everywhere."""
        return self._own(self.mask_for_output or self.mask)

    @property
    def own_masks(self) -> list[Mask]:
        """All masks of this tomogram, each once."""
        both = dict.fromkeys((self.fitting_mask, self.output_mask))
        return [mask for mask in both if mask is not None]

    def _own(self, mask: Mask | None) -> Mask | None:
        """The mask of this tomogram, where its path is a template."""
        if mask is None or (isinstance(mask.file, Path) and os.path.lexists(mask.file)):
            return mask
        return mask.named(self.run_name, stem_of(self.tomogram))

    def with_own_masks(self) -> Self:
        """The same with the paths of its own masks."""
        return self.model_copy(update={name: self._own(getattr(self, name)) for name in MASKS})

    @property
    def limits_prediction(self) -> bool:
        """Whether only some z-slices get labels."""
        bounds = (self.prediction_lower_z_slice_limit, self.prediction_upper_z_slice_limit)
        return bounds != (None, None)

    def facts(self) -> Mapping[str, Any]:
        """All that labels depend on, as plain values: what was set, but for name and centre."""
        entry = self.with_own_masks()
        return entry.model_dump(mode="json", exclude={"name", "centre"}, exclude_none=True)
