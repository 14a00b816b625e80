"""Lists of points from files of other programs and of this one, in voxels of a tomogram."""

import csv
import json
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias
from xml.etree import ElementTree

import numpy as np

from picket_gpu.errors import PicketError, one_line
from picket_gpu.files.location import absolute, stem_of
from picket_gpu.files.readers import is_named_like_a_volume
from picket_gpu.files.segmentation import Subject
from picket_gpu.particles import star_table
from picket_gpu.particles.formats import dynamo, imod, star, warp
from picket_gpu.particles.formats.csv import read_rows
from picket_gpu.particles.particles import COLUMNS, TOMOGRAM

# "voxels" of the tomogram, 0 at the centre of the first; or angstrom: from the centre of the first
# voxel ("angstrom"), the same with the origin in the tomogram's file ("file"), or from where
# RELION 5 has the centre ("centred").
Frame: TypeAlias = Literal["voxels", "angstrom", "file", "centred"]

ANGSTROM, VOXELS = COLUMNS[:3], COLUMNS[4:7]
SHIFTS = tuple(f"rlnOrigin{axis}Angst" for axis in "XYZ")
SHIFTS_VOXELS = tuple(f"rlnOrigin{axis}" for axis in "XYZ")
TURN = "rlnTomoSubtomogramRot"
# Of a table that has both, the columns and the frame of rows that lack the one.
_OTHER: dict[Frame, tuple[Sequence[str], Frame]] = {
    "voxels": (ANGSTROM, "file"),
    "file": (VOXELS, "voxels"),
}
MAPS = "indices_column20.doc"  # the name that Dynamo gives to its list of tomograms


@dataclass(frozen=True)
class Points:
    """Points of one tomogram.

    Attributes:
        name: the tomogram, as the file names it; None where it names none.
        coordinates: (n, 3) float64, (z, y, x).
        frame: what the coordinates are.
    """

    name: str | None
    coordinates: np.ndarray
    frame: Frame

    @property
    def names(self) -> set[str]:
        """What the tomogram may be called elsewhere: its name without directories or endings."""
        if self.name is None:
            return set()
        last = _bare(self.name.rpartition("/")[2])
        where = Path(last)
        return {last, stem_of(where)} if is_named_like_a_volume(where) else {last}

    def is_of(self, subject: Subject) -> bool:
        """Whether these are points of a tomogram, by its name with or without an ending."""
        if self.name is None:
            return True
        last = self.name.rpartition("/")[2]
        own = {subject.name, subject.run_name, subject.tomogram.name, stem_of(subject.tomogram)}
        return bool({last, last.removesuffix(warp.ENDING)} & {*own, *map(_bare, own)})

    def voxels(self, subject: Subject) -> np.ndarray:
        """The points in a tomogram, (n, 3) float64, (z, y, x) in voxels; 0 is the first's centre.

        Raises:
            PicketError: the points are in angstrom, and the tomogram has no voxel size.
        """
        if self.frame == "voxels":
            return self.coordinates
        if not subject.is_scaled:
            raise PicketError(
                f"{subject.tomogram}: voxel size is unknown, which points in angstrom need; set "
                "voxel_size"
            )
        start = np.array(subject.origin[::-1]) if self.frame == "file" else np.zeros(3)
        middle = np.array(subject.relion_centre if self.frame == "centred" else (0, 0, 0))
        voxels: np.ndarray = (self.coordinates - start) / np.array(subject.voxel_size) + middle
        return voxels


def points_in(path: Path, subject: Subject, voxel_size: float | None = None) -> np.ndarray:
    """Points of one tomogram, (n, 3) float64, (z, y, x) in voxels; 0 is the first's centre.

    Points whose tomogram has another name are left out.

    Args:
        path: any file that `read_points` reads.
        subject: the tomogram.
        voxel_size: as for `read_points`.

    Raises:
        PicketError: the file cannot be read, the tomogram's voxel size is needed and unknown, or
            more than half of the points are outside the tomogram.
    """
    lists = [one for one in read_points(path, voxel_size) if one.is_of(subject)]
    return voxels_of(lists, subject, path)


