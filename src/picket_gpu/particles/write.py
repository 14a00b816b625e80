"""All files of one picking, and the record in them of how it was made."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from picket_gpu.files.atomic import remove
from picket_gpu.particles.formats import FORMATS
from picket_gpu.particles.formats.yaml import YAML
from picket_gpu.particles.particle_set import ParticleSet


class Picking(NamedTuple):
    """Record of a picking in its PickET YAML file.

    Attributes:
        fingerprint: digest of everything that the particles depend on.
        source: fingerprint of the segmentation that they were picked from, or a word.
        threshold: least height of a candidate that is picked.
        candidates: number of candidates.
        picked: number of particles.
        label: label of the particles.
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
    """Write every kind of ``files`` into an existing directory, each complete or not at all.

    Older files are removed first. Then the YAML file, which has the record, is written before the
    others, so an interruption leaves files missing, never files of two pickings.

    Args:
        files: paths by their kind, as in `TomogramFiles.particles`; ``yaml`` is one of them.
        particles: what to write.
        fingerprint: digest of everything that the particles depend on.
        source: see `Picking`.
    """
    remove_particles(files)
    picks = particles.picks
    candidates = len(picks.candidates)
    picking = Picking(fingerprint, source, picks.threshold, candidates, picks.count, picks.label)
    attributes = {**particles.attributes, **dict(zip(_NAMES, picking, strict=True))}
    particles = replace(particles, attributes=attributes)
    for kind in ("yaml", *(kind for kind in files if kind != "yaml")):
        FORMATS[kind].write(files[kind], particles)
    return picking


def remove_particles(files: Mapping[str, Path]) -> None:
    """Remove the files of an earlier picking; the YAML file, which has the record, last."""
    for kind in sorted(files, key=lambda kind: kind == "yaml"):
        remove(files[kind])


def remove_others(files: Mapping[str, Path], source: str) -> None:
    """Remove the files of a picking if it was made from another segmentation than ``source``."""
    picking = read_picking(files["yaml"])
    if picking is not None and picking.source != source:
        remove_particles(files)


def read_picking(path: Path) -> Picking | None:
    """Read the record of a picking from its PickET YAML file; None if it has none."""
    metadata = YAML.read_metadata(path)
    try:
        own, source, threshold, *counts = (metadata[name] for name in _NAMES)
        candidates, picked, label = map(int, counts)
        return Picking(own, source, float(threshold), candidates, picked, label)
    except (KeyError, ValueError):
        return None
