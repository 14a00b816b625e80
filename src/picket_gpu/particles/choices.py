"""Answers of a person about candidates: the file that a page saves, and the model by which they
rank all candidates of a dataset.

The model is kernel ridge regression: the height of a candidate, corrected by what answers for
candidates that look alike say against theirs.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial.distance import cdist

from picket_gpu.errors import PicketError, one_line
from picket_gpu.files.location import expanded
from picket_gpu.files.segmentation import Subject
from picket_gpu.particles.descriptors import COUNT

LEAST = 5  # answers, from which on the model ranks
GOOD = 2.0  # what a good candidate should have; a bad one -2
LIKENESS, COMMON = 9.0, 9.0  # variance of what depends on descriptors, and of what does not
WIDTH = 2.0 * COUNT  # of the likeness: of squared distances of descriptors
# Voxels between an answered place and its candidate. Maxima are a voxel apart or more, and where
# they are found again, on another device, they move by thousandths.
SAME = 0.5
ROWS = 4096  # candidates that are ranked at a time, for little memory

_Number: TypeAlias = Annotated[float, Field(allow_inf_nan=False, strict=True)]
_Called: TypeAlias = tuple[str, str | None]  # name of a tomogram, and its path
_Row: TypeAlias = Annotated[list[_Number], Field(min_length=COUNT, max_length=COUNT)]


class Example(BaseModel):
    """What the model sees of a candidate: its height, and its 23 numbers."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    m: _Number
    descriptor: _Row


class Answer(BaseModel):
    """A place in voxels, and whether it is a particle; with an `Example` unless it is added."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    z: _Number
    y: _Number
    x: _Number
    good: Annotated[bool, Field(strict=True)]
    m: _Number | None = None
    descriptor: _Row | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.m is None) != (self.descriptor is None):
            raise ValueError("m and descriptor: must both be there, or neither")
        return self

    @property
    def example(self) -> Example | None:
        """What the model sees of it."""
        if self.m is None or self.descriptor is None:
            return None
        return Example(m=self.m, descriptor=self.descriptor)


class Answered(BaseModel):
    """Answers in one tomogram, and candidates of it that count as bad for the model."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    index: int
    name: str
    path: str
    answers: list[Answer]
    background: list[Example] = []


class Picking(BaseModel):
    """The particles that the answers are about; diameter in angstrom."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    mode: str
    method: str
    name: str | None = None
    diameter: _Number


class Choices(BaseModel):
    """What choices.json holds."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    format: Literal["picket_gpu choices"]
    version: Literal[1]
    picking: Picking
    tomograms: list[Answered]


@dataclass(frozen=True)
class Answers:
    """Answers as picking in one tomogram needs them.

    Attributes:
        descriptors: (k, 23) float64, of all that the model learns from.
        heights: (k,) float64, of the same.
        wanted: (k,) float64, `GOOD` or its negative.
        count: number of answers among them; the others are background.
        points: (a, 3) float64, (z, y, x) in voxels, answered places of this tomogram.
        good: (a,) bool, whether they are particles.
        digest: of the files' contents.
    """

    descriptors: np.ndarray
    heights: np.ndarray
    wanted: np.ndarray
    count: int
    points: np.ndarray = field(default_factory=lambda: np.empty((0, 3)))
    good: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=bool))
    digest: str = ""

    @property
    def rank(self) -> bool:
        """Whether they are enough for the model."""
        return self.count >= LEAST

    def odds(self, descriptors: np.ndarray, heights: np.ndarray) -> np.ndarray:
        """Log-odds f of candidates to be particles, (m,) float64, for `probabilities`.

        f(x) = m(x) + k(x, A) (K(A, A) + 1)^-1 (y - m_A), k(x, x') = 9 exp(-\\|x - x'\\|^2 / 46) + 9
        (Rasmussen & Williams, Gaussian Processes for Machine Learning, 2006, eq. 2.25).

        Args:
            descriptors: (m, 23), as `standardised` gives them.
            heights: (m,).
        """
        likeness = _kernel(self.descriptors, self.descriptors)
        factor = cho_factor(likeness + np.eye(len(likeness)), lower=True)
        weights = cho_solve(factor, self.wanted - self.heights)
        odds = np.array(heights, dtype=np.float64)
        for first in range(0, len(odds), ROWS):
            rows = slice(first, first + ROWS)
            odds[rows] += _kernel(descriptors[rows], self.descriptors) @ weights
        return odds

    def without(self, gone: np.ndarray) -> "Answers":
        """All but some of the places, (a,) bool; the model stays."""
        return replace(self, points=self.points[~gone], good=self.good[~gone])


