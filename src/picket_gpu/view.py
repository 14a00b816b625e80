"""A segmentation over its tomogram, in napari: python -m picket_gpu.view SEGMENTATION."""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from picket_gpu.command import exit_code
from picket_gpu.errors import PicketError, one_line
from picket_gpu.files.lazy_volume import VolumeSelector
from picket_gpu.files.location import Location, as_location
from picket_gpu.files.read_segmentation import read_attributes, read_foreground, read_scores
from picket_gpu.files.tomogram import read_header, read_voxels

CONTRAST = (0.5, 99.5)  # percentiles of grey values that become black and white
COLOUR = (1.0, 0.47, 0.0, 1.0)


@dataclass(frozen=True)
class Layer:
    """What napari is to show.

    Attributes:
        kind: "image" or "labels".
        data: (z, y, x).
        settings: arguments of napari's ``add_image`` or ``add_labels``; scale and translation are
            in angstrom, (z, y, x).
    """

    kind: str
    data: np.ndarray
    settings: dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    """Open napari, and wait until it is closed.

    Returns:
        Exit code, as `picket_gpu.__main__.main`.
    """
    parser = argparse.ArgumentParser(
        prog="python -m picket_gpu.view",
        description="Show a segmentation over its tomogram, in napari.",
    )
    parser.add_argument("segmentation", type=Path, help="segmentation_*.h5, .mrc or .zarr")
    parser.add_argument(
        "--tomogram", type=as_location, help="instead of the one that the segmentation names"
    )
    options = parser.parse_args(arguments)
    return exit_code(lambda: _show(options.segmentation, options.tomogram))


def _show(path: Path, tomogram: Location | None) -> int:
    try:
        import napari
    except ImportError:
        raise PicketError("napari is not installed; install picket-gpu[napari]") from None
    viewer = napari.Viewer(title=path.name)
    add_layers(viewer, path, tomogram)
    napari.run()
    return 0


def add_layers(viewer: Any, path: Path, tomogram: Location | None = None) -> None:
    """Add tomogram, scores if there are any, and label 1 to a viewer.

    Args:
        viewer: napari's ``Viewer`` or ``ViewerModel``.
        path: of the segmentation.
        tomogram: instead of the one that the segmentation names.

    Raises:
        PicketError: the segmentation or the tomogram is unusable, or is of another shape.
    """
    for layer in layers(path, tomogram):
        add = viewer.add_labels if layer.kind == "labels" else viewer.add_image
        add(layer.data, **layer.settings)
    viewer.scale_bar.visible = True


def layers(path: Path, tomogram: Location | None = None) -> Iterator[Layer]:
    """Tomogram, scores if there are any, and label 1; as `add_layers` shows them."""
    if not path.exists():
        raise PicketError(f"{path}: no such file; name a segmentation")
    try:
        told = read_attributes(path)
        labels = read_foreground(path).view(np.uint8)
    except (OSError, KeyError, ValueError) as error:
        raise PicketError(f"{path}: is not a segmentation of S1 ({one_line(error)})") from None
    if tomogram is None and "tomogram_path" not in told:
        raise PicketError(f"{path}: does not name its tomogram; name it by --tomogram")
    where = tomogram or as_location(told["tomogram_path"])
    if tomogram is None and isinstance(where, Path) and not where.exists():
        where = as_location(told.get("tomogram_as_given", where))
    selector = VolumeSelector(dataset=told.get("tomogram_dataset"), shape=labels.shape)
    header = read_header(where, selector)
    if header.shape != labels.shape:
        raise PicketError(
            f"{where}: has {header.shape} voxels (z, y, x), the segmentation {labels.shape}"
        )
    own = read_header(path).voxel_size if path.suffix == ".mrc" else header.voxel_size
    sizes = tuple(told.get("voxel_size", own))
    known = all(length > 0 for length in sizes)
    place: dict[str, Any] = {
        "scale": sizes if known else (1, 1, 1),
        "translate": replace(header, voxel_size=sizes).place[::-1],
        "units": "angstrom" if known else "pixel",
    }
    grey = read_voxels(where, selector)
    look = {"contrast_limits": np.percentile(grey, CONTRAST), "colormap": "gray"}
    yield Layer("image", grey, {"name": told.get("tomogram_name", where.name)} | look | place)
    if (scores := read_scores(path)) is not None:
        look = {"contrast_limits": (0, 1), "colormap": "magma", "visible": False}
        yield Layer("image", scores.astype(np.float32), {"name": "score"} | look | place)
    look = {"colormap": {None: "transparent", 1: COLOUR}, "opacity": 0.5}
    yield Layer("labels", labels, {"name": path.stem} | look | place)


if __name__ == "__main__":
    sys.exit(main())
