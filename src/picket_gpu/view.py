"""A segmentation and its particles over the tomogram: python -m picket_gpu.view SEGMENTATION."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from picket_gpu.command import continue_in_utf8, exit_code, parser_for
from picket_gpu.errors import PicketError
from picket_gpu.files.filenames import (
    is_particles,
    particles_beside,
    particles_csv,
    segmentation_beside,
)
from picket_gpu.files.location import Location, location_argument, path_argument
from picket_gpu.files.segmentation import read_foreground, read_scores
from picket_gpu.files.tomogram import read_header, read_voxels
from picket_gpu.particles.files import read_spheres
from picket_gpu.particles.particles import Particles
from picket_gpu.run.existing import Directory

CONTRAST = (0.5, 99.5)  # percentiles of grey values that become black and white
COLOUR = (1.0, 0.47, 0.0, 1.0)
RING = "cyan"


@dataclass(frozen=True)
class Layer:
    """What napari is to show.

    Attributes:
        kind: "image", "labels" or "points".
        data: (z, y, x), or of n points (n, 3), each (z, y, x).
        settings: arguments of napari's ``add_image``, ``add_labels`` or ``add_points``; scale and
            translation are in angstrom, (z, y, x).
    """

    kind: str
    data: np.ndarray
    settings: dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    """Open napari and wait until it is closed.

    Returns:
        Exit code, as `picket_gpu.__main__.main`.
    """
    if arguments is None:
        continue_in_utf8()
    parser = parser_for(
        "python -m picket_gpu.view",
        "Show a segmentation and its particles over the tomogram in napari.",
        "out/my_dataset/segmentation_0_gabor_gmm.h5",
        "docs/output.md",
    )
    parser.add_argument(
        "segmentation",
        type=path_argument,
        help="file of a segmentation (segmentation_*.h5, .mrc or .zarr), or of its particles "
        "(particles_*.csv, .star, .cmm or .yaml) in the same directory",
    )
    parser.add_argument(
        "--tomogram",
        type=location_argument,
        help="tomogram to show; default: the one that the segmentation was made from",
    )
    options = parser.parse_args(arguments)
    return exit_code(lambda: _show(options.segmentation, options.tomogram))


def _show(path: Path, tomogram: Location | None) -> int:
    try:
        import napari
    except ImportError:
        raise PicketError("viewing needs napari; pip install -e '.[napari]'") from None
    viewer = napari.Viewer(title=path.name)
    add_layers(viewer, path, tomogram)
    napari.run()
    return 0


def add_layers(viewer: Any, path: Path, tomogram: Location | None = None) -> None:
    """Add a tomogram, its segmentation, and scores and particles if there are any, to a viewer.

    napari shows a sphere on the slices that cut it only if slices are as thick as the sphere.

    Args:
        viewer: napari's ``Viewer`` or ``ViewerModel``.
        path: file of the segmentation, or of particles in its directory.
        tomogram: tomogram to show; default: the one that the segmentation was made from.

    Raises:
        PicketError: a file is missing or invalid, or the tomogram has another shape.
    """
    add = {"image": viewer.add_image, "labels": viewer.add_labels, "points": viewer.add_points}
    thickness = 0.0
    for layer in layers(path, tomogram):
        add[layer.kind](layer.data, **layer.settings)
        if layer.kind == "points":
            thickness = max(thickness, layer.settings["size"] * layer.settings["scale"][0])
    if thickness:
        viewer.dims.thickness = (thickness,) * viewer.dims.ndim
    viewer.scale_bar.visible = True


def layers(path: Path, tomogram: Location | None = None) -> Iterator[Layer]:
    """Tomogram, scores if any, label 1, and particles if any; as `add_layers` shows them."""
    if not path.exists():
        raise PicketError(f"{path}: no such file; name a segmentation or particles")
    pickings = particles_beside(path)
    if is_particles(path):
        pickings = [particles_csv(path)]
        path = _segmentation_of(path)
    found = Directory(path.parent).read(path, named=False)
    if tomogram is None and found.tomogram == path:
        raise PicketError(f"{path}: records no tomogram; name it with --tomogram")
    where = tomogram or found.tomogram
    header = read_header(where, found.selector)
    if header.shape != found.shape:
        raise PicketError(
            f"{where}: has {header.shape} voxels (z, y, x), but the segmentation has "
            f"{found.shape}; name the right file with --tomogram"
        )
    if not found.is_scaled:
        found = found.model_copy(update={"voxel_size": header.voxel_size, "origin": header.place})
    picked = [read_spheres(picking, found) for picking in pickings]
    picked = [one for one in picked if one.count]
    if picked and not found.is_scaled:
        raise PicketError(
            f"{where}: has no voxel size, which particles need; set voxel_size and run again"
        )
    sizes = found.voxel_size
    place: dict[str, Any] = {
        "scale": sizes if found.is_scaled else (1, 1, 1),
        "translate": replace(header, voxel_size=sizes).place[::-1],
        "units": "angstrom" if found.is_scaled else "pixel",
    }
    # Slices as thick as a particle are for the particles only.
    image = place | ({"projection_mode": "none"} if picked else {})
    grey = read_voxels(where, found.selector)
    look = {"contrast_limits": np.percentile(grey, CONTRAST), "colormap": "gray"}
    name = where.name if found.tomogram == path else found.name
    yield Layer("image", grey, {"name": name} | look | image)
    if (scores := read_scores(path)) is not None:
        look = {"contrast_limits": (0, 1), "colormap": "magma", "visible": False}
        yield Layer("image", scores.astype(np.float32), {"name": "score"} | look | image)
    look = {"colormap": {None: "transparent", 1: COLOUR}, "opacity": 0.5}
    labels = read_foreground(path).view(np.uint8)
    yield Layer("labels", labels, {"name": path.stem} | look | place)
    for one in picked:
        yield _rings(one, place)


def _segmentation_of(particles: Path) -> Path:
    found = segmentation_beside(particles)
    if found is None:
        raise PicketError(
            f"{particles}: no segmentation of its tomogram in the same directory; move it there"
        )
    return found


def _rings(particles: Particles, place: dict[str, Any]) -> Layer:
    """Spheres, drawn as the circle in which the slice cuts each.

    napari has one radius for the circle and for the distance from the slice, in steps of the last
    axis: all axes have the step of the longest here, so that voxels may have unequal edges and
    the slider still stops at every slice.
    """
    sizes, own = particles.voxel_size, particles.picks.diameters
    step = max(sizes)
    look = {
        "size": particles.diameter / step if own is None else own / step,
        "face_color": "transparent",
        "border_color": RING,
        "features": {"score": particles.heights},
        "projection_mode": "rescale_spherical",
        "scale": (step,) * len(sizes),
    }
    name = {"name": particles.path.stem}
    return Layer("points", particles.coordinates * sizes / step, place | name | look)


if __name__ == "__main__":
    sys.exit(main())
