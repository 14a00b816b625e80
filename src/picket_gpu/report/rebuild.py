"""The report made again from the HDF5 files of a run."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np

from picket_gpu.console import SILENT, Reporter
from picket_gpu.device.backend import Backend
from picket_gpu.device.select import select_backend
from picket_gpu.errors import PicketError, one_line
from picket_gpu.files.filenames import INDEX
from picket_gpu.files.lazy_volume import VolumeSelector
from picket_gpu.files.location import Location, as_location, is_same
from picket_gpu.files.read_segmentation import read_attributes, read_labels, tomogram_of
from picket_gpu.files.tomogram import read_header, read_voxels
from picket_gpu.files.writers.hdf5 import DATASET, GROUP
from picket_gpu.method.labels import foreground_fraction
from picket_gpu.method.memory import plan_memory
from picket_gpu.method.padding import find_padding, grey_limits, keep_all_but
from picket_gpu.method.preprocess import prepare
from picket_gpu.method.windows import fit_windows
from picket_gpu.report.collect import Subject, TomogramReport, Workflow, begin_report, report_bytes
from picket_gpu.report.picked import PickedWorkflow
from picket_gpu.report.picked_files import read_picked
from picket_gpu.report.write import ReportWriter

_NAME = re.compile(r"segmentation_(\d+)_(.+)_(kmeans|gmm)\.h5")
BLUR_SIGMA = 2.0  # where a file does not tell


@dataclass(frozen=True)
class _Segmentation:
    """What a file tells of a tomogram and of one segmentation of it."""

    path: Path
    subject: Subject
    tomogram: Location
    mode: str
    method: str
    selector: VolumeSelector
    blur_sigma: float
    padding: str
    clip: float | None
    iterations: int | None
    converged: bool | None
    seconds: float | None
    fingerprint: str | None


def rebuild(directory: Path, reporter: Reporter = SILENT) -> Path:
    """Write the report of all segmentations in ``directory``; returns its path.

    Files of the original PickET will do; what they do not tell is left out.

    Raises:
        PicketError: there are none, or one of them or a tomogram is unusable.
    """
    by_index: dict[int, list[_Segmentation]] = {}
    for segmentation in _segmentations(directory):
        by_index.setdefault(segmentation.subject.index, []).append(segmentation)
    if not by_index:
        raise PicketError(f"{directory}: contains no segmentation_*.h5; run S1 with save: [hdf5]")
    # All of them, before a page of an older report is replaced.
    picked = {index: _check(segmentations) for index, segmentations in by_index.items()}
    dataset = by_index[min(by_index)][0].subject.dataset
    wanted: dict[int, set[str]] = {index: set() for index in by_index}
    writer = ReportWriter(directory, dataset, len(by_index), wanted)
    backend = select_backend("cpu")
    with backend.exclusive():
        for place, index in enumerate(sorted(by_index)):
            reporter.line(f"[{place + 1}/{len(by_index)}] {by_index[index][0].subject.path}")
            report = _report(backend, by_index[index])
            report.picked.extend(picked[index])
            writer.write(report)
    writer.write_index()
    return directory / INDEX


def _segmentations(directory: Path) -> Iterable[_Segmentation]:
    """Those in ``directory``, k-means first within a feature mode, as S1 makes them."""
    if not directory.is_dir():
        raise PicketError(
            f"{directory}: no such directory; name output_dir/dataset_name of an S1 run"
        )
    matches = [match for path in directory.iterdir() if (match := _NAME.fullmatch(path.name))]
    for match in sorted(matches, key=lambda m: (int(m[1]), m[2], m[3] != "kmeans")):
        path = directory / match[0]
        try:
            yield _read(path, int(match[1]))
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise PicketError(
                f"{path}: is not a complete S1 segmentation ({one_line(error)}); run S1 "
                "again, or move it away"
            ) from None


def _read(path: Path, index: int) -> _Segmentation:
    attributes = read_attributes(path)
    with h5py.File(path) as file:
        z, y, x = file[GROUP][DATASET].shape
    lengths = (float(length) for length in attributes["voxel_size"])
    dz, dy, dx = (length if 0 < length < np.inf else 0.0 for length in lengths)
    side = int(attributes["neighborhood_size"])
    if not 3 <= side <= min(z, y, x):
        raise ValueError(f"neighborhood_size {side}")
    tomogram = tomogram_of(attributes)
    where = as_location(str(attributes.get("tomogram_as_given", attributes["tomogram_path"])))
    subject = Subject(
        index=index,
        directory=path.parent,
        dataset=str(attributes["dataset_name"]),
        name=str(attributes.get("tomogram_name", where.name)),
        path=where,
        shape=(z, y, x),
        voxel_size=(dz, dy, dx),
        lower=attributes.get("z_lb_for_clusterer_fitting"),
        upper=attributes.get("z_ub_for_clusterer_fitting"),
        side=side,
        warnings=tuple(str(attributes.get("warnings", "")).splitlines()),
    )
    sigma = attributes.get("blur_sigma")
    return _Segmentation(
        path=path,
        subject=subject,
        tomogram=tomogram,
        selector=VolumeSelector(dataset=attributes.get("tomogram_dataset"), shape=(z, y, x)),
        mode=str(attributes["fex_mode"]),
        method=str(attributes["clustering_method"]),
        blur_sigma=BLUR_SIGMA if sigma is None else sigma,
        padding=str(attributes.get("padding", "keep")),
        clip=attributes.get("clip"),
        iterations=attributes.get("iterations"),
        converged=attributes.get("converged"),
        seconds=attributes.get("time_taken_for_s1"),
        fingerprint=attributes.get("fingerprint"),
    )


def _check(segmentations: list[_Segmentation]) -> list[PickedWorkflow]:
    """Particles of one tomogram, which is there, and which all the segmentations are of."""
    first = segmentations[0]
    for other in segmentations:
        # Runs may have been given one path in two spellings.
        subject = replace(other.subject, path=first.subject.path)
        if subject != first.subject or not is_same(other.tomogram, first.tomogram):
            raise PicketError(
                f"{other.path}: comes from another tomogram or other settings than "
                f"{first.path.name}; move one of them away"
            )
    path = first.tomogram
    if isinstance(path, Path) and not path.is_absolute() and not path.exists():
        raise PicketError(f"{path}: no such file; run from the directory in which S1 was run")
    subject, header = first.subject, read_header(path, first.selector)
    if header.shape != subject.shape:
        raise PicketError(
            f"{path}: has {header.shape} voxels (z, y, x), but its segmentations have "
            f"{subject.shape}; restore the tomogram, or run S1 again"
        )
    # The run's voxel size, which need not be the file's.
    origin = replace(header, voxel_size=subject.voxel_size).place
    found = (read_picked(subject, each.mode, each.method, origin) for each in segmentations)
    return [picked for picked in found if picked is not None]


def _report(backend: Backend, segmentations: list[_Segmentation]) -> TomogramReport:
    """The report of one tomogram, blurred anew."""
    subject, sigma = segmentations[0].subject, segmentations[0].blur_sigma
    windows = fit_windows(subject.shape, subject.side)
    page = report_bytes(subject.shape, backend.workers)
    plan = plan_memory(backend, windows, 1, sigma=sigma, beside_labels=page)
    voxels = read_voxels(segmentations[0].tomogram, segmentations[0].selector)
    first = segmentations[0]
    padding = find_padding(voxels) if first.padding == "mask" else None
    excluded = None if padding is None else padding.mask
    keep = None if excluded is None else keep_all_but(excluded, voxels)
    limits = None if first.clip is None else grey_limits(voxels, first.clip, excluded)
    volume = prepare(backend, voxels, sigma, plan, str(subject.path), keep, limits).volume
    report = begin_report(subject, lambda z: volume.grey_slice(z, backend.download))
    for segmentation in segmentations:
        labels = read_labels(segmentation.path, subject.side)
        workflow = Workflow(
            mode=segmentation.mode,
            method=segmentation.method,
            path=segmentation.path,
            share=foreground_fraction(labels),
            iterations=segmentation.iterations,
            converged=segmentation.converged,
            seconds=segmentation.seconds,
            fingerprint=segmentation.fingerprint,
        )
        report.add(workflow, labels)
    return report