def probabilities(odds: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-f)) of log-odds, float64."""
    tail = np.exp(-np.abs(odds))
    found: np.ndarray = np.where(odds >= 0, 1.0, tail) / (1 + tail)
    return found


def _kernel(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How alike candidates are, (n, k)."""
    squares = cdist(ones, others, "sqeuclidean")
    kernel: np.ndarray = LIKENESS * np.exp(-squares / WIDTH) + COMMON
    return kernel


def read_choices(path: Path) -> Choices:
    """Read a file of choices.

    Raises:
        PicketError: it is missing, or is no such file.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise PicketError(f"{path}: no such file of choices; save it from a report") from None
    except (OSError, ValueError, RecursionError) as error:
        raise PicketError(
            f"{path}: cannot be read as a file of choices ({one_line(error)}); save it again from "
            "a report"
        ) from None
    try:
        return Choices.model_validate(content)
    except ValidationError as error:
        raise PicketError(f"{path}: {_fault(content, error)}") from None


def _fault(content: Any, error: ValidationError) -> str:
    """The first fault of a file, in one line."""
    if not isinstance(content, dict) or content.get("format") != "picket_gpu choices":
        return "is not a file of choices; save one from a report"
    if content.get("version") != 1:
        version = content.get("version")
        return f"version: must be 1 (got {version!r}); use the picket_gpu that saved it"
    fault = error.errors()[0]
    place = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in fault["loc"])
    message = fault["msg"].removeprefix("Value error, ")
    key = place.removeprefix(".")
    return f"{key}: {message}; save it again from a report"


def chosen_files(names: Iterable[str]) -> list[Path]:
    """Paths of files of choices as a user has written them.

    Raises:
        PicketError: one cannot be a path.
    """
    try:
        return [Path(expanded(name)) for name in names]
    except ValueError as error:
        raise PicketError(f"choices: {error}") from None


def answers_in(files: Sequence[Choices], subject: Subject) -> Answers:
    """The answers of several files as one model, with those places that are in one tomogram.

    A tomogram is known by its name. Where a file has several of that name, the one of its path is
    meant, if there is one. The last answer for a place holds, whichever file it is in.

    Raises:
        PicketError: a place is outside the tomogram.
    """
    known: dict[_Called, list[Answer]] = {}
    background: dict[_Called, list[Example]] = {}
    for called, tomogram in _called(files):
        answers = known.setdefault(called, [])
        for answer in tomogram.answers:
            number = next((n for n, at in enumerate(answers) if _is_same(at, answer)), len(answers))
            answers[number : number + 1] = [answer]
        ground = background.setdefault(called, [])
        ground += [example for example in tomogram.background if example not in ground]
    learned = [
        (answer.example, GOOD if answer.good else -GOOD)
        for answers in known.values()
        for answer in answers
        if answer.example is not None
    ]
    count = len(learned)
    for called, ground in background.items():
        answered = [answer.example for answer in known[called]]
        learned += [(example, -GOOD) for example in ground if example not in answered]
    named = {path: answers for (name, path), answers in known.items() if name == subject.name}
    meant = {None, str(subject.tomogram)}
    own = [answers for path, answers in named.items() if path in meant] or list(named.values())
    places = {(one.z, one.y, one.x): one.good for answers in own for one in answers}
    for place in places:
        # Tops of candidates at the faces may be a little outside.
        if not all(-1 <= at <= n for at, n in zip(place, subject.shape, strict=True)):
            at = ", ".join(f"{axis} {voxel:.1f}" for axis, voxel in zip("zyx", place, strict=True))
            raise PicketError(
                f"choices: an answer for {subject.name} is at {at}, outside it; the file is of "
                "another tomogram of that name: leave it out, or set another name in inputs"
            )
    text = json.dumps([one.model_dump(mode="json") for one in files])
    return Answers(
        np.array([each.descriptor for each, _ in learned], float).reshape(-1, COUNT),
        np.array([each.m for each, _ in learned], float),
        np.array([wanted for _, wanted in learned], float),
        count,
        np.array(list(places), float).reshape(-1, 3),
        np.array(list(places.values()), bool),
        sha256(text.encode()).hexdigest()[:32],
    )


def _called(files: Sequence[Choices]) -> Iterator[tuple[_Called, Answered]]:
    """What is said of tomograms, by their names; where a file has several of one, also by path."""
    for one in files:
        names = [tomogram.name for tomogram in one.tomograms]
        for tomogram in one.tomograms:
            path = tomogram.path if names.count(tomogram.name) > 1 else None
            yield (tomogram.name, path), tomogram


def _is_same(one: Answer, other: Answer) -> bool:
    apart = np.subtract((one.z, one.y, one.x), (other.z, other.y, other.x))
    return bool(np.linalg.norm(apart) <= SAME)
