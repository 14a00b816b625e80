"""Particles of one tomogram: a run's result, its line in run.json, and what its files hold."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import ConfigDict, Field, InstanceOf, computed_field

from picket_gpu.files.segmentation import Subject
from picket_gpu.particles.candidates import LEAST_SEPARATION
from picket_gpu.particles.choices import LEAST
from picket_gpu.particles.picks import Picks
from picket_gpu.particles.pool import Pool

# Of the CSV file: angstrom in the frame of the tomogram's file, height, voxels.
COLUMNS = ("x_angstrom", "y_angstrom", "z_angstrom", "score", "x", "y", "z")
SIZE = "diameter_angstrom"  # a further one where each particle has its own
TOMOGRAM = "tomogram"  # the first one, its name, in a table of several
# What the YAML file of particles says of them, by the field that it holds.
METADATA = {
    "fingerprint": "particles_fingerprint",
    "source": "particles_source",
    "threshold": "particles_threshold",
    "candidates": "particles_candidates",
    "count": "particles_picked",
    "label": "particles_label",
}
# The same, where it is known.
SOMETIMES = {"contrast": "particles_contrast", "separation": "particles_separation"}
EDITED = "particles_edited"  # digest of a table that a person has changed


class Particles(Subject):
    """Particles of one tomogram, picked from one workflow or from the tomogram itself.

    Attributes beside those of `Subject`:
        mode: feature mode; "tomogram" if picked without a segmentation.
        method: clustering method; "ball" if picked without a segmentation.
        picking: name of the particles, or of the way of picking; None for the usual way.
        fingerprint: digest of everything that the particles depend on.
        files: names of the files, relative to ``directory``.
        settings: settings for picking, lengths in angstrom.
        candidates: number of candidates.
        seconds: seconds for picking and writing.
        threshold_of: whose heights the automatic threshold is of, "tomogram" or "dataset".
        source: fingerprint of the segmentation; "tomogram" if picked without one.
        diameter: diameter in angstrom, the greatest of several sizes; 0.0 if unknown.
        attributes: metadata of the segmentation under PickET's names.
        reused: whether an earlier run picked the particles.
        aside: what to tell of a table in their place that a person had changed; None if there was
            none.
        picks: the particles in voxels, as `pick` returns them; other candidates are kept only
            until the files are written.
        pool: all candidates, and which of them may be picked; None where that is not known.
        edited: the same where a person has changed the table, for which they count no more, but
            for the threshold of all tomograms; None where nobody has.
    """

    model_config = ConfigDict(
        json_schema_extra={"description": "Particles of one tomogram, picked from one workflow"}
    )

    mode: str = Field(description="Feature mode; tomogram if picked without a segmentation")
    method: str = Field(description="Clustering method; ball if picked without a segmentation")
    picking: str | None = Field(
        None, description="Name of the particles, or of the way of picking; null for the usual way"
    )
    fingerprint: str = Field(description="Digest of everything that the particles depend on")
    files: list[str] = Field(
        description="Files of the particles, relative to the directory of this record"
    )
    settings: dict[str, Any] = Field({}, description="Settings for picking, lengths in angstrom")
    candidates: int = Field(description="Number of candidates")
    seconds: float = Field(0.0, description="Seconds for picking and writing")
    threshold_of: Literal["tomogram", "dataset"] = Field(
        "tomogram", description="Whose heights the automatic threshold is of"
    )
    source: str = Field("", exclude=True)
    diameter: float = Field(0.0, exclude=True)
    attributes: dict[str, Any] = Field({}, exclude=True)
    reused: bool = Field(False, exclude=True)
    aside: str | None = Field(None, exclude=True)
    picks: InstanceOf[Picks] = Field(exclude=True)
    pool: InstanceOf[Pool] | None = Field(None, exclude=True)
    edited: InstanceOf[Pool] | None = Field(None, exclude=True)

    @computed_field(description="Least height of a candidate that is picked")  # type: ignore[prop-decorator]
    @property
    def threshold(self) -> float:
        """Least height of a candidate that is picked."""
        return self.picks.threshold

    @computed_field(description="Label of the particles")  # type: ignore[prop-decorator]
    @property
    def label(self) -> int:
        """Label of the particles."""
        return self.picks.label

    @computed_field(description="Number of particles picked")  # type: ignore[prop-decorator]
    @property
    def count(self) -> int:
        """Number of particles picked."""
        return self.picks.count

    @computed_field(description="Contrast of the particles; null if not picked by it")  # type: ignore[prop-decorator]
    @property
    def contrast(self) -> Literal["dark", "bright"] | None:
        """Contrast of the particles in the tomogram; None if they were not picked by it."""
        return {True: "dark", False: "bright", None: None}[self.picks.dark]

    @computed_field(  # type: ignore[prop-decorator]
        description="Share of the variance of candidates' heights that the threshold explains"
    )
    @property
    def separation(self) -> float | None:
        """Share of the variance of candidates' heights between the picked and the others."""
        return self.picks.separation

    @property
    def found(self) -> list[str]:
        """What picking found out: label 0 if it is that, and the contrast."""
        return [*([] if self.label else ["label 0"]), *filter(None, [self.contrast])]

    @property
    def doubt(self) -> str | None:
        """A warning if answers are too few to rank, or if the heights do not fall into two groups
        that a threshold could part."""
        answers = self.settings.get("answers")
        if answers is not None and answers["count"] < LEAST:
            return (
                f"{self.path.name}: choices hold {answers['count']} answers, and rank candidates "
                f"from {LEAST} on; picked by heights, and as answered"
            )
        automatic = self.settings.get("threshold") in ("auto", "tomogram")
        if not automatic or self.threshold_of == "dataset" or self.separation is None:
            return None
        if self.separation >= LEAST_SEPARATION:
            return None
        return (
            f"{self.path.name}: heights of candidates form one hill, not two, so the automatic "
            "threshold may be anywhere on it; check the circles in the report, or set threshold"
        )

    @property
    def path(self) -> Path:
        """CSV file; the other files have the same name with another extension."""
        best = next((name for name in self.files if name.endswith(".csv")), self.files[0])
        return self.place_of(best)

    @property
    def workflow(self) -> tuple[str, str]:
        """Feature mode and clustering method; "tomogram" and "ball" without a segmentation."""
        return self.mode, self.method

    @property
    def key(self) -> tuple[str, str, str | None]:
        """Workflow and name: what distinguishes the particles of one tomogram."""
        return self.mode, self.method, self.picking

    @property
    def is_chosen_anew(self) -> bool:
        """Whether they depend on other tomograms, or on other particles of their own."""
        return self.edited is None and (self.asks_for_all or bool(self.settings.get("not_in")))

    @property
    def asks_for_all(self) -> bool:
        """Whether the threshold is that of all tomograms: because it is to be, or because the
        tomogram's own heights have none. A number counts from the same, so that pages, on which
        heights are as they were for ``auto``, tell what comes of it."""
        threshold = self.settings.get("threshold", "auto")
        two = self.pool is None or self.pool.has_two_hills
        return threshold == "dataset" or (threshold != "tomogram" and not two)

    @property
    def is_on_another_scale(self) -> bool:
        """Whether a number in place of the word that is ``threshold`` would count other heights
        than these."""
        if self.pool is None or not self.pool.candidates.is_scaled:
            return False
        lent = self.threshold_of == "dataset" and self.settings.get("threshold") == "dataset"
        return lent and self.pool.has_two_hills

    @property
    def title(self) -> str:
        """What people call them: the name if there is one, and the workflow."""
        workflow = "-".join(self.workflow)
        return workflow if self.picking is None else f"{self.picking} ({workflow})"

    @property
    def coordinates(self) -> np.ndarray:
        """Centres, (n, 3) float64, (z, y, x) in voxels; 0 is the centre of the first voxel."""
        return self.picks.coordinates

    @property
    def coordinates_angstrom(self) -> np.ndarray:
        """Centres, (n, 3) float64, (z, y, x) in angstrom, in the frame of the tomogram's file."""
        return self.positions()[:, ::-1]

    @property
    def heights(self) -> np.ndarray:
        """Heights, (n,) float64, descending."""
        return self.picks.heights

    @property
    def table(self) -> np.ndarray:
        """A row for each particle, (n, 7 or 8) float64, columns as in `columns`, highest first."""
        sizes = [] if self.picks.diameters is None else [self.picks.diameters]
        return np.column_stack([self.positions(), self.heights, self.coordinates[:, ::-1], *sizes])

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the table: `COLUMNS`, and `SIZE` where each particle has its own."""
        return COLUMNS if self.picks.diameters is None else (*COLUMNS, SIZE)

    @property
    def diameters(self) -> np.ndarray:
        """Diameters in angstrom, (n,) float64; 0 if unknown."""
        own = self.picks.diameters
        return np.full(self.count, self.diameter) if own is None else own

    def to_dataframe(self) -> Any:
        """Return a pandas table: the tomogram's name, then the columns of the CSV file."""
        import pandas as pd

        frame = pd.DataFrame(self.table, columns=list(self.columns))
        frame.insert(0, TOMOGRAM, self.run_name)
        return frame

    def positions(self) -> np.ndarray:
        """Centres in the frame of the tomogram's file, (n, 3) float64, (x, y, z) in angstrom."""
        return self.in_file(self.coordinates)

    @property
    def metadata(self) -> dict[str, Any]:
        """What the YAML file says: of the segmentation, and of the picking."""
        own = {name: getattr(self, field) for field, name in METADATA.items()}
        more = {name: getattr(self, field) for field, name in SOMETIMES.items()}
        if self.edited is not None:
            more[EDITED] = sha256(np.ascontiguousarray(self.table).tobytes()).hexdigest()[:32]
        return {**self.attributes, **own, **{n: v for n, v in more.items() if v is not None}}

    def without_candidates(self) -> Self:
        """The same particles without candidates below the threshold."""
        picks = self.picks
        fewer = replace(
            picks,
            candidates=picks.coordinates,
            candidate_heights=picks.heights,
            candidate_diameters=picks.diameters,
            first=0,
        )
        return self.model_copy(update={"picks": fewer, "pool": None, "edited": None})

    def chosen_by(self, pool: Pool, **changes: Any) -> Self:
        """Particles of the same settings from a pool.

        Args:
            changes: other fields.
        """
        picks = pool.choose(self.settings)
        return self.model_copy(update={"picks": picks, "pool": pool} | changes)