def voxels_of(lists: Sequence[Points], subject: Subject, path: Path) -> np.ndarray:
    """The same of lists in a file, whatever tomogram they name."""
    # Tomograms of several directories may have names of files in common.
    own = [one for one in lists if one.name == str(absolute(subject.tomogram))]
    voxels = [one.voxels(subject) for one in own or lists]
    points = np.concatenate([np.empty((0, 3)), *voxels])
    shape = np.array(subject.shape)
    outside = ((points < -0.5) | (points > shape - 0.5)).any(axis=1).sum()
    if outside > len(points) / 2:
        size = " x ".join(map(str, subject.shape))
        raise PicketError(
            f"{path}: {outside} of {len(points)} points are outside {subject.name} ({size} voxels "
            "z y x); they may be in voxels of another size, or of another tomogram: convert them, "
            "or name the right file"
        )
    return points


def read_points(
    path: Path, voxel_size: float | None = None, *, in_angstrom: bool = False
) -> list[Points]:
    """Read a list of points, by the ending of the file's name; see `READERS`.

    Args:
        path: the file.
        voxel_size: angstrom, of coordinates in voxels of another tomogram than the one that they
            are wanted in; default: what the file says, or that of the tomogram.
        in_angstrom: of a table that has voxels and angstrom, whether to read angstrom.

    Returns:
        The points of each tomogram that the file names, in its order; of a file that names none,
        one item.

    Raises:
        PicketError: the file is missing, of an unknown format, or not as its format has it.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise PicketError(
            f"{path}: unknown format of points; its name must end with {', '.join(READERS)}"
        )
    with _readable(path):
        lists = list(_csv(path, in_angstrom) if reader is _csv else reader(path))
        for one in lists:
            if not np.isfinite(one.coordinates).all():
                raise ValueError("a coordinate is not a finite number")
    if voxel_size is None:
        return lists
    return [
        replace(one, coordinates=one.coordinates * voxel_size, frame="angstrom")
        if one.frame == "voxels"
        else one
        for one in lists
    ]


def _csv(path: Path, in_angstrom: bool = False) -> Iterator[Points]:
    """Tables of particles and of beads; others with the same names of columns."""
    head, rows = read_rows(path)
    both = {*VOXELS, *ANGSTROM} <= {*head}
    frame: Frame = "voxels" if {*VOXELS} <= {*head} and not (both and in_angstrom) else "file"
    axes = VOXELS if frame == "voxels" else ANGSTROM
    if not {*axes} <= {*head}:
        raise ValueError(_missing(VOXELS, head, ANGSTROM))
    # Of rows that a person has added to a table with both, some may have angstrom only.
    bare = [both and not row[head.index(axes[0])].strip() for row in rows]
    for lacking, own_axes, own_frame in ((False, axes, frame), (True, *_OTHER[frame])):
        chosen = [row for row, lacks in zip(rows, bare, strict=True) if lacks == lacking]
        if chosen or not (lacking or rows):
            places = [head.index(axis) for axis in own_axes]
            points = np.array([[row[place] for place in places] for row in chosen], np.float64)
            names = [row[head.index(TOMOGRAM)] for row in chosen] if TOMOGRAM in head else None
            yield from _grouped(names, points, own_frame)


def _star(path: Path) -> Iterator[Points]:
    """RELION 5 (centred), RELION 4 and Warp; shifts of a refinement are subtracted.

    Where the file has the voxel size of its coordinates, they become angstrom: as Warp and RELION
    write them, in columns of the particles or of their optics groups.
    """
    import pandas as pd
    import starfile  # slow to import

    names = (star_table.NAME, warp.NAME)
    blocks = starfile.read(path, always_dict=True, parse_as_string=list(names))
    tables = {name: block for name, block in blocks.items() if isinstance(block, pd.DataFrame)}
    kinds = (star.CENTRED, star_table.COORDINATES)
    found = [
        (table, columns) for table in tables.values() for columns in kinds if {*columns} <= {*table}
    ]
    if not found:
        head = [column for table in tables.values() for column in table]
        raise ValueError(_missing(star.CENTRED, head, star_table.COORDINATES))
    table, columns = found[0]
    points = table[[*columns]].to_numpy(np.float64)
    frame: Frame = "centred" if columns == star.CENTRED else "voxels"
    pixel = _pixel_size(table, tables.get("optics"))
    if frame == "voxels" and {*SHIFTS_VOXELS} <= {*table}:
        points = points - table[[*SHIFTS_VOXELS]].to_numpy(np.float64)
    if frame == "voxels" and pixel is not None:
        points, frame = points * pixel[:, None], "angstrom"
    # Where subtomograms are turned, shifts are along their axes.
    if {*SHIFTS} <= {*table} and TURN not in table:
        shifts = table[[*SHIFTS]].to_numpy(np.float64)
        if frame == "voxels" and shifts.any():
            raise ValueError(
                f"{SHIFTS[0]} is in angstrom and {columns[0]} in voxels, whose size the file does "
                "not have; add a column rlnPixelSize"
            )
        points = points - shifts
    # starfile makes a missing number of the name nan.
    named = next(([str(one) for one in table[name]] for name in names if name in table), None)
    yield from _grouped(named, points, frame)


def _pixel_size(table: Any, optics: Any) -> np.ndarray | None:
    """Angstrom of rlnCoordinateX's unit, (n,) float64; None if a STAR file does not have it."""
    group, sources = "rlnOpticsGroup", [table]
    if optics is not None and group in table and group in optics:
        sources.append(optics.set_index(group).loc[table[group]])
    for column in ("rlnTomoTiltSeriesPixelSize", "rlnPixelSize", "rlnDetectorPixelSize"):
        for source in sources:
            if column in source:
                sizes: np.ndarray = source[column].to_numpy(np.float64)
                if column == "rlnDetectorPixelSize" and "rlnMagnification" in source:
                    sizes = sizes * 1e4 / source["rlnMagnification"].to_numpy(np.float64)
                if not (sizes > 0).all():
                    raise ValueError(f"{column} must be above 0")
                return sizes
    return None


