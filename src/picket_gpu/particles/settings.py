"""What the parameter file says of particles."""

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Angstrom: TypeAlias = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False, strict=True)]
Method: TypeAlias = Literal["ball", "components", "watershed"]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True)]
Workflow: TypeAlias = tuple[str, str]  # feature mode and clustering method
TOMOGRAM: Workflow = ("tomogram", "ball")  # stands for the workflow where source is tomogram
PICKINGS = (None, "components", "watershed")  # as names of files have them
# Methods that use a key; all use the others.
_USED_BY: dict[str, tuple[Method, ...]] = {
    "spacing": ("ball",),
    "margin": ("ball", "watershed"),
    "min_distance": ("watershed",),
    "least_size": ("components", "watershed"),
}


class ParticleSettings(BaseModel):
    """Which particles to pick, and from what. Lengths in angstrom."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    diameter: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False, strict=True)] = Field(
        description="of a particle in angstrom, the outer one of a hollow particle"
    )
    source: Literal["score", "tomogram"] = Field(
        "score",
        description="score: the mean score in a ball of the diameter; tomogram: the blurred "
        "tomogram in that ball less what surrounds it, without segmentation",
    )
    workflows: list[Annotated[str, Field(strict=True)]] | None = Field(
        None,
        min_length=1,
        description="from whose scores to pick, such as gabor-gmm; default gabor-gmm where it is "
        "run, else the first of a mixture, else all",
    )
    label: Literal[0, 1] = Field(
        1, description="the cluster that has the particles, 1 the rarer one"
    )
    contrast: Literal["dark", "bright", "auto"] = Field(
        "auto", description="of particles in the tomogram; auto finds out. For source: tomogram"
    )
    threshold: Literal["auto"] | Share = Field(
        "auto",
        description="height from which candidates are particles, 0 to 1, or auto: Otsu's of the "
        "candidates' heights",
    )
    spacing: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False, strict=True)] | None = Field(
        None, description="least distance between particles in angstrom; default 0.675 diameters"
    )
    margin: Angstrom = Field(
        0.0,
        description="least distance from the limits of what has labels, in angstrom; of a "
        "watershed's markers from the faces of the volume",
    )
    max_particles: Annotated[int, Field(ge=1, lt=2**63, strict=True)] | None = Field(
        None, description="particles of a tomogram at most, the highest; default all"
    )
    method: Method = Field(
        "ball",
        description="ball: maxima of the mean in a ball; components, watershed: connected "
        "components or a watershed of the labels, as PickET's step 2 computes them",
    )
    min_distance: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False, strict=True)] | None = (
        Field(
            None,
            description="least distance between a watershed's markers along one axis in angstrom, "
            "to the nearest whole voxel; default half a diameter",
        )
    )
    least_size: Angstrom = Field(
        0.0,
        description="diameter of the sphere whose volume a component or a part of a watershed has "
        "at least, in angstrom; default any",
    )

    @field_validator("threshold", mode="before")
    @classmethod
    def _number_or_auto(cls, threshold: Any) -> Any:
        number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
        if threshold != "auto" and not (number and 0 <= threshold <= 1):
            raise ValueError("must be auto or a number from 0 to 1")
        return threshold

    @field_validator("workflows")
    @classmethod
    def _each_once(cls, workflows: list[str] | None) -> list[str] | None:
        for name in workflows or []:
            if (workflows or []).count(name) > 1:
                raise ValueError(f"{name} appears twice; remove one")
        return workflows

    @model_validator(mode="after")
    def _used(self) -> Self:
        if self.source == "tomogram" and self.method != "ball":
            raise ValueError(
                f"method: {self.method} needs labels; use source: score, or method: ball"
            )
        for key, methods in _USED_BY.items():
            default = type(self).model_fields[key].default
            if self.method not in methods and getattr(self, key) != default:
                raise ValueError(f"{key}: has no effect with method {self.method}; remove it")
        return self

    @property
    def picking(self) -> str | None:
        """How particles are picked, in names of files: one of `PICKINGS`."""
        return None if self.method == "ball" else self.method

    def chosen(self, run: list[Workflow]) -> list[Workflow]:
        """From which workflows to pick.

        Args:
            run: those of the run, in its order.

        Raises:
            ValueError: one is not run.
        """
        if self.source == "tomogram":
            return [TOMOGRAM]
        if self.workflows is None:
            mixtures = [workflow for workflow in run if workflow[1] == "gmm"]
            best = ("gabor", "gmm")
            return [best] if best in run else mixtures[:1] or run
        names = {"-".join(workflow): workflow for workflow in run}
        for name in self.workflows:
            if name not in names:
                raise ValueError(
                    f"{name} is not among the workflows; use one of {', '.join(names)}"
                )
        return [names[name] for name in self.workflows]
