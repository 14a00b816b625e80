"""Picks of made-up scores, whose particles are known, against oracles by loops."""

import tracemalloc
from math import hypot

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from picket_gpu.device.backend import MIB, Backend
from picket_gpu.device.select import select_backend
from picket_gpu.particles import contrast
from picket_gpu.particles.candidates import keep_spaced
from picket_gpu.particles.contrast import (
    OUTER,
    STEP,
    Blocks,
    Contrast,
    ball_and_shell,
    merge_plateaus,
    plan_blocks,
)
from picket_gpu.particles.picking import pick, pick_by_both, pick_by_contrast
from picket_gpu.particles.threshold import otsu, separation

SHAPE = (26, 40, 44)
EVERYWHERE = np.ones(SHAPE, dtype=bool)


def spheres(shape, centres, radius, voxel_size=(1, 1, 1), heights=None):
    """Scores of spheres whose edge voxels have their share of the sphere, by 5^3 points each."""
    scores = np.zeros(shape, dtype=np.float32)
    for number, centre in enumerate(centres):
        reach = [radius / size + 1 for size in voxel_size]
        box = tuple(
            slice(max(0, int(c - r)), max(0, int(c + r) + 2))
            for c, r in zip(centre, reach, strict=True)
        )
        share = np.zeros(scores[box].shape)
        for offset in np.ndindex(5, 5, 5):
            axes = [
                (np.arange(n)[within] + (o - 2) / 5 - c) * size
                for n, within, o, c, size in zip(
                    shape, box, offset, centre, voxel_size, strict=True
                )
            ]
            z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
            share += (z**2 + y**2 + x**2 < radius**2) / 125
        scores[box] += np.float32(1 if heights is None else heights[number]) * share
    return scores


def smooth_noise(shape, seed=0):
    """Scores with maxima of all heights."""
    noise = np.random.default_rng(seed).random(shape)
    for axis in range(3):
        noise = (np.roll(noise, 1, axis) + noise + np.roll(noise, -1, axis)) / 3
    noise -= noise.min()
    return (noise / noise.max()).astype(np.float32)


def assert_same(ours, others, unit=1.0):
    """Two picks alike but for the order of sums, which moves a map by a STEP here and there, and
    the top of a flat parabola by some hundredths of a voxel.

    Args:
        unit: of the heights of the picks, in those of the map.
    """
    assert ours.count == others.count
    np.testing.assert_allclose(
        ours.candidate_heights, others.candidate_heights, atol=2 * STEP / unit
    )
    assert ours.candidates.shape == others.candidates.shape
    # Those of one height may come in another order.
    gaps = np.linalg.norm(ours.candidates[:, None] - others.candidates[None], axis=2)
    assert gaps.min(axis=1).max() <= 0.02


# Heights.


def weights_by_loop(radius, voxel_size, edge):
    """Of a ball and its shell, a place at a time by the definition of their edges."""
    reach = [int(OUTER * radius / size + edge) + 2 for size in voxel_size]
    weights = np.zeros((2, *(2 * r + 1 for r in reach)))
    for place in np.ndindex(weights.shape[1:]):
        steps = [p - r for p, r in zip(place, reach, strict=True)]
        in_voxels = hypot(*steps)
        distance = hypot(*(step * size for step, size in zip(steps, voxel_size, strict=True)))
        voxel = distance / in_voxels if in_voxels else 1.0  # what a step of the grid takes
        ball, whole = (
            min(max((r - distance) / voxel / e + 0.5, 0), 1) if in_voxels else 1.0
            for r, e in ((radius, edge), (OUTER * radius, 1))
        )
        weights[(slice(None), *place)] = ball, max(whole - ball, 0)
    return weights


