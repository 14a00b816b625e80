"""What is said of many tomograms in few lines: what they have in common, a table, what is odd."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median

from picket_gpu.config.s1 import S1Config
from picket_gpu.files.segmentation import Segmentation
from picket_gpu.particles.particles import Particles
from picket_gpu.run.plan import TomogramPlan
from picket_gpu.run.results import S1Run

MOST_RANGES = 20  # of the numbers of tomograms in a line
# From here on a number is far from the others': standard deviations, robustly estimated.
FAR, FEWEST = 4, 5  # among that many numbers at least
MAD = 1.4826  # standard deviation of normal deviates by their median absolute deviation
ROOT_SD = 0.5  # standard deviation of the square root of a Poisson count


def counted(number: int, thing: str) -> str:
    """A number and what it counts, such as 2 tomograms."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def listed(indices: Iterable[int]) -> str:
    """Indices of tomograms as --tomograms takes them, such as 0-9,12; many ranges are cut."""
    ranges: list[list[int]] = []
    for index in sorted(indices):
        if ranges and index == ranges[-1][1] + 1:
            ranges[-1][1] = index
        else:
            ranges.append([index, index])
    texts = [f"{first}" if first == last else f"{first}-{last}" for first, last in ranges]
    return ",".join(texts[:MOST_RANGES] + ["..."] * (len(texts) > MOST_RANGES))


def named(indices: Iterable[int]) -> str:
    """Tomograms by number: tomogram 12, or 3 tomograms (0-1,7)."""
    numbers = sorted(indices)
    if len(numbers) == 1:
        return f"tomogram {numbers[0]}"
    return f"{counted(len(numbers), 'tomogram')} ({listed(numbers)})"


def joined(warnings: Mapping[int, Sequence[str]]) -> Iterator[str]:
    """Yield a line for each warning, one for several that differ by file name and numbers alone.

    Args:
        warnings: by the index of the tomogram, each with the name of a file and a colon first.
    """
    groups: dict[str, dict[int, str]] = {}
    for index, texts in warnings.items():
        for text in texts:
            alike = re.sub(r"\d[\d.,]*", "0", _without_name(text))
            groups.setdefault(alike, {}).setdefault(index, text)
    for group in groups.values():
        first, *others = group.values()
        if not others:
            yield f"warning: {first}"
        elif all(text == first for text in others):
            yield f"warning: {named(group)}: {first}"
        elif all(_without_name(text) == _without_name(first) for text in others):
            yield f"warning: {named(group)}: {_without_name(first)}"
        else:
            yield f"warning: {named(group)}, such as {first}"


def _without_name(text: str) -> str:
    return text.partition(": ")[2] or text


