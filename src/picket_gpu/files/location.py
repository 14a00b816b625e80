"""Where a volume is: a file or directory, or a URL."""

import re
from pathlib import Path
from typing import Annotated, Any, TypeAlias
from urllib.parse import unquote, urlsplit

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema


class Url(str):
    """Where a volume is that is no file of this machine, such as s3://bucket/run/tomogram.zarr."""

    @property
    def name(self) -> str:
        """The last part of the path, as of a file."""
        return unquote(urlsplit(self).path.rstrip("/").rpartition("/")[2])


Location: TypeAlias = Path | Url


def as_location(told: Any) -> Location:
    """What a user wrote; file:// leads to a file.

    Raises:
        ValueError: it is nothing of the kind.
    """
    if not isinstance(told, str | Path):
        raise ValueError("must be a path or a URL")
    check_name(str(told))
    if isinstance(told, Path | Url):
        return told
    if "://" not in told:
        return Path(told)
    if told.startswith("file://"):
        if not told.startswith("file:///"):
            raise ValueError("must have an absolute path after file://")
        return Path(unquote(told.removeprefix("file://")))
    if urlsplit(told).password is not None:
        raise ValueError(
            "must not contain a password, because output files record the URL; use storage_options"
        )
    return Url(told)


Place: TypeAlias = Annotated[
    Location,
    PlainValidator(as_location),
    PlainSerializer(str, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "minLength": 1}),
]


def absolute(where: Location) -> Location:
    """The same place, whatever the working directory."""
    return where.absolute() if isinstance(where, Path) else where


def is_same(one: Location, other: Location) -> bool:
    """Whether two locations are of one volume, as far as names tell."""
    if isinstance(one, Path) and isinstance(other, Path):
        return one.absolute() == other.absolute() or one.resolve() == other.resolve()
    return str(one) == str(other)


def check_name(text: str) -> None:
    """Whether files and records can have this in their names.

    Raises:
        ValueError: they cannot.
    """
    if not text:
        raise ValueError("must not be empty")
    if re.search("[\0\ud800-\udfff]", text):
        raise ValueError("must be text in UTF-8, without null characters")


def stem_of(where: Location) -> str:
    """The file name without its ending, nor that of a compressed file."""
    return Path(re.sub(r"\.(gz|bz2)$", "", where.name)).stem
