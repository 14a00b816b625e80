"""Pairs of picks and annotations, and precision, recall and F1 of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from picket_gpu.particles.evaluation import Agreement, Curve, between, match

NONE = np.empty((0, 3))


def most_pairs(picks, true, distance):
    near = csr_array(cdist(picks, true) <= distance)
    return int((maximum_bipartite_matching(near, perm_type="column") >= 0).sum())


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40), st.floats(0.1, 4))
@settings(deadline=None, max_examples=150)
def test_pairs_are_as_many_as_there_can_be_among_the_first_picks_too(seed, n, m, reach):
    rng = np.random.default_rng(seed)
    picks, true = rng.random((n, 2)) * 6, rng.random((m, 2)) * 6
    distance = reach * rng.uniform(0.3, 1, m)  # of each true point its own
    partner = match(picks, true, distance)
    paired = np.flatnonzero(partner >= 0)
    assert len(set(partner[paired])) == len(paired)
    assert (cdist(picks, true)[paired, partner[paired]] <= distance[partner[paired]]).all()
    hits = np.cumsum(partner >= 0)
    for number in range(1, n + 1):
        assert hits[number - 1] == most_pairs(picks[:number], true, distance)


def test_pairs_are_not_those_of_the_nearest_first():
    # The nearest pair, 0 and -0.4, would leave the other two without a partner.
    picks, true = np.array([[0.0], [-1]]), np.array([[-0.4], [0.9]])
    assert match(picks, true, 1).tolist() == [1, 0]
    assert linear_sum_assignment(cdist(picks, true))[0].tolist() == [0, 1]


def test_a_pick_gets_the_nearest_that_is_free():
    assert match(np.array([[0.0, 0, 0]]), np.array([[2.0, 0, 0], [0, 1, 0]]), 3).tolist() == [1]


def test_two_picks_cannot_find_one_particle():
    picks = np.array([[0.0, 0, 1], [0, 0, -1], [9, 9, 9]])
    assert match(picks, np.zeros((1, 3)), 2).tolist() == [0, -1, -1]
    assert match(picks[2:], np.zeros((1, 3)), 2).tolist() == [-1]
    assert match(NONE, picks, 2).tolist() == []
    assert match(picks, NONE, 2).tolist() == [-1] * 3


def test_as_many_are_found_as_in_the_challenge_where_particles_are_apart():
    """The CryoET challenge counts true points that have a pick within the distance."""
    rng = np.random.default_rng(2)
    grid = np.argwhere(np.ones((5, 5, 5))) * 10.0
    picks = np.concatenate([grid + rng.normal(0, 2.5, grid.shape), rng.random((60, 3)) * 50])
    reach = 4.9  # less than half of what they are apart
    counted = sum(len(near) > 0 for near in cKDTree(picks).query_ball_point(grid, reach))
    agreement = Agreement.of(picks, grid, reach)
    assert agreement == Agreement(185, 125, counted)
    assert 60 < counted < 125


def test_long_chains_and_dense_lists():
    line = np.arange(3000.0)[:, None]
    # For the last pick to get a point, each of the others has to take its second.
    assert match(line + 0.6, line, 0.7).tolist() == list(range(3000))
    dense = np.random.default_rng(0).random((2000, 3))
    assert (match(dense, dense[:300], 9) >= 0).sum() == 300


def test_precision_recall_and_f():
    half = Agreement(picks=4, truth=8, found=2)
    assert (half.precision, half.recall) == (0.5, 0.25)
    assert half.f1 == pytest.approx(2 * 0.5 * 0.25 / 0.75)
    assert half.f(4) == pytest.approx(17 * 0.5 * 0.25 / (16 * 0.5 + 0.25))
    assert half + Agreement(1, 1, 1) == Agreement(5, 9, 3)
    none = Agreement()
    assert none.precision == none.recall == none.f1 == none.f(4) == 0
    assert Agreement(0, 3, 0).f1 == Agreement(3, 0, 0).f(4) == 0


def test_a_curve_is_what_thresholds_give():
    rng = np.random.default_rng(1)
    picks, true = rng.random((60, 3)) * 9, rng.random((30, 3)) * 9
    heights = np.sort(rng.integers(0, 25, 60) / 8)[::-1]  # some are alike
    curve = Curve.of(heights, match(picks, true, 1.5) >= 0, 30)
    tried = np.linspace(-1, 4, 301)
    each = [Agreement.of(picks[heights >= threshold], true, 1.5) for threshold in tried]
    assert [curve.at(threshold) for threshold in tried] == each
    for beta in (1, 4):
        threshold, best = curve.best(beta)
        assert best == Agreement.of(picks[heights >= threshold], true, 1.5)
        assert best.f(beta) == max(one.f(beta) for one in each)


def test_a_curve_of_several_tomograms_is_their_sum():
    first, second = np.array([0.9, 0.5, 0.1]), np.array([0.7, 0.2])
    both = Curve.of(
        np.concatenate([first, second]), np.array([True, False, True, True, False]), 3 + 1
    )
    assert both.at(0.6) == Agreement(2, 4, 2)
    assert both.best() == (0.6, Agreement(2, 4, 2))
    assert both.at(1) == Agreement(0, 4, 0)
    assert Curve.of(np.empty(0), np.empty(0, bool), 4).best() is None
    assert Curve.of(np.empty(0), np.empty(0, bool), 4).at(0) == Agreement(0, 4, 0)


@pytest.mark.parametrize(
    ("least", "most", "number"),
    [(0.3, 0.5, 0.4), (-0.2, 0.9, 0), (0.1234, 0.1239, 0.1236), (-np.inf, 0.25, 0.24), (1, 2, 2)],
)
def test_thresholds_have_few_digits(least, most, number):
    assert between(least, most) == number
    assert least < between(least, most) <= most


def test_thresholds_tell_heights_apart_that_are_nearly_alike():
    most = np.nextafter(0.3, 1)
    assert 0.3 < between(0.3, most) <= most
