"""Components of a label as particles: PickET's picks, limits, sizes and order."""

import itertools

import numpy as np
import pytest

from picket_gpu.particles.by_labels import components
from tests.support.golden_s2 import assert_same, cases, golden

STEPS = [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]


def by_brute_force(mask):
    """Sets of voxels that are joined through faces, in the order of their first voxels."""
    left = {tuple(place) for place in np.argwhere(mask).tolist()}
    found = []
    for start in sorted(left):
        if start not in left:
            continue
        left.remove(start)
        component, edge = {start}, [start]
        while edge:
            place = edge.pop()
            near = {tuple(np.add(place, step).tolist()) for step in STEPS} & left
            left -= near
            component |= near
            edge += near
        found.append(component)
    return found


@pytest.mark.parametrize(("volume", "case"), cases("cc"))
def test_picks_are_those_of_picket(volume, case):
    expected = golden(volume, case)
    assert_same(components(expected.labels, expected.label, **expected.limits), expected)


@pytest.mark.parametrize("share", [0.02, 0.2, 0.4])
def test_components_centroids_and_order_as_by_brute_force(share):
    labels = (np.random.default_rng(4).random((9, 10, 11)) < share).astype(np.int8)
    found = sorted(by_brute_force(labels), key=len, reverse=True)  # keeps the order of ties
    picks = components(labels)
    np.testing.assert_allclose(
        picks.coordinates, [np.mean([*voxels], axis=0) for voxels in found], rtol=1e-14
    )
    np.testing.assert_allclose(picks.heights, [len(v) / len(found[0]) for v in found], rtol=1e-14)


def test_voxels_that_share_an_edge_or_a_corner_are_apart():
    labels = np.zeros((4, 4, 4), dtype=np.int8)
    labels[0, 0, 0] = labels[0, 1, 1] = labels[1, 2, 2] = 1
    np.testing.assert_array_equal(components(labels).coordinates, [[0, 0, 0], [0, 1, 1], [1, 2, 2]])


@pytest.mark.parametrize("kind", [np.int8, np.int64, np.uint8, np.float16])
@pytest.mark.parametrize("label", [0, 1, 3])
def test_any_label_of_any_type(kind, label):
    labels = np.full((3, 4, 5), 9, dtype=kind)
    labels[1, 2:, 3] = label
    np.testing.assert_array_equal(components(labels, label).coordinates, [[1, 2.5, 3]])


def test_what_is_too_small_stays_a_candidate_below_the_threshold():
    labels = np.zeros((3, 3, 20), dtype=np.int8)
    for start, size in ((0, 2), (4, 3), (8, 8), (17, 3)):
        labels[1, 1, start : start + size] = 1
    picks = components(labels, least_voxels=3)
    assert picks.coordinates[:, 2].tolist() == [11.5, 5, 18]
    assert picks.candidate_heights.tolist() == [1, 3 / 8, 3 / 8, 2 / 8]
    assert picks.threshold == 3 / 8
    assert components(labels, least_voxels=9).count == 0
    assert components(labels, least_voxels=9).threshold > 1


def test_limits_cut_and_coordinates_stay_those_of_the_volume():
    labels = np.ones((10, 3, 3), dtype=np.int8)
    for lower, upper in itertools.combinations(range(11), 2):
        picks = components(labels, lower=lower, upper=upper)
        assert picks.coordinates.tolist() == [[(lower + upper - 1) / 2, 1, 1]]
    assert components(labels, lower=4, upper=99).coordinates[0, 0] == 6.5


@pytest.mark.parametrize(("lower", "upper"), [(3, 3), (4, 2), (10, None), (-1, None), (0, 0)])
def test_limits_that_leave_nothing_are_refused(lower, upper):
    with pytest.raises(ValueError, match="lie outside the volume of 10; change the limits"):
        components(np.ones((10, 3, 3)), lower=lower, upper=upper)


def test_a_label_that_is_nowhere_gives_no_picks():
    picks = components(np.zeros((4, 4, 4), dtype=np.int8))
    assert picks.count == 0
    assert picks.coordinates.shape == (0, 3)
    assert picks.heights.shape == (0,)
