"""What a visit has found so far, as one page that ends its output.

Needs nothing but Python, and any part of the result may be missing.
"""

from collections.abc import Callable
from typing import Any

LIMIT = 11_500  # characters: a reply has 12,000
AGREE = 0.9995  # of the labels, below which a workflow is looked into
FLOAT32_ERROR = 1e-5  # of a product, above which it is none of float32
TESTS, TEXT = 15, 120  # failed tests that are shown, and characters of each
KERNELS = (4, 3, 2, 1, 0)  # of a stage, as many of these as the page has room for
LARGE = "512 x 1024 x 1024, cap 1e8, 12 GiB"

# Predicted seconds on one H200 (4.3 TB/s, 55 TFLOP/s) for `LARGE`, three passes each of k-means and
# the mixture: statistics, k-means, mixture with its samples, labels by both; then launches.
MODEL = {
    "ffts": {"features": 0.09, "kmeans": 0.15, "gmm": 0.34, "labels": 0.42, "launches": 1.1},
    "gabor": {"features": 0.11, "kmeans": 0.11, "gmm": 0.17, "labels": 0.18, "launches": 0.8},
    "intensities": {"kmeans": 0.11, "gmm": 0.44, "labels": 0.32, "launches": 0.8},
}
STAGES = ("features", "kmeans", "gmm", "labels")
# The same of one pass, in microseconds for 1000 windows.
PASSES = {
    "ffts: moments": 0.9,
    "ffts: k-means": 0.5,
    "ffts: EM": 1.0,
    "ffts: labels by both": 0.79,
    "gabor: k-means": 0.37,
    "gabor: EM": 0.5,
    "gabor: labels by both": 0.34,
    "intensities: moments": 1.1,
    "intensities: k-means": 0.37,
    "intensities: EM": 1.23,
    "intensities: labels by both": 0.6,
}

Result = dict[str, Any]


def page(result: Result) -> str:
    """At most `LIMIT` characters."""
    for most in KERNELS:
        sections = [_steps, _machine, _tests, _agreement, _cases, _large, _stages, _profile]
        lines = [line for section in sections for line in _safely(section, result)]
        lines += _safely(_tiles, result)
        lines += _safely(lambda result: _kernels(result, most), result)  # noqa: B023
        lines += _safely(_next, result)
        text = "\n".join(line.rstrip() for line in lines)
        if len(text) <= LIMIT:
            return text
    cut = "\n[cut off]\n"
    end = text[-1000:]
    return text[: LIMIT - len(cut) - len(end)] + cut + end


def _safely(section: Callable[[Result], list[str]], result: Result) -> list[str]:
    try:
        return section(result)
    except Exception as error:  # a page with a hole is better than none
        return [f"({getattr(section, '__name__', 'section')}: {type(error).__name__}: {error})"]


def _steps(result: Result) -> list[str]:
    heading = [str(result.get(key, "?")) for key in ("suite", "device", "git_commit", "started")]
    lines = ["", f"== {', '.join(heading)}"]
    for name, state in result.get("steps", {}).items():
        if state["status"] != "done":
            error = str(state.get("error", "")).strip()
            last = error[-4000:] if name == "machine" else error.split("\n")[-1][-TEXT:]
            lines.append(f"{state['status']}: {name}: {last}")
    took = [
        f"{name} {state['seconds']:.0f}"
        for name, state in result.get("steps", {}).items()
        if state.get("seconds", 0) >= 1
    ]
    return [*lines, f"seconds: {'; '.join(took)}"]


def _machine(result: Result) -> list[str]:
    about = result.get("machine", {})
    if "bytes_per_second" not in about:
        return []
    error = about["float32_error"]
    flag = "  <-- NOT FLOAT32" if not error <= FLOAT32_ERROR else ""
    return [
        f"rates: copies {about['bytes_per_second'] / 1e12:.3g} TB/s, float32 "
        f"{about['flops_per_second'] / 1e12:.3g} TFLOP/s, error {error:.1e}{flag}, float64 "
        f"{about['float64_flops_per_second'] / 1e12:.3g} TFLOP/s"
    ]


def _tests(result: Result) -> list[str]:
    if "tests" not in result:
        return []
    alone = result.get("tests_alone", {})
    lines = ["", f"== tests: {result['tests']}"]
    failed = [
        (name, outcome)
        for name, outcome in result.get("test_outcomes", {}).items()
        if outcome["outcome"] == "failed"
    ]
    for name, outcome in failed[:TESTS]:
        told = outcome.get("text", "").split("\n")
        faults = [line[2:].strip() for line in told if line.startswith("E ")] or told[-1:]
        by_itself = {"passed": " (passed alone)", None: ""}.get(alone.get(name), " (also alone)")
        lines.append(f"{name.rpartition('::')[2]}{by_itself}: {faults[0][:TEXT]}")
    return lines + [f"and {len(failed) - TESTS} more"] * (len(failed) > TESTS)


def _agreement(result: Result) -> list[str]:
    lines = ["", "== agreement, CPU and GPU"] if "agreement" in result else []
    for volume, workflows in result.get("agreement", {}).items():
        for first in range(0, len(workflows), 3):
            some = list(workflows.items())[first : first + 3]
            lines.append(f"{volume}: " + "; ".join(_share(*one) for one in some))
    return lines


