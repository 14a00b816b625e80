"""Gold beads and hot voxels are found where they are, and nowhere else."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from benchmarks.quality.volumes import RECIPES, simulate
from picket_gpu import segment
from picket_gpu.device.select import select_backend
from picket_gpu.method.beads import find_beads
from picket_gpu.method.padding import find_padding
from picket_gpu.method.recipe import Recipe
from picket_gpu.method.windows import fit_windows

SHAPE = (48, 80, 88)
GRID = np.indices(SHAPE, dtype=np.float32)
# Centres of beads and of particles, apart from each other and from the faces.
BEADS = np.array([(12, 14, 15), (33, 22, 66), (24, 60, 20), (14, 62, 70), (36, 44, 42)], float)
GOLD = 10.0  # times as dense as a particle, as gold is in ice


def ball(centre, radius):
    """1 inside, bool, (z, y, x)."""
    return sum((g - c) ** 2 for g, c in zip(GRID, centre, strict=True)) <= radius**2


def particles(seed=0, count=40, radius=4.0, keep_off=BEADS, reach=12):
    """Balls of density 1 away from beads and from each other."""
    rng, found = np.random.default_rng(seed), []
    density = np.zeros(SHAPE, np.float32)
    while len(found) < count:
        centre = np.array([rng.uniform(radius, n - radius) for n in SHAPE])
        apart = np.linalg.norm(np.array([*keep_off, *found]).reshape(-1, 3) - centre, axis=1)
        limits = [reach] * len(keep_off) + [2 * radius + 1] * len(found)
        if (apart > np.array(limits)).all():
            found.append(centre)
            density[ball(centre, radius)] = 1
    return density


def with_beads(density, centres=BEADS, radii=(3.0,), contrast=GOLD):
    """Beads of these radii, in turn."""
    density = density.copy()
    for number, centre in enumerate(centres):
        density[ball(centre, radii[number % len(radii)])] = contrast
    return density


def image(density, noise=1.0, tilt=60, sigma=0.0, seed=0):
    """Dark on light: the noise is of a voxel, the missing wedge that of a tilt series about y."""
    density = density + noise * np.random.default_rng(seed).standard_normal(SHAPE)
    transform = np.fft.rfftn(density)
    kz, kx = np.fft.fftfreq(SHAPE[0])[:, None, None], np.fft.rfftfreq(SHAPE[2])
    transform *= abs(kz) <= np.tan(np.radians(tilt)) * kx + 1e-9
    grey = -np.fft.irfftn(transform, SHAPE, axes=(0, 1, 2))
    return (ndimage.gaussian_filter(grey, sigma) if sigma else grey).astype(np.float32)


def assert_found(grey, centres, excluded=None, within=1.5):
    """Each bead is found once, nothing else is, and the mask has them all."""
    found = find_beads(grey, excluded)
    assert found is not None
    beads, mask = found
    away = np.linalg.norm(beads.centres[:, None] - np.asarray(centres)[None], axis=-1)
    assert len(beads.centres) == len(centres)
    assert away.min(axis=0).max() < within
    assert mask[tuple(np.rint(centres).astype(int).T)].all()
    return beads, mask


@pytest.fixture(scope="module")
def scene():
    return particles()


@pytest.mark.parametrize("noise", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("radius", [2.0, 3.0, 5.0])
def test_beads_are_found_with_their_size(scene, radius, noise):
    if radius == 2 and noise == 3:
        pytest.skip("of 33 voxels at 3 sigma: no average shows them above particles")
    beads, mask = assert_found(image(with_beads(scene, radii=(radius,)), noise), BEADS)
    # A missing wedge draws them out along z and takes contrast, a bin of 2 voxels rounds.
    assert beads.diameters == pytest.approx(np.full(5, 2 * radius), rel=0.3)
    for centre in BEADS:  # with their fringes
        assert mask[ball(centre, radius)].all()


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_beads_are_found_in_denoised_tomograms(scene, sigma):
    assert_found(image(with_beads(scene), sigma=sigma), BEADS)


def test_beads_of_several_sizes(scene):
    grey = image(with_beads(scene, radii=(5.0, 2.5)))
    beads, _ = assert_found(grey, BEADS)
    assert beads.diameters[:3].min() > 1.3 * beads.diameters[3:].max()


@pytest.mark.parametrize("change", [(1, 1e5), (1, -1e5), (-1, 0), (1e-20, 0), (3e9, 7)])
def test_scale_offset_and_sign_do_not_matter(scene, change):
    factor, offset = change
    grey = image(with_beads(scene)).astype(np.float64)
    expected, mask = find_beads(grey)
    beads, changed = find_beads(grey * factor + offset)
    assert beads.centres == pytest.approx(expected.centres)
    assert (changed == mask).all()


def test_more_noise_finds_no_more(scene):
    density = with_beads(scene)
    for noise in (0.3, 1, 3, 10, 30):
        found = find_beads(image(density, noise))
        if found is not None:
            assert_found(image(density, noise), BEADS)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.float16, np.float64])
def test_types_of_tomograms(scene, dtype):
    grey = image(with_beads(scene, contrast=20.0))
    unit = (grey - grey.min()) / np.ptp(grey)
    levels = 255 * unit - (128 if dtype == np.int8 else 0)
    assert_found(levels.astype(dtype), BEADS)


def test_one_bead(scene):
    assert_found(image(with_beads(scene, BEADS[:1])), BEADS[:1])


def test_beads_at_faces_are_cut(scene):
    at = np.array([(0, 20, 20), (47, 60, 30), (20, 0, 60), (24, 79, 79), (24, 40, 0)], float)
    density = with_beads(particles(keep_off=at), at)
    found = find_beads(image(density))
    assert len(found[0].centres) == 5
    for centre in at:
        assert found[1][ball(centre, 3)].all()


def test_beads_that_padding_cuts(scene):
    grey = image(with_beads(scene))
    grey[:, :, :15] = 0  # through the middle of the first bead
    padding = find_padding(grey).mask
    beads, mask = find_beads(grey, padding)
    assert len(beads.centres) == 5
    assert (mask | padding)[ball(BEADS[0], 3)].all()


@pytest.mark.parametrize("mean", [20.0, -20.0])
def test_slices_of_padding_are_no_beads(mean):
    """Grey values far from 0, and slices that are padding throughout."""
    grey = np.random.default_rng(0).normal(mean, 1, (32, 60, 60)).astype(np.float32)
    padding = np.zeros(grey.shape, bool)
    padding[:3] = padding[-3:] = True
    grey[padding] = 0
    assert find_beads(grey, padding) is None
    grey[15, 30, 30] = mean + 1e6  # a hot voxel
    beads, mask = find_beads(grey, padding)
    assert beads.centres.tolist() == [[15, 30, 30]]
    assert mask[15, 30, 30]


def test_beads_that_touch(scene):
    chain = np.concatenate([BEADS, BEADS[:2] + np.array([(0, 6, 0), (0, 0, 6)])])
    _, mask = find_beads(image(with_beads(scene, chain)))
    for centre in chain:
        assert mask[ball(centre, 2.5)].all()


@pytest.mark.parametrize("value", [1e6, -1e6, 3e30, 60.0])
def test_hot_voxels(scene, value):
    grey = image(scene)
    grey[20, 30, 40] = value
    grey[7, 70, 11] = value / 2
    beads, mask = assert_found(grey, [(20, 30, 40), (7, 70, 11)], within=0.1)
    assert mask.sum() <= 60  # the voxels, and some around them
    assert str(beads) == "2 hot voxels"


def test_hot_voxels_beside_beads(scene):
    grey = image(with_beads(scene))
    grey[40, 70, 40] = 1e5
    assert_found(grey, [*BEADS, (40, 70, 40)])


def test_erased_beads_are_none(scene):
    grey = image(scene)
    for centre in BEADS:
        grey[ball(centre, 5)] = np.median(grey)
    assert find_beads(grey) is None


def membranes():
    density = np.zeros(SHAPE, np.float32)
    for middle in (20, 60):
        density[np.abs(GRID[2] - middle - 3 * np.sin(GRID[1] / 9)) <= 1.5] = 1
    return density


def droplets(contrast):
    """Round, of sizes from 4 to 24 voxels."""
    density = particles()
    for centre, radius in zip(BEADS, (2, 4, 6, 9, 12), strict=True):
        density[ball(centre, radius)] = contrast
    return density


def crystals(contrast=8.0):
    """Dense plates and needles with facets."""
    density = particles()
    rng = np.random.default_rng(1)
    for centre in BEADS:
        u = np.linalg.qr(rng.standard_normal((3, 3)))[0]
        offsets = np.stack([g - c for g, c in zip(GRID, centre, strict=True)], axis=-1) @ u
        density[(np.abs(offsets) <= rng.permutation([1.2, 3, 11])).all(axis=-1)] = contrast
    return density


WITHOUT = {
    "noise": lambda: np.zeros(SHAPE, np.float32),
    "particles": particles,
    "dense particles": lambda: 10 * particles(),
    "few dense particles": lambda: 10 * particles(count=6),
    "few small dense particles": lambda: 20 * particles(count=6, radius=2.5),
    "particles of two sizes": lambda: np.maximum(particles(), particles(5, 6, 7.0)),
    "membranes": membranes,
    "membranes and few particles": lambda: np.maximum(5 * membranes(), 5 * particles(count=6)),
    "droplets": lambda: droplets(1.5),
    "crystals": crystals,
}


@pytest.mark.parametrize("kind", WITHOUT)
@pytest.mark.parametrize(
    "treated",
    [
        "raw",
        "blurred",
        *(pytest.param(way, marks=pytest.mark.slow) for way in ("median", "16 levels", "fringes")),
    ],
)
def test_nothing_is_found_where_nothing_is(kind, treated):
    density = WITHOUT[kind]()
    for seed in (0, 1):
        grey = image(density, seed=seed)
        if treated in ("blurred", "16 levels"):
            grey = ndimage.gaussian_filter(grey, 2)
        if treated == "median":
            grey = ndimage.median_filter(grey, 5)
        if treated == "16 levels":
            low, high = np.quantile(grey, (0.0001, 0.9999))
            grey = np.rint(15 * np.clip((grey - low) / (high - low), 0, 1)).astype(np.uint8)
        if treated == "fringes":  # of a contrast transfer function that turns at 8 voxels
            squares = [np.fft.fftfreq(n) ** 2 for n in SHAPE]
            square = sum(np.meshgrid(*squares, indexing="ij"))
            grey = np.fft.ifftn(np.fft.fftn(grey) * np.sin(0.3 + np.pi * 64 * square)).real
        assert find_beads(grey) is None


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_of_the_simulated_volumes_one_has_beads(recipe):
    found = find_beads(simulate(replace(recipe, seed=recipe.seed + 100)).grey)
    assert (0 if found is None else len(found[0].centres)) == recipe.fiducials


def test_the_given_volumes_have_none(phantom, hiv):
    assert find_beads(phantom) is None
    assert find_beads(hiv) is None


@pytest.mark.parametrize(
    "grey",
    [
        np.zeros((9, 9, 9), np.float32),
        np.full((1, 1, 1), 5.0),
        np.ones((3, 1, 70), np.uint8),
        np.full((8, 8, 8), np.nan),
        np.where(np.arange(512).reshape(8, 8, 8) % 3, np.inf, 0.0),
        np.random.default_rng(0).normal(0, 1e38, (8, 9, 10)),
    ],
)
def test_odd_volumes_are_no_error(grey):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert find_beads(grey) is None
        assert find_beads(grey, np.ones(grey.shape, dtype=bool)) is None


def test_a_volume_with_nan_is_no_error(scene):
    grey = image(with_beads(scene))
    grey[3, 4, 5] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        find_beads(grey)


def test_nothing_changes_the_volume(scene):
    grey = image(with_beads(scene))
    excluded = np.zeros(SHAPE, dtype=bool)
    before = grey.copy()
    find_beads(grey, excluded)
    assert (grey == before).all()
    assert not excluded.any()


@pytest.mark.slow
def test_labels_are_nearly_those_of_a_volume_without_beads(scene):
    grey = image(with_beads(scene))
    with pytest.warns(UserWarning, match="5 gold beads about"):
        masked = segment(grey, device="cpu")
    kept = segment(grey, device="cpu", beads="keep")
    expected = segment(image(scene), device="cpu")

    def dice(labels):
        one, other = ((some == 1)[masked >= 0] for some in (labels, expected))
        return 2 * (one & other).sum() / (one.sum() + other.sum())

    assert dice(masked) > 0.7
    assert dice(kept) < 0.1
    for centre in BEADS:
        assert (masked[ball(centre, 3)] == -1).all()


def test_labels_without_beads_are_those_of_keep(scene):
    grey = image(scene)
    assert (segment(grey, device="cpu") == segment(grey, device="cpu", beads="keep")).all()


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"beads": "keep"}, "set beads: mask"),
        ({"beads": "keep", "clip": 50.0}, "set beads: mask"),
        ({"clip": None}, "set clip: 3 "),
        ({"clip": 40.0}, "set clip: 3 "),
        ({"clip": 3.0}, "leave them out by a mask"),
    ],
)
def test_the_warning_of_outliers_names_what_is_not_set(settings, remedy):
    grey = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    grey[10:38, 30:34, 30:34] -= 100  # a needle
    backend = select_backend("cpu")
    recipe = Recipe(fit_windows(SHAPE, 5), **settings)
    with backend.exclusive():
        told = [text for text in recipe.prepare(backend, grey).warnings if "outliers" in text]
    assert all(remedy in text for text in told)
    assert told or settings["clip"] == 3.0
