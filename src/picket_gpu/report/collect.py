"""What a report says of one tomogram, collected while its labels are in memory."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np

from picket_gpu.device.operations import Shape
from picket_gpu.files.location import Location
from picket_gpu.report.components import BLOCK_VOXELS, Components, find_components
from picket_gpu.report.picked import PickedWorkflow
from picket_gpu.report.slices import (
    GreySlices,
    LabelSlices,
    Layout,
    choose_layout,
    grey_slices,
    label_slices,
    separation,
)

COMPONENT_BYTES = 5  # of a voxel, to find connected components
SLICES_BYTES = 2**24


@dataclass(frozen=True)
class Subject:
    """The tomogram that a report is about.

    Attributes:
        index: its place in ``inputs``, from 0.
        directory: of its segmentations.
        dataset: name of the data set.
        name: what pages call it.
        path: its file or URL, as the user named it.
        shape: voxels, (z, y, x).
        voxel_size: angstrom, (z, y, x); 0.0 where it is not known.
        lower, upper: z-slices used for fitting, half-open; None for no limit.
        side: window side in voxels.
        warnings: what is odd about it, a line each.
    """

    index: int
    directory: Path
    dataset: str
    name: str
    path: Location
    shape: Shape
    voxel_size: tuple[float, float, float]
    lower: int | None
    upper: int | None
    side: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Workflow:
    """What is known of a segmentation beside its labels; None for what is not.

    Attributes:
        mode: feature mode.
        method: clustering method.
        path: its HDF5 file, which the next step of the method reads.
        share: of the labelled voxels, how many have label 1.
        iterations: of the clustering method.
        converged: whether it met its stopping rule.
        seconds: spent on it.
        fingerprint: of all that its labels depend on.
    """

    mode: str
    method: str
    path: Path | None
    share: float
    iterations: int | None
    converged: bool | None
    seconds: float | None
    fingerprint: str | None


@dataclass(frozen=True)
class Findings:
    """What a report says of one segmentation.

    Attributes:
        workflow: that it came from.
        components: of label 1.
        separation: of the two clusters in grey value; None where one of them is empty.
        slices: to look at.
    """

    workflow: Workflow
    components: Components
    separation: float | None
    slices: LabelSlices


@dataclass(frozen=True)
class TomogramReport:
    """A tomogram, and what has been found in it so far: segmentations and, last, particles."""

    subject: Subject
    layout: Layout
    grey: GreySlices
    findings: list[Findings] = field(default_factory=list)
    picked: list[PickedWorkflow] = field(default_factory=list)

    def picked_from(self, workflow: Workflow) -> PickedWorkflow | None:
        """The particles of one workflow, where they were picked."""
        name = workflow.mode, workflow.method
        return next((each for each in self.picked if (each.mode, each.method) == name), None)

    def add(self, workflow: Workflow, labels: np.ndarray) -> None:
        """Take in a segmentation.

        Args:
            labels: int8, (z, y, x), -1 where there is no label.
        """
        slices = label_slices(labels, self.layout)
        apart = separation(self.grey.sample, slices.sample)
        self.findings.append(Findings(workflow, find_components(labels), apart, slices))


def report_bytes(shape: Shape, threads: int) -> int:
    """Host memory that a report takes while labels are in memory, in bytes.

    Args:
        shape: voxels, (z, y, x).
        threads: that look for components.
    """
    return SLICES_BYTES + COMPONENT_BYTES * min(prod(shape), threads * BLOCK_VOXELS)


def begin_report(subject: Subject, picture: Callable[[int], np.ndarray]) -> TomogramReport:
    """The report of a tomogram without segmentations.

    Args:
        picture: from z to blurred grey values of that plane, (y, x) float32.
    """
    layout = choose_layout(subject.shape, subject.side)
    return TomogramReport(subject, layout, grey_slices(picture, layout))
