"""Clustering into two clusters, fitted in passes over tiles."""

from typing import Literal, TypeAlias

from picket_gpu.method.clustering.gmm import GaussianMixture, fit_gmm
from picket_gpu.method.clustering.kmeans import fit_kmeans
from picket_gpu.method.clustering.lloyd import KMeans

Method: TypeAlias = Literal["kmeans", "gmm"]

__all__ = ["GaussianMixture", "KMeans", "Method", "fit_gmm", "fit_kmeans"]
