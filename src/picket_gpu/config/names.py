"""Names of tomograms: made by a template, and checked where files and lists depend on them."""

import re
from collections.abc import Iterator, Mapping
from fnmatch import translate
from itertools import groupby
from pathlib import Path

from picket_gpu.config.s1 import S1Config
from picket_gpu.errors import PicketError
from picket_gpu.files.location import Location, stem_of
from picket_gpu.particles.star_table import name_fault

RUN_NAME = re.compile(r"(?!\.\.?$)[A-Za-z0-9._-]{1,200}")  # of copick
_FIELD = re.compile(r"\{([^{}]*)\}")
# Of a pattern, as `glob` reads it; a bracket that is not closed is a letter.
_WILDCARD = re.compile(r"[*?]|\[!?\]?[^\]]*\]")
_SIMPLE = {"*": "[^/]*", "?": "[^/]"}


def is_template(name: str | None) -> bool:
    """Whether a name has a field such as ``{1}``."""
    return name is not None and _FIELD.search(name) is not None


def filled(template: str, where: Location, fields: Mapping[str, str]) -> str:
    """A name by its template.

    Args:
        template: text with fields in braces: ``stem`` and ``parent``, the file name without its
            ending and the directory's name, and those of ``fields``.
        where: the tomogram.

    Raises:
        ValueError: a field is unknown, or nothing comes of them.
    """
    directory = where.absolute().parent.name if isinstance(where, Path) else ""
    known = {**fields, "stem": stem_of(where), "parent": directory}

    def value(match: re.Match[str]) -> str:
        if match[1] not in known:
            *others, last = (f"{{{name}}}" for name in known)
            raise ValueError(
                f"{match[0]} is unknown for {where}; use {', '.join(others)} or {last}"
            )
        return known[match[1]]

    name = _FIELD.sub(value, template)
    if not name:
        raise ValueError(f"{template} is empty for {where}; use another template")
    return name


def matched(pattern: Path, found: Path) -> dict[str, str]:
    """What the wildcards of a pattern stand for in a path that it matches, by number from 1.

    Wildcards side by side, as in ``TS_??``, count as one. ``**`` counts too, and may be empty.
    Where there are several ways, the first wildcards stand for as much as they can.
    """
    *directories, last = pattern.as_posix().split("/")
    expression = "".join(
        r"(?:(.*)/)?" if part == "**" else f"{_expression(part)}/" for part in directories
    )
    match = re.fullmatch(expression + _expression(last), found.as_posix(), re.DOTALL)
    groups = match.groups("") if match else ()
    return {str(number): text for number, text in enumerate(groups, 1)}


def _expression(part: str) -> str:
    """A regular expression for the name of a file or directory, with a group for each wildcard."""
    if part == "**":
        return "(.*)"
    text = ""
    for wild, pieces in groupby(_pieces(part), key=lambda piece: piece[0]):
        joined = "".join(piece for _, piece in pieces)
        text += f"({joined})" if wild else joined
    return text


def _pieces(part: str) -> Iterator[tuple[bool, str]]:
    """Wildcards, and what is between them, as regular expressions."""
    end = 0
    for match in _WILDCARD.finditer(part):
        if match.start() > end:
            yield False, re.escape(part[end : match.start()])
        yield True, _wild(match[0])
        end = match.end()
    if end < len(part):
        yield False, re.escape(part[end:])


def _wild(wildcard: str) -> str:
    if wildcard in _SIMPLE:
        return _SIMPLE[wildcard]
    return translate(wildcard).removeprefix("(?s:").removesuffix(r")\Z").removesuffix(r")\z")


def check_names(config: S1Config) -> None:
    """Check the names of tomograms where lists of particles or a copick project have them.

    Segmentations are told apart by their numbers: PickET's parameter files may list a tomogram
    twice, with other limits.

    Raises:
        PicketError: a name cannot stand in a STAR file or a copick project, or two tomograms have
            the same.
    """
    copick, lists = "copick" in config.save, bool(config.pickings)
    if not copick and not lists:
        return
    named: dict[str, Location] = {}
    for place, entry in enumerate(config.inputs):
        key, name = f"inputs[{place}].name", entry.run_name
        fault = name_fault(name) if lists else None
        if fault is not None:
            raise PicketError(
                f"{key}: {name!r} has {fault}, which STAR files cannot hold; set another name "
                f"for {entry.tomogram}"
            )
        if copick and not RUN_NAME.fullmatch(name):
            raise PicketError(
                f"{key}: {name!r} is not a valid name of a copick run; use letters, digits, dots, "
                "hyphens and underscores"
            )
        if name in named:
            raise PicketError(
                f"{key}: {named[name]} and {entry.tomogram} are both called {name}; give each its "
                "own name, for a pattern by a template such as {1}"
            )
        named[name] = entry.tomogram
