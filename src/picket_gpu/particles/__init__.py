"""From segmentations, the tomogram itself, or both to coordinates of particles.

`pick`, `pick_by_contrast` and `pick_by_both` take arrays. Knows no configuration and no page; only
`formats`, `files` and `from_files` know files. May use `method` (what labels mean) and `device`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from picket_gpu.particles.picking import pick, pick_by_both, pick_by_contrast
    from picket_gpu.particles.picks import Picks

__all__ = ["Picks", "pick", "pick_by_both", "pick_by_contrast"]
_HOME = {"Picks": "picks"} | dict.fromkeys(__all__[1:], "picking")


def __getattr__(name: str) -> Any:
    # On first use: settings alone are wanted at the start of a run.
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
