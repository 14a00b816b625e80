"""The page of one tomogram: a single HTML file that asks nothing of a network."""

import html
import json
import re
import shlex
from base64 import b64encode
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from picket_gpu.files.segmentation import Subject
from picket_gpu.report.collect import Findings, TomogramReport
from picket_gpu.report.components import SMALLEST
from picket_gpu.report.picked import describe_picked

MOST_BYTES = 12_000_000
SCRIPTS = {
    "viewer": (
        *("common.js", "memory.js", "heights.js", "settings.js", "pictures.js", "table.js"),
        *("stage.js", "overlays.js", "levels.js", "model.js", "ranking.js", "answers.js"),
        *("circles.js", "volume.js", "gallery.js", "average.js", "questions.js", "saving.js"),
        *("choices.js", "sections.js", "particles.js", "viewer.js"),
    ),
    "index": (
        *("common.js", "heights.js", "settings.js", "picks.js", "threshold.js", "rows.js"),
        "index.js",
    ),
}
STYLES = {"viewer": ("style.css", "viewer.css"), "index": ("style.css", "index.css")}
BINS = 24  # of the plot of diameters, at most


def page_data(report: TomogramReport, links: Mapping[str, str]) -> dict[str, Any]:
    """What the page of a tomogram is made of, so that it has at most `MOST_BYTES`: every second
    slice is left out until it has.

    Args:
        links: file names of other pages: index, previous, next.
    """
    slices = range(len(report.layout.places))
    while True:
        data = _data(report, links, slices)
        if len(tomogram_page(data)) <= MOST_BYTES or len(slices) == 1:
            return data
        slices = slices[::2]


def tomogram_page(data: Mapping[str, Any], summary: Any = None) -> str:
    """The page of a tomogram.

    Args:
        summary: what the index says of it.
    """
    return render("viewer", data["name"], data, summary)


def render(name: str, title: str, data: Any, summary: Any = None) -> str:
    """A page from the files in web/, in ASCII.

    Args:
        summary: what `read_summary` finds in it.
    """
    parts = {
        "title": html.escape(title),
        "style": "".join(_web(style) for style in STYLES[name]),
        "body": _web(f"{name}.html"),
        "summary": _json(summary),
        "data": _json(data),
        "script": "".join(_web(script) for script in SCRIPTS[name]),
    }
    page = re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _web("page.html"))
    return page.encode("ascii", "xmlcharrefreplace").decode("ascii")


def read_summary(page: Path) -> Any:
    """The summary in a page that `render` made; None where there is no such page."""
    return _read_json(page, "summary")


def read_data(page: Path) -> Any:
    """What a page that `render` made is made of; None where there is no such page."""
    return _read_json(page, "data")


def _read_json(page: Path, name: str) -> Any:
    start, end = f'<script type="application/json" id="{name}">', "</script>\n"
    try:
        with page.open(encoding="ascii") as file:
            for line in file:
                if start in line:
                    return json.loads(line.partition(start)[2].removesuffix(end))
    except (OSError, ValueError):
        return None  # no page of ours
    return None


def _json(data: Any) -> str:
    """JSON in which no character of a name can end the script element or begin another."""
    text = json.dumps(data, allow_nan=False)
    return re.sub("[<>&]", lambda match: f"\\u{ord(match[0]):04x}", text)


def _web(name: str) -> str:
    return (files("picket_gpu.report") / "web" / name).read_text(encoding="utf-8")


def describe(subject: Subject) -> dict[str, Any]:
    """What every page says of a tomogram."""
    return {
        "index": subject.index,
        "name": subject.name,
        "path": str(subject.tomogram),
        # S2 makes no directory but below output_dir/dataset_name.
        "outputDir": yaml_text(subject.directory.absolute().parent),
        "directoryName": yaml_text(subject.directory.absolute().name),
        "shape": subject.shape,
        "voxelSize": subject.voxel_size,
        "limits": [subject.lower_z_slice_limit, subject.upper_z_slice_limit],
        "warnings": subject.warnings,
    }


def describe_workflow(findings: Findings) -> dict[str, Any]:
    """What every page says of a segmentation."""
    one = findings.segmentation
    return {
        "mode": one.mode,
        "method": one.method,
        "share": one.foreground_fraction,
        "fingerprint": one.fingerprint,
        "file": yaml_text(one.path) if one.path.suffix == ".h5" else None,
    }


def yaml_text(text: Path | str) -> str:
    """Text, or a path made absolute, as a YAML scalar that holds whatever characters it has."""
    plain = str(text.absolute()) if isinstance(text, Path) else text
    quoted: str = yaml.safe_dump(plain, default_style='"', width=float("inf"))
    return quoted.removesuffix("\n")


def _data(report: TomogramReport, links: Mapping[str, str], slices: range) -> dict[str, Any]:
    subject, layout, grey = report.subject, report.layout, report.grey
    rows, columns = layout.pixels
    return describe(subject) | {
        "dataset": subject.dataset_name,
        "directory": shlex.quote(str(subject.directory.absolute())),
        "links": dict(links),
        "border": subject.neighborhood_size // 2 // layout.binning,
        "rows": rows,
        "columns": columns,
        "binning": layout.binning,
        "places": [layout.places[n] for n in slices],
        "histogram": grey.histogram.tolist(),
        "grey": [_text(grey.jpegs[n]) for n in slices],
        "smallest": SMALLEST,
        "workflows": [
            describe_workflow(findings)
            | {
                "iterations": findings.segmentation.iterations,
                "converged": findings.segmentation.converged,
                "seconds": findings.segmentation.seconds or None,
                "separation": findings.separation,
                "components": _components(findings, subject),
                "bits": [_text(findings.slices.bits[n]) for n in slices],
            }
            for findings in report.findings
        ],
        "picked": [describe_picked(picked) for picked in report.picked],
    }


def _components(findings: Findings, subject: Subject) -> dict[str, Any]:
    """Numbers and the histogram of diameters, in nm, or voxels where their size is not known."""
    components = findings.components
    known = subject.is_scaled
    diameters = components.diameters(subject.voxel_size if known else (1, 1, 1))
    diameters = diameters / 10 if known else diameters
    described: dict[str, Any] = {
        "count": len(diameters),
        "smaller": components.smaller,
        "largest": components.largest,
        "unit": "nm" if known else "voxels",
    }
    if len(diameters):
        # Sizes span powers of ten, so bins are even in the logarithm.
        low, high = diameters.min() * 0.99, diameters.max() * 1.01
        edges = np.geomspace(low, high, min(BINS, 4 + len(diameters)) + 1)
        described["counts"] = np.histogram(diameters, edges)[0].tolist()
        described["edges"] = edges.tolist()
        described["quantiles"] = np.quantile(diameters, (0.1, 0.5, 0.9)).tolist()
    return described


def _text(data: bytes) -> str:
    return b64encode(data).decode("ascii")
