"""What a directory holds: segmentations, how they were made, and which of them a run may keep.

Each file of a segmentation carries a fingerprint, a digest of everything that its labels depend
on. HDF5 and Zarr files also name their tomogram and settings; of MRC files the run records do.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from picket_gpu.config.inputs import MASKS, TomogramInput
from picket_gpu.config.s1 import S1Config
from picket_gpu.errors import PicketError, one_line
from picket_gpu.files.atomic import remove
from picket_gpu.files.filenames import TomogramFiles
from picket_gpu.files.formats.other import SCORES, SELECTOR, Other
from picket_gpu.files.lazy_volume import VolumeSelector, is_possible_origin
from picket_gpu.files.location import Location, as_location, file_signature, is_same, stem_of
from picket_gpu.files.readers import is_named_like_a_volume
from picket_gpu.files.readers.hdf5 import OURS
from picket_gpu.files.segmentation import (
    NO_WINDOWS,
    Segmentation,
    Subject,
    Vector,
    has_scores,
    is_of_another_program,
    read_attributes,
    read_own_attributes,
)
from picket_gpu.files.tomogram import TomogramHeader, contradiction, open_checked, read_header
from picket_gpu.particles.settings import Workflow
from picket_gpu.report.write import FailedParts

ENDINGS = (".h5", ".zarr", ".mrc")  # the first file found says the most
_OURS = re.compile(r"segmentation_(\d+)_([^_]+)_([^_.]+)")
_NUMBERED = re.compile(r"[^_]+_(\d+)(?:_([^_]+)_([^_]+))?.*")  # PickET needs the number only
_UNNAMED = ("0", "unknown", "unknown")  # of a renamed file
# In warnings of versions that left no beads out: labels may be those of beads.
_OF_BEADS = "gold beads; set clip: 5"
_REPLACE = "use --overwrite to replace it, or change dataset_name"


def fingerprints(config: S1Config, entry: TomogramInput) -> dict[Workflow, str]:
    """Digests of everything that each segmentation of a tomogram depends on, by workflow.

    They cover the version, the settings, and path, size and time of change of the tomogram and its
    masks; not the device, the memory, and whether scores are saved. ``beads: mask`` is left out:
    where there are no beads, labels are those of versions that had no such key.

    Raises:
        OSError: the tomogram or a mask is missing or not accessible.
    """
    facts: dict[str, Any] = {"version": version("picket-gpu"), "tomogram": entry.facts()}
    places: dict[str, Location] = {"tomogram": entry.tomogram}
    for use in ("fitting_mask", "output_mask"):
        if (mask := getattr(entry, use)) is not None:
            places[use] = mask.file
    for place, where in places.items():
        facts[f"{place}_state"] = file_signature(where, entry.storage_options)
    for name in ("neighborhood_size", "max_num_neighborhoods_for_fitting", "seed", "precision"):
        facts[name] = getattr(config, name)
    for name in ("blur_sigma", "padding", "clip"):
        facts[name] = getattr(config, name)
    if config.beads != "mask":
        facts["beads"] = config.beads
    modes: dict[str, Any] = {
        mode.mode: mode.model_dump(mode="json") for mode in config.feature_extraction_params
    }
    return {
        (mode, method): digest(facts | {"mode": modes[mode], "method": method})
        for mode, method in config.workflows
    }


def digest(facts: Mapping[str, Any]) -> str:
    """Digest of plain values, 32 hexadecimal digits, whatever the order of their names."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def subject_of(
    config: S1Config,
    entry: TomogramInput,
    index: int,
    header: TomogramHeader,
    warnings: Iterable[str] = (),
) -> Subject:
    """A tomogram as a configuration describes it."""
    return Subject(
        directory=config.directory,
        index=index,
        tomogram=entry.tomogram,
        name=entry.label,
        shape=header.shape,
        voxel_size=header.voxel_size,
        origin=header.place,
        warnings=tuple(warnings),
        **_settings_of(config, entry),
    )


def _settings_of(config: S1Config, entry: TomogramInput) -> dict[str, Any]:
    of_entry = (
        *("dataset", "centre", "outside_is_padding", "lower_z_slice_limit", "upper_z_slice_limit"),
        *("prediction_lower_z_slice_limit", "prediction_upper_z_slice_limit"),
    )
    of_config = (
        *("dataset_name", "neighborhood_size", "max_num_neighborhoods_for_fitting", "seed"),
        *("blur_sigma", "padding", "beads", "clip"),
    )
    return {
        **{name: getattr(entry, name) for name in of_entry},
        **{name: getattr(config, name) for name in of_config},
        "mask_for_fitting": entry.fitting_mask,
        "mask_for_output": entry.output_mask,
    }


