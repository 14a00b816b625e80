"""What tells whether a volume has changed, without reading its voxels."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from picket_gpu.errors import one_line
from picket_gpu.files.location import Location, Url

_CHANGES = ("size", "ETag", "LastModified", "mtime", "etag", "updated")
_METADATA = ("zarr.json", ".zattrs", ".zgroup", ".zarray", ".zmetadata")


def file_signature(where: Location, storage_options: Mapping[str, Any]) -> dict[str, Any]:
    """Size and time of change of a file, or of all files below a directory. Of a URL a digest of
    its metadata, and of when they changed where the server tells: voxels at a URL are taken not to
    change while these do not.

    Raises:
        OSError: there is nothing there, or nobody may ask.
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
                content, told = system.cat_file(file), system.info(file)
            except FileNotFoundError:
                continue
            digest.update(content)
            digest.update(repr([told.get(key) for key in _CHANGES]).encode())
            found += 1
    except Exception as error:  # of any protocol, with whatever it raises
        raise OSError(f"{where}: cannot be read ({one_line(error)})") from error
    if not found:
        raise FileNotFoundError(f"{where}: no Zarr metadata")
    return digest.hexdigest()
