"""Particles from segmentations that are there: python -m picket_gpu.pick DIR_OR_FILE --diameter A.

Also PickET's step 2 (S2) from its parameter file: python -m picket_gpu.pick S2_PARAMS.yaml.
"""

import argparse
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from picket_gpu.command import exit_code, report_failures
from picket_gpu.errors import Failure, NothingDoneError, PicketError

if TYPE_CHECKING:
    from picket_gpu.console import Reporter
    from picket_gpu.particles.settings import ParticleSettings
    from picket_gpu.run.results import ParticleResult

# Options by the keys of `ParticleSettings`, with those of their names that differ.
_NUMBERS = {
    "diameter": "of a particle in angstrom, the outer one of a hollow particle",
    "threshold": "height from which candidates are particles, 0 to 1, or auto (default)",
    "spacing": "least distance between particles in angstrom; default 0.675 diameters",
    "margin": "least distance from the limits of what has labels, in angstrom",
    "max_particles": "particles of a tomogram at most, the highest; default all",
    "label": "the cluster that has the particles, 0 or 1, the rarer one (default)",
    "min_distance": "between markers of --method watershed, in angstrom; default half a diameter",
    "least_size": "diameter in angstrom of the sphere whose volume a component, or a part of a "
    "watershed, has at least",
}
_WORDS = {
    "source": "score (default), or tomogram: pick without the segmentation",
    "contrast": "of particles in the tomogram: dark, bright or auto (default)",
    "method": "ball (default); components or watershed of the labels, as PickET's step 2 has them",
}


def main(arguments: list[str] | None = None) -> int:
    """Pick as told on the command line.

    Returns:
        Exit code, as `picket_gpu.__main__.main`.
    """
    parser = argparse.ArgumentParser(
        prog="python -m picket_gpu.pick",
        description="Pick particles from segmentations that are there, with other settings.",
        epilog="Example: python -m picket_gpu.pick out/my_dataset --diameter 260",
    )
    parser.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="DIR_OR_FILE",
        help="output directory of S1, segmentation_*.h5, .zarr or .mrc, or alone the parameter "
        "file (.yaml) of PickET's step 2",
    )
    for key, text in _NUMBERS.items():
        parser.add_argument(_option(key), type=_number, help=text)
    for key, text in _WORDS.items():
        parser.add_argument(_option(key), help=text)
    parser.add_argument(
        "--workflow",
        dest="workflows",
        nargs="+",
        help="from which of a directory to pick, such as gabor-gmm; default that where it is "
        "there, else the first of a mixture, else all",
    )
    parser.add_argument("--voxel-size", type=_number, help="angstrom, instead of what files say")
    parser.add_argument("--output-dir", type=Path, help="default beside the segmentations")
    parser.add_argument("--device", default="auto", help="auto, cpu, gpu, or gpu:N")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    options = parser.parse_args(arguments)
    return exit_code(lambda: _run(options))


def pick_files(
    paths: Iterable[str | Path],
    settings: "ParticleSettings",
    *,
    voxel_size: float | None = None,
    output_dir: Path | None = None,
    overwrite: bool = False,
    device: str = "auto",
    reporter: "Reporter | None" = None,
) -> tuple[list["ParticleResult"], list[Failure]]:
    """Pick from segmentations that are there, and write the files that a run would.

    What is there, picked with the same settings from the same segmentations, is left as it is, by a
    run too that follows.

    Args:
        paths: output directories of S1, and files of segmentations.
        settings: as ``particles`` in the parameter file.
        voxel_size: angstrom, of all axes, instead of what files say.
        output_dir: for all results; default beside the segmentations.
        overwrite: pick again, and replace files that were not made by picking.
        device: "auto", "cpu", "gpu" or "gpu:N".

    Returns:
        What was picked, and what failed.

    Raises:
        PicketError: an argument or a segmentation is unusable, which is found before anything is
            written, or nothing could be done.
    """
    from picket_gpu.console import SILENT
    from picket_gpu.device.select import select_backend
    from picket_gpu.run.repick import plan_repicking

    reporter = reporter or SILENT
    size = None if voxel_size is None else (voxel_size, voxel_size, voxel_size)
    planned = plan_repicking(map(Path, paths), settings, size, output_dir, overwrite)
    backend = select_backend(device)
    results, failures = [], []
    for one in planned:
        for warning in one.found.warnings:
            reporter.line(f"warning: {warning}")
        try:
            result = one.pick(backend)
        except (PicketError, OSError, MemoryError) as error:
            failures.append(Failure(one.found.index, one.found.path, one.plan.workflow[0], error))
            continue
        results.append(result)
        reporter.line(
            _line(result.count, result.threshold, result.candidates, one.plan.files, result.earlier)
        )
    if failures and not results:
        raise NothingDoneError(failures)
    return results, failures


