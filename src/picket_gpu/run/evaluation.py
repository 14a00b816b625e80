"""Picks beside annotations, of files: tomograms of both by name, in one frame of coordinates."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np

from picket_gpu.errors import PicketError
from picket_gpu.files.filenames import (
    CANDIDATES,
    FURTHER,
    PARTICLES,
    candidate_files,
    is_particles,
    particles_csv,
    segmentation_beside,
)
from picket_gpu.files.location import Location
from picket_gpu.files.segmentation import NO_WINDOWS, Subject
from picket_gpu.files.tomogram import read_header
from picket_gpu.particles.evaluation import Agreement, Curve, match
from picket_gpu.particles.files import read_metadata, read_with_candidates
from picket_gpu.particles.particles import Particles
from picket_gpu.particles.points import Frame, Points, points_in, read_points, voxels_of
from picket_gpu.run.dataset import on_scale_of_numbers
from picket_gpu.run.existing import Directory

SAME = 0.01  # voxels: more than any format of coordinates rounds them by
NAMED = 5  # tomograms in a message
_ANGSTROM: dict[Frame, str] = {
    "voxels": "voxels",
    "angstrom": "angstrom from the first voxel",
    "file": "angstrom with the origin in the tomogram's file",
    "centred": "angstrom from the tomogram's centre",
}


@dataclass(frozen=True)
class Compared:
    """Picks and annotations in one tomogram, and the pairs of both.

    Attributes:
        name: of the tomogram; "" where no file names it.
        picks: (n, 3) float64, (z, y, x) in angstrom.
        truth: (m, 3), likewise.
        partner: (n,), as `match` returns it.
        heights: (n,) float64, of the picks; None where they are not known.
        threshold: least height of the picks; None where it is not known.
        curve: of all candidates; None where they are not known.
        subject: the tomogram, from whose first voxel positions count; None where only ``frame`` is
            known, in which they are.
        frame: of the positions where there is no ``subject``.
    """

    name: str
    picks: np.ndarray
    truth: np.ndarray
    partner: np.ndarray
    heights: np.ndarray | None = None
    threshold: float | None = None
    curve: Curve | None = None
    subject: Subject | None = None
    frame: Frame = "angstrom"

    @property
    def agreement(self) -> Agreement:
        """How many picks are right."""
        return Agreement(len(self.picks), len(self.truth), int((self.partner >= 0).sum()))


@dataclass(frozen=True)
class Evaluation:
    """Picks of one kind beside annotations, in all tomograms that have both.

    Attributes:
        title: workflow and name of the picks, such as gabor-gmm; or the name of their file.
        tolerance: within which a pick is right, in angstrom.
        tomograms: those that count.
        notes: what was left out, and whatever else to look at, a line each.
    """

    title: str
    tolerance: float
    tomograms: list[Compared]
    notes: list[str]

    @property
    def total(self) -> Agreement:
        """That of all tomograms together."""
        return reduce(add, (one.agreement for one in self.tomograms))

    @property
    def curve(self) -> Curve | None:
        """At one threshold in all tomograms; None where candidates of one are not known."""
        curves = [one.curve for one in self.tomograms if one.curve is not None]
        if len(curves) < len(self.tomograms):
            return None
        return Curve.joined(curves)


@dataclass(frozen=True)
class _Picked:
    """Picks in one tomogram whose geometry is known, (n, 3), (z, y, x) in voxels."""

    subject: Subject
    coordinates: np.ndarray
    particles: Particles | None  # with these coordinates
    diameter: float | None


def evaluate(
    picks: Path,
    truth: Path,
    *,
    tolerance: float | None = None,
    voxel_size: float | None = None,
    picks_voxel_size: float | None = None,
    tomogram: Location | None = None,
) -> list[Evaluation]:
    """Compare picks with annotations.

    Args:
        picks: directory of a run, or a file of points.
        truth: file of points; ``{name}`` and ``{index}`` in it stand for a tomogram's.
        tolerance: within which a pick is right, in angstrom; default: half the diameter that the
            picks were made with.
        voxel_size: angstrom, of annotations in voxels; default: that of the tomogram.
        picks_voxel_size: the same of picks; default: that of the tomogram, else ``voxel_size``.
        tomogram: the tomogram of points that no run has picked.

    Returns:
        One for each workflow and name of particles in a directory; of a file, one.

    Raises:
        PicketError: a file is missing or invalid, has no tomogram in common with the other, or is
            in another frame.
    """
    groups = _of_run(picks, picks_voxel_size)
    if groups and tomogram is not None:
        raise PicketError(
            f"--tomogram: has no effect, because {picks} is of a run, which knows its tomograms; "
            "remove it"
        )
    if tomogram is not None:
        subject = _subject(tomogram, voxel_size)
        points = points_in(picks, subject, picks_voxel_size)
        groups = {picks.name: [_Picked(subject, points, None, None)]}
    if groups:
        return [
            _with_geometry(title, group, truth, tolerance, voxel_size)
            for title, group in groups.items()
        ]
    return [_without_geometry(picks, truth, tolerance, picks_voxel_size or voxel_size, voxel_size)]


def _of_run(path: Path, voxel_size: float | None) -> dict[str, list[_Picked]]:
    """Picks of a run by their title; none where a file is of no run."""
    if path.is_dir():
        singles = list(filter(is_particles, path.glob(f"particles_*{PARTICLES['csv']}")))
        if not singles:
            raise PicketError(
                f"{path}: contains no particles_*.csv; name output_dir/dataset_name of a run with "
                "particles, or a file of points"
            )
        groups: dict[str, list[_Picked]] = {}
        for file in sorted(singles, key=lambda file: (_title(file), _index(file))):
            found = _picked(file, file)
            if found is None:
                raise PicketError(
                    f"{file}: neither {file.stem}{CANDIDATES} nor a segmentation of its tomogram "
                    "is in the same directory; move it there"
                )
            groups.setdefault(_title(file), []).append(found)
        return groups
    if not path.exists():
        raise PicketError(f"{path}: no such file or directory; name picks, or the results of a run")
    if not path.name.endswith(FURTHER["relion4"]["relion4"]):
        voxel_size = None  # other files count in voxels of the tomogram
    elif voxel_size is None:
        raise PicketError(
            f"{path}: counts in unbinned voxels; name the .csv beside it, or set --picks-voxel-size"
        )
    if is_particles(path):
        single = _picked(particles_csv(path), path, voxel_size)
        return {} if single is None else {_title(path): [single]}
    # The list of all tomograms of a run is named as theirs, less the number.
    files = path.parent.glob(f"particles_*{PARTICLES['csv']}")
    own = [file for file in files if is_particles(file) and _list_of(file) == _stem(path)]
    each = [_picked(file, path, voxel_size) for file in sorted(own, key=_index)]
    known = [one for one in each if one is not None]
    return {_title(own[0]): known} if known and len(known) == len(each) else {}


def _stem(path: Path) -> str:
    return path.name.partition(".")[0]


def _index(path: Path) -> int:
    return int(_stem(path).split("_")[1])


def _title(path: Path) -> str:
    """Workflow and name of the particles of one tomogram, as their files have it."""
    return "-".join(_stem(path).split("_")[2:])


def _list_of(path: Path) -> str:
    first, _, *others = _stem(path).split("_")
    return "_".join([first, *others])


def _picked(table: Path, path: Path, voxel_size: float | None = None) -> _Picked | None:
    """Points in a file of the tomogram that particles are of; None where its shape is not known.

    Args:
        table: CSV file of the particles of one tomogram.
        path: the file of points; it may be that of all tomograms.
    """
    stored = table.with_suffix(CANDIDATES)
    particles: Particles | None = None
    if stored.exists():
        particles = read_with_candidates(stored)
        subject: Subject = particles
        settings = particles.settings
    else:
        segmentation = segmentation_beside(table)
        if segmentation is None:
            return None
        subject = Directory(table.parent).read(segmentation)
        settings = (read_metadata(table.with_suffix(PARTICLES["yaml"])) or {}).get("settings", {})
    if particles is not None and path == table:
        points = particles.coordinates
    else:
        points = points_in(path, subject, voxel_size)
    if particles is not None and not _is_alike(particles.coordinates, points):
        particles = None  # points were changed by hand
    diameter = settings.get("diameter")
    return _Picked(
        subject, points, particles, diameter if isinstance(diameter, int | float) else None
    )


def _is_alike(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and bool((np.abs(one - other) <= SAME).all())


def _subject(tomogram: Location, voxel_size: float | None) -> Subject:
    """A tomogram that no run knows."""
    header = read_header(tomogram)
    size = header.voxel_size
    if min(size) <= 0 and voxel_size is not None:
        size = (voxel_size,) * 3
    if min(size) <= 0:
        raise PicketError(f"{tomogram}: has no voxel size; set --voxel-size")
    return Subject(
        directory=Path(),
        index=0,
        tomogram=tomogram,
        name=tomogram.name,
        dataset_name="",
        shape=header.shape,
        voxel_size=size,
        origin=replace(header, voxel_size=size).place,
        neighborhood_size=NO_WINDOWS,
    )


def _with_geometry(
    title: str,
    group: Sequence[_Picked],
    truth: Path,
    tolerance: float | None,
    voxel_size: float | None,
) -> Evaluation:
    names = [one.subject.run_name for one in group]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise PicketError(f"{twice}: several tomograms have this name; set name in inputs")
    tolerance = _tolerance(tolerance, [one.diameter for one in group], title)
    annotated, notes = _annotated([one.subject for one in group], truth, voxel_size)
    tomograms = []
    for one in group:
        true = annotated.get(one.subject.run_name)
        if true is not None:
            size = np.array(one.subject.voxel_size)
            tomograms.append(_compared(one, true * size, tolerance))
    return Evaluation(title, tolerance, tomograms, notes)


def _compared(one: _Picked, truth: np.ndarray, tolerance: float) -> Compared:
    size = np.array(one.subject.voxel_size)
    picks = one.coordinates * size
    known: dict[str, Any] = {}
    if one.particles is not None:
        found = one.particles
        known = {"heights": found.heights, "threshold": found.threshold}
        if found.pool is not None:
            if found.settings.get("threshold") in ("dataset", "tomogram"):
                found = _as_numbers(found)
            most = found.settings.get("max_particles")
            end = None if most is None else found.picks.first + most
            eligible = slice(found.picks.first, end)
            candidates = found.picks.candidates[eligible] * size
            right = match(candidates, truth, tolerance) >= 0
            heights = found.picks.candidate_heights[eligible]
            known["curve"] = Curve.of(heights, right, len(truth))
    partner = match(picks, truth, tolerance)
    return Compared(one.subject.run_name, picks, truth, partner, subject=one.subject, **known)


def _as_numbers(particles: Particles) -> Particles:
    """Particles on the scale of thresholds that are numbers."""
    own = (particles.index, particles.key)
    every = [particles]
    for path in candidate_files(particles.directory, name=particles.settings.get("name")):
        one = read_with_candidates(path)
        if one.key == particles.key and one.index != particles.index:
            every.append(one)
    every.sort(key=lambda one: one.index)
    return next(one for one in on_scale_of_numbers(every) if (one.index, one.key) == own)


def _annotated(
    subjects: Sequence[Subject], truth: Path, voxel_size: float | None
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Annotations in voxels by the name of their tomogram, and what to say of the others."""
    notes: list[str] = []
    found: dict[str, np.ndarray] = {}
    if _is_template(truth):
        for subject in subjects:
            path = _filled(truth, subject.run_name, subject.index)
            if path.exists():
                lists = read_points(path, voxel_size)
                found[subject.run_name] = voxels_of(lists, subject, path)
        if not found:
            raise PicketError(
                f"{truth}: no file of that name for {_some([one.run_name for one in subjects])}"
            )
    else:
        lists = read_points(truth, voxel_size)
        unnamed = any(one.name is None for one in lists)
        if unnamed and len(subjects) > 1:
            raise PicketError(
                f"{truth}: names no tomogram, and picks are of {len(subjects)} "
                f"({_some([one.run_name for one in subjects])}); name the picks of one, or write "
                "{name} in the path of the truth"
            )
        for subject in subjects:
            own = [one for one in lists if one.is_of(subject)]
            if own:
                found[subject.run_name] = voxels_of(own, subject, truth)
        names = [one.name or "" for one in lists]
        if not found and len(subjects) == len(lists) == 1:
            only = subjects[0]
            found[only.run_name] = voxels_of(lists, only, truth)
            notes.append(f"{truth} calls the tomogram {names[0]}, picks {only.run_name}")
        elif not found:
            raise PicketError(
                f"{truth}: has no points in {_some([one.run_name for one in subjects])}; it has "
                f"{_some(names) or 'none'}"
            )
        else:
            others = [
                one.name or "" for one in lists if not any(one.is_of(each) for each in subjects)
            ]
            if others:
                notes.append(f"not tomograms of the picks, left out: {_some(others)}")
    missing = [one.run_name for one in subjects if one.run_name not in found]
    if missing:
        notes.append(f"without truth, left out: {_some(missing)}")
    return found, notes


