"""Simulated volumes whose particles are known: ellipsoids among what a tomogram also holds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import ndimage

MEMBRANE = 3.0  # voxels, thickness


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
        elongation: of the ellipsoids' first axes, which are as much longer than ``radii``.
        large: radii of every other particle; None for those of all.
        sheets: flat membranes through the whole volume, 3 thick; particles then lie on them.
    """

    name: str
    radii: tuple[float, float] = (4.0, 6.0)
    count: int = 60
    noise: float = 2.0
    tilt: float = 60.0
    membranes: int = 0
    fiducials: int = 0
    gradient: float = 0.0
    elongation: float = 1.0
    large: tuple[float, float] | None = None
    sheets: int = 0
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
    replace(_PLAIN, name="on membranes", sheets=2, seed=8),
    replace(_PLAIN, name="rods", radii=(3.0, 4.0), elongation=2.5, seed=9),
    replace(_PLAIN, name="two kinds", radii=(3.5, 4.5), large=(7.0, 9.0), count=50, seed=10),
]


@dataclass(frozen=True)
class Simulated:
    """A simulated volume.

    Attributes:
        grey: grey values, float32, (z, y, x), particles dark.
        particles, others: particles and other structures, bool, (z, y, x).
        centres: of the particles, (n, 3), z y x.
        radii: (n,), of spheres as large as each particle.
    """

    grey: np.ndarray
    particles: np.ndarray
    others: np.ndarray
    centres: np.ndarray
    radii: np.ndarray


def simulate(recipe: Recipe) -> Simulated:
    """The volume of a recipe, the same one each time."""
    rng = np.random.default_rng(recipe.seed)
    shape = (recipe.side,) * 3
    others = np.zeros(shape)
    for _ in range(recipe.membranes):
        radius = rng.uniform(14, 24)
        away = _distances(shape, rng.uniform(20, recipe.side - 20, 3), np.ones(3), np.eye(3))
        others[abs(away - radius) <= MEMBRANE / 2] = 1
    for _ in range(recipe.fiducials):
        middle = rng.uniform(10, recipe.side - 10, 3)
        others[_distances(shape, middle, np.ones(3), np.eye(3)) <= 3] = 10
    sheets = [_Sheet.drawn(recipe, number, rng) for number in range(recipe.sheets)]
    for sheet in sheets:
        others[abs(sheet.heights(np.indices(shape))) <= MEMBRANE / 2] = 1
    particles, centres, radii = _ellipsoids(recipe, rng, others > 0, sheets)
    density = np.maximum(others, particles) + recipe.noise * rng.standard_normal(shape)
    grey = -_imaged(density, recipe.tilt) - recipe.gradient * np.linspace(0, 1, recipe.side)
    return Simulated(grey.astype(np.float32), particles, others > 0, centres, radii)


class _Sheet(NamedTuple):
    """A plane: its normal, (3,), and its distance from the first voxel."""

    normal: np.ndarray
    offset: float

    @classmethod
    def drawn(cls, recipe: Recipe, number: int, rng: np.random.Generator) -> "_Sheet":
        """One of those that share the volume along x, nearly upright, so that tilts show it."""
        normal = np.array([0.0, 0.0, 1.0]) + rng.uniform(-0.2, 0.2, 3)
        normal /= np.linalg.norm(normal)
        middle = np.full(3, recipe.side / 2)
        middle[2] = (number + 0.5) * recipe.side / recipe.sheets
        return cls(normal, float(normal @ middle))

    def heights(self, points: np.ndarray) -> np.ndarray:
        """Distances of points (3, ...) from the plane, negative before it."""
        found: np.ndarray = np.tensordot(self.normal, points, 1) - self.offset
        return found

    def beside(self, point: np.ndarray, height: float) -> np.ndarray:
        """The point moved along the normal to ``height``."""
        moved: np.ndarray = point + (height - self.heights(point)) * self.normal
        return moved


def _ellipsoids(
    recipe: Recipe, rng: np.random.Generator, taken: np.ndarray, sheets: Sequence[_Sheet]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Turned ellipsoids that touch neither each other nor what is ``taken``, their centres, and
    the radii of spheres as large. Where there are ``sheets`` each lies on one."""
    particles, centres, radii = np.zeros_like(taken), [], []
    for _ in range(10 * recipe.count):
        if len(centres) == recipe.count:
            break
        large = recipe.large is not None and len(centres) % 2
        axes = rng.uniform(*(recipe.large if large else recipe.radii), 3)
        axes[0] *= recipe.elongation
        turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
        centre = rng.uniform(axes.max(), recipe.side - axes.max(), 3)
        gap = 1.5
        if sheets:
            gap = 0.0
            sheet = sheets[int(rng.integers(len(sheets)))]
            reach = np.sqrt(np.sum((axes * (turn @ sheet.normal)) ** 2)) + MEMBRANE / 2 + 0.5
            centre = sheet.beside(centre, reach * rng.choice([-1.0, 1.0]))
            if (np.minimum(centre, recipe.side - centre) < axes.max()).any():
                continue
        away = _distances(taken.shape, centre, axes, turn)
        near = away <= 1 + 1.5 / axes.min()
        if not (particles[near].any() or taken[away <= 1 + gap / axes.min()].any()):
            particles |= away <= 1
            centres.append(centre)
            radii.append(np.cbrt(axes.prod()))
    return particles, np.array(centres), np.array(radii)


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
