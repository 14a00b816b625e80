"""What is measured, as data: one `Case` a row of the table."""

from dataclasses import dataclass, replace

Shape = tuple[int, int, int]
MODES = ("ffts", "gabor", "intensities")
METHODS = ("kmeans", "gmm")
DEMO_SHAPE: Shape = (101, 135, 135)
LARGE: Shape = (512, 1024, 1024)


@dataclass(frozen=True)
class Case:
    """One run of S1, or of the scikit-learn recipe, on one volume.

    Attributes:
        name: of the row.
        shape: of the volume, (z, y, x); `DEMO_SHAPE` is the demo tomogram itself.
        through: "api" is ``run_s1`` in a warm process, "cli" the command line from its start,
            "recipe" the scikit-learn recipe. Each in a process of its own.
        repeats: of the run; the median counts.
        judge: the case on the same volume whose labels these are compared with.
        diameter: of particles to pick, angstrom; None to pick none.
    """

    name: str
    shape: Shape
    device: str = "cpu"
    through: str = "api"
    modes: tuple[str, ...] = MODES
    methods: tuple[str, ...] = METHODS
    cap: int | None = None
    budget: str | None = None
    kmeans_engine: str = "native"
    precision: str = "float32"
    repeats: int = 1
    judge: str | None = None
    diameter: float | None = None


def _cube(side: int) -> Shape:
    return (side, side, side)


_RECIPE = Case("100^3, scikit-learn recipe", _cube(100), through="recipe")
_ALONE = [
    Case(
        f"100^3, {mode}-{method} alone",
        _cube(100),
        modes=(mode,),
        methods=(method,),
        judge=_RECIPE.name,
    )
    for mode in MODES
    for method in METHODS
]
_DEMO = Case("demo, CPU", DEMO_SHAPE)
_FULL = Case("512 x 1024 x 1024, cap 1e8, 12 GiB", LARGE, "gpu", cap=10**8, budget="12 GiB")

SUITES: dict[str, list[Case]] = {
    # Half a minute, to see that all of it works.
    "quick": [
        Case("24^3, scikit-learn recipe", _cube(24), through="recipe"),
        Case("24^3", _cube(24), judge="24^3, scikit-learn recipe"),
        Case("24^3, command line", _cube(24), through="cli", judge="24^3"),
        Case("24^3, 1000 windows", _cube(24), cap=1000, budget="1 GiB", judge="24^3"),
        Case("24^3, particles", _cube(24), judge="24^3", diameter=400.0),
    ],
    # Some ten minutes on two cores.
    "cpu": [
        _RECIPE,
        Case("50^3", _cube(50), repeats=3),
        Case("100^3", _cube(100), repeats=3, judge=_RECIPE.name),
        Case("200^3", _cube(200)),
        Case("100^3, 1 GiB", _cube(100), budget="1 GiB", repeats=3, judge=_RECIPE.name),
        *_ALONE,
        # Fitting takes the least of the time here, so picking the most of it.
        Case("100^3, 20000 windows, particles", _cube(100), cap=20_000, repeats=3, diameter=1040.0),
        Case("200^3, 20000 windows, particles", _cube(200), cap=20_000, repeats=3, diameter=1040.0),
        Case("demo, command line", DEMO_SHAPE, through="cli"),
    ],
    # One visit to a machine with a GPU, by falling importance, as it may be cut short.
    "gpu": [
        _DEMO,
        Case("demo, GPU", DEMO_SHAPE, "gpu", repeats=5, judge=_DEMO.name),
        _FULL,
        replace(_FULL, name="the same, memory as it comes", budget=None, judge=_FULL.name),
        replace(_FULL, name="the same, 2 GiB", budget="2 GiB", judge=_FULL.name),
        replace(_FULL, name="the same, command line", through="cli", judge=_FULL.name),
        replace(_FULL, name="the same, TF32", precision="tf32", judge=_FULL.name),
        replace(_FULL, name="the same, 1 GiB", budget="1 GiB", judge=_FULL.name),
        _RECIPE,
        Case("100^3, GPU", _cube(100), "gpu", repeats=5, judge=_RECIPE.name),
        Case("demo, GPU, TF32", DEMO_SHAPE, "gpu", precision="tf32", repeats=5, judge=_DEMO.name),
        Case(
            "demo, GPU, cuML",
            DEMO_SHAPE,
            "gpu",
            kmeans_engine="cuml",
            repeats=5,
            judge=_DEMO.name,
        ),
    ],
}
