"""Results of a run for scripts: `S1Run`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from picket_gpu.errors import Failure, PicketError
from picket_gpu.files.segmentation import Segmentation
from picket_gpu.particles.particles import Particles
from picket_gpu.run.dataset import ParticleList


class S1Run(list[Segmentation]):
    """Segmentations of a run: a list in the order of inputs, feature modes and methods.

    Attributes:
        failures: failed tomograms or feature modes, with their errors.
        warnings: warnings about the tomograms, one line each.
        warnings_by_index: the same, by the index of the tomogram in ``inputs``.
        particles: picked particles, in the order of inputs, `particles` and workflows.
        lists: particles of all tomograms in the directory, by workflow and name.
    """

    def __init__(
        self,
        results: Iterable[Segmentation] = (),
        failures: Iterable[Failure] = (),
        warnings: Mapping[int, Sequence[str]] | None = None,
        particles: Iterable[Particles] = (),
        lists: Iterable[ParticleList] = (),
    ) -> None:
        super().__init__(results)
        self.failures = list(failures)
        self.warnings_by_index = {i: list(texts) for i, texts in (warnings or {}).items() if texts}
        self.warnings = [text for texts in self.warnings_by_index.values() for text in texts]
        self.particles = list(particles)
        self.lists = list(lists)

    def get(self, tomogram: str | int, workflow: str) -> Segmentation:
        """Return one segmentation.

        Args:
            tomogram: name of the tomogram, with or without its file's ending, or its index in
                ``inputs``.
            workflow: feature mode and clustering method, such as "gabor-gmm".

        Raises:
            PicketError: the run has no such segmentation, or several tomograms have the name.
        """
        found = [one for one in self if _is_named(one, tomogram)]
        if not found:
            names = ", ".join(dict.fromkeys(one.run_name for one in self))
            raise PicketError(f"{tomogram}: no such tomogram in this run; use one of {names}")
        if len({one.index for one in found}) > 1:
            raise PicketError(f"{tomogram}: several tomograms have this name; use the index")
        for one in found:
            if "-".join(one.workflow) == workflow:
                return one
        names = ", ".join("-".join(one.workflow) for one in found)
        raise PicketError(f"{workflow}: no such workflow for {tomogram}; use one of {names}")

    def particles_of(self, tomogram: str | int) -> list[Particles]:
        """Return the particles picked in one tomogram, in the order of workflows.

        Args:
            tomogram: name or index, as for `get`.
        """
        return [one for one in self.particles if _is_named(one, tomogram)]

    def by_tomogram(self) -> dict[str, list[Segmentation]]:
        """Return the segmentations by the name of their tomogram, in the order of inputs.

        Raises:
            PicketError: two tomograms have the same name.
        """
        groups: dict[int, list[Segmentation]] = {}
        for one in self:
            groups.setdefault(one.index, []).append(one)
        names = [group[0].run_name for group in groups.values()]
        for name in names:
            if names.count(name) > 1:
                raise PicketError(f"{name}: several tomograms have this name; set name in inputs")
        return dict(zip(names, groups.values(), strict=True))

    def to_dataframe(self) -> Any:
        """Return a pandas table of all particles, as `Particles.to_dataframe`, with the workflow.

        Raises:
            PicketError: the run has picked no particles.
        """
        import pandas as pd

        if not self.particles:
            raise PicketError("particles: the run has picked none; set particles: {diameter: ...}")
        frames = []
        for one in self.particles:
            frame = one.to_dataframe()
            frame.insert(1, "workflow", "-".join(one.workflow))
            if any(other.picking is not None for other in self.particles):
                frame.insert(2, "name", one.picking)
            frames.append(frame)
        return pd.concat(frames, ignore_index=True)


def _is_named(one: Segmentation | Particles, tomogram: str | int) -> bool:
    if isinstance(tomogram, int):
        return one.index == tomogram
    return tomogram in (one.run_name, one.name)
