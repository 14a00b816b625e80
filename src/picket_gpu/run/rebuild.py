"""Pages made again from the files of a run: `rebuild`."""

from pathlib import Path

from pydantic import ValidationError

from picket_gpu.console import SILENT, Reporter
from picket_gpu.device.backend import Backend
from picket_gpu.device.select import select_backend
from picket_gpu.errors import PicketError
from picket_gpu.files.filenames import INDEX, TomogramFiles
from picket_gpu.files.location import is_same
from picket_gpu.files.segmentation import Segmentation, Subject
from picket_gpu.files.tomogram import read_header
from picket_gpu.method.workflows import PreparedTomogram
from picket_gpu.particles.files import read_metadata, read_particles
from picket_gpu.particles.particles import Particles
from picket_gpu.particles.settings import PICKINGS, TOMOGRAM, ParticleSettings, Workflow
from picket_gpu.report.collect import TomogramReport, begin_report
from picket_gpu.report.write import Index, write_page
from picket_gpu.run.existing import Directory
from picket_gpu.run.picking import PickingPlan, pick
from picket_gpu.run.plan import links_of
from picket_gpu.run.task import add_to_report, prepare_existing


def rebuild(directory: Path, reporter: Reporter = SILENT) -> Path:
    """Write the report of all segmentations in a directory, and return its path.

    Segmentations of the original PickET work too; what they do not say is left out. Particles are
    picked again with their settings, so that pages have the candidates below the threshold.

    Raises:
        PicketError: there are no segmentations, or one of them or a tomogram is unusable.
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
    numbers = sorted(groups)
    index = Index(directory, groups[numbers[0]][0].dataset_name, numbers, {})
    backend = select_backend("cpu")
    with backend.exclusive():
        for place, number in enumerate(numbers):
            reporter.line(f"[{place + 1}/{len(numbers)}] {groups[number][0].tomogram}")
            report = _report(backend, groups[number])
            links = links_of(number, numbers)
            index.add(write_page(directory, report, len(numbers) == 1, links))
    index.finish()
    return directory / INDEX


def _check(group: list[Segmentation]) -> None:
    """Check that segmentations are of one tomogram, which exists, with the same settings."""
    first = group[0]
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


def _report(backend: Backend, group: list[Segmentation]) -> TomogramReport:
    """The report of one tomogram, prepared anew."""
    subject = Subject(**group[0].fields)
    source = prepare_existing(backend, subject)
    picture = source.prepared.volume.grey_slice
    report = begin_report(subject, lambda z: picture(z, backend.download))
    for one in group:
        add_to_report(report, one, source)
    report.picked.extend(_particles(backend, subject, group, source))
    return report


def _particles(
    backend: Backend, subject: Subject, group: list[Segmentation], source: PreparedTomogram
) -> list[Particles]:
    """Particles of a tomogram in the directory."""
    sources: dict[Workflow, Segmentation | PreparedTomogram] = {TOMOGRAM: source}
    sources |= {one.workflow: one for one in group}
    files = TomogramFiles(subject.directory, subject.index, [])
    found = []
    for workflow, one in sources.items():
        for picking in PICKINGS:
            paths = files.particles(*workflow, picking)
            existing = {kind: path for kind, path in paths.items() if path.exists()}
            if "csv" in existing and subject.is_scaled:
                found.append(_picked(backend, subject, workflow, existing, one))
    return found


def _picked(
    backend: Backend,
    subject: Subject,
    workflow: Workflow,
    files: dict[str, Path],
    source: Segmentation | PreparedTomogram,
) -> Particles:
    """Particles picked again with the settings in their files, or as their files have them."""
    metadata = read_metadata(files["yaml"]) if "yaml" in files else None
    names = [path.name for path in files.values()]
    known = {"mode": workflow[0], "method": workflow[1], "files": names, "fingerprint": ""}
    if metadata is None:
        return read_particles(files["csv"], subject, **known)
    try:
        settings = ParticleSettings.model_validate(metadata["settings"])
    except ValidationError:  # of another version
        return read_particles(files["csv"], subject, **known | metadata)
    fingerprint, origin = metadata["fingerprint"], metadata["source"]
    plan = PickingPlan(settings, workflow, fingerprint, origin, files, metadata)
    if not isinstance(source, Segmentation) or origin == source.fingerprint:
        particles = pick(backend, subject, plan, source)
        if particles.count == metadata["count"]:
            return particles
    return plan.reused(subject)
