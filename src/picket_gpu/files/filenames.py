"""Names of the files that a run writes, in one directory but for those of a copick project."""

import os
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeAlias

INDEX = "report.html"
# By kinds of files; those of scores are what `scores_beside` makes of the others.
ENDINGS = {
    "hdf5": ".h5",
    "mrc": ".mrc",
    "score": "_score.mrc",
    "zarr": ".zarr",
    "zarr score": "_score.zarr",
}
PARTICLES = {"csv": ".csv", "star": ".star", "cmm": ".cmm", "yaml": ".yaml"}
CANDIDATES = ".npz"  # of all that particles were chosen from
_METHODS = (None, "components", "watershed")  # ways of picking, which are no names of particles
# Further kinds, by the name in ``formats`` that asks for them.
FURTHER = {
    "warp": {"warp": ".warp.star"},
    "relion4": {"relion4": ".relion4.star"},
    "imod": {"imod": ".imod.txt"},
    "dynamo": {"dynamo": ".tbl", "dynamo tomograms": ".doc"},
}
_WORKFLOW = r"(?P<index>\d+)_(?P<workflow>[^\W_]+_[^\W_]+)"
_SEGMENTATION = re.compile(f"segmentation_{_WORKFLOW}")
_PARTICLES = re.compile(rf"particles_{_WORKFLOW}(_(?P<picking>[^\W_]+))?")
_RECORD = re.compile(r"run(_\d+)?\.json")
_OTHERS = re.compile(
    rf"{_RECORD.pattern}|report(_\d+)?\.html|preview_\d+\.png|beads_\d+\.csv"
    r"|particles_.+\.(csv|star|cmm|yaml|npz|txt|tbl|doc)"
)
Key: TypeAlias = tuple[str, str, str | None]  # feature mode, method, name of particles
_SCORES = {"mrc": "score", "zarr": "zarr score"}  # HDF5 has labels and scores in one file


@dataclass(frozen=True)
class CopickNames:
    """Where a copick project has the segmentations and picks of one tomogram.

    Attributes:
        project: directory of the project.
        run: name of the tomogram.
        voxel_size: voxel size of all axes, in angstrom.
        user, session, object: names; ``{mode}`` and ``{method}`` in the session stand for the
            workflow's.
    """

    project: Path
    run: str
    voxel_size: float
    user: str
    session: str
    object: str

    @classmethod
    def of(cls, path: Path) -> Self | None:
        """Names of a project by those of one of its segmentations; None for any other path."""
        parts, names = path.parts[-4:-1], path.stem.split("_")
        if len(names) != 4 or parts[:1] != ("ExperimentRuns",) or parts[2] != "Segmentations":
            return None
        size, user, session, name = names
        return cls(path.parents[3], parts[1], float(size), user, session, name)

    @property
    def directory(self) -> Path:
        """Directory of the tomogram's segmentations."""
        return self.project / "ExperimentRuns" / self.run / "Segmentations"

    def path(self, mode: str, method: str) -> Path:
        """Zarr directory of one workflow."""
        name = f"{self.voxel_size:.3f}_{self.user}_{self._session(mode, method)}_{self.object}.zarr"
        return self.directory / name

    @property
    def picks_directory(self) -> Path:
        """Directory of the tomogram's picks."""
        return self.directory.with_name("Picks")

    def picks(self, mode: str, method: str, picking: str | None = None) -> Path:
        """File of the picks of one workflow; see `TomogramFiles.particles`."""
        _check_parts(mode, method, picking)
        session, name = self._session(mode, method), self.object
        if picking not in _METHODS:
            name = str(picking)
        elif picking is not None:
            session += f"-{picking}"
        return self.picks_directory / f"{self.user}_{session}_{name}.json"

    def _session(self, mode: str, method: str) -> str:
        return self.session.format(mode=mode, method=method)