def by_weights(values, inside, weights, at):
    """Share x (mean over the ball around a voxel - mean over its shell)."""
    reach = [side // 2 for side in weights.shape[1:]]
    padding = [(r, r) for r in reach]
    box = tuple(slice(a, a + 2 * r + 1) for a, r in zip(at, reach, strict=True))
    values, counts = np.pad(values, padding)[box], weights * np.pad(inside, padding)[box]
    ball, shell = ((count * values).sum() / count.sum() for count in counts)
    return counts[0].sum() / weights[0].sum() * (ball - shell)


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize(
    ("diameter", "voxel_size", "reach"),
    [
        (2, (1, 1, 1), 0.5),
        (4.6, (1, 1, 1), 2),
        (30, (25.0, 10.0, 8.0), 1),
        (14, (1, 1, 1), 2),  # whose shell is larger than the volume
    ],
)
def test_heights_are_those_of_a_loop(backend, noise, diameter, voxel_size, reach, holes):
    inside = np.random.default_rng(2).random(noise.shape) < (0.8 if holes else 1)
    inside[6, 7, 7] = True
    radius = diameter / 2 + reach * np.prod(voxel_size) ** (1 / 3)
    told = (diameter, voxel_size, reach, 0.5, 3.0)
    heights = Contrast(backend, noise, inside if holes else None, *told)
    places = np.array([(0, 0, 0), (6, 7, 7), (12, 13, 14), (12, 0, 3), (5, 13, 1)])
    weights = weights_by_loop(radius, voxel_size, 2 * reach)
    for at, found in zip(places, heights.at(places), strict=True):
        expected = by_weights(3 * (noise - 0.5), inside, weights, at) * inside[tuple(at)]
        assert found == pytest.approx(expected, abs=STEP)


def test_a_shell_is_what_the_larger_ball_has_beyond_the_smaller():
    ball, weights = ball_and_shell(5, (1, 1, 1))
    assert ball.shape == weights.shape == (17, 17, 17)
    assert weights.sum() == pytest.approx(1)
    assert ball.sum() == pytest.approx(1)
    middle = weights[8, 8]
    assert (middle[8 - 4 : 8 + 5] == 0).all()
    assert middle[3] == middle[13] == pytest.approx(middle[2] / 2)
    assert (middle[[1, 2, 14, 15]] == middle[2]).all()
    assert middle[0] == middle[16] == pytest.approx(middle[2] / 2)
    assert ball[8, 8, 3] == pytest.approx(ball[8, 8, 8] / 2)
    assert (ball[8, 8, 4:13] == ball[8, 8, 8]).all()


@pytest.mark.parametrize("diameter", [4, 12])
@pytest.mark.parametrize("holes", [False, True])
def test_heights_keep_to_their_memory(backend, diameter, holes):
    values = smooth_noise((40, 50, 60))
    inside = np.random.default_rng(2).random(values.shape) < 0.9 if holes else None

    def maxima(memory):
        return Contrast(backend, values, inside, diameter, memory_budget=memory).maxima((1, -1))

    with pytest.raises(
        ValueError, match=r"^memory_budget: .* needs \d+ MiB \(got 0.125 MiB\)$"
    ) as error:
        maxima(MIB // 8)
    least = int(str(error.value).split("needs ")[1].split()[0])
    for budget in (least * MIB, 2 * least * MIB, 1024 * MIB):
        tracemalloc.start()
        maxima(budget)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak <= budget


@pytest.mark.parametrize("workers", [1, 2, 16])
@pytest.mark.parametrize("half", [(7, 7, 7), (12, 30, 37)])
def test_blocks_cover_the_volume_within_the_memory(workers, half):
    shape, arrays = (200, 300, 310), 7
    before = None
    for memory in (40 * MIB, 200 * MIB, 4096 * MIB):
        plan = plan_blocks(shape, half, arrays, workers, memory)
        z, y, x = plan.lengths
        assert 4 * z * y * (x + 2) * (2 + plan.at_once * arrays) <= memory
        for n, h, side, length in zip(shape, half, plan.sides, plan.lengths, strict=True):
            assert side <= n
            assert length >= min(side + 2 + 2 * h, n + h)
        blocks = np.prod([-(-n // side) for n, side in zip(shape, plan.sides, strict=True)])
        work = np.prod(plan.lengths) * np.ceil(blocks / plan.at_once) * plan.at_once
        assert before is None or plan.at_once > 1 or work <= before  # more memory, less work
        before = work
    assert workers > 1 or plan.sides == shape


# Positions.


def height(radius, told, reach=2, voxel_size=(1, 1, 1)):
    """Of a sphere of ones in zeros: what it has of the ball's weights less what of the shell's."""
    ball_radius = told / 2 + reach * np.prod(voxel_size) ** (1 / 3)
    ball, shell = ball_and_shell(ball_radius, voxel_size, 2 * reach)
    middle = np.array(ball.shape) // 2
    return ((ball - shell) * spheres(ball.shape, [middle], radius, voxel_size)).sum()


CENTRES = np.array([(8, 10, 12), (16, 28, 14), (9, 26, 31), (17, 12, 33)])


@pytest.mark.parametrize("shift", [(0, 0, 0), (1, -2, 3), (0.5, 0, 0), (0.5, -0.5, 0.5)])
@pytest.mark.parametrize("told", [0.8, 1.0, 1.25])
def test_spheres_are_found_where_they_are_between_voxels_too(backend, shift, told):
    # Apart, so that none is in the shell of another.
    centres = np.array([(13, 15, 18), (24, 42, 21), (14, 39, 47), (26, 18, 50)]) + shift
    scores = spheres((42, 58, 68), centres, 5)
    everywhere = np.ones(scores.shape, dtype=bool)
    picks = pick(scores, told * 10, threshold=0.1, inside=everywhere, backend=backend)
    assert picks.count == len(centres)
    gaps = np.linalg.norm(picks.coordinates[:, None] - centres[None], axis=2)
    assert sorted(gaps.argmin(axis=1)) == [0, 1, 2, 3]
    assert gaps.min(axis=1).max() <= 0.1  # voxels; whole and half ones are exact by symmetry
    # Of the highest voxel, which may be half the diagonal of one from the top.
    expected = height(5, told * 10)
    assert expected - 0.03 <= picks.heights.min() <= picks.heights.max() <= expected + 0.01


def test_moved_scores_give_moved_picks(backend):
    noise = smooth_noise((30, 40, 44))
    first = pick(noise[:-3, 2:, :-5], 6, backend=backend)
    there = np.zeros(noise.shape, dtype=bool)
    there[3:, :-2, 5:] = True
    moved = np.zeros_like(noise)
    moved[there] = noise[:-3, 2:, :-5].ravel()
    second = pick(moved, 6, inside=there, backend=backend)
    np.testing.assert_allclose(second.candidates - (3, 0, 5), first.candidates, atol=1e-3)


def test_a_sphere_is_a_sphere_on_anisotropic_voxels(backend):
    size = (25.0, 10.0, 8.0)
    centres = [(8.0, 14, 15), (16.5, 25, 28.5)]
    scores = spheres(SHAPE, centres, 60, size)
    picks = pick(scores, 120, voxel_size=size, inside=EVERYWHERE, backend=backend)
    found = picks.candidates[np.argsort(picks.candidates[:, 0])]
    np.testing.assert_allclose(found, centres, atol=0.1)
    expected = height(60, 120, voxel_size=size)
    assert picks.candidate_heights[0] == pytest.approx(expected, abs=0.02)


def merged(voxels, shape, heights=None, shifts=None):
    """Points of plateaus of maxima at ``voxels``, in any order."""
    voxels = np.random.default_rng(0).permutation(np.array(voxels))
    n = len(voxels)
    heights = np.ones(n) if heights is None else heights
    return merge_plateaus([(voxels, heights, np.zeros((n, 3)))], shape)[0]


@pytest.mark.parametrize(
    ("size", "middle"), [((9, 11, 13), (11, 20, 22)), ((8, 11, 12), (11.5, 20, 22.5))]
)
def test_a_plateau_is_one_point_in_its_middle(size, middle):
    plateau = np.zeros(SHAPE, dtype=bool)
    first = np.ceil(np.subtract(middle, np.array(size) / 2)).astype(int)
    plateau[tuple(slice(f, f + n) for f, n in zip(first, size, strict=True))] = True
    points = merged(np.argwhere(plateau), SHAPE)
    assert points.shape == (1, 3)
    assert np.abs(points - middle).max() <= 0.5


def test_the_middle_of_a_plateau_that_is_a_ring_is_on_it():
    z, y, x = np.indices(SHAPE)
    ring = (np.hypot(y - 20, x - 22) - 12) ** 2 + (z - 13) ** 2 <= 16
    points = merged(np.argwhere(ring), SHAPE)
    assert len(points) == 1
    assert ring[tuple(points[0].astype(int))]


def test_plateaus_touch_by_faces_and_not_around_the_end_of_a_row():
    ends = [(1, 2, 43), (1, 3, 0), (1, 39, 5), (2, 0, 5)]
    assert sorted(map(tuple, merged(ends, SHAPE))) == ends
    assert len(merged([(3, 3, 3), (3, 4, 4), (4, 3, 4)], SHAPE)) == 3  # edges only


# Maxima and spacing.


def maxima_by_loop(values):
    """Voxels above 0 that are not lower than any of 26 neighbors."""
    padded = np.pad(values, 1, constant_values=-1)
    return [
        at
        for at in np.ndindex(values.shape)
        if values[at] == padded[tuple(slice(i, i + 3) for i in at)].max() and values[at] > 0
    ]


def test_candidates_are_the_maxima_of_ball_less_shell_inside(backend, noise):
    inside = np.ones(noise.shape, dtype=bool)
    inside[:, :4, 6:] = False
    voxels = np.indices(noise.shape).reshape(3, -1).T
    heights = Contrast(backend, noise, inside, 3).at(voxels).reshape(noise.shape)
    heights = np.where(inside, heights, -1)
    expected = maxima_by_loop(heights)
    picks = pick(noise, 3, spacing=1e-3, inside=inside, backend=backend)
    assert len(picks.candidates) == len(expected) > 10
    gaps = np.abs(picks.candidates[:, None] - np.array(expected)[None]).max(axis=2)
    assert (gaps.min(axis=0) <= 0.5).all()
    np.testing.assert_allclose(
        np.sort(picks.candidate_heights), np.sort([heights[at] for at in expected]), atol=1e-7
    )


def spaced_by_loop(points, spacing):
    kept = []
    for point in points:
        if all(np.linalg.norm(point - other) >= spacing for other in kept):
            kept.append(point)
    return np.array(kept)


@pytest.mark.parametrize("spacing", [0.5, 3, 12, 100])
def test_spacing_is_kept_greedily(spacing):
    points = np.random.default_rng(3).random((1000, 3)) * (10, 30, 30)
    kept = keep_spaced(points, spacing)
    np.testing.assert_array_equal(points[kept], spaced_by_loop(points, spacing))


def test_what_is_a_spacing_apart_stays():
    points = np.array([(0, 0, 0), (0.3, 0, 0), (0.6, 0, 0), (0.59, 0, 0), (0.9, 0, 0)])
    np.testing.assert_array_equal(keep_spaced(points, 0.3), [True, True, True, False, True])


@pytest.mark.parametrize("voxel_size", [(1.0, 1.0, 1.0), (2.0, 1.0, 0.7)])
def test_picks_between_voxels_keep_the_spacing(backend, voxel_size):
    picks = pick(smooth_noise((40, 50, 60)), 4, voxel_size=voxel_size, spacing=7, backend=backend)
    gaps = np.linalg.norm((picks.candidates[:, None] - picks.candidates[None]) * voxel_size, axis=2)
    assert len(gaps) > 50
    assert gaps[np.triu_indices(len(gaps), 1)].min() >= 7 - 1e-9
    assert (np.diff(picks.candidate_heights) <= 0).all()


def test_heights_at_candidates_are_theirs_and_0_where_nothing_counts(backend, noise):
    inside = np.ones(noise.shape, dtype=bool)
    inside[:, :4, 6:] = False
    heights = Contrast(backend, noise, inside, 3)
    (points, of_points), (dips, of_dips) = heights.maxima((1, -1))
    assert len(points) > 10
    np.testing.assert_allclose(heights.at(points), of_points, atol=2 * STEP)
    np.testing.assert_allclose(heights.at(dips), -of_dips, atol=2 * STEP)
    beyond = [(5, 2, 9), (-1, 5, 5), (5, 14, 5), (5, 5, 400)]  # not inside, and no voxels
    np.testing.assert_array_equal(heights.at(np.array(beyond)), 0)


# Blocks, device.


CASES = {
    "noise": (smooth_noise((40, 50, 60)), {"diameter": 6}),
    "large": (smooth_noise((40, 50, 60)), {"diameter": 30}),
    "thick": (smooth_noise((40, 50, 60)), {"diameter": 12, "voxel_size": (3.0, 1.0, 1.5)}),
}
OTHER = smooth_noise((40, 50, 60), 1)


def pick_both(scores, diameter, backend, **options):
    """From ``scores`` and another array of the same shape, both on the host or the device."""
    other = np.resize(OTHER, scores.shape) if scores.any() else np.zeros(scores.shape)
    if not isinstance(scores, np.ndarray):
        other = backend.upload(other)
    return pick_by_both(scores, other, diameter, backend=backend, **options)


FUNCTIONS = [pick, pick_by_contrast, pick_both]
# Standardised heights have half the distance of two classes as their unit, which is 0.1 or more.
UNIT = {pick: 1.0, pick_by_contrast: 1.0, pick_both: 0.1}


def least_memory(function, *args, **options):
    with pytest.raises(ValueError, match=r"^memory_budget: .* needs \d+ MiB") as error:
        function(*args, **options, memory_budget=1)
    return int(str(error.value).split("needs ")[1].split()[0]) * MIB


RUNS = [(function, case) for function in FUNCTIONS for case in CASES]


@pytest.mark.parametrize(("function", "case"), RUNS)
@pytest.mark.parametrize("holes", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_blocks_give_what_the_whole_gives(backend, function, case, holes):
    scores, options = CASES[case]
    inside = np.random.default_rng(7).random(scores.shape) > 0.02 if holes else None
    options = {**options, "inside": inside, "backend": backend}
    whole = function(scores, **options)
    least = least_memory(function, scores, **options)
    assert len(whole.candidates) > 1
    for memory in (least, 3 * least // 2):
        assert_same(function(scores, **options, memory_budget=memory), whole, UNIT[function])


def in_blocks(monkeypatch, *sides, at_once=1):
    """Whatever the memory, blocks of these sides."""

    def plan(shape, half, *_):
        lengths = (min(s + 2 + 2 * h, n + h) for s, h, n in zip(sides, half, shape, strict=True))
        return Blocks(sides, tuple(lengths), at_once)

    monkeypatch.setattr(contrast, "plan_blocks", plan)


@pytest.mark.parametrize("sides", [(40, 50, 60), (7, 50, 60), (13, 17, 19), (40, 1, 60)])
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("holes", [False, True])
def test_picks_do_not_depend_on_the_blocks(monkeypatch, backend, function, sides, holes):
    values, options = CASES["noise"]
    inside = np.random.default_rng(7).random(values.shape) > 0.02 if holes else None
    whole = function(values, **options, inside=inside, backend=backend)
    in_blocks(monkeypatch, *sides)
    ours = function(values, **options, inside=inside, backend=backend)
    assert_same(ours, whole, UNIT[function])


def test_picks_do_not_depend_on_the_number_of_workers(monkeypatch):
    values, options = CASES["noise"]
    whole = pick(values, **options, backend=Backend("one", workers=1))
    in_blocks(monkeypatch, 10, 13, 60, at_once=4)
    assert_same(pick(values, **options, backend=Backend("four", workers=4)), whole)


@pytest.mark.parametrize("shift", [-1, -0.5, 0, 0.5])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_particle_at_the_border_of_blocks_is_found_once(monkeypatch, backend, axis, shift):
    """Its centre is the last voxel of a block, between two, the first of the next, or beyond."""
    centre = [20.0, 20.0, 20.0]
    centre[axis] += shift
    scores = spheres((40, 40, 40), [centre], 5)
    in_blocks(monkeypatch, 20, 20, 20)
    everywhere = np.ones(scores.shape, dtype=bool)
    picks = pick(scores, 10, inside=everywhere, threshold=0.1, backend=backend)
    np.testing.assert_allclose(picks.coordinates, [centre], atol=0.02)
    assert picks.heights[0] == pytest.approx(height(5, 10), abs=0.03)


@pytest.mark.parametrize(("axes", "n"), [((2,), 61), ((1,), 61), ((0,), 61), ((1, 2), 45)])
def test_a_plateau_through_several_blocks_is_one_candidate_in_its_middle(
    monkeypatch, backend, axes, n
):
    """A rod, or a sheet, from face to face: its height changes only where faces cut shells."""
    shape, at = [23, 23, 23], [11] * 3
    for axis in axes:
        shape[axis], at[axis] = n, slice(None)
    scores = np.zeros(shape, dtype=np.float16)
    scores[tuple(at)] = 1
    everywhere = np.ones(scores.shape, dtype=bool)
    in_blocks(monkeypatch, 9, 9, 9)
    picks = pick(scores, 3, inside=everywhere, spacing=0.1, backend=backend)
    along = picks.candidates[:, axes]
    reach = int(OUTER * (1.5 + 2)) + 1
    whole = ((along >= reach) & (along <= n - 1 - reach)).all(axis=1)
    np.testing.assert_allclose(picks.candidates[whole], [np.array(shape) // 2], atol=0.5)


@pytest.mark.parametrize(("function", "case"), RUNS)
def test_a_device_picks_the_same_within_its_memory(backend, function, case):
    double = pytest.importorskip("tests.support.device_double", exc_type=ImportError)
    scores, options = CASES[case]
    inside = np.random.default_rng(7).random(scores.shape) > 0.02
    device = double.DeviceDouble()
    host = function(scores, **options, inside=inside, backend=backend)
    least = least_memory(function, scores, **options, inside=inside, backend=device)
    for memory in (least, 1024 * MIB):
        with double.DeviceArray.counting() as counted:
            ours = function(scores, **options, inside=inside, backend=device, memory_budget=memory)
        assert counted["peak"] <= memory
        assert isinstance(ours.candidates, np.ndarray)
        assert_same(ours, host, UNIT[function])
    ours = function(device.upload(scores), **options, inside=device.upload(inside), backend=device)
    assert_same(ours, host, UNIT[function])


@pytest.mark.gpu
@pytest.mark.parametrize(("function", "case"), RUNS)
def test_a_gpu_picks_the_same_within_its_memory(backend, function, case):
    scores, options = CASES[case]
    gpu = select_backend("gpu", "native")
    for memory in (least_memory(function, scores, **options, backend=gpu), None):
        ours = function(scores, **options, backend=gpu, memory_budget=memory)
        assert_same(ours, function(scores, **options, backend=backend), UNIT[function])
        assert memory is None or gpu.peak_bytes() <= memory


# Labels.


@pytest.mark.parametrize("kind", [np.int8, np.int64, np.uint8, bool])
@pytest.mark.parametrize("label", [1, 0, None])
def test_labels_are_scores_of_0_and_1(backend, kind, label):
    labels = (spheres(SHAPE, CENTRES, 5) > 0.5).astype(np.int8)
    inside = EVERYWHERE.copy()
    if np.issubdtype(kind, np.signedinteger):
        inside[:3] = inside[..., -4:] = False
        inside[10:14, 5:9] = False
    labels[~inside] = -1
    options = {"label": label, "threshold": 0.1, "backend": backend}
    ours = pick(labels.astype(kind), 10, **options)
    expected = pick((labels == 1).astype(np.float32), 10, inside=inside, **options)
    assert_same(ours, expected)
    assert ours.label == expected.label
    assert label == 0 or ours.count >= 3


def test_labels_count_where_both_they_and_inside_say(backend):
    labels = (spheres(SHAPE, CENTRES, 5) > 0.5).astype(np.int8)
    labels[:3] = -1
    inside = np.ones(SHAPE, dtype=bool)
    inside[:, :8] = False
    ours = pick(labels, 10, inside=inside, backend=backend)
    scores = (labels == 1).astype(np.float32)
    assert_same(ours, pick(scores, 10, inside=inside & (labels != -1), backend=backend))


# The border.


def test_without_inside_the_labels_border_is_no_wall(backend):
    scores = np.full(SHAPE, 0.25, dtype=np.float16)
    scores[:2] = scores[-2:] = scores[:, :2] = scores[:, :, -2:] = 0
    scores[9:16, 18:25, 20:27] = 1
    picks = pick(scores, 8, backend=backend)
    np.testing.assert_allclose(picks.candidates, [(12, 21, 23)], atol=0.01)


def test_candidates_keep_the_margin(backend):
    scores = smooth_noise((40, 50, 60))
    inside = np.zeros(scores.shape, dtype=bool)
    inside[5:-3, 2:, 4:] = True
    size = (2.0, 1.0, 1.5)
    options = {"voxel_size": size, "inside": inside, "spacing": 0.1, "backend": backend}
    everywhere = pick(scores, 8, **options).candidates
    picks = pick(scores, 8, **options, margin=6.5)
    low, high = np.array([4.5, 1.5, 3.5]), np.array([36.5, 49.5, 59.5])
    clear = np.minimum(everywhere - low, high - everywhere) * size >= 6.5
    np.testing.assert_array_equal(picks.candidates, everywhere[clear.all(axis=1)])
    assert 0 < len(picks.candidates) < len(everywhere)


# Thresholds.


def test_otsu_has_the_largest_variance_between_classes():
    rng = np.random.default_rng(4)
    heights = np.concatenate([rng.normal(0.2, 0.05, 300), rng.normal(0.7, 0.1, 60)])
    threshold = otsu(heights)

    def between(t):
        low, high = heights[heights < t], heights[heights >= t]
        return len(low) * len(high) * (high.mean() - low.mean()) ** 2

    assert between(threshold) == pytest.approx(max(between(t) for t in np.sort(heights)[1:]))
    assert 0.35 < threshold < 0.55


@pytest.mark.parametrize(
    ("heights", "threshold"), [([], 0), ([0.4], 0.4), ([0.4] * 3, 0.4), ([0.75, 0.25], 0.5)]
)
def test_otsu_of_few_heights(heights, threshold):
    assert otsu(np.array(heights)) == threshold


def test_what_is_picked_is_above_the_threshold_and_at_most_so_many(backend):
    heights = (1.0, 0.9, 0.2, 0.15)
    scores = spheres(SHAPE, CENTRES, 5, heights=heights)
    options = {"inside": EVERYWHERE, "backend": backend}
    picks = pick(scores, 8, **options)
    full = height(5, 8)
    np.testing.assert_allclose(picks.candidate_heights, full * np.array(heights), atol=0.01)
    np.testing.assert_allclose(picks.coordinates, CENTRES[:2], atol=0.05)
    assert 0.2 * full < picks.threshold < 0.9 * full
    for threshold, count in ((0.0, 4), (0.17 * full, 3), (0.95 * full, 1), (1, 0)):
        assert pick(scores, 8, threshold=threshold, **options).count == count
    for most in (1, 2, 9):
        picks = pick(scores, 8, threshold=0, max_particles=most, **options)
        assert len(picks.coordinates) == len(picks.heights) == min(most, 4)
        assert len(picks.candidates) == 4


# Grey values.


@pytest.mark.parametrize("sign", [-1, 1])
def test_what_stands_out_is_found_dark_or_bright(backend, sign):
    grey = 1000 + 50 * sign * spheres(SHAPE, CENTRES + 0.5, 4)
    grey += np.random.default_rng(8).normal(0, 5, SHAPE)
    for dark in (None, sign < 0):
        picks = pick_by_contrast(grey.astype(np.float32), 8, dark=dark, backend=backend)
        assert picks.count == 4
        gaps = np.linalg.norm(picks.coordinates[:, None] - (CENTRES + 0.5)[None], axis=2)
        assert sorted(gaps.argmin(axis=1)) == [0, 1, 2, 3]
        assert gaps.min(axis=1).max() <= 0.5
        assert picks.heights[0] == 1
    other = pick_by_contrast(grey.astype(np.float32), 8, dark=sign > 0, backend=backend)
    assert np.linalg.norm(other.candidates[:, None] - CENTRES[None], axis=2).min() > 2


def test_contrast_does_not_depend_on_offset_and_scale_of_integers(backend):
    grey = (1000 * smooth_noise(SHAPE)).astype(np.int16)
    first = pick_by_contrast(grey, 6, backend=backend)
    second = pick_by_contrast(2.0 * grey.astype(np.float64) + 30000, 6, backend=backend)
    assert_same(first, second)


@pytest.mark.parametrize(("function", "reach"), [(pick, 2), (pick_by_contrast, 1)])
def test_at_a_face_height_counts_by_what_of_the_ball_is_inside(backend, function, reach):
    """Two particles alike, one cut in half by the border; values outside do not matter.

    At the place of the half one both means are those of the whole one, so its height is the share
    or more, a little further inside.
    """
    values = spheres(SHAPE, [(13, 20, 9), (13, 20, 33)], 4)
    inside = np.zeros(SHAPE, dtype=bool)
    inside[1:, 1:, 9:] = True
    values[~inside] = 1
    picks = function(values, 8, inside=inside, threshold=0, backend=backend)
    np.testing.assert_allclose(picks.coordinates[0], (13, 20, 33), atol=0.1)
    np.testing.assert_allclose(picks.coordinates[1], (13, 20, 9), atol=1)
    weights, _ = ball_and_shell(4 + reach, (1, 1, 1), 2 * reach)
    share = weights[:, :, weights.shape[2] // 2 :].sum()
    assert share - 0.02 <= picks.heights[1] / picks.heights[0] < 1


# Several sizes.


@pytest.mark.parametrize("function", ["scores", "tomogram", "both"])
def test_balls_of_two_sizes_are_found_each_by_its_own(backend, function):
    shape = (50, 60, 70)
    small = np.array([(12, 12, 12), (12, 30, 56), (38, 48, 12), (36, 12, 58)])
    large = np.array([(18, 40, 30), (34, 24, 38)])
    # As much wider as windows of 5 voxels make scores, and the blur a tomogram.
    wide, grey = (
        spheres(shape, small, 4 + more) + spheres(shape, large, 8 + more) for more in (2, 1)
    )
    scores = 0.9 * wide + 0.05 * smooth_noise(shape)
    grey = 0.05 * smooth_noise(shape, 1) - grey
    options = {"backend": backend, "inside": np.ones(shape, dtype=bool)}
    picks = {
        "scores": lambda: pick(scores, (6, 20), **options),
        "tomogram": lambda: pick_by_contrast(grey, (6, 20), **options),
        "both": lambda: pick_by_both(scores, grey, (6, 20), **options),
    }[function]()
    assert picks.count == 6
    sizes = np.geomspace(6, 20, 7)
    assert set(np.round(picks.candidate_diameters, 9)) <= set(np.round(sizes, 9))
    for centres, diameter in ((small, 8), (large, 16)):
        gaps = np.linalg.norm(picks.coordinates[:, None] - centres[None], axis=2)
        assert gaps.min(axis=0).max() <= 1
        found = picks.diameters[gaps.argmin(axis=0)]
        assert (np.abs(np.log(found / diameter)) <= np.log(sizes[1] / sizes[0])).all()  # a step
    one = pick(scores, 8, **options)
    assert one.diameters is one.candidate_diameters is None


def test_the_height_of_several_sizes_is_the_most_of_each(backend, noise):
    inside = np.ones(noise.shape, dtype=bool)
    options = {"inside": inside, "backend": backend, "threshold": 0}
    picks = pick(noise, [3, 6], **options)
    heights = {
        size: Contrast(backend, noise, inside, size, (1, 1, 1), 2, 0.5)
        for size in np.geomspace(3, 6, 7)
    }
    each = {size: one.at(picks.candidates) for size, one in heights.items()}
    own = [each[size][n] for n, size in enumerate(picks.candidate_diameters)]
    np.testing.assert_allclose(picks.candidate_heights, own, atol=2 * STEP)
    gaps = np.linalg.norm(picks.candidates[:, None] - picks.candidates[None], axis=2)
    least = 0.4 * (picks.diameters[:, None] + picks.diameters[None])
    above = np.triu_indices(len(gaps), 1)
    assert len(above[0]) > 10
    assert (gaps[above] >= least[above] - 1e-9).all()
    everything = pick(noise, 3, spacing=1e-3, **options)
    assert picks.candidate_heights[0] >= everything.candidate_heights[0]


@pytest.mark.parametrize("diameter", [(6, 4), (1, 6), (3, 4, 5), ()])
def test_sizes_that_cannot_be_meant(backend, diameter):
    with pytest.raises(ValueError, match="diameter: must be at least 2 voxels, or two such"):
        pick(np.ones(SHAPE, "float32"), diameter, backend=backend)


def test_spacing_of_each_is_kept_greedily():
    rng = np.random.default_rng(3)
    points, spacing = rng.random((600, 3)) * (10, 30, 30), rng.choice([1.0, 3.0, 5.0], 600)
    kept = []
    for one in range(600):
        gaps = np.linalg.norm(points[kept] - points[one], axis=1)
        if (gaps >= (spacing[kept] + spacing[one]) / 2).all():
            kept.append(one)
    np.testing.assert_array_equal(np.flatnonzero(keep_spaced(points, spacing)), kept)


# Both.


def heights_of(values, offset, scale, inside, diameter, reach, backend):
    return Contrast(backend, values, inside, diameter, (1, 1, 1), reach, offset, scale)


def standard(heights, among):
    """0 at Otsu's threshold, the means of the classes 2 apart."""
    threshold = otsu(among)
    low = np.mean([h for h in among if h < threshold])
    high = np.mean([h for h in among if h >= threshold])
    return (np.asarray(heights) - threshold) / ((high - low) / 2)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("label", [0, 1])
def test_heights_of_both_are_those_of_a_loop(backend, sign, label):
    """One particle is in the scores alone, one in the tomogram alone, and one is gold."""
    noise, other = smooth_noise((40, 50, 60)), smooth_noise((40, 50, 60), 1)
    centres = np.stack(np.meshgrid((10, 29), (10, 25, 40), (10, 24, 38, 50)), axis=-1).reshape(
        -1, 3
    )
    scores = 0.2 * noise + 0.6 * spheres(noise.shape, centres[:-1], 4)
    dense = [1.0] * (len(centres) - 2) + [5.0]
    grey = spheres(noise.shape, centres[1:], 4, heights=dense) + 0.5 * other
    scores = (scores if label else 1 - scores).astype(np.float32)
    grey = 300 + 40 * sign * grey
    inside = np.ones(noise.shape, dtype=bool)
    inside[:2] = inside[:, :, -3:] = False
    options = {"inside": inside, "backend": backend}
    picks = pick_by_both(scores, grey, 8, label=None, threshold=-100, **options)
    assert picks.label == label
    assert picks.dark == (sign < 0)
    apart = {"spacing": 6.4, **options}
    ours = pick(scores, 8, label=label, **apart)
    theirs = pick_by_contrast(grey, 8, dark=sign < 0, **apart)
    of_scores = heights_of(scores, 0.5, 2 * label - 1, inside, 8, 2, backend)
    kept = grey[inside]
    of_grey = heights_of(grey, kept.mean(), sign / kept.std(), inside, 8, 1, backend)
    points = np.concatenate([ours.candidates, theirs.candidates])
    raw = [heights.at(points) for heights in (of_scores, of_grey)]
    among = [raw[0][: len(ours.candidates)], raw[1][len(ours.candidates) :]]
    standardised = [standard(*each) for each in zip(raw, among, strict=True)]
    assert max(each.max() for each in standardised) > 3  # gold
    z = sum(np.clip(each, -3, 3) for each in standardised) / 2
    order = np.argsort(-z, kind="stable")
    merged = [order[0]]
    for one in order[1:]:
        if np.linalg.norm(points[merged] - points[one], axis=1).min() >= 0.4 * 8:
            merged.append(one)
    assert len(merged) < len(order)
    heights = standard(z[merged], z[merged])
    kept = [0]
    for one in range(1, len(merged)):
        if np.linalg.norm(points[merged][kept] - points[merged][one], axis=1).min() >= 0.8 * 8:
            kept.append(one)
    assert len(kept) < len(merged)
    np.testing.assert_allclose(picks.candidate_heights, heights[kept], atol=1e-3)
    gaps = np.linalg.norm(picks.candidates[:, None] - points[merged][kept][None], axis=2)
    assert gaps.min(axis=1).max() <= 0.02
    assert picks.count == len(picks.candidates)
    automatic = pick_by_both(scores, grey, 8, label=label, dark=sign < 0, **options)
    np.testing.assert_array_equal(automatic.candidates, picks.candidates)
    assert automatic.threshold == 0
    assert automatic.count == np.count_nonzero(picks.candidate_heights >= 0)
    gaps = np.linalg.norm(automatic.coordinates[:, None] - centres[None], axis=2)
    assert (gaps.min(axis=0) <= 1).all()


def test_in_both_only_what_is_inside_counts(backend):
    scores = spheres(SHAPE, CENTRES, 4)
    grey = -spheres(SHAPE, CENTRES, 4) + 0.05 * smooth_noise(SHAPE)
    inside = EVERYWHERE.copy()
    inside[:, :, 22:] = False
    picks = pick_by_both(scores, grey, 8, inside=inside, backend=backend)
    assert inside[tuple(np.rint(picks.candidates).astype(int).T)].all()
    np.testing.assert_allclose(sorted(picks.coordinates.tolist()), CENTRES[:2], atol=0.3)


def test_a_source_without_anything_leaves_the_other(backend):
    scores = 0.8 * spheres(SHAPE, CENTRES, 4) + 0.2 * smooth_noise(SHAPE)
    nothing = np.zeros(SHAPE, dtype=np.float32)
    options = {"inside": EVERYWHERE, "backend": backend}
    for pair in ((scores, nothing), (nothing, scores)):
        picks = pick_by_both(*pair, 8, **options)
        assert picks.count == 4
        gaps = np.linalg.norm(picks.coordinates[:, None] - CENTRES[None], axis=2)
        assert gaps.min(axis=0).max() <= 1


def test_the_tomogram_must_be_as_large_as_the_scores(backend):
    scores = np.ones(SHAPE, dtype=np.float32)
    for shape in ((26, 40, 43), (26, 40)):
        with pytest.raises(ValueError, match=r"tomogram: must be \(26, 40, 44\) as scores"):
            pick_by_both(scores, np.ones(shape), 8, backend=backend)
    with pytest.raises(ValueError, match="tomogram: must be finite"):
        pick_by_both(scores, np.full(SHAPE, np.nan), 8, backend=backend)
    with pytest.raises(ValueError, match="threshold: must be 'auto' or -100 to 100"):
        pick_by_both(scores, scores, 8, threshold=101, backend=backend)


# Whether heights fall into two groups.


def test_separation_is_the_share_between_classes():
    heights = np.array([0.1, 0.2, 0.3, 0.8, 1.0])
    low, high = heights[:3], heights[3:]
    total = ((heights - heights.mean()) ** 2).sum()
    within = ((low - low.mean()) ** 2).sum() + ((high - high.mean()) ** 2).sum()
    assert separation(heights, 0.5) == pytest.approx(1 - within / total)
    assert separation(heights, 0.05) is separation(heights, 2.0) is None
    assert separation(np.linspace(0, 1, 10_001), 0.5) == pytest.approx(0.75, abs=1e-3)


@pytest.mark.parametrize("draw", ["normal", "triangular", "laplace", "uniform"])
def test_heights_of_one_hill_have_at_most_three_quarters(draw):
    """Of any that is alike on both sides; up to what is left to chance by 4,000 heights."""
    rng = np.random.default_rng(0)
    arguments = {"triangular": (-1, 0, 1)}.get(draw, ())
    heights = getattr(rng, draw)(*arguments, size=4000)
    assert separation(heights, otsu(heights)) < 0.75 + 0.01


@pytest.mark.parametrize(
    "diameter", [*(pytest.param(small, marks=pytest.mark.slow) for small in (5, 8)), 12]
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_heights_in_noise_are_one_hill_and_of_particles_two(backend, diameter, seed):
    rng = np.random.default_rng(seed)
    shape, radius = (64, 64, 64), diameter / 2
    sides = np.arange(radius + 2, 64 - radius - 2, 2.4 * diameter)
    centres = np.stack(np.meshgrid(sides, sides, sides), axis=-1).reshape(-1, 3)
    balls = spheres(shape, centres, radius)
    noise = [gaussian_filter(rng.standard_normal(shape), 2) for _ in range(2)]
    for density, below in ((0, True), (1.5, False)):
        scores, grey = (density * balls + one / one.std() / 8 for one in noise)
        scores = np.clip(0.3 + 0.2 * scores, 0, 1).astype(np.float32)
        picks = pick_by_both(scores, -grey, diameter, label=None, backend=backend)
        assert (picks.separation < 0.75) == below
        assert below or picks.count == len(centres)


# Nothing to pick, and what cannot be meant.


@pytest.mark.parametrize("inside", [None, EVERYWHERE, ~EVERYWHERE])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_of_nothing_nothing_is_picked(backend, function, inside):
    picks = function(np.zeros(SHAPE, dtype=np.float32), 8, inside=inside, backend=backend)
    assert picks.candidates.shape == picks.coordinates.shape == (0, 3)
    assert picks.count == len(picks.heights) == len(picks.candidate_heights) == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"diameter": 1.9}, "diameter: must be at least 2 voxels"),
        ({"diameter": float("nan")}, "diameter: must be"),
        ({"diameter": 260}, "longest side, 44 .*units"),
        ({"voxel_size": (1, 0, 1)}, "voxel_size: must be"),
        ({"voxel_size": (1, 1)}, "voxel_size: must be"),
        ({"spacing": 0}, "spacing: must be above 0"),
        ({"margin": -1}, "margin: must be 0 or more"),
        ({"threshold": "best"}, "threshold: must be 'auto' or 0 to 1"),
        ({"threshold": 1.1}, "threshold: must be"),
        ({"threshold": float("nan")}, "threshold: must be"),
        ({"max_particles": 0}, "max_particles: must be 1 or more"),
        ({"inside": np.ones(SHAPE)}, "inside: must be bool"),
        ({"inside": EVERYWHERE[1:]}, "inside: must be bool of shape"),
        ({"memory_budget": 1000}, "memory_budget: .* needs 1 MiB"),
        ({"scores": np.full(SHAPE, np.nan, "float32")}, "scores: must be 0 to 1"),
        ({"scores": np.full(SHAPE, 1.5, "float16")}, "scores: must be 0 to 1 .*1.5"),
        ({"scores": np.ones(SHAPE)}, "scores: must be float16 or float32, or integer labels"),
        ({"scores": np.full(SHAPE, 2)}, r"scores: labels must be 1, 0 or -1 .*2 to 2\)"),
        ({"scores": np.full(SHAPE, -2)}, "scores: labels must be"),
        ({"scores": np.ones((4, 4), "float32")}, "must have voxels along z, y and x"),
    ],
)
def test_what_is_out_of_range_is_told_in_a_line(backend, changes, words):
    arguments = {"scores": np.ones(SHAPE, "float32"), "diameter": 8, "backend": backend}
    with pytest.raises(ValueError, match=words) as error:
        pick(**arguments | changes)
    assert "\n" not in str(error.value)


def test_a_tomogram_that_is_not_finite_is_told_in_a_line(backend):
    with pytest.raises(ValueError, match="tomogram: must be finite"):
        pick_by_contrast(np.full(SHAPE, np.nan, "float32"), 8, backend=backend)


def test_particles_are_found_where_scores_are_low_if_these_stand_out():
    scores = np.full((40, 40, 40), 0.9, dtype=np.float32)
    z, y, x = np.indices(scores.shape)
    for centre in ((12, 12, 12), (28, 28, 12), (20, 14, 28)):
        away = np.sqrt(sum((a - c) ** 2 for a, c in zip((z, y, x), centre, strict=True)))
        scores[away <= 5] = 0.1
    inside = np.ones(scores.shape, dtype=bool)
    cpu = select_backend("cpu")
    found = pick(scores, 10.0, label=None, inside=inside, backend=cpu)
    told = pick(scores, 10.0, label=0, inside=inside, backend=cpu)
    inverted = pick(1 - scores, 10.0, inside=inside, backend=cpu)
    assert (found.label, told.label, inverted.label) == (0, 0, 1)
    np.testing.assert_array_equal(found.coordinates, told.coordinates)
    np.testing.assert_allclose(found.coordinates, inverted.coordinates, atol=0.02)
    assert found.count == 3
    assert pick(1 - scores, 10.0, label=None, inside=inside, backend=cpu).label == 1
