"""Settings for picking particles, in the parameter file."""

import re
from collections.abc import Mapping, Sequence
from math import inf
from typing import Annotated, Any, Literal, Self, TypeAlias, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from picket_gpu.files.masks import Mask

Angstrom: TypeAlias = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False, strict=True)]
Length: TypeAlias = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False, strict=True)]
Method: TypeAlias = Literal["ball", "components", "watershed"]
Format: TypeAlias = Literal["warp", "relion4", "imod", "dynamo"]
Binning: TypeAlias = Annotated[float, Field(ge=1, le=1000, allow_inf_nan=False, strict=True)]
Height: TypeAlias = Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False, strict=True)]
Workflow: TypeAlias = tuple[str, str]  # feature mode and clustering method
TOMOGRAM: Workflow = ("tomogram", "ball")  # stands for the workflow where source is tomogram
# Methods that use a key; all use the others.
_USED_BY: dict[str, tuple[Method, ...]] = {
    "spacing": ("ball",),
    "margin": ("ball", "watershed"),
    "min_distance": ("watershed",),
    "least_size": ("components", "watershed"),
}
# Later than the first version: left out of facts where they are not set, so that particles of
# earlier versions are known again.
_LATER = (
    *("name", "max_height", "not_in", "exclude", "exclude_radius", "exclude_mask", "binning"),
    "choices",
)
# What particles do not depend on: where they are picked from, files they are written to, and names
# of files that are told by what they hold, in ``answers``.
_BESIDE = ("workflows", "formats", "binning", "choices")
ListedPath: TypeAlias = Annotated[str, Field(strict=True, min_length=1)]
_ONE_OR_MORE = BeforeValidator(
    lambda given: [given] if isinstance(given, str) else given,
    json_schema_input_type=ListedPath | list[ListedPath] | None,
)


