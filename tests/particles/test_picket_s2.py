"""The modes of PickET's parameter file pick what PickET picks."""

import pytest

from picket_gpu.particles.picket_s2 import ConnectedComponents, Watershed
from tests.support.golden_s2 import assert_same, cases, golden


@pytest.mark.parametrize("case", [case for volume, case in cases("cc") if volume == "phantom_a"])
def test_components(case):
    expected = golden("phantom_a", case)
    picks = ConnectedComponents().pick(expected.labels, expected.label, **expected.limits)
    assert_same(picks, expected)


@pytest.mark.parametrize("case", [case for volume, case in cases("ws") if volume == "phantom_a"])
def test_watershed_with_its_border(case):
    pytest.importorskip("skimage")
    expected = golden("phantom_a", case)
    mode = Watershed(min_distance=expected.min_distance)
    assert_same(mode.pick(expected.labels, expected.label, **expected.limits), expected)


@pytest.mark.parametrize("distance", [16, 10**18])
def test_a_volume_thinner_than_the_borders_has_no_picks(distance):
    pytest.importorskip("skimage")
    labels = golden("phantom_a", "ws5_label1").labels
    assert Watershed(min_distance=distance).pick(labels, 1).count == 0
