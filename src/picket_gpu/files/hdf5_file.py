"""Opening HDF5 files without locks, which NFS, DVS, BeeGFS and others may not have."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import h5py


@contextmanager
def hdf5_file(path: Path, mode: Literal["r", "w"] = "r") -> Iterator[h5py.File]:
    """Open an HDF5 file for reading, or a new one for writing, until the context ends.

    No lock is needed: inputs are only read, and what is written has a temporary name of its own.
    The environment variable ``HDF5_USE_FILE_LOCKING`` wins over ``locking``. Where it asks for
    locks that the file system does not have, Python opens the file, which locks nothing.

    Raises:
        OSError: the file is missing, damaged, or not HDF5.
    """
    try:
        file = h5py.File(path, mode, locking=False)
    except OSError as error:
        if "unable to lock file" not in str(error):
            raise
        with path.open({"r": "rb", "w": "w+b"}[mode]) as plain, h5py.File(plain, mode) as file:
            yield file
        return
    with file:
        yield file
