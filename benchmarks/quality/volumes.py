"""Simulated volumes whose particles are known: ellipsoids among what a tomogram also holds."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage


@dataclass(frozen=True)
class Recipe:
    """What a simulated volume holds. Lengths in voxels, densities in those of a particle.

    Attributes:
        radii: of the ellipsoids' axes, from and to.
        count: of particles aimed at; fewer where they do not fit without touching.
        noise: standard deviation of white noise, before the low-pass.
        tilt: largest tilt in degrees; 90 leaves no missing wedge.
        membranes: spherical shells, 3 thick.
        fiducials: spheres of radius 3, ten times as dense as a particle.
        gradient: density gained from one end of x to the other.
    """

    name: str
    radii: tuple[float, float] = (4.0, 6.0)
    count: int = 60
    noise: float = 2.0
    tilt: float = 60.0
    membranes: int = 0
    fiducials: int = 0
    gradient: float = 0.0
    side: int = 96
    seed: int = 0


_PLAIN = Recipe("plain")
RECIPES = [
    _PLAIN,
    replace(_PLAIN, name="small", radii=(2.5, 3.5), count=150, seed=1),
    replace(_PLAIN, name="crowded", radii=(6.0, 10.0), count=85, seed=2),
    replace(_PLAIN, name="noisy", noise=6.0, seed=3),
    replace(_PLAIN, name="all tilts", tilt=90.0, seed=4),
    replace(_PLAIN, name="membranes", membranes=3, seed=5),
    replace(_PLAIN, name="fiducials", fiducials=6, seed=6),
    replace(_PLAIN, name="gradient", gradient=2.0, seed=7),
]


def simulate(recipe: Recipe) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Grey values, float32, particles dark; particles and other structures, bool, all (z, y, x);
    centres of the particles, (n, 3), z y x."""
    rng = np.random.default_rng(recipe.seed)
    shape = (recipe.side,) * 3
    others = np.zeros(shape)
    for _ in range(recipe.membranes):
        radius = rng.uniform(14, 24)
        away = _distances(shape, rng.uniform(20, recipe.side - 20, 3), np.ones(3), np.eye(3))
        others[abs(away - radius) <= 1.5] = 1
    for _ in range(recipe.fiducials):
        middle = rng.uniform(10, recipe.side - 10, 3)
        others[_distances(shape, middle, np.ones(3), np.eye(3)) <= 3] = 10
    particles, centres = _ellipsoids(recipe, rng, others > 0)
    density = np.maximum(others, particles) + recipe.noise * rng.standard_normal(shape)
    grey = -_imaged(density, recipe.tilt) - recipe.gradient * np.linspace(0, 1, recipe.side)
    return grey.astype(np.float32), particles, others > 0, centres


def _ellipsoids(
    recipe: Recipe, rng: np.random.Generator, taken: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Turned ellipsoids that touch neither each other nor what is ``taken``, and their centres."""
    particles, centres = np.zeros_like(taken), []
    for _ in range(10 * recipe.count):
        if len(centres) == recipe.count:
            break
        axes = rng.uniform(*recipe.radii, 3)
        turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
        centre = rng.uniform(axes.max(), recipe.side - axes.max(), 3)
        away = _distances(taken.shape, centre, axes, turn)
        if not (taken | particles)[away <= 1 + 1.5 / axes.min()].any():
            particles |= away <= 1
            centres.append(centre)
    return particles, np.array(centres)


def _distances(
    shape: tuple[int, ...], centre: np.ndarray, axes: np.ndarray, turn: np.ndarray
) -> np.ndarray:
    """Distance of every voxel from ``centre``, in units of the axes of a turned ellipsoid."""
    z, y, x = (np.arange(n) - c for n, c in zip(shape, centre, strict=True))
    along = [t[0] * z[:, None, None] + t[1] * y[:, None] + t[2] * x for t in turn]
    return np.sqrt(sum((a / axis) ** 2 for a, axis in zip(along, axes, strict=True)))


def _imaged(density: np.ndarray, tilt: float) -> np.ndarray:
    """Without the frequencies that tilts around y up to ``tilt`` miss, and with a low-pass."""
    transform = np.fft.rfftn(density)
    kz, kx = np.fft.fftfreq(len(density))[:, None, None], np.fft.rfftfreq(density.shape[2])
    if tilt < 90:
        transform *= abs(kz) <= np.tan(np.radians(tilt)) * kx + 1e-9
    return ndimage.gaussian_filter(np.fft.irfftn(transform, density.shape, axes=(0, 1, 2)), 1)
