"""Picks beside annotations: python -m picket_gpu.evaluate PICKS TRUTH."""

import argparse
import csv
import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from picket_gpu.command import continue_in_utf8, exit_code, parser_for
from picket_gpu.errors import PicketError

if TYPE_CHECKING:
    from picket_gpu.particles.evaluation import Agreement, Curve
    from picket_gpu.run.evaluation import Compared, Evaluation

SOME = 10  # thresholds, where none are given
FOUND, MISSED, WRONG = "found", "missed", "wrong"


def main(arguments: list[str] | None = None) -> int:
    """Compare the two that the command line names.

    Returns:
        Exit code, as `picket_gpu.__main__.main`.
    """
    from picket_gpu.files.location import location_argument, path_argument

    if arguments is None:
        continue_in_utf8()
    parser = parser_for(
        "python -m picket_gpu.evaluate",
        "Compare picks with annotations: precision, recall, F1, and the best threshold.",
        "results/my_dataset annotations.star",
        "docs/particles.md",
    )
    parser.add_argument(
        "picks",
        type=path_argument,
        metavar="PICKS",
        help="output directory of a run with particles, or a file of points: particles_*.csv or "
        ".star of a run, or a list by another program",
    )
    parser.add_argument(
        "truth",
        type=path_argument,
        metavar="TRUTH",
        help="file of annotated centres: CSV, STAR, copick's JSON, ndjson, CMM, IMOD, Dynamo; "
        "{name} and {index} in the path stand for each tomogram's",
    )
    parser.add_argument(
        "--tolerance",
        type=_positive,
        metavar="A",
        help="distance in angstrom within which a pick is right; default: half the diameter that "
        "the picks were made with",
    )
    parser.add_argument(
        "--beta",
        type=_positive,
        help="also compute F-beta, in which recall counts this many times as much as precision, "
        "and find the threshold that is best by it; default: F1 alone",
    )
    parser.add_argument(
        "--thresholds",
        nargs="*",
        type=_finite,
        metavar="HEIGHT",
        help=f"print what these thresholds would give; without numbers, {SOME} of them",
    )
    parser.add_argument(
        "--voxel-size",
        type=_positive,
        metavar="A",
        help="voxel size in angstrom of TRUTH, where it is in other voxels than the tomogram's; "
        "default: that of the tomogram",
    )
    parser.add_argument(
        "--picks-voxel-size",
        type=_positive,
        metavar="A",
        help="the same of PICKS; default: that of the tomogram, or of TRUTH if the tomogram is not "
        "known",
    )
    parser.add_argument(
        "--tomogram",
        type=location_argument,
        help="tomogram of the points, where they are in different frames and no run has picked "
        "them",
    )
    parser.add_argument(
        "--output",
        type=path_argument,
        metavar="FILE",
        help=f"CSV file to write, with all points: {FOUND}, {MISSED} or {WRONG}",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the file of --output if it exists"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    options = parser.parse_args(arguments)
    return exit_code(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    from picket_gpu.run.evaluation import evaluate

    if options.output is not None and _is_input(options.output, options):
        raise PicketError(f"--output: {options.output} is of the picks or the truth; name another")
    if options.output is not None and options.output.exists() and not options.overwrite:
        raise PicketError(f"{options.output}: already exists; pass --overwrite to replace it")
    if options.output is not None and not options.output.parent.is_dir():
        raise PicketError(f"{options.output}: its directory does not exist; make it")
    evaluations = evaluate(
        options.picks,
        options.truth,
        tolerance=options.tolerance,
        voxel_size=options.voxel_size,
        picks_voxel_size=options.picks_voxel_size,
        tomogram=options.tomogram,
    )
    if options.thresholds is not None and all(one.curve is None for one in evaluations):
        raise PicketError(
            f"--thresholds: {options.picks} has no candidates (.npz) with these points; name the "
            "output directory of a run, or remove it"
        )
    if options.output is not None:
        _write(options.output, evaluations)
    if options.json:
        print(json.dumps([_plain(one, options) for one in evaluations], indent=1))
        return 0
    for number, one in enumerate(evaluations):
        print("\n" * (number > 0) + "\n".join(_lines(one, options)))
    return 0


def _is_input(output: Path, options: argparse.Namespace) -> bool:
    """Whether a file is the picks or the truth, or lies beside picks under the name of such."""
    from picket_gpu.files.filenames import is_beside_segmentations

    inputs = [path.resolve() for path in (options.picks, options.truth)]
    where = output.resolve()
    beside = where.parent in inputs and is_beside_segmentations(where)
    return where in inputs or beside


def _lines(one: "Evaluation", options: argparse.Namespace) -> Iterator[str]:
    """What people are told."""
    from picket_gpu.console import aligned

    beta: float | None = options.beta
    half = "" if options.tolerance else ", half the diameter"
    yield f"{one.title}: picks within {one.tolerance:g} A of the truth are right{half}"
    head = ["tomogram", "picks", "truth", "found", "precision", "recall", *_f_names(beta)]
    judge = _f_names(beta)[-1]
    rows = [
        [
            each.name or "-",
            *_cells(each.agreement, beta),
            "" if each.threshold is None else f"{each.threshold:.3f}",
            *_best_cells(each.curve, beta),
        ]
        for each in one.tomograms
    ]
    if len(rows) > 1:
        rows.append(["total", *_cells(one.total, beta), "", *_best_cells(one.curve, beta)])
    ending = ["threshold", "best threshold", judge + " there"]
    known = [any(row[len(head) + place] for row in rows) for place in range(len(ending))]
    chosen = [*range(len(head)), *(len(head) + n for n, there in enumerate(known) if there)]
    yield from aligned([[row[n] for n in chosen] for row in ([*head, *ending], *rows)])
    if options.thresholds is not None and one.curve is not None:
        yield ""
        each = [("threshold", *head[1:])]
        for threshold, agreement in _at(one.curve, options.thresholds):
            each.append((f"{threshold:g}", *_cells(agreement, beta)))
        yield from aligned(each)
    yield from (f"note: {text}" for text in one.notes)


def _at(curve: "Curve", thresholds: Sequence[float]) -> Iterator[tuple[float, "Agreement"]]:
    """What is right at thresholds, from the greatest on; at some where none are given."""
    for threshold in sorted(thresholds or curve.some(SOME), reverse=True):
        yield threshold, curve.at(threshold)


def _f_names(beta: float | None) -> list[str]:
    return ["F1"] if beta in (None, 1) else ["F1", f"F{beta:g}"]


def _figures(agreement: "Agreement", beta: float | None) -> dict[str, float | None]:
    """Shares by their names; None where there is nothing to divide by."""
    picks, truth = agreement.picks, agreement.truth
    figures = {
        "precision": agreement.precision if picks else None,
        "recall": agreement.recall if truth else None,
    }
    betas = (1.0, beta or 1.0)
    return figures | {
        name: agreement.f(b) if picks or truth else None
        for name, b in zip(_f_names(beta), betas, strict=False)
    }


def _cells(agreement: "Agreement", beta: float | None) -> list[str]:
    counts = (agreement.picks, agreement.truth, agreement.found)
    shares = _figures(agreement, beta).values()
    return [*map(str, counts), *("-" if one is None else f"{one:.3f}" for one in shares)]


def _best_cells(curve: "Curve | None", beta: float | None) -> list[str]:
    best = None if curve is None or not curve.truth else curve.best(beta or 1)
    if best is None:
        return ["", ""]
    return [f"{best[0]:g}", f"{best[1].f(beta or 1):.3f}"]


def _plain(one: "Evaluation", options: argparse.Namespace) -> dict[str, Any]:
    """The same for programs."""
    beta: float | None = options.beta

    def counted(agreement: "Agreement") -> dict[str, Any]:
        counts = {name: getattr(agreement, name) for name in ("picks", "truth", "found")}
        return counts | _figures(agreement, beta)

    def best_of(curve: "Curve | None") -> dict[str, Any] | None:
        best = None if curve is None or not curve.truth else curve.best(beta or 1)
        return None if best is None else {"threshold": best[0], **counted(best[1])}

    curve = one.curve
    wanted = [] if curve is None or options.thresholds is None else _at(curve, options.thresholds)
    return {
        "particles": one.title,
        "tolerance": one.tolerance,
        "tomograms": [
            {
                "tomogram": each.name or None,
                **counted(each.agreement),
                "threshold": each.threshold,
                "best": best_of(each.curve),
            }
            for each in one.tomograms
        ],
        "total": {**counted(one.total), "best": best_of(curve)},
        "thresholds": [{"threshold": number, **counted(what)} for number, what in wanted],
        "notes": one.notes,
    }


def _write(path: Path, evaluations: Sequence["Evaluation"]) -> None:
    """All points as a CSV file, which `picket_gpu.particles.points` reads."""
    from picket_gpu.files.atomic import atomic_file
    from picket_gpu.particles.particles import COLUMNS, TOMOGRAM

    head = ["particles", TOMOGRAM, *COLUMNS, "result", "distance_angstrom"]
    rows = [
        [one.title, each.name, *row]
        for one in evaluations
        for each in one.tomograms
        for row in _points(each)
    ]
    wide = [n for n, name in enumerate(head) if n < 2 or any(row[n] != "" for row in rows)]
    with (
        atomic_file(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([row[n] for n in wide] for row in (head, *rows))


def _points(one: "Compared") -> Iterator[list[Any]]:
    """Cells of each pick, and of each true point that none has found, in the order of `COLUMNS`."""
    import numpy as np

    if one.subject is None and one.frame != "file":
        raise PicketError(
            "--output: points are in angstrom from another place than those of a table; name the "
            "tomogram by --tomogram"
        )

    def cells(point: np.ndarray, height: float | str) -> list[Any]:
        if one.subject is None:
            return [*point[::-1].tolist(), height, "", "", ""]
        voxels = point / np.array(one.subject.voxel_size)
        return [*one.subject.in_file(voxels[None])[0].tolist(), height, *voxels[::-1].tolist()]

    for number, (point, partner) in enumerate(zip(one.picks, one.partner, strict=True)):
        height = "" if one.heights is None else float(one.heights[number])
        if partner < 0:
            yield [*cells(point, height), WRONG, ""]
        else:
            distance = float(np.linalg.norm(one.truth[partner] - point))
            yield [*cells(point, height), FOUND, round(distance, 3)]
    for number in sorted({*range(len(one.truth))} - {*one.partner.tolist()}):
        yield [*cells(one.truth[number], ""), MISSED, ""]


def _finite(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"must be a number (got {text!r})")
    return number


def _positive(text: str) -> float:
    number = _finite(text)
    if not 1e-6 <= number <= 1e6:
        raise argparse.ArgumentTypeError(f"must be a number above 0 (got {text!r})")
    return number


if __name__ == "__main__":
    sys.exit(main())
