"""The files of a report: a page and a preview for each tomogram, and an index of several."""

import io
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from picket_gpu.files.atomic import atomic_file
from picket_gpu.files.filenames import INDEX, page_name, preview_name
from picket_gpu.report.collect import TomogramReport
from picket_gpu.report.page import describe, describe_workflow, read_summary, render, tomogram_page
from picket_gpu.report.preview import preview
from picket_gpu.report.slices import QUALITY

THUMBNAIL = 96  # pixels of the longer side


class ReportWriter:
    """Writes the report of some tomograms, each one's part as soon as it is complete.

    One tomogram has its page in report.html. Of several, each has a page of its own, and
    report.html, the index, leads to those that are done, in other runs too.
    """

    def __init__(
        self, directory: Path, dataset: str, total: int, wanted: Mapping[int, set[str]]
    ) -> None:
        """
        Args:
            directory: of the files.
            dataset: name of the data set.
            total: number of its tomograms.
            wanted: by the indices of tomograms, fingerprints of the segmentations that a page must
                be of to be taken as it is.
        """
        self._directory = directory
        self._dataset = dataset
        self._total = total
        self._wanted = wanted
        self._entries: dict[int, Any] = {}

    def write(self, report: TomogramReport) -> None:
        """Write the page and the preview of a tomogram."""
        index = report.subject.index
        entry = self._entries[index] = self._entry(report)
        with atomic_file(self._directory / preview_name(index)) as temporary:
            preview(report).save(temporary, "PNG")
        self._write(self._page(index), tomogram_page(report, self._links(index), entry))

    def has(self, index: int) -> bool:
        """Whether a tomogram has its page and preview, of the segmentations that are wanted."""
        entry = self._entries.get(index) or self._read(index)
        return entry is not None and (self._directory / preview_name(index)).exists()

    def write_index(self) -> None:
        """Write the index of the tomograms that have a page, if there are several."""
        for index in self._wanted.keys() - self._entries.keys():  # by other runs
            if entry := self._read(index):
                self._entries[index] = entry
        if self._total > 1 and self._entries:
            data = {
                "dataset": self._dataset,
                "total": self._total,
                "tomograms": [self._entries[index] for index in sorted(self._entries)],
            }
            self._write(INDEX, render("index", self._dataset, data))

    def _write(self, name: str, page: str) -> None:
        path = self._directory / name
        if path.exists() and path.read_text(encoding="ascii", errors="replace") == page:
            return
        with atomic_file(path) as temporary:
            temporary.write_text(page, encoding="ascii")

    def _read(self, index: int) -> dict[str, Any] | None:
        """What a page that is there says, if it is of what is wanted."""
        entry: dict[str, Any] | None = read_summary(self._directory / self._page(index))
        if entry is None:
            return None
        told = {workflow.get("fingerprint") for workflow in entry["workflows"]}
        return entry if told == self._wanted[index] else None

    def _page(self, index: int) -> str:
        return page_name(index, alone=self._total == 1)

    def _links(self, index: int) -> dict[str, str]:
        indices = sorted(self._wanted)
        place = indices.index(index)
        links = {"index": INDEX} if self._total > 1 else {}
        if place > 0:
            links["previous"] = self._page(indices[place - 1])
        if place + 1 < len(indices):
            links["next"] = self._page(indices[place + 1])
        return links

    def _entry(self, report: TomogramReport) -> dict[str, Any]:
        """A tomogram's row of the index."""
        image = Image.fromarray(report.grey.central[1])
        image.thumbnail((THUMBNAIL, THUMBNAIL))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=QUALITY)
        encoded = b64encode(buffer.getvalue()).decode("ascii")
        return describe(report.subject) | {
            "page": self._page(report.subject.index),
            "thumbnail": f"data:image/jpeg;base64,{encoded}",
            "workflows": [describe_workflow(findings) for findings in report.findings],
            "particles": [
                f"{picked.particles.picks.count:,} from {picked.mode} {picked.method}"
                for picked in report.picked
            ],
        }
