"""What a step of a visit does: from the result so far to what it adds, told as soon as it is known.

python -m benchmarks.visit step NAME RESULT.json WORK [--rehearse]
"""

import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.visit import gpu_tests
from benchmarks.visit.plan import AGREEMENT, CASE, REHEARSAL, STAND_IN, Sizes, case_of

Update = dict[str, Any]


def run_step(name: str, result: Update, work: Path, rehearse: bool) -> Iterator[Update]:
    """The updates of the result that step ``name`` makes; the last has all of them."""
    sizes = REHEARSAL if rehearse else Sizes()
    if name == "machine":
        yield from machine(sizes, rehearse)
    elif name == "tests":
        sys.exit(gpu_tests.run_all(sizes.tests))
    elif name == "failed tests, each alone":
        for alone in gpu_tests.run_each_alone(result.get("test_outcomes", {})):
            yield {"tests_alone": alone}
    elif name.startswith(AGREEMENT):
        yield from agreement(name.removeprefix(AGREEMENT), sizes, work)
    elif name.startswith(CASE):
        yield from case(name, result, work, rehearse)
    else:
        yield from LATER[name](result, sizes, work)


def machine(sizes: Sizes, rehearse: bool) -> Iterator[Update]:
    """The facts first, since the rates need what may be broken."""
    about: Update = {"python": platform.python_version(), "nvidia_smi": _nvidia_smi()}
    yield {"machine": about}
    from benchmarks.speed.machine import facts, rates
    from picket_gpu.device.select import select_backend

    backend = select_backend("gpu", "native")
    about.update(facts(backend))
    if rehearse:
        about["device"] = STAND_IN
    yield {"machine": about}
    about.update(rates(backend, sizes.copy_bytes, sizes.matrix_side))
    yield {"machine": about}


def agreement(workflow: str, sizes: Sizes, work: Path) -> Iterator[Update]:
    """Share of the labelled voxels to which CPU and GPU give the same label."""
    import mrcfile

    from benchmarks.speed.suite import tomogram
    from picket_gpu import segment

    volume = mrcfile.read(tomogram(sizes.agreement, work))
    mode, method = workflow.split("-")
    figures: Update = {}
    labels = {}
    for name, device in (("device", "gpu"), ("cpu", "cpu")):
        started = time.perf_counter()
        labels[device] = segment(
            volume,
            features=mode,
            clustering=method,  # type: ignore[arg-type]
            device=device,
            kmeans_engine="native",
        )
        figures[f"seconds_{name}_cold"] = time.perf_counter() - started
        yield {"agreement": {workflow: figures}}
    labelled = labels["cpu"] >= 0
    same = labels["cpu"][labelled] == labels["gpu"][labelled]
    figures |= {"same": float(same.mean()), "different_voxels": int((~same).sum())}
    yield {"agreement": {workflow: figures}}


def case(step: str, result: Update, work: Path, rehearse: bool) -> Iterator[Update]:
    """A case of the suite."""
    from benchmarks.speed.suite import measure_case

    which = case_of(step, rehearse)
    figures = measure_case(which, work, result.get("cases", {}))
    yield {"cases": {which.name: figures}}
    if "error" in figures:
        sys.exit(figures.get("stderr", figures["error"]))


def stages(result: Update, sizes: Sizes, work: Path) -> Iterator[Update]:
    """Stages against the machine's rates."""
    from benchmarks.speed.stages import measure_stages
    from picket_gpu.device.select import select_backend

    rows = []
    for row in measure_stages(select_backend("gpu", "native"), sizes.stages, result["machine"]):
        rows.append(row)
        yield {"stages": rows}


def profile(result: Update, sizes: Sizes, work: Path) -> Iterator[Update]:
    """Launches against work."""
    from benchmarks.speed.profile import by_stage
    from picket_gpu.device.select import select_backend

    rows = []
    for row in by_stage(select_backend("gpu", "native"), sizes.profile):
        rows.append(row)
        yield {"profile": rows}


def profile_by_kernel(result: Update, sizes: Sizes, work: Path) -> Iterator[Update]:
    """Kernels by time and traffic."""
    from benchmarks.speed.profile import by_kernel

    yield {"profile_by_kernel": by_kernel(sizes.profile, work / "ncu.csv")}


def rivals(result: Update, sizes: Sizes, work: Path) -> Iterator[Update]:
    """Libraries beside ours."""
    from benchmarks.speed.rivals import measure_rivals

    rows = []
    for row in measure_rivals("gpu", sizes.rivals):
        rows.append(row)
        yield {"rivals": rows}


LATER = {
    "stages": stages,
    "profile": profile,
    "profile by kernel": profile_by_kernel,
    "rivals": rivals,
}


def _nvidia_smi() -> str:
    try:
        return subprocess.run(["nvidia-smi"], capture_output=True, text=True, check=False).stdout
    except OSError as error:
        return str(error)
