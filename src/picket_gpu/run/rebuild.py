"""Pages made again from the files of a run: `rebuild`."""

from collections.abc import Iterable
from pathlib import Path

from picket_gpu.console import SILENT, Reporter
from picket_gpu.device.backend import Backend
from picket_gpu.device.select import select_backend
from picket_gpu.errors import PicketError
from picket_gpu.files.filenames import FURTHER, INDEX, TomogramFiles
from picket_gpu.files.location import is_same
from picket_gpu.files.segmentation import NO_WINDOWS, Segmentation, Subject
from picket_gpu.files.tomogram import read_header
from picket_gpu.particles.files import read_bare, read_with_candidates
from picket_gpu.particles.particles import Particles
from picket_gpu.particles.settings import TOMOGRAM
from picket_gpu.report.collect import TomogramReport, begin_report
from picket_gpu.report.page import read_data
from picket_gpu.report.write import Index, write_page
from picket_gpu.run.dataset import ParticleList, renew_pages
from picket_gpu.run.existing import Directory
from picket_gpu.run.plan import links_of
from picket_gpu.run.task import add_to_report, prepare_existing


def rebuild(directory: Path, reporter: Reporter = SILENT) -> Path:
    """Write the report of all segmentations in a directory, and return its path.

    Segmentations of the original PickET work too; what they do not say is left out.

    Raises:
        PicketError: there are no segmentations, or one of them, its tomogram or its particles are
            unusable.
    """
    if not directory.is_dir():
        raise PicketError(
            f"{directory}: no such directory; name output_dir/dataset_name of an S1 run"
        )
    groups: dict[int, list[Segmentation]] = {}
    existing = Directory(directory)
    for one in existing.segmentations():
        groups.setdefault(one.index, []).append(one)
    for group in groups.values():  # all of them, before a page of an older report is replaced
        _check(group)
    picked = {number: _particles(group) for number, group in groups.items()}
    numbers = sorted(groups)
    tomograms = dict(existing.records.inputs)
    for number, (first, *_) in groups.items():
        tomograms[number] = (first.name, str(first.tomogram))
    alone = len(tomograms) == 1
    name = groups[numbers[0]][0].dataset_name
    index = Index(directory, name, tomograms, {}, lambda: existing.records.failures(tomograms))
    backend = select_backend("cpu")
    with backend.exclusive():
        for place, number in enumerate(numbers):
            reporter.line(f"[{place + 1}/{len(numbers)}] {groups[number][0].tomogram}")
            report = _report(backend, groups[number], picked[number])
            links = links_of(number, numbers, alone)
            index.add(write_page(directory, report, alone, links))
    index.finish()
    return directory / INDEX


def renew_report(directory: Path, lists: Iterable[ParticleList]) -> None:
    """Write pages again that show other particles than there are, and the index if there is one."""
    rows = list(renew_pages(directory, lists))
    if rows:
        before = read_data(directory / INDEX) or {}
        known = [*before.get("tomograms", ()), *rows]
        tomograms = {row["index"]: (row["name"], row["path"]) for row in known}
        name = before.get("dataset", directory.absolute().name)
        existing = Directory(directory)
        index = Index(directory, name, tomograms, {}, lambda: existing.records.failures(tomograms))
        for row in rows:
            index.add(row)
        index.finish()


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
        copy = first.tomogram_digest is not None and other.tomogram_digest == first.tomogram_digest
        if not same or not (copy or is_same(other.tomogram, first.tomogram)):
            raise PicketError(
                f"{other.path}: comes from another tomogram or other settings than "
                f"{first.path.name}; move one of them away"
            )
    path = first.tomogram
    if isinstance(path, Path) and not path.is_absolute() and not path.exists():
        raise PicketError(
            f"{path}: no such file; run from the directory in which S1 was run, or run S1 again "
            "with the path that it has now"
        )
    header = read_header(path, first.selector)
    if header.shape != first.shape:
        raise PicketError(
            f"{path}: has {header.shape} voxels (z, y, x), but its segmentations have "
            f"{first.shape}; restore the tomogram, or run S1 again"
        )


def _report(backend: Backend, group: list[Segmentation], picked: list[Particles]) -> TomogramReport:
    """The report of one tomogram, prepared anew."""
    subject = Subject(**group[0].fields)
    source = prepare_existing(backend, group[0])
    picture = source.prepared.volume.grey_slice
    report = begin_report(subject, lambda z: picture(z, backend.download))
    for one in group:
        add_to_report(report, one, source)
    report.picked.extend(picked)
    return report


def _particles(group: list[Segmentation]) -> list[Particles]:
    """Particles of a tomogram, as the files in its directory have them.

    Raises:
        PicketError: a file is damaged.
    """
    subject = Subject(**group[0].fields)
    files = TomogramFiles(subject.directory, subject.index, [])
    found = []
    for workflow in (TOMOGRAM, *(one.workflow for one in group)):
        for picking in files.pickings(*workflow):
            key = (*workflow, picking)
            paths = files.particles(*key, FURTHER)
            if paths["candidates"].exists():
                found.append(read_with_candidates(paths["candidates"]))
            elif subject.is_scaled:
                found.append(read_bare(subject, key, paths))
    return found
