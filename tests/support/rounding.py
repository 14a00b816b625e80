"""How far float32 may be from exact arithmetic, whatever the order of its sums."""

import numpy as np

from picket_gpu.method.features.ffts import dft_matrices

UNIT = np.finfo(np.float32).eps / 2  # of rounding


def gamma(roundings):
    """Most relative error of so many roundings one after the other (Higham 2002, section 3.1)."""
    return roundings * UNIT / (1 - roundings * UNIT)


def exact_magnitudes(lines, side, middle):
    """What `Operations.magnitudes` should make of float32 ``lines``, and how far it may be off.

    A part of the spectrum is a sum of 2 side products w x (side, on the real line at zero
    frequency). Each is rounded at w, at itself and at the sums it goes into, 2 side - 1 at most,
    and ``middle`` is one more of them: the error is gamma(2 side + 2) sum |w x|. By sums and
    differences of x and -x there are fewer. Both parts together err by no more than the root of the
    sum of their squares; squares, their sum and its root add three roundings of the result.
    """
    _, along, zero = dft_matrices(side)
    lines = lines.astype(np.float64)
    pairs = len(lines) // 2
    part = lines[:-1].reshape(pairs, 2 * side, -1)
    line = lines[-1].reshape(side, -1)
    offset = np.zeros((side, 1))
    offset[0] = middle
    value = _magnitudes(along @ part, zero @ line + offset)
    most = _magnitudes(abs(along) @ abs(part), abs(zero) @ abs(line) + abs(offset))
    error = gamma(2 * side + 2) * most
    return value, error + gamma(3) * (value + error)


def _magnitudes(spectrum, central):
    """Of complex numbers, in the order of `Operations.magnitudes`, and its ones."""
    pairs, both, count = spectrum.shape
    side, half = both // 2, len(central) // 2
    lines = np.hypot(spectrum[:, :side], spectrum[:, side:]).reshape(pairs * side, count)
    central = [abs(central[:1]), np.hypot(central[1 : half + 1], central[half + 1 :])]
    return np.concatenate([lines, *central, np.ones((1, count))])
