"""Where a volume is, a file, a directory or a URL, and whether it has changed."""

import argparse
import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeAlias
from urllib.parse import unquote, urlsplit

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from picket_gpu.errors import one_line

_CHANGES = ("size", "ETag", "LastModified", "mtime", "etag", "updated")
_METADATA = ("zarr.json", ".zattrs", ".zgroup", ".zarray", ".zmetadata")
# The forms of a shell that mean something else are refused, or they would be a part of the name.
_VARIABLE = re.compile(
    r"\\\$|\$(?:(?P<bare>[A-Za-z_]\w*)|\{(?P<braced>[A-Za-z_]\w*)\}|(?P<other>[({]))", re.ASCII
)


class Url(str):
    """URL of a volume that is not a file of this machine, such as s3://bucket/run/tomogram.zarr."""

    @property
    def name(self) -> str:
        """Last part of the path, like the name of a file."""
        return unquote(urlsplit(self).path.rstrip("/").rpartition("/")[2])


Location: TypeAlias = Path | Url


def as_location(text: Any) -> Location:
    """Convert what a user wrote to a path or a URL; file:// becomes a path.

    Raises:
        ValueError: it is neither.
    """
    if not isinstance(text, str | Path):
        raise ValueError("must be a path or a URL")
    check_name(str(text))
    if isinstance(text, Path | Url):
        return text
    if "://" not in text:
        return Path(text)
    if text.startswith("file://"):
        if not text.startswith("file:///"):
            raise ValueError("must have an absolute path after file://")
        return Path(unquote(text.removeprefix("file://")))
    if urlsplit(text).password is not None:
        raise ValueError(
            "must not contain a password, because output files record the URL; use storage_options"
        )
    return Url(text)


def as_written(text: Any) -> Location:
    """The same, after `expanded`.

    Raises:
        ValueError: it is neither, or names a variable that is not set.
    """
    return as_location(expanded(text) if isinstance(text, str) else text)


def expanded(path: str) -> str:
    r"""A path with ``~``, ``~USER``, ``$NAME`` and ``${NAME}`` replaced, as a shell does.

    ``\$`` is a dollar sign. What exists under the name as it is written stays as it is, and so do
    URLs.

    Raises:
        ValueError: it cannot be a path, an environment variable is not set, or empty, a home
            directory is unknown, or a shell would make something else of it.
    """
    check_name(path)
    if "://" in path or not re.search(r"^~|\$", path) or os.path.lexists(path):
        return path

    def value(match: re.Match[str]) -> str:
        if match[0] == r"\$":
            return "$"
        if match["other"]:
            raise ValueError(
                f"only $NAME and ${{NAME}} are replaced, not {path[match.start() :]}; write the "
                r"path, with \$ for a dollar sign in a name"
            )
        name = match["bare"] or match["braced"]
        if not (found := os.environ.get(name)):
            raise ValueError(f"environment variable {name} is not set; set it, or write the path")
        return found

    return _at_home(_VARIABLE.sub(value, path))


def _at_home(path: str) -> str:
    """A path with ``~`` or ``~USER`` at its beginning replaced.

    Raises:
        ValueError: the home directory is unknown.
    """
    home = path.partition("/")[0]
    found = os.path.expanduser(path)
    # The home directory of an account without an entry is unknown, as in containers.
    if path.startswith("~") and (found == path or (home == "~" and os.environ.get("HOME") == "")):
        raise ValueError(
            f"the home directory {home} is unknown; write the path, or ./{path} for a name that "
            "begins with ~"
        )
    return found


def path_argument(text: str) -> Path:
    """A path among the arguments of a command, after `expanded`.

    Raises:
        argparse.ArgumentTypeError: it cannot be a path.
    """
    try:
        return Path(expanded(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def location_argument(text: str) -> Location:
    """The same for a path or a URL."""
    try:
        return as_written(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


_AS_TEXT = (
    PlainSerializer(str, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "minLength": 1}),
)
# In a parameter file, and in what a run has written of it.
Place: TypeAlias = Annotated[Location, PlainValidator(as_written), *_AS_TEXT]
RecordedPlace: TypeAlias = Annotated[Location, PlainValidator(as_location), *_AS_TEXT]


def absolute(where: Location) -> Location:
    """The same location, independent of the working directory."""
    return where.absolute() if isinstance(where, Path) else where


def is_same(one: Location, other: Location) -> bool:
    """Whether two locations are the same volume, judging by their names."""
    if isinstance(one, Path) and isinstance(other, Path):
        return one.absolute() == other.absolute() or one.resolve() == other.resolve()
    return str(one) == str(other)


def check_name(text: str) -> None:
    """Check that names of files, and records, can contain a text.

    Raises:
        ValueError: they cannot.
    """
    if not text:
        raise ValueError("must not be empty")
    if re.search("[\0\ud800-\udfff]", text):
        raise ValueError("must be text in UTF-8, without null characters; rename it")


def stem_of(where: Location) -> str:
    """The file name without its ending, nor that of a compressed file."""
    return Path(re.sub(r"\.(gz|bz2)$", "", where.name)).stem


def name_in_lists(name: str, where: Location) -> str:
    """What STAR files, copick and lists call a tomogram: its name, less the ending of its file."""
    return stem_of(where) if name == where.name else name


def file_signature(where: Location, storage_options: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the state of a volume without reading its voxels, to notice that it has changed.

    This is the size and the time of change of a file, or of all files below a directory. For a URL
    it is a digest of the Zarr metadata, with their times of change if the server sends them; the
    voxels are assumed not to change unless the metadata do.

    Raises:
        OSError: the volume does not exist, or cannot be accessed.
    """
    if isinstance(where, Url):
        return {"metadata": _metadata_digest(where, storage_options)}
    if not where.is_dir():
        status = where.stat()
        return {"size": status.st_size, "changed": status.st_mtime_ns}
    size = changed = files = 0
    for directory, _, names in os.walk(where):
        for name in names:
            status = Path(directory, name).stat()
            size, files = size + status.st_size, files + 1
            changed = max(changed, status.st_mtime_ns)
    return {"size": size, "changed": changed, "files": files}


def _metadata_digest(where: Url, storage_options: Mapping[str, Any]) -> str:
    digest, found = hashlib.sha256(), 0
    try:
        import fsspec

        system, path = fsspec.core.url_to_fs(str(where), **storage_options)
        for name in (*_METADATA, *(f"0/{name}" for name in _METADATA)):
            file = f"{path.rstrip('/')}/{name}"
            try:
                content, info = system.cat_file(file), system.info(file)
            except FileNotFoundError:
                continue
            digest.update(content)
            digest.update(repr([info.get(key) for key in _CHANGES]).encode())
            found += 1
    except Exception as error:  # of any protocol, with whatever it raises
        raise OSError(f"{where}: cannot be read ({one_line(error)})") from error
    if not found:
        raise FileNotFoundError(f"{where}: no Zarr metadata")
    return digest.hexdigest()
