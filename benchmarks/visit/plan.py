"""The steps of a visit, most important first: a visit that is cut short loses the least."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.speed.cases import SUITES, Case, Shape

SMALL: Shape = (24, 40, 40)


@dataclass(frozen=True)
class Step:
    """One process.

    Attributes:
        limit: the most seconds that it may take.
        needed: whether the visit ends where this step does not succeed.
    """

    name: str
    limit: float
    needed: bool = False


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        copy_bytes: of the copy that gives the machine's bandwidth.
        matrix_side: of the product that gives its matrix rate.
        agreement: part of the volumes that both devices label; None for all.
        stages: side of the volume of the stages, and of the tiles, in voxels.
        profile: side of the volume of the profile, in voxels.
        kernels: side of the volume of the profile by kernel, which runs each kernel several times.
        rivals: windows that the libraries cluster.
        tests: what pytest's ``-k`` keeps of the GPU tests; "" for all.
    """

    copy_bytes: int = 2**30
    matrix_side: int = 8192
    agreement: Shape | None = None
    stages: int = 400
    profile: int = 160
    kernels: int = 100
    rivals: int = 10**7
    tests: str = ""


REHEARSAL = Sizes(2**24, 256, SMALL, 20, 20, 20, 1000, "says_which or kernels or near_places")

CASE = "case: "
REHEARSED = "rehearsal of "
STAND_IN = "CPU stand-in"  # the device of a rehearsal
_LIMITS = {"100^3, scikit-learn recipe": 300.0}
_CASES = [Step(CASE + case.name, _LIMITS.get(case.name, 240.0)) for case in SUITES["gpu"]]
_HEAD = 3  # cases before the stages: the demo on both devices, and the large volume

STEPS = (
    Step("machine", 120, needed=True),
    Step("rates", 60),
    Step("tests", 420),
    Step("agreement", 180),
    *_CASES[:_HEAD],
    Step("failed tests, each alone", 180),
    Step("stages", 180),
    Step("profile", 120),
    Step("profile by kernel", 240),
    Step("tiles", 180),
    *_CASES[_HEAD:],
    Step("rivals", 300),
)


def chosen(only: Sequence[str], skip: Sequence[str]) -> list[Step]:
    """The steps whose names begin as one of ``only``, or all if there are none, and not as one of
    ``skip``.

    Raises:
        SystemExit: no step begins so.
    """
    for beginning in (*only, *skip):
        if not any(step.name.startswith(beginning) for step in STEPS):
            names = "; ".join(step.name for step in STEPS)
            raise SystemExit(f"error: no step begins with {beginning!r}; steps are: {names}")
    return [
        step
        for step in STEPS
        if step.name.startswith(tuple(only or [""])) and not step.name.startswith(tuple(skip))
    ]


def case_of(step: str, rehearse: bool) -> Case:
    """The case that a step measures, on a small volume in a rehearsal."""
    (case,) = (case for case in SUITES["gpu"] if CASE + case.name == step)
    if not rehearse:
        return case
    names = {"name": REHEARSED + case.name, "judge": case.judge and REHEARSED + case.judge}
    return replace(case, shape=SMALL, cap=case.cap and 1000, repeats=1, **names)
