"""Names of the files that a run writes, all in one directory."""

from pathlib import Path

INDEX = "report.html"
ENDINGS = {"hdf5": ".h5", "mrc": ".mrc", "score": "_score.mrc"}


def segmentation_files(
    directory: Path, kinds: list[str], index: int, mode: str, method: str
) -> dict[str, Path]:
    """Files of one workflow on one tomogram, by their kind, those of `ENDINGS`."""
    stem = f"segmentation_{index}_{mode}_{method}"
    return {kind: directory / (stem + ENDINGS[kind]) for kind in kinds}


def record_name(tomograms: list[int] | None) -> str:
    """Of the record of a run over a part of the tomograms, or all. Parts differ in their first."""
    return f"run_{tomograms[0]}.json" if tomograms else "run.json"


def page_name(index: int, alone: bool) -> str:
    """Of a tomogram's page of the report; where it is alone, that is the report."""
    return INDEX if alone else f"report_{index}.html"


def preview_name(index: int) -> str:
    """Of a tomogram's contact sheet."""
    return f"preview_{index}.png"


def report_names(indices: list[int], alone: bool) -> list[str]:
    """Every file of the report of a run over tomograms with these indices."""
    pages = [] if alone else [page_name(index, alone) for index in indices]
    return [INDEX, *pages, *map(preview_name, indices)]