def _without_geometry(
    picks: Path,
    truth: Path,
    tolerance: float | None,
    picks_voxel_size: float | None,
    voxel_size: float | None,
) -> Evaluation:
    """Points of two files that are in the same frame."""
    frames: tuple[Frame, Frame] | None = None
    for in_angstrom in (True, False):
        given = read_points(picks, picks_voxel_size, in_angstrom=in_angstrom)
        pairs, notes = _by_name(picks, given, truth, voxel_size, in_angstrom)
        several = {one.frame for pair in pairs for one in pair}
        if len(several) == 1 and several != {"voxels"}:
            tolerance = _tolerance(tolerance, [None], picks.name)
            tomograms = [
                Compared(
                    found.name or true.name or "",
                    found.coordinates,
                    true.coordinates,
                    match(found.coordinates, true.coordinates, tolerance),
                    frame=found.frame,
                )
                for found, true in pairs
            ]
            return Evaluation(picks.name, tolerance, tomograms, notes)
        each = [(found.frame, true.frame) for found, true in pairs]
        frames = next((one for one in each if one[0] != one[1]), each[0])
    assert frames is not None
    if frames == ("voxels", "voxels"):
        raise PicketError(
            f"{picks}: is in voxels of unknown size, as {truth} is; set --voxel-size, or name the "
            "tomogram by --tomogram"
        )
    first, second = (_ANGSTROM[frame] for frame in frames)
    raise PicketError(
        f"{picks}: is in {first}, but {truth} in {second}; name the tomogram by --tomogram"
    )


