"""Magnitudes of a window's 3-D DFT."""

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from picket_gpu.device.operations import Array, Box, Operations, Scratch
from picket_gpu.method.feature_mode import Extractor, FeatureMode


class FFTs(FeatureMode):
    """``mode: ffts``."""

    mode: Literal["ffts"] = "ffts"
    n_fft_subsets: int = Field(
        64,
        ge=1,
        lt=2**63,
        strict=True,
        description="On a CPU, neighborhoods are processed in at least this many batches",
    )
    raw_kind: ClassVar[str] = "magnitudes"
    keeps_raw: ClassVar[bool] = True

    def num_features(self, side: int) -> int:
        return side**3

    def num_distinct(self, side: int) -> int:
        return (side**3 + 1) // 2

    def batch_limit(self, count: int) -> int:
        return -(-count // self.n_fft_subsets)

    def extractor(self, operations: Operations, side: int, offset: float) -> Extractor:
        return _Magnitudes(operations, side, offset)

    def reported_from_raw(self, covariance: np.ndarray, side: int) -> np.ndarray:
        return np.eye(len(covariance))


class _Magnitudes(Extractor):
    """Magnitudes by the products of `dft_matrices`."""

    def __init__(self, operations: Operations, side: int, offset: float) -> None:
        super().__init__(operations, side)
        matrices = (m.astype(np.float32) for m in dft_matrices(side))
        self._across, self._along, self._zero = map(operations.xp.asarray, matrices)
        self._middle = side**3 * offset

    def of_windows(self, windows: Array, scratch: Scratch) -> Array:
        return self._of_lines(
            self.operations.lines(windows, self._across, self.side, scratch), scratch
        )

    def of_box(self, slab: Array, box: Box, scratch: Scratch) -> Array:
        return self._of_lines(
            self.operations.box_lines(slab, box, self._across, self.side, scratch), scratch
        )

    def _of_lines(self, lines: Array, scratch: Scratch) -> Array:
        return self.operations.magnitudes(lines, self._along, self._zero, self._middle, scratch)


def magnitudes_by_fft(xp: Any, windows: Array, side: int, offset: float) -> Array:
    """The raw features of `FFTs` by an FFT of each window, for tests and benchmarks.

    Args:
        windows: (side**3 + 1, windows) float32.

    Returns:
        ((side**3 + 1) / 2 + 1, windows) float32, in the order of the extractor.
    """
    cubes = windows[:-1].reshape(side, side, side, -1) + xp.float32(offset)
    # The last of the axes is halved: z, whose negative frequencies have no kept ones.
    half = xp.fft.rfftn(cubes, axes=(2, 1, 0))
    spectrum = xp.abs(half).reshape(-1, half.shape[-1])
    chosen = spectrum[xp.asarray(_pair_order(side))] * xp.float32(np.sqrt(2))
    chosen[(side**2 - 1) // 2 * side] = spectrum[0]
    return xp.concatenate([chosen, xp.ones_like(chosen[:1])]).astype("float32")


def _pair_order(side: int) -> np.ndarray:
    """Numbers, in C order of the DFT, of the kept frequencies, one of each conjugate pair."""
    line = np.arange(side**2)
    y, x = np.divmod(line, side)
    kept = line[line < (-y % side) * side + -x % side]
    whole = (kept[:, None] * side + np.arange(side)).ravel()
    return np.concatenate([whole, np.arange(side // 2 + 1)])


def dft_matrices(side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The 3-D DFT of a window as two products of real matrices, each conjugate pair once.

    The DFT of real input has equal magnitudes at k and -k. Keeping one of each pair times sqrt(2)
    leaves all distances between windows as they are, with ``(side**3 + 1) / 2`` features for
    ``side**3``.

    Returns:
        across: ``(side**2, side**2)``, the DFT over z and y. Rows are real and imaginary part of
            one frequency after the other, one of each conjugate pair; zero frequency, real, last.
        along: (2 side, 2 side), the DFT over x of a complex line, real parts above imaginary ones.
        zero: (side, side), the DFT over x of the real line at zero frequency: real parts of 0 to
            side // 2, imaginary parts of 1 to side // 2.
    """
    phase = 2 * np.pi / side * np.outer(np.arange(side), np.arange(side))
    full = np.kron(np.exp(-1j * phase), np.exp(-1j * phase))
    ky, kx = np.indices((side, side)).reshape(2, -1)
    pairs = full[np.arange(side**2) < (-ky % side) * side + -kx % side] * np.sqrt(2)
    across = np.vstack(
        [np.stack([pairs.real, pairs.imag], axis=1).reshape(-1, side**2), full[0].real]
    )
    cosine, sine = np.cos(phase), np.sin(phase)
    along = np.block([[cosine, sine], [-sine, cosine]])
    positive = slice(1, side // 2 + 1)
    zero = np.vstack([cosine[:1], np.sqrt(2) * cosine[positive], np.sqrt(2) * sine[positive]])
    return across, along, zero
