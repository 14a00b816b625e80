"""The part of a volume where there is something."""

import numpy as np

from picket_gpu.device.backend import Backend
from picket_gpu.device.operations import Array, Box


def check_inside(inside: Array | None, shape: tuple[int, ...]) -> None:
    """Raise a ValueError where ``inside`` is no bool array of ``shape``."""
    if inside is not None and (inside.dtype != bool or inside.shape != shape):
        raise ValueError(
            f"inside: must be bool of shape {shape} (got {inside.dtype} of {inside.shape})"
        )


def region_of(backend: Backend, values: Array) -> Box:
    """The smallest box of all voxels that are not 0; one without voxels where there are none.

    Args:
        values: (z, y, x), on the host or the device.
    """
    there, seen = [], values[0] != 0
    for z in range(len(values)):  # for little memory
        above = values[z] != 0
        there.append(bool(above.any()))
        seen = seen | above
    if not isinstance(seen, np.ndarray):
        seen = backend.download(seen)
    return _extent(np.array(there)), _extent(seen.any(axis=1)), _extent(seen.any(axis=0))


def mean_and_deviation(values: Array, inside: Array | None) -> tuple[float, float]:
    """Mean and standard deviation of the voxels inside; 0 and 1 where there is nothing to tell.

    Args:
        values: (z, y, x), any real type, on the host or the device.
        inside: bool, likewise; None for all.
    """
    count, mean, spread = 0, 0.0, 0.0
    for z in range(len(values)):  # for little memory
        plane = values[z].astype("float64")
        if inside is not None:
            plane = plane[inside[z]]
        if plane.size:  # Chan, Golub & LeVeque 1983
            offset = float(plane.mean()) - mean
            share = plane.size / (count + plane.size)
            spread += float(plane.var()) * plane.size + offset**2 * count * share
            mean, count = mean + offset * share, count + plane.size
    return mean, (spread / max(count, 1)) ** 0.5 or 1.0


def _extent(line: np.ndarray) -> slice:
    places = np.flatnonzero(line)
    return slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0)
