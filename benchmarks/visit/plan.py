"""The steps of a visit, most important first: a visit that is cut short loses the least."""

from dataclasses import dataclass, replace

from benchmarks.speed.cases import DEMO_SHAPE, METHODS, MODES, SUITES, Case, Shape

SMALL: Shape = (24, 40, 40)


@dataclass(frozen=True)
class Step:
    """One process. ``limit`` is the most seconds that it may take."""

    name: str
    limit: float


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        copy_bytes: of the copy that gives the machine's bandwidth.
        matrix_side: of the product that gives its matrix rate.
        agreement: shape of the volume that both devices label.
        stages: side of the volume of the stages, in voxels.
        profile: side of the volume of the profile, in voxels.
        rivals: windows that the libraries cluster.
        tests: what pytest's ``-k`` keeps of the GPU tests; "" for all.
    """

    copy_bytes: int = 2**30
    matrix_side: int = 8192
    agreement: Shape = DEMO_SHAPE
    stages: int = 400
    profile: int = 160
    rivals: int = 10**7
    tests: str = ""


REHEARSAL = Sizes(2**24, 256, SMALL, 20, 20, 1000, "says_which or mixture_kernels or near_places")

CASE, AGREEMENT = "case: ", "agreement: "
REHEARSED = "rehearsal of "
STAND_IN = "CPU stand-in"  # the device of a rehearsal
_LIMITS = {"100^3, scikit-learn recipe": 300.0}
_CASES = [Step(CASE + case.name, _LIMITS.get(case.name, 240.0)) for case in SUITES["gpu"]]
_HEAD = 3  # cases before the stages: the demo on both devices, and the large volume

STEPS = (
    Step("machine", 120),
    Step("tests", 420),
    Step("failed tests, each alone", 180),
    *(Step(f"{AGREEMENT}{mode}-{method}", 120) for mode in MODES for method in METHODS),
    *_CASES[:_HEAD],
    Step("stages", 180),
    *_CASES[_HEAD:],
    Step("profile", 120),
    Step("profile by kernel", 240),
    Step("rivals", 300),
)


def case_of(step: str, rehearse: bool) -> Case:
    """The case that a step measures, on a small volume in a rehearsal."""
    (case,) = (case for case in SUITES["gpu"] if CASE + case.name == step)
    if not rehearse:
        return case
    names = {"name": REHEARSED + case.name, "judge": case.judge and REHEARSED + case.judge}
    return replace(case, shape=SMALL, cap=case.cap and 1000, repeats=1, **names)
