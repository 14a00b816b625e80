"""Which tomograms the segmentations of earlier runs are of, so that none of another is replaced."""

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from picket_gpu.errors import PicketError
from picket_gpu.files.filenames import TomogramFiles
from picket_gpu.files.location import Location, as_location, is_same
from picket_gpu.files.segmentations import read_attributes, read_own_attributes
from picket_gpu.method.clustering import Method

_SEGMENTATION = re.compile(r"segmentation_(\d+)_.+\.(h5|mrc|zarr)")


class Source(NamedTuple):
    """What a segmentation is of.

    Attributes:
        tomogram: where it is.
        as_given: what the user wrote.
        dataset: name of the data set; None where nothing tells.
    """

    tomogram: Location
    as_given: str
    dataset: str | None = None


class Earlier(NamedTuple):
    """What earlier runs have left in the directory of the outputs.

    Attributes:
        files: segmentations, by the index of their tomogram.
        made_of: sources by the fingerprints of segmentations, as records tell; MRC files do not.
        last: source of each index, as the newest record that has it tells.
    """

    files: Mapping[int, list[Path]]
    made_of: Mapping[str, Source]
    last: Mapping[int, Source]


def read_earlier(directory: Path) -> Earlier:
    """What there is in the directory of the outputs, which need not exist."""
    files: dict[int, list[Path]] = {}
    for path in sorted(directory.glob("segmentation_*")):
        if match := _SEGMENTATION.fullmatch(path.name):
            files.setdefault(int(match[1]), []).append(path)
    made_of: dict[str, Source] = {}
    last: dict[int, Source] = {}
    for record in sorted(read_records(directory), key=lambda record: str(record["started"])):
        with suppress(KeyError, TypeError, ValueError):
            place = Path(record.get("working_directory") or "")
            for unit in record["units"]:
                source = _source(unit["tomogram"], place)
                for segmentation in unit["segmentations"]:
                    made_of[segmentation["fingerprint"]] = last[unit["index"]] = source
    return Earlier(files, made_of, last)


def read_records(directory: Path) -> Iterable[dict[str, Any]]:
    """Records of runs in a directory, in any order, as JSON has them."""
    for path in directory.glob("run*.json"):
        with suppress(OSError, ValueError):  # what is no record tells nothing
            record = json.loads(path.read_bytes())
            if isinstance(record, dict) and "started" in record:
                yield record


def _source(as_given: str, place: Path) -> Source:
    where = as_location(as_given)
    return Source(place / where if isinstance(where, Path) else where, as_given)


def check_sources(
    files: TomogramFiles, wanted: Mapping[tuple[str, Method], str], now: Source, earlier: Earlier
) -> None:
    """Whether what would be replaced or removed, and all else that has the number of a tomogram, is
    of that tomogram: to pages and to S2 a number is one tomogram.

    Args:
        files: of the tomogram.
        wanted: fingerprints by feature mode and method.
        now: what the segmentations are to be of.

    Raises:
        PicketError: something is of another.
        OSError: a file is in use.
    """
    replaced = {
        path
        for workflow in wanted
        for path in (*files.of(*workflow).values(), *files.others(*workflow))
    }
    numbered = earlier.files.get(files.index, [])
    for path in sorted(replaced.union(numbered)):
        told = read_own_attributes(path)
        if told is None or told["fingerprint"] in wanted.values():
            continue
        before = _read_source(path)
        if before is None and path in numbered:
            before = earlier.made_of.get(told["fingerprint"], earlier.last.get(files.index))
        if before is None:  # an MRC file without its record
            continue
        if path not in numbered and not (_is_same(before, now) and before.dataset == now.dataset):
            raise PicketError(
                f"{path}: belongs to {before.tomogram} in {before.dataset}, not to "
                f"{now.as_given}; give each tomogram its own name, or use --overwrite"
            )
        if not _is_same(before, now) and path in replaced:
            raise PicketError(
                f"{path}: belongs to {before.tomogram} and would be replaced by "
                f"{now.as_given}; keep the order of inputs and add new tomograms at the end, "
                "change dataset_name, or use --overwrite"
            )
        if not _is_same(before, now):
            raise PicketError(
                f"{path}: belongs to {before.tomogram}, but number {files.index} is now "
                f"{now.as_given}; keep the order of inputs and add new tomograms at the end, "
                "change dataset_name, or move the file away"
            )


def _read_source(path: Path) -> Source | None:
    """What HDF5 and Zarr tell; of an MRC file nothing."""
    attributes = read_attributes(path)
    if "tomogram_path" not in attributes:
        return None
    where = str(attributes["tomogram_path"])
    given = str(attributes.get("tomogram_as_given", where))
    return Source(as_location(where), given, attributes.get("dataset_name"))


def _is_same(before: Source, now: Source) -> bool:
    """Whether two sources are one tomogram, which may have been moved with its directory."""
    if is_same(before.tomogram, now.tomogram):
        return True
    gone = isinstance(before.tomogram, Path) and not before.tomogram.exists()
    return gone and before.as_given == now.as_given
