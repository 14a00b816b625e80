"""Markdown tables from the JSON of measurements; what no file holds is "not measured"."""

from collections.abc import Sequence
from typing import Any

from benchmarks.markdown import markdown
from benchmarks.speed.cases import SUITES, Case

NOT = "not measured"


def tables(measurements: Sequence[dict[str, Any]], suites: Sequence[str]) -> str:
    """A section for each of ``suites``, from the measurements made of it."""
    sections = []
    for suite in suites:
        of_suite = [m for m in measurements if m["suite"] == suite]
        for measurement in of_suite or [{"suite": suite}]:
            sections += [_title(measurement), _cases(measurement)]
            sections += [_stages(measurement), _rivals(measurement)]
    return "\n\n".join(section for section in sections if section) + "\n"


def _title(measurement: dict[str, Any]) -> str:
    suite = {"gpu": "On a GPU", "cpu": "On a CPU"}.get(measurement["suite"], "A trial")
    machine = measurement.get("machine")
    if machine is None:
        return f"### {suite}\n\nNot measured: no machine of this kind was at hand yet."
    rates = f"rates {NOT}"
    if "bytes_per_second" in machine:
        rates = (
            f"copies {machine['bytes_per_second'] / 1e9:.3g} GB/s (read and written), float32 "
            f"matrix products {machine['flops_per_second'] / 1e12:.3g} TFLOP/s"
        )
        if "float32_error" in machine:
            rates += f" (error {machine['float32_error']:.1e})"
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    driver = f", driver {machine['driver']}" if machine["driver"] else ""
    return (
        f"### {suite}\n\n{machine['device']}; {machine['processor']}, {machine['cores']} threads"
        f"{driver}; {rates}; Python {machine['python']}, {packages}; commit "
        f"{machine['git_commit']}, {machine['date']}."
        + (f" GPU tests: {measurement['tests']}." if "tests" in measurement else "")
    )


def _cases(measurement: dict[str, Any]) -> str:
    header = ["case", "seconds", "of these, slowest stages", "peak MiB host", "device"]
    header += ["times as fast", "agreement, lowest", "judge"]
    figures = measurement.get("cases", {})
    rows = [
        [case.name, *_case_cells(case, figures.get(case.name), figures.get(case.judge))]
        for case in SUITES[measurement["suite"]]
    ]
    return markdown(header, rows)


def _case_cells(
    case: Case, figures: dict[str, Any] | None, judge: dict[str, Any] | None
) -> list[str]:
    if figures is None:
        return [NOT, "", "", "", "", "", case.judge or ""]
    if "missing" in figures:
        return [f"{NOT}: {figures['missing']}", "", "", "", "", "", case.judge or ""]
    if "error" in figures:
        return [f"failed: {figures['error']}", "", "", "", "", "", case.judge or ""]
    stages = sorted(figures.get("stages", {}).items(), key=lambda item: -item[1])
    stages = stages[:3] + [stage for stage in stages[3:] if stage[0] == "picking"]
    device = figures.get("peak_device_mib")
    pool = figures.get("peak_pool_mib")
    arrays = "" if pool is None else f"{pool:.0f} (arrays)"
    agreement = figures.get("agreement")
    return [
        f"{figures['seconds']:.3g}",
        "; ".join(f"{name} {seconds:.2g}" for name, seconds in stages),
        f"{figures['peak_host_mib']:.0f}",
        arrays if device is None else f"{device:.0f}",
        f"{_seconds(case, judge) / figures['seconds']:.3g}"
        if judge and "error" not in judge
        else "",
        f"{min(agreement.values()):.5f}" if agreement else "",
        case.judge or "",
    ]


def _seconds(case: Case, judge: dict[str, Any]) -> float:
    """What the judge took for the workflows of ``case``."""
    if len(case.modes) == len(case.methods) == 1 and "alone" in judge:
        return float(judge["alone"][f"{case.modes[0]}_{case.methods[0]}"])
    return float(judge["seconds"])


def _stages(measurement: dict[str, Any]) -> str:
    header = ["stage", "us for 1000 windows", "share of matrix rate", "share of bandwidth"]
    rows = [
        [
            stage["name"],
            f"{stage['microseconds_per_1000_windows']:.3g}",
            f"{stage['share_of_matrix_rate']:.2g}",
            f"{stage['share_of_bandwidth']:.2g}",
        ]
        for stage in measurement.get("stages", [])
    ]
    return markdown(header, rows) if rows else ""


def _rivals(measurement: dict[str, Any]) -> str:
    header = ["two clusters", "windows", "seconds", "iterations", "peak MiB device"]
    rows = [
        [row["name"], f"{NOT}: {row['error']}", "", "", ""]
        if "error" in row
        else [
            row["name"],
            f"{row['windows']:.0e}",
            f"{row['seconds']:.3g}",
            f"{row['iterations']}",
            f"{row['peak_device_mib']:.0f}" if "peak_device_mib" in row else "",
        ]
        for row in measurement.get("rivals", [])
    ]
    return markdown(header, rows) if rows else ""