def pick_by_s2(
    config: Path,
    *,
    voxel_size: float | None = None,
    overwrite: bool = False,
    reporter: "Reporter | None" = None,
) -> list[Path]:
    """Pick what PickET's S2 parameter file says: every input by every mode.

    Files are those of PickET, in ``output_dir/dataset_name/predicted_particles/``; see
    `picket_gpu.run.s2` for names that PickET would give to several. Coordinates in YAML are the
    nearest voxels, where PickET cuts fractions off.

    Returns:
        The YAML files.

    Raises:
        PicketError: the file or a segmentation is unusable.
    """
    from picket_gpu.config.s2 import load_s2_config
    from picket_gpu.console import SILENT
    from picket_gpu.run.outputs import check_directory
    from picket_gpu.run.s2 import plan_s2

    reporter = reporter or SILENT
    size = None if voxel_size is None else (voxel_size, voxel_size, voxel_size)
    loaded = load_s2_config(config)
    check_directory(loaded.directory, f"{config}: output_dir")
    paths = []
    for plan in plan_s2(loaded, f"{config}: ", size, overwrite):
        result = plan.pick()
        for warning in (*plan.found.warnings, *result.warnings):
            reporter.line(f"warning: {warning}")
        told = result.picking
        reporter.line(
            _line(told.picked, told.threshold, told.candidates, plan.files, result.earlier)
        )
        paths.append(plan.files["yaml"])
    return paths


def _line(
    count: int, threshold: float, candidates: int, files: dict[str, Path] | Any, earlier: bool
) -> str:
    first, *others = files.values()
    kinds = ", ".join(path.suffix for path in others)
    where = f"{first} ({kinds})" if kinds else f"{first}"
    return (
        f"{where}: {count} particles, of {candidates} candidates those of height {threshold:.3f} "
        f"or more{', picked earlier' if earlier else ''}"
    )


def _run(options: argparse.Namespace) -> int:
    from picket_gpu.console import reporter_for

    reporter = reporter_for("text", options.quiet)
    size = _voxel_size(options.voxel_size)
    told = {
        key: value
        for key in (*_NUMBERS, *_WORDS, "workflows")
        if (value := getattr(options, key)) is not None
    }
    if any(path.suffix in (".yaml", ".yml") for path in options.paths):
        if len(options.paths) > 1:
            raise PicketError(f"{options.paths[1]}: the parameter file of S2 goes alone")
        unused = ["output_dir"] if options.output_dir else list(told)
        if unused:
            raise PicketError(
                f"{_option(unused[0])}: is not for {options.paths[0]}, the parameter file of S2; "
                f"leave it out"
            )
        pick_by_s2(
            options.paths[0], voxel_size=size, overwrite=options.overwrite, reporter=reporter
        )
        return 0
    _, failures = pick_files(
        options.paths,
        _settings(told),
        voxel_size=size,
        output_dir=options.output_dir,
        overwrite=options.overwrite,
        device=options.device,
        reporter=reporter,
    )
    return report_failures(failures)


def _settings(told: dict[str, Any]) -> "ParticleSettings":
    from pydantic import ValidationError

    from picket_gpu.config.faults import first_fault
    from picket_gpu.particles.settings import ParticleSettings

    try:
        return ParticleSettings.model_validate(told)
    except ValidationError as error:
        fault = first_fault(error, {"": ParticleSettings})
        raise PicketError(re.sub(r"^(\w+)[^:]*", lambda key: _option(key[1]), fault)) from None


def _option(key: str) -> str:
    """The option for a key of `ParticleSettings`."""
    return "--" + ("workflow" if key == "workflows" else key.replace("_", "-"))


def _number(text: str) -> float | str:
    """A number where it is one; `ParticleSettings` tells what else may be."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _voxel_size(told: float | str | None) -> float | None:
    if told is None or (not isinstance(told, str) and 1e-6 <= told <= 1e6):
        return told
    raise PicketError(f"--voxel-size: must be a number of angstrom above 0 (got {told!r})")


if __name__ == "__main__":
    sys.exit(main())
