"""Markdown of what `benchmarks.quality` measures, and its verdict on each figure."""

import math
from typing import Any

from benchmarks.markdown import markdown
from benchmarks.quality.figures import BETTER, rank_correlation

# Decided before looking: a figure may suggest a workflow if, on every given data set, it ranks the
# six as Dice does and as detection does this strongly, and what it picks is this near the best.
STRONG = 0.8
MARGIN = 0.05

TRUTH = ("precision", "recall", "F1", "points", "random", "points - random", "points / random")
NONE = "-"


def data_set_tables(name: str, measured: dict[str, Any]) -> str:
    """The figures of every workflow on one data set, with truth and without."""
    distance = measured["distance"]
    marked = ", ".join(f"{share:.1%} of voxels are {m}" for m, share in measured["marked"].items())
    rule = (
        f"a centroid within {distance:.1f} voxels of a centre finds it"
        if distance
        else "points are no centres, so precision and F1 say nothing"
    )
    truth, figures = measured["truth"], measured["figures"]
    dices = [key for key in next(iter(truth.values())) if key.startswith("Dice")]
    columns = ["share", *dices, *TRUTH]
    first = [
        [workflow, *(_cell((figures[workflow] | values).get(key)) for key in columns)]
        for workflow, values in truth.items()
    ]
    second = [
        [workflow, *(_cell(values[key]) for key in BETTER)] for workflow, values in figures.items()
    ]
    return "\n\n".join(
        [
            f"### {name}",
            f"{marked[0].upper()}{marked[1:]}; {measured['points']} points; {rule}.",
            markdown(["workflow", *columns], first),
            markdown(["workflow", *BETTER], second) + "\n",
        ]
    )


def summary(measured: dict[str, Any]) -> str:
    """Rank correlations, what picking by each figure loses, and which figures qualify."""
    sections = []
    for given, title in ((True, "given"), (False, "simulated")):
        some = {name: m for name, m in measured.items() if m["given"] is given}
        if some:
            sections += [
                f"### Rank correlation, {title} data sets",
                _correlations(some),
                f"### Lost by picking, {title} data sets",
                _losses(some),
            ]
    return "\n\n".join([*sections, _verdict(measured)])


def judges(measured: dict[str, Any]) -> list[str]:
    """Figures with truth that judge a data set: Dice, once a mask, and detection last."""
    keys = next(iter(measured["truth"].values()))
    dices = [key for key in keys if key.startswith("Dice")]
    return dices + (["F1"] if "F1" in keys else ["points / random", "points - random"])


def correlation(measured: dict[str, Any], figure: str, judge: str) -> float:
    """Rank correlation over workflows, 1 where ``figure`` ranks them as ``judge`` does."""
    goodness, truth = _goodness(measured, figure), measured["truth"]
    return rank_correlation([*goodness.values()], [truth[w][judge] for w in goodness])


def pick(measured: dict[str, Any], figure: str) -> str:
    """The workflow that ``figure`` says is best."""
    goodness = _goodness(measured, figure)
    return max(goodness, key=lambda workflow: goodness[workflow])


def _goodness(measured: dict[str, Any], figure: str) -> dict[str, float]:
    """Of each workflow, by ``figure``: the more the better, what is undefined worst."""
    signed = {w: BETTER[figure] * values[figure] for w, values in measured["figures"].items()}
    return {w: -math.inf if math.isnan(value) else value for w, value in signed.items()}


def loss(measured: dict[str, Any], workflow: str, judge: str) -> float:
    """How far ``workflow`` is below the best, by ``judge``."""
    truth = measured["truth"]
    return float(max(values[judge] for values in truth.values()) - truth[workflow][judge])


def qualifies(measured: dict[str, Any], figure: str) -> bool:
    """Whether ``figure`` meets the criterion on one data set."""
    chosen, (first, *_, last) = pick(measured, figure), judges(measured)
    return all(
        correlation(measured, figure, judge) >= STRONG and loss(measured, chosen, judge) <= MARGIN
        for judge in (first, last)
    )


def _correlations(some: dict[str, Any]) -> str:
    judged = [(name, judge) for name, m in some.items() for judge in judges(m)]
    rows = [
        [f"{name}: {judge}", *(f"{correlation(some[name], f, judge):.2f}" for f in BETTER)]
        for name, judge in judged
    ]
    return markdown(["", *map(_signed, BETTER)], rows)


def _losses(some: dict[str, Any]) -> str:
    """By each figure, and by always taking the same workflow: Dice and detection lost."""
    rows = [[_signed(f), *(_lost(m, pick(m, f)) for m in some.values())] for f in BETTER]
    workflows = next(iter(some.values()))["truth"]
    rows += [[f"always {w}", *(_lost(m, w) for m in some.values())] for w in workflows]
    columns = [f"{name}: Dice, {judges(m)[-1]}" for name, m in some.items()]
    return markdown(["picked by", *columns], rows)


def _lost(measured: dict[str, Any], workflow: str) -> str:
    first, *_, last = judges(measured)
    lost = [f"{loss(measured, workflow, judge):.2f}" for judge in (first, last)]
    return f"{workflow}: {', '.join(lost)}"


def _verdict(measured: dict[str, Any]) -> str:
    lines = []
    for figure in BETTER:
        passed = [name for name, m in measured.items() if qualifies(m, figure)]
        given = [name for name, m in measured.items() if m["given"]]
        word = "qualifies" if given and set(given) <= set(passed) else "does not qualify"
        lines.append(f"- {_signed(figure)} {word}: meets it on {', '.join(passed) or 'none'}")
    return "\n".join(["### Verdict", "", *lines])


def _signed(figure: str) -> str:
    return f"{figure} ({'more' if BETTER[figure] > 0 else 'less'})"


def _cell(value: float | None) -> str:
    if value is None or math.isnan(value):
        return NONE
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
