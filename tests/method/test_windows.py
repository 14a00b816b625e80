from itertools import product

import numpy as np
import pytest

from picket_gpu.device.operations import Draw, Scratch
from picket_gpu.errors import PicketError
from picket_gpu.method.feature_mode import Extractor
from picket_gpu.method.volume import Slab
from picket_gpu.method.windows import WindowSet, all_windows, fit_windows

WHOLE = 10**6  # a step beyond every volume: one slab


def windows_by_loop(volume, side):
    """The oracle: one window after the other, C order."""
    ranges = [range(n - side + 1) for n in volume.shape]
    return np.array(
        [volume[z : z + side, y : y + side, x : x + side].ravel() for z, y, x in product(*ranges)]
    )


def gathered(backend, volume, windows, size, step=WHOLE):
    """All tiles one after the other, each from no more planes than its slab has."""
    scratch, parts = Scratch(np), []
    extract = Extractor(backend.operations, windows.side)
    tiles = list(windows.tiles(size, step))
    for tile, plane in zip(tiles, windows.first_planes(tiles), strict=True):
        first = plane // step * step
        slab = Slab(volume[first : first + step + windows.side - 1], first)
        parts.append(windows.features(extract, slab, tile, scratch).copy())
    return np.concatenate(parts, axis=1)


def sample(start, stop, count, total, seed):
    """Places ``start`` to ``stop`` of a draw."""
    return Draw(count, total, seed).numbers(np.arange(start, stop))


@pytest.mark.parametrize(
    ("side", "size"), [(5, 1), *((side, n) for side in (3, 5, 7) for n in (7, 60, 500, 10**6))]
)
@pytest.mark.parametrize("step", [1, 4, WHOLE])
def test_tiles_of_all_windows_are_the_windows_in_order(backend, noise, side, size, step):
    windows = WindowSet(noise.shape, side, 2, 12)
    result = gathered(backend, noise, windows, size, step)
    assert (windows_by_loop(noise[2:12], side) == result[:-1].T).all()
    assert (result[-1] == 1).all()
    assert windows.count == result.shape[1]
    assert all(
        np.prod([s.stop - s.start for s in tile]) <= size for tile in windows.tiles(size, step)
    )


@pytest.mark.parametrize("size", [1, 10, 1000])
@pytest.mark.parametrize("step", [1, 4, WHOLE])
def test_a_capped_set_gathers_the_sampled_windows(backend, noise, size, step):
    windows = WindowSet(noise.shape, 3, 1, 13, cap=100, seed=3)
    index = sample(0, 100, 100, 10 * 12 * 13, seed=3)
    expected = windows_by_loop(noise[1:], 3)[index]
    assert windows.count == 100
    assert (expected == gathered(backend, noise, windows, size, step)[:-1].T).all()
    assert all(len(tile) <= size for tile in windows.tiles(size, step))


@pytest.mark.parametrize(
    ("grid", "size"),
    [
        ((97, 131, 131), 133_152),  # whole planes of 17,161 windows
        ((97, 1019, 1019), 133_152),  # rows
        ((30, 1018, 1018), 133_153),
        ((5, 70, 300), 254),  # parts of rows
        ((8, 20, 21), 8 * 420 + 1),  # all planes but none to spare
    ],
)
def test_tiles_have_a_multiple_of_4_windows(grid, size):
    shape = tuple(n + 4 for n in grid)
    for windows in (WindowSet(shape, 5, 0, shape[0]), WindowSet(shape, 5, 0, shape[0], cap=9999)):
        tiles = list(windows.tiles(size, WHOLE))
        counts = [
            len(t) if isinstance(t, range) else np.prod([len(range(s.start, s.stop)) for s in t])
            for t in tiles
        ]
        assert max(counts) <= size
        assert sum(counts) == windows.count
        assert len({c for c in counts if c % 4}) <= 1  # what is left at an end
        assert counts[0] % 4 == 0 or len(counts) == 1
        assert len(counts) <= 2 * windows.count / size + 1


