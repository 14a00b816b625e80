"""What earlier runs have left: segmentations to keep, and files that would contradict new ones."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from picket_gpu.clustering import Method
from picket_gpu.errors import PicketError
from picket_gpu.filenames import segmentation_files
from picket_gpu.stamp import Stamp, read_stamp


def stamps_of_unit(
    directory: Path, kinds: list[str], index: int, wanted: Mapping[tuple[str, Method], str]
) -> dict[tuple[str, Method], Stamp] | None:
    """Stamps of the segmentations of one unit: all of them if its files are there and made alike,
    none if they are to be made again, None if there is no file.

    Args:
        kinds: of files.
        index: the tomogram's.
        wanted: fingerprints by feature mode and method.

    Raises:
        PicketError: a file is there that S1 did not make.
    """
    found: dict[tuple[str, Method], Stamp] = {}
    there = False
    for (mode, method), fingerprint in wanted.items():
        files = segmentation_files(directory, kinds, index, mode, method).values()
        stamps = [stamp for path in files if (stamp := _stamp(path)) is not None]
        there = there or bool(stamps)
        if [stamp.fingerprint for stamp in stamps] == [fingerprint] * len(files):
            found[mode, method] = stamps[0]
    if not there:
        return None
    return found if len(found) == len(wanted) else {}


def _stamp(path: Path) -> Stamp | None:
    stamp = read_stamp(path)
    if stamp is None and path.exists():
        raise PicketError(
            f"{path}: exists and does not say how it was made; use --overwrite, or another "
            f"dataset_name"
        )
    return stamp


def remove_contradicting(paths: Iterable[Path], fingerprint: str, foreign: bool) -> None:
    """Remove those files that were not made as one with this fingerprint was.

    Args:
        paths: of other kinds of files of the same workflow.
        foreign: whether files go too of which nobody knows how they were made.
    """
    for path in paths:
        stamp = read_stamp(path)
        if foreign if stamp is None else stamp.fingerprint != fingerprint:
            path.unlink(missing_ok=True)
