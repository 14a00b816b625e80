"""Files of particles: written together, read back, and what they say of themselves."""

import csv
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count as numbers_from
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from picket_gpu.errors import PicketError, one_line
from picket_gpu.files.atomic import remove
from picket_gpu.files.filenames import (
    FURTHER,
    PARTICLES,
    TomogramFiles,
    bare_tables,
    candidate_files,
    particle_files,
)
from picket_gpu.files.segmentation import Subject
from picket_gpu.particles.formats import FORMATS
from picket_gpu.particles.formats.cmm import CMM
from picket_gpu.particles.formats.csv import CSV
from picket_gpu.particles.formats.npz import DAMAGED, KEPT, NPZ
from picket_gpu.particles.formats.yaml import YAML
from picket_gpu.particles.particles import COLUMNS, EDITED, METADATA, SOMETIMES, Particles
from picket_gpu.particles.picks import Picks

ROUNDING = 1e-6  # of a table that nobody has changed, absolute and relative
SETTLED = 0.3  # seconds after which a job has written all files that belong together
APART = 0.1  # voxels between the two places of a row; people round angstrom


def write_particles(files: Mapping[str, Path], particles: Particles) -> None:
    """Write the `filled` ones of ``files`` to directories that exist, each whole or not at all.

    The CSV file comes last, when all others are there, and first of all it goes: files beside one
    belong together. Those that particles can be picked again from are there at any time. Where
    another job has written its candidates meanwhile, the other files become those of these.

    Args:
        files: paths by kind, as `TomogramFiles.particles` returns them; ``yaml`` is one.
    """
    first = ["yaml"] if particles.pool is None else ["yaml", "candidates"]
    written = None
    while True:
        remove_particles(files, first)
        kinds = [*first, *filled(files, particles.count)]
        for kind in sorted(dict.fromkeys(kinds), key=lambda kind: kind == "csv"):
            if kind != "candidates" or (particles.pool is not None and written is None):
                FORMATS[kind].write(files[kind], [particles])
            if kind == "candidates" and written is None:
                written = stamp_of(files[kind])
                remove(files["csv"])  # of another job, which has written it meanwhile
        if "candidates" not in first or (now := stamp_of(files["candidates"])) in (written, None):
            return
        particles, written = read_candidates(files["candidates"]), now


def renew_beside(files: Mapping[str, Path], particles: Particles) -> bool:
    """Write the files beside a table that a person has changed by it, unless they are.

    Returns:
        Whether they were written.
    """
    wanted = {
        kind: path
        for kind, path in filled(files, particles.count).items()
        if kind not in ("csv", "candidates")
    }
    known = YAML.read_metadata(files["yaml"]).get(EDITED)
    if known == particles.metadata[EDITED] and all(path.exists() for path in wanted.values()):
        return False
    if not are_settled(files["csv"], files["candidates"]):
        return False
    remove_particles(files, ["csv", "candidates", "yaml"])
    for kind in sorted(wanted, key=lambda kind: kind == "yaml"):
        FORMATS[kind].write(wanted[kind], [particles])
    return True


def follow_a_table(files: Mapping[str, Path]) -> bool:
    """Whether the files beside a table were written by one that a person had changed."""
    with suppress(OSError):
        return EDITED in files["yaml"].read_text(encoding="utf-8", errors="replace")
    return False


def are_settled(*paths: Path) -> bool:
    """Whether no job is just writing files; waits for as long as they may not belong together."""
    before = [stamp_of(path) for path in paths]
    time.sleep(SETTLED)
    return None not in before and before == [stamp_of(path) for path in paths]