def _cmm(path: Path) -> Iterator[Points]:
    """Markers of ChimeraX, which shows a map at the origin in its file."""
    markers = ElementTree.parse(path).getroot().iter("marker")
    points = [[float(marker.attrib[axis]) for axis in "xyz"] for marker in markers]
    yield _one(points, "file")


def _mod(path: Path) -> Iterator[Points]:
    """All points of an IMOD model, made on the whole tomogram (IMOD Binary File Format)."""
    data = path.read_bytes()
    if data[:4] != b"IMOD":
        raise ValueError("it does not begin as a model of IMOD")
    place, contours = 240, [np.empty(0)]  # after the header
    while (kind := data[place : place + 4]) != b"IEOF":
        first, second = struct.unpack_from(">ii", data, place + 4)
        if kind in (b"CONT", b"MESH") and (first < 0 or (kind == b"MESH" and second < 0)):
            raise ValueError("a number of points is negative")
        if kind == b"OBJT":
            place += 4 + 176
        elif kind == b"CONT":
            contours.append(np.frombuffer(data, ">f4", 3 * first, place + 20).astype(np.float64))
            place += 20 + 12 * first
        elif kind == b"MESH":
            place += 20 + 12 * first + 4 * second
        else:
            place += 8 + max(first, 0)
    yield _one(np.concatenate(contours).reshape(-1, 3) - imod.FIRST, "voxels")


