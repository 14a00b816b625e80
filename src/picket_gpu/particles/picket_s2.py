"""The modes of PickET's step 2, as its parameter file names them."""

from typing import Annotated, Any, Literal, TypeAlias, get_args

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from picket_gpu.particles.by_labels import components, watershed
from picket_gpu.particles.picks import Picks


class ConnectedComponents(BaseModel):
    """``mode: connected_component_labeling``; it has no settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["connected_component_labeling"] = "connected_component_labeling"

    def pick(
        self, labels: np.ndarray, label: int, lower: int | None = None, upper: int | None = None
    ) -> Picks:
        """Picks of ``label`` in the z-slices from ``lower`` up to, not including, ``upper``."""
        return components(labels, label, lower=lower, upper=upper)


class Watershed(BaseModel):
    """``mode: watershed_segmentation``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["watershed_segmentation"] = "watershed_segmentation"
    min_distance: Annotated[int, Field(ge=1, lt=2**63, strict=True)] = Field(
        description="Least distance in voxels between two markers along one axis, and between a "
        "marker and the faces of the volume"
    )

    def pick(
        self, labels: np.ndarray, label: int, lower: int | None = None, upper: int | None = None
    ) -> Picks:
        """Picks of ``label`` in the z-slices from ``lower`` up to, not including, ``upper``."""
        m = self.min_distance
        return watershed(labels, label, min_distance=m, border=m, lower=lower, upper=upper)


def _no_mean_shift(value: Any) -> Any:
    if isinstance(value, dict) and value.get("mode") == "mean_shift_clustering":
        raise ValueError(
            "mean_shift_clustering is not supported, because the original PickET's drops its "
            "best cluster and takes minutes; pick from scores with a diameter, or use "
            "watershed_segmentation"
        )
    return value


ExtractionMode: TypeAlias = Annotated[
    ConnectedComponents | Watershed, Field(discriminator="mode"), BeforeValidator(_no_mean_shift)
]
MODES: dict[str, type[BaseModel]] = {
    model.model_fields["mode"].default: model for model in get_args(get_args(ExtractionMode)[0])
}
