"""The report from existing files: python -m picket_gpu.report DIR."""

import argparse
import sys

from picket_gpu.command import continue_in_utf8, exit_code, parser_for
from picket_gpu.files.location import path_argument


def main(arguments: list[str] | None = None) -> int:
    """Write the report of the segmentations in a directory.

    Returns:
        Exit code, as `picket_gpu.__main__.main`.
    """
    if arguments is None:
        continue_in_utf8()
    parser = parser_for(
        "python -m picket_gpu.report",
        "Write report.html and the previews again, for all segmentations in a directory.\n"
        "The tomograms are read where S1 read them, or by the paths that S1 was given.",
        "out/my_dataset",
        "docs/report.md",
    )
    parser.add_argument(
        "directory", type=path_argument, help="directory of segmentations, output_dir/dataset_name"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    options = parser.parse_args(arguments)
    return exit_code(lambda: _rebuild(options))


def _rebuild(options: argparse.Namespace) -> int:
    from picket_gpu.console import SILENT, ConsoleReporter
    from picket_gpu.run.rebuild import rebuild

    reporter = SILENT if options.quiet else ConsoleReporter()
    reporter.line(f"Report: {rebuild(options.directory, reporter)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