def _by_name(
    picks: Path,
    given: Sequence[Points],
    truth: Path,
    voxel_size: float | None,
    in_angstrom: bool,
) -> tuple[list[tuple[Points, Points]], list[str]]:
    """Pairs of points in the same tomogram, and what to say of the others.

    A tomogram without picks in a list that names tomograms has been searched in vain.
    """
    called = [one.name or "" for one in given]
    if _is_template(truth):
        if None in (one.name for one in given):
            raise PicketError(f"{picks}: names no tomogram, which {truth} asks for; name the file")
        files = [(one, _filled(truth, min(one.names, key=len))) for one in given]
        pairs = [
            (one, _joined(read_points(path, voxel_size, in_angstrom=in_angstrom), one.name))
            for one, path in files
            if path.exists()
        ]
        if not pairs:
            raise PicketError(f"{truth}: no file of that name for {_some(called)}")
        missing = [one.name or "" for one, path in files if not path.exists()]
        return pairs, _no_truth(missing)
    true = read_points(truth, voxel_size, in_angstrom=in_angstrom)
    names = [one.name or "" for one in true]
    if len(given) == len(true) == 1:
        (found,), (right,) = given, true
        differ = found.name and right.name and not found.names & right.names
        notes = [f"{truth} calls the tomogram {names[0]}, {picks} {called[0]}"] if differ else []
        return [(found, right)], notes
    given = [one for one in given if one.name is not None or len(one.coordinates)]
    for path, lists, other, others in ((picks, given, truth, true), (truth, true, picks, given)):
        if any(one.name is None for one in lists):
            raise PicketError(
                f"{path}: names no tomogram, and {other} has {len(others)} "
                f"({_some([one.name or '' for one in others])}); name the tomogram by --tomogram"
            )
    pairs = []
    for right in true:
        own = [one for one in given if one.names & right.names]
        none = replace(right, coordinates=np.empty((0, 3)))
        pairs.append((_joined(own, right.name) if own else none, right))
    if given and not any(len(found.coordinates) for found, _ in pairs):
        raise PicketError(f"{picks}: has no points in {_some(names)}; it has {_some(called)}")
    missing = [one.name or "" for one in given if not any(one.names & each.names for each in true)]
    return pairs, _no_truth(missing)


def _no_truth(names: Sequence[str]) -> list[str]:
    return [f"without truth, left out: {_some(names)}"] if names else []


def _joined(lists: Sequence[Points], name: str | None) -> Points:
    """Points of a file that is of one tomogram."""
    return replace(
        lists[0], name=name, coordinates=np.concatenate([one.coordinates for one in lists])
    )


def _tolerance(given: float | None, diameters: Sequence[float | None], title: str) -> float:
    if given is not None:
        return given
    known = {diameter for diameter in diameters if diameter is not None}
    if len(known) != 1 or None in diameters:
        why = "several diameters" if known else "no known diameter"
        raise PicketError(
            f"{title}: picks have {why}; set --tolerance to the distance in angstrom within which "
            "a pick is right, such as half the diameter of the particles"
        )
    return known.pop() / 2


def _is_template(path: Path) -> bool:
    return "{name}" in str(path) or "{index}" in str(path)


def _filled(path: Path, name: str, index: int | None = None) -> Path:
    number = "{index}" if index is None else str(index)
    return Path(str(path).replace("{name}", name).replace("{index}", number))


def _some(names: Sequence[str]) -> str:
    """Names of tomograms, the first ones of many."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
