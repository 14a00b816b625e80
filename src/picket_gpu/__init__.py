"""Particles in cryo-electron tomograms without labels or templates: PickET on GPU or CPU.

    from picket_gpu import run_s1, segment
    from picket_gpu.particles import pick

    run = run_s1("my_dataset.yaml")  # files, as the command line writes them
    run.get("TS_04", "gabor-gmm").labels  # int8, (z, y, x)
    run.to_dataframe()  # particles of all tomograms, a pandas table

    labels = segment(volume, features="gabor", clustering="gmm")  # an array, no files
    picks = pick(labels, diameter=20)  # in voxels

`run_s1` runs a configuration: a YAML file, a mapping or an `S1Config`.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from picket_gpu.config.load import load_config
    from picket_gpu.config.s1 import S1Config
    from picket_gpu.errors import PicketError
    from picket_gpu.files.segmentation import Segmentation
    from picket_gpu.particles.particles import Particles
    from picket_gpu.pipeline import run_s1
    from picket_gpu.run.results import S1Run
    from picket_gpu.segmentation import segment

__version__ = version("picket-gpu")
_HOME = {
    "Particles": "particles.particles",
    "PicketError": "errors",
    "S1Config": "config.s1",
    "S1Run": "run.results",
    "Segmentation": "files.segmentation",
    "load_config": "config.load",
    "run_s1": "pipeline",
    "segment": "segmentation",
}
__all__ = [
    "Particles",
    "PicketError",
    "S1Config",
    "S1Run",
    "Segmentation",
    "load_config",
    "run_s1",
    "segment",
]


def __getattr__(name: str) -> Any:
    # On first use: `import picket_gpu` and --help stay fast.
    if name in _HOME:
        return getattr(import_module(f"picket_gpu.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