def _text(path: Path) -> Iterator[Points]:
    """Text as IMOD's model2point writes it and point2model reads it."""
    lines = path.read_text(encoding="utf-8").replace(",", " ").splitlines()
    rows = [line.split() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    widths = {len(row) for row in rows}
    if len(widths) > 1 or not widths <= {3, 4, 5}:
        raise ValueError(
            "lines must be x y z, with contour or object and contour before them if they are told"
        )
    points = np.array([row[-3:] for row in rows], np.float64).reshape(-1, 3)
    yield _one(points - imod.FIRST, "voxels")


def _copick(path: Path) -> Iterator[Points]:
    """Picks of a copick project."""
    content = json.loads(path.read_text(encoding="utf-8"))
    unit = content.get("unit", "angstrom")
    if unit != "angstrom":
        raise ValueError(f"unit must be angstrom (got {unit!r})")
    points = [_location(point) for point in content["points"] or []]
    yield _one(points, "angstrom", content.get("run_name"))


def _ndjson(path: Path) -> Iterator[Points]:
    """Points of the CryoET Data Portal, a line of JSON for each, in voxels."""
    lines = path.read_text(encoding="utf-8").splitlines()
    yield _one([_location(json.loads(line)) for line in lines if line.strip()], "voxels")


def _location(point: Any) -> list[float]:
    return [float(point["location"][axis]) for axis in "xyz"]


def _tbl(path: Path) -> Iterator[Points]:
    """A table of Dynamo, with its list of tomograms, of the same name or MAPS, beside it."""
    rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if min(map(len, rows), default=dynamo.Z) < dynamo.Z:
        raise ValueError(f"a row has less than {dynamo.Z} columns")
    cells = [row[3:6] + row[dynamo.X - 1 : dynamo.Z] for row in rows]
    numbers = np.array(cells, np.float64).reshape(-1, 2, 3)
    points = numbers.sum(axis=1) - dynamo.FIRST
    tomograms = [int(float(row[dynamo.TOMOGRAM - 1])) for row in rows]
    listed = next(
        (file for file in (path.with_suffix(".doc"), path.with_name(MAPS)) if file.exists()), None
    )
    if listed is None:
        if len({*tomograms}) > 1:
            raise ValueError(
                f"it numbers {len({*tomograms})} tomograms, and neither {path.stem}.doc nor "
                f"{MAPS} beside it names them"
            )
        yield _one(points, "voxels")
        return
    pairs = (line.split(maxsplit=1) for line in listed.read_text(encoding="utf-8").splitlines())
    files = {int(pair[0]): pair[1].strip() for pair in pairs if len(pair) == 2}
    unknown = {*tomograms} - {*files}
    if unknown:
        raise ValueError(f"{listed.name} does not name tomogram {min(unknown)}")
    yield from _grouped([files[number] for number in tomograms], points, "voxels")


READERS: dict[str, Callable[[Path], Iterable[Points]]] = {
    ".csv": _csv,
    ".star": _star,
    ".cmm": _cmm,
    ".mod": _mod,
    ".txt": _text,
    ".json": _copick,
    ".ndjson": _ndjson,
    ".tbl": _tbl,
}


def _one(points: Any, frame: Frame, name: str | None = None) -> Points:
    """Points of one tomogram from (n, 3), (x, y, z)."""
    return Points(name, np.array(points, np.float64).reshape(-1, 3)[:, ::-1], frame)


def _grouped(names: list[str] | None, points: np.ndarray, frame: Frame) -> Iterator[Points]:
    """Points by the name of their tomogram, from (n, 3), (x, y, z)."""
    if not names:
        yield _one(points, frame)
        return
    for name in dict.fromkeys(names):
        yield _one(points.reshape(-1, 3)[[other == name for other in names]], frame, name)


def _bare(name: str) -> str:
    """A tilt series' name without Warp's ending."""
    return name.removesuffix(warp.ENDING)


def _missing(wanted: Iterable[str], head: Iterable[str], alternative: Iterable[str]) -> str:
    absent = ", ".join(name for name in wanted if name not in head)
    found = ", ".join(head) or "none"
    return f"it has no columns {absent}, nor {', '.join(alternative)}; columns found: {found}"


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Raise what is wrong with a file as an error in one line."""
    try:
        yield
    except FileNotFoundError:
        raise PicketError(f"{path}: no such file; name an existing list of points") from None
    except (
        *(OSError, LookupError, TypeError, ValueError, AttributeError, OverflowError),
        *(csv.Error, struct.error, ElementTree.ParseError),
    ) as error:
        raise PicketError(
            f"{path}: cannot be read as a list of points ({one_line(error)}); save it again, or "
            "convert it"
        ) from None
