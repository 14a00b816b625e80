"""Disk space that the files of a run take, at most: how well they compress is not known before."""

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from picket_gpu.config.s1 import S1Config
from picket_gpu.files.formats import FORMATS
from picket_gpu.report.write import most_report_bytes
from picket_gpu.run.plan import TomogramPlan

UNITS = ("kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class DiskSpace:
    """Bytes that a run writes, without coordinates and records, which are small.

    Attributes:
        by_kind: bytes at most by the kind of file: those of ``save``, and report.
        scores: bytes of scores among them.
        free: bytes that are free where the files go; None if that is not known.
    """

    by_kind: dict[str, int]
    scores: int
    free: int | None

    @property
    def total(self) -> int:
        """Bytes of all files, at most."""
        return sum(self.by_kind.values())

    @property
    def is_short(self) -> bool:
        """Whether there may be too little."""
        return self.free is not None and self.total > self.free


def disk_space(config: S1Config, plans: list[TomogramPlan]) -> DiskSpace:
    """The disk space that a run of these tomograms takes. Files that it replaces count too."""
    by_kind: Counter[str] = Counter()
    scores = 0
    for plan in plans:
        shape = plan.header.shape
        for mode in plan.pending:
            for method in config.clustering_methods:
                scored = (mode.mode, method) in config.scored
                for kind in config.save:
                    size = FORMATS[kind].most_bytes(shape, scored)
                    by_kind[kind] += size
                    scores += size - FORMATS[kind].most_bytes(shape, False)
        if config.report and not plan.is_done:
            workflows = len(config.workflows)
            by_kind["report"] += most_report_bytes(shape, config.neighborhood_size, workflows)
    return DiskSpace(dict(by_kind), scores, _free(config))


def _free(config: S1Config) -> int | None:
    directory = config.directory.absolute()
    with suppress(OSError):
        there = next(path for path in (directory, *directory.parents) if path.exists())
        return shutil.disk_usage(there).free
    return None


def describe_disk_space(config: S1Config, space: DiskSpace) -> Iterator[str]:
    """Yield what the files take, and how to write fewer."""
    if not space.total:
        return
    kinds = ", ".join(f"{kind} {in_words(size)}" for kind, size in space.by_kind.items())
    scores = f"; {in_words(space.scores)} of it scores" if space.scores else ""
    free = "" if space.free is None else f", {in_words(space.free)} are free"
    yield f"Disk space: at most {in_words(space.total)} ({kinds}{scores}){free}"
    fewer = []
    if "hdf5" in config.save and len(config.save) > 1:
        fewer.append("save: [hdf5]")
    if config.scores:
        fewer.append("scores: false")
    if config.report:
        fewer.append("report: false")
    if len(config.feature_extraction_params) > 1:
        fewer.append("fewer feature modes")
    if len(config.clustering_methods) > 1:
        fewer.append("fewer clustering methods")
    if fewer:
        yield f"  for less: {'; '.join(fewer)}"


def in_words(size: int) -> str:
    """A number of bytes in the unit in which disks are sold, such as 4.2 GB."""
    number = size / 1000
    for unit in UNITS:
        if number < 999.5 or unit == UNITS[-1]:
            break
        number /= 1000
    return f"{number:.1f} {unit}" if number < 9.95 else f"{number:,.0f} {unit}"
