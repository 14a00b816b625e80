"""What passes keep, and how often they compute."""

import numpy as np
import pytest

from picket_gpu.device.backend import MIB
from picket_gpu.device.operations import Scratch
from picket_gpu.device.select import select_backend
from picket_gpu.method.features import FFTs, Gabor, Intensities
from picket_gpu.method.memory import FLOAT, plan_memory
from picket_gpu.method.preprocess import prepare
from picket_gpu.method.streams import RawFeatures, Tally, WhitenedFeatures
from picket_gpu.method.windows import all_windows, fit_windows
from picket_gpu.method.workflows import PreparedTomogram, Settings, run_workflows

MODES = (FFTs(), Gabor(), Intensities())


@pytest.fixture(scope="module")
def piece(phantom):
    return phantom[:24, :40, :44]


@pytest.fixture
def stream(piece):
    """Streams of the piece's magnitudes in tiles of at most 500 windows."""
    backend, windows = select_backend("cpu"), fit_windows(piece.shape, 5)
    prepared = prepare(backend, piece, 2.0, plan_memory(backend, windows, 2))
    extract = FFTs().extractor(backend.operations, 5, prepared.offset)

    def make(kept=0, windows=windows, size=500):
        return RawFeatures(backend, prepared.volume, windows, extract, size, Tally(), kept)

    return make


def values(stream):
    return np.concatenate(list(stream.map(lambda x, *_: x.copy())), axis=1)


def test_tiles_that_are_kept_are_computed_once(stream):
    plain, keeping = stream(), stream(kept=4000)
    expected = values(plain)
    assert plain.tally.lap() == plain.count
    np.testing.assert_array_equal(values(keeping), expected)
    assert keeping.tally.lap() == keeping.count
    np.testing.assert_array_equal(values(keeping), expected)
    again = keeping.tally.lap()
    assert keeping.count - 4000 <= again <= keeping.count - 4000 + 500
    keeping.kept.clear()
    np.testing.assert_array_equal(values(keeping), expected)
    assert keeping.tally.lap() == keeping.count


def test_what_is_kept_serves_another_stream_of_the_same_tiles(stream, piece):
    first = stream(kept=10**6)
    expected = values(first)
    second = stream(windows=all_windows(piece.shape, 5))
    second.take_over(first)
    np.testing.assert_array_equal(values(second), expected)
    assert second.tally.lap() == 0
    other = stream(size=300)
    first.tally.lap()
    other.take_over(first)  # forgets it
    values(first)
    assert first.tally.lap() == first.count


@pytest.mark.parametrize("windows", [0, 4000, 10**6])
def test_coordinates_are_the_same_kept_or_not(stream, windows):
    features = stream()
    matrix = np.random.default_rng(0).standard_normal((16, 64))
    keeping = WhitenedFeatures(features, matrix, windows * 16 * FLOAT)
    expected = values(features).T @ matrix.T.astype(np.float32)
    features.tally.lap()
    for computed in (features.count, max(0, features.count - windows)):
        z = np.concatenate(list(keeping.map(lambda z, _: z.copy())))
        np.testing.assert_allclose(z, expected, rtol=1e-4, atol=1e-3)
        assert 0 <= features.tally.lap() - computed <= 500 * (computed > 0)
    x = features.compute(0, Scratch(np))
    np.testing.assert_allclose(keeping.of(x, 0, Scratch(np)), expected[: x.shape[1]], atol=1e-3)


def passes_and_labels(piece, budget, modes=MODES, methods=("kmeans", "gmm")):
    backend, windows = select_backend("cpu"), fit_windows(piece.shape, 5)
    plan = plan_memory(backend, windows, len(methods), budget)
    with backend.exclusive():
        tomogram = PreparedTomogram(prepare(backend, piece, 2.0, plan), windows, plan)
        results = list(run_workflows(backend, tomogram, modes, Settings(methods)))
    return {r.mode.mode: sum(s.passes for s in results if s.mode == r.mode) for r in results}, {
        (r.mode.mode, r.method): r.labels for r in results
    }


def test_with_memory_for_all_passes_compute_features_once(piece):
    tight = plan_memory(select_backend("cpu"), fit_windows(piece.shape, 5), 2)
    many, expected = passes_and_labels(piece, tight.budget - tight.cache_bytes)
    few, labels = passes_and_labels(piece, 1024 * MIB)
    # Once, but for windows that k-means starts on or finds near its plane, here all and again all.
    assert few["ffts"] <= 1 + 1 + 1.25 < many["ffts"]
    for workflow, volume in labels.items():
        assert (volume == expected[workflow]).mean() >= 0.9999, workflow


@pytest.mark.parametrize("count", [10_000, 10**6, 10**8])
@pytest.mark.parametrize("row", [160, 352])
@pytest.mark.parametrize("budget", [None, 4096 * MIB])
def test_samples_and_what_is_kept_fit_the_plan(count, row, budget):
    windows = fit_windows((200, 400, 500), 5)
    plan = plan_memory(select_backend("cpu"), windows, 2, budget)
    sizes = plan.samples(count, row)
    assert sizes == sorted(sizes)
    assert all(size < count for size in sizes)
    if budget is not None:  # else the least that will do may be more
        assert sum(sizes) * row <= plan.gmm_bytes
        kept = plan.kept_raw(count, row, gmm=True)
        assert sum(sizes) * row + kept * row <= plan.gmm_bytes
        assert plan.kept_raw(count, row, gmm=False) >= kept
