"""Volumes in Zarr: OME-Zarr 0.1 to 0.5, or a plain array; in a directory or at a URL.

OME-Zarr is described at https://ngff.openmicroscopy.org/0.4 and 0.5. Before 0.4 axes are names, and
before 0.3 they are always t, c, z, y, x, without a scale.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, takewhile
from os.path import abspath
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import ZipFile

import numpy as np

from picket_gpu.device.kernel_cache import provide_kernel_cache
from picket_gpu.errors import PicketError, one_line
from picket_gpu.files.lazy_volume import (
    LazyVolume,
    VolumeSelector,
    angstrom_in,
    planes_of,
    space_of,
)
from picket_gpu.files.location import Location, Url

METADATA = ("zarr.json", ".zgroup", ".zarray")
ABOVE = 3  # groups above an array that may describe it
_ALIKE = 0.01  # voxel sizes that differ by less, relatively, are the same


@dataclass(frozen=True)
class Level:
    """One resolution of a multiscale image.

    Attributes:
        path: path of its array below the group.
        voxel_size: angstrom, (z, y, x); 0.0 where it is unknown.
        origin: centre of the first voxel in angstrom, (x, y, z).
    """

    path: str
    voxel_size: tuple[float, float, float]
    origin: tuple[float, float, float]

    @property
    def is_sized(self) -> bool:
        """Whether the voxel size is known."""
        return min(self.voxel_size) > 0


def open_zarr(where: Location, selector: VolumeSelector) -> LazyVolume:
    """Open an array, or the selected level of a multiscale image, by default the finest.

    A file is a zip archive, with the Zarr at its root or in its only directory.

    Raises:
        PicketError: Zarr is not installed, Zarr can read nothing at ``where``, or the group has no
            such array or level.
    """
    node = _node(where, selector)
    if selector.dataset is not None and not _is_group(node):
        raise PicketError(f"{where}: is a single array; remove dataset")
    chosen = node if selector.dataset is None else _member(where, node, selector.dataset)
    if not _is_group(chosen):
        _no_level(where, selector)
        return _at(_source(chosen), _level_from_above(where, node, selector))
    levels = _first_image(where, dict(chosen.attrs))
    if not levels and selector.dataset is not None:
        raise PicketError(f"{where}: has no array {selector.dataset}")
    if not levels and (image := _only_image(where, chosen, selector)) is not None:
        chosen, levels = image, _first_image(where, dict(image.attrs))
    if not levels:
        _no_level(where, selector)
        return _source(_only_array(where, chosen, selector))
    level = _choose(where, chosen, levels, selector)
    volume = _at(_source(_array(where, chosen, level.path)), level)
    # Without a level, the voxel size has selected one, whose own is more exact.
    return replace(volume, fixed_size=selector.level is None and level.is_sized)


def _at(volume: LazyVolume, level: Level | None) -> LazyVolume:
    """A volume with the voxel size and the origin of its level, if it is one."""
    if level is None:
        return volume
    return replace(volume, voxel_size=level.voxel_size, origin=level.origin)


def _is_group(node: Any) -> bool:
    return hasattr(node, "members")


def _level_from_above(where: Location, node: Any, selector: VolumeSelector) -> Level | None:
    """What the nearest group above an array, of those that list it, says about it."""
    for group, name in _groups_above(where, node, selector):
        level = _level_at(where, dict(group.attrs), name)
        if level is not None:
            return level
    return None


def _groups_above(
    where: Location, node: Any, selector: VolumeSelector
) -> Iterator[tuple[Any, str]]:
    """Groups above the selected array, from the nearest, each with the array's path below it."""
    import zarr

    parts = [part for part in (selector.dataset or "").split("/") if part]
    for depth in reversed(range(len(parts))):
        group = node.get("/".join(parts[:depth])) if depth else node
        if group is not None:
            yield group, "/".join(parts[depth:])
    if isinstance(where, Path) and where.is_file():
        return
    options = dict(selector.storage_options) if isinstance(where, Url) else None
    above = str(where).rstrip("/") if isinstance(where, Url) else abspath(where)
    for _ in range(ABOVE):
        above, _, last = above.rpartition("/")
        parts.insert(0, last)
        if not above or above.endswith(":/"):
            return
        try:
            group = zarr.open_group(store=above, mode="r", storage_options=options)
        except Exception:  # from any protocol: no group, or unreadable; the next one may be
            continue
        yield group, "/".join(parts)


def _only_image(where: Location, group: Any, selector: VolumeSelector) -> Any:
    """The only image in a group of images by bioformats2raw; None for any other group.

    Raises:
        PicketError: there are several images.
    """
    if "bioformats2raw.layout" not in _ome_attributes(dict(group.attrs)):
        return None
    names = _images(group)
    if len(names) > 1:
        raise PicketError(
            f"{where}: contains {len(names)} images ({', '.join(names[:9])}); "
            f"{selector.remedy(where, names[0])}"
        )
    return _member(where, group, names[0]) if names else None


def _images(group: Any) -> list[str]:
    """Paths of the images by bioformats2raw, from the list in its group OME or by their numbers
    (https://ngff.openmicroscopy.org/0.4/#bf2raw)."""
    listing = group.get("OME")
    series = _ome_attributes(dict(listing.attrs)).get("series") if listing is not None else None
    if isinstance(series, list) and series:
        return [str(name) for name in series]
    # One by one, because not every server lists its members.
    numbered = list(takewhile(group.__contains__, map(str, count())))
    return numbered or sorted((name for name in group.group_keys() if name.isdecimal()), key=int)


def _no_level(where: Location, selector: VolumeSelector) -> None:
    if selector.level is not None:
        raise PicketError(f"{where}: has no resolution levels; remove level")


