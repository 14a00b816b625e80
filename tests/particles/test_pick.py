"""Picks of made-up scores, whose particles are known, against oracles by loops."""

import tracemalloc

import numpy as np
import pytest

from picket_gpu.device.backend import MIB
from picket_gpu.device.select import select_backend
from picket_gpu.particles.ball import ball, shell
from picket_gpu.particles.by_contrast import pick_by_contrast
from picket_gpu.particles.by_score import pick
from picket_gpu.particles.maxima import STEP, find_runs, join, keep_spaced, merge_plateaus
from picket_gpu.particles.means import local_means
from picket_gpu.particles.threshold import otsu

SHAPE = (26, 40, 44)
EVERYWHERE = np.ones(SHAPE, dtype=bool)


def spheres(shape, centres, radius, voxel_size=(1, 1, 1), heights=None):
    """Scores of spheres whose edge voxels have their share of the sphere, by 5^3 points each."""
    scores = np.zeros(shape, dtype=np.float32)
    for number, centre in enumerate(centres):
        share = np.zeros(shape)
        for offset in np.ndindex(5, 5, 5):
            axes = [
                (np.arange(n) + (o - 2) / 5 - c) * size
                for n, o, c, size in zip(shape, offset, centre, voxel_size, strict=True)
            ]
            z, y, x = np.meshgrid(*axes, indexing="ij")
            share += (z**2 + y**2 + x**2 < radius**2) / 125
        scores += np.float32(1 if heights is None else heights[number]) * share
    return scores


def smooth_noise(shape, seed=0):
    """Scores with maxima of all heights."""
    noise = np.random.default_rng(seed).random(shape)
    for axis in range(3):
        noise = (np.roll(noise, 1, axis) + noise + np.roll(noise, -1, axis)) / 3
    noise -= noise.min()
    return (noise / noise.max()).astype(np.float32)


def assert_same(ours, others):
    """Two picks alike but for the order of sums, which moves a map by a STEP here and there, and
    the top of a flat parabola by some hundredths of a voxel."""
    assert ours.count == others.count
    np.testing.assert_allclose(ours.candidate_heights, others.candidate_heights, atol=2 * STEP)
    assert ours.candidates.shape == others.candidates.shape
    # Those of one height may come in another order.
    gaps = np.linalg.norm(ours.candidates[:, None] - others.candidates[None], axis=2)
    assert gaps.min(axis=1).max() <= 0.02


# The mean.


def by_loop(values, inside, radius, voxel_size, at, edge):
    """Mean over the ball around one voxel, by the definition of its edge."""
    total = weight = 0.0
    for place in np.ndindex(values.shape):
        steps = np.subtract(place, at)
        in_voxels = np.sqrt(np.sum(steps**2.0))
        distance = np.sqrt(np.sum((steps * np.array(voxel_size)) ** 2))
        voxel = distance / in_voxels if in_voxels else 1.0  # what a step of the grid takes
        share = min(max((radius - distance) / voxel / edge + 0.5, 0), 1) if in_voxels else 1.0
        weight += share * inside[place]
        total += share * inside[place] * float(values[place])
    return total / weight


@pytest.mark.parametrize(
    ("radius", "voxel_size", "edge"),
    [
        (1, (1, 1, 1), 1),
        (3.3, (1, 1, 1), 1),
        (30, (25.0, 10.0, 8.0), 1),
        (30, (25.0, 10.0, 8.0), 4),
    ],
)
def test_means_over_a_ball_are_those_of_a_loop(backend, noise, radius, voxel_size, edge):
    inside = np.random.default_rng(2).random(noise.shape) < 0.8
    (slab,) = local_means(backend, noise, inside, [ball(radius, voxel_size, edge)])
    for at in [(0, 0, 0), (6, 7, 7), (12, 13, 14), (12, 0, 3), (5, 13, 1)]:
        expected = by_loop(noise, inside, radius, voxel_size, at, edge)
        assert slab.means[0][at] == pytest.approx(expected, abs=1e-6)


def test_a_shell_is_what_the_larger_ball_has_beyond_the_smaller():
    weights = shell(5, 8, (1, 1, 1))
    assert weights.sum() == pytest.approx(1)
    assert weights.shape == (17, 17, 17)
    middle = weights[8, 8]
    assert (middle[8 - 4 : 8 + 5] == 0).all()
    assert middle[3] == middle[13] == pytest.approx(middle[2] / 2)
    assert (middle[[1, 2, 14, 15]] == middle[2]).all()
    assert middle[0] == middle[16] == pytest.approx(middle[2] / 2)


