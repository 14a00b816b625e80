"""What the attributes of an OME-Zarr group tell of the arrays below it, in versions 0.1 to 0.5.

The layout is that of https://ngff.openmicroscopy.org/0.4 and 0.5. Before 0.4 axes are names, before
0.3 always t, c, z, y, x, and there is no scale.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from picket_gpu.errors import PicketError, one_line
from picket_gpu.files.length_units import angstrom_in
from picket_gpu.files.location import Location


@dataclass(frozen=True)
class Level:
    """One resolution of a multiscale image.

    Attributes:
        path: of its array, from the group.
        voxel_size: angstrom, (z, y, x); 0.0 where it is not told.
        origin: angstrom, (x, y, z), of the first voxel's centre.
    """

    path: str
    voxel_size: tuple[float, float, float]
    origin: tuple[float, float, float]

    @property
    def is_sized(self) -> bool:
        """Whether its voxel size is known."""
        return min(self.voxel_size) > 0


def ome_attributes(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Those of OME, which 0.5 has put under a key of their own."""
    nested = attributes.get("ome", attributes)
    return nested if isinstance(nested, Mapping) else attributes


def first_image(where: Location, attributes: Mapping[str, Any]) -> list[Level]:
    """Levels of the first multiscale image that a group describes; none where there is none.

    Raises:
        PicketError: they cannot be understood, or their axes do not end in z, y, x.
    """
    with _understood(where):
        images = ome_attributes(attributes).get("multiscales")
        return _levels(images[0]) if images else []


def level_at(where: Location, attributes: Mapping[str, Any], path: str) -> Level | None:
    """What a group says of the array at ``path`` below it, in any of its images.

    Raises:
        PicketError: as `first_image`.
    """
    with _understood(where):
        for image in ome_attributes(attributes).get("multiscales") or ():
            if any(dataset["path"] == path for dataset in image["datasets"]):
                return next(level for level in _levels(image) if level.path == path)
    return None


@contextmanager
def _understood(where: Location) -> Iterator[None]:
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        told = one_line(error) if isinstance(error, ValueError) else repr(error)
        raise PicketError(
            f"{where}: invalid multiscales ({told}); write it again as OME-Zarr 0.4"
        ) from None


def _levels(image: Mapping[str, Any]) -> list[Level]:
    axes = [
        {"name": axis} if isinstance(axis, str) else axis for axis in image.get("axes", "tczyx")
    ]
    if [axis["name"] for axis in axes[-3:]] != ["z", "y", "x"]:
        raise ValueError(f"axes {[axis['name'] for axis in axes]} do not end in z, y, x")
    units = np.array([angstrom_in(axis.get("unit", "angstrom")) for axis in axes])
    shared = image.get("coordinateTransformations", ())  # comes after those of a dataset
    levels = [
        _level(dataset["path"], [*dataset.get("coordinateTransformations", ()), *shared], units)
        for dataset in image["datasets"]
    ]
    if not levels:
        raise ValueError("no datasets")
    is_without_unit = not any("unit" in axis for axis in axes[-3:])
    if is_without_unit and levels[0].voxel_size == (1.0, 1.0, 1.0):  # of voxels, not of angstrom
        return [replace(level, voxel_size=(0.0, 0.0, 0.0)) for level in levels]
    return levels


def _level(path: str, steps: list[Mapping[str, Any]], units: np.ndarray) -> Level:
    """One level, by its transformations in their order; of unknown size where none is a scale.

    So it is too where one is of another kind, such as a rotation, or is kept in a file.
    """
    scale, translation = np.ones(len(units)), np.zeros(len(units))
    is_told = any(step["type"] == "scale" for step in steps)
    for step in steps:
        if step["type"] == "identity":
            continue
        if step["type"] not in ("scale", "translation") or step["type"] not in step:
            is_told, translation = False, 0 * translation
            break
        told = np.asarray(step[step["type"]], dtype=float)
        if told.shape != units.shape:
            raise ValueError(f"a {step['type']} of {told.size} numbers for {len(units)} axes")
        if step["type"] == "scale":
            scale, translation = scale * told, translation * told
        else:
            translation = translation + told
    z, y, x = (float(f"{n:.6g}") if is_told else 0.0 for n in (scale * units)[-3:])
    at_z, at_y, at_x = (float(f"{n:.6g}") for n in (translation * units)[-3:])
    return Level(path, (z, y, x), (at_x, at_y, at_z))
