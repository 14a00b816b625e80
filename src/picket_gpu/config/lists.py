"""Entries of ``inputs`` that stand for several tomograms: patterns and star files."""

import glob
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from picket_gpu.config.faults import first_fault
from picket_gpu.config.inputs import TomogramInput
from picket_gpu.config.star import read_tomograms
from picket_gpu.errors import PicketError


def expanded(entries: list[TomogramInput]) -> list[TomogramInput]:
    """The tomograms that ``entries`` stand for, in their order.

    ``data/*.mrc`` stands for all that match, sorted by name, each with the other keys of its entry;
    ``**`` for any directories. A ``.star`` file of RELION 5 stands for its tomograms.

    Raises:
        PicketError: a pattern matches nothing, a star file has no tomograms, what it tells cannot
            be used, or one name would be that of several.
    """
    return [one for number, entry in enumerate(entries) for one in _tomograms(number, entry)]


def _tomograms(number: int, entry: TomogramInput) -> list[TomogramInput]:
    where = entry.tomogram
    if not entry.is_list or not isinstance(where, Path):
        return [entry]
    found = _of_star(where, entry) if where.suffix.lower() == ".star" else _of_pattern(where)
    if not found:
        raise PicketError(f"inputs[{number}].tomogram: {where} matches no file")
    if entry.name is not None and len(found) > 1:
        raise PicketError(
            f"inputs[{number}].name: {entry.name} would name {len(found)} tomograms; remove it"
        )
    try:
        return [TomogramInput.model_validate({**dict(entry), **one}) for one in found]
    except ValidationError as error:
        raise PicketError(f"{where}: {first_fault(error, {})}") from None


def _of_pattern(pattern: Path) -> list[dict[str, Any]]:
    """What each tomogram differs in from the entry."""
    return [
        {"tomogram": Path(match)} for match in sorted(set(glob.glob(str(pattern), recursive=True)))
    ]


def _of_star(star: Path, entry: TomogramInput) -> list[dict[str, Any]]:
    """The same; what the entry tells wins."""
    return [
        {
            "tomogram": listed.path,
            "name": entry.name or listed.name,
            "voxel_size": entry.voxel_size or listed.voxel_size,
        }
        for listed in read_tomograms(star)
    ]
