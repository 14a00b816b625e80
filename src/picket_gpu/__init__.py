"""Label-free segmentation of cryo-electron tomograms: step 1 of PickET on GPU or CPU.

`run_s1` takes a configuration (a YAML file, a mapping or an `S1Config`) from tomograms to files;
`segment` takes one volume in memory to labels.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from picket_gpu.config.load import load_config
    from picket_gpu.config.s1 import S1Config
    from picket_gpu.errors import PicketError
    from picket_gpu.pipeline import run_s1
    from picket_gpu.run.results import S1Run, SegmentationResult
    from picket_gpu.segmentation import segment

__version__ = version("picket-gpu")
__all__ = [
    "PicketError",
    "S1Config",
    "S1Run",
    "SegmentationResult",
    "load_config",
    "run_s1",
    "segment",
]

_HOME = {
    "PicketError": "errors",
    "S1Config": "config.s1",
    "S1Run": "run.results",
    "SegmentationResult": "run.results",
    "load_config": "config.load",
    "run_s1": "pipeline",
    "segment": "segmentation",
}


def __getattr__(name: str) -> Any:
    # On first use: `import picket_gpu` and --help stay fast.
    if name in _HOME:
        return getattr(import_module(f"picket_gpu.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
