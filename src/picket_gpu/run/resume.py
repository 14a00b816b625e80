"""What earlier runs have left: segmentations to keep, and files that would contradict new ones."""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from picket_gpu.errors import PicketError
from picket_gpu.files.atomic import remove
from picket_gpu.files.filenames import TomogramFiles
from picket_gpu.files.location import Location, as_location, is_same
from picket_gpu.files.provenance import Provenance, read_provenance
from picket_gpu.files.read_segmentation import read_attributes
from picket_gpu.method.clustering import Method


class Source(NamedTuple):
    """What segmentations are of.

    Attributes:
        dataset: name of the data set.
        tomogram: where it is.
        made_of: tomograms of earlier runs, by the fingerprints of their segmentations, as their
            records tell; MRC files do not.
    """

    dataset: str
    tomogram: Location
    made_of: Mapping[str, str]


@dataclass(frozen=True)
class ExistingOutput:
    """What there is of one task.

    Attributes:
        reusable: provenance of those segmentations that have all their files, made as wanted.
        otherwise: whether there are files that were made otherwise.
    """

    reusable: dict[tuple[str, Method], Provenance]
    otherwise: bool


def recorded_tomograms(directory: Path) -> dict[str, str]:
    """Tomograms of all segmentations that records in a directory tell of, by fingerprint."""
    made_of: dict[str, str] = {}
    for path in directory.glob("run*.json"):
        with suppress(OSError, ValueError, KeyError, TypeError):  # what is no record tells nothing
            for unit in json.loads(path.read_bytes())["units"]:
                for segmentation in unit["segmentations"]:
                    made_of[segmentation["fingerprint"]] = unit["tomogram"]
    return made_of


def find_existing(
    files: TomogramFiles, wanted: Mapping[tuple[str, Method], str], source: Source
) -> ExistingOutput:
    """What earlier runs have left of one task.

    Args:
        files: of the tomogram.
        wanted: fingerprints by feature mode and method.
        source: what the segmentations are to be of.

    Raises:
        PicketError: a file is there that S1 did not make, or of another tomogram.
        OSError: a file is in use.
    """
    found: dict[tuple[str, Method], Provenance] = {}
    otherwise = False
    for (mode, method), fingerprint in wanted.items():
        paths = files.of(mode, method).values()
        there = {path: told for path in paths if (told := _provenance(path)) is not None}
        for path, told in there.items():
            if told.fingerprint != fingerprint:
                otherwise = True
                _check_source(path, told, source)
        if [told.fingerprint for told in there.values()] == [fingerprint] * len(paths):
            found[mode, method] = next(iter(there.values()))
    return ExistingOutput(found, otherwise)


def _check_source(path: Path, told: Provenance, source: Source) -> None:
    """Whether a file that would be replaced is of the same tomogram.

    Raises:
        PicketError: it is not.
    """
    attributes = read_attributes(path)
    given = attributes.get("tomogram_as_given")
    name = attributes.get("tomogram_path", source.made_of.get(told.fingerprint))
    dataset = attributes.get("dataset_name", source.dataset)
    if name is None:  # an MRC file without its record
        return
    same = given == str(source.tomogram) or is_same(as_location(name), source.tomogram)
    if dataset != source.dataset:
        raise PicketError(
            f"{path}: is of {name} in {dataset}; give each tomogram a name of its own, or use "
            f"--overwrite"
        )
    if not same:
        raise PicketError(
            f"{path}: is of {name}, and would be replaced by that of {source.tomogram}; keep the "
            f"order of inputs and add new tomograms at the end, take another dataset_name, or use "
            f"--overwrite"
        )


def _provenance(path: Path) -> Provenance | None:
    told = read_provenance(path)
    if told is None and path.exists():
        raise PicketError(
            f"{path}: exists and does not say how it was made; use --overwrite, or another "
            f"dataset_name"
        )
    return told


def remove_contradicting(paths: Iterable[Path], fingerprint: str, foreign: bool) -> None:
    """Remove those files that were not made as one with this fingerprint was.

    Args:
        paths: of other kinds of files of the same workflow.
        foreign: whether files go too of which nobody knows how they were made.
    """
    for path in paths:
        told = read_provenance(path)
        if foreign if told is None else told.fingerprint != fingerprint:
            remove(path)