@pytest.mark.parametrize("cap", [None, 300])
@pytest.mark.parametrize("step", [1, 4, WHOLE])
def test_chosen_windows_are_those_of_their_tiles(backend, noise, cap, step):
    size = 37
    windows = WindowSet(noise.shape, 3, 1, 13, cap=cap, seed=3)
    tiles = list(windows.tiles(size, step))
    everything = gathered(backend, noise, windows, size, step)
    lengths = [len(t) if cap else np.prod([s.stop - s.start for s in t]) for t in tiles]
    places = np.concatenate([n * size + np.arange(count) for n, count in enumerate(lengths)])
    some = np.sort(np.random.default_rng(0).choice(len(places), 50, replace=False))
    chosen = windows.choose(tiles, places[some], size)
    expected = everything[:, some]
    result = gathered(backend, noise, chosen, 11, step)
    assert chosen.count == 50
    # In the order of the volume, which box tiles of parts of planes are not in.
    assert (np.sort(result, axis=1) == np.sort(expected, axis=1)).all()
    if cap:
        assert (result == expected).all()


def test_a_cap_at_or_above_the_count_means_all_windows():
    for cap in (11 * 12 * 13, 10**9):
        windows = WindowSet((13, 14, 15), 3, 0, 13, cap=cap)
        assert windows.count == 11 * 12 * 13
        assert isinstance(next(windows.tiles(50, WHOLE)), tuple)


@pytest.mark.parametrize(
    ("count", "total"), [(1, 1), (1, 9), (7, 8), (8, 8), (500, 999), (500, 1000), (3, 10**12)]
)
@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_a_sample_is_sorted_distinct_and_in_range(count, total, seed):
    index = sample(0, count, count, total, seed)
    assert len(index) == count
    assert (np.diff(index) > 0).all()
    assert index[0] >= 0
    assert index[-1] < total


def test_a_sample_does_not_depend_on_the_parts_it_is_drawn_in():
    whole = sample(0, 1000, 1000, 1777, seed=5)
    parts = [sample(i, min(i + 33, 1000), 1000, 1777, seed=5) for i in range(0, 1000, 33)]
    assert (np.concatenate(parts) == whole).all()


def test_every_window_is_as_likely_as_any_other():
    draws = 4000
    counts = np.zeros(11)
    for seed in range(draws):
        counts[sample(0, 7, 7, 11, seed)] += 1
    expected = draws * 7 / 11
    # Five standard deviations of a binomial count, for 11 counts.
    assert abs(counts - expected).max() < 5 * np.sqrt(expected * (1 - 7 / 11))


def test_seeds_draw_different_samples():
    first, second = (sample(0, 500, 500, 10**6, seed) for seed in (0, 1))
    assert (first != second).mean() > 0.99


def test_large_totals_do_not_overflow():
    # 1e8 of 5e9 windows: stratum * total is 5e17.
    index = sample(10**8 - 10, 10**8, 10**8, 5 * 10**9, seed=0)
    assert (abs(index - np.arange(5 * 10**9 - 500, 5 * 10**9, 50)) <= 100).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lower": 14}, "lower_z-slice_limit 14 is outside"),
        ({"upper": 14}, "upper_z-slice_limit 14 is outside"),
        ({"upper": -1}, "upper_z-slice_limit -1 is outside"),
        ({"lower": 9, "upper": 13}, "fewer than neighborhood_size 5"),
        ({"side": 15}, "13 z-slices are fewer than neighborhood_size 15"),
    ],
)
def test_sections_without_windows_are_refused(arguments, message):
    with pytest.raises(PicketError, match=message):
        fit_windows((13, 14, 15), **{"side": 5, **arguments})


def test_limits_are_half_open_from_zero():
    windows = fit_windows((13, 14, 15), 5, lower=3, upper=9)
    assert windows.grid == (2, 10, 11)
    assert fit_windows((13, 14, 15), 5) == all_windows((13, 14, 15), 5)
