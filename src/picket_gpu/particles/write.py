"""All files of one picking, and what they say of how it was made."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from picket_gpu.files.atomic import remove
from picket_gpu.particles.formats import FORMATS
from picket_gpu.particles.formats.yaml import YAML
from picket_gpu.particles.particle_set import ParticleSet


class Picking(NamedTuple):
    """What a PickET YAML file of ours says of itself.

    Attributes:
        fingerprint: of all that the particles depend on.
        source: fingerprint of the segmentation that they are from, or a word.
        threshold: height from which candidates are particles.
        candidates: how many there were.
        picked: how many are particles.
        label: the cluster that they are of.
    """

    fingerprint: str
    source: str
    threshold: float
    candidates: int
    picked: int
    label: int


_NAMES = tuple(f"particles_{field}" for field in Picking._fields)


def write_particles(
    files: Mapping[str, Path], particles: ParticleSet, fingerprint: str, source: str
) -> Picking:
    """Write every kind of ``files`` in a directory that is there, each whole or not at all.

    The YAML file, which says how all were made, comes first, when no older ones are there any more:
    so files that go together are there, or some are missing.

    Args:
        files: by their kind, as `TomogramFiles.particles` has them; ``yaml`` is one of them.
        fingerprint: of all that the particles depend on.
        source: see `Picking`.
    """
    remove_particles(files)
    picks = particles.picks
    candidates = len(picks.candidates)
    told = Picking(fingerprint, source, picks.threshold, candidates, picks.count, picks.label)
    attributes = {**particles.attributes, **dict(zip(_NAMES, told, strict=True))}
    particles = replace(particles, attributes=attributes)
    for kind in ("yaml", *(kind for kind in files if kind != "yaml")):
        FORMATS[kind].write(files[kind], particles)
    return told


def remove_particles(files: Mapping[str, Path]) -> None:
    """Remove the files of an earlier picking, the one that says how they were made last."""
    for kind in sorted(files, key=lambda kind: kind == "yaml"):
        remove(files[kind])


def remove_others(files: Mapping[str, Path], source: str) -> None:
    """Remove the files of a picking from another segmentation than ``source``."""
    told = read_picking(files["yaml"])
    if told is not None and told.source != source:
        remove_particles(files)


def read_picking(path: Path) -> Picking | None:
    """What a PickET YAML file says of how it was made; None where it is none of ours."""
    metadata = YAML.read_metadata(path)
    try:
        own, source, threshold, *counts = (metadata[name] for name in _NAMES)
        candidates, picked, label = map(int, counts)
        return Picking(own, source, float(threshold), candidates, picked, label)
    except (KeyError, ValueError):
        return None
