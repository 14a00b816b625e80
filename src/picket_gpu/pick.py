"""Particles from existing segmentations: python -m picket_gpu.pick DIR_OR_FILE --diameter A.

By answers that a report has saved: python -m picket_gpu.pick DIR --choices choices.json.
Also PickET's step 2 (S2) from its parameter file: python -m picket_gpu.pick S2_PARAMS.yaml.
"""

import argparse
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from picket_gpu.command import continue_in_utf8, exit_code, parser_for, report_failures
from picket_gpu.errors import Failure, NothingDoneError, PicketError

if TYPE_CHECKING:
    from picket_gpu.console import Reporter
    from picket_gpu.particles.particles import Particles
    from picket_gpu.particles.settings import ParticleSettings


# Keys that take a list.
_SEVERAL = ("workflows", "diameter", "formats", "not_in", "exclude", "choices")


def main(arguments: list[str] | None = None) -> int:
    """Pick with the options of the command line.

    Returns:
        Exit code, as `picket_gpu.__main__.main`.
    """
    from picket_gpu.files.location import path_argument
    from picket_gpu.particles.settings import ParticleSettings

    if arguments is None:
        continue_in_utf8()
    parser = parser_for(
        "python -m picket_gpu.pick",
        "Pick particles from existing segmentations. With the parameter file of step 2 (S2) of\n"
        "PickET: pick as PickET does.",
        "out/my_dataset --diameter 260",
        "docs/particles.md",
    )
    parser.add_argument(
        "paths",
        nargs="+",
        type=path_argument,
        metavar="DIR_OR_FILE",
        help="output directory of S1, or file of a segmentation (segmentation_*.h5, .zarr or "
        ".mrc), or a mask or scores by another program; or the S2 parameter file (.yaml) alone",
    )
    for key, field in ParticleSettings.model_fields.items():
        number = "+" if key in _SEVERAL else None
        text = field.description or ""
        text = text[:1].lower() + text[1:]
        parser.add_argument(_option(key), dest=key, nargs=number, type=_number, help=text)
    parser.add_argument(
        "--voxel-size", type=_number, help="voxel size in angstrom, overriding the files"
    )
    parser.add_argument(
        "--output-dir",
        type=path_argument,
        metavar="DIR",
        help="directory of the particles; default: that of the segmentations",
    )
    parser.add_argument(
        "--device",
        default="auto",
        help="where to compute: auto, cpu, gpu, or gpu:N for the N-th GPU from 0",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="pick again, and replace particles of other settings and files of other programs",
    )
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
) -> tuple[list["Particles"], list[Failure]]:
    """Pick particles from existing segmentations, and write the same files as a run.

    Particles that were picked earlier with the same settings from the same segmentations are kept,
    also by a later run.

    Args:
        paths: output directories of S1, or files of segmentations.
        settings: settings for picking, as ``particles`` in the parameter file.
        voxel_size: voxel size in angstrom, equal on all axes; default: that of the files.
        output_dir: directory of the results; default: that of each segmentation.
        overwrite: pick again, and replace files that were not made by picking.
        device: "auto", "cpu", "gpu" or "gpu:N".
        reporter: receiver of progress lines; default: none.

    Returns:
        The picked particles, and the failures.

    Raises:
        PicketError: an argument or a segmentation is invalid (nothing is written then), or nothing
            could be picked.
    """
    from picket_gpu.console import SILENT
    from picket_gpu.device.select import select_backend
    from picket_gpu.particles.files import describe
    from picket_gpu.run.dataset import update_lists
    from picket_gpu.run.rebuild import renew_report
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
        results.append(result.without_candidates())
        given = one.plan.files, result.count, result.threshold, result.candidates
        reporter.line(describe(*given, result.reused, result.found))
        if result.aside:
            reporter.line(f"warning: {result.aside}")
        if result.doubt:
            reporter.line(f"warning: {result.doubt}")
    for directory in sorted({one.directory for one in results}):
        update = update_lists(directory, [one for one in results if one.directory == directory])
        changed = {(one.directory, one.index, one.key): one for one in update.changed}
        results = [changed.get((one.directory, one.index, one.key), one) for one in results]
        renew_report(directory, update.lists)
        concerned = {one.key for one in (*results, *update.changed) if one.directory == directory}
        for line in update.lines(concerned):
            reporter.line(line)
    if failures and not results:
        raise NothingDoneError(failures)
    return results, failures


def _run(options: argparse.Namespace) -> int:
    from picket_gpu.console import reporter_for
    from picket_gpu.particles.settings import ParticleSettings
    from picket_gpu.run.repick import with_choices
    from picket_gpu.run.s2 import pick_by_s2

    reporter = reporter_for("text", options.quiet)
    size = _voxel_size(options.voxel_size)
    given = {
        key: value
        for key in ParticleSettings.model_fields
        if (value := getattr(options, key)) is not None
    }
    if len(given.get("diameter", ())) == 1:
        (given["diameter"],) = given["diameter"]
    if any(path.suffix in (".yaml", ".yml") for path in options.paths):
        if len(options.paths) > 1:
            raise PicketError(f"{options.paths[1]}: the S2 parameter file must be the only path")
        unused = ["output_dir"] if options.output_dir else list(given)
        if unused:
            raise PicketError(
                f"{_option(unused[0])}: has no effect with the S2 parameter file "
                f"{options.paths[0]}; remove it"
            )
        pick_by_s2(
            options.paths[0], voxel_size=size, overwrite=options.overwrite, reporter=reporter
        )
        return 0
    if "choices" in given and "diameter" not in given:
        given = with_choices(options.paths, given)
    _, failures = pick_files(
        options.paths,
        _settings(given),
        voxel_size=size,
        output_dir=options.output_dir,
        overwrite=options.overwrite,
        device=options.device,
        reporter=reporter,
    )
    return report_failures(failures)


def _settings(given: dict[str, Any]) -> "ParticleSettings":
    from pydantic import ValidationError

    from picket_gpu.config.faults import first_fault
    from picket_gpu.particles.settings import ParticleSettings

    try:
        return ParticleSettings.model_validate(given)
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


def _voxel_size(given: float | str | None) -> float | None:
    if given is None or (not isinstance(given, str) and 1e-6 <= given <= 1e6):
        return given
    raise PicketError(f"--voxel-size: must be a number of angstrom above 0 (got {given!r})")


if __name__ == "__main__":
    sys.exit(main())
