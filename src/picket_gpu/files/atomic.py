"""Files and directories that are either complete or absent.

They are written under a temporary name in the same directory, and renamed when complete.
"""

import errno
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import get_ident

_HOST = platform.node().replace(".", "-")
PART = ".part"
_UNFINISHED = re.compile(rf"\..+\.(?P<host>[^.]*)\.(?P<process>\d+)\.\d+{re.escape(PART)}")
ABANDONED = 2 * 24 * 3600  # seconds; clocks of machines differ by less
# What some network file systems say of fsync; 524 is the kernel's ENOTSUPP.
_NO_SYNC = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, 524)
# What a disk that cannot take a file says; HDF5 has the number in its text only.
_FULL = {
    errno.ENOSPC: "no space left on the disk; make room and run again",
    errno.EDQUOT: "the disk quota is used up; make room and run again",
    errno.EFBIG: "the file is larger than allowed (ulimit -f); raise the limit and run again",
}
MOST_TRIES = 10  # to replace, or remove, a directory that is written to at the same time
PAUSE = 0.05  # seconds, between tries to remove one


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary name to write to, renamed to ``path`` on success and removed otherwise."""
    temporary = _temporary(path)
    try:
        with _told_in_full(path):
            yield temporary
            _sync(temporary)  # before the name says that the file is complete
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """A temporary name for a directory, renamed to ``path`` on success and removed otherwise.

    An existing directory is moved aside first, because no single step replaces one.
    """
    temporary, old = _temporary(path), _temporary(path, "-old")
    try:
        with _told_in_full(path):
            yield temporary
            for directory, _, names in os.walk(temporary):
                for name in names:
                    _sync(Path(directory, name))
        for _ in range(MOST_TRIES):
            with suppress(FileNotFoundError):
                path.rename(old)
            try:
                temporary.rename(path)
                return
            except OSError:
                if not path.exists():
                    raise
                remove(old)
        raise OSError(f"{path}: another program keeps writing it; stop that program and run again")
    finally:
        remove(old)
        for _ in range(MOST_TRIES):
            if not temporary.exists():
                break
            remove(temporary)
            time.sleep(PAUSE)  # after an error Zarr's threads go on writing for a moment


@contextmanager
def _told_in_full(path: Path) -> Iterator[None]:
    """Name the file, and what to do, where the disk or the directory does not take it."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # h5py raises both
        number = getattr(error, "errno", None)
        if (told := re.search(r"errno = (\d+)", str(error))) is not None:
            number = int(told[1])
        if number in _FULL:
            raise OSError(f"{path}: {_FULL[number]}") from error
        refused = number in (errno.EACCES, errno.EPERM, errno.EROFS)
        if refused and Path(str(getattr(error, "filename", None))).parent == path.parent:
            raise PermissionError(
                f"{path}: no permission to write in {path.parent.absolute()}; choose another "
                "directory"
            ) from error
        raise


class Pace:
    """When to write a growing file again, so that the time for each addition does not grow.

    After each writing there is a pause of `REST` times as long as it took.
    """

    REST = 20

    def __init__(self) -> None:
        self._next = 0.0

    @property
    def is_due(self) -> bool:
        """Whether the pause is over."""
        return time.perf_counter() >= self._next

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Measure what is written inside."""
        begin = time.perf_counter()
        yield
        end = time.perf_counter()
        self._next = end + self.REST * (end - begin)


def remove(path: Path) -> None:
    """Remove a file or a directory if it exists; a directory is renamed first."""
    if path.is_dir() and not path.is_symlink():
        gone = path if path.suffix == PART else _temporary(path, "-old")
        path.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_leftovers(directory: Path) -> None:
    """Remove unfinished files of processes of this machine that have ended, and abandoned ones.

    Whether a process of another machine has ended cannot be asked. What it writes changes every few
    seconds, so a file that nothing has changed for `ABANDONED` is one that nobody writes any more.
    """
    for path in directory.glob(f".*{PART}"):
        named = _UNFINISHED.fullmatch(path.name)
        if named is None:
            continue
        # Another job may remove it at the same time.
        with suppress(OSError):
            here = named["host"] == _HOST
            if _has_ended(int(named["process"])) if here else _age(path) > ABANDONED:
                remove(path)


def _has_ended(process: int) -> bool:
    """Whether a process of this machine has ended."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):  # of another user, or no number of a process
        return False
    # One that has ended has a number until its parent has asked for it, which the first process of
    # a container may never do.
    with suppress(OSError):  # Linux
        state = Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()
        return state[:1] in ([b"Z"], [b"X"])
    return False


def _age(path: Path) -> float:
    """Seconds since a file, or anything in a directory, was changed."""
    paths = [path, *path.rglob("*")] if path.is_dir() else [path]
    return time.time() - max(one.lstat().st_mtime for one in paths)


def _temporary(path: Path, kind: str = "") -> Path:
    return path.with_name(f".{path.name}{kind}.{_HOST}.{os.getpid()}.{get_ident()}{PART}")


def _sync(path: Path) -> None:
    with path.open("r+b") as file:  # Windows syncs what is open for writing
        try:
            os.fsync(file.fileno())
        except OSError as error:
            if error.errno not in _NO_SYNC:
                raise
