"""Volumes in Zarr: OME-Zarr 0.4 and 0.5, or a plain array; in a directory or at a URL.

The layout is that of https://ngff.openmicroscopy.org/0.4 and 0.5.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from picket_gpu.errors import PicketError, one_line
from picket_gpu.files.lazy_volume import LazyVolume, VolumeSelector, planes_of
from picket_gpu.files.location import Location, Url

_ANGSTROM = {"angstrom": 1.0, "nanometer": 10.0, "micrometer": 1e4, "picometer": 0.01}
_ALIKE = 0.01  # voxel sizes that differ by less, relatively, are the same


@dataclass(frozen=True)
class _Level:
    """One resolution of a multiscale image."""

    path: str
    voxel_size: tuple[float, float, float]
    origin: tuple[float, float, float]


def open_zarr(where: Location, selector: VolumeSelector) -> LazyVolume:
    """An array, or the level that is chosen of a multiscale image; the finest unless told.

    Raises:
        PicketError: Zarr is not installed, there is nothing at ``where`` that it can read, or the
            group has no such array or level.
    """
    node = _node(where, selector)
    if not hasattr(node, "members"):
        if selector.dataset is not None:
            raise PicketError(f"{where}: is an array itself; remove dataset")
        _no_level(where, selector)
        return _source(where, node)
    try:
        attributes = dict(node.attrs)
        images = attributes.get("ome", attributes).get("multiscales")
        levels = _levels(images[0]) if images else []
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise PicketError(f"{where}: its multiscales cannot be understood ({error!r})") from None
    named = [level for level in levels if level.path == selector.dataset]
    if not named and (selector.dataset is not None or not levels):
        _no_level(where, selector)
        return _source(where, _array(where, node, selector.dataset))
    level = named[0] if named else _choose(where, node, levels, selector)
    return replace(
        _source(where, _array(where, node, level.path)),
        voxel_size=level.voxel_size,
        origin=level.origin,
        # Else the voxel size has chosen the level, and the level knows better.
        fixed_size=not named and selector.level is None,
    )


def _no_level(where: Location, selector: VolumeSelector) -> None:
    if selector.level is not None:
        raise PicketError(f"{where}: has no levels there; remove level")


def _node(where: Location, selector: VolumeSelector) -> Any:
    try:
        import zarr
    except ImportError:
        raise PicketError(f"{where}: needs Zarr; install picket-gpu[zarr]") from None
    options = dict(selector.storage_options) if isinstance(where, Url) else None
    try:
        return zarr.open(store=str(where), mode="r", storage_options=options)
    except ImportError as error:
        raise PicketError(f"{where}: {one_line(error)}; install picket-gpu[remote]") from None
    except Exception as error:  # of any protocol, with whatever it raises
        if isinstance(where, Url):
            raise PicketError(f"{where}: no Zarr can be read there ({one_line(error)})") from None
        raise PicketError(
            f"{where}: is a directory and no Zarr ({one_line(error)}); tomogram must name a volume"
        ) from None


def _array(where: Location, group: Any, name: str | None) -> Any:
    """An array of a group; the only one of three dimensions without a name."""
    if name is not None:
        try:
            array = group[name]
        except KeyError:
            array = None
        except Exception as error:  # of any protocol, with whatever it raises
            raise PicketError(f"{where}: {name} cannot be read ({one_line(error)})") from None
        if array is None or hasattr(array, "members"):
            raise PicketError(f"{where}: has no array {name}")
        return array
    volumes = [array for _, array in group.arrays() if array.ndim == 3]
    if len(volumes) != 1:
        raise PicketError(
            f"{where}: holds {len(volumes)} arrays of 3 dimensions and no multiscales; name one by "
            f"dataset"
        )
    return volumes[0]


def _source(where: Location, array: Any) -> LazyVolume:
    """A volume from an array, whose axes before the last three must have a length of 1."""
    extra = array.ndim - 3
    if extra > 0 and set(array.shape[:extra]) != {1}:
        raise PicketError(
            f"{where}: has axes {array.shape}; those before z, y, x must have a length of 1"
        )
    view = _Last3(array) if extra > 0 else array
    chunk = array.chunks[-3] if array.ndim >= 3 else 1
    return LazyVolume(view.shape, np.dtype(array.dtype), partial(planes_of, view, chunk))


class _Last3:
    """The last three axes of an array whose others have a length of 1."""

    def __init__(self, array: Any) -> None:
        self._array = array
        self.shape, self.dtype = array.shape[-3:], array.dtype

    def __getitem__(self, planes: slice) -> np.ndarray:
        first = (0,) * (self._array.ndim - 3)
        return np.asarray(self._array[(*first, planes)])


def _levels(image: Mapping[str, Any]) -> list[_Level]:
    axes = image["axes"]
    factors = [_ANGSTROM.get(axis.get("unit", "angstrom"), 0.0) for axis in axes[-3:]]
    units = [axis["unit"] for axis in axes[-3:] if "unit" in axis]
    if [axis["name"] for axis in axes[-3:]] != ["z", "y", "x"]:
        raise ValueError(f"axes {[axis['name'] for axis in axes]} do not end in z, y, x")
    levels = []
    for dataset in image["datasets"]:
        scale, translation = np.ones(len(axes)), np.zeros(len(axes))
        transformations = [
            *dataset.get("coordinateTransformations", ()),
            *image.get("coordinateTransformations", ()),
        ]
        for step in transformations:
            if step["type"] == "scale":
                scale, translation = scale * step["scale"], translation * step["scale"]
            elif step["type"] == "translation":
                translation = translation + step["translation"]
        z, y, x = (float(f"{n:.6g}") for n in scale[-3:] * factors)
        at_z, at_y, at_x = (float(f"{n:.6g}") for n in translation[-3:] * factors)
        levels.append(_Level(dataset["path"], (z, y, x), (at_x, at_y, at_z)))
    if not levels:
        raise ValueError("no datasets")
    if not units and levels[0].voxel_size == (1.0, 1.0, 1.0):  # of voxels, not of angstrom
        return [replace(level, voxel_size=(0.0, 0.0, 0.0)) for level in levels]
    return levels


def _choose(where: Location, group: Any, levels: list[_Level], selector: VolumeSelector) -> _Level:
    if selector.level is not None:
        if selector.level >= len(levels):
            raise PicketError(f"{where}: level {selector.level}: has levels 0 to {len(levels) - 1}")
        return levels[selector.level]
    if selector.shape is not None:
        for level in levels:
            if _array(where, group, level.path).shape[-3:] == selector.shape:
                return level
    if selector.voxel_size is not None:
        for level in levels:
            if np.allclose(level.voxel_size, selector.voxel_size, rtol=_ALIKE, atol=0):
                return level
        sizes = "; ".join(" x ".join(f"{n:g}" for n in level.voxel_size) for level in levels)
        raise PicketError(
            f"{where}: voxel_size: no level has {selector.voxel_size}; there are {sizes} (z y x, "
            f"angstrom); to override it name a level too"
        )
    return levels[0]
