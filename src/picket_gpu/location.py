"""Where a volume is: a file or directory, or a URL."""

from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit


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
    if isinstance(told, Path | Url):
        return told
    if not isinstance(told, str):
        raise ValueError("must be a path or a URL")
    if not told:
        raise ValueError("must not be empty")
    if "\0" in told:
        raise ValueError("must not hold a null character")
    if "://" not in told:
        return Path(told)
    if told.startswith("file://"):
        if not told.startswith("file:///"):
            raise ValueError("must have an absolute path after file://")
        return Path(unquote(told.removeprefix("file://")))
    if urlsplit(told).password is not None:
        raise ValueError("must not hold a password, for files name the URL; use storage_options")
    return Url(told)
