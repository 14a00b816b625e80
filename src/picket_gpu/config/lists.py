"""Entries of ``inputs`` that stand for several tomograms: patterns and star files."""

import glob
from collections.abc import Iterator
from pathlib import Path

from picket_gpu.config.inputs import TomogramInput
from picket_gpu.config.star import read_tomograms
from picket_gpu.errors import PicketError


def expanded(entries: list[TomogramInput]) -> list[TomogramInput]:
    """The tomograms that ``entries`` stand for, in their order.

    ``data/*.mrc`` stands for all that match, sorted by name, each with the other keys of its entry.
    A ``.star`` file of RELION 5 stands for its tomograms.

    Raises:
        PicketError: a pattern matches nothing, a star file has no tomograms, or one name would be
            that of several.
    """
    return [one for number, entry in enumerate(entries) for one in _tomograms(number, entry)]


def _tomograms(number: int, entry: TomogramInput) -> Iterator[TomogramInput]:
    where = entry.tomogram
    if not entry.is_list or not isinstance(where, Path):
        yield entry
    elif where.suffix.lower() == ".star":
        for told in read_tomograms(where):
            known = {"voxel_size": told.voxel_size, "name": told.name}
            given = {"voxel_size": entry.voxel_size, "name": entry.name}
            settings = known | {key: value for key, value in given.items() if value is not None}
            yield entry.model_copy(update={"tomogram": told.path, **settings})
    else:
        matches = sorted(glob.glob(str(where)))
        if not matches:
            raise PicketError(f"inputs[{number}].tomogram: {where} matches no file")
        if entry.name is not None and len(matches) > 1:
            raise PicketError(
                f"inputs[{number}].name: {entry.name} would be the name of {len(matches)} "
                f"tomograms; remove it"
            )
        for match in matches:
            yield entry.model_copy(update={"tomogram": Path(match)})
