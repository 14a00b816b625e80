"""What earlier runs have left: segmentations to keep, and files that would contradict new ones."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from picket_gpu.clustering import Method
from picket_gpu.errors import PicketError
from picket_gpu.filenames import TomogramFiles
from picket_gpu.saved import read_attributes
from picket_gpu.stamp import Stamp, read_stamp
from picket_gpu.writers.whole import remove


@dataclass(frozen=True)
class Earlier:
    """What there is of one unit.

    Attributes:
        stamps: of those segmentations that have all their files, made as wanted.
        otherwise: whether there are files that were made otherwise.
    """

    stamps: dict[tuple[str, Method], Stamp]
    otherwise: bool


def find_earlier(
    files: TomogramFiles, wanted: Mapping[tuple[str, Method], str], source: tuple[str, str]
) -> Earlier:
    """What earlier runs have left of one unit.

    Args:
        files: of the tomogram.
        wanted: fingerprints by feature mode and method.
        source: name of the data set and path of the tomogram.

    Raises:
        PicketError: a file is there that S1 did not make, or of another tomogram.
        OSError: a file is in use.
    """
    found: dict[tuple[str, Method], Stamp] = {}
    otherwise = False
    for (mode, method), fingerprint in wanted.items():
        paths = files.of(mode, method).values()
        stamps = [stamp for path in paths if (stamp := _stamp(path)) is not None]
        if files.copick and any(stamp.fingerprint != fingerprint for stamp in stamps):
            _check_source(files.copick.path(mode, method), source)
        otherwise = otherwise or any(stamp.fingerprint != fingerprint for stamp in stamps)
        if [stamp.fingerprint for stamp in stamps] == [fingerprint] * len(paths):
            found[mode, method] = stamps[0]
    return Earlier(found, otherwise)


def _check_source(path: Path, source: tuple[str, str]) -> None:
    """Whether a file of a copick project, which several data sets may share, is of this one."""
    if read_stamp(path) is not None:
        told = read_attributes(path)
        if (told["dataset_name"], told["tomogram_path"]) != source:
            raise PicketError(
                f"{path}: is of {told['tomogram_path']} in {told['dataset_name']}; give each "
                f"tomogram a name of its own, or use --overwrite"
            )


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
            remove(path)
