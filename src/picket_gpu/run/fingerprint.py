"""Digests of what segmentations depend on, by which those of earlier runs are found again.

A fingerprint covers path, size and time of change of the tomogram and its masks, which takes no
reading. A copy has others, so files also have a digest of the voxels that were segmented, and one
of the settings: where both are equal, the segmentation is kept under the fingerprint that it has.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self, TypeAlias

from picket_gpu.config.inputs import MASKS, TomogramInput
from picket_gpu.config.s1 import S1Config
from picket_gpu.errors import PicketError
from picket_gpu.files.atomic import remove
from picket_gpu.files.filenames import TomogramFiles
from picket_gpu.files.location import file_signature
from picket_gpu.files.masks import Mask
from picket_gpu.files.segmentation import has_scores, read_own_attributes
from picket_gpu.files.tomogram import TomogramHeader, has_digest
from picket_gpu.particles.settings import Workflow

Read: TypeAlias = Callable[[Path], dict[str, Any] | None]
_USES = ("fitting_mask", "output_mask")
# In warnings of versions that left no beads out: labels may be those of beads.
_OF_BEADS = "gold beads; set clip: 5"
_REPLACE = "use --overwrite to replace it, or change dataset_name"


def digest(facts: Mapping[str, Any]) -> str:
    """Digest of plain values, 32 hexadecimal digits, whatever the order of their names."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Identity:
    """What the segmentations of one tomogram are made from.

    All digests cover the version and the settings, not the device, the memory, and whether scores
    are saved. ``beads: mask`` is left out: where there are no beads, labels are those of versions
    that had no such key.

    Attributes:
        state: size and time of change of the tomogram and its masks.
        fingerprints: digests of paths, state and settings, by workflow.
        settings: digests of the settings, the voxels of masks and the geometry, by workflow.
        adopted: fingerprints of a copy that was segmented, by those of the tomogram as it is now.
    """

    state: Mapping[str, Any]
    fingerprints: Mapping[Workflow, str]
    settings: Mapping[Workflow, str]
    adopted: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        config: S1Config,
        entry: TomogramInput,
        header: TomogramHeader,
        masks: Mapping[Mask, str],
    ) -> Self:
        """
        Args:
            header: geometry of the tomogram.
            masks: digests of their voxels.

        Raises:
            OSError: the tomogram or a mask is missing or not accessible.
        """
        state, given = state_of(entry), entry.facts()
        copied: dict[str, Any] = {
            "tomogram": {key: given[key] for key in given if key not in ("tomogram", *MASKS)},
            "geometry": [list(map(float, header.voxel_size)), list(map(float, header.origin))],
            "nstart": list(map(int, header.nstart)),
        }
        for use in _USES:
            mask = getattr(entry, use)
            copied[use] = None if mask is None else masks[mask]
        return cls(
            state,
            _by_workflow(config, {"tomogram": given} | state),
            _by_workflow(config, copied),
        )

    def adopting(
        self,
        files: TomogramFiles,
        is_copy: Callable[[str], bool],
        known: Mapping[str, str],
        read: Read = read_own_attributes,
    ) -> Self:
        """The same, with the fingerprints of existing segmentations of the same voxels.

        Args:
            files: of the tomogram.
            is_copy: whether the tomogram's voxels have such a digest.
            known: what earlier runs have adopted, which need not be compared again.
            read: function that reads attributes of a file.
        """
        fingerprints, adopted = dict(self.fingerprints), {}
        for workflow, wanted in self.fingerprints.items():
            found = [read(path) or {} for path in files.of(*workflow).values()]
            other = str(found[0].get("fingerprint"))
            if (
                all(attributes.get("fingerprint") == other != wanted for attributes in found)
                and found[0].get("settings_digest") == self.settings[workflow]
                and (known.get(wanted) == other or is_copy(found[0]["tomogram_digest"]))
            ):
                fingerprints[workflow] = adopted[wanted] = other
        return replace(self, fingerprints=fingerprints, adopted=adopted)


def comparison(entry: TomogramInput) -> Callable[[str], bool]:
    """The function that compares a tomogram's voxels with a digest, once with each."""

    @cache
    def is_copy(digest: str) -> bool:
        if not digest or not isinstance(entry.tomogram, Path):  # URLs are not fetched twice
            return False
        with suppress(PicketError, OSError):  # told when it is segmented
            return has_digest(entry.tomogram, entry.selector, digest)
        return False

    return is_copy


def state_of(entry: TomogramInput) -> dict[str, Any]:
    """Size and time of change of a tomogram and its masks.

    Raises:
        OSError: one is missing or not accessible.
    """
    places = {"tomogram": entry.tomogram}
    for use in _USES:
        if (mask := getattr(entry, use)) is not None:
            places[use] = mask.file
    return {
        f"{place}_state": file_signature(where, entry.storage_options)
        for place, where in places.items()
    }


def _by_workflow(config: S1Config, about: Mapping[str, Any]) -> dict[Workflow, str]:
    """Digests of the settings, and what else labels depend on."""
    facts: dict[str, Any] = {"version": version("picket-gpu"), **about}
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


def find_existing(
    files: TomogramFiles, wanted: Mapping[Workflow, str], read: Read = read_own_attributes
) -> ExistingOutput:
    """Compare the files of a feature mode with the wanted fingerprints by workflow.

    Args:
        read: function that reads attributes of a file.

    Raises:
        PicketError: picket_gpu did not write one of the files.
        OSError: there is no permission to read a file.
    """
    reusable: dict[Workflow, dict[str, Any]] = {}
    otherwise = False
    outdated: set[Workflow] = set()
    for workflow, fingerprint in wanted.items():
        paths = files.of(*workflow)
        found = [made for path in paths.values() if (made := _own(path, read)) is not None]
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


def _own(path: Path, read: Read) -> dict[str, Any] | None:
    attributes = read(path)
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