def changes(plans: Iterable[TomogramPlan]) -> Iterator[str]:
    """Yield a line for tomograms of which the same feature modes are computed again."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for plan in plans:
        if plan.changed:
            groups.setdefault(tuple(plan.changed), []).append(plan.index)
    for modes, indices in groups.items():
        yield (
            f"{named(indices)}: settings or tomogram have changed since the last run; "
            f"computing again: {', '.join(modes)}"
        )


def what_came_of(
    segmentations: Sequence[Segmentation],
    particles: Sequence[Particles],
    failures: int,
    seconds: float | None,
) -> str:
    """What came of one tomogram, in a few words.

    Args:
        failures: number of its parts that failed.
        seconds: seconds that it took; None if it took none, or they are not known.
    """
    if failures and not segmentations and not particles:
        return "failed"
    if len(particles) == 1:
        made = [counted(particles[0].count, "particle")]
    elif particles:
        made = [f"{one.count:,} from {one.title}" for one in particles]
        made[0] = made[0].replace(" ", " particles ", 1)
    else:
        made = [counted(len(segmentations), "segmentation")]
    unsure = [
        f"{one.mode} {one.method} not converged" for one in segmentations if not one.converged
    ]
    time = "done earlier" if seconds is None else f"{seconds:.1f} s"
    failed = [f"{counted(failures, 'part')} failed"] if failures else []
    return ", ".join([*made, *unsure, time, *failed])


def table(config: S1Config, run: S1Run) -> list[list[str]]:
    """The table at the end of a run, header first.

    Of several tomograms with particles: a row for each, and their sums. Else: a row for each
    segmentation.
    """
    if not run.particles or len(_indices(run)) == 1:
        return _segmentations(config, run)
    picked = _picked(run)
    failures = Counter(failure.index for failure in run.failures)
    heads = [(label if len(picked) > 1 else "particles", "threshold") for label in picked]
    header = ["tomogram", "name", *(head for pair in heads for head in pair), "warnings"]
    rows = []
    for index in _indices(run):
        cells = []
        for by_index in picked.values():
            one = by_index.get(index)
            cells += ["failed", ""] if one is None else [f"{one.count:,}", _threshold(one)]
        warnings = len(run.warnings_by_index.get(index, ()))
        row = [f"{index}", config.inputs[index].label, *cells, f"{warnings or ''}"]
        rows.append([*row, f"{failures[index] or ''}"])
    sums = [f"{sum(one.count for one in by_index.values()):,}" for by_index in picked.values()]
    total = ["total", f"{len(rows):,}", *(cell for one in sums for cell in (one, ""))]
    total += [f"{len(run.warnings):,}", f"{len(run.failures):,}"]
    rows = [[*header, "failures"], *rows, total]
    return rows if run.failures else [row[:-1] for row in rows]


def _threshold(one: Particles) -> str:
    return f"{one.threshold:.3f}" + (" of all" if one.threshold_of == "dataset" else "")


def _segmentations(config: S1Config, run: S1Run) -> list[list[str]]:
    """A row for each segmentation, and for each tomogram without any."""
    header = ["tomogram", "mode", "method", "foreground", "iterations", "seconds", "file"]
    places: dict[str, set[int]] = {}
    for r in run:
        places.setdefault(r.name, set()).add(r.index)
    rows = {
        (r.index, r.workflow): [
            r.name if len(places[r.name]) == 1 else str(r.tomogram),
            r.mode,
            r.method,
            f"{r.foreground_fraction:.1%}",
            f"{r.iterations}" + ("" if r.converged else " (not converged)"),
            f"{r.seconds:.1f}",
            r.path.name,
        ]
        for r in run
    }
    for index in {failure.index for failure in run.failures} - {result.index for result in run}:
        rows[index, ("", "")] = [config.inputs[index].label, "failed", *[""] * 5]
    order = {workflow: place for place, workflow in enumerate([("", ""), *config.workflows])}
    return [header, *(rows[key] for key in sorted(rows, key=lambda key: (key[0], order[key[1]])))]


def odd(run: S1Run) -> Iterator[str]:
    """Yield what to look at first in the results of several tomograms, a line each."""
    failed = {failure.index for failure in run.failures}
    if failed:
        yield f"failed: {named(failed)}"
    picked = _picked(run)
    for label, by_index in picked.items():
        source = f" from {label}" if len(picked) > 1 else ""
        counts = {index: one.count for index, one in by_index.items()}
        none = [index for index, count in counts.items() if count == 0]
        if none:
            yield f"no particles{source}: {named(none)}"
        roots = {index: count**0.5 for index, count in counts.items() if count}
        if far := far_off(roots, ROOT_SD):
            values = ", ".join(f"{counts[index]:,} in tomogram {index}" for index in far)
            middle = median(counts[index] for index in roots)
            yield f"number of particles{source} far from the others' (median {middle:,g}): {values}"
        thresholds = {index: one.threshold for index, one in by_index.items() if one.candidates}
        if far := far_off(thresholds, 0):
            values = ", ".join(f"{thresholds[index]:.3f} in tomogram {index}" for index in far)
            middle = median(thresholds.values())
            yield f"threshold{source} far from the others' (median {middle:.3f}): {values}"
    yield from joined(run.warnings_by_index)


def far_off(numbers: Mapping[int, float], least_deviation: float) -> list[int]:
    """Indices of the numbers that are far from the others.

    Args:
        least_deviation: standard deviation that numbers have at least, by chance.
    """
    if len(numbers) < FEWEST:
        return []
    middle = median(numbers.values())
    deviation = MAD * median(abs(number - middle) for number in numbers.values())
    most = FAR * max(deviation, least_deviation)
    return [index for index, number in numbers.items() if abs(number - middle) > most]


def last_line(config: S1Config, run: S1Run) -> str:
    """How much was done, and how much failed."""
    made = [counted(len(run), "segmentation")]
    if config.pickings:
        made.append(counted(sum(result.count for result in run.particles), "particle"))
    done = len({result.index for result in run})
    of = f"{done:,} of " if done < len(_indices(run)) else ""
    tomograms = f"{of}{counted(len(_indices(run)), 'tomogram')}"
    text = f"Finished {tomograms}: {', '.join(made)} in {config.directory}"
    return f"{text}. {counted(len(run.failures), 'failure')}, see below" if run.failures else text


def _indices(run: S1Run) -> list[int]:
    """Indices of the tomograms that a run was for."""
    return sorted({result.index for result in run} | {failure.index for failure in run.failures})


def _picked(run: S1Run) -> dict[str, dict[int, Particles]]:
    """Particles by picking, and by the index of the tomogram."""
    picked: dict[str, dict[int, Particles]] = {}
    for one in run.particles:
        picked.setdefault(one.title, {})[one.index] = one
    return picked
