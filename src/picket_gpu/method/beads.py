"""Gold beads and hot voxels: the few compact things that stand out far more than all else.

Gold is about ten times as dense against ice as protein is. Two clusters of a tomogram with beads
become beads and the rest, and the beads are the best candidates for particles.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from math import ceil, inf, isfinite
from typing import Any, NamedTuple, TypeVar

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from picket_gpu.device.limits import available_threads
from picket_gpu.method.grey_values import median_and_noise, sample_of

# Robust standard deviations. Noise of 1e9 voxels stays below 6.2, and what is below 8 loses its
# say in averages. A single voxel needs more: the blur leaves 1% of it.
LEAST, LEAST_HOT = 8.0, 20.0
# Everything else is this many times weaker: 8 or so for gold and protein, of which blur, noise and
# missing wedge leave 3 to 5. Particles of one kind, and those of a cell, differ by less than 2.
GAP = 2.5
MOST = 0.01  # of the voxels: 100 beads of 15 nm in a large tomogram are 0.7%
MOST_BODIES = 1000
TINY = 8  # voxels of what is too small to be a particle
ALIKE = 3.0  # largest over smallest diameter: beads of 5 to 15 nm
# Where nothing else stands out, what does are the particles. So there must be others of the same
# sign: among averages, the excess beyond `OTHER` over the other sign, which noise and fringes have
# as well or more, is 1e-4 or less without any, and from 1e-3 of particles and membranes in sight.
OTHER, EXCESS, SIDES = 3.5, 4e-4, 1.05
FRAGMENT = 8  # times smaller than what it is beside
NOISE = 6.5  # beyond it is no noise
# Of a bead's contrast: a tenth of a particle's. What is left beyond, a cluster of its own, costs
# more than the particles that a wider rim hides. A rim is no wider than a bead.
FADED = 0.01
LEAST_RIM, MOST_RIM = 3, 16  # voxels
# Around a bead its grey values may be its own: so many diameters, and so many voxels, which is how
# far the coarsest averages reach.
_FRINGE, _LEAST_FRINGE = 1.5, 6
_PASSES = 6
_PLANES = 8  # that a thread blurs at a time
_HALF = [(z, y, x) for z in (0, 1) for y in (-1, 0, 1) for x in (-1, 0, 1) if (z, y, x) > (0, 0, 0)]
Result = TypeVar("Result")


class Beads(NamedTuple):
    """Where gold beads and hot voxels are.

    Attributes:
        centres: (n, 3) float64, (z, y, x) in voxels, 0 the centre of the first one.
        diameters: (n,) float64, in voxels.
    """

    centres: np.ndarray
    diameters: np.ndarray

    def __str__(self) -> str:
        small = self.diameters <= _diameter(TINY)
        parts = []
        if count := int(np.sum(~small)):
            width = f"{np.median(self.diameters[~small]):.1f} voxels"
            parts.append(f"{count} gold bead{'s' * (count > 1)} about {width} wide")
        if count := int(np.sum(small)):
            parts.append(f"{count} hot voxel{'s' * (count > 1)}")
        return " and ".join(parts)


class _Body(NamedTuple):
    """Voxels that belong together, (n, 3) int64, each of ``factor``^3 of the volume."""

    places: np.ndarray
    factor: int


def find_beads(
    voxels: np.ndarray, excluded: np.ndarray | None = None
) -> tuple[Beads, np.ndarray] | None:
    """The few compact, alike things that stand out at least `GAP` times as much as all else.

    They are sought in grey values, in averages of 2^3 voxels, and in averages over 4 voxels or so:
    unbinned tomograms have so much noise that only averages show gold, and averages make small
    beads as faint as particles.

    Args:
        voxels: grey values, (z, y, x), any real type, in host memory.
        excluded: bool, (z, y, x): voxels that do not count, such as padding.

    Returns:
        Beads, and a mask of them and their fringes, bool, (z, y, x); None where there are none.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return _find_beads(voxels, excluded)


def _find_beads(voxels: np.ndarray, excluded: np.ndarray | None) -> tuple[Beads, np.ndarray] | None:
    finest = _Scale(voxels, 1, excluded)
    if not finest.is_usable:
        return None
    binned = finest.binned()
    scales = [finest, binned, binned.blurred()]
    found = [body for number in range(len(scales)) for body in _sought(scales, number)]
    if not found:
        return None
    bodies = [_upsampled(one) for one in found]
    diameters = np.array([_diameter(len(body)) for body in bodies])
    centres = np.array([body.mean(axis=0) for body in bodies])
    order = np.argsort(-diameters, kind="stable")
    mask = np.zeros(voxels.shape, dtype=bool)
    for tiny in (True, False):
        alike = [body for body in bodies if (len(body) <= TINY) == tiny]
        _mark_with_fringes(mask, alike, finest, excluded, tiny)
    return Beads(centres[order], diameters[order]), mask


