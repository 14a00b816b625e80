"""The metrics of the quality table mean what they say, and the table is printed."""

import json

import numpy as np
import pytest
from scipy import ndimage

from benchmarks.quality.__main__ import main
from benchmarks.quality.data import (
    DataSet,
    Targets,
    from_recipe,
    radii_by_kind,
    radius,
    read,
    shell,
)
from benchmarks.quality.figures import agreement, grey_figures, rank_correlation, shape_figures
from benchmarks.quality.picking import (
    TOMOGRAM,
    from_both,
    from_scores,
    from_tomogram,
    pick_figures,
    pick_table,
    step_2,
)
from benchmarks.quality.spheres import sphere_centres
from benchmarks.quality.table import correlation, judges, loss, pick, qualifies
from benchmarks.quality.truth import (
    against_truth,
    centroids,
    detection,
    dice,
    point_recall,
    random_recall,
)
from benchmarks.quality.volumes import Recipe, simulate
from benchmarks.volumes import DEMO
from picket_gpu.device.select import select_backend
from picket_gpu.particles.picks import Picks

CENTRES = np.array([[10, 10, 10], [10, 30, 20], [30, 15, 30]])
TARGETS = Targets(CENTRES, np.full(3, 4.0), 8.0)


@pytest.fixture
def balls():
    """Three balls of radius 4, (40, 40, 40) bool."""
    grid = np.indices((40, 40, 40))
    return np.any([((grid - c[:, None, None, None]) ** 2).sum(0) <= 16 for c in CENTRES], axis=0)


@pytest.fixture
def data(balls):
    masks = {"particles": balls}
    distance = radius(masks, CENTRES)
    return DataSet("balls", -balls.astype(np.float32), masks, CENTRES, distance, TARGETS)


def labelled(mask):
    """Labels of a mask, with the border of windows of 5."""
    labels = np.full(mask.shape, -1, dtype=np.int8)
    labels[2:-2, 2:-2, 2:-2] = mask[2:-2, 2:-2, 2:-2]
    return labels


def test_a_perfect_segmentation_has_figures_of_1(data, balls):
    figures = against_truth(data, labelled(balls), 5)
    for name in ("Dice, particles", "precision", "recall", "F1", "points"):
        assert figures[name] == 1
    assert figures["points / random"] > 10


@pytest.mark.parametrize(("shift", "f1"), [(3, 1), (5, 0)])
def test_a_shift_beyond_the_distance_finds_nothing(data, balls, shift, f1):
    assert data.distance == pytest.approx(4, abs=0.2)
    figures = against_truth(data, labelled(np.roll(balls, shift, axis=2)), 5)
    assert figures["F1"] == f1
    assert figures["Dice, particles"] < 0.6


def test_points_without_a_whole_window_do_not_count(data, balls):
    outside = DataSet("", data.grey, data.masks, np.array([*CENTRES, [1, 20, 20]]), 4.0, TARGETS)
    assert against_truth(outside, labelled(balls), 5)["recall"] == 1


def test_what_marks_nothing_finds_nothing(data, balls):
    figures = against_truth(data, labelled(np.zeros_like(balls)), 5)
    assert figures.pop("points / random") != figures["F1"] == 0
    assert set(figures.values()) == {0}


def test_no_precision_where_points_are_no_centres(data, balls):
    points = DataSet("", data.grey, data.masks, CENTRES, None, TARGETS)
    assert not {"precision", "F1"} & set(against_truth(points, labelled(balls), 5))


def test_dice_of_half():
    a, b = np.zeros((2, 10), dtype=bool)
    a[:4], b[2:6] = True, True
    assert dice(a, b) == 0.5
    assert dice(a, ~a) == 0


def test_centroids_are_of_components_that_are_large_enough(balls):
    balls[0, 0, 0] = True
    np.testing.assert_allclose(sorted(centroids(balls).tolist()), CENTRES)


