"""The report made again from the HDF5 files of a run."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from picket_gpu.backend import Backend, select_backend
from picket_gpu.console import SILENT, Reporter
from picket_gpu.errors import PicketError
from picket_gpu.labels import share_of_ones
from picket_gpu.memory import plan_memory
from picket_gpu.neighborhoods import fit_windows
from picket_gpu.output import DATASET, GROUP, read_labels
from picket_gpu.preprocess import prepare
from picket_gpu.report.collect import Subject, TomogramReport, Workflow, begin_report
from picket_gpu.report.write import INDEX, ReportWriter
from picket_gpu.tomogram import read_header, read_voxels

_NAME = re.compile(r"segmentation_(\d+)_(.+)_(kmeans|gmm)\.h5")
_NEEDED = (
    "dataset_name",
    "tomogram_path",
    "voxel_size",
    "neighborhood_size",
    "fex_mode",
    "clustering_method",
)
BLUR_SIGMA = 2.0  # where a file does not tell


@dataclass(frozen=True)
class _Segmentation:
    """One file, its place in ``inputs``, and its attributes."""

    path: Path
    index: int
    attributes: Mapping[str, Any]


def rebuild(directory: Path, reporter: Reporter = SILENT) -> Path:
    """Write the report of all segmentations in ``directory``; returns its path.

    Files of the original PickET will do; what they do not tell is left out.

    Raises:
        PicketError: there are none, or one of them or a tomogram is unusable.
    """
    by_index: dict[int, list[_Segmentation]] = {}
    for segmentation in _segmentations(directory):
        by_index.setdefault(segmentation.index, []).append(segmentation)
    if not by_index:
        raise PicketError(
            f"{directory}: holds no segmentation_*.h5; S1 writes them by save: [hdf5]"
        )
    indices = sorted(by_index)
    dataset = str(by_index[indices[0]][0].attributes["dataset_name"])
    writer = ReportWriter(directory, dataset, indices)
    backend = select_backend("cpu")
    with backend.exclusive():
        for place, index in enumerate(indices):
            subject = _subject(by_index[index][0])
            reporter.line(f"[{place + 1}/{len(indices)}] {subject.path}")
            writer.write(_report(backend, subject, by_index[index]))
    return directory / INDEX


def _segmentations(directory: Path) -> Iterable[_Segmentation]:
    """Those in ``directory``, k-means first within a feature mode, as S1 makes them."""
    if not directory.is_dir():
        raise PicketError(f"{directory}: no such directory")
    matches = [match for path in directory.iterdir() if (match := _NAME.fullmatch(path.name))]
    for match in sorted(matches, key=lambda m: (int(m[1]), m[2], m[3] != "kmeans")):
        path = directory / match[0]
        try:
            with h5py.File(path) as file:
                attributes = dict(file[GROUP].attrs)
                shape = file[GROUP][DATASET].shape
        except (OSError, KeyError) as error:
            reason = " ".join(str(error).split())
            raise PicketError(f"{path}: is not a whole segmentation ({reason})") from None
        attributes["tomogram_shape"] = shape
        if missing := [name for name in _NEEDED if name not in attributes]:
            raise PicketError(f"{path}: has no attribute {missing[0]}; it is no file of S1")
        yield _Segmentation(path, int(match[1]), attributes)


def _subject(segmentation: _Segmentation) -> Subject:
    attributes = segmentation.attributes
    z, y, x = (int(n) for n in attributes["tomogram_shape"])
    dz, dy, dx = (float(length) for length in attributes["voxel_size"])
    return Subject(
        index=segmentation.index,
        dataset=str(attributes["dataset_name"]),
        path=Path(str(attributes["tomogram_path"])),
        shape=(z, y, x),
        voxel_size=(dz, dy, dx),
        lower=_number(attributes, "z_lb_for_clusterer_fitting", int),
        upper=_number(attributes, "z_ub_for_clusterer_fitting", int),
        side=int(attributes["neighborhood_size"]),
    )


def _report(
    backend: Backend, subject: Subject, segmentations: list[_Segmentation]
) -> TomogramReport:
    """The report of one tomogram, blurred anew."""
    path = subject.path
    header = read_header(path)
    if header.shape != subject.shape:
        raise PicketError(
            f"{path}: has {header.shape} voxels (z, y, x), its segmentations have {subject.shape}"
        )
    sigma = _number(segmentations[0].attributes, "blur_sigma", float)
    sigma = BLUR_SIGMA if sigma is None else sigma
    windows = fit_windows(subject.shape, subject.side)
    plan = plan_memory(backend, windows, 1, sigma=sigma)
    volume = prepare(backend, read_voxels(path), sigma, plan, str(path)).volume
    report = begin_report(subject, lambda z: volume.picture(z, backend.download))
    for segmentation in segmentations:
        attributes = segmentation.attributes
        labels = read_labels(segmentation.path, subject.side)
        converged = attributes.get("converged")
        report.add(
            Workflow(
                mode=str(attributes["fex_mode"]),
                method=str(attributes["clustering_method"]),
                path=segmentation.path,
                share=share_of_ones(labels, subject.side),
                iterations=_number(attributes, "iterations", int),
                converged=None if converged is None else bool(converged),
                seconds=_number(attributes, "time_taken_for_s1", float),
            ),
            labels,
        )
    return report


def _number(attributes: Mapping[str, Any], name: str, kind: type[Any]) -> Any:
    """An attribute, None where there is none."""
    value = attributes.get(name, "None")
    return None if isinstance(value, str) else kind(value)