def stamp_of(path: Path) -> tuple[int, int] | None:
    """When a file was written; None where another job has just removed it."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_mtime_ns, stat.st_ino


def files_of(particles: Particles) -> dict[str, Path]:
    """Files of particles by kind, as those of their settings in any number."""
    names = TomogramFiles(particles.directory, particles.index, [])
    files = names.particles(*particles.key, particles.settings.get("formats") or ())
    of_copick = [name for name in particles.files if name.endswith(".json")]
    return files | dict(zip(["copick"], map(particles.place_of, of_copick), strict=False))


def filled(files: Mapping[str, Path], count: int) -> dict[str, Path]:
    """The files that are written for so many particles: without any, few formats have one."""
    return {kind: path for kind, path in files.items() if count or FORMATS[kind].holds_none}


def read_with_candidates(path: Path) -> Particles:
    """Particles with all candidates, from the file that has these.

    What a person has changed in the CSV file next to it holds, whatever settings say: then there
    are no candidates, but those of `Particles.edited`.

    Raises:
        PicketError: a file is damaged.
    """
    found = read_candidates(path)
    table = path.with_suffix(PARTICLES["csv"])
    known = {name: getattr(found, name) for name in (*KEPT, "label", "contrast")}
    try:
        if not table.exists() or agrees(found, table):
            return found
        edited = read_particles(table, found, **known, edited=found.pool)
    except PicketError:
        if table.exists():
            raise
        return found  # another job has just removed it, and writes it again
    names = [
        os.path.relpath(one, found.directory)
        for one in filled(files_of(found), edited.count).values()
    ]
    return edited.model_copy(update={"files": names})


def read_candidates(path: Path) -> Particles:
    """Particles as a file of all candidates has them.

    Raises:
        PicketError: the file is damaged.
    """
    with _readable(path):
        return NPZ.read(path)


def agrees(particles: Particles, path: Path) -> bool:
    """Whether a CSV file has these particles, but for rounding: programs for tables save ten
    digits, and heights may differ in their last between machines.

    Raises:
        PicketError: the file is damaged.
    """
    table, own = _read_table(path, particles), particles.table
    return table.shape == own.shape and np.allclose(table, own, rtol=ROUNDING, atol=ROUNDING)


def _read_table(path: Path, subject: Subject) -> np.ndarray:
    """A CSV file's table, (n, 7 or 8) float64, with what its rows lack of voxels or angstrom.

    Raises:
        PicketError: the file is damaged, or angstrom of a row are not where its voxels are.
    """
    with _readable(path):
        table = CSV.read(path)
    voxels, angstrom = table[:, [6, 5, 4]], table[:, :3]
    size = np.array(subject.voxel_size if subject.is_scaled else (1.0, 1.0, 1.0))
    told = (angstrom - subject.origin)[:, ::-1] / size
    apart = np.abs(told - voxels).max(axis=1, initial=0)
    if subject.is_scaled and (wrong := np.flatnonzero(apart > APART)).size:
        row = ",".join(f"{number:.6g}" for number in table[wrong[0], :7])
        raise PicketError(
            f"{path}: x, y, z and x_angstrom, y_angstrom, z_angstrom are two places in the row "
            f"{row}; correct one of them, and leave the other empty"
        )
    table[:, 4:7] = np.where(np.isnan(voxels), told, voxels)[:, ::-1]
    table[:, :3] = np.where(np.isnan(angstrom), subject.in_file(table[:, [6, 5, 4]]), angstrom)
    return table


def has_files(particles: Particles, files: Mapping[str, Path]) -> bool:
    """Whether all files that `write_particles` writes exist, the table with these particles."""
    if not all(path.exists() for path in filled(files, particles.count).values()):
        return False
    try:
        return agrees(particles, files["csv"])
    except PicketError:
        return False


def picked_in(directory: Path, index: int, first: Sequence[Particles] = ()) -> list[Particles]:
    """All particles of a tomogram in a directory, but for those in damaged files.

    Those without candidates are found beside others.

    Args:
        first: those to begin with, which may be in memory only.
    """
    found = list(first)
    known = {one.key for one in first}
    for path in candidate_files(directory, index):
        with suppress(PicketError):
            one = read_with_candidates(path)
            if one.key not in known:
                found.append(one)
    files = TomogramFiles(directory, index, [])
    for key in bare_tables(directory, index) if found else ():
        if key not in known:
            with suppress(PicketError):
                found.append(read_bare(found[0], key, files.particles(*key, FURTHER)))
    return found


def read_bare(
    subject: Subject, key: tuple[str, str, str | None], files: Mapping[str, Path]
) -> Particles:
    """Particles of an earlier version, or beside files that were removed: without candidates.

    Args:
        subject: the tomogram that they are in.
        key: workflow and name.
        files: by kind, those that are missing included.

    Raises:
        PicketError: a file is damaged.
    """
    known: dict[str, Any] = dict(zip(("mode", "method", "picking"), key, strict=True))
    known["fingerprint"] = ""
    known["files"] = [path.name for path in files.values() if path.exists()]
    if files["cmm"].exists():
        known["diameter"] = read_diameter(files["cmm"])
    known |= read_metadata(files["yaml"]) or {}
    return read_particles(files["csv"], subject, **known)


def read_particles(path: Path, subject: Subject, **known: Any) -> Particles:
    """Particles in a CSV file, without the candidates below the threshold.

    Args:
        path: CSV file.
        subject: the tomogram that they are in.
        known: other fields of `Particles`; default: those of the YAML file next to it.

    Raises:
        PicketError: a file is damaged.
    """
    table = _read_table(path, subject)
    zyx = [COLUMNS.index(axis) for axis in "zyx"]
    heights = table[:, COLUMNS.index("score")]
    threshold = known.pop("threshold", float(heights[-1]) if len(heights) else 0.0)
    picks = Picks(
        table[:, zyx],
        heights,
        threshold,
        len(table),
        known.pop("label", 1),
        {"dark": True, "bright": False}.get(known.pop("contrast", "")),
        known.pop("separation", None),
        table[:, len(COLUMNS)] if table.shape[1] > len(COLUMNS) else None,
    )
    known.pop("count", None)
    return Particles(**subject.fields, picks=picks, **{"candidates": len(table)} | known)


def read_spheres(path: Path, subject: Subject) -> Particles:
    """Particles in a CSV file, with their diameter from the markers next to it.

    Raises:
        PicketError: one of the files is missing, or is not what a run writes.
    """
    markers = path.with_suffix(PARTICLES["cmm"])
    known = {"mode": "", "method": "", "fingerprint": "", "files": [path.name]}
    if path.exists() and not markers.exists():
        none = read_particles(path, subject, **known)
        if not none.count:
            return none
    for file in (path, markers):
        if not file.exists():
            raise PicketError(
                f"{file}: no such file; {path.name} holds the coordinates of the particles and "
                f"{markers.name} their diameter; run again to write both"
            )
    return read_particles(path, subject, **known, diameter=read_diameter(markers))


def read_diameter(markers: Path) -> float:
    """Diameter of the particles in a CMM file, in angstrom; 0 if there are none.

    Raises:
        PicketError: the file is damaged.
    """
    with _readable(markers):
        return CMM.read(markers)[1]


def read_metadata(path: Path) -> dict[str, Any] | None:
    """Fields of `Particles` in a YAML file; None if picket_gpu did not write it."""
    found = YAML.read_metadata(path)
    try:
        values = {field: found[name] for field, name in METADATA.items()}
        whole = {field: int(values[field]) for field in ("candidates", "count", "label")}
        values |= {field: found[name] for field, name in SOMETIMES.items() if name in found}
        numbers = {key: float(values[key]) for key in ("threshold", "separation") if key in values}
        settings = json.loads(found.get("particles_settings", "{}"))
        return values | whole | numbers | {"settings": settings}
    except (KeyError, ValueError):
        return None


def remove_particles(files: Mapping[str, Path], kept: Sequence[str] = ()) -> None:
    """Remove the files of a picking but for some kinds: the CSV file first, the YAML file, which
    describes them, last.

    Those of formats that were asked for earlier are removed too.
    """
    stem = files["yaml"].with_name(files["yaml"].name.removesuffix(PARTICLES["yaml"]))
    every = particle_files(stem, FURTHER)
    every = {kind: path for kind, path in every.items() if kind not in PARTICLES} | dict(files)
    for kind in sorted(every.keys() - kept, key=lambda kind: (kind == "yaml", kind != "csv")):
        remove(every[kind])


def remove_others(files: Mapping[str, Path], source: str) -> str | None:
    """Remove the files of a picking from another segmentation than ``source``.

    Returns:
        What `put_aside` does.
    """
    found = read_metadata(files["yaml"])
    if found is None or found["source"] == source:
        return None
    told = put_aside(files)
    remove_particles(files)
    return told


def put_aside(files: Mapping[str, Path]) -> str | None:
    """Give another name to a table that a person has changed, before it is replaced.

    Returns:
        What to tell of it; None where nobody has changed it.
    """
    table, candidates = files["csv"], files["candidates"]
    with suppress(PicketError, FileNotFoundError):  # another job may write them again
        while table.exists() and candidates.exists():
            found = read_candidates(candidates)
            with suppress(PicketError):
                if agrees(found, table):
                    return None
            if are_settled(table, candidates):
                break
        else:
            return None
        return (
            f"{table}: was changed by hand, and is picked again; the changed table is kept as "
            f"{rename_aside(table)}: to have it hold, copy it back in its place"
        )
    return None


def rename_aside(table: Path) -> str:
    """Give a table a name that no other file has, which is returned.

    Raises:
        FileNotFoundError: another job has just removed it.
    """
    names = (f".edited{n if n > 1 else ''}{table.suffix}" for n in numbers_from(1))
    kept = next(path for path in map(table.with_suffix, names) if not path.exists())
    return table.rename(kept).name


def describe(
    files: Mapping[str, Path],
    count: int,
    threshold: float,
    candidates: int,
    reused: bool,
    found: Sequence[str] = (),
) -> str:
    """A line on what was picked, with the first file and the endings of the others."""
    first, *others = filled(files, count).values()
    stem = first.stem  # not that of copick's file
    endings = [
        path.name.removeprefix(stem) if path.stem.startswith(stem) else path.suffix
        for path in others
    ]
    kinds = f" ({', '.join(endings)})" if others else ""
    told = [*found, f"threshold {threshold:.3f}", *(["picked earlier"] if reused else [])]
    return (
        f"{first}{kinds}: {count} particle{'s' * (count != 1)} from {candidates} candidates, "
        f"{', '.join(told)}"
    )


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Raise what is wrong with a file as an error in one line."""
    try:
        yield
    except (*DAMAGED, csv.Error, ElementTree.ParseError) as error:
        raise PicketError(
            f"{path}: file of particles is truncated or damaged ({one_line(error)}); pick again, "
            "or move it away"
        ) from None
