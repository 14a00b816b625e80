"""The files of a report: a page and a preview for each tomogram, and an index of several."""

import io
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from picket_gpu.device.operations import Shape
from picket_gpu.files.atomic import Pace, atomic_file
from picket_gpu.files.filenames import INDEX, page_name, preview_name, report_names
from picket_gpu.particles.particles import Particles
from picket_gpu.report.collect import TomogramReport
from picket_gpu.report.page import (
    MOST_BYTES,
    describe,
    describe_workflow,
    page_data,
    read_data,
    read_summary,
    render,
    tomogram_page,
)
from picket_gpu.report.picked import describe_picked
from picket_gpu.report.preview import most_preview_bytes, preview
from picket_gpu.report.slices import QUALITY, central, choose_layout, most_slices_bytes

PAGE = 2**18  # bytes of a page without slices, and of its row in the index
THUMBNAIL = 96  # pixels of the longer side


def write_page(
    directory: Path, report: TomogramReport, alone: bool, links: Mapping[str, str]
) -> dict[str, Any]:
    """Write the page and the preview of a tomogram.

    Args:
        alone: whether the run has one tomogram, whose page is report.html.
        links: names of the pages next to it: index, previous, next.

    Returns:
        The tomogram's row of the index.
    """
    data = page_data(report, links)
    row = _row(report, alone)
    _write_both(directory / page_name(report.subject.index, alone), data, report.picked, row)
    return row


def most_report_bytes(shape: Shape, side: int, workflows: int) -> int:
    """Size of the page and the preview of a tomogram, at most.

    Args:
        shape: voxels, (z, y, x).
        side: side of a window in voxels.
        workflows: number of segmentations.
    """
    layout = choose_layout(shape, side)
    slices = most_slices_bytes(layout, workflows)
    page = min(MOST_BYTES, slices * 4 // 3 + PAGE)  # in Base64
    return page + most_preview_bytes(1 + workflows)


def renew_page(page: Path, picked: Sequence[Particles]) -> dict[str, Any] | None:
    """Write the page and the preview of a tomogram again with other particles.

    Args:
        page: path of the page.
        picked: all particles of the tomogram, with all candidates.

    Returns:
        The tomogram's row of the index; None where there is no such page.
    """
    data, row = read_data(page), read_summary(page)
    if data is None or row is None or "grey" not in data:
        return None
    data["picked"] = [describe_picked(one) for one in picked]
    row |= _row_of_particles(picked)
    _write_both(page, data, picked, row)
    return dict(row)


def _write_both(
    page: Path, data: dict[str, Any], picked: Sequence[Particles], row: dict[str, Any]
) -> None:
    with atomic_file(page.with_name(preview_name(row["index"]))) as temporary:
        preview(data, picked).save(temporary, "PNG")
    _write(page, tomogram_page(data, row))


def page_is_of(directory: Path, index: int, alone: bool, fingerprints: set[str]) -> bool:
    """Whether a tomogram has its page and preview, of the segmentations with these fingerprints."""
    row = read_summary(directory / page_name(index, alone))
    there = (directory / preview_name(index)).exists()
    return row is not None and there and _fingerprints(row) == fingerprints


def _fingerprints(row: Mapping[str, Any]) -> set[str | None]:
    return {workflow.get("fingerprint") for workflow in row["workflows"]}


def remove_page(directory: Path, index: int, alone: bool) -> None:
    """Remove the files of a report that would show other segmentations."""
    for name in report_names([index], alone):
        (directory / name).unlink(missing_ok=True)


class Index:
    """report.html of several tomograms: a row for each one that has a page, of other runs too.

    It is written again at the pace of `Pace`, and at the end.
    """

    def __init__(
        self,
        directory: Path,
        dataset_name: str,
        indices: Sequence[int],
        wanted: Mapping[int, set[str]],
    ) -> None:
        """
        Args:
            indices: indices of all tomograms that may have a page.
            wanted: fingerprints of the segmentations of those that this run is for: older pages
                of others are not theirs.
        """
        self._directory = directory
        self._dataset_name = dataset_name
        self._indices = indices
        self._wanted = wanted
        self._rows: dict[int, dict[str, Any]] = {}
        self._pace = Pace()

    def add(self, row: dict[str, Any]) -> None:
        """Add or replace the row of a tomogram."""
        if not self._rows:
            self._add_pages()
        self._rows[row["index"]] = row
        if self._pace.is_due:
            self._write()

    def finish(self) -> None:
        """Write the index, which pages of other runs may have joined."""
        self._add_pages()
        if self._rows:
            self._write()

    def _add_pages(self) -> None:
        """Add the rows of pages that exist."""
        for index in set(self._indices) - self._rows.keys() if len(self._indices) > 1 else ():
            row = read_summary(self._directory / page_name(index, alone=False))
            if row and self._wanted.get(index, _fingerprints(row)) == _fingerprints(row):
                self._rows[index] = row

    def _write(self) -> None:
        if len(self._indices) == 1:
            return
        data = {
            "dataset": self._dataset_name,
            "total": len(self._indices),
            "tomograms": [self._rows[index] for index in sorted(self._rows)],
        }
        with self._pace.writing():
            _write(self._directory / INDEX, render("index", self._dataset_name, data))


def _write(path: Path, page: str) -> None:
    if path.exists() and path.read_text(encoding="ascii", errors="replace") == page:
        return
    with atomic_file(path) as temporary:
        temporary.write_text(page, encoding="ascii")


def _row(report: TomogramReport, alone: bool) -> dict[str, Any]:
    """A tomogram's row of the index."""
    image = Image.open(io.BytesIO(report.grey.jpegs[central(len(report.grey.jpegs))[1]]))
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    encoded = b64encode(buffer.getvalue()).decode("ascii")
    return describe(report.subject) | {
        "page": page_name(report.subject.index, alone),
        "thumbnail": f"data:image/jpeg;base64,{encoded}",
        "workflows": [describe_workflow(findings) for findings in report.findings],
        **_row_of_particles(report.picked),
    }


def _row_of_particles(picked: Sequence[Particles]) -> dict[str, Any]:
    """What a row says of particles."""
    return {"particles": [f"{one.count:,} from {one.title}" for one in picked]}