@dataclass(frozen=True)
class TomogramFiles:
    """Files of the workflows on one tomogram.

    Attributes:
        directory: directory of all files but copick's.
        index: index of the tomogram in ``inputs``, from 0.
        kinds: kinds of files to write for each workflow: hdf5, mrc, zarr and copick.
        copick: names in a copick project; None where it cannot hold the tomogram.
        scored: workflows that have scores too, as pairs of feature mode and method.
    """

    directory: Path
    index: int
    kinds: list[str]
    copick: CopickNames | None = None
    scored: Collection[tuple[str, str]] = ()

    def of(self, mode: str, method: str) -> dict[str, Path]:
        """Files of one workflow, by their kind."""
        kinds = [kind for kind in self.kinds if kind in ENDINGS]
        if (mode, method) in self.scored:
            kinds += [score for kind, score in _SCORES.items() if kind in kinds]
        files = {kind: self._path(kind, mode, method) for kind in kinds}
        if self.copick and "copick" in self.kinds:
            files["copick"] = self.copick.path(mode, method)
        return files

    def names(self, mode: str, method: str) -> list[str]:
        """Files of one workflow relative to the directory, HDF5, which holds the most, first."""
        files = self.of(mode, method)
        kinds = sorted(files, key=lambda kind: kind != "hdf5")
        return [os.path.relpath(files[kind], self.directory) for kind in kinds]

    def others(self, mode: str, method: str) -> Iterable[Path]:
        """Files that a workflow may have from earlier runs, of kinds that are not wanted now."""
        wanted = self.of(mode, method)
        paths = [self._path(kind, mode, method) for kind in ENDINGS if kind not in wanted]
        if self.copick and "copick" not in wanted:
            paths.append(self.copick.path(mode, method))
        return paths

    def particles(
        self, mode: str, method: str, picking: str | None = None, formats: Iterable[str] = ()
    ) -> dict[str, Path]:
        """Files of the particles of one workflow, by their kind: `PARTICLES`, candidates, copick.

        Args:
            picking: name of the particles, or of the way of picking; None for the usual way.
            formats: what else is wanted, of `FURTHER`.

        Raises:
            ValueError: a name is not letters and digits only, so that two results could have files
                of the same name.
        """
        _check_parts(mode, method, picking)
        stem = "_".join(filter(None, ("particles", str(self.index), mode, method, picking)))
        files = particle_files(self.directory / stem, formats)
        files["candidates"] = self.directory / f"{stem}{CANDIDATES}"
        if self.copick and "copick" in self.kinds:
            files["copick"] = self.copick.picks(mode, method, picking)
        return files

    def pickings(self, mode: str, method: str) -> list[str | None]:
        """Names of all particles of one workflow that have files, as `particles` takes them."""
        stem = f"particles_{self.index}_{mode}_{method}"
        found = sorted(self.directory.glob(f"{stem}*{PARTICLES['csv']}"))
        named = [_PARTICLES.fullmatch(path.stem) for path in found]
        workflow = f"{mode}_{method}"
        return [one["picking"] for one in named if one is not None and one["workflow"] == workflow]

    @property
    def directories(self) -> list[Path]:
        """Directories that hold the files."""
        if self.copick is None:
            return [self.directory]
        return [self.directory, self.copick.directory, self.copick.picks_directory]

    def _path(self, kind: str, mode: str, method: str) -> Path:
        return self.directory / f"segmentation_{self.index}_{mode}_{method}{ENDINGS[kind]}"


def particle_files(stem: Path, formats: Iterable[str] = ()) -> dict[str, Path]:
    """Files of particles by kind: `PARTICLES`, and what of `FURTHER` is asked for."""
    endings = dict(PARTICLES)
    for name in formats:
        endings |= FURTHER[name]
    return {kind: stem.with_name(stem.name + ending) for kind, ending in endings.items()}


def _check_parts(*parts: str | None) -> None:
    """Whether names can be told apart again after they are joined by _ or -."""
    for part in parts:
        if part is not None and not part.isalnum():
            raise ValueError(f"{part!r} must be letters and digits only")


def list_name(mode: str, method: str, picking: str | None) -> str:
    """Name, without ending, of the list of the particles of all tomograms."""
    return "_".join(filter(None, ("particles", mode, method, picking)))


def candidate_files(
    directory: Path, index: int | None = None, name: str | None = None
) -> list[Path]:
    """Files of all candidates in the order of tomograms.

    Args:
        index: of the one tomogram that they are of.
        name: of the particles; "*" for those that have one.
    """
    found = []
    for path in directory.glob(f"particles_{'*' if index is None else index}_*{CANDIDATES}"):
        parts = _PARTICLES.fullmatch(path.stem)
        if parts is not None:
            own = None if parts["picking"] in _METHODS else parts["picking"]
            if name is None or own == name or (name == "*" and own is not None):
                found.append((int(parts["index"]), path))
    return [path for _, path in sorted(found)]


