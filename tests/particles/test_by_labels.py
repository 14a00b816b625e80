"""Components and watershed with settings in angstrom."""

from math import pi

import numpy as np
import pytest
from pydantic import ValidationError

from picket_gpu.particles.by_labels import find_by_labels, min_distance
from picket_gpu.particles.candidates import choose
from picket_gpu.particles.settings import ParticleSettings
from tests.support.golden_s2 import assert_same, golden

CUBE = (10.0, 10.0, 10.0)


def pick_by_labels(labels, settings, voxel_size):
    found = find_by_labels(labels, settings, voxel_size)
    return choose(found, settings.threshold, settings.max_height, settings.max_particles)


def settings(**changes) -> ParticleSettings:
    return ParticleSettings(**{"diameter": 140.0, "method": "components"} | changes)


@pytest.fixture
def boxes():
    """Of 1, 8, 27 and 64 voxels, int8."""
    labels = np.zeros((8, 8, 32), dtype=np.int8)
    for side in (1, 2, 3, 4):
        labels[1 : 1 + side, 1 : 1 + side, 6 * side : 7 * side] = 1
    return labels


def test_components_are_those_of_picket():
    expected = golden("phantom_a", "cc_label0")
    assert_same(pick_by_labels(expected.labels, settings(label=0), CUBE), expected)


@pytest.mark.parametrize("case", ["ws3_label1", "ws5_label1", "ws5_label0"])
def test_a_watershed_with_a_margin_of_its_distance_is_that_of_picket(case):
    pytest.importorskip("skimage")
    expected = golden("phantom_a", case)
    length = 13.48 * expected.min_distance
    told = settings(
        method="watershed", label=expected.label, min_distance=length, margin=length, diameter=900
    )
    assert_same(pick_by_labels(expected.labels, told, (13.48,) * 3), expected)


def test_a_distance_is_half_a_diameter_unless_told_and_a_voxel_at_least():
    assert min_distance(settings(method="watershed"), CUBE) == 7
    assert min_distance(settings(method="watershed", min_distance=1.0), CUBE) == 1
    assert min_distance(settings(method="watershed", min_distance=40.0), (20.0, 10.0, 5.0)) == 4


@pytest.mark.parametrize("voxel_size", [CUBE, (20.0, 10.0, 5.0)])
def test_a_least_size_is_that_of_a_sphere_of_as_many_voxels(boxes, voxel_size):
    def diameter(voxels: float) -> float:
        return float((6 / pi * voxels * 1000) ** (1 / 3))

    for least, count in ((0.5, 4), (1, 4), (8, 3), (26.5, 2), (27, 2), (27.5, 1), (64, 1), (65, 0)):
        picks = pick_by_labels(boxes, settings(least_size=diameter(least)), voxel_size)
        assert picks.count == count
        assert len(picks.candidates) == 4


def test_a_threshold_is_the_least_share_of_the_largest(boxes):
    assert pick_by_labels(boxes, settings(), CUBE).count == 4  # no Otsu
    picks = pick_by_labels(boxes, settings(threshold=0.2), CUBE)
    assert (picks.count, picks.threshold) == (2, 0.2)
    assert pick_by_labels(boxes, settings(threshold=0.0), CUBE).count == 4
    assert pick_by_labels(boxes, settings(max_particles=3), CUBE).count == 3


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"source": "tomogram"}, "method: components needs labels"),
        ({"spacing": 50.0}, "spacing: has no effect with method components"),
        ({"margin": 50.0}, "margin: has no effect with method components"),
        ({"min_distance": 50.0}, "min_distance: has no effect with method components"),
        ({"method": "ball", "min_distance": 50.0}, "min_distance: has no effect with method ball"),
        ({"method": "ball", "least_size": 50.0}, "least_size: has no effect with method ball"),
    ],
)
def test_keys_of_another_method_are_refused(changes, says):
    with pytest.raises(ValidationError, match=says):
        settings(**changes)


def test_keys_that_are_as_by_default_are_not():
    told = settings()
    assert ParticleSettings.model_validate(told.model_dump()) == told
