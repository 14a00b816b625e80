"""Feature modes. A new one is a file here and a name in `FeatureParams`."""

from typing import Annotated, TypeAlias, get_args

from pydantic import Field

from picket_gpu.method.feature_mode import FeatureMode
from picket_gpu.method.features.ffts import FFTs
from picket_gpu.method.features.gabor import Gabor
from picket_gpu.method.features.intensities import Intensities

FeatureParams: TypeAlias = Annotated[FFTs | Gabor | Intensities, Field(discriminator="mode")]
MODES: dict[str, type[FeatureMode]] = {
    model.model_fields["mode"].default: model for model in get_args(get_args(FeatureParams)[0])
}

__all__ = ["MODES", "FFTs", "FeatureParams", "Gabor", "Intensities"]