def test_two_centroids_cannot_find_one_particle():
    found = np.array([[0.0, 0, 1], [0, 0, -1], [9, 9, 9]])
    assert detection(found, np.zeros((1, 3)), 2) == {
        "precision": pytest.approx(1 / 3),
        "recall": 1,
        "F1": 0.5,
    }


def test_step_2_finds_balls_and_loses_them_near_faces(data, balls):
    pytest.importorskip("skimage")
    figures = pick_figures(TARGETS, step_2(labelled(balls)), balls.shape, 5)
    all_found = {"picks": 3, "precision": 1, "recall": 1, "F1": 1, "best": 1, "first": 3}
    assert figures["components"] == all_found
    assert figures["watershed 8"]["F1"] == 1
    # The last voxel is 39: a centre at 30 is 9 voxels from the face.
    assert figures["watershed 10"]["recall"] == pytest.approx(1 / 3)
    assert figures["watershed 15"]["recall"] == 0


def test_picks_find_balls(data, balls):
    pytest.importorskip("skimage")
    backend = select_backend("cpu", "native")
    labels = labelled(balls)
    scores = (labels == 1).astype(np.float16)
    picks = from_scores(scores, labels, 8, backend)
    picks |= from_both(scores, labels, data.grey, 8, backend)
    figures = {"a": pick_figures(TARGETS, step_2(labels) | picks, balls.shape, 5)}
    figures[TOMOGRAM] = pick_figures(TARGETS, from_tomogram(data.grey, 8, backend), balls.shape, 5)
    for source in figures.values():  # Otsu splits heights that are alike but for rounding
        assert source["pick 1 D"]["best"] == source["pick 1 D"]["precision"] == 1
    assert figures["a"]["both 1 D"]["best"] == 1
    first, second = pick_table(figures, False).splitlines()[-2:]
    assert first.startswith("| a | 1.00 (3) | 0.00 (0) | 1.00 (3) | 3 | ")
    assert second.startswith(f"| {TOMOGRAM} |  |  |  |  | ")
    assert all("| 1.00 |" in row for row in (first, second))
    shells = pick_table(figures, True).splitlines()[-2]
    assert shells.startswith("| a | 3 (3) | 0 (0) | 3 (3) | 3 | ")


def test_centres_without_a_whole_window_are_not_to_be_picked():
    points = np.array([[1.4, 20, 20], [2, 20, 20], [37.4, 20, 20], [37.6, 20, 20]])
    targets = Targets(points, np.full(4, 4.0), 8.0)
    picks = {"all": Picks(points[1:3], np.ones(2), 0.5, 2)}
    assert pick_figures(targets, picks, (40, 40, 40), 5)["all"]["F1"] == 1


def test_centres_of_spheres_come_from_points_on_them():
    rng = np.random.default_rng(5)
    normals = rng.normal(size=(600, 3))
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    centres = np.repeat([(20.0, 20, 20), (20, 43, 20)], [350, 250], axis=0)
    found = sphere_centres(centres + 11.7 * normals, normals)
    np.testing.assert_allclose(found, [(20, 20, 20), (20, 43, 20)], atol=1e-6)


@pytest.mark.slow
def test_the_demo_has_nine_shells():
    targets = read(DEMO).targets
    assert len(targets.centres) == 9
    assert targets.diameter == 26


def test_each_kind_has_its_own_radius():
    labels = np.zeros((30, 60, 30), dtype=np.uint8)
    grid = np.indices(labels.shape)
    centres = np.array([(14, 14, 14), (14, 40, 14)])
    for label, centre, radius_ in ((5, centres[0], 4), (6, centres[1], 8), (3, (14, 25, 14), 3)):
        away = ((grid - np.array(centre)[:, None, None, None]) ** 2).sum(0)
        labels[away <= radius_**2] = label
    np.testing.assert_allclose(radii_by_kind(labels, centres), (4, 8), atol=0.1)


