"""The report from files already written: python -m picket_gpu.report DIR."""

import argparse
import sys
from pathlib import Path

from picket_gpu.command import exit_code


def main(arguments: list[str] | None = None) -> int:
    """Write the report of the segmentations in a directory.

    Returns:
        Exit code, as `picket_gpu.__main__.main`.
    """
    parser = argparse.ArgumentParser(
        prog="python -m picket_gpu.report",
        description="Write report.html and previews of the segmentations in a directory again.",
        epilog="Tomograms are read where S1 read them, or else by the paths that it was given.",
    )
    parser.add_argument("directory", type=Path, help="output_dir/dataset_name of a run of S1")
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    options = parser.parse_args(arguments)
    return exit_code(lambda: _rebuild(options))


def _rebuild(options: argparse.Namespace) -> int:
    from picket_gpu.console import SILENT, ConsoleReporter
    from picket_gpu.report.rebuild import rebuild

    reporter = SILENT if options.quiet else ConsoleReporter()
    reporter.line(f"Report: {rebuild(options.directory, reporter)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
