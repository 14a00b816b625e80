"""Feature modes. A new one is a file here and a name in `FeatureParams`."""

from typing import Annotated, TypeAlias

from pydantic import Field

from picket_gpu.features.base import Extractor, FeatureMode
from picket_gpu.features.ffts import FFTs
from picket_gpu.features.gabor import Gabor
from picket_gpu.features.intensities import Intensities

FeatureParams: TypeAlias = Annotated[FFTs | Gabor | Intensities, Field(discriminator="mode")]

__all__ = ["Extractor", "FFTs", "FeatureMode", "FeatureParams", "Gabor", "Intensities"]
