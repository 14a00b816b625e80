"""How many labels `precision: tf32` changes, by emulating TF32 on a CPU.

    python -m benchmarks.tf32

A tensor core rounds the operands of a product to 10 bits of mantissa, to nearest, and adds in
float32. Rounding them first and multiplying in float32 is the same but for the order of sums.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mrcfile
import numpy as np

from benchmarks.volumes import DEMO
from picket_gpu.device.backend import Backend
from picket_gpu.method.features import FFTs, Gabor, Intensities
from picket_gpu.method.memory import plan_memory
from picket_gpu.method.preprocess import prepare
from picket_gpu.method.windows import fit_windows
from picket_gpu.method.workflows import PreparedTomogram, Settings, run_workflows


class _RoundingNumpy:
    """NumPy with a matmul that rounds its operands, while ``on``."""

    on = False

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def matmul(self, a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        operands = (rounded(a), rounded(b)) if self.on else (a, b)
        return np.matmul(*operands, out=out)


class EmulatedTF32(Backend):
    """The CPU with tensor cores; one worker, since there is one switch."""

    def __init__(self) -> None:
        super().__init__("emulated TF32", _RoundingNumpy())

    @contextmanager
    def precision(self, precision: str) -> Iterator[None]:
        self.xp.on = precision == "tf32"
        try:
            yield
        finally:
            self.xp.on = False


def rounded(a: np.ndarray) -> np.ndarray:
    """float32 to the nearest float32 with 10 bits of mantissa."""
    bits = np.ascontiguousarray(a, dtype=np.float32).view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)


def agreement(volume: np.ndarray) -> dict[str, tuple[float, int, int]]:
    """For each mode's mixture: share of labelled voxels that keep their label, iterations with
    and without."""
    backend = EmulatedTF32()
    windows = fit_windows(volume.shape, 5)
    plan = plan_memory(backend, windows, 1)
    modes = [FFTs(), Gabor(), Intensities()]
    with backend.exclusive():
        prepared = prepare(backend, volume, 2.0, plan)
        runs = [
            list(
                run_workflows(
                    backend,
                    PreparedTomogram(prepared, windows, plan),
                    modes,
                    Settings(["gmm"], precision=precision),
                )
            )
            for precision in ("tf32", "float32")
        ]
    figures = {}
    for rough, exact in zip(*runs, strict=True):
        labelled = exact.labels >= 0
        share = float((rough.labels == exact.labels)[labelled].mean())
        figures[exact.mode.mode] = (share, rough.model.iterations, exact.model.iterations)
    return figures


def main() -> None:
    for name in ("hiv_vlp_40A", "phantom_a"):
        volume = mrcfile.read(DEMO.with_name(f"{name}.mrc"))
        for mode, (share, rough, exact) in agreement(volume).items():
            print(f"{name:<12} {mode:<12} {share:.6f}  {rough} iterations, {exact} in float32")


if __name__ == "__main__":
    main()