def of_picks(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the settings in files of particles that particles of one workflow depend on."""
    return {name: value for name, value in recorded.items() if name not in _BESIDE}


class ParticleSettings(BaseModel):
    """Settings for picking particles; lengths are in angstrom."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    diameter: Length | Annotated[list[Length], Field(min_length=2, max_length=2)] = Field(
        description="Particle diameter in angstrom; the outer diameter of a hollow particle. Or "
        "[least, greatest] for particles of several sizes, each picked by its own"
    )
    name: Annotated[str, Field(strict=True)] | None = Field(
        None,
        description="Name of these particles, letters and digits: a part of the names of their "
        "files, and the object in copick; default: none",
    )
    source: Literal["both", "score", "tomogram"] = Field(
        "both",
        description="Map to pick from: score, tomogram (the blurred tomogram), or both; heights "
        "are how much a ball of the diameter differs in it from the shell around the ball",
    )
    workflows: list[Annotated[str, Field(strict=True)]] | None = Field(
        None,
        min_length=1,
        description="Workflows to pick from, such as gabor-gmm; default: gabor-gmm if it is run, "
        "else the first GMM, else all",
    )
    label: Literal[0, 1, "auto"] = Field(
        "auto",
        description="Label of the particles: 1, the smaller cluster, 0, the larger, or auto, the "
        "one that stands out more; for methods on labels, auto is 1",
    )
    contrast: Literal["dark", "bright", "auto"] = Field(
        "auto",
        description="Contrast of the particles in the tomogram, for source: both or tomogram: "
        "dark, bright, or auto, the one that stands out more",
    )
    threshold: Literal["auto", "tomogram", "dataset"] | Height = Field(
        "auto",
        description="Least height of a candidate that is picked; or tomogram, Otsu's threshold of "
        "the heights in each tomogram; or dataset, that of all tomograms together; or auto, that "
        "of the tomogram where its heights fall into two groups, else that of the dataset. With "
        "source: both 0 is that threshold, with others heights are 0 to 1",
    )
    max_height: Height | None = Field(
        None,
        description="Greatest height of a candidate that is picked, on the scale of threshold; "
        "default: no limit",
    )
    spacing: Length | None = Field(
        None,
        description="Least distance between two particles in angstrom; default: 0.8 diameters",
    )
    margin: Angstrom = Field(
        0.0,
        description="Least distance in angstrom between a particle and the edge of the labelled "
        "region; for method: watershed, between a marker and the faces of the volume",
    )
    max_particles: Annotated[int, Field(ge=1, lt=2**63, strict=True)] | None = Field(
        None,
        description="Greatest number of particles per tomogram, those of greatest height; default: "
        "no limit",
    )
    not_in: Annotated[list[Annotated[str, Field(strict=True)]] | None, _ONE_OR_MORE] = Field(
        None,
        description="Names of other particles whose places are left alone; default: those before "
        "in the list; of pick: all that have a name",
    )
    exclude: Annotated[list[ListedPath] | None, _ONE_OR_MORE] = Field(
        None,
        min_length=1,
        description="Files of points at which nothing is picked, such as beads.csv: CSV, STAR, "
        "CMM, copick and others; {name} and {index} stand for the tomogram's",
    )
    exclude_radius: Length | None = Field(
        None,
        description="Distance in angstrom from these points; default: 0.8 diameters",
    )
    exclude_mask: Mask | None = Field(
        None,
        description="Mask, a volume of the tomogram's shape, written like mask: nothing is picked "
        "in it",
    )
    method: Method = Field(
        "ball",
        description="Picking method: ball (maxima of the mean in a ball), components (connected "
        "components of the labels) or watershed (a watershed of the labels); the last "
        "two as in PickET's step 2",
    )
    min_distance: Length | None = Field(
        None,
        description="Least distance between two watershed markers along one axis in angstrom, "
        "rounded to whole voxels; default: half the diameter",
    )
    least_size: Angstrom = Field(
        0.0,
        description="Least size of a component or watershed part in angstrom, as the diameter of a "
        "sphere of the same volume; default: any size",
    )
    choices: Annotated[list[ListedPath] | None, _ONE_OR_MORE] = Field(
        None,
        min_length=1,
        description="Files of answers saved by a report, choices.json: from five answers on, "
        "candidates are ranked by how likely they are what was answered, and heights and "
        "thresholds are probabilities, 0 to 1",
    )
    formats: list[Format] | None = Field(
        None,
        min_length=1,
        description="Further files of coordinates, for other programs: warp (WarpTools and M), "
        "relion4, imod, dynamo; default: none",
    )
    binning: Binning | None = Field(
        None,
        description="Binning of the tomograms, for formats: [relion4], whose coordinates are in "
        "unbinned voxels; 1 for tomograms that are not binned",
    )

    @model_validator(mode="before")
    @classmethod
    def _labels_only(cls, told: Any) -> Any:
        if isinstance(told, dict) and told.get("method", "ball") != "ball":
            return {"source": "score"} | told
        return told

    @field_validator("threshold", "max_height", mode="before")
    @classmethod
    def _height(cls, height: Any, info: ValidationInfo) -> Any:
        words = {"threshold": ("auto", "tomogram", "dataset"), "max_height": (None,)}[
            str(info.field_name)
        ]
        number = isinstance(height, int | float) and not isinstance(height, bool)
        lowest, highest = (-100, 100) if info.data.get("source") == "both" else (0, 1)
        if height not in words and not (number and lowest <= height <= highest):
            also = "auto, tomogram, dataset or " if "auto" in words else ""
            raise ValueError(f"must be {also}a number from {lowest} to {highest}")
        return height

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch("[A-Za-z0-9]{1,40}", name):
            raise ValueError("must be 1 to 40 letters and digits")
        if name in get_args(Method):
            raise ValueError("must not be the name of a method")
        return name

    @field_validator("diameter", mode="before")
    @classmethod
    def _one_or_two(cls, diameter: Any) -> Any:
        several = isinstance(diameter, list | tuple)
        numbers = list(diameter) if several else [diameter]
        for number in numbers:
            right = isinstance(number, int | float) and not isinstance(number, bool)
            if not (right and 0 < number <= 1e6):
                raise ValueError("must be a number above 0 and at most 1e6, or two in brackets")
        if several and not (len(numbers) == 2 and numbers[0] < numbers[1]):
            raise ValueError("must be one number, or two in brackets, the lesser first")
        return numbers if several else diameter

    @field_validator("not_in")
    @classmethod
    def _in_any_order(cls, names: list[str] | None) -> list[str] | None:
        return None if names is None else sorted({*names})

    @field_validator("workflows", "formats")
    @classmethod
    def _each_once(cls, names: list[str] | None) -> list[str] | None:
        for name in names or []:
            if (names or []).count(name) > 1:
                raise ValueError(f"{name} appears twice; remove one")
        return names

    @model_validator(mode="after")
    def _used(self) -> Self:
        if self.source != "score" and self.method != "ball":
            raise ValueError(
                f"method: {self.method} needs labels; remove source, or use method: ball"
            )
        if isinstance(self.diameter, list) and self.method != "ball":
            raise ValueError(f"diameter: must be one number with method: {self.method}")
        for key, methods in _USED_BY.items():
            default = type(self).model_fields[key].default
            if self.method not in methods and getattr(self, key) != default:
                raise ValueError(f"{key}: has no effect with method {self.method}; remove it")
        if self.threshold in ("tomogram", "dataset") and self.method != "ball":
            raise ValueError(f"threshold: must be auto or a number with method: {self.method}")
        if self.choices and not self.from_tomogram:
            raise ValueError(
                "choices: needs the tomogram; use source: both or tomogram, and method: ball"
            )
        for key in ("threshold", "max_height") if self.choices else ():
            height = getattr(self, key)
            if isinstance(height, float | int) and not 0 <= height <= 1:
                raise ValueError(
                    f"{key}: must be a number from 0 to 1, a probability, with choices"
                )
        if self.exclude_radius is not None and not self.exclude:
            raise ValueError("exclude_radius: has no effect without exclude; remove it")
        least = -inf if isinstance(self.threshold, str) else self.threshold
        if self.max_height is not None and self.max_height < least:
            raise ValueError(f"max_height: must be {least:g}, the threshold, or more")
        for_relion4 = "relion4" in (self.formats or [])
        if for_relion4 and self.binning is None:
            raise ValueError(
                "formats: relion4 counts in unbinned voxels; set binning, 1 if there is none"
            )
        if self.binning is not None and not for_relion4:
            raise ValueError("binning: has no effect without formats: [relion4]; remove it")
        return self

    def facts(self) -> dict[str, Any]:
        """All that picks from a workflow depend on, as plain values."""
        unset = {
            key for key in _LATER if getattr(self, key) == type(self).model_fields[key].default
        }
        return self.model_dump(mode="json", exclude={*_BESIDE, *unset})

    def difference(self, earlier: Mapping[str, Any]) -> str | None:
        """What distinguishes these from earlier settings; None if picks would be the same.

        Args:
            earlier: as ``model_dump(exclude_none=True)`` gives them.
        """
        names = type(self).model_fields.keys() - {*_BESIDE}
        defaults = {name: type(self).model_fields[name].default for name in names}
        now = self.model_dump(mode="json", exclude_none=True)
        for name in sorted(names):
            before, after = earlier.get(name, defaults[name]), now.get(name, defaults[name])
            if before != after:
                return f"{name}: {before} before, {after} now"
        return None

    @property
    def search(self) -> dict[str, Any]:
        """All that candidates depend on, as plain values."""
        chosen = {"workflows", "formats", "threshold", "max_particles", *_LATER}
        return self.model_dump(mode="json", exclude=chosen)

    @property
    def ends(self) -> tuple[float, float]:
        """Least and greatest diameter."""
        least, greatest = self.diameter if isinstance(self.diameter, list) else 2 * [self.diameter]
        return least, greatest

    @property
    def picking(self) -> str | None:
        """What names of files have after the workflow: the name, or the method if it is not the
        usual one."""
        return self.name or (None if self.method == "ball" else self.method)

    @property
    def from_scores(self) -> bool:
        """Whether scores are picked from, alone or with the tomogram."""
        return self.source != "tomogram" and self.method == "ball"

    @property
    def from_tomogram(self) -> bool:
        """Whether the tomogram is picked from, alone or with scores."""
        return self.source != "score"

    def chosen(self, run: Sequence[Workflow]) -> list[Workflow]:
        """Return the workflows to pick from.

        Args:
            run: workflows of the run, in its order.

        Raises:
            ValueError: a workflow of ``workflows`` is not among them.
        """
        if self.source == "tomogram":
            return [TOMOGRAM]
        if self.workflows is None:
            mixtures = [workflow for workflow in run if workflow[1] == "gmm"]
            best = ("gabor", "gmm")
            return [best] if best in run else mixtures[:1] or list(run)
        names = {"-".join(workflow): workflow for workflow in run}
        for name in self.workflows:
            if name not in names:
                raise ValueError(
                    f"{name} is not among the workflows; use one of {', '.join(names)}"
                )
        return [names[name] for name in self.workflows]