def _of_another_program(path: Path, voxel_size: Vector | None) -> Segmentation:
    """A mask or a map of scores that another program made; it names no tomogram.

    Its particles have the name of the file in place of a feature mode.

    Raises:
        PicketError: it is neither.
    """
    content = Other.examine(path)
    header = read_header(path, SELECTOR)
    stem, warnings = stem_of(path), [f"{path}: is no S1 segmentation; using it as {content}"]
    if voxel_size is not None:
        told = contradiction("--voxel-size", voxel_size, header.voxel_size)
        warnings += [f"{path}: {warning}" for warning in told]
    numbered, ours = _NUMBERED.fullmatch(stem), _OURS.fullmatch(stem)
    mode, method = ours.groups()[1:] if ours else (re.sub(r"[\W_]", "", stem), content.kind)
    size = voxel_size or _size({"voxel_size": header.voxel_size}) or (0.0,) * 3
    return Segmentation(
        directory=path.parent,
        index=int(numbered[1]) if numbered else 0,
        tomogram=path,
        name=path.name,
        dataset_name=path.absolute().parent.name,
        shape=header.shape,
        voxel_size=size,
        origin=replace(header, voxel_size=size).place,
        neighborhood_size=NO_WINDOWS,
        padding="keep",
        beads="keep",
        warnings=warnings,
        mode=mode or "unknown",
        method=method,
        scored=content.kind == SCORES,
        fingerprint=digest({"path": str(path.absolute()), **file_signature(path, {})}),
        files=[path.name],
    )


class _Made(NamedTuple):
    """What run records say of the segmentations with one fingerprint.

    Attributes:
        tomogram: where the tomogram was.
        as_given: as the user wrote it.
        number: index of the tomogram.
        rank: place among the segmentations of all records.
        record: the record.
        unit: what it says of the step.
    """

    tomogram: Location
    as_given: str
    number: int
    rank: int
    record: Mapping[str, Any]
    unit: Mapping[str, Any]


class _Tomogram(NamedTuple):
    """A tomogram in a record: where it was, and as the user wrote it."""

    where: Location
    as_given: str


