"""STAR files of particles: one table, below comments on how it was made."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from picket_gpu.errors import PicketError, printable
from picket_gpu.files.atomic import atomic_file
from picket_gpu.particles.particles import Particles

TABLE, SCORE = "particles", "rlnAutopickFigureOfMerit"
NAME = "rlnTomoName"  # of RELION
COORDINATES = tuple(f"rlnCoordinate{axis}" for axis in "XYZ")
MOST_THRESHOLDS = 10  # that are told each for its tomogram


def write_star(
    path: Path,
    lists: Sequence[Particles],
    columns: Callable[[Particles], dict[str, np.ndarray]],
    name_column: str,
    name_of: Callable[[Particles], str] = lambda particles: particles.run_name,
    remarks: Iterable[str] = (),
) -> None:
    """Write a table with six decimals, its only one, because other programs read the first.

    Args:
        path: the file.
        lists: particles of each tomogram.
        columns: coordinates of particles, by column, each (n,) float64.
        name_column: column of the tomogram's name.
        name_of: a tomogram's name.
        remarks: further comments.

    Raises:
        PicketError: a STAR file cannot hold a tomogram's name.
    """
    # Slow to import.
    import pandas as pd
    import starfile

    for name in (particles.run_name for particles in lists):
        if (fault := name_fault(name)) is not None:
            raise PicketError(
                f"{path}: the name {name!r} has {fault}; set another name and run again"
            )
    # The name last, because a line that starts with data_ or _ would end the table.
    rows = [
        pd.DataFrame(
            columns(one) | {SCORE: one.heights, name_column: np.full(one.count, name_of(one), "O")}
        )
        for one in lists
    ]
    table = pd.concat(rows, ignore_index=True)
    # Without the first line, which has the time.
    _, text = starfile.to_string({TABLE: table}).split("\n", 1)
    lines = [*notes(lists), thresholds(lists), *remarks]
    with atomic_file(path) as temporary:
        temporary.write_text(comments(lines) + text, encoding="utf-8")


def comments(lines: Iterable[str]) -> str:
    """Lines as comments.

    RELION searches for ``data_``, and Warp for ``loop_``, in comments too (metadata_table.cpp,
    Star.cs), so that these words must not be in them.
    """
    plain = (re.sub("(data|loop)_", r"\1-", printable(line)) for line in lines)
    return "".join(f"# {line}\n" for line in plain)


def notes(lists: Sequence[Particles]) -> list[str]:
    """Lines on program, source and settings."""
    made = [f"{'-'.join(one.workflow)}, dataset {one.dataset_name}" for one in lists]
    settings = [f"particles: {json.dumps(one.settings)}" for one in lists if one.settings]
    return [f"picket_gpu {version('picket-gpu')}: {text}" for text in dict.fromkeys(made)] + list(
        dict.fromkeys(settings)
    )


def thresholds(lists: Sequence[Particles]) -> str:
    """Threshold of all tomograms, of each if they are few, or the least and the greatest."""
    found = {f"{one.threshold:.6g}": one.threshold for one in lists}
    if len(found) == 1:
        return f"threshold {next(iter(found))}"
    if len(lists) <= MOST_THRESHOLDS:
        return "thresholds " + ", ".join(f"{one.threshold:.6g} ({one.run_name})" for one in lists)
    least, greatest = min(found, key=found.__getitem__), max(found, key=found.__getitem__)
    return f"thresholds {least} to {greatest} ({len(lists)} tomograms)"


def name_fault(name: str) -> str | None:
    """What is in a tomogram's name that a STAR file cannot hold; None if it can be held."""
    if (quote := re.search("[\"'#]", name)) is not None:
        return f"the character {quote[0]}"
    if re.search(r"[^\S ]", name):
        return "a tab" if "\t" in name else "a blank that is no space"
    if "  " in name:
        return "two spaces in a row"
    if name != name.strip():
        return "a space at its start or end"
    return None if name else "no letters"


def star_name(name: str) -> str | None:
    """A tomogram's name as a table has it, in quotes if need be; None for one that cannot be."""
    if name_fault(name) is not None:
        return None
    return f'"{name}"' if " " in name else name


def read_table(path: Path, *names: str) -> Any:
    """Read the table, a pandas table, with these columns as text.

    Raises:
        KeyError, ValueError: the file has no such table.
    """
    import starfile  # slow to import

    return starfile.read(path, always_dict=True, parse_as_string=list(names))[TABLE]
