"""k-means and the mixture against scikit-learn and against plain float64 formulas."""

import warnings

import numpy as np
import pytest
from sklearn.cluster import KMeans as SklearnKMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as SklearnMixture

from picket_gpu.device.operations import Scratch
from picket_gpu.method.clustering import KMeans, fit_gmm, fit_kmeans
from picket_gpu.method.clustering.em import expect, maximise, start_from_clusters, total_of
from picket_gpu.method.streams import WhitenedFeatures
from picket_gpu.method.whitening import covariance_of, whiten
from tests.support.features import GivenFeatures, symmetric_inverse


def fit(backend, features, subset=None, seed=0, reported=None, cache_bytes=0):
    """Both models, their labels of ``features``, and their decisions."""
    stream = GivenFeatures(backend, features)
    few = GivenFeatures(backend, features if subset is None else features[:subset])
    reported = np.eye(features.shape[1]) if reported is None else reported
    total = stream.moments()
    kmeans = fit_kmeans(stream, few, reported, total[-1], seed)
    whitening = whiten(total, reported, len(reported))
    gmm = fit_gmm(WhitenedFeatures(stream, whitening.matrix, cache_bytes), whitening, kmeans)
    x = stream.together()
    decisions = [model.decision(backend).of_features(x, Scratch(np)) for model in (kmeans, gmm)]
    return kmeans, gmm, *[(d > 0).astype(int) for d in decisions], decisions