class Directory:
    """Results in one directory, which need not exist."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._made: dict[str, _Made] = {}
        self._last: dict[int, _Made] = {}
        self._failed: dict[int, tuple[_Tomogram, FailedParts]] = {}
        self._inputs: dict[int, tuple[str, str]] = {}
        records = sorted(self._records(), key=lambda record: str(record["started"]))
        for record in records:
            failed: dict[int, tuple[_Tomogram, FailedParts]] = {}
            with suppress(KeyError, TypeError, ValueError):
                for unit in record["units"]:
                    where = as_location(unit["tomogram"])
                    parts = failed.setdefault(
                        unit["index"], (_Tomogram(_beside(where, record), unit["tomogram"]), [])
                    )[1]
                    if unit["status"] == "failed":
                        parts.append((unit["mode"], str(unit["error"])))
                    for line in unit["segmentations"]:
                        made = _Made(
                            _beside(where, record),
                            unit["tomogram"],
                            unit["index"],
                            len(self._made),
                            record,
                            unit,
                        )
                        self._made[line["fingerprint"]] = self._last[unit["index"]] = made
            self._failed |= failed  # the newest record that names a tomogram is right
            with suppress(KeyError, TypeError, ValueError):
                self._inputs = _inputs(record)
        self._files: dict[int, list[Path]] = {}
        for file in sorted(path.glob("segmentation_*")):
            if (
                match := re.fullmatch(r"segmentation_(\d+)_.+\.(h5|mrc|zarr)", file.name)
            ) is not None:
                self._files.setdefault(int(match[1]), []).append(file)

    def _records(self) -> Iterable[dict[str, Any]]:
        for path in self.path.glob("run*.json"):
            with suppress(OSError, ValueError):  # what is no record says nothing
                record = json.loads(path.read_bytes())
                if isinstance(record, dict) and "started" in record:
                    yield record

    @property
    def inputs(self) -> Mapping[int, tuple[str, str]]:
        """Names and paths of the tomograms that the newest record is of, by index."""
        return self._inputs

    def failures(self, tomograms: Mapping[int, tuple[str, str]]) -> dict[int, FailedParts]:
        """What failed of each tomogram in the newest record that names it, by index.

        Args:
            tomograms: their names and paths; what is recorded of others is left out.
        """
        found = {}
        for index, (recorded, parts) in self._failed.items():
            given = tomograms.get(index, ("", ""))[1]
            same = given == recorded.as_given or (
                given and is_same(recorded.where, as_location(given))
            )
            if parts and same:
                found[index] = parts
        return found

    def segmentations(self, voxel_size: Vector | None = None) -> list[Segmentation]:
        """Segmentations in the order of tomograms, and of the workflows of their run.

        Each is read from its HDF5 file, else from Zarr, else from MRC.

        Args:
            voxel_size: angstrom, (z, y, x), overriding the files.

        Raises:
            PicketError: there are none, or one is unusable.
        """
        paths: dict[str, Path] = {}
        for ending in ENDINGS:
            for files in self._files.values():
                for file in files:
                    if file.suffix == ending and _OURS.fullmatch(file.stem):
                        paths.setdefault(file.stem, file)
        if not paths:
            raise PicketError(
                f"{self.path}: contains no segmentation_*.h5, .zarr or .mrc; name "
                "output_dir/dataset_name of an S1 run"
            )
        found = [self.read(file, voxel_size) for file in paths.values()]

        def place(one: Segmentation) -> tuple[Any, ...]:
            made = self._made.get(one.fingerprint)
            return one.index, inf if made is None else made.rank, one.mode, one.method != "kmeans"

        return sorted(found, key=place)

    def read(
        self, path: Path, voxel_size: Vector | None = None, named: bool = True
    ) -> Segmentation:
        """The segmentation in a file, also of the original PickET.

        Args:
            voxel_size: angstrom, (z, y, x), overriding the file.
            named: whether the file name must have the number of the tomogram.

        Raises:
            PicketError: it is unusable.
        """
        match = _NUMBERED.fullmatch(path.stem)
        if not path.exists():
            raise PicketError(f"{path}: no such file; name an S1 segmentation or its directory")
        if not is_named_like_a_volume(path):
            raise PicketError(
                f"{path}: is not an S1 segmentation; name its .h5, .zarr or .mrc file"
            )
        if is_of_another_program(path):
            return _of_another_program(path, voxel_size)
        if match is None and named:
            raise PicketError(
                f"{path}: file name has no tomogram number; rename it as S1 does, for example "
                f"segmentation_0_gabor_gmm{path.suffix}"
            )
        try:
            return self._read(path, match.groups() if match else _UNNAMED, voxel_size)
        except ValidationError as error:
            fault = error.errors()[0]
            reason = f"{fault['loc'][-1]}: {fault['msg']}"
        except (OSError, KeyError, ValueError, TypeError) as error:
            reason = one_line(error)
        raise PicketError(
            f"{path}: is not an S1 segmentation ({reason}); run S1 again, or move it away"
        )

    def _read(
        self, path: Path, named: Sequence[str | None], voxel_size: Vector | None
    ) -> Segmentation:
        number, mode, method = named
        attributes = read_attributes(path)
        volume = open_checked(path, VolumeSelector(OURS if path.suffix == ".h5" else None))
        z, y, x = volume.shape
        known: dict[str, Any] = {"directory": path.parent, "files": [path.name]}
        known |= {"index": int(number or 0), "shape": (z, y, x), "scored": has_scores(path)}
        known["fingerprint"] = attributes.get("fingerprint") or digest(
            {"path": str(path.absolute()), **file_signature(path, {})}
        )
        made = self._made.get(known["fingerprint"])
        made = made if made is not None and made.number == known["index"] else None
        if made is not None:
            known |= _recorded(made)
            names = next(
                line["files"]
                for line in made.unit["segmentations"]
                if line["fingerprint"] == known["fingerprint"]
            )
            others = (name for name in names if name != path.name)
            known["files"] += [name for name in others if (path.parent / name).exists()]
        mode = attributes.get("fex_mode", mode)
        method = attributes.get("clustering_method", method)
        if not (str(mode).isalnum() and str(method).isalnum()) or None in (mode, method):
            raise ValueError("no workflow recorded in it")
        known |= {"mode": str(mode), "method": str(method)}
        known["tomogram"] = _tomogram(attributes, made) or path
        known.setdefault("name", attributes.get("tomogram_name", known["tomogram"].name))
        known.setdefault(
            "dataset_name", attributes.get("dataset_name", path.absolute().parent.name)
        )
        known.setdefault("neighborhood_size", attributes.get("neighborhood_size", 5))
        side = known["neighborhood_size"]
        if not 3 <= side <= min(z, y, x) or side % 2 == 0:
            raise ValueError(f"neighborhood_size {side}")
        size, origin = voxel_size or _size(attributes), attributes.get("origin")
        if origin is not None and not is_possible_origin(origin, size or (0.0,) * 3):
            origin = None  # of a version that took any bytes for one
        if path.suffix != ".h5":
            header = TomogramHeader(
                path, (z, y, x), volume.voxel_size, volume.origin, volume.nstart
            )
            size = size or _size({"voxel_size": header.voxel_size})
            origin = origin or header.place
        warnings: tuple[str, ...] = ()
        if (size is None or origin is None) and known["tomogram"] != path:
            try:
                selector = VolumeSelector(attributes.get("tomogram_dataset"), shape=(z, y, x))
                header = read_header(known["tomogram"], selector)
                size, origin = size or _size({"voxel_size": header.voxel_size}), header.place
            except (PicketError, OSError) as error:
                warnings = (f"{path}: origin of the tomogram is unknown, using 0 0 0 ({error})",)
        known["voxel_size"], known["origin"] = size or (0.0,) * 3, origin or (0.0,) * 3
        if voxel_size is not None:
            stored = _size(attributes) or volume.voxel_size
            told = contradiction("--voxel-size", voxel_size, stored)
            warnings += tuple(f"{path}: {warning}" for warning in told)
        found = Segmentation.from_attributes(attributes, **known)
        return found.model_copy(update={"warnings": (*found.warnings, *warnings)})

    def check_replaceable(
        self, files: TomogramFiles, wanted: Mapping[Workflow, str], now: Subject
    ) -> None:
        """Check that everything that has the number of a tomogram is of that tomogram.

        Pages and PickET's step 2 take a number for one tomogram.

        Args:
            files: of the tomogram.
            wanted: fingerprints by workflow.
            now: the tomogram that the segmentations are to be of.

        Raises:
            PicketError: something is of another tomogram.
            OSError: there is no permission to read a file.
        """
        replaced = {
            path
            for workflow in wanted
            for path in (*files.of(*workflow).values(), *files.others(*workflow))
        }
        numbered = self._files.get(files.index, [])
        for path in sorted(replaced.union(numbered)):
            attributes = read_own_attributes(path)
            if attributes is None or attributes["fingerprint"] in wanted.values():
                continue
            source = self._source(path, attributes["fingerprint"], files.index, path in numbered)
            if source is None:  # an MRC file without its record
                continue
            where, as_given, dataset = source
            same = _is_same(where, as_given, now)
            if path not in numbered and not (same and dataset == now.dataset_name):
                raise PicketError(
                    f"{path}: belongs to {where} in {dataset}, not to {now.tomogram}; give each "
                    "tomogram its own name, or use --overwrite"
                )
            if not same and path in replaced:
                raise PicketError(
                    f"{path}: belongs to {where} and would be replaced by {now.tomogram}; keep the "
                    "order of inputs and add new tomograms at the end, change dataset_name, or use "
                    "--overwrite"
                )
            if not same:
                raise PicketError(
                    f"{path}: belongs to {where}, but number {files.index} is now {now.tomogram}; "
                    "keep the order of inputs and add new tomograms at the end, change "
                    "dataset_name, or move the file away"
                )

    def _source(
        self, path: Path, fingerprint: str, index: int, numbered: bool
    ) -> tuple[Location, str, str | None] | None:
        """The tomogram of a file: where it was, as given, and its dataset; None if unknown."""
        attributes = {} if path.suffix == ".mrc" else read_attributes(path)
        if "tomogram_path" in attributes:
            where = str(attributes["tomogram_path"])
            given = str(attributes.get("tomogram_as_given", where))
            return as_location(where), given, attributes.get("dataset_name")
        made = self._made.get(fingerprint, self._last.get(index)) if numbered else None
        return None if made is None else (made.tomogram, made.as_given, None)

    def recorded_unit(self, fingerprint: str) -> Mapping[str, Any] | None:
        """What a record says of the step that made a segmentation."""
        made = self._made.get(fingerprint)
        return None if made is None else made.unit


def _beside(where: Location, record: Mapping[str, Any]) -> Location:
    """A location, from where its run started if it is relative."""
    if isinstance(where, Path):
        return Path(record.get("working_directory") or "") / where
    return where


def _inputs(record: Mapping[str, Any]) -> dict[int, tuple[str, str]]:
    """Names and paths of the tomograms of a run, by index."""
    entries = enumerate(record["config"]["inputs"])
    paths = [(index, entry, as_location(entry["tomogram"])) for index, entry in entries]
    return {index: (entry.get("name") or at.name, str(at)) for index, entry, at in paths}


def _recorded(made: _Made) -> dict[str, Any]:
    """Fields of a segmentation by the record of its run."""
    with suppress(KeyError, TypeError, ValueError, IndexError):  # of another version
        config = S1Config.model_validate(made.record["config"])
        entry = config.inputs[made.number].with_own_masks()
        moved = {
            name: mask.model_copy(update={"file": beside})
            for name in MASKS
            if (mask := getattr(entry, name)) is not None
            and isinstance(mask.file, Path)
            and not mask.file.exists()
            and isinstance(beside := _beside(mask.file, made.record), Path)
            and beside.exists()
        }
        entry = entry.model_copy(update=moved)
        return _settings_of(config, entry) | {"name": entry.label}
    return {}


def _tomogram(attributes: Mapping[str, Any], made: _Made | None) -> Location | None:
    """Where the tomogram of a segmentation is, as the user named it if that leads there."""
    path = attributes.get("tomogram_path") or (made and str(made.tomogram))
    if path is None:
        return None
    where = as_location(str(path))
    given = as_location(
        str(attributes.get("tomogram_as_given") or (made.as_given if made else path))
    )
    if isinstance(where, Path) and not where.exists():
        return given  # it may have been moved together with the directory
    return given if is_same(given, where) else where


def _is_same(where: Location, as_given: str, now: Subject) -> bool:
    """Whether a tomogram is the one that is segmented now, moved with its directory perhaps."""
    if is_same(where, now.tomogram):
        return True
    gone = isinstance(where, Path) and not where.exists()
    return gone and as_given == str(now.tomogram)


def _size(attributes: Mapping[str, Any]) -> Vector | None:
    """A voxel size in angstrom, (z, y, x); None if it is unknown or impossible."""
    if "voxel_size" not in attributes:
        return None
    z, y, x = (float(length) for length in attributes["voxel_size"])
    return (z, y, x) if all(0 < length < inf for length in (z, y, x)) else None


@dataclass(frozen=True)
class ExistingOutput:
    """What exists of one feature mode of a tomogram.

    Attributes:
        reusable: attributes of the segmentations whose files are all there, made as wanted, with
            scores where they are wanted.
        otherwise: whether there are files that were made otherwise, or lack scores.
        outdated: workflows of labels that have the wanted fingerprint, but may be of beads.
    """

    reusable: dict[Workflow, dict[str, Any]]
    otherwise: bool
    outdated: set[Workflow]


def find_existing(files: TomogramFiles, wanted: Mapping[Workflow, str]) -> ExistingOutput:
    """Compare the files of a feature mode with the wanted fingerprints by workflow.

    Raises:
        PicketError: picket_gpu did not write one of the files.
        OSError: there is no permission to read a file.
    """
    reusable: dict[Workflow, dict[str, Any]] = {}
    otherwise = False
    outdated: set[Workflow] = set()
    for workflow, fingerprint in wanted.items():
        paths = files.of(*workflow)
        found = [made for path in paths.values() if (made := _own_attributes(path)) is not None]
        made_by = [attributes["fingerprint"] for attributes in found]
        bare = workflow in files.scored and any(
            _is_there(paths[kind]) and not has_scores(paths[kind])
            for kind in ("hdf5", "mrc", "zarr")
            if kind in paths
        )
        if any(_OF_BEADS in str(attributes.get("warnings")) for attributes in found):
            outdated.add(workflow)
        old = bare or workflow in outdated
        otherwise = otherwise or old or any(other != fingerprint for other in made_by)
        if not old and made_by == [fingerprint] * len(paths):
            reusable[workflow] = found[0]
    return ExistingOutput(reusable, otherwise, outdated)


def _own_attributes(path: Path) -> dict[str, Any] | None:
    attributes = read_own_attributes(path)
    if attributes is None and _is_there(path):
        raise PicketError(f"{path}: already exists and carries no picket_gpu settings; {_REPLACE}")
    return attributes


def _is_there(path: Path) -> bool:
    """Whether a file exists; one without a byte, as a crash of the machine leaves, does not."""
    return path.exists() and (path.is_dir() or path.stat().st_size > 0)


def remove_contradicting(paths: Iterable[Path], fingerprint: str, foreign: bool) -> None:
    """Remove files that were made otherwise than those with a fingerprint.

    Args:
        paths: of other kinds of files of the same workflow.
        foreign: whether to remove files of unknown origin too.
    """
    for path in paths:
        attributes = read_own_attributes(path)
        if foreign if attributes is None else attributes["fingerprint"] != fingerprint:
            remove(path)