def test_random_points_meet_a_mask_as_often_as_its_share():
    rng = np.random.default_rng(3)
    mask = rng.random((30, 30, 30)) < 0.3
    recall = random_recall(mask, 2000)
    assert recall == pytest.approx(mask.mean(), abs=4 * np.sqrt(0.3 * 0.7 / 40_000))
    assert recall == random_recall(mask, 2000)
    assert point_recall(mask, np.argwhere(mask) + 0.4) == 1


def test_a_shell_is_two_voxels_wide():
    around = shell(np.array([[5.2, 5.0, 4.9]]), (11, 11, 11))
    assert around.sum() == 33  # whole-number points within 2 of one
    assert around[5, 5, 7]
    assert not around[5, 5, 8]


def test_rank_correlation_of_known_orders():
    assert rank_correlation([1, 2, 3, 40], [0.1, 0.2, 0.3, 0.31]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert rank_correlation([1, 2, 3, 4], [2, 1, 4, 3]) == pytest.approx(0.6)
    assert np.isnan(rank_correlation([1, 2, 3], [5, 5, 5]))


def test_figures_of_shape(balls):
    balls[0, 0, 0] = True
    figures = shape_figures(balls)
    assert figures["components"] == 3
    assert figures["specks"] == 0.25
    assert figures["largest"] == pytest.approx(1 / 3, abs=0.01)
    assert figures["spread"] == 0
    assert figures["median size"] == 257
    assert figures["surface"] > shape_figures(np.ones_like(balls))["surface"] == 0


def test_figures_of_grey_values(balls):
    noise = np.random.default_rng(0).standard_normal(balls.shape).astype(np.float32)
    figures = grey_figures(balls, 3 * balls + noise, np.ones_like(noise))
    assert figures["Fisher"] == pytest.approx(3, abs=0.2)
    assert figures["d-prime"] == pytest.approx(3, abs=0.2)
    assert figures["edge"] == 1
    assert 0 < figures["between"] < 1
    assert grey_figures(~balls & balls, noise, noise)["Fisher"] == 0


def test_agreement_is_lowest_for_the_odd_one(balls):
    assert agreement([balls, balls, ~balls]) == [0.5, 0.5, 0]
    assert agreement([balls]) == [0]


def _measured(shares, f1):
    names = ["a", "b", "c", "d"]
    truth = {n: {"Dice, x": 1 - s, "F1": f} for n, s, f in zip(names, shares, f1, strict=True)}
    return {
        "truth": truth,
        "figures": {n: {"share": s, "spread": np.nan} for n, s in zip(names, shares, strict=True)},
    }


def test_a_figure_qualifies_by_rank_and_by_pick_for_both_judges():
    good = _measured([0.1, 0.2, 0.3, 0.4], [0.9, 0.8, 0.7, 0.6])
    assert judges(good) == ["Dice, x", "F1"]
    assert pick(good, "share") == "a"
    assert correlation(good, "share", "F1") == pytest.approx(1)
    assert qualifies(good, "share")
    assert np.isnan(correlation(good, "spread", "F1"))
    assert not qualifies(good, "spread")
    assert not qualifies(_measured([0.1, 0.2, 0.3, 0.4], [0.8, 0.9, 0.7, 0.6]), "share")
    assert not qualifies(_measured([0.1, 0.2, 0.3, 0.4], [0.8, 0.6, 0.9, 0.7]), "share")
    assert loss(good, "c", "F1") == pytest.approx(0.2)


def test_simulated_particles_are_dark_apart_and_where_they_are_said_to_be():
    recipe = Recipe("small", count=8, membranes=1, fiducials=1, side=48, noise=0.5)
    made = simulate(recipe)
    assert (simulate(recipe).grey == made.grey).all()
    assert made.grey.dtype == np.float32
    assert not (made.particles & made.others).any()
    background = made.grey[~made.particles & ~made.others].mean()
    assert made.grey[made.particles].mean() < background - 0.2
    found = centroids(made.particles)
    assert detection(found, made.centres, 0.5)["F1"] == 1
    assert set(from_recipe(recipe).masks) == {"particles", "all structures"}


def test_particles_on_membranes_touch_one_and_rods_and_kinds_have_their_sizes():
    recipe = Recipe("on membranes", count=12, sheets=2, side=64, seed=1)
    made = simulate(recipe)
    to_sheet = ndimage.distance_transform_edt(~made.others)
    number, count = ndimage.label(made.particles)
    assert count == len(made.centres) == 12
    nearest = ndimage.minimum(to_sheet, number, np.arange(1, count + 1))
    assert (nearest > 0).all()
    assert nearest.max() <= 2  # voxels
    assert ndimage.label(made.others)[1] == 2
    rods = simulate(Recipe("rods", radii=(3.0, 3.0), elongation=2.5, count=8, side=64))
    number, count = ndimage.label(rods.particles)
    for one in range(1, count + 1):
        along = np.linalg.eigvalsh(np.cov(np.argwhere(number == one).T))
        assert np.sqrt(along[2] / along[1]) == pytest.approx(2.5, rel=0.1)
        assert along[0] == pytest.approx(3.0**2 / 5, rel=0.15)  # of a solid ellipsoid
    kinds = from_recipe(Recipe("two", radii=(3.0, 3.0), large=(6.0, 6.0), count=8, side=64))
    np.testing.assert_allclose(kinds.targets.distances, [3.0, 6.0] * 4)


@pytest.mark.slow
def test_the_script_prints_its_tables(tmp_path, capsys):
    pytest.importorskip("skimage")
    options = ["--only", "phantom_a", "--modes", "intensities", "gabor", "--methods", "kmeans"]
    main([*options, "--device", "cpu", "--json", str(tmp_path / "quality.json")])
    text = capsys.readouterr().out
    measured = json.loads((tmp_path / "quality.json").read_text())
    assert list(measured) == ["phantom_a"]
    truth = measured["phantom_a"]["truth"]
    assert truth["gabor-kmeans"]["Dice, particles"] > 0.6
    assert truth["gabor-kmeans"]["F1"] > 0.9
    for workflow, figures in truth.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| {workflow} | "))
        assert f"| {figures['Dice, particles']:.3g} | {figures['precision']:.3g} |" in row
    picked = measured["phantom_a"]["picks"]["gabor-kmeans"]
    assert picked["components"]["F1"] > 0.9 > picked["watershed 15"]["F1"]
    assert f"| gabor-kmeans | {picked['components']['F1']:.2f} (" in text
    assert picked["pick 1 D"]["F1"] > 0.9
    assert measured["phantom_a"]["picks"][TOMOGRAM]["pick 1 D"]["F1"] > 0.9
    assert "### Rank correlation, given data sets" in text
    assert "share (less)" in text


def test_the_best_threshold_of_a_dataset_is_that_of_all_its_tomograms():
    from benchmarks.quality.dataset import Found, Tomogram, best, comes_and_goes, list_f1, mean_f1
    from picket_gpu.particles.candidates import Candidates, Scale

    def candidates(*heights: float) -> Candidates:
        count = len(heights)
        points = np.column_stack([10.0 * np.arange(count), np.zeros((count, 2))])
        one = np.ones(count)
        return Candidates(points, one, np.array([heights]), one.astype(np.int8), (1.0, 1.0, 1.0))

    # The first two of one tomogram are particles, and none of the other, whose heights are between.
    each = [candidates(0.9, 0.5, 0.1), candidates(0.6, 0.2)]
    there = each[0].points[:2], np.empty((0, 3))
    tomograms = [
        Tomogram(str(number), {"score": one}, centres, np.ones(len(centres)))
        for number, (one, centres) in enumerate(zip(each, there, strict=True))
    ]
    of_all, of_each = best(tomograms, each, Scale((), 0.0, 1.0, 0.0))
    assert of_all == pytest.approx(2 * 2 / (3 + 2))  # by 0.5: three picks, two of them right
    assert of_each == 1
    found = [Found(2, 2, 2), Found(1, 0, 0)]
    assert (mean_f1(found), list_f1(found)) == (1, of_all)
    assert comes_and_goes(175, 2)
    assert not comes_and_goes(3, 0)