class _Scale:
    """Grey values, or averages of them, in robust standard deviations from their median.

    Attributes:
        grey: (z, y, x).
        factor: voxels of the volume on a side of one of these.
        skip: bool, (z, y, x), what does not count; None for nothing.
        is_usable: whether the median and the noise are known: the volume is finite and not flat.
    """

    def __init__(self, grey: np.ndarray, factor: int, skip: np.ndarray | None) -> None:
        self.grey, self.factor, self.skip = grey, factor, skip
        some = sample_of(grey)
        if skip is not None:
            some = some[~sample_of(skip)]
        self._middle, self._noise = 0.0, 0.0
        if some.size:
            self._middle, self._noise = median_and_noise(some.astype(np.float64))
        self.is_usable = isfinite(self._middle) and 0 < self._noise < inf

    def peak(self, sign: int, beside: np.ndarray | None = None) -> float:
        """The largest value of a sign; 0 where nothing is left, or a value is not finite."""

        def largest(z: int) -> float:
            plane = self._plane(z, beside)
            if not plane.size:
                return self._middle
            return float(plane.max() if sign > 0 else plane.min())

        most = max(sign * (value - self._middle) for value in self._by_planes(largest))
        return most / self._noise if isfinite(most) else 0.0

    def count(self, sign: int, limit: float, beside: np.ndarray | None = None) -> int:
        """How many voxels are beyond ``limit``."""
        return sum(
            self._by_planes(
                lambda z: int(np.count_nonzero(self._beyond(self._plane(z, beside), sign, limit)))
            )
        )

    def beyond(self, sign: int, limit: float) -> np.ndarray:
        """Which voxels are beyond ``limit``, (n, 3) int64."""

        def places(z: int) -> np.ndarray:
            inside = self._beyond(self.grey[z], sign, limit)
            if self.skip is not None:
                inside &= ~self.skip[z]
            y, x = np.nonzero(inside)
            return np.stack([np.full(len(y), z), y, x], axis=1)

        return np.concatenate(self._by_planes(places))

    def values(self, places: np.ndarray) -> np.ndarray:
        """Values of voxels, (n,) float64."""
        grey = self.grey[tuple(places.T)].astype(np.float64)
        values: np.ndarray = (grey - self._middle) / self._noise
        return values

    def around(self, boxes: list[tuple[np.ndarray, np.ndarray]], factor: int) -> np.ndarray:
        """What is in boxes, given in voxels of ``factor``, or does not count; bool, (z, y, x)."""
        inside = np.zeros(self.grey.shape, dtype=bool) if self.skip is None else self.skip.copy()
        for first, last in boxes:
            begin = first * factor // self.factor
            end = last * factor // self.factor
            inside[tuple(slice(max(0, a), max(0, b)) for a, b in zip(begin, end, strict=True))] = (
                True
            )
        return inside

    def binned(self) -> "_Scale":
        """Averages over 2^3 voxels, float32; those with voxels that do not count are left out."""
        shape = tuple(n // 2 for n in self.grey.shape)
        means = np.zeros(shape, dtype=np.float32)
        skip = None if self.skip is None else np.zeros(shape, dtype=bool)
        middle = self._middle

        def work(z: int) -> None:
            rows, columns = (2 * n for n in shape[1:])
            for plane in (2 * z, 2 * z + 1):
                grey = self.grey[plane, :rows, :columns].astype(np.float32)
                grey -= np.float32(middle)
                grey = grey[0::2] + grey[1::2]
                means[z] += grey[:, 0::2] + grey[:, 1::2]
                if skip is not None and self.skip is not None:
                    out = self.skip[plane, :rows, :columns]
                    out = out[0::2] | out[1::2]
                    skip[z] |= out[:, 0::2] | out[:, 1::2]
            means[z] /= 8
            if skip is not None:
                means[z][skip[z]] = 0

        if all(shape):
            _threaded(work, shape[0])
        return _Scale(means, 2 * self.factor, skip)

    def blurred(self) -> "_Scale":
        """Averages by a Gaussian of one of these voxels; what does not count is the median."""
        grey = self.grey
        if self.skip is not None:
            grey = np.where(self.skip, np.float32(self._middle), grey)
        blurred = np.empty_like(grey)
        depth, reach = len(grey), 2

        def work(block: int) -> None:
            first, last = block * _PLANES, min((block + 1) * _PLANES, depth)
            begin = max(0, first - reach)
            part = ndimage.gaussian_filter(grey[begin : last + reach], 1, truncate=reach)
            blurred[first:last] = part[first - begin : last - begin]

        if grey.size:
            _threaded(work, -(-depth // _PLANES))
        return _Scale(blurred, self.factor, self.skip)

    def _plane(self, z: int, beside: np.ndarray | None) -> np.ndarray:
        out = self.skip if beside is None else beside
        plane: np.ndarray = self.grey[z] if out is None else self.grey[z][~out[z]]
        return plane

    def _beyond(self, plane: np.ndarray, sign: int, limit: float) -> np.ndarray:
        at = self._middle + sign * limit * self._noise
        beyond: np.ndarray = plane > at if sign > 0 else plane < at
        return beyond

    def _by_planes(self, function: Callable[[int], Result]) -> list[Result]:
        return _threaded(function, len(self.grey))


def _threaded(function: Callable[[int], Result], count: int) -> list[Result]:
    """``function`` of 0 to ``count``, on threads, in order."""

    def work(number: int) -> Result:
        with np.errstate(over="ignore", invalid="ignore"):  # each thread has its own
            return function(number)

    with ThreadPoolExecutor(available_threads()) as pool:
        return list(pool.map(work, range(count)))


def _sought(scales: list[_Scale], number: int) -> Iterator[_Body]:
    """What is found at one of the scales, which then counts at none of them."""
    scale = scales[number]
    for _ in range(_PASSES if scale.is_usable else 0):
        sign = max((-1, 1), key=scale.peak)
        bodies = _standing_out(scale, sign)
        if not bodies or not _is_gold(scales, number, sign, bodies):
            return
        boxes = _boxes(bodies, scale.factor)
        for one in scales:
            one.skip = one.around(boxes, scale.factor)
        yield from (_Body(body, scale.factor) for body in bodies)


def _standing_out(scale: _Scale, sign: int) -> list[np.ndarray]:
    """The strongest bodies of a sign before the first gap; none where no gap is."""
    low, most = scale.peak(sign), MOST * scale.grey.size
    for _ in range(_PASSES):
        if low < LEAST or scale.count(sign, low / 2) > most:
            return []
        bodies = _components(scale.beyond(sign, low / 2), scale.grey.shape)
        if len(bodies) > MOST_BODIES:
            return []
        bodies = _whole(bodies)
        beside = scale.around(_boxes(bodies, scale.factor), scale.factor)
        rest = scale.peak(sign, beside)
        if low >= GAP * rest:
            return bodies
        low = rest
    return []


def _is_gold(scales: list[_Scale], number: int, sign: int, bodies: list[np.ndarray]) -> bool:
    """Whether bodies of a scale are compact, alike, as strong at finer scales, and not alone."""
    scale, coarsest = scales[number], scales[-1]
    sizes = np.array([len(body) for body in bodies]) * scale.factor**3
    weakest = min(float((sign * scale.values(body)).max()) for body in bodies)
    if sizes.max() <= TINY and weakest >= LEAST_HOT:
        return True
    larger = sizes[sizes > TINY]
    if len(larger) and larger.max() > ALIKE**3 * larger.min():
        return False
    if not all(_is_compact(body) for body in bodies):
        return False
    boxes = _boxes(bodies, scale.factor)
    for finer in scales[:number]:
        inside = [_upsampled(_Body(body, scale.factor // finer.factor)) for body in bodies]
        strongest = float((sign * finer.values(np.concatenate(inside))).max())
        rest = finer.peak(sign, finer.around(boxes, scale.factor))
        if rest > max(strongest / GAP, NOISE):
            return False
    beside = coarsest.around(boxes, scale.factor)
    others, opposite = (coarsest.count(one, OTHER, beside) for one in (sign, -sign))
    excess = others - opposite
    return others >= SIDES * opposite and excess >= EXCESS * int(np.count_nonzero(~beside))


def _is_compact(body: np.ndarray) -> bool:
    """Whether a body is no wider than two balls of its volume in a row, and no thinner than half a
    one: a missing wedge stretches, beads touch, and the volume's faces cut."""
    widths = np.ptp(body, axis=0) + 1
    diameter = _diameter(len(body))
    return bool(widths.max() <= 2.2 * diameter + 1 and len(body) >= 0.2 * widths.prod())


def _diameter(voxels: Any) -> Any:
    """Diameter of a ball of as many voxels: of one number, or of an array."""
    return np.cbrt(voxels * 6 / np.pi)


def _boxes(bodies: list[np.ndarray], factor: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Boxes that hold bodies and their fringes: the first voxels, and those after the last."""
    widest = max(_diameter(len(body)) for body in bodies)
    reach = ceil(max(_FRINGE * widest, _LEAST_FRINGE / factor))
    return [(body.min(axis=0) - reach, body.max(axis=0) + 1 + reach) for body in bodies]


def _components(places: np.ndarray, shape: tuple[int, ...]) -> list[np.ndarray]:
    """Bodies of voxels that touch by faces, edges or corners, from (n, 3) in memory order."""
    flat = np.ravel_multi_index(tuple(places.T), shape)
    pairs = []
    for step in _HALF:
        other = places + step
        inside = ((other >= 0) & (other < shape)).all(axis=1)
        wanted = np.ravel_multi_index(tuple(other[inside].T), shape)
        at = np.searchsorted(flat, wanted)
        at[at == len(flat)] = 0
        there = flat[at] == wanted
        pairs.append(np.stack([np.flatnonzero(inside)[there], at[there]]))
    first, second = np.concatenate(pairs, axis=1)
    graph = coo_array((np.ones(len(first), dtype=bool), (first, second)), shape=(len(flat),) * 2)
    count, numbers = connected_components(graph, directed=False)
    order = np.argsort(numbers, kind="stable")
    return np.split(places[order], np.cumsum(np.bincount(numbers, minlength=count))[:-1])


def _whole(bodies: list[np.ndarray]) -> list[np.ndarray]:
    """Bodies without the fragments beside them, which their fringes cover."""
    sizes = np.array([len(body) for body in bodies])
    reach = (_diameter(sizes) / 2 + 1)[:, None]
    lows = np.array([body.min(axis=0) for body in bodies]) - reach
    highs = np.array([body.max(axis=0) for body in bodies]) + reach

    def is_fragment(body: np.ndarray) -> bool:
        larger, middle = sizes >= FRAGMENT * len(body), body.mean(axis=0)
        return bool(((middle >= lows[larger]) & (middle <= highs[larger])).all(axis=1).any())

    return [body for body in bodies if not is_fragment(body)]


def _upsampled(body: _Body) -> np.ndarray:
    """Its voxels in the volume, (n, 3) int64."""
    offsets = np.indices((body.factor,) * 3).reshape(3, -1).T
    places: np.ndarray = (body.places[:, None] * body.factor + offsets).reshape(-1, 3)
    return places


def _mark_with_fringes(
    mask: np.ndarray,
    bodies: list[np.ndarray],
    scale: _Scale,
    excluded: np.ndarray | None,
    tiny: bool,
) -> None:
    """Mark bodies, and what is around them up to where their mean contrast has faded.

    Along z, where a missing wedge draws streaks, it fades later than across.
    """
    if not bodies:
        return
    reach = int(np.clip(max(_diameter(len(body)) for body in bodies), LEAST_RIM, MOST_RIM)) + 1
    level = float(np.mean(np.abs(scale.values(np.concatenate(bodies)))))
    total, count = np.zeros((2, reach + 1)), np.zeros((2, reach + 1))
    for body in bodies:
        box, away, along = _surroundings(body, reach, mask.shape)
        counted = (away > 0) & (away <= reach)
        if excluded is not None:
            counted &= ~excluded[box]
        places = np.argwhere(counted)
        values = scale.values(places + [side.start for side in box])
        where = along[counted].astype(int), np.ceil(away[counted]).astype(int)
        np.add.at(total, where, values)
        np.add.at(count, where, 1)
    mean = np.abs(total) / np.maximum(count, 1)
    limit = FADED * level
    if tiny:  # whatever a hot voxel has, a neighbor beyond the noise is an outlier too
        limit = min(limit, 1.0)
    faded = mean <= np.maximum(limit, 3 / np.sqrt(np.maximum(count, 1)))
    rims = [_first_run(faded[direction], reach) for direction in (0, 1)]
    for body in bodies:
        box, away, along = _surroundings(body, reach, mask.shape)
        mask[box] |= away <= np.where(along, rims[1], rims[0])


def _first_run(faded: np.ndarray, reach: int) -> int:
    """The last distance before two in a row where all has faded: a fringe crosses zero."""
    for distance in range(1, reach):
        if faded[distance] and faded[distance + 1]:
            return distance - 1
    return reach


def _surroundings(
    body: np.ndarray, reach: int, shape: tuple[int, ...]
) -> tuple[tuple[slice, ...], np.ndarray, np.ndarray]:
    """A box around a body, the distance of its voxels from the body, and whether the way there
    is rather along z."""
    first = np.maximum(body.min(axis=0) - reach, 0)
    last = np.minimum(body.max(axis=0) + reach + 1, shape)
    box = tuple(slice(a, b) for a, b in zip(first.tolist(), last.tolist(), strict=True))
    outside = np.ones(last - first, dtype=bool)
    outside[tuple((body - first).T)] = False
    away, nearest = ndimage.distance_transform_edt(outside, return_indices=True)
    rise = np.abs(nearest[0] - np.arange(len(outside))[:, None, None])
    return box, away, np.asarray(2 * rise**2 > away**2)
