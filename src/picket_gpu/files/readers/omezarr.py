"""Volumes in Zarr: OME-Zarr 0.1 to 0.5, or a plain array; in a directory or at a URL."""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import count, takewhile
from os.path import abspath
from typing import Any

import numpy as np

from picket_gpu.errors import PicketError, one_line
from picket_gpu.files.lazy_volume import LazyVolume, VolumeSelector, planes_of, space_of
from picket_gpu.files.location import Location, Url
from picket_gpu.files.multiscales import Level, first_image, level_at, ome_attributes

ABOVE = 3  # groups above an array that may describe it
_ALIKE = 0.01  # voxel sizes that differ by less, relatively, are the same


def open_zarr(where: Location, selector: VolumeSelector) -> LazyVolume:
    """An array, or the level that is chosen of a multiscale image; the finest unless told.

    Raises:
        PicketError: Zarr is not installed, there is nothing at ``where`` that it can read, or the
            group has no such array or level.
    """
    node = _node(where, selector)
    if selector.dataset is not None and not _is_group(node):
        raise PicketError(f"{where}: is a single array; remove dataset")
    chosen = node if selector.dataset is None else _member(where, node, selector.dataset)
    if not _is_group(chosen):
        _no_level(where, selector)
        return _at(_source(chosen), _level_from_above(where, node, selector))
    levels = first_image(where, dict(chosen.attrs))
    if not levels and selector.dataset is not None:
        raise PicketError(f"{where}: has no array {selector.dataset}")
    if not levels and (image := _only_image(where, chosen)) is not None:
        chosen, levels = image, first_image(where, dict(image.attrs))
    if not levels:
        _no_level(where, selector)
        return _source(_only_array(where, chosen))
    level = _choose(where, chosen, levels, selector)
    volume = _at(_source(_array(where, chosen, level.path)), level)
    # Without a level, the voxel size has chosen one, which knows its own better.
    return replace(volume, fixed_size=selector.level is None and level.is_sized)


def _at(volume: LazyVolume, level: Level | None) -> LazyVolume:
    """A volume with the size and the place of its level, where it is one."""
    if level is None:
        return volume
    return replace(volume, voxel_size=level.voxel_size, origin=level.origin)


def _is_group(node: Any) -> bool:
    return hasattr(node, "members")


def _level_from_above(where: Location, node: Any, selector: VolumeSelector) -> Level | None:
    """What the nearest group above an array says of it."""
    for group, name in _groups_above(where, node, selector):
        level = level_at(where, dict(group.attrs), name)
        if level is not None:
            return level
    return None


def _groups_above(
    where: Location, node: Any, selector: VolumeSelector
) -> Iterator[tuple[Any, str]]:
    """Groups on the way to the array that is chosen, from the nearest, and its path from there."""
    import zarr

    parts = [part for part in (selector.dataset or "").split("/") if part]
    for depth in reversed(range(len(parts))):
        group = node.get("/".join(parts[:depth])) if depth else node
        if group is not None:
            yield group, "/".join(parts[depth:])
    options = dict(selector.storage_options) if isinstance(where, Url) else None
    above = str(where).rstrip("/") if isinstance(where, Url) else abspath(where)
    for _ in range(ABOVE):
        above, _, last = above.rpartition("/")
        parts.insert(0, last)
        if not above or above.endswith(":/"):
            return
        try:
            group = zarr.open_group(store=above, mode="r", storage_options=options)
        except Exception:  # of any protocol: no group, or none that can be read; one above may be
            continue
        yield group, "/".join(parts)


def _only_image(where: Location, group: Any) -> Any:
    """The image of what bioformats2raw writes, a group of images; None of anything else.

    Raises:
        PicketError: there are several.
    """
    if "bioformats2raw.layout" not in ome_attributes(dict(group.attrs)):
        return None
    names = _images(group)
    if len(names) > 1:
        raise PicketError(
            f"{where}: contains {len(names)} images ({', '.join(names[:9])}); select one with "
            "dataset"
        )
    return _member(where, group, names[0]) if names else None


def _images(group: Any) -> list[str]:
    """Paths of the images of bioformats2raw: as its group OME lists them, or by their numbers
    (https://ngff.openmicroscopy.org/0.4/#bf2raw)."""
    listing = group.get("OME")
    series = ome_attributes(dict(listing.attrs)).get("series") if listing is not None else None
    if isinstance(series, list) and series:
        return [str(name) for name in series]
    # Asked for one by one, because not every server lists what it has.
    numbered = list(takewhile(group.__contains__, map(str, count())))
    return numbered or sorted((name for name in group.group_keys() if name.isdecimal()), key=int)


def _no_level(where: Location, selector: VolumeSelector) -> None:
    if selector.level is not None:
        raise PicketError(f"{where}: has no resolution levels; remove level")


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
                f"{where}: cannot be read as Zarr ({one_line(error)}){hint}"
            ) from None
        raise PicketError(
            f"{where}: directory is not a Zarr ({one_line(error)}); tomogram must be the path "
            "of a volume"
        ) from None


def _member(where: Location, group: Any, name: str) -> Any:
    try:
        return group[name]
    except KeyError:
        raise PicketError(f"{where}: has no array {name}") from None
    except Exception as error:  # of any protocol, with whatever it raises
        raise PicketError(f"{where}: {name} cannot be read ({one_line(error)})") from None


def _array(where: Location, group: Any, name: str) -> Any:
    array = _member(where, group, name)
    if _is_group(array):
        raise PicketError(f"{where}: has no array {name}")
    return array


def _only_array(where: Location, group: Any) -> Any:
    """The only one of three dimensions."""
    volumes = [array for _, array in group.arrays() if len(space_of(array.shape)) == 3]
    if len(volumes) != 1:
        raise PicketError(
            f"{where}: contains {len(volumes)} 3D arrays and no multiscales; select one with "
            "dataset"
        )
    return volumes[0]


def _source(array: Any) -> LazyVolume:
    step = array.chunks[space_of(array.shape)[0]] if array.ndim else 1
    return LazyVolume(array.shape, np.dtype(array.dtype), partial(planes_of, array, step))


def _choose(where: Location, group: Any, levels: list[Level], selector: VolumeSelector) -> Level:
    if selector.level is not None:
        if selector.level >= len(levels):
            raise PicketError(f"{where}: has no level {selector.level}; use 0 to {len(levels) - 1}")
        return levels[selector.level]
    if selector.shape is not None:
        for level in levels:
            if _array(where, group, level.path).shape[-3:] == selector.shape:
                return level
    if selector.voxel_size is not None and any(level.is_sized for level in levels):
        for level in levels:
            if np.allclose(level.voxel_size, selector.voxel_size, rtol=_ALIKE, atol=0):
                return level
        sizes = "; ".join(" x ".join(f"{n:g}" for n in level.voxel_size) for level in levels)
        raise PicketError(
            f"{where}: voxel_size: no level has {selector.voxel_size} (found: {sizes} "
            "angstrom, z y x); use one of these, or set level as well to override the voxel "
            "size"
        )
    return levels[0]
