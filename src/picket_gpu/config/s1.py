"""The S1 parameter file: its schema, and loading it.

Keys and meanings are those of PickET's S1 parameters; the ones that picket_gpu adds are optional.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from picket_gpu.config.faults import FORMS
from picket_gpu.config.inputs import TomogramInput
from picket_gpu.device.backend import KMeansEngine, Precision
from picket_gpu.device.select import DEVICES
from picket_gpu.files.location import check_name, expanded
from picket_gpu.method.clustering import Method
from picket_gpu.method.features import FeatureParams, FFTs, Gabor, Intensities
from picket_gpu.particles.settings import ParticleSettings, Workflow

FileKind: TypeAlias = Literal["hdf5", "mrc", "zarr", "copick"]


def _named(path: Any) -> Any:
    if isinstance(path, Path):
        check_name(str(path))
    return expanded(path) if isinstance(path, str) else path


def _one_directory(name: str) -> str:
    if name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise ValueError("must be a plain directory name, without slashes")
    if not name.isprintable():
        raise ValueError("must be printable text on one line")
    if len(name.encode()) > 255:
        raise ValueError("is too long")
    return name


DatasetName: TypeAlias = Annotated[
    str, Field(min_length=1, max_length=200, strict=True), AfterValidator(_one_directory)
]
NamedPath: TypeAlias = Annotated[Path, BeforeValidator(_named)]
Count: TypeAlias = Annotated[
    int,
    Field(ge=2, lt=2**63, strict=True),
    # To editors, whose YAML is 1.2, the 100_000_000 of PickET's example is text.
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 2},
                {"type": "string", "pattern": "^[1-9][0-9_]*$"},
            ]
        }
    ),
]
CopickName: TypeAlias = Annotated[
    # copick takes file names apart at underscores.
    str, Field(strict=True, max_length=50, pattern=r"^[A-Za-z0-9.-]+$")
]


class Copick(BaseModel):
    """Names of segmentations and picks in a copick project."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    directory: NamedPath | None = Field(
        None, description="Directory of the project; default: copick/ in the output directory"
    )
    user: CopickName = Field("picket-gpu", description="user_id of segmentations and picks")
    session: Annotated[str, Field(strict=True, max_length=60)] = Field(
        "{mode}-{method}",
        description="session_id; {mode} and {method} are replaced by those of the workflow",
    )
    object: CopickName = Field("particle", description="Name of the pickable object")

    @field_validator("session")
    @classmethod
    def _distinct(cls, session: str) -> str:
        plain = session.replace("{mode}", "").replace("{method}", "")
        if not re.fullmatch("[A-Za-z0-9.-]*", plain):
            raise ValueError("must be letters, digits, dots, hyphens, {mode} and {method}")
        if "{mode}" not in session or "{method}" not in session:
            raise ValueError("must contain {mode} and {method}, so that each workflow has its own")
        return session