def bare_tables(directory: Path, index: int | None = None) -> dict[Key, list[Path]]:
    """CSV files without a file of candidates beside them, by workflow and name.

    Args:
        index: of the one tomogram that they are of.
    """
    found: dict[Key, list[Path]] = {}
    for path in sorted(directory.glob(f"particles_{'*' if index is None else index}_*.csv")):
        parts = _PARTICLES.fullmatch(path.stem)
        if parts is not None and not path.with_suffix(CANDIDATES).exists():
            mode, method = parts["workflow"].split("_")
            found.setdefault((mode, method, parts["picking"]), []).append(path)
    return found


def scores_beside(segmentation: Path) -> Path:
    """File of the scores that belong to a segmentation in MRC or Zarr."""
    return segmentation.with_name(f"{segmentation.stem}_score{segmentation.suffix}")


def particles_beside(segmentation: Path) -> list[Path]:
    """CSV files of all particles picked from a segmentation, in any way of picking."""
    named = _SEGMENTATION.fullmatch(segmentation.stem)
    if named is None:
        return []
    stem = f"particles_{named['index']}_{named['workflow']}"
    found = segmentation.parent.glob(f"{stem}*{PARTICLES['csv']}")
    return sorted(path for path in found if path.stem == stem or path.stem.startswith(f"{stem}_"))


def is_particles(path: Path) -> bool:
    """Whether a file is named like one of `TomogramFiles.particles`; copick's are not."""
    stem, ending = _parted(path)
    endings = [*PARTICLES.values(), *(e for kinds in FURTHER.values() for e in kinds.values())]
    return _PARTICLES.fullmatch(stem) is not None and ending in endings


def is_beside_segmentations(path: Path) -> bool:
    """Whether a path is named like what a run writes but for segmentations, or has a run's record.

    None of it is a volume.
    """
    if _OTHERS.fullmatch(path.name):
        return True
    return path.is_dir() and any(_RECORD.fullmatch(one.name) for one in path.glob("run*.json"))


def particles_csv(path: Path) -> Path:
    """The CSV file beside one of `TomogramFiles.particles`."""
    return path.with_name(_parted(path)[0] + PARTICLES["csv"])


def _parted(path: Path) -> tuple[str, str]:
    """Stem and ending of a file of particles; endings such as .warp.star have two points."""
    stem, point, ending = path.name.partition(".")
    return stem, point + ending


def segmentation_beside(particles: Path) -> Path | None:
    """The segmentation that particles were picked from, else another of their tomogram, else None.

    HDF5 comes before Zarr and Zarr before MRC, which does not name the tomogram.
    """
    named = _PARTICLES.fullmatch(_parted(particles)[0])
    if named is None:
        return None
    for workflow in (named["workflow"], "*"):
        for kind in ("hdf5", "zarr", "mrc"):
            pattern = f"segmentation_{named['index']}_{workflow}{ENDINGS[kind]}"
            found = sorted(particles.parent.glob(pattern))
            found = [path for path in found if _SEGMENTATION.fullmatch(path.stem)]
            if found:
                return found[0]
    return None


def record_name(tomograms: list[int] | None) -> str:
    """Name of the record of a run over some tomograms, after the first index; None for all."""
    return f"run_{tomograms[0]}.json" if tomograms else "run.json"


def page_name(index: int | str, alone: bool) -> str:
    """Name of a tomogram's page; the page of the only tomogram of a run is the report itself."""
    return INDEX if alone else f"report_{index}.html"


def preview_name(index: int) -> str:
    """Name of a tomogram's contact sheet."""
    return f"preview_{index}.png"


def beads_name(index: int) -> str:
    """Name of the table of a tomogram's gold beads."""
    return f"beads_{index}.csv"


def report_names(indices: list[int], alone: bool) -> list[str]:
    """Names of all files of the report of a run over tomograms with these indices."""
    pages = [] if alone else [page_name(index, alone) for index in indices]
    return [INDEX, *pages, *map(preview_name, indices)]
