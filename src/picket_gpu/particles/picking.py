"""Picking of particles of a known size, from scores or labels (`pick`), from grey values
(`pick_by_contrast`) and from both: maxima of maps of heights, a spacing apart, above a threshold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite, prod
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from scipy.spatial import cKDTree

from picket_gpu.device.backend import Backend
from picket_gpu.device.operations import Array, Box, Shape
from picket_gpu.device.select import select_backend
from picket_gpu.method.labels import FOREGROUND, UNLABELLED
from picket_gpu.particles.contrast import STEP, Contrast
from picket_gpu.particles.picks import Picks, VoxelSize

# Of the diameter. The most that loses no touching spheres where the diameter is told by a quarter
# too large.
SPACING = 0.8
REACH = 1.0  # voxels that a blur of sigma 2 moves the edges of dense particles outward, measured
MIDDLE = 0.5  # of scores: heights are alike for any offset, and err 17 times less about 0
# Of a source's standardised heights, so that what is highest in one, as gold is, is not all.
CUT = 3.0
MERGED = 0.5  # of the spacing: candidates of two sources that are nearer are of one particle
STANDARDISED = (-100.0, 100.0)  # thresholds of standardised heights
# Signs of heights, by label and by whether particles are dark.
OF_LABEL: dict[int | None, dict[int, int]] = {1: {1: 1}, 0: {0: -1}, None: {1: 1, 0: -1}}
OF_DARK: dict[bool | None, dict[int, int]] = {True: {1: -1}, False: {0: 1}, None: {1: -1, 0: 1}}
ASKED = 256  # points whose neighbors are found at a time: few, as those of some may be many

SIZES = 7  # diameters from the least to the greatest, each the same times the one before
Threshold: TypeAlias = float | Literal["auto"]
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
    selection = Selection(diameter, voxel_size, spacing, margin, threshold, max_particles)
    backend = backend or select_backend()
    contrast, region = _of_scores(selection, scores, inside, reach, backend, memory_budget)
    found = selection.strongest(contrast, OF_LABEL[label])
    return replace(selection.picks(found.candidates, region), label=found.key)


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
    selection = Selection(
        diameter, voxel_size, spacing, margin, threshold, max_particles, STANDARDISED
    )
    if tomogram.shape != scores.shape:
        raise ValueError(f"tomogram: must be {scores.shape} as scores (got {tomogram.shape})")
    backend = backend or select_backend()
    of_scores, region = _of_scores(selection, scores, inside, reach, backend, memory_budget)
    of_grey = _of_tomogram(selection, tomogram[region], of_scores.inside, backend, memory_budget)
    grey = selection.strongest(of_grey, OF_DARK[dark])
    scored = selection.strongest(of_scores, OF_LABEL[label], grey.candidates.points)
    ones, others = scored.candidates, grey.candidates
    at_ones = selection.read(of_grey, grey.sign, ones.points)
    cut = [
        np.clip(standardised(np.concatenate(heights), among), -CUT, CUT)
        for heights, among in (
            ((ones.heights, scored.at), ones.heights),
            ((at_ones, others.heights), others.heights),
        )
    ]
    both = Sized(*(np.concatenate(pair) for pair in zip(ones, others, strict=True)))
    merged = selection.spaced(both._replace(heights=np.mean(cut, axis=0)), MERGED)
    heights = standardised(merged.heights, merged.heights)
    selection = replace(selection, threshold=0.0 if threshold == "auto" else threshold)
    picks = selection.picks(selection.spaced(merged._replace(heights=heights)), region)
    return replace(picks, label=scored.key, dark=bool(grey.key))


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
    selection = Selection(diameter, voxel_size, spacing, margin, threshold, max_particles)
    selection.check_arrays(tomogram.shape, inside)
    backend = backend or select_backend()
    region = _whole(tomogram.shape) if inside is None else region_of(backend, inside)
    there = _part(inside, region)
    contrast = _of_tomogram(selection, tomogram[region], there, backend, memory_budget)
    found = selection.strongest(contrast, OF_DARK[dark])
    heights = found.candidates.heights / found.candidates.heights.max(initial=STEP)
    picks = selection.picks(found.candidates._replace(heights=heights), region)
    return replace(picks, dark=bool(found.key))


def _of_scores(
    selection: "Selection",
    scores: Array,
    inside: Array | None,
    reach: float,
    backend: Backend,
    memory_budget: int | None,
) -> tuple[Contrast, Box]:
    """Heights of scores or labels as `pick` takes them, for the least diameter, and their box."""
    selection.check_arrays(scores.shape, inside)
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
        backend, scores[region], _part(inside, region), selection.diameters[0],
        selection.voxel_size, reach, offset=MIDDLE, memory_budget=memory_budget,
    )  # fmt: skip
    return contrast, region


def _of_tomogram(
    selection: "Selection",
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
        backend, tomogram, inside, selection.diameters[0], selection.voxel_size, REACH,
        offset=mean, scale=1 / deviation, memory_budget=memory_budget,
    )  # fmt: skip


class Sized(NamedTuple):
    """Candidates: points (m, 3), heights (m,), and the diameter of each, (m,)."""

    points: np.ndarray
    heights: np.ndarray
    diameters: np.ndarray

    def take(self, chosen: np.ndarray) -> "Sized":
        """Those of an index or a mask."""
        return Sized(*(each[chosen] for each in self))


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
class Selection:
    """Criteria for particles; lengths are in the units of ``voxel_size``, (z, y, x).

    Raises:
        ValueError: one of them is out of range.
    """

    diameter: Diameter
    voxel_size: VoxelSize = (1.0, 1.0, 1.0)
    spacing: float | None = None
    margin: float = 0.0
    threshold: Threshold = "auto"
    max_particles: int | None = None
    thresholds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        size = self.voxel_size
        lowest, highest = self.thresholds
        share = 0.0 if self.threshold == "auto" else self.threshold
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
            (
                "threshold",
                not isinstance(share, str) and lowest <= share <= highest,
                f"'auto' or {lowest:g} to {highest:g}",
            ),
            ("max_particles", self.max_particles is None or self.max_particles >= 1, "1 or more"),
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
                sized = Sized(places, of_places, np.full(len(places), diameter))
                found[key].append(self.clear(sized, contrast.values.shape))
        spaced = {
            key: self.spaced(Sized(*map(np.concatenate, zip(*sizes, strict=True))))
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

    def spaced(self, candidates: Sized, share: float = 1.0) -> Sized:
        """Those that keep a ``share`` of the spacing from higher ones, from the highest on.

        Distances are those of positions between voxels, so what is returned keeps the spacing.
        """
        candidates = candidates.take(np.argsort(-candidates.heights, kind="stable"))
        spacing = SPACING * candidates.diameters
        if self.spacing is not None:
            spacing = np.full(len(spacing), self.spacing)
        points = candidates.points * np.array(self.voxel_size)
        return candidates.take(keep_spaced(points, share * spacing))

    def picks(self, candidates: Sized, region: Box) -> Picks:
        """Candidates in ``region``, of which those from the threshold on are picked, as many as
        wanted."""
        points, heights, diameters = candidates
        threshold = otsu(heights) if self.threshold == "auto" else float(self.threshold)
        count = int(np.count_nonzero(heights >= threshold))
        if self.max_particles is not None:
            count = min(count, self.max_particles)
        return Picks(
            points + [part.start for part in region],
            heights,
            threshold,
            count,
            separation=separation(heights, threshold),
            candidate_diameters=diameters if len(self.diameters) > 1 else None,
        )


def keep_spaced(points: np.ndarray, spacing: float | np.ndarray) -> np.ndarray:
    """Which points to keep so that no two are nearer than ``spacing``, the first ones first.

    Args:
        points: (m, 3).
        spacing: of all, or of each, (m,): that of two is the mean of theirs.

    Returns:
        (m,) bool.
    """
    tree = cKDTree(points)
    kept = np.ones(len(points), dtype=bool)
    # A spacing apart is not nearer, whatever rounding did.
    nearer = np.broadcast_to(spacing, len(points)) * (1 - 1e-12)
    least, most = nearer.min(initial=np.inf), nearer.max(initial=0)
    for begin in range(0, len(points), ASKED):
        asked = begin + np.flatnonzero(kept[begin : begin + ASKED])
        near = tree.query_ball_point(points[asked], (nearer[asked] + most) / 2)
        for number, others in zip(asked, near, strict=True):
            if kept[number]:
                if least < most:
                    distance = np.linalg.norm(points[others] - points[number], axis=1)
                    others = np.array(others)[distance <= (nearer[others] + nearer[number]) / 2]
                kept[others] = False
                kept[number] = True
    return kept


def otsu(heights: np.ndarray) -> float:
    """The threshold between two classes of heights whose variance between them is largest.

    Otsu, IEEE Trans. Syst. Man Cybern. 9, 62-66, 1979, over all splits rather than a histogram's.

    Args:
        heights: (m,), in any order.

    Returns:
        The middle between the two classes' nearest heights; where all are alike, that height; 0
        where there are none.
    """
    ordered = np.sort(heights.astype(np.float64))
    if len(ordered) == 0:
        return 0.0
    if ordered[0] == ordered[-1]:
        return float(ordered[0])
    below = np.arange(1, len(ordered))
    above = len(ordered) - below
    sums = np.cumsum(ordered)
    difference = (sums[-1] - sums[:-1]) / above - sums[:-1] / below
    split = int(np.argmax(below * above * difference**2))
    return float((ordered[split] + ordered[split + 1]) / 2)


def standardised(heights: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Heights in units in which `otsu` of ``among`` is 0, and the means of its two classes are 2
    apart. Where all are alike, the lower class is taken to be at 0."""
    threshold = otsu(among)
    means = [part.mean() if len(part) else 0.0 for part in _classes(among, threshold)]
    half = (means[1] - means[0]) / 2
    return (heights - threshold) / (half or 1.0)


def separation(heights: np.ndarray, threshold: float) -> float | None:
    """Share of the variance of heights that lies between two classes (Otsu 1979); None for one."""
    below, above = _classes(heights, threshold)
    if not (len(below) and len(above)):
        return None
    between = len(below) * len(above) * ((above.mean() - below.mean()) / len(heights)) ** 2
    return float(between / heights.var())


def _classes(heights: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Heights below the threshold, and the others."""
    above = heights >= threshold
    return heights[~above], heights[above]


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
