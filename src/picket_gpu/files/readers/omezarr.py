"""Volumes in Zarr: OME-Zarr 0.1 to 0.5, or a plain array; in a directory or at a URL.

The layout is that of https://ngff.openmicroscopy.org/0.4 and 0.5.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from picket_gpu.errors import PicketError, one_line
from picket_gpu.files.lazy_volume import LazyVolume, ThreeAxes, VolumeSelector, planes_of
from picket_gpu.files.location import Location, Url

_ANGSTROM = {"angstrom": 1.0, "nanometer": 10.0, "micrometer": 1e4, "picometer": 0.01}
ABOVE = 3  # groups above an array that may describe it
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
        return _at(_source(where, node), _level_of_itself(where, selector))
    levels = _levels_of(where, node)
    if selector.dataset is not None:
        array = _array(where, node, selector.dataset)
        _no_level(where, selector)
        return _at(_source(where, array), _level_named(where, node, selector.dataset))
    if not levels and (image := _only_image(where, node)) is not None:
        node, levels = image, _levels_of(where, image)
    if not levels:
        _no_level(where, selector)
        return _source(where, _array(where, node, None))
    level = _choose(where, node, levels, selector)
    volume = _at(_source(where, _array(where, node, level.path)), level)
    # Without a level, the voxel size has chosen one, which knows its own better.
    return replace(volume, fixed_size=selector.level is None)


def _at(volume: LazyVolume, level: _Level | None) -> LazyVolume:
    """A volume with the size and the place of its level, where it is one."""
    if level is None:
        return volume
    return replace(volume, voxel_size=level.voxel_size, origin=level.origin)


def _levels_of(where: Location, group: Any) -> list[_Level]:
    """Of the first multiscale image that a group describes; none where there is none."""
    try:
        attributes = dict(group.attrs)
        images = attributes.get("ome", attributes).get("multiscales")
        return _levels(images[0]) if images else []
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise PicketError(f"{where}: its multiscales cannot be understood ({error!r})") from None


def _level_named(where: Location, group: Any, name: str) -> _Level | None:
    """What ``group``, or a group on the way to its array ``name``, says of that array."""
    parts = name.strip("/").split("/")
    for depth in range(len(parts)):
        above = group["/".join(parts[:depth])] if depth else group
        for level in _levels_of(where, above):
            if level.path == "/".join(parts[depth:]):
                return level
    return None


def _level_of_itself(where: Location, selector: VolumeSelector) -> _Level | None:
    """What a group that holds the array at ``where`` says of it, from above."""
    import zarr

    above, name = str(where).rstrip("/"), ""
    for _ in range(ABOVE):
        above, _, last = above.rpartition("/")
        name = f"{last}/{name}".rstrip("/")
        if not above or above.endswith(":/"):
            return None
        try:
            options = dict(selector.storage_options) if isinstance(where, Url) else None
            group = zarr.open_group(store=above, mode="r", storage_options=options)
        except Exception:  # of any protocol: there is no group above
            return None
        for level in _levels_of(where, group):
            if level.path == name:
                return level
    return None


def _only_image(where: Location, group: Any) -> Any:
    """The image of what bioformats2raw writes, a group of numbered images; None of anything else.

    Raises:
        PicketError: there are several.
    """
    attributes = dict(group.attrs)
    if "bioformats2raw.layout" not in attributes.get("ome", attributes):
        return None
    images = sorted(name for name, _ in group.groups() if name.isdecimal())
    if len(images) > 1:
        raise PicketError(
            f"{where}: holds {len(images)} images ({', '.join(images[:9])}); name an array by "
            f"dataset, such as {images[0]}/0"
        )
    return group[images[0]] if images else None


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
            refused = re.search("credential|forbidden|access ?denied|40[13]", repr(error), re.I)
            hint = "; for public data set storage_options: {anon: true}" if refused else ""
            raise PicketError(
                f"{where}: no Zarr can be read there ({one_line(error)}){hint}"
            ) from None
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
    view, chunk = array, array.chunks[0] if array.ndim else 1
    if array.ndim > 3:
        view, chunk = ThreeAxes(array), array.chunks[-3]
        if not view.whole:
            raise PicketError(
                f"{where}: has axes {array.shape}; those before z, y, x must have a length of 1"
            )
    return LazyVolume(view.shape, np.dtype(array.dtype), partial(planes_of, view, chunk))


def _levels(image: Mapping[str, Any]) -> list[_Level]:
    # Before 0.4 axes are names, before 0.3 always these, and there is no scale.
    axes = [
        {"name": axis} if isinstance(axis, str) else axis for axis in image.get("axes", "tczyx")
    ]
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
