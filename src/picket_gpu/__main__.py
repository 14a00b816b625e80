"""The command line: options to configuration to run_s1."""

import argparse
import re
import sys
from pathlib import Path

from picket_gpu import __version__
from picket_gpu.command import continue_in_utf8, exit_code, parser_for, report_failures


def main(arguments: list[str] | None = None) -> int:
    """Run S1 with the options of the command line.

    Returns:
        Exit code, see `exit_code`.
    """
    if arguments is None:
        continue_in_utf8()
    parser = parser_for(
        "picket-gpu",
        "Segment cryo-electron tomograms and pick particles without labels or templates: step 1\n"
        "(S1) of PickET. Finished segmentations are kept.",
        "my_dataset.yaml --dry-run",
        "docs/command-line.md",
    )
    parser.add_argument("config", type=_path, help="parameter file (YAML)")
    parser.add_argument(
        "--device",
        type=_device,
        help="where to compute: auto, cpu, gpu, or gpu:N for the N-th GPU from 0",
    )
    parser.add_argument(
        "--output-dir", type=_path, metavar="DIR", help="override output_dir of the YAML file"
    )
    parser.add_argument(
        "--tomograms",
        type=_numbers,
        metavar="LIST",
        help="process only these entries of inputs, counted from 0, such as 0-9,12",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="recompute everything and replace existing files"
    )
    parser.add_argument(
        "--overwrite-particles",
        action="store_true",
        help="replace particles that were picked with other settings; segmentations are kept",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--workers",
        type=_positive,
        metavar="N",
        help="start N worker processes on this machine, one per GPU or sharing the cores",
    )
    where.add_argument(
        "--scheduler", help="use a running Dask cluster: address or file of its scheduler"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="check everything and print the plan; write nothing"
    )
    parser.add_argument(
        "--log-format",
        choices=("text", "json"),
        default="text",
        help="format of the output; json: one object per line (default: text)",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    options = parser.parse_args(arguments)
    return exit_code(lambda: _run(options))


def _device(name: str) -> str:
    from picket_gpu.device.select import DEVICES

    if not re.fullmatch(DEVICES, name):
        raise argparse.ArgumentTypeError(f"{name!r} is not auto, cpu, gpu or gpu:N")
    return name


def _path(text: str) -> Path:
    from picket_gpu.files.location import path_argument

    return path_argument(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of workers, 1 or more")
    return int(text)


def _numbers(text: str) -> list[int]:
    if not re.fullmatch(r"\d{1,6}(-\d{1,6})?(,\d{1,6}(-\d{1,6})?)*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers such as 0-9,12")
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def _run(options: argparse.Namespace) -> int:
    from picket_gpu.config.load import load_config
    from picket_gpu.console import reporter_for
    from picket_gpu.device.select import select_backend
    from picket_gpu.pipeline import run_s1
    from picket_gpu.run.dry_run import describe_plan
    from picket_gpu.run.picking import replaced_by
    from picket_gpu.run.plan import plan_run

    overrides = {"device": options.device, "output_dir": options.output_dir}
    config = load_config(options.config).model_copy(
        update={key: value for key, value in overrides.items() if value is not None}
    )
    if not options.dry_run:
        run = run_s1(
            config,
            tomograms=options.tomograms,
            overwrite=options.overwrite,
            overwrite_particles=options.overwrite_particles,
            quiet=options.quiet,
            log_format=options.log_format,
            workers=options.workers,
            scheduler=options.scheduler,
        )
        return report_failures(run.failures)
    backend = select_backend(config.device, config.kmeans_engine)
    replaced = replaced_by(options.overwrite, options.overwrite_particles)
    plan = plan_run(config, backend, replaced, options.tomograms)
    reporter = reporter_for(options.log_format, options.quiet)
    reporter.line(f"Device: {backend.reason}")
    for line in (*config.notes, *describe_plan(config, backend, plan)):
        reporter.line(line)
    return report_failures(plan.failures)


if __name__ == "__main__":
    sys.exit(main())