def _node(where: Location, selector: VolumeSelector) -> Any:
    provide_kernel_cache()
    try:
        import zarr
    except ImportError:
        raise PicketError(f"{where}: needs Zarr; pip install -e '.[zarr]'") from None
    if isinstance(where, Path) and where.is_file():
        return _zipped(where)
    options = dict(selector.storage_options) if isinstance(where, Url) else None
    try:
        return zarr.open(store=str(where), mode="r", storage_options=options)
    except ImportError as error:
        raise PicketError(f"{where}: {one_line(error)}; pip install -e '.[remote]'") from None
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


def _zipped(path: Path) -> Any:
    """The array or group in a zip archive."""
    import zarr

    try:
        with ZipFile(path) as archive:
            names = [PurePosixPath(name) for name in archive.namelist()]
        nodes = {name.parent for name in names if name.name in METADATA}
        depth = min((len(node.parts) for node in nodes), default=0)
        highest = sorted(node for node in nodes if len(node.parts) == depth)
        if names and all(name.suffix == ".npy" for name in names):
            raise PicketError(f"{path}: is a NumPy archive; save one array as .npy")
        if len(highest) != 1:
            found = ", ".join(map(str, highest[:9])) or "no Zarr"
            raise PicketError(
                f"{path}: zip archive is not one Zarr ({found}); unzip it and name the volume in it"
            )
        store = zarr.storage.ZipStore(path, mode="r")
        return zarr.open(store=store, mode="r", path="/".join(highest[0].parts))
    except PicketError:
        raise
    except Exception as error:  # from zipfile, or Zarr
        raise PicketError(
            f"{path}: zip archive is damaged ({one_line(error)}); copy it again"
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


def _only_array(where: Location, group: Any, selector: VolumeSelector) -> Any:
    """The only array with three dimensions."""
    volumes = {name: array for name, array in group.arrays() if len(space_of(array.shape)) == 3}
    if len(volumes) != 1:
        names = sorted(volumes)
        listed = f" ({', '.join(names[:9])})" if names else ""
        raise PicketError(
            f"{where}: contains {len(volumes)} 3D arrays{listed} and no multiscales; "
            f"{selector.remedy(where, names[0] if names else '…')}"
        )
    (array,) = volumes.values()
    return array


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


def _ome_attributes(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Attributes of OME, which has a key of its own since 0.5."""
    nested = attributes.get("ome", attributes)
    return nested if isinstance(nested, Mapping) else attributes


def _first_image(where: Location, attributes: Mapping[str, Any]) -> list[Level]:
    """Levels of the first multiscale image that a group describes; [] if there is none.

    Raises:
        PicketError: the attributes are invalid, or the axes do not end in z, y, x.
    """
    with _understood(where):
        images = _ome_attributes(attributes).get("multiscales")
        return _levels(images[0]) if images else []


def _level_at(where: Location, attributes: Mapping[str, Any], path: str) -> Level | None:
    """The level with the array at ``path`` below a group, in any image that the group describes.

    Raises:
        PicketError: as for `_first_image`.
    """
    with _understood(where):
        for image in _ome_attributes(attributes).get("multiscales") or ():
            if any(dataset["path"] == path for dataset in image["datasets"]):
                return next(level for level in _levels(image) if level.path == path)
    return None


@contextmanager
def _understood(where: Location) -> Iterator[None]:
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        fault = one_line(error) if isinstance(error, ValueError) else repr(error)
        raise PicketError(
            f"{where}: invalid multiscales ({fault}); write it again as OME-Zarr 0.4"
        ) from None


def _levels(image: Mapping[str, Any]) -> list[Level]:
    axes = [
        {"name": axis} if isinstance(axis, str) else axis for axis in image.get("axes", "tczyx")
    ]
    if [axis["name"] for axis in axes[-3:]] != ["z", "y", "x"]:
        raise ValueError(f"axes {[axis['name'] for axis in axes]} do not end in z, y, x")
    units = np.array([angstrom_in(axis.get("unit", "angstrom")) for axis in axes])
    shared = image.get("coordinateTransformations", ())  # applied after those of a dataset
    levels = [
        _level(dataset["path"], [*dataset.get("coordinateTransformations", ()), *shared], units)
        for dataset in image["datasets"]
    ]
    if not levels:
        raise ValueError("no datasets")
    is_without_unit = not any("unit" in axis for axis in axes[-3:])
    if is_without_unit and levels[0].voxel_size == (1.0, 1.0, 1.0):  # voxels, not angstrom
        return [replace(level, voxel_size=(0.0, 0.0, 0.0)) for level in levels]
    return levels


def _level(path: str, steps: list[Mapping[str, Any]], units: np.ndarray) -> Level:
    """One level, from its transformations in their order.

    Its size is unknown if no transformation is a scale, or one is of another kind, such as a
    rotation, or is stored in a file.
    """
    scale, translation = np.ones(len(units)), np.zeros(len(units))
    is_told = any(step["type"] == "scale" for step in steps)
    for step in steps:
        if step["type"] == "identity":
            continue
        if step["type"] not in ("scale", "translation") or step["type"] not in step:
            is_told, translation = False, 0 * translation
            break
        numbers = np.asarray(step[step["type"]], dtype=float)
        if numbers.shape != units.shape:
            raise ValueError(f"a {step['type']} of {numbers.size} numbers for {len(units)} axes")
        if step["type"] == "scale":
            scale, translation = scale * numbers, translation * numbers
        else:
            translation = translation + numbers
    z, y, x = (float(f"{n:.6g}") if is_told else 0.0 for n in (scale * units)[-3:])
    at_z, at_y, at_x = (float(f"{n:.6g}") for n in (translation * units)[-3:])
    return Level(path, (z, y, x), (at_x, at_y, at_z))