def blobs(n=6000, d=12, share=0.25, gap=3.0, seed=0):
    """Two Gaussian clouds with unlike covariances, and which one each point is from."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < share
    mix0, mix1 = rng.standard_normal((2, d, d)) * np.linspace(0.05, 1, d)
    points = np.where(
        truth[:, None],
        rng.standard_normal((n, d)) @ mix1 * 0.7 + gap / np.sqrt(d),
        rng.standard_normal((n, d)) @ mix0 * 0.3,
    )
    return points, truth.astype(int)


def same(a, b):
    """Share of equal labels, whichever cluster is called 1."""
    agreement = (a == b).mean()
    return max(agreement, 1 - agreement)


def test_kmeans_is_a_fixed_point_of_lloyd(backend):
    points, _ = blobs()
    model, _, labels, _, _ = fit(backend, points, subset=300)
    assert model.converged
    centres = np.stack([points[labels == k].mean(axis=0) for k in (0, 1)])
    np.testing.assert_allclose(model.centres, centres, atol=1e-5)
    squared = ((points[:, None] - centres) ** 2).sum(axis=2)
    assert (squared.argmin(axis=1) == labels).all()


def cost(points, labels):
    return sum(((points[labels == k] - points[labels == k].mean(0)) ** 2).sum() for k in (0, 1))


@pytest.mark.parametrize("seed", range(5))
def test_kmeans_is_as_good_as_scikit_learns_from_any_seed(backend, seed):
    # A few thousand points have several fixed points side by side, which differ in a few labels.
    points, _ = blobs(seed=seed)
    _, _, labels, _, _ = fit(backend, points, subset=500, seed=seed)
    judge = SklearnKMeans(2, n_init=1, tol=0, random_state=0).fit_predict(points)
    assert same(labels, judge) > 0.998
    assert cost(points, labels) <= cost(points, judge) * (1 + 1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_kmeans_finds_clouds_that_lie_apart(backend, seed):
    points, truth = blobs(seed=seed, gap=20.0)
    assert same(fit(backend, points, subset=500, seed=seed)[2], truth) == 1


def test_kmeans_works_in_the_metric_of_the_reported_features(backend):
    points, _ = blobs(d=6)
    reported = np.random.default_rng(3).standard_normal((9, 6)) * np.arange(1, 10)[:, None]
    _, _, labels, _, _ = fit(backend, points, reported=reported)
    judge = SklearnKMeans(2, n_init=1, tol=0, random_state=0).fit_predict(points @ reported.T)
    assert same(labels, judge) > 0.9995


def test_kmeans_does_not_depend_on_the_subset_it_starts_on(backend):
    points, _ = blobs(20_000, gap=6.0)
    labels = [fit(backend, points, subset=n)[2] for n in (50, 1000, 20_000)]
    assert same(labels[0], labels[1]) > 0.9995
    assert same(labels[0], labels[2]) > 0.9995


def test_a_start_among_windows_that_are_all_alike(backend):
    points = np.zeros((6000, 4))
    points[[100, 2000, 2001, 4000, 5999]] = [1, -2, 3, 5]
    _, _, labels, _, _ = fit(backend, points, subset=50)
    assert same(labels, points.any(axis=1)) == 1


def judged_mixture(points, labels, reg=1e-6):
    """scikit-learn's mixture started from the responsibilities of ``labels``."""
    weights = [(labels == k).mean() for k in (0, 1)]
    means = np.array([points[labels == k].mean(axis=0) for k in (0, 1)])
    covariances = [np.cov(points[labels == k].T, bias=True) for k in (0, 1)]
    ridge = reg * np.eye(points.shape[1])
    model = SklearnMixture(
        2,
        tol=1e-3,
        reg_covar=reg,
        max_iter=100,
        weights_init=weights,
        means_init=means,
        precisions_init=[symmetric_inverse(c + ridge) for c in covariances],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(points)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("cache_bytes", [0, 10**9])
def test_the_mixture_is_scikit_learns(backend, seed, cache_bytes):
    points, _ = blobs(seed=seed, gap=2.0)
    _, model, start, labels, decisions = fit(backend, points, cache_bytes=cache_bytes)
    judge = judged_mixture(points, start)
    assert model.iterations == judge.n_iter_
    assert model.converged == judge.converged_
    assert model.log_likelihood == pytest.approx(
        judge.lower_bound_, abs=1e-3
    )  # the stopping rule's
    assert same(labels, judge.predict(points)) == 1
    # The same posterior for every point, not only the same side of 0.5.
    posterior = 1 / (1 + np.exp(-np.clip(decisions[1], -50, 50)))
    expected = judge.predict_proba(points)
    expected = (
        expected[:, 1]
        if same(labels, expected.argmax(1)) == (labels == expected.argmax(1)).mean()
        else expected[:, 0]
    )
    np.testing.assert_allclose(posterior, expected, atol=2e-3)


def test_the_mixture_recovers_clouds_that_kmeans_cannot(backend):
    # One centre, two sizes: no plane divides them.
    rng = np.random.default_rng(0)
    truth = np.arange(8000) < 2000
    points = rng.standard_normal((8000, 10)) * np.where(truth, 3.0, 0.3)[:, None]
    _, _, flat, curved, _ = fit(backend, points)
    assert same(flat, truth) < 0.9
    assert same(curved, truth) > 0.999


def test_features_of_very_unlike_scales_do_not_break_it(backend):
    points, _ = blobs(gap=6.0)
    scaled = points * np.logspace(-6, 1, points.shape[1])
    _, model, _, labels, _ = fit(backend, scaled)
    judge = judged_mixture(scaled, fit(backend, scaled)[2])
    assert model.converged
    assert same(labels, judge.predict(scaled)) > 0.9995


def test_duplicate_features_change_nothing(backend):
    # The ridge keeps singular covariances invertible, as in scikit-learn.
    points, _ = blobs()
    doubled = np.hstack([points, points])
    _, _, start, labels, _ = fit(backend, doubled)
    assert same(labels, judged_mixture(doubled, start).predict(doubled)) > 0.9995


def test_a_component_that_empties_ends_the_fit_and_says_so(backend):
    # One cloud and a start that gives component 1 next to nothing to live on.
    points = np.random.default_rng(0).standard_normal((5000, 3))
    points[0] = 1000
    stream = GivenFeatures(backend, points)
    whitening = whiten(stream.moments(), np.eye(3), 3)
    far = KMeans(np.array([[0.0, 0, 0], [1e6, 1e6, 1e6]]), np.eye(3), 1, True)
    model = fit_gmm(WhitenedFeatures(stream, whitening.matrix), whitening, far)
    assert not model.converged
    assert np.isfinite(model.log_odds).all()
    decide = model.decision(backend).of_features
    assert not (decide(stream.together(), Scratch(np))[1:] > 0).any()


def test_whitened_coordinates_have_unit_variance_and_keep_distances(backend):
    points, _ = blobs(d=20)
    reported = np.random.default_rng(1).standard_normal((20, 20))
    whitening = whiten(GivenFeatures(backend, points).moments(), reported, 20)
    augmented = np.hstack([points, np.ones((len(points), 1))])
    z = augmented @ whitening.matrix.T
    np.testing.assert_allclose(
        np.cov(z[:, :-1].T, bias=True), np.diag(1 - whitening.ridge), atol=1e-4
    )
    np.testing.assert_allclose(z.T @ z, whitening.total, atol=1e-2)
    assert (z[:, -1] == 1).all()
    i, j = augmented[:50], augmented[50:100]
    expected = (((i - j)[:, :-1] @ reported.T) ** 2).sum(1)
    np.testing.assert_allclose(
        ((z[:50] - z[50:100])[:, :-1] ** 2) @ whitening.scale, expected, rtol=1e-6
    )


def test_the_last_pass_of_kmeans_sums_what_a_mixture_starts_from(backend):
    points, _ = blobs()
    stream, few = GivenFeatures(backend, points), GivenFeatures(backend, points[:3000])
    total = stream.moments()
    whitening = whiten(total, np.eye(12), 12)
    z = WhitenedFeatures(stream, whitening.matrix)
    model = fit_kmeans(stream, few, np.eye(12), total[-1], 0, whitened=z)
    expected = start_from_clusters(z, whitening.plane(model.centres)).moments
    assert model.inside is not None
    np.testing.assert_allclose(model.inside, expected, atol=1e-6 * len(points))


def passes_of(backend, points, few):
    """Of k-means over all windows, and the model."""
    stream, subset = GivenFeatures(backend, points), GivenFeatures(backend, few)
    total = stream.moments()[-1]
    stream.tally.lap()
    model = fit_kmeans(stream, subset, np.eye(points.shape[1]), total, 0)
    return stream.tally.lap() / len(points), model


@pytest.mark.parametrize("seed", range(4))
def test_kmeans_estimates_what_changes_sides_outside_of_the_band(backend, seed):
    """The subset is far from even, so the plane moves far after the first pass."""
    points = np.random.default_rng(seed).standard_normal((60_000, 3)) * [1.4, 1, 1]
    uneven = points[np.argsort(points[:, 0])[20_000:]]
    few = np.concatenate([points[:1500], uneven[::80]])
    passes, model = passes_of(backend, points, few)
    assert model.converged
    labels = (points @ model.plane[:-1] + model.plane[-1]) > 0
    centres = np.stack([points[labels == k].mean(axis=0) for k in (0, 1)])
    np.testing.assert_allclose(model.centres, centres, atol=1e-4)
    assert passes < 6


@pytest.mark.parametrize("seed", [140, 209])
def test_an_estimate_that_leads_kmeans_astray_is_taken_back(backend, seed):
    """Few windows that stand for many let the estimate empty a cluster, for these seeds."""
    rng = np.random.default_rng(seed)
    cloud, size = rng.standard_normal((3000, 2)), rng.integers(3, 60)
    points = np.concatenate([cloud, rng.standard_normal((size, 2)) * 0.1 + rng.uniform(3, 12)])
    drawn = cloud[rng.choice(3000, rng.integers(5, 40))]
    few = np.concatenate([drawn, points[-rng.integers(1, 3) :]])
    _, model = passes_of(backend, points, few)
    assert model.converged
    labels = (points @ model.plane[:-1] + model.plane[-1]) > 0
    assert 0 < labels.sum() < len(points)


def test_directions_far_below_the_ridge_are_dropped(backend):
    scales = np.r_[np.ones(20), np.full(60, 1e-7)]
    points = np.random.default_rng(0).standard_normal((3000, 80)) * scales
    total = GivenFeatures(backend, points).moments()
    assert covariance_of(total).shape == (80, 80)
    assert whiten(total, np.eye(80), 80).size == 24  # 20 and the 1, up to a multiple of 8


def mixtures(backend, points, sampled, seed=0):
    """The mixture by EM on all windows, and with a sample of them in between; and the passes."""
    stream = GivenFeatures(backend, points)
    total = stream.moments()
    kmeans = fit_kmeans(stream, stream, np.eye(points.shape[1]), total[-1], 0)
    whitening = whiten(total, np.eye(points.shape[1]), points.shape[1])
    features = WhitenedFeatures(stream, whitening.matrix)
    plain = fit_gmm(features, whitening, kmeans)
    drawn = np.random.default_rng(seed).choice(len(points), sampled, replace=False)
    sample = WhitenedFeatures(GivenFeatures(backend, points[drawn]), whitening.matrix)
    stream.tally.lap()
    fast = fit_gmm(features, whitening, kmeans, [sample])
    passes = stream.tally.lap() / len(points)
    x = stream.together()
    labels = [m.decision(backend).of_features(x, Scratch(np)) > 0 for m in (plain, fast)]
    return plain, fast, same(*labels), passes


def slow(n=40_000, seed=0):
    """Overlapping clouds, on which EM takes long."""
    return blobs(n, d=6, share=0.4, gap=0.4, seed=seed)[0]


@pytest.mark.parametrize("seed", range(4))
def test_a_sample_in_between_leaves_the_end_of_em_where_it_is(backend, seed):
    plain, fast, agree, passes = mixtures(backend, slow(seed=seed), 8000, seed)
    assert agree > 0.9995
    assert fast.converged
    assert abs(fast.iterations - plain.iterations) <= 1
    assert fast.log_likelihood == pytest.approx(plain.log_likelihood, abs=2e-3)
    assert passes <= plain.iterations + 5  # no more than the start and what is given up


@pytest.mark.parametrize(("gap", "larger"), [(0.4, True), (30.0, False)])
def test_a_larger_sample_is_taken_where_clusters_are_not_clear(backend, gap, larger):
    points = blobs(40_000, d=6, share=0.4, gap=gap)[0]
    stream = GivenFeatures(backend, points)
    whitening = whiten(stream.moments(), np.eye(6), 6)
    kmeans = fit_kmeans(stream, stream, np.eye(6), stream.moments()[-1], 0)
    features = WhitenedFeatures(stream, whitening.matrix)
    drawn = np.random.default_rng(0).permutation(len(points))
    few, many = (GivenFeatures(backend, points[drawn[:n]]) for n in (2000, 12_000))
    samples = [WhitenedFeatures(some, whitening.matrix) for some in (few, many)]
    fast = fit_gmm(features, whitening, kmeans, samples)
    assert (many.tally.lap() > 0) == larger
    assert few.tally.lap() > 0
    x, plain = stream.together(), fit_gmm(features, whitening, kmeans)
    labels = [m.decision(backend).of_features(x, Scratch(np)) > 0 for m in (plain, fast)]
    assert same(*labels) > 0.9995


def lying_within(seed, n=20_000):
    """Clouds of very unlike variances, one within the other: the log-likelihood may turn."""
    rng = np.random.default_rng(seed)
    d = int(rng.integers(6, 14))
    scale = 10.0 ** -rng.uniform(0, 4, d)
    scale[0] = 1
    inner = rng.random((n, 1)) < rng.uniform(0.1, 0.5)
    mix = rng.standard_normal((2, d, d)) * scale
    cloud = rng.standard_normal((n, d)) @ mix[0] * rng.uniform(0.3, 1.5)
    return np.where(inner, cloud + scale * rng.uniform(0, 1), rng.standard_t(5, (n, d)) @ mix[1])


@pytest.mark.parametrize("seed", [14, 42, 59, 415, 604])
def test_em_does_not_end_where_the_likelihood_turns_for_a_sample_alone(backend, seed):
    # If the sample's word is taken, 0.886 of the labels (seed 42) to 0.99875 (59) are plain EM's.
    plain, fast, agree, _ = mixtures(backend, lying_within(seed), 4000, seed)
    assert fast.iterations == plain.iterations
    assert agree > 0.9995


def test_a_sample_does_where_responsibilities_do_not_change(backend):
    rng = np.random.default_rng(0)
    points = rng.standard_normal((8000, 4)) + 1000 * (rng.random((8000, 1)) < 0.3)
    plain, fast, agree, _ = mixtures(backend, points, 2000)
    assert plain.converged
    assert fast.converged
    assert agree == 1


def test_a_sample_that_misleads_is_given_up(backend):
    # All of the sample is from one end of the data.
    points = slow()
    points = points[np.argsort(points[:, 0])]
    stream = GivenFeatures(backend, points)
    total = stream.moments()
    kmeans = fit_kmeans(stream, stream, np.eye(6), total[-1], 0)
    whitening = whiten(total, np.eye(6), 6)
    features = WhitenedFeatures(stream, whitening.matrix)
    sample = WhitenedFeatures(GivenFeatures(backend, points[:500]), whitening.matrix)
    plain = fit_gmm(features, whitening, kmeans)
    fast = fit_gmm(features, whitening, kmeans, [sample])
    x = stream.together()
    plain, fast = (m.decision(backend).of_features(x, Scratch(np)) > 0 for m in (plain, fast))
    assert same(plain, fast) > 0.9995


def test_no_iteration_lowers_the_bound(backend):
    # Where the ridge, which is no part of it, is negligible.
    points = slow(6000)
    stream = GivenFeatures(backend, points)
    whitening = whiten(stream.moments(), np.eye(6), 6)
    features = WhitenedFeatures(stream, whitening.matrix)
    kmeans = fit_kmeans(stream, stream, np.eye(6), stream.moments()[-1], 0)
    sums = start_from_clusters(features, whitening.plane(kmeans.centres))
    np.testing.assert_allclose(total_of(features), whitening.total, atol=0.5)
    bounds = []
    for _ in range(25):
        components = maximise(sums.moments, whitening.total, whitening.ridge)
        bounds.append(components.bound(sums, whitening.total))  # after the M-step
        sums = expect(features, components)
        bounds.append(components.bound(sums, whitening.total))  # after the E-step
    assert (np.diff(bounds) > -1e-5).all()
