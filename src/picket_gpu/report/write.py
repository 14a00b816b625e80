"""The files of a report: a page and a preview for each tomogram, and an index of several."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from picket_gpu.device.operations import Shape
from picket_gpu.errors import FailedParts, Failure
from picket_gpu.files.atomic import Pace, atomic_file
from picket_gpu.files.filenames import INDEX, page_name, preview_name, report_names
from picket_gpu.particles.particles import Particles
from picket_gpu.report.collect import TomogramReport
from picket_gpu.report.page import (
    MOST_BYTES,
    page_data,
    read_data,
    read_summary,
    render,
    tomogram_page,
)
from picket_gpu.report.picked import describe_picked
from picket_gpu.report.preview import most_preview_bytes, preview
from picket_gpu.report.row import describe_picks, describe_row, digest_of
from picket_gpu.report.slices import choose_layout, most_slices_bytes

PAGE = 2**18  # bytes of a page without slices, and of its row in the index


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
    row = describe_row(data, alone, report.picked)
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
    order = [one["stem"] for one in data["picked"]]  # of a run
    picked = sorted(
        picked, key=lambda one: order.index(s) if (s := one.path.stem) in order else len(order)
    )
    data["picked"] = [describe_picked(one) for one in picked]
    row["picks"] = describe_picks(data, picked)
    _write_both(page, data, picked, row)
    return dict(row)


def page_shows(page: Path, picked: Sequence[Particles]) -> bool:
    """Whether a page, if there is one, shows these particles and no others."""
    row = read_summary(page)
    return row is None or {one.get("digest") for one in row["picks"]} == {*map(digest_of, picked)}


def _write_both(
    page: Path, data: dict[str, Any], picked: Sequence[Particles], row: dict[str, Any]
) -> None:
    with atomic_file(page.with_name(preview_name(row["index"]))) as temporary:
        preview(data, picked).save(temporary, "PNG", compress_level=3)
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
    """report.html of several tomograms: a row for each, with its page if there is one.

    It is written again at the pace of `Pace`, and at the end.
    """

    def __init__(
        self,
        directory: Path,
        dataset_name: str,
        tomograms: Mapping[int, tuple[str, str]],
        wanted: Mapping[int, set[str]],
        recorded: Callable[[], Mapping[int, FailedParts]] = dict,
    ) -> None:
        """
        Args:
            tomograms: names and paths of all tomograms of the dataset, by index.
            wanted: fingerprints of the segmentations of those that this run is for: older pages
                of others are not theirs.
            recorded: returns what other runs have recorded as failed, by index.
        """
        self._directory = directory
        self._dataset_name = dataset_name
        self._tomograms = tomograms
        self._wanted = wanted
        self._recorded = recorded
        self._rows: dict[int, dict[str, Any]] = {}
        self._failed: dict[int, FailedParts] = {}  # in this run
        self._failed_elsewhere: Mapping[int, FailedParts] = {}
        self._pace = Pace()

    def add(self, row: dict[str, Any]) -> None:
        """Add or replace the row of a tomogram that has a page."""
        if not self._rows:
            self._add_others()
        self._rows[row["index"]] = row
        if self._pace.is_due:
            self._write()

    def add_failure(self, failure: Failure) -> None:
        """Add a failure, to be written with the next row or at the end."""
        self._failed.setdefault(failure.index, []).append((failure.mode, failure.message))

    def finish(self) -> None:
        """Write the index, which pages and failures of other runs may have joined or changed."""
        self._add_others()
        if self._rows or self._failed:
            self._write()

    def _add_others(self) -> None:
        """Add the rows of pages as they are now, and the failures of other runs."""
        if len(self._tomograms) == 1:
            return
        for index in self._tomograms:
            row = read_summary(self._directory / page_name(index, alone=False))
            if row and self._wanted.get(index, _fingerprints(row)) == _fingerprints(row):
                self._rows[index] = row
        self._failed_elsewhere = {
            index: parts for index, parts in self._recorded().items() if index not in self._wanted
        }

    def _write(self) -> None:
        if len(self._tomograms) == 1:
            return
        data = {
            "dataset": self._dataset_name,
            "tomograms": [self._row(index) for index in sorted(self._tomograms)],
        }
        with self._pace.writing():
            _write(self._directory / INDEX, render("index", self._dataset_name, data))

    def _row(self, index: int) -> dict[str, Any]:
        """A row, of fewer fields for a tomogram without a page."""
        name, path = self._tomograms[index]
        failed = self._failed.get(index) or self._failed_elsewhere.get(index, [])
        row = self._rows.get(index, {"index": index, "name": name, "path": path})
        return row | {"failures": [{"part": part, "message": told} for part, told in failed]}


def _write(path: Path, page: str) -> None:
    if path.exists() and path.read_text(encoding="ascii", errors="replace") == page:
        return
    with atomic_file(path) as temporary:
        temporary.write_text(page, encoding="ascii")