@pytest.mark.parametrize("kernels", [1, 2])
def test_means_keep_to_their_memory(backend, kernels):
    values = smooth_noise((60, 70, 80))
    weights = [ball(6, (1, 1, 1)), shell(6, 9.6, (1, 1, 1))][:kernels]
    with pytest.raises(
        ValueError, match=r"^memory_budget: .* needs \d+ MiB \(got 0.5 MiB\)$"
    ) as error:
        list(local_means(backend, values, None, weights, MIB // 2))
    least = int(str(error.value).split("needs ")[1].split()[0])
    parts = []
    for budget in (least * MIB, 2 * least * MIB, 1024 * MIB):
        tracemalloc.start()
        parts.append(
            len([slab.last for slab in local_means(backend, values, None, weights, budget)])
        )
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak <= budget
    assert parts[0] > parts[1] > parts[2] == 1


# Positions.


def height(radius, told, reach=2, voxel_size=(1, 1, 1)):
    """Of a sphere of ones in zeros: what it has of the ball's weights less what of the shell's."""
    ball_radius = told / 2 + reach * np.prod(voxel_size) ** (1 / 3)
    parts = []
    for weights in (
        ball(ball_radius, voxel_size, 2 * reach),
        shell(ball_radius, 1.6 * ball_radius, voxel_size, 2 * reach),
    ):
        middle = np.array(weights.shape) // 2
        parts.append((weights * spheres(weights.shape, [middle], radius, voxel_size)).sum())
    return parts[0] - parts[1]


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


def tops(backend, scores, radius, memory_budget=None):
    """Points and heights where the mean over a ball is highest."""
    slabs = local_means(backend, scores, None, [ball(radius, (1, 1, 1))], memory_budget)
    runs = join(find_runs(backend, slab.means[0], slab) for slab in slabs)
    return merge_plateaus(runs, scores.shape)


@pytest.mark.parametrize(
    ("size", "middle"), [((9, 11, 13), (11, 20, 22)), ((8, 11, 12), (11.5, 20, 22.5))]
)
def test_a_plateau_is_one_point_in_its_middle(backend, size, middle):
    scores = np.zeros(SHAPE, dtype=np.float32)
    first = np.ceil(np.subtract(middle, np.array(size) / 2)).astype(int)
    scores[tuple(slice(f, f + n) for f, n in zip(first, size, strict=True))] = 1
    points, heights = tops(backend, scores, 2)
    assert heights == [1]
    assert np.abs(points - middle).max() <= 0.5


def test_the_middle_of_a_plateau_that_is_a_ring_is_on_it(backend):
    z, y, x = np.indices(SHAPE)
    scores = ((np.hypot(y - 20, x - 22) - 12) ** 2 + (z - 13) ** 2 <= 16).astype(np.float32)
    points, heights = tops(backend, scores, 2)
    (found,) = points[heights == 1]
    assert np.hypot(*(found[1:] - (20, 22))) == pytest.approx(12, abs=2)


def test_plateaus_go_through_slabs(backend):
    scores = blocks((14, 15, 60))
    points, heights = tops(backend, scores, 1.5)
    assert np.count_nonzero(heights == 1) > 20
    with pytest.raises(ValueError, match="needs"):
        tops(backend, scores, 1.5, 1)
    for memory in (4 * MIB, 6 * MIB):
        ours, ours_heights = tops(backend, scores, 1.5, memory)
        np.testing.assert_allclose(ours, points, atol=0.02)
        np.testing.assert_allclose(ours_heights, heights, atol=2 * STEP)


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
    kernels = [ball(3.5, (1, 1, 1), 4), shell(3.5, 1.6 * 3.5, (1, 1, 1), 4)]
    (slab,) = local_means(backend, noise, inside, kernels)
    heights = (slab.means[0] - slab.means[1]) * slab.shares[0]
    heights = np.where(inside, np.rint(heights / STEP) * STEP, -1)
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


# Slabs, device.


def blocks(shape):
    """Labels as scores: large plateaus, and none."""
    labels = smooth_noise(shape, 5) > 0.5
    return np.repeat(np.repeat(labels, 3, 0), 3, 1).astype(np.float16)


CASES = {
    "noise": (smooth_noise((40, 50, 60)), {"diameter": 6}),
    "large": (smooth_noise((40, 50, 60)), {"diameter": 30}),
    "thick": (smooth_noise((40, 50, 60)), {"diameter": 12, "voxel_size": (3.0, 1.0, 1.5)}),
}
FUNCTIONS = [pick, pick_by_contrast]


def least_memory(function, *args, **options):
    with pytest.raises(ValueError, match=r"^memory_budget: .* needs \d+ MiB") as error:
        function(*args, **options, memory_budget=1)
    return int(str(error.value).split("needs ")[1].split()[0]) * MIB


RUNS = [(function, case) for function in FUNCTIONS for case in CASES]


@pytest.mark.parametrize(("function", "case"), RUNS)
@pytest.mark.parametrize("holes", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_slabs_give_what_the_whole_gives(backend, function, case, holes):
    scores, options = CASES[case]
    inside = np.random.default_rng(7).random(scores.shape) > 0.02 if holes else None
    options = {**options, "inside": inside, "backend": backend}
    whole = function(scores, **options)
    least = least_memory(function, scores, **options)
    assert len(whole.candidates) > 1
    for memory in (least, 3 * least // 2):
        assert_same(function(scores, **options, memory_budget=memory), whole)


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
        assert_same(ours, host)
    ours = function(device.upload(scores), **options, inside=device.upload(inside), backend=device)
    assert_same(ours, host)


@pytest.mark.gpu
@pytest.mark.parametrize(("function", "case"), RUNS)
def test_a_gpu_picks_the_same_within_its_memory(backend, function, case):
    scores, options = CASES[case]
    gpu = select_backend("gpu", "native")
    for memory in (least_memory(function, scores, **options, backend=gpu), None):
        ours = function(scores, **options, backend=gpu, memory_budget=memory)
        assert_same(ours, function(scores, **options, backend=backend))
        assert memory is None or gpu.peak_bytes() <= memory


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
    weights = ball(4 + reach, (1, 1, 1), 2 * reach)
    share = weights[:, :, weights.shape[2] // 2 :].sum()
    assert share - 0.02 <= picks.heights[1] / picks.heights[0] < 1


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
        ({"scores": np.ones(SHAPE, dtype=np.int8)}, "scores: must be float16 or float32"),
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
