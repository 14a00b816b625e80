"""The plan of a run as text."""

from collections.abc import Iterator

from picket_gpu.config.s1 import S1Config
from picket_gpu.device.backend import MIB, Backend
from picket_gpu.files.filenames import record_name, report_names
from picket_gpu.run.picking import picking_budget
from picket_gpu.run.plan import RunPlan, recipe_of


def describe_plan(config: S1Config, backend: Backend, run: RunPlan) -> Iterator[str]:
    """Yield the lines of the plan, as it would run on ``backend``."""
    for plan in run.tomograms:
        header, entry = plan.header, plan.entry
        recipe = recipe_of(plan.subject, config, entry.storage_options, backend)
        windows = recipe.windows
        z, y, x = header.shape
        size = " x ".join(f"{a:g}" for a in header.voxel_size) + " angstrom"
        size = size if min(header.voxel_size) > 0 else "unknown size"
        yield f"{plan.place} {header.path}"
        yield f"  {z} x {y} x {x} voxels (z y x) of {size}"
        for warning in plan.warnings:
            yield f"  warning: {warning}"
        at_most = "at most " if entry.fitting_mask is not None else ""
        yield (
            f"  fitting: {_slices(windows.lower, windows.upper)}, {at_most}{windows.count:,} "
            f"neighborhoods"
        )
        for use, mask in (("fitting", entry.fitting_mask), ("labelling", entry.output_mask)):
            if mask is not None:
                yield f"  {use}: where {mask.rule}"
        if entry.limits_prediction:
            first = entry.prediction_lower_z_slice_limit or 0
            last = entry.prediction_upper_z_slice_limit
            yield f"  labelling: {_slices(first, z if last is None else last)}"
        for mode in config.feature_extraction_params:
            features = mode.num_features(windows.side)
            yield f"  {mode.mode}: Features array of shape: ({windows.count}, {features})"
        memory = recipe.memory(backend)
        budget, kept = memory.budget / MIB, memory.cache_bytes / MIB
        yield f"  memory: at most {budget:.0f} MiB, including {kept:.0f} MiB for stored features"
        if memory.slab_planes is not None:
            yield f"  streamed from host memory in slabs of {memory.slab_planes} z-slices"
        if plan.reused:
            yield f"  done earlier: {', '.join(sorted({one.mode for one in plan.reused}))}"
        for picking in plan.picking:
            done = ", done earlier" if picking.earlier else ""
            most = picking_budget(backend, plan.subject, config.memory_budget) / MIB
            yield f"  particles from {picking.source_name}, in at most {most:.0f} MiB{done}"
        if plan.changed:
            changed = ", ".join(plan.changed)
            yield f"  settings or tomogram have changed, computing again: {changed}"
    yield "Files:"
    for plan in run.tomograms:
        for job in plan.pending:
            for method in config.clustering_methods:
                for path in plan.files.of(job.mode, method).values():
                    yield f"  {path}"
        for picking in plan.picking:
            if picking.earlier is None:
                for path in picking.files.values():
                    yield f"  {path}"
    yield f"  {config.directory / record_name(run.chosen)}"
    if config.report:
        for name in report_names([plan.index for plan in run.tomograms], run.total == 1):
            yield f"  {config.directory / name}"


def _slices(first: int, end: int) -> str:
    """z-slices from ``first`` to ``end``, exclusive."""
    return f"z-slices {first}-{end - 1} ({end - first} slices)"
