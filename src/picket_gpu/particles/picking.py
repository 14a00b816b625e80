"""Picking of particles of a known size, from scores or labels (`pick`), from grey values
(`pick_by_contrast`) and from both: maxima of maps of heights, a spacing apart, above a threshold.

`find_by_scores`, `find_by_both` and `find_by_contrast` find the candidates that these choose from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite, prod
from typing import NamedTuple, TypeAlias

import numpy as np

from picket_gpu.device.backend import Backend
from picket_gpu.device.operations import Array, Box, Shape
from picket_gpu.device.select import select_backend
from picket_gpu.method.labels import FOREGROUND, UNLABELLED
from picket_gpu.particles.candidates import Candidates, Sized, Threshold, choose, spaced
from picket_gpu.particles.contrast import Contrast
from picket_gpu.particles.picks import Picks, VoxelSize

REACH = 1.0  # voxels that a blur of sigma 2 moves the edges of dense particles outward, measured
MIDDLE = 0.5  # of scores: heights are alike for any offset, and err 17 times less about 0
HEIGHTS = (0.0, 1.0)  # thresholds of heights of one source
STANDARDISED = (-100.0, 100.0)  # the same of standardised heights
# Signs of heights, by label and by whether particles are dark.
OF_LABEL: dict[int | None, dict[int, int]] = {1: {1: 1}, 0: {0: -1}, None: {1: 1, 0: -1}}
OF_DARK: dict[bool | None, dict[int, int]] = {True: {1: -1}, False: {0: 1}, None: {1: -1, 0: 1}}

SIZES = 7  # diameters from the least to the greatest, each the same times the one before
Diameter: TypeAlias = float | Sequence[float]


def pick(
    scores: Array,
    diameter: Diameter,
    *,
    voxel_size: VoxelSize = (1.0, 1.0, 1.0),
    spacing: float | None = None,
    margin: float = 0.0,
    threshold: Threshold = "auto",
    max_particles: int | None = None,
    label: int | None = 1,
    reach: float = 2.0,
    inside: Array | None = None,
    backend: Backend | None = None,
    memory_budget: int | None = None,
) -> Picks:
    """Pick particles where scores in a ball of their size are higher than around it.

    Candidates are local maxima of the height, no two closer than ``spacing``. The height is the
    mean score in the ball less that in the shell around it, at most 1: see `Contrast`.

    Labels serve as scores: label 1 as a score of 1, label 0 as 0, and voxels of label -1 are not
    inside.

    Args:
        scores: (z, y, x) float16 or float32, how certain it is that a voxel is particle, 0 to 1; 0
            for unlabelled voxels. Or labels, any integer type: 1, 0, and -1 for unlabelled voxels.
            NumPy, or CuPy on a GPU.
        diameter: particle diameter, in the units of ``voxel_size``; for a hollow particle the outer
            diameter. Or the least and the greatest: seven from one to the other are tried, and each
            candidate has that of its greatest height.
        voxel_size: (z, y, x) voxel size; default: 1, so that lengths are in voxels.
        spacing: least distance between two candidates; default: 0.8 diameters, the mean of theirs.
        margin: least distance between a candidate and the faces of the box around ``inside``.
        threshold: least height of a candidate that is picked, 0 to 1, or "auto" for Otsu's
            threshold of all heights.
        max_particles: greatest number of particles, those of greatest height; default: no limit.
        label: 1 for particles where scores are high, 0 where they are low, None for what stands
            out more: the label whose candidates' heights have the larger sum of cubes.
        reach: voxels by which scores are high beyond a particle: half a neighborhood, 2 for one of
            5 voxels.
        inside: bool, (z, y, x), voxels that have scores: means are taken over these voxels, and
            candidates lie on them; default: the smallest box with all scores above 0, or all
            labelled voxels.
        backend: device to compute on; default: a GPU if there is one, else the CPU.
        memory_budget: device memory beside these arrays, in bytes; default: 1 GiB, or more if a
            large diameter needs it.

    Raises:
        ValueError: an argument is out of range.
    """
    check_choice(threshold, max_particles, HEIGHTS)
    search = Search(diameter, voxel_size, spacing, margin)
    found = find_by_scores(scores, search, label, reach, inside, backend, memory_budget)
    return choose(found, threshold, max_particles=max_particles)


def pick_by_both(
    scores: Array,
    tomogram: Array,
    diameter: Diameter,
    *,
    label: int | None = 1,
    dark: bool | None = None,
    voxel_size: VoxelSize = (1.0, 1.0, 1.0),
    spacing: float | None = None,
    margin: float = 0.0,
    threshold: Threshold = "auto",
    max_particles: int | None = None,
    reach: float = 2.0,
    inside: Array | None = None,
    backend: Backend | None = None,
    memory_budget: int | None = None,
) -> Picks:
    """Pick particles where scores, tomogram, or both stand out in a ball of their size.

    Candidates are those of `pick` and of `pick_by_contrast`. Heights of either are standardised: 0
    at Otsu's threshold, 1 and -1 at the means of the two classes that it makes. A candidate's
    height is the mean of both, each cut at 3 either way, standardised once more over all
    candidates. So 0 is the automatic threshold, and 1 the mean of what is above it.

    Args:
        scores: as for `pick`.
        tomogram: (z, y, x), as for `pick_by_contrast`.
        threshold: least height of a candidate that is picked, -100 to 100, or "auto" for 0.
        inside: bool, (z, y, x), voxels that count in both; default: as for `pick`.

    The other arguments are those of `pick` and `pick_by_contrast`.

    Raises:
        ValueError: an argument is out of range.
    """
    check_choice(threshold, max_particles, STANDARDISED)
    search = Search(diameter, voxel_size, spacing, margin)
    found = find_by_both(
        scores, tomogram, search, label, dark, reach, inside, backend, memory_budget
    )
    return choose(found, threshold, max_particles=max_particles)


def pick_by_contrast(
    tomogram: Array,
    diameter: Diameter,
    *,
    dark: bool | None = None,
    voxel_size: VoxelSize = (1.0, 1.0, 1.0),
    spacing: float | None = None,
    margin: float = 0.0,
    threshold: Threshold = "auto",
    max_particles: int | None = None,
    inside: Array | None = None,
    backend: Backend | None = None,
    memory_budget: int | None = None,
) -> Picks:
    """Pick particles: places where a ball of their size is darker, or brighter, than its shell.

    A candidate's height is that of `Contrast` over the height of the highest candidate: 1 stands
    out most, and 0.5 half as much. It says nothing of how much is particle.

    Args:
        tomogram: (z, y, x) grey values, any real type, blurred by a Gaussian of 2 voxels as for a
            segmentation: noise that is left makes many small maxima, above which Otsu's threshold
            is too low.
        dark: whether particles are darker; None for what stands out more: the contrast whose
            candidates' heights have the larger sum of cubes.
        inside: bool, (z, y, x), voxels that count; None for all.

    The other arguments are those of `pick`.

    Raises:
        ValueError: an argument is out of range.
    """
    check_choice(threshold, max_particles, HEIGHTS)
    search = Search(diameter, voxel_size, spacing, margin)
    found = find_by_contrast(tomogram, search, dark, inside, backend, memory_budget)
    return choose(found, threshold, max_particles=max_particles)


def check_choice(
    threshold: Threshold, max_particles: int | None, heights: tuple[float, float]
) -> None:
    """Raise a ValueError where `choose` cannot be meant so.

    Args:
        heights: least and greatest threshold.
    """
    lowest, highest = heights
    automatic = threshold == "auto"
    if not automatic and (isinstance(threshold, str) or not lowest <= threshold <= highest):
        raise ValueError(
            f"threshold: must be 'auto' or {lowest:g} to {highest:g} (got {threshold!r})"
        )
    if max_particles is not None and max_particles < 1:
        raise ValueError(f"max_particles: must be 1 or more (got {max_particles!r})")


def find_by_scores(
    scores: Array,
    search: "Search",
    label: int | None = 1,
    reach: float = 2.0,
    inside: Array | None = None,
    backend: Backend | None = None,
    memory_budget: int | None = None,
) -> Candidates:
    """The candidates of `pick`, which has the arguments.

    Raises:
        ValueError: an argument is out of range.
    """
    backend = backend or select_backend()
    contrast, region = _of_scores(search, scores, inside, reach, backend, memory_budget)
    found = search.strongest(contrast, OF_LABEL[label])
    return search.candidates(
        [found.candidates], [found.candidates.heights], region, label=found.key
    )


def find_by_both(
    scores: Array,
    tomogram: Array,
    search: "Search",
    label: int | None = 1,
    dark: bool | None = None,
    reach: float = 2.0,
    inside: Array | None = None,
    backend: Backend | None = None,
    memory_budget: int | None = None,
) -> Candidates:
    """The candidates of `pick_by_both`, which has the arguments.

    Raises:
        ValueError: an argument is out of range.
    """
    if tomogram.shape != scores.shape:
        raise ValueError(f"tomogram: must be {scores.shape} as scores (got {tomogram.shape})")
    backend = backend or select_backend()
    of_scores, region = _of_scores(search, scores, inside, reach, backend, memory_budget)
    of_grey = _of_tomogram(search, tomogram[region], of_scores.inside, backend, memory_budget)
    grey = search.strongest(of_grey, OF_DARK[dark])
    scored = search.strongest(of_scores, OF_LABEL[label], grey.candidates.points)
    ones, others = scored.candidates, grey.candidates
    at_ones = search.read(of_grey, grey.sign, ones.points)
    heights = [
        np.concatenate([ones.heights, scored.at]),
        np.concatenate([at_ones, others.heights]),
    ]
    return search.candidates([ones, others], heights, region, label=scored.key, dark=bool(grey.key))


def find_by_contrast(
    tomogram: Array,
    search: "Search",
    dark: bool | None = None,
    inside: Array | None = None,
    backend: Backend | None = None,
    memory_budget: int | None = None,
) -> Candidates:
    """The candidates of `pick_by_contrast`, which has the arguments.

    Raises:
        ValueError: an argument is out of range.
    """
    search.check_arrays(tomogram.shape, inside)
    backend = backend or select_backend()
    region = _whole(tomogram.shape) if inside is None else region_of(backend, inside)
    there = _part(inside, region)
    contrast = _of_tomogram(search, tomogram[region], there, backend, memory_budget)
    found = search.strongest(contrast, OF_DARK[dark])
    heights = [found.candidates.heights]
    return search.candidates(
        [found.candidates], heights, region, dark=bool(found.key), is_relative=True
    )


def _of_scores(
    search: "Search",
    scores: Array,
    inside: Array | None,
    reach: float,
    backend: Backend,
    memory_budget: int | None,
) -> tuple[Contrast, Box]:
    """Heights of scores or labels as `pick` takes them, for the least diameter, and their box."""
    search.check_arrays(scores.shape, inside)
    low, high = float(scores.min()), float(scores.max())
    if scores.dtype.kind in "biu":
        if not (low >= UNLABELLED and high <= FOREGROUND):
            raise ValueError(f"scores: labels must be 1, 0 or -1 (got {low:g} to {high:g})")
        labelled = scores != UNLABELLED
        inside, scores = labelled if inside is None else labelled & inside, scores == FOREGROUND
    elif scores.dtype not in (np.float16, np.float32):
        raise ValueError(
            f"scores: must be float16 or float32, or integer labels (got {scores.dtype})"
        )
    elif not (low >= 0 and high <= 1):
        raise ValueError(f"scores: must be 0 to 1 (got {low:g} to {high:g})")
    region = region_of(backend, scores if inside is None else inside)
    contrast = Contrast(
        backend, scores[region], _part(inside, region), search.diameters[0],
        search.voxel_size, reach, offset=MIDDLE, memory_budget=memory_budget,
    )  # fmt: skip
    return contrast, region


def _of_tomogram(
    search: "Search",
    tomogram: Array,
    inside: Array | None,
    backend: Backend,
    memory_budget: int | None,
) -> Contrast:
    """Heights of grey values as `pick_by_contrast` takes them, for the least diameter."""
    mean, deviation = mean_and_deviation(backend, tomogram, inside)
    if not isfinite(deviation):
        raise ValueError("tomogram: must be finite (got NaN or infinity)")
    return Contrast(
        backend, tomogram, inside, search.diameters[0], search.voxel_size, REACH,
        offset=mean, scale=1 / deviation, memory_budget=memory_budget,
    )  # fmt: skip


class Strongest(NamedTuple):
    """Candidates of the sign of heights that stands out most.

    Attributes:
        key: what the sign stands for.
        sign: 1 or -1.
        candidates: highest first.
        at: heights at other points, times the sign.
    """

    key: int
    sign: int
    candidates: Sized
    at: np.ndarray


@dataclass(frozen=True)
class Search:
    """What to look for; lengths are in the units of ``voxel_size``, (z, y, x).

    Raises:
        ValueError: one of them is out of range.
    """

    diameter: Diameter
    voxel_size: VoxelSize = (1.0, 1.0, 1.0)
    spacing: float | None = None
    margin: float = 0.0

    def __post_init__(self) -> None:
        size = self.voxel_size
        for name, good, words in (
            (
                "voxel_size",
                len(size) == 3 and all(isfinite(side) and side > 0 for side in size),
                "three numbers above 0, z, y, x",
            ),
            (
                "diameter",
                len(self._ends) == 2 and 2 * min(size) <= self._ends[0] <= self._ends[1] < inf,
                "at least 2 voxels, or two such numbers, the lesser first",
            ),
            ("spacing", self.spacing is None or 0 < self.spacing < inf, "above 0"),
            ("margin", 0 <= self.margin < inf, "0 or more"),
        ):
            if not good:
                raise ValueError(f"{name}: must be {words} (got {getattr(self, name)!r})")

    @property
    def _ends(self) -> Sequence[float]:
        """Least and greatest diameter."""
        return self.diameter if isinstance(self.diameter, Sequence) else (self.diameter,) * 2

    @property
    def diameters(self) -> list[float]:
        """All diameters that are tried."""
        least, greatest = self._ends
        return [least] if least == greatest else np.geomspace(least, greatest, SIZES).tolist()

    def check_arrays(self, shape: tuple[int, ...], inside: Array | None) -> None:
        """Raise a ValueError where the diameter cannot be meant for an array of ``shape``, or
        ``inside`` is no bool array of that."""
        if len(shape) != 3 or prod(shape) == 0:
            raise ValueError(f"array: must have voxels along z, y and x (got shape {shape})")
        longest = max(n * side for n, side in zip(shape, self.voxel_size, strict=True))
        if self._ends[1] > longest:
            raise ValueError(
                f"diameter: must be at most the array's longest side, {longest:g} (got "
                f"{self._ends[1]:g}); use the units of voxel_size"
            )
        if inside is not None and (inside.dtype != bool or inside.shape != shape):
            raise ValueError(
                f"inside: must be bool of shape {shape} (got {inside.dtype} of {inside.shape})"
            )

    def strongest(
        self, contrast: Contrast, signs: Mapping[int, int], points: np.ndarray | None = None
    ) -> Strongest:
        """Candidates of the sign whose heights have the largest sum of cubes, the first of equals.

        Args:
            contrast: for any diameter; it is taken for all.
            signs: 1 or -1, by what each stands for.
            points: where to read heights too.
        """
        points = np.empty((0, 3)) if points is None else points
        found: dict[int, list[Sized]] = {key: [] for key in signs}
        read = []
        for diameter in self.diameters:
            one = replace(contrast, diameter=diameter)
            maxima, heights = one.maxima_and_at(list(signs.values()), points)
            read.append(heights)
            for key, (places, of_places) in zip(signs, maxima, strict=True):
                own = np.full(len(places), diameter)
                sized = Sized(places, of_places, own, np.arange(len(places)))
                found[key].append(self.clear(sized, contrast.values.shape))
        spaced = {
            key: self._spaced(Sized(*map(np.concatenate, zip(*sizes, strict=True))))
            for key, sizes in found.items()
        }
        key = max(spaced, key=lambda key: float(np.sum(spaced[key].heights ** 3)))
        at = np.max(signs[key] * np.array(read), axis=0)
        return Strongest(key, signs[key], spaced[key], at)

    def read(self, contrast: Contrast, sign: int, points: np.ndarray) -> np.ndarray:
        """The greatest heights at ``points`` for any of the diameters, times the sign."""
        each = [replace(contrast, diameter=one).at(points) for one in self.diameters]
        return np.asarray(np.max(sign * np.array(each), axis=0))

    def clear(self, candidates: Sized, shape: Shape) -> Sized:
        """Those, voxels of a volume of ``shape``, that keep the margin.

        This goes first: what it takes away keeps nothing else from being picked.
        """
        size, points = np.array(self.voxel_size), candidates.points
        low, high = (points + 0.5) * size, (np.array(shape) - 0.5 - points) * size
        return candidates.take((np.minimum(low, high) >= self.margin).all(axis=1))

    def _spaced(self, places: Sized) -> Sized:
        return spaced(places, self.voxel_size, self.spacing)

    def candidates(
        self,
        places: Sequence[Sized],
        heights: Sequence[np.ndarray],
        region: Box,
        label: int = 1,
        dark: bool | None = None,
        is_relative: bool = False,
    ) -> Candidates:
        """Candidates in a volume.

        Args:
            places: the maxima of each source, in ``region``.
            heights: of all places, in each source.
        """
        points, _, diameters, _ = map(np.concatenate, zip(*places, strict=True))
        source = [np.full(len(of.points), number, np.int8) for number, of in enumerate(places)]
        return Candidates(
            points + [part.start for part in region],
            diameters,
            np.array(heights),
            np.concatenate(source),
            self.voxel_size,
            self.spacing,
            len(self.diameters) > 1,
            label,
            dark,
            is_relative,
        )


def region_of(backend: Backend, values: Array) -> Box:
    """The smallest box of all voxels that are not 0; one without voxels where there are none.

    Args:
        values: (z, y, x), on the host or the device.
    """
    box = []
    for others in ((1, 2), (0, 2), (0, 1)):
        line = values.any(axis=others)
        places = np.flatnonzero(line if isinstance(line, np.ndarray) else backend.download(line))
        box.append(slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0))
    return tuple(box)  # type: ignore[return-value]


def mean_and_deviation(
    backend: Backend, values: Array, inside: Array | None
) -> tuple[float, float]:
    """Mean and standard deviation of the voxels inside; 0 and 1 where there is nothing to tell.

    Args:
        values: (z, y, x), any real type, on the host or the device.
        inside: bool, likewise; None for all.
    """

    def on_host(plane: Array) -> np.ndarray:
        return plane if isinstance(plane, np.ndarray) else backend.download(plane)

    count, total, squares = 0, 0.0, 0.0
    for z in range(len(values)):  # for little memory
        plane = on_host(values[z]).astype("float64")
        plane = plane if inside is None else plane[on_host(inside[z])]
        count += plane.size
        total += float(plane.sum())
        squares += float((plane**2).sum())
    mean = total / max(count, 1)
    return mean, float(np.sqrt(np.maximum(squares / max(count, 1) - mean**2, 0))) or 1.0


def _part(inside: Array | None, region: Box) -> Array | None:
    """``inside`` of the region; None where that is all of it."""
    part = None if inside is None else inside[region]
    return None if part is None or bool(part.all()) else part


def _whole(shape: Shape) -> Box:
    return slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])
