"""Centres of spherical shells from points on them."""

import numpy as np
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

INWARD = 11.5  # voxels from a point of the demo to its shell's centre, nearly
TOGETHER = 1.0  # voxels between estimates of one centre
LEAST = 100  # points of a shell; fewer are strays


def sphere_centres(points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Centres of the spheres that fit the points of each shell best, (n, 3).

    Points belong to one shell if, moved inward by its radius, they nearly meet.

    Args:
        points: (m, 3), voxels.
        normals: (m, 3), outward, of length 1.
    """
    moved = cKDTree(points - INWARD * normals)
    _, shell = connected_components(moved.sparse_distance_matrix(moved, TOGETHER))
    large = np.flatnonzero(np.bincount(shell) > LEAST)
    return np.array([_fit(points[shell == number]) for number in large])


def _fit(points: np.ndarray) -> np.ndarray:
    """Centre of the sphere of least squares: |p|^2 = 2 c p + (r^2 - |c|^2) is linear in c."""
    equations = np.c_[2 * points, np.ones(len(points))]
    solution, *_ = np.linalg.lstsq(equations, np.sum(points**2, axis=1))
    centre: np.ndarray = solution[:3]
    return centre