def _share(workflow: str, figures: Result) -> str:
    if "same" not in figures:
        return f"{workflow} -"
    flag = " <-- LOW" if figures["same"] < AGREE else ""
    return f"{workflow} {figures['same']:.6f}{flag}"


def _cases(result: Result) -> list[str]:
    lines = ["", "== cases"] if "cases" in result else []
    for name, figures in result.get("cases", {}).items():
        if "seconds" not in figures:
            told = figures.get("error") or figures.get("missing", "")
            lines.append(f"{name}: {told[:TEXT]}")
            continue
        parts = [f"{figures['seconds']:.3g} s", f"host {figures['peak_host_mib']:.0f} MiB"]
        for key, what in (("peak_pool_mib", "arrays"), ("peak_device_mib", "device")):
            if key in figures:
                parts.append(f"{what} {figures[key]:.0f} MiB")
        if shares := figures.get("agreement"):
            workflow, least = min(shares.items(), key=lambda item: item[1])
            parts.append(f"agreement {least:.5f} ({workflow})" + " <-- LOW" * (least < AGREE))
        stages = sorted(figures.get("stages", {}).items(), key=lambda item: -item[1])
        parts.append(", ".join(f"{stage} {seconds:.2g}" for stage, seconds in stages[:6]))
        lines.append(f"{name}: {'; '.join(parts)}")
    return lines


def _large(result: Result) -> list[str]:
    """The large case against the model."""
    lines: list[str] = []
    for name, figures in result.get("cases", {}).items():
        if not name.endswith(LARGE) or "by_mode" not in figures:
            continue
        lines = ["", f"== {name}: seconds / model"]
        for mode, seconds in figures["by_mode"].items():
            model = MODEL.get(mode, {})
            shown = [
                f"{stage} {taken:.2f} / {model[stage]:.2f}"
                for stage, taken in sorted(seconds.items(), key=lambda item: STAGES.index(item[0]))
                if stage in model
            ]
            whole = sum(seconds.values())
            work = sum(model.values()) - model.get("launches", 0)
            shown.append(f"sum {whole:.2f} / {work:.2f} (launches {model.get('launches', 0)})")
            lines.append(f"{mode}: {', '.join(shown)}")
    return lines


def _stages(result: Result) -> list[str]:
    if "stages" not in result:
        return []
    lines = ["", "== stages: us for 1000 windows / model, of matrix rate, of bandwidth"]
    for row in result["stages"]:
        model = next((us for name, us in PASSES.items() if row["name"].startswith(name)), None)
        against = "" if model is None else f" / {model}"
        lines.append(
            f"{row['name']}: {row['microseconds_per_1000_windows']:.3g}{against}, "
            f"{row['share_of_matrix_rate']:.2f}, {row['share_of_bandwidth']:.2f}"
        )
    return lines


def _profile(result: Result) -> list[str]:
    if "profile" not in result:
        return []
    lines = ["", "== profile: ms, of these kernels"]
    shown = [
        f"{row['name']} {1000 * row['seconds']:.3g} {row['share']:.0%}" for row in result["profile"]
    ]
    return lines + ["; ".join(shown[first : first + 3]) for first in range(0, len(shown), 3)]


def _tiles(result: Result) -> list[str]:
    rows: dict[str, list[str]] = {}
    for row in result.get("tiles", []):
        figure = f"{row['tile_mib']} MiB {row['microseconds_per_1000_windows']:.3g}"
        rows.setdefault(row["name"], []).append(figure)
    lines = ["", "== tiles: us for 1000 windows"] if rows else []
    return lines + [f"{name}: {', '.join(figures)}" for name, figures in rows.items()]


def _kernels(result: Result, most: int) -> list[str]:
    """The longest kernels of each stage."""
    profile = result.get("profile_by_kernel")
    if profile is None:
        return []
    lines = ["", "== kernels: calls x us"]
    for stage, rows in profile.get("stages", {}).items():
        shown = [
            f"{row['kernel'][:40]} {row['calls']} x {row['microseconds'] / row['calls']:.0f}"
            for row in rows[:most]
        ]
        lines.append(f"{stage}: {'; '.join(shown)}")
    if "missing" in profile:
        lines.append(profile["missing"])
    return lines


def _next(result: Result) -> list[str]:
    """What to do."""
    steps = result.get("steps", {})
    faults = []
    if steps.get("machine", {}).get("status") in ("failed", "timed out"):
        faults.append("no GPU was found: see the error of the step machine")
    if not result.get("machine", {}).get("float32_error", 0) <= FLOAT32_ERROR:
        faults.append("products are not float32; mend that before all else")
    if any(outcome["outcome"] == "failed" for outcome in result.get("test_outcomes", {}).values()):
        faults.append("tests failed")
    workflows = [of for volume in result.get("agreement", {}).values() for of in volume.values()]
    if any(figures.get("same", 1) < AGREE for figures in workflows):
        faults.append(f"agreement below {AGREE}")
    if any("error" in figures for figures in result.get("cases", {}).values()):
        faults.append("a case failed")
    cut = [name for name, state in steps.items() if state["status"] in ("cut off", "not started")]
    if faults:
        return ["", f"== next: {'; '.join(faults)}. Hand the machine back, mend, come again."]
    again = f" Not reached: {', '.join(cut)}." if cut else ""
    return ["", f"== next: all is well.{again} Go on at once with the same --output and --work."]
