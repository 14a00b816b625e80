"""What must not change a label, whatever the grey values: properties of the method as a whole.

Each is exact but for float32 rounding. `may_change` says how many labels rounding can turn.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from picket_gpu.device.select import select_backend
from picket_gpu.method.blur import blur_radius
from picket_gpu.method.features import FFTs, Gabor, Intensities
from picket_gpu.method.labels import core
from picket_gpu.method.memory import plan_memory
from picket_gpu.method.preprocess import prepare
from picket_gpu.method.whitening import RIDGE
from picket_gpu.method.windows import fit_windows, masked_windows
from picket_gpu.method.workflows import PreparedTomogram, Settings, run_workflows

SIDE, SIGMA = 3, 1.0  # small windows and a short blur, so that small volumes have an inside
REACH = blur_radius(SIGMA) + SIDE // 2  # how far away a voxel can matter to a label
MODES = [FFTs(n_fft_subsets=8), Gabor(), Intensities()]
HALF_ULP = 2.0**-24  # relative error of one float32 rounding
# No shrinking: an example is as small as it gets, and would be run hundreds of times.
EXAMPLES = settings(
    derandomize=True, deadline=None, max_examples=4, phases=[Phase.explicit, Phase.generate]
)

of_every_mode = pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.mode)


@pytest.fixture(scope="module")
def piece(phantom):
    """A noisy piece, 20 x 24 x 28, of whole numbers, which float32 scales and shifts exactly."""
    part = phantom[6:26, 22:46, 30:58]
    return np.round((part - part.mean()) / part.std() * 100).astype(np.float32)


def segmentations(volume, modes=MODES, *, backend=None, mask=None, **changes):
    """Labels of the core by feature mode and method.

    ``mask`` says where the windows used for fitting have their centres; ``changes`` are of the
    memory plan.
    """
    backend = backend or select_backend("cpu", threads=1)
    windows = fit_windows(volume.shape, SIDE)
    if mask is not None:
        windows = masked_windows(windows, mask)
    plan = replace(plan_memory(backend, windows, 2, sigma=SIGMA), **changes)
    with backend.exclusive():
        prepared = prepare(backend, volume, SIGMA, plan)
        results = run_workflows(
            backend, PreparedTomogram(prepared, windows, plan), modes, Settings(["kmeans", "gmm"])
        )
        return {(r.mode.mode, r.method): core(r.labels, SIDE) for r in results}


def may_change(mode, error):
    """Share of labels that may change where grey values in [0, 1] are off by ``error``.

    A window of n voxels moves by sqrt(n) errors, its features by that times the norm of the map to
    them: 1, sqrt(n) for a DFT, and at most the root of the sum of all squares of a filter bank. A
    standard deviation is never less than the root of the ridge. Of a variable with the density of a
    Gaussian a share of 2 r / sqrt(2 pi) lies within r standard deviations of a threshold; the
    threshold, fitted to what has moved, moves no further.
    """
    n = SIDE**3
    gain = {"intensities": 1, "ffts": np.sqrt(n), "gabor": bank_norm()}[mode]
    moved = gain * np.sqrt(n) * error / np.sqrt(RIDGE)
    return 2 * 2 * moved / np.sqrt(2 * np.pi)


def bank_norm():
    """Of 64 filters of side 3: no filter exceeds its envelope, exp(-9/4 of the squared radius)."""
    squared = sum(np.square(axis - 1) for axis in np.indices((SIDE,) * 3))
    return np.sqrt(64 * np.exp(-9 / 2 * squared).sum())


def assert_same_partition(found, expected, error, beside=0.0):
    """The same two clusters, whichever of them is called 1.

    ``beside`` is the share of labels that may differ for another reason than rounding.
    """
    assert found.keys() == expected.keys()
    for (mode, method), labels in found.items():
        changed = np.mean(labels != expected[mode, method])
        assert min(changed, 1 - changed) <= may_change(mode, error) + beside, (mode, method)


def assert_same_labels(found, expected):
    assert found.keys() == expected.keys()
    for workflow, labels in found.items():
        assert (labels == expected[workflow]).all(), workflow


# Grey values.


@pytest.fixture(scope="module")
def plain(piece):
    return segmentations(piece)


@pytest.fixture(scope="module")
def contrast(piece):
    """The range of the blurred piece, as a share of the largest grey value."""
    return np.ptp(gaussian_filter(piece, SIGMA)) / np.abs(piece).max()


@given(exponent=st.integers(-100, 100))
@EXAMPLES
def test_a_power_of_two_as_a_factor_changes_nothing_at_all(piece, plain, exponent):
    """Down to 1e-30 and up to 1e30: it changes exponents and no digit of any rounded number."""
    assert_same_labels(segmentations(np.ldexp(piece, exponent)), plain)


@given(factor=st.integers(1, 1000), shift=st.integers(-3, 3))
@EXAMPLES
def test_brightness_and_contrast_change_what_rounding_does(piece, plain, contrast, factor, shift):
    """The new grey values are exact. Blurred ones are rounded, by half a ulp of the largest."""
    volume = piece * factor + shift * factor * np.abs(piece).max().astype(int)
    assert np.abs(volume).max() < 2**24
    assert (volume == np.round(volume)).all()
    # Twice rounded, by the blur and by the scaling, here and in what it is compared with.
    error = 2 * HALF_ULP * (1 + abs(shift) + 1) / contrast
    assert_same_partition(segmentations(volume), plain, error)


def test_inverted_contrast_gives_the_same_two_clusters(piece, plain, contrast):
    """w becomes 1 - w: a reflection of intensities, of the mean of a DFT, and of every response
    to a filter. Distances, and with them k-means++, stay as they are."""
    assert_same_partition(segmentations(-piece), plain, 4 * HALF_ULP / contrast)


# Parts of a volume.


def blobs(shape, seed=3):
    """Two kinds of material that a wide gap separates, in noise; extremes amid the volume."""
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.standard_normal(shape), 3, mode="wrap")
    volume = (field > np.quantile(field, 0.7)) + 0.1 * rng.standard_normal(shape)
    middle = tuple(n // 2 for n in shape)
    for place, value in ((-4, 9), (4, -9)):
        volume[middle[0] + place, middle[1], middle[2]] = value
    return volume.astype(np.float32)


def inside(shape, margin):
    """Voxels at least ``margin`` from every face."""
    mask = np.zeros(shape, dtype=bool)
    mask[(slice(margin, -margin),) * 3] = True
    return mask


@of_every_mode
@pytest.mark.parametrize("cut", [(3, 0, 0), (0, 4, 1), (2, 3, 5)])
def test_a_crop_has_the_labels_of_the_whole(mode, cut):
    """Fitted on the same windows, those that neither volume's faces can matter to. The largest and
    smallest grey values are in both, so the scaling is the same but for its centre."""
    volume = blobs((26, 26, 28))
    kept = tuple(slice(c, n - c - 1) for c, n in zip(cut, volume.shape, strict=True))
    crop = volume[kept]
    mask = np.zeros(volume.shape, dtype=bool)
    mask[kept] = inside(crop.shape, REACH)
    whole = segmentations(volume, [mode], mask=mask)
    part = segmentations(crop, [mode], mask=mask[kept])
    far = core(mask, SIDE)
    pairs = [
        {workflow: labels[chosen] for workflow, labels in found.items()}
        for found, chosen in ((whole, far), (part, core(mask[kept], SIDE)))
    ]
    assert_same_partition(*pairs, 2 * HALF_ULP)


@of_every_mode
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_volume_set_beside_itself_has_its_labels_twice(mode, axis):
    """Away from the seam and the faces it has every window twice: means, covariances and shares
    are the same. Windows and blur across the seam are kept out of the fit. k-means++ draws others,
    and a few thousand windows have fixed points side by side, which differ in some 0.2%."""
    volume = blobs((24, 24, 24))
    mask = inside(volume.shape, REACH)
    double = np.concatenate([volume, volume], axis=axis)
    masks = np.concatenate([mask, mask], axis=axis)
    once = segmentations(volume, [mode], mask=mask)
    twice = segmentations(double, [mode], mask=masks)
    halves = {workflow: labels[core(masks, SIDE)] for workflow, labels in twice.items()}
    expected = {
        workflow: both(labels, volume.shape, axis)[masks] for workflow, labels in once.items()
    }
    assert_same_partition(halves, expected, 2 * HALF_ULP, beside=0.002)


def both(labels, shape, axis):
    """Labels of a core as those of the volume set beside itself."""
    whole = np.full(shape, -1, dtype=np.int8)
    core(whole, SIDE)[...] = labels
    return np.concatenate([whole, whole], axis=axis)


def test_a_mirrored_double_fitted_on_one_half_has_the_labels_of_that_half(piece):
    """The blur's boundary is half-sample symmetric: beside its mirror image a volume is blurred as
    if it were alone. Minimum and maximum are the same too, and the mean as far as float32 goes: so
    all numbers are the same."""
    mask = np.ones(piece.shape, dtype=bool)
    mask[-1] = False  # windows across the seam
    alone = segmentations(piece, mask=mask)
    double = np.concatenate([piece, piece[::-1]])
    masks = np.concatenate([mask, np.zeros_like(mask)])
    beside = segmentations(double, mask=masks)
    halves = {workflow: labels[: len(piece) - 2] for workflow, labels in beside.items()}
    assert_same_partition(halves, alone, error=0)


# Where and how it is computed.


@pytest.mark.parametrize("threads", [2, 5])
def test_the_number_of_threads_changes_nothing_at_all(piece, plain, threads):
    """Sums over tiles are added up in the order of the tiles."""
    backend = select_backend("cpu", threads=threads)
    few = {"tile_windows": 500}  # so that there is something to share
    one = segmentations(piece, **few)
    assert_same_labels(segmentations(piece, backend=backend, **few), one)


@given(tile_windows=st.integers(200, 9000), kept=st.booleans())
@EXAMPLES
def test_the_size_of_tiles_changes_what_rounding_does(piece, plain, tile_windows, kept):
    """float32 sums of a tile's n windows are off by at most n roundings of numbers up to 1."""
    cache = {"cache_bytes": 2**30 if kept else 0}
    found = segmentations(piece, tile_windows=tile_windows, **cache)
    windows = plain["ffts", "gmm"].size
    for workflow, labels in found.items():
        # Means, which n roundings move by that part of a standard deviation, and thresholds.
        bound = 2 * 2 * windows * HALF_ULP / np.sqrt(2 * np.pi)
        assert np.mean(labels != plain[workflow]) <= bound, workflow


@given(
    tile_windows=st.integers(2000, 9000),
    slab=st.none() | st.integers(2 * SIDE, 20),
    blur=st.integers(1, 20),
)
@settings(EXAMPLES, max_examples=3)
def test_a_device_and_its_plan_change_what_rounding_does(piece, plain, tile_windows, slab, blur):
    """Resident, or streamed in slabs and blurred in blocks of any depth."""
    pytest.importorskip("cupy", reason="the double takes its names and keywords from cupy")
    from tests.support.device_double import DeviceDouble

    changes = {"tile_windows": tile_windows, "slab_planes": slab, "blur_planes": blur}
    found = segmentations(piece, backend=DeviceDouble(), **changes)
    assert_same_partition(found, plain, 2 * HALF_ULP)
