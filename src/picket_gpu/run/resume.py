"""What earlier runs have left: segmentations to keep, and files that would contradict new ones."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from picket_gpu.errors import PicketError
from picket_gpu.files.atomic import remove
from picket_gpu.files.filenames import TomogramFiles
from picket_gpu.files.segmentations import has_scores, read_own_attributes
from picket_gpu.method.clustering import Method


@dataclass(frozen=True)
class ExistingOutput:
    """What there is of one task.

    Attributes:
        reusable: attributes of those segmentations that have all their files, made as wanted, with
            scores where they are wanted; nobody minds more.
        otherwise: whether there are files that were made otherwise, or that lack scores.
    """

    reusable: dict[tuple[str, Method], dict[str, Any]]
    otherwise: bool


def find_existing(files: TomogramFiles, wanted: Mapping[tuple[str, Method], str]) -> ExistingOutput:
    """What earlier runs have left of one task.

    Args:
        files: of the tomogram.
        wanted: fingerprints by feature mode and method.

    Raises:
        PicketError: a file is there that S1 did not make.
        OSError: a file is in use.
    """
    found: dict[tuple[str, Method], dict[str, Any]] = {}
    otherwise = False
    for (mode, method), fingerprint in wanted.items():
        paths = files.of(mode, method)
        there = [told for path in paths.values() if (told := _own_attributes(path)) is not None]
        bare = (mode, method) in files.scored and any(
            paths[kind].exists() and not has_scores(paths[kind])
            for kind in ("hdf5", "mrc", "zarr")
            if kind in paths
        )
        otherwise = otherwise or bare or any(told["fingerprint"] != fingerprint for told in there)
        if not bare and [told["fingerprint"] for told in there] == [fingerprint] * len(paths):
            found[mode, method] = there[0]
    return ExistingOutput(found, otherwise)


def _own_attributes(path: Path) -> dict[str, Any] | None:
    told = read_own_attributes(path)
    if told is None and path.exists():
        raise PicketError(
            f"{path}: already exists and carries no picket_gpu settings; use --overwrite to "
            "replace it, or change dataset_name"
        )
    return told


def remove_contradicting(paths: Iterable[Path], fingerprint: str, foreign: bool) -> None:
    """Remove those files that were not made as one with this fingerprint was.

    Args:
        paths: of other kinds of files of the same workflow.
        foreign: whether files go too of which nobody knows how they were made.
    """
    for path in paths:
        told = read_own_attributes(path)
        if foreign if told is None else told["fingerprint"] != fingerprint:
            remove(path)
