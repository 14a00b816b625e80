"""What a step of a visit does: from the result so far to what it adds, told as soon as it is known.

python -m benchmarks.visit step NAME RESULT.json WORK [--rehearse]
"""

import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.visit import gpu_tests
from benchmarks.visit.plan import CASE, REHEARSAL, STAND_IN, Sizes, case_of

Update = dict[str, Any]
ROOT = Path(__file__).parents[2]


def run_step(name: str, result: Update, work: Path, rehearse: bool) -> Iterator[Update]:
    """The updates of the result that step ``name`` makes; the last has all of them."""
    sizes = REHEARSAL if rehearse else Sizes()
    if name == "machine":
        yield from machine(rehearse)
    elif name == "tests":
        sys.exit(gpu_tests.run_all(sizes.tests))
    elif name == "failed tests, each alone":
        for alone in gpu_tests.run_each_alone(result.get("test_outcomes", {})):
            yield {"tests_alone": alone}
    elif name.startswith(CASE):
        yield from case(name, result, work, rehearse)
    else:
        yield from LATER[name](result, sizes, work)


def machine(rehearse: bool) -> Iterator[Update]:
    """The facts, told before what may be broken is tried."""
    about: Update = {"python": platform.python_version(), "nvidia_smi": _nvidia_smi()}
    yield {"machine": about}
    from benchmarks.speed.machine import facts
    from picket_gpu import PicketError
    from picket_gpu.device.select import select_backend

    try:
        backend = select_backend("gpu", "native")
    except PicketError as error:
        sys.exit(f"{_cupy()}\n{error}")
    about.update(facts(backend))
    if rehearse:
        about["device"] = STAND_IN
    yield {"machine": about}


def rates(result: Update, sizes: Sizes, work: Path) -> Iterator[Update]:
    """The rates that bound any program there, and whether float32 is float32."""
    from benchmarks.speed.machine import rates
    from picket_gpu.device.select import select_backend

    backend = select_backend("gpu", "native")
    yield {"machine": rates(backend, sizes.copy_bytes, sizes.matrix_side)}


def agreement(result: Update, sizes: Sizes, work: Path) -> Iterator[Update]:
    """Share of the labelled voxels to which CPU and GPU give the same label, of each workflow."""
    import mrcfile

    from benchmarks.speed.cases import METHODS, MODES
    from picket_gpu import segment

    found: Update = {}
    for name, file in (("demo", "hiv_vlp_40A.mrc"), ("phantom", "phantom_a.mrc")):
        volume = mrcfile.read(ROOT / "tests" / "data" / file)
        if sizes.agreement:
            volume = volume[tuple(map(slice, sizes.agreement))].copy()
        found[name] = {}
        for mode in MODES:
            for method in METHODS:
                figures = found[name][f"{mode}-{method}"] = {}
                labels = {}
                for device in ("gpu", "cpu"):
                    started = time.perf_counter()
                    labels[device] = segment(
                        volume,
                        features=mode,
                        clustering=method,  # type: ignore[arg-type]
                        device=device,
                        kmeans_engine="native",
                    )
                    figures[f"seconds_{device}"] = time.perf_counter() - started
                labelled = labels["cpu"] >= 0
                same = labels["cpu"][labelled] == labels["gpu"][labelled]
                figures |= {"same": float(same.mean()), "different": int((~same).sum())}
                yield {"agreement": found}


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

    if "bytes_per_second" not in result.get("machine", {}):
        sys.exit("error: needs the step rates, which is not done")
    rows = []
    for row in measure_stages(select_backend("gpu", "native"), sizes.stages, result["machine"]):
        rows.append(row)
        yield {"stages": rows}


def tiles(result: Update, sizes: Sizes, work: Path) -> Iterator[Update]:
    """Passes with tiles of several sizes."""
    from benchmarks.speed.stages import measure_tiles
    from picket_gpu.device.select import select_backend

    rows = []
    for row in measure_tiles(select_backend("gpu", "native"), sizes.stages):
        rows.append(row)
        yield {"tiles": rows}


def profile(result: Update, sizes: Sizes, work: Path) -> Iterator[Update]:
    """Kernels against wall clock."""
    from benchmarks.speed.profile import by_stage
    from picket_gpu.device.select import select_backend

    rows = []
    for row in by_stage(select_backend("gpu", "native"), sizes.profile):
        rows.append(row)
        yield {"profile": rows}


def profile_by_kernel(result: Update, sizes: Sizes, work: Path) -> Iterator[Update]:
    """Kernels by time and traffic."""
    from benchmarks.speed.profile import by_kernel

    yield {"profile_by_kernel": by_kernel(sizes.kernels, work / "ncu.csv")}


def rivals(result: Update, sizes: Sizes, work: Path) -> Iterator[Update]:
    """Libraries beside ours."""
    from benchmarks.speed.rivals import measure_rivals

    rows = []
    for row in measure_rivals("gpu", sizes.rivals):
        rows.append(row)
        yield {"rivals": rows}


LATER = {
    "rates": rates,
    "agreement": agreement,
    "stages": stages,
    "tiles": tiles,
    "profile": profile,
    "profile by kernel": profile_by_kernel,
    "rivals": rivals,
}


def _nvidia_smi() -> str:
    try:
        return subprocess.run(["nvidia-smi"], capture_output=True, text=True, check=False).stdout
    except OSError as error:
        return str(error)


def _cupy() -> str:
    """CuPy's configuration: where it looks for what."""
    try:
        import cupyx

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of having no GPU
            return str(cupyx.get_runtime_info())
    except Exception as error:  # what is broken may break this too
        return f"CuPy has no configuration to show: {error!r}"
