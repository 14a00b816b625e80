"""Pages made again from the files of a run: `rebuild`."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from picket_gpu.console import SILENT, Reporter
from picket_gpu.device.backend import Backend
from picket_gpu.device.select import select_backend
from picket_gpu.errors import PicketError
from picket_gpu.files.filenames import INDEX, TomogramFiles
from picket_gpu.files.location import is_same
from picket_gpu.files.segmentation import NO_WINDOWS, Segmentation, Subject
from picket_gpu.files.tomogram import read_header
from picket_gpu.method.workflows import PreparedTomogram
from picket_gpu.particles.files import read_diameter, read_metadata, read_particles
from picket_gpu.particles.particles import Particles
from picket_gpu.particles.settings import PICKINGS, TOMOGRAM, ParticleSettings, Workflow
from picket_gpu.report.collect import TomogramReport, begin_report
from picket_gpu.report.write import Index, write_page
from picket_gpu.run.existing import Directory
from picket_gpu.run.picking import PickingPlan, pick
from picket_gpu.run.plan import links_of
from picket_gpu.run.task import add_to_report, prepare_existing

SAME_PLACE = 0.1  # voxels: a GPU and a CPU pick places as near as that


@dataclass(frozen=True)
class _Picked:
    """Particles in a directory.

    Attributes:
        filed: as their files have them, without candidates.
        plan: how to pick them again; None if their files do not say.
    """

    filed: Particles
    plan: PickingPlan | None


def rebuild(directory: Path, reporter: Reporter = SILENT) -> Path:
    """Write the report of all segmentations in a directory, and return its path.

    Segmentations of the original PickET work too; what they do not say is left out. Particles are
    picked again with their settings, so that pages have the candidates below the threshold.

    Raises:
        PicketError: there are no segmentations, or one of them, its tomogram or its particles are
            unusable.
    """
    if not directory.is_dir():
        raise PicketError(
            f"{directory}: no such directory; name output_dir/dataset_name of an S1 run"
        )
    groups: dict[int, list[Segmentation]] = {}
    for one in Directory(directory).segmentations():
        groups.setdefault(one.index, []).append(one)
    for group in groups.values():  # all of them, before a page of an older report is replaced
        _check(group)
    picked = {number: _particles(group) for number, group in groups.items()}
    numbers = sorted(groups)
    index = Index(directory, groups[numbers[0]][0].dataset_name, numbers, {})
    backend = select_backend("cpu")
    with backend.exclusive():
        for place, number in enumerate(numbers):
            reporter.line(f"[{place + 1}/{len(numbers)}] {groups[number][0].tomogram}")
            report = _report(backend, groups[number], picked[number])
            links = links_of(number, numbers)
            index.add(write_page(directory, report, len(numbers) == 1, links))
    index.finish()
    return directory / INDEX


def _check(group: list[Segmentation]) -> None:
    """Check that segmentations are of one tomogram, which exists, with the same settings."""
    first = group[0]
    if first.neighborhood_size == NO_WINDOWS:
        raise PicketError(
            f"{first.path}: is not from S1 and names no tomogram, which a page shows; move it away"
        )
    varying = {"tomogram", "warnings"}  # runs may have been given one path in two spellings
    for other in group:
        same = {k: v for k, v in other.fields.items() if k not in varying} == {
            k: v for k, v in first.fields.items() if k not in varying
        }
        if not same or not is_same(other.tomogram, first.tomogram):
            raise PicketError(
                f"{other.path}: comes from another tomogram or other settings than "
                f"{first.path.name}; move one of them away"
            )
    path = first.tomogram
    if isinstance(path, Path) and not path.is_absolute() and not path.exists():
        raise PicketError(f"{path}: no such file; run from the directory in which S1 was run")
    header = read_header(path, first.selector)
    if header.shape != first.shape:
        raise PicketError(
            f"{path}: has {header.shape} voxels (z, y, x), but its segmentations have "
            f"{first.shape}; restore the tomogram, or run S1 again"
        )


def _report(backend: Backend, group: list[Segmentation], picked: list[_Picked]) -> TomogramReport:
    """The report of one tomogram, prepared anew."""
    subject = Subject(**group[0].fields)
    source = prepare_existing(backend, subject)
    picture = source.prepared.volume.grey_slice
    report = begin_report(subject, lambda z: picture(z, backend.download))
    for one in group:
        add_to_report(report, one, source)
    report.picked.extend(_with_candidates(backend, one, group, source) for one in picked)
    return report


def _particles(group: list[Segmentation]) -> list[_Picked]:
    """Particles of a tomogram, as the files in its directory have them.

    Raises:
        PicketError: a file is damaged.
    """
    subject = Subject(**group[0].fields)
    files = TomogramFiles(subject.directory, subject.index, [])
    found = []
    for workflow in (TOMOGRAM, *(one.workflow for one in group)):
        for picking in PICKINGS:
            paths = files.particles(*workflow, picking)
            existing = {kind: path for kind, path in paths.items() if path.exists()}
            if "csv" in existing and subject.is_scaled:
                found.append(_read(subject, workflow, existing))
    return found


def _read(subject: Subject, workflow: Workflow, files: dict[str, Path]) -> _Picked:
    known: dict[str, Any] = {"mode": workflow[0], "method": workflow[1], "fingerprint": ""}
    known["files"] = [path.name for path in files.values()]
    metadata = read_metadata(files["yaml"]) if "yaml" in files else None
    if metadata is not None:
        with suppress(ValidationError):  # of another version
            settings = ParticleSettings.model_validate(metadata["settings"])
            fingerprint, source = metadata["fingerprint"], metadata["source"]
            plan = PickingPlan(settings, workflow, fingerprint, source, files, metadata)
            return _Picked(plan.reused(subject), plan)
    if "cmm" in files:
        known["diameter"] = read_diameter(files["cmm"])
    return _Picked(read_particles(files["csv"], subject, **known | (metadata or {})), None)


def _with_candidates(
    backend: Backend, picked: _Picked, group: list[Segmentation], tomogram: PreparedTomogram
) -> Particles:
    """The particles with all candidates, if picking again finds the same."""
    filed, plan = picked.filed, picked.plan
    found = {one.workflow: one for one in group}.get(filed.workflow)
    if plan is None or (found is not None and found.fingerprint != filed.source):
        return filed
    again = pick(backend, Subject(**filed.fields), plan, found, tomogram)
    same = again.count == filed.count and np.allclose(
        again.coordinates, filed.coordinates, rtol=0, atol=SAME_PLACE
    )
    return again if same else filed
