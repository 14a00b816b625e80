"""Particles by watershed: PickET's picks, markers by brute force, faces, limits, plateaus."""

import sys

import numpy as np
import pytest
from scipy import ndimage

pytest.importorskip("skimage")

from picket_gpu.errors import PicketError
from picket_gpu.particles.by_labels import watershed
from tests.support.golden_s2 import assert_same, cases, golden


def balls(shape, *centres, radius):
    grid = np.indices(shape)
    inside = [((grid - np.reshape(c, (3, 1, 1, 1))) ** 2).sum(0) <= radius**2 for c in centres]
    return np.any(inside, axis=0).astype(np.int8)


def markers_by_brute_force(mask, distance, border):
    """Voxels that become markers, deepest first, by distances to all others."""
    outside = np.argwhere(~mask)
    depth = {
        tuple(place): ((outside - place) ** 2).sum(1).min() for place in np.argwhere(mask).tolist()
    }
    order = sorted(depth, key=lambda place: (-depth[place], place))
    deepest = [
        place
        for place in order
        if all(
            depth[place] >= depth[other]
            for other in order
            if np.abs(np.subtract(place, other)).max() <= distance
        )
        and min(place) >= border
        and (np.add(place, border) < mask.shape).all()
    ]
    kept = []
    for place in deepest:
        if all(np.abs(np.subtract(place, other)).max() >= distance for other in kept):
            kept.append(place)
    return kept


@pytest.mark.parametrize(("volume", "case"), cases("ws"))
def test_picks_are_those_of_picket(volume, case):
    expected = golden(volume, case)
    m = expected.min_distance
    picks = watershed(expected.labels, expected.label, min_distance=m, border=m, **expected.limits)
    assert_same(picks, expected)


@pytest.mark.parametrize("border", [0, 1, 3])
@pytest.mark.parametrize("distance", [1, 2, 4])
@pytest.mark.parametrize("limits", [(0, 11), (0, 7), (3, 11), (3, 8)])
def test_markers_are_those_of_brute_force_and_take_all_they_reach(distance, border, limits):
    rng = np.random.default_rng(distance)
    boxes = ndimage.maximum_filter(rng.random((11, 12, 13)), 3) > 0.985  # with plateaus
    within = boxes.copy()
    within[: limits[0]] = within[limits[1] :] = False
    marked = np.zeros_like(within)
    for place in markers_by_brute_force(within, distance, border):
        marked[place] = True
    _, count = ndimage.label(marked)
    numbered, _ = ndimage.label(within)
    reached = np.isin(numbered, numbered[marked])
    picks = watershed(
        boxes.astype(np.int8),
        min_distance=distance,
        border=border,
        lower=limits[0],
        upper=limits[1],
    )
    assert picks.count == count > 0
    sizes = picks.heights / picks.threshold  # the least is 1 voxel
    np.testing.assert_allclose(sizes, np.rint(sizes), rtol=1e-12)
    assert sizes.sum() == pytest.approx(reached.sum())
    np.testing.assert_allclose(sizes @ picks.coordinates, np.argwhere(reached).sum(0))


def test_touching_balls_are_split_at_the_waist():
    centres = [(10, 10, 8), (10, 10, 18)]
    labels = balls((21, 21, 27), *centres, radius=6)
    assert ndimage.label(labels)[1] == 1
    picks = watershed(labels, min_distance=4)
    found = picks.coordinates[np.argsort(picks.coordinates[:, 2])]
    # What lies beyond the plane between them, on the other ball, moves a centroid away from it.
    np.testing.assert_allclose(found, [(10, 10, 7.8), (10, 10, 18.2)], atol=0.3)
    assert watershed(labels, min_distance=12).count == 1


def test_a_face_is_no_end_of_the_label_and_the_border_drops_markers_there():
    half = balls((20, 20, 20), (0, 10, 10), radius=6)
    (z, y, x) = watershed(half, min_distance=3).coordinates[0]
    assert (y, x) == (10, 10)
    assert z == pytest.approx(3 / 8 * 6, abs=0.3)  # centroid of half a ball
    assert watershed(half, min_distance=3, border=1).count == 0


def test_a_limit_is_an_end_of_the_label():
    ball = balls((21, 21, 21), (10, 10, 10), radius=6)
    # Cut at its centre, the deepest point is no longer there: on a limit's slice depth is 1.
    cut = watershed(ball, min_distance=3, lower=10)
    shifted = watershed(ball[9:] * (np.arange(12) > 0)[:, None, None], min_distance=3)
    np.testing.assert_allclose(cut.coordinates, shifted.coordinates + np.array([9, 0, 0]))


def test_borders_are_counted_from_faces_of_the_volume_not_from_limits():
    ball = balls((30, 21, 21), (10, 10, 10), radius=4)
    assert watershed(ball, min_distance=3, border=5, lower=6, upper=15).count == 1
    assert watershed(ball, min_distance=3, border=11).count == 0
    assert watershed(ball, min_distance=40, border=10).count == 1  # 21 - 10 is the last
    assert watershed(ball, min_distance=3, border=40).count == 0


def test_parts_that_are_too_small_stay_candidates():
    labels = balls((15, 15, 30), (7, 7, 7), radius=5) | balls((15, 15, 30), (7, 7, 22), radius=3)
    picks = watershed(labels, min_distance=3, least_voxels=200)
    assert picks.coordinates.tolist() == [[7, 7, 7]]
    assert picks.candidates.tolist() == [[7, 7, 7], [7, 7, 22]]
    assert picks.candidate_heights[1] < picks.threshold < 1


@pytest.mark.parametrize("value", [0, 1])
def test_a_label_that_is_nowhere_or_everywhere_gives_no_picks(value):
    picks = watershed(np.full((6, 7, 8), value, dtype=np.int8), min_distance=2)
    assert picks.count == 0
    assert picks.coordinates.shape == (0, 3)


def test_labels_are_left_as_they_are():
    labels = balls((12, 12, 12), (5, 5, 5), radius=4)
    before = labels.copy()
    watershed(labels, min_distance=2, lower=3, upper=8)
    np.testing.assert_array_equal(labels, before)


def test_a_distance_below_1_is_refused():
    with pytest.raises(ValueError, match="min_distance must be 1 or more"):
        watershed(np.zeros((4, 4, 4)), min_distance=0)


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    with pytest.raises(PicketError, match=r"scikit-image; pip install -e '\.\[watershed\]'"):
        watershed(np.zeros((4, 4, 4)), min_distance=1)
