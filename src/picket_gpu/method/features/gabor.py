"""Responses of the most variable filters of a Gabor bank."""

from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from picket_gpu.method.feature_mode import FeatureMode


class Gabor(FeatureMode):
    """``mode: gabor``."""

    mode: Literal["gabor"] = "gabor"
    num_sinusoids: int = Field(
        10,
        ge=1,
        le=100,
        strict=True,
        description="Frequencies along each axis; the bank has this number cubed of filters",
    )
    num_neighborhoods_subsets: int = Field(
        5,
        ge=1,
        lt=2**63,
        strict=True,
        description="On a CPU, neighborhoods are processed in at least this many batches",
    )
    num_parallel_filters: int = Field(
        8, ge=1, lt=2**63, strict=True, description="Filters examined at a time"
    )
    num_output_features: int = Field(
        64, ge=1, strict=True, description="Features: the filters whose responses vary most"
    )

    @model_validator(mode="after")
    def _enough_filters(self) -> Self:
        filters = self.num_sinusoids**3
        if self.num_output_features > filters:
            raise ValueError(
                f"num_output_features is {self.num_output_features}, but num_sinusoids "
                f"{self.num_sinusoids} gives {filters} filters; use {filters} or fewer"
            )
        return self

    def num_features(self, side: int) -> int:
        return self.num_output_features

    def batch_limit(self, count: int) -> int:
        return -(-count // self.num_neighborhoods_subsets)

    def reported_from_raw(self, covariance: np.ndarray, side: int) -> np.ndarray:
        """The filters of highest standard deviation over the windows used for fitting.

        The standard deviation of the response to f is sqrt(f' C f): no window is filtered.
        """
        deviation = np.empty(self.num_sinusoids**3)
        for start in range(0, len(deviation), self.num_parallel_filters):
            index = np.arange(start, min(start + self.num_parallel_filters, len(deviation)))
            filters = gabor_filters(side, self.num_sinusoids, index)
            variance = ((filters @ covariance) * filters).sum(axis=1)
            # Rounding makes tiny negatives; their root is NaN, which would sort as the largest.
            deviation[index] = np.sqrt(np.maximum(variance, 0))
        highest = np.argsort(-deviation, kind="stable")[: self.num_output_features]
        return gabor_filters(side, self.num_sinusoids, highest)


def gabor_filters(side: int, num_sinusoids: int, index: np.ndarray) -> np.ndarray:
    """Filters of the bank by their numbers, (f0 * num_sinusoids + f1) * num_sinusoids + f2.

    Filter (f0, f1, f2), each f from linspace(0, 0.5, num_sinusoids) cycles per voxel, is at window
    position (p, q, r), with h = side // 2:

        cos(2 pi (f0 p + f1 q + f2 r) side / (side - 1)) *
        exp(-((p - h)^2 + (q - h)^2 + (r - h)^2) / (4 sigma^2)),   sigma = h / 3

    Returns:
        (len(index), side**3) float64.
    """
    frequency = np.linspace(0, 0.5, num_sinusoids)
    f = frequency[np.stack(np.unravel_index(index, (num_sinusoids,) * 3), axis=1)]
    position = np.indices((side,) * 3).reshape(3, -1)
    half = side // 2
    envelope = np.exp(-((position - half) ** 2).sum(axis=0) / (4 * (half / 3) ** 2))
    filters: np.ndarray = np.cos(2 * np.pi * side / (side - 1) * (f @ position)) * envelope
    return filters
