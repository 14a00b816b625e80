"""All candidates that particles were chosen from, so that others can be chosen in no time."""

import json
import zlib
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar
from zipfile import BadZipFile

import numpy as np
from pydantic import TypeAdapter

from picket_gpu.files.atomic import atomic_file
from picket_gpu.particles.candidates import Candidates, Scale
from picket_gpu.particles.choices import Answers
from picket_gpu.particles.particles import Particles
from picket_gpu.particles.pool import Pool

# Of `Candidates` and `Pool`; the rest is text.
_ARRAYS = ("points", "diameters", "heights", "source")
_LOOKS = "descriptors"  # the same, where there are any
_MASKS = ("excluded", "claimed")
# Of `Answers`, where there are any.
_ANSWERS = ("descriptors", "heights", "wanted", "points", "good")
# Of `Particles`, beside those of the tomogram.
KEPT = (
    *("mode", "method", "picking", "fingerprint", "files", "settings", "seconds", "source"),
    *("diameter", "attributes", "threshold_of"),
)
# What reading a file raises that is not as `NPZ.write` makes it.
DAMAGED = (
    *(OSError, EOFError, LookupError, ValueError, TypeError, AttributeError, NotImplementedError),
    *(BadZipFile, zlib.error),
)


class NPZ:
    """Arrays of `Candidates`, which of them may be picked, and in ``about`` the other fields of
    `Particles` as JSON. So particles can be read from this file alone.

    ``points`` are (m, 3) float64, (z, y, x) in voxels; 0 is the centre of the first voxel.
    """

    several: ClassVar = False
    holds_none: ClassVar = True

    @staticmethod
    def write(path: Path, lists: Sequence[Particles]) -> None:
        """Write the arrays of particles that have a pool."""
        (particles,) = lists
        pool = particles.pool
        if pool is None:
            raise ValueError(f"{path}: particles have no candidates")
        arrays = {name: getattr(pool.candidates, name) for name in _ARRAYS}
        masks = {name: getattr(pool, name) for name in _MASKS}
        if pool.candidates.descriptors is not None:
            arrays[_LOOKS] = pool.candidates.descriptors
        plain = {
            field.name: getattr(pool.candidates, field.name)
            for field in fields(pool.candidates)
            if field.name not in (*_ARRAYS, _LOOKS)
        }
        about = {
            "tomogram": {k: v for k, v in particles.fields.items() if k != "directory"},
            "particles": {name: getattr(particles, name) for name in KEPT},
            "candidates": plain,
            "pool": {"scale": pool.scale, "fingerprint": pool.fingerprint},
        }
        if pool.answers is not None:
            kept = {name: getattr(pool.answers, name) for name in _ANSWERS}
            arrays |= {f"answers_{name}": array for name, array in kept.items()}
            about["answers"] = {"count": pool.answers.count, "digest": pool.answers.digest}
            about["pool"]["common"] = pool.common
        text = TypeAdapter(dict[str, Any]).dump_json(about).decode()
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, about=np.array(text), **arrays, **masks)

    @staticmethod
    def read(path: Path) -> Particles:
        """Read particles with all candidates, in the directory of the file.

        Raises:
            `DAMAGED`: it is not as `write` makes it.
        """
        with path.open("rb") as file, np.load(file) as stored:
            about = json.loads(str(stored["about"]))
            arrays = {name: stored[name] for name in _ARRAYS}
            if _LOOKS in stored:
                arrays[_LOOKS] = stored[_LOOKS]
            masks = {name: stored[name] for name in _MASKS}
            answers = None
            if "answers" in about:
                kept = {name: stored[f"answers_{name}"] for name in _ANSWERS}
                answers = Answers(**kept, **about["answers"])
        sources, zero, unit, threshold = about["pool"]["scale"]
        scale = Scale(tuple((a, b) for a, b in sources), zero, unit, threshold)
        plain = about["candidates"]
        plain["voxel_size"] = tuple(plain["voxel_size"])
        candidates = Candidates(**arrays, **plain)
        pool = Pool(
            candidates,
            scale=scale,
            fingerprint=about["pool"]["fingerprint"],
            answers=answers,
            common=about["pool"].get("common"),
            **masks,
        )
        picks = pool.choose(about["particles"]["settings"])
        return Particles(
            **about["tomogram"],
            **about["particles"],
            directory=path.parent,
            candidates=len(picks.candidates),
            picks=picks,
            pool=pool,
        )

    @staticmethod
    def read_fingerprint(path: Path, described: bool = False) -> str | None:
        """Digest of what the candidates depend on; None where the file is missing or damaged.

        Args:
            described: also where candidates have no descriptors.
        """
        about = _about(path, whole=True, described=described)
        return None if about is None else str(about["pool"]["fingerprint"])

    @staticmethod
    def read_names(path: Path) -> tuple[str | None, list[str]]:
        """Name of the particles, and names of those that they leave alone; none where the file is
        missing or damaged."""
        about = _about(path)
        settings = {} if about is None else about["particles"]["settings"]
        return settings.get("name"), settings.get("not_in") or []


def _about(path: Path, whole: bool = False, described: bool = False) -> Any:
    """What is in ``about``; None where the file is missing or damaged.

    Args:
        whole: whether the arrays are looked at too.
        described: whether candidates must have descriptors.
    """
    try:
        with path.open("rb") as file, np.load(file) as stored:
            damaged = stored.zip.testzip() if whole else None
            damaged = damaged or (described and _LOOKS not in stored)
            return None if damaged else json.loads(str(stored["about"]))
    except DAMAGED:
        return None
