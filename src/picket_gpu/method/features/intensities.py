"""The voxels of a window as they are."""

from typing import Literal

import numpy as np

from picket_gpu.method.feature_mode import FeatureMode


class Intensities(FeatureMode):
    """``mode: intensities``; it has no settings."""

    mode: Literal["intensities"] = "intensities"

    def num_features(self, side: int) -> int:
        return side**3

    def reported_from_raw(self, covariance: np.ndarray, side: int) -> np.ndarray:
        return np.eye(side**3)
