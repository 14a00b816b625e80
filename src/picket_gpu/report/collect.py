"""What a report says of one tomogram, collected while its labels are in memory."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod

import numpy as np

from picket_gpu.device.operations import Shape
from picket_gpu.files.segmentation import Segmentation, Subject
from picket_gpu.particles.particles import Particles
from picket_gpu.report.components import BLOCK_VOXELS, Components, find_components
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
class Findings:
    """What a report says of one segmentation.

    Attributes:
        segmentation: what its files say of it.
        components: of label 1.
        separation: of the two clusters in grey value; None where one of them is empty.
        slices: to look at.
    """

    segmentation: Segmentation
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
    picked: list[Particles] = field(default_factory=list)

    def add(self, segmentation: Segmentation, labels: np.ndarray) -> None:
        """Add a segmentation.

        Args:
            labels: int8, (z, y, x), -1 where there is no label.
        """
        slices = label_slices(labels, self.layout)
        apart = separation(self.grey.sample, slices.sample)
        self.findings.append(Findings(segmentation, find_components(labels), apart, slices))


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
    layout = choose_layout(subject.shape, subject.neighborhood_size)
    return TomogramReport(subject, layout, grey_slices(picture, layout))
