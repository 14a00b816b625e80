"""Picks of made-up scores, whose particles are known, against oracles by loops."""

import tracemalloc
import warnings

import numpy as np
import pytest

from picket_gpu.device.backend import MIB
from picket_gpu.particles.ball import ball, shell
from picket_gpu.particles.maxima import STEP, keep_spaced
from picket_gpu.particles.means import local_means
from picket_gpu.particles.pick import pick
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


def assert_same(ours, others, tolerance=1e-3):
    """Two picks alike: floats of two orders of sums, on a map rounded to STEP."""
    assert ours.count == others.count
    np.testing.assert_allclose(ours.candidate_heights, others.candidate_heights, atol=2 * STEP)
    assert ours.candidates.shape == others.candidates.shape
    # Those of one height may come in another order.
    gaps = np.linalg.norm(ours.candidates[:, None] - others.candidates[None], axis=2)
    assert gaps.min(axis=1).max() <= tolerance


# The mean.


def by_loop(values, inside, radius, voxel_size, at):
    """Mean over the ball around one voxel, by the definition of its edge."""
    total = weight = 0.0
    for place in np.ndindex(values.shape):
        steps = np.subtract(place, at)
        in_voxels = np.sqrt(np.sum(steps**2.0))
        distance = np.sqrt(np.sum((steps * np.array(voxel_size)) ** 2))
        voxel = distance / in_voxels if in_voxels else 1.0  # what a step of the grid takes
        share = min(max((radius - distance) / voxel + 0.5, 0), 1) if in_voxels else 1.0
        weight += share * inside[place]
        total += share * inside[place] * float(values[place])
    return total / weight


@pytest.mark.parametrize(
    ("radius", "voxel_size"), [(1, (1, 1, 1)), (3.3, (1, 1, 1)), (30, (25.0, 10.0, 8.0))]
)
def test_means_over_a_ball_are_those_of_a_loop(backend, noise, radius, voxel_size):
    inside = np.random.default_rng(2).random(noise.shape) < 0.8
    (slab,) = local_means(backend, noise, inside, [ball(radius, voxel_size)])
    for at in [(0, 0, 0), (6, 7, 7), (12, 13, 14), (12, 0, 3), (5, 13, 1)]:
        expected = by_loop(noise, inside, radius, voxel_size, at)
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
        ValueError, match=r"^memory_bytes: .* needs \d+ MiB \(got 2 MiB\)$"
    ) as error:
        list(local_means(backend, values, None, weights, 2 * MIB))
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


def overlap(shift, told, radius=5):
    """Bounds of the height of a sphere, sought ``told`` times as large, off the grid by ``shift``.

    Two soft edges lose 1/6 voxel of the surface, what is beside the grid's point at most a lens.
    """
    if told != 1:
        return (min(told**-3, 1),) * 2
    soft, lens = 1 / (2 * radius), 0.75 * np.linalg.norm(np.remainder(shift, 1)) / radius
    return 1 - soft - lens, 1 - soft


CENTRES = np.array([(8, 10, 12), (16, 28, 14), (9, 26, 31), (17, 12, 33)])


@pytest.mark.parametrize("shift", [(0, 0, 0), (1, -2, 3), (0.5, 0, 0), (0.5, -0.5, 0.5)])
@pytest.mark.parametrize("told", [0.8, 1.0, 1.25])
def test_spheres_are_found_where_they_are_between_voxels_too(backend, shift, told):
    centres = CENTRES + shift
    scores = spheres(SHAPE, centres, 5)
    picks = pick(scores, told * 10, threshold=0.3, inside=EVERYWHERE, backend=backend)
    assert picks.count == len(centres)
    gaps = np.linalg.norm(picks.coordinates[:, None] - centres[None], axis=2)
    assert sorted(gaps.argmin(axis=1)) == [0, 1, 2, 3]
    assert gaps.min(axis=1).max() <= 0.1  # voxels; whole and half ones are exact by symmetry
    least, most = overlap(shift, told)
    assert least - 0.03 <= picks.heights.min() <= picks.heights.max() <= most + 0.03


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
    assert picks.candidate_heights.min() > 0.8  # of balls, edges aside
