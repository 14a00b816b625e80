"""Entries of ``inputs`` that stand for several tomograms: patterns and star files."""

import glob
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from picket_gpu.config.faults import first_fault
from picket_gpu.config.inputs import PATTERN, Listed, TomogramInput
from picket_gpu.config.names import filled, is_template, matched
from picket_gpu.config.star import read_tomograms
from picket_gpu.errors import PicketError, printable
from picket_gpu.files.filenames import is_beside_segmentations
from picket_gpu.files.location import absolute, check_name
from picket_gpu.files.segmentation import read_own_attributes

OURS, MASKS = "that picket_gpu wrote", "named as masks"  # what a pattern leaves out


class _Found(NamedTuple):
    """A tomogram that an entry stands for.

    Attributes:
        keys: what it differs in from the entry.
        fields: what a template of its name may use, by name.
        listed: what the list says of it.
    """

    keys: dict[str, Any]
    fields: Mapping[str, str]
    listed: Listed = Listed()


def expanded(entries: list[TomogramInput]) -> tuple[list[TomogramInput], list[str]]:
    """The tomograms that ``entries`` stand for, in their order, and what to say of them.

    ``data/*.mrc`` stands for all that match, sorted by name, each with the other keys of its entry;
    ``**`` for any directories. Files that picket_gpu wrote, and masks of the entry, are left out. A
    ``.star`` file of RELION 5 or IsoNet stands for its tomograms. A ``name`` may be a template.

    Raises:
        PicketError: a pattern matches nothing, a star file has no tomograms, what it tells cannot
            be used, one name would be that of several, or a template makes no name.
    """
    tomograms: list[TomogramInput] = []
    notes: list[str] = []
    for number, entry in enumerate(entries):
        where = entry.tomogram
        if entry.is_listed or not (entry.is_list or is_template(entry.name)):
            tomograms.append(entry)
            continue
        if not entry.is_list or not isinstance(where, Path):
            tomograms += _made(number, entry, [_Found({}, {})])
        elif where.suffix.lower() != ".star":
            found, ours = _of_pattern(number, where)
            made, masks = _apart_from_masks(_made(number, entry, found))
            told = [
                _such_as(paths, what) for paths, what in ((ours, OURS), (masks, MASKS)) if paths
            ]
            if not made:
                raise PicketError(
                    f"inputs[{number}].tomogram: {where} matches only {' and '.join(told)}"
                )
            tomograms += made
            notes += [f"inputs[{number}].tomogram: left out {text}" for text in told]
        elif PATTERN.search(str(where)) and not where.exists():
            raise PicketError(
                f"inputs[{number}].tomogram: {where} is a pattern of lists; name each in an entry "
                "of its own"
            )
        else:
            tomograms += _made(number, entry, _of_star(where, entry))
    return tomograms, notes


def _made(number: int, entry: TomogramInput, found: list[_Found]) -> list[TomogramInput]:
    """The tomograms of one entry, each with its name."""
    if entry.name is not None and not is_template(entry.name) and len(found) > 1:
        raise PicketError(
            f"inputs[{number}].name: {entry.name} would name {len(found)} tomograms; use a "
            "template, such as {1}, or remove it"
        )
    tomograms = []
    for one in found:
        keys = {**dict(entry), **one.keys}
        try:
            if entry.name is not None and one.listed.fault is None:
                keys["name"] = filled(entry.name, keys["tomogram"], one.fields)
            made = TomogramInput.model_validate(keys)
        except ValidationError as error:
            raise PicketError(f"{entry.tomogram}: {first_fault(error, {})}") from None
        except ValueError as error:
            raise PicketError(f"inputs[{number}].name: {error}") from None
        tomograms.append(made.of_list(one.listed))
    return tomograms


def _of_pattern(number: int, pattern: Path) -> tuple[list[_Found], list[Path]]:
    """What a pattern matches, and files that picket_gpu wrote.

    Directories that are there as they are written are no patterns.

    Raises:
        PicketError: it matches nothing.
    """
    root = next(directory for directory in pattern.parents if os.path.exists(directory))
    inner = pattern.relative_to(root)
    matches = sorted(set(glob.glob(str(inner), root_dir=root, recursive=True)))
    paths = [root / match for match in matches]
    if not paths:
        allowed = os.access(root, os.R_OK | os.X_OK)
        why = "check the path" if allowed else f"there is no permission to read {root}"
        raise PicketError(f"inputs[{number}].tomogram: {pattern} matches no file; {why}")
    ours = [path for path in paths if _is_ours(path)]
    written = {*ours}
    inside = {path for path in paths if path.suffix == ".zarr"}  # of which files are no volumes
    others = [path for path in paths if path not in written and inside.isdisjoint(path.parents)]
    return [_matching(path, matched(inner, path.relative_to(root))) for path in others], ours


def _matching(path: Path, fields: Mapping[str, str]) -> _Found:
    """A tomogram that a pattern matches; one whose name records cannot hold fails alone."""
    try:
        check_name(str(path))
    except ValueError:
        shown = printable(str(path))
        fault = f"{shown}: its name is not text in UTF-8; rename the file"
        return _Found({"tomogram": Path(shown)}, fields, Listed(fault=fault))
    return _Found({"tomogram": path}, fields)


def _is_ours(path: Path) -> bool:
    """Whether picket_gpu wrote a file, by what it says of itself, or by its name."""
    if is_beside_segmentations(path):
        return True
    try:
        return path.exists() and read_own_attributes(path) is not None
    except OSError:  # the run will tell
        return False


def _apart_from_masks(
    entries: list[TomogramInput],
) -> tuple[list[TomogramInput], list[Path]]:
    """Tomograms of a pattern, and files that are masks of some of them."""
    masks = {absolute(mask.file) for entry in entries for mask in entry.own_masks}
    tomograms = [entry for entry in entries if absolute(entry.tomogram) not in masks]
    found = [entry.tomogram for entry in entries if absolute(entry.tomogram) in masks]
    return tomograms, [path for path in found if isinstance(path, Path)]


def _such_as(paths: list[Path], what: str) -> str:
    one = len(paths) == 1
    number = "a file" if one else f"{len(paths)} files"
    return f"{number} {what}{', ' if one else ', such as '}{paths[0]}"


def _of_star(star: Path, entry: TomogramInput) -> list[_Found]:
    """Tomograms of a star file; what the entry tells wins."""
    return [
        _Found(
            {
                "tomogram": listed.path,
                "name": listed.name,
                "voxel_size": entry.voxel_size or listed.voxel_size,
                "centre": entry.centre or listed.centre,
            },
            {} if listed.name is None else {"name": listed.name},
            Listed(
                listed.warnings,
                listed.fault,
                "voxel_size" if entry.voxel_size else f"the voxel size of {star}",
            ),
        )
        for listed in read_tomograms(star)
    ]
