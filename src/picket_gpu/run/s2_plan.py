"""What is to be picked by PickET's S2 parameter file, and under which names: `plan_s2`.

Files have PickET's names, ``predicted_centroids_{index}_{mode}_{method}_{pex_mode}``, which hold
neither label nor z-slices nor ``min_distance``: its own results replace each other. Here, where
several results of a parameter file would have one name, each has at its end what tells it from the
others, such as ``_label0_distance5``; and a file that is there, of other settings, is replaced only
if that is asked for.
"""

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any, TypeAlias

from picket_gpu.config.s2 import S2Config, S2Input
from picket_gpu.errors import PicketError
from picket_gpu.files.filenames import PARTICLES
from picket_gpu.files.location import absolute
from picket_gpu.particles.by_labels import z_slices
from picket_gpu.particles.picket_s2 import ExtractionMode
from picket_gpu.particles.write import read_picking
from picket_gpu.run.fingerprints import digest
from picket_gpu.run.found import FoundSegmentation, read_segmentation
from picket_gpu.run.s2 import S2Plan

DIRECTORY = "predicted_particles"


def plan_s2(
    config: S2Config,
    where: str = "",
    voxel_size: tuple[float, float, float] | None = None,
    overwrite: bool = False,
) -> list[S2Plan]:
    """What is to be picked: every input by every mode.

    Args:
        where: what begins the message of an error, such as the name of the parameter file.
        voxel_size: angstrom, (z, y, x), instead of what files say.
        overwrite: pick again what is there, and replace what was made otherwise.

    Raises:
        PicketError: a segmentation is unusable, limits hold none of its z-slices, or a file would
            be replaced that was made otherwise.
    """
    plans = []
    results = list(_results(config, where, voxel_size))
    for result in results:
        key, found, told, mode, stem = result
        alike = [other for other in results if other[4] == stem]
        stem += _difference(result, alike) if len(alike) > 1 else ""
        known = min(found.header.voxel_size) > 0
        kinds = PARTICLES if known else {"yaml": PARTICLES["yaml"]}
        directory = config.directory / DIRECTORY
        files = {kind: directory / f"{stem}{ending}" for kind, ending in kinds.items()}
        fingerprint = _fingerprint(found, told, mode)
        there = [path for path in files.values() if path.exists()]
        earlier = read_picking(files["yaml"])
        if overwrite or earlier is None or earlier.fingerprint != fingerprint:
            if there and not overwrite:
                raise PicketError(
                    f"{there[0]}: already exists with other settings or from another program; "
                    "use --overwrite to replace it, or change dataset_name"
                )
            earlier = None
        whole = len(there) == len(files)
        plans.append(S2Plan(key, found, told, mode, files, fingerprint, earlier if whole else None))
    return plans


_Result: TypeAlias = tuple[str, FoundSegmentation, S2Input, ExtractionMode, str]


def _results(
    config: S2Config, where: str, voxel_size: tuple[float, float, float] | None
) -> Iterator[_Result]:
    """Every input by every mode, with PickET's name of its file."""
    for place, told in enumerate(config.inputs):
        key = f"{where}inputs[{place}]"
        if told.segmentation.suffix != ".h5":
            raise PicketError(f"{key}.segmentation: {told.segmentation} is not an HDF5 file (.h5)")
        found = read_segmentation(told.segmentation, voxel_size)
        try:
            z_slices(found.header.shape[0], *told.z_slices)
        except ValueError as error:
            raise PicketError(
                f"{key}.lower_z-slice_limit, upper_z-slice_limit: {error} ({told.segmentation})"
            ) from None
        name = "_".join(("predicted_centroids", str(found.index), *found.workflow))
        for mode in config.particle_extraction_params:
            yield key, found, told, mode, f"{name}_{mode.mode}"


def _difference(result: _Result, alike: list[_Result]) -> str:
    """What tells a result from others of its name."""

    def traits(result: _Result) -> dict[str, Any]:
        _, _, told, mode, _ = result
        lower, upper = told.lower_z_slice_limit or 0, told.upper_z_slice_limit
        return {
            "file": absolute(told.segmentation),
            "label": told.particle_cluster_id,
            "z": f"{lower}to{'end' if upper is None else upper}",
            "distance": getattr(mode, "min_distance", ""),
        }

    own, all_traits = traits(result), [traits(one) for one in alike]
    own_files = list(dict.fromkeys(one["file"] for one in all_traits))
    text = ""
    for trait, value in own.items():
        if any(one[trait] != value for one in all_traits):
            text += f"_{trait}{own_files.index(value) if trait == 'file' else value}"
    return text


def _fingerprint(found: FoundSegmentation, told: S2Input, mode: ExtractionMode) -> str:
    """Digest of all that particles depend on."""
    about = {
        "version": version("picket-gpu"),
        "segmentation": found.fingerprint,
        "label": told.particle_cluster_id,
        "z_slices": (told.lower_z_slice_limit or 0, told.upper_z_slice_limit),
        "mode": mode.model_dump(mode="json"),
        "geometry": (found.header.voxel_size, found.header.place),
    }
    return digest(about)