class S1Config(BaseModel):
    """Settings of one S1 run: the parameter file as an object."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset_name: DatasetName = Field(description="Name of the output directory below output_dir")
    inputs: list[TomogramInput] = Field(min_length=1, description="Tomograms, a list")
    neighborhood_size: int = Field(
        5, lt=2**63, strict=True, description="Side of a neighborhood in voxels, odd, at least 3"
    )
    max_num_neighborhoods_for_fitting: Count | None = Field(
        None,
        description="Greatest number of neighborhoods used to fit the clusters, drawn evenly; "
        "default: all. All voxels are labelled in any case",
    )
    feature_extraction_params: list[FeatureParams] = Field(
        [FFTs(), Gabor(), Intensities()], min_length=1, description="Feature modes"
    )
    clustering_methods: list[Method] = Field(
        ["kmeans", "gmm"], min_length=1, description="Clustering methods"
    )
    output_dir: NamedPath = Field(
        description="Directory of all outputs, created if missing; files go to "
        "output_dir/dataset_name/"
    )

    # What picket_gpu adds.
    seed: int = Field(
        0,
        ge=0,
        lt=2**63,
        strict=True,
        description="Random seed for neighborhood sampling and k-means++ initialisation",
    )
    device: str = Field(
        "auto",
        strict=True,
        description="Where to compute: cpu, gpu, gpu:N for the N-th GPU from 0, or auto (a GPU "
        "if there is one)",
    )
    kmeans_engine: KMeansEngine = Field(
        "auto",
        description="Implementation of k-means of a sample on a GPU: cuml, native (picket_gpu), or "
        "auto (cuML if it is installed)",
    )
    precision: Precision = Field(
        "float32",
        description="Precision of the GMM's matrix products on a GPU: float32 or tf32",
    )
    memory_budget: ByteSize | None = Field(
        None, description="Memory for arrays on the device, in bytes or as text such as 12 GiB"
    )
    blur_sigma: Annotated[float, Field(strict=True, ge=0, le=100, allow_inf_nan=False)] = Field(
        2.0,
        description="Standard deviation of the initial Gaussian blur, in voxels; its kernel "
        "reaches 4 times as far",
    )
    padding: Literal["mask", "keep"] = Field(
        "mask",
        description="Regions of one grey value, such as rotated corners: mask leaves them out of "
        "blur, fit and labels, keep treats them as data, as PickET does",
    )
    beads: Literal["mask", "keep"] = Field(
        "mask",
        description="Gold beads and hot voxels: mask leaves them out of blur, fit, labels and "
        "picks, keep treats them as data, as PickET does",
    )
    clip: Annotated[float, Field(strict=True, ge=1, le=1000, allow_inf_nan=False)] | None = Field(
        None,
        description="Limit grey values to this many robust standard deviations from the median, "
        "before the blur; default: no limit",
    )
    save: list[FileKind] = Field(
        ["hdf5", "mrc"],
        min_length=1,
        description="Kinds of segmentation files: hdf5, mrc, zarr, copick",
    )
    copick: Copick = Field(Copick(), description="Names in a copick project, for save: [copick]")
    scores: bool = Field(
        False,
        strict=True,
        description="Save a score for each voxel of all workflows, 0 to 1: how sure it is "
        "foreground (label 1); default: only of workflows that particles are picked from by score",
    )
    particles: (
        Annotated[
            Annotated[ParticleSettings, Tag(FORMS[0])]
            | Annotated[list[ParticleSettings], Field(min_length=1), Tag(FORMS[1])],
            Discriminator(lambda given: FORMS[isinstance(given, list)]),
        ]
        | None
    ) = Field(
        None,
        description="Settings for picking particles; or a list of such settings, each with a name: "
        "later ones leave alone what earlier ones have picked; default: no picking",
    )
    report: bool = Field(
        True, strict=True, description="Write report.html and a preview of each tomogram"
    )

    _notes: tuple[str, ...] = PrivateAttr(())

    @field_validator("memory_budget", mode="before")
    @classmethod
    def _bytes_or_text(cls, budget: Any) -> Any:
        if isinstance(budget, bool | float) or (isinstance(budget, int) and budget < 1):
            raise ValueError("must be bytes or text such as 12 GiB")
        # 10**400 is no float, and pydantic would take 4,5 GiB for 4 bytes.
        if isinstance(budget, str) and not re.fullmatch(r"\s*[\d.]{1,30}\s*\w*\s*", budget):
            raise ValueError("must be bytes or text such as 12 GiB")
        return budget

    @field_validator("device")
    @classmethod
    def _known_device(cls, device: str) -> str:
        if not re.fullmatch(DEVICES, device):
            raise ValueError("must be 'auto', 'cpu', 'gpu' or 'gpu:N'")
        return device

    @field_validator("neighborhood_size")
    @classmethod
    def _odd(cls, size: int) -> int:
        if size < 3 or size % 2 == 0:
            raise ValueError("must be odd, 3 or more")
        return size

    @field_validator("feature_extraction_params", "clustering_methods", "save")
    @classmethod
    def _each_once(cls, entries: list[Any]) -> list[Any]:
        names = [getattr(entry, "mode", entry) for entry in entries]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{name} appears twice; remove one")
        return entries

    @field_validator("inputs")
    @classmethod
    def _distinct(cls, entries: list[TomogramInput]) -> list[TomogramInput]:
        places: dict[str, int] = {}
        for place, entry in enumerate(entries):
            first = places.setdefault(repr(entry), place)
            if first != place:
                raise ValueError(
                    f"{entry.tomogram} has the same settings in [{first}] and in [{place}]; "
                    f"remove one"
                )
        return entries

    @model_validator(mode="after")
    def _pickable(self) -> Self:
        several = isinstance(self.particles, list)
        for place, one in enumerate(self.pickings):
            where = f"particles[{place}]" if several else "particles"
            try:
                one.chosen(self.workflows)
            except ValueError as error:
                raise ValueError(f"{where}.workflows: {error}") from None
            if self.save == ["copick"] and one.source != "tomogram":
                raise ValueError(
                    f"{where}: copick files contain no scores; add hdf5, mrc or zarr to save"
                )
            before = [earlier.name for earlier in self.pickings[:place]]
            if len(self.pickings) > 1 and (one.name is None or one.name in before):
                raise ValueError(f"{where}.name: each of several needs a name of its own")
            for name in one.not_in or ():
                if name not in before:
                    raise ValueError(
                        f"{where}.not_in: {name} is not the name of an entry before in the list"
                    )
        return self

    @property
    def pickings(self) -> list[ParticleSettings]:
        """What is picked, in the order of the list; each says which others it leaves alone."""
        given = self.particles if isinstance(self.particles, list) else [self.particles]
        settings: list[ParticleSettings] = []
        for one in given:
            if one is not None:
                before = [earlier.name for earlier in settings if earlier.name is not None]
                if one.not_in is None and before:
                    one = one.model_copy(update={"not_in": sorted(before)})
                settings.append(one)
        return settings

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of the tomograms that the inputs stand for, a line each."""
        return self._notes

    def with_notes(self, notes: Iterable[str]) -> Self:
        """The same configuration, with these notes."""
        noted = self.model_copy()
        noted._notes = tuple(notes)
        return noted

    @property
    def workflows(self) -> list[Workflow]:
        """Feature modes and clustering methods, in the order in which they run."""
        modes = [mode.mode for mode in self.feature_extraction_params]
        return list(product(modes, self.clustering_methods))

    @property
    def scored(self) -> Sequence[Workflow]:
        """Workflows whose scores are saved: all if asked for, else those to pick from by score."""
        if self.scores:
            return self.workflows
        by_score = (one.chosen(self.workflows) for one in self.pickings if one.from_scores)
        return list(dict.fromkeys(workflow for chosen in by_score for workflow in chosen))

    @property
    def directory(self) -> Path:
        """Where the outputs go."""
        return self.output_dir / self.dataset_name
