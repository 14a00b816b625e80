"""The plan of a run as text.

Of one tomogram all details; of several what is odd first, then a line for each, and what they have
in common once.
"""

from collections.abc import Iterator
from math import prod

from picket_gpu.config.s1 import S1Config
from picket_gpu.console import aligned
from picket_gpu.device.backend import MIB, Backend
from picket_gpu.files.filenames import record_name, report_names
from picket_gpu.method.recipe import Recipe
from picket_gpu.run.disk_space import DiskSpace, describe_disk_space, disk_space, in_words
from picket_gpu.run.picking import picking_budget
from picket_gpu.run.plan import RunPlan, TomogramPlan, recipe_of
from picket_gpu.run.summary import changes, counted, joined, named


def describe_plan(config: S1Config, backend: Backend, run: RunPlan) -> Iterator[str]:
    """Yield the lines of the plan, as it would run on ``backend``."""
    if run.count == 1:
        yield from _one(config, backend, run)
    else:
        yield from _several(config, backend, run)


def _one(config: S1Config, backend: Backend, run: RunPlan) -> Iterator[str]:
    """All details of the only tomogram."""
    (plan,) = run.tomograms
    header, entry = plan.header, plan.entry
    recipe = recipe_of(plan.subject, config, entry.storage_options, backend)
    windows = recipe.windows
    z, y, x = header.shape
    size = " x ".join(f"{a:g}" for a in header.voxel_size) + " angstrom"
    size = size if min(header.voxel_size) > 0 else "unknown size"
    yield f"{plan.place} {header.path}"
    if entry.name is not None:
        yield f"  name: {entry.name}"
    yield f"  {z} x {y} x {x} voxels (z y x) of {size}"
    for warning in plan.warnings:
        yield f"  warning: {warning}"
    space = disk_space(config, run.tomograms)
    if space.is_short:
        yield f"  warning: {_too_little(config, space)}"
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
    yield from _memory(backend, [recipe])
    if plan.reused:
        yield f"  done earlier: {', '.join(sorted({one.mode for one in plan.reused}))}"
    for picking in plan.picking:
        done = ", done earlier" if picking.earlier else ""
        most = picking_budget(backend, plan.subject, config.memory_budget) / MIB
        yield f"  particles from {picking.source_name}, in at most {most:.0f} MiB{done}"
    if plan.changed:
        yield f"  settings or tomogram have changed, computing again: {', '.join(plan.changed)}"
    yield from describe_disk_space(config, space)
    yield "Files:"
    for job in plan.pending:
        for method in config.clustering_methods:
            for path in plan.files.of(job.mode, method).values():
                yield f"  {path}"
    for picking in plan.picking:
        for path in picking.pending.values():
            yield f"  {path}"
    yield f"  {config.directory / record_name(run.chosen)}"
    if config.report:
        for name in report_names([plan.index], run.total == 1):
            yield f"  {config.directory / name}"


def _several(config: S1Config, backend: Backend, run: RunPlan) -> Iterator[str]:
    """What is odd, a line for each tomogram, and what they have in common."""
    plans = run.tomograms
    recipes = [
        recipe_of(plan.subject, config, plan.entry.storage_options, backend) for plan in plans
    ]
    space = disk_space(config, plans)
    yield from _problems(config, run, space)
    limits = [_limits(plan, recipe) for plan, recipe in zip(plans, recipes, strict=True)]
    header = ["tomogram", "name", "voxels (z y x)", "angstrom", "limits", "to do"]
    rows = [
        [
            f"{plan.index}",
            plan.entry.label,
            " x ".join(map(str, plan.header.shape)),
            _voxel_size(plan) or "unknown",
            limit or "none",
            _to_do(plan),
        ]
        for plan, limit in zip(plans, limits, strict=True)
    ]
    rows = [header, *rows]
    yield from aligned(rows if any(limits) else [[*row[:4], row[5]] for row in rows])
    yield from _common(config, backend, plans, recipes)
    yield from describe_disk_space(config, space)
    left = [plan for plan in plans if not plan.is_done]
    if len(left) > 1:
        largest = max(left, key=lambda plan: prod(plan.header.shape))
        yield (
            f"To try the largest first: --tomograms {largest.index}; with --dry-run it shows all "
            "details"
        )
    counts = {
        "to do": len(left),
        "done earlier": len(plans) - len(left),
        "cannot be read": len(run.failures),
    }
    parts = [f"{number:,} {state}" for state, number in counts.items() if number]
    yield f"{counted(run.count, 'tomogram')}: {', '.join(parts)}"


def _problems(config: S1Config, run: RunPlan, space: DiskSpace) -> Iterator[str]:
    """What to think about before the run."""
    if run.failures:
        yield f"{len(run.failures):,} of {counted(run.count, 'tomogram')} cannot be read:"
        for failure in run.failures:
            yield f"  tomogram {failure.index}: {failure.message}"
    yield from joined({plan.index: plan.warnings for plan in run.tomograms})
    sizes: dict[str, list[int]] = {}
    for plan in run.tomograms:
        if size := _voxel_size(plan):
            sizes.setdefault(size, []).append(plan.index)
    if len(sizes) > 1:
        groups = sorted(sizes.items(), key=lambda group: -len(group[1]))
        told = ", ".join(f"{size} angstrom in {named(indices)}" for size, indices in groups)
        yield f"warning: voxel sizes differ: {told}"
    if space.is_short:
        yield f"warning: {_too_little(config, space)}"
    yield from changes(run.tomograms)


def _too_little(config: S1Config, space: DiskSpace) -> str:
    return (
        f"files may take {in_words(space.total)}, and {in_words(space.free or 0)} are free in "
        f"{config.directory}; write less, or choose another output_dir"
    )


def _common(
    config: S1Config, backend: Backend, plans: list[TomogramPlan], recipes: list[Recipe]
) -> Iterator[str]:
    """What the tomograms have in common."""
    yield "Each tomogram:"
    counts = [recipe.windows.count for recipe in recipes]
    at_most = "at most " if any(plan.entry.fitting_mask is not None for plan in plans) else ""
    yield f"  fitting: {at_most}{_range(counts, ',')} neighborhoods"
    for mode in config.feature_extraction_params:
        features = mode.num_features(recipes[0].windows.side)
        yield f"  {mode.mode}: Features array of shape: ({_range(counts)}, {features})"
    yield from _memory(backend, recipes)
    budgets: dict[str, float] = {}
    for plan in plans:
        for picking in plan.picking:
            most = picking_budget(backend, plan.subject, config.memory_budget) / MIB
            budgets[picking.source_name] = max(most, budgets.get(picking.source_name, 0))
    for source, most in budgets.items():
        yield f"  particles from {source}, in at most {most:.0f} MiB"
    kinds = dict.fromkeys([*config.save, *(kind for one in plans[0].picking for kind in one.files)])
    kinds |= {"report": None} if config.report else {}
    yield f"  files in {config.directory}: {', '.join(kinds)}"


def _memory(backend: Backend, recipes: list[Recipe]) -> Iterator[str]:
    """The memory that the tomogram takes that takes the most."""
    plans = [recipe.memory(backend) for recipe in recipes]
    most = max(plans, key=lambda plan: plan.budget)
    budget, kept = most.budget / MIB, most.cache_bytes / MIB
    yield f"  memory: at most {budget:.0f} MiB, including {kept:.0f} MiB for stored features"
    slabs = [plan.slab_planes for plan in plans if plan.slab_planes is not None]
    if slabs:
        yield f"  streamed from host memory in slabs of {_range(slabs)} z-slices"


def _range(numbers: list[int], form: str = "") -> str:
    least, most = min(numbers), max(numbers)
    return f"{least:{form}}" if least == most else f"{least:{form}} to {most:{form}}"


def _voxel_size(plan: TomogramPlan) -> str:
    """Angstrom, once if all axes have the same, or nothing if it is not known."""
    if not plan.subject.is_scaled:
        return ""
    sizes = [f"{a:.4g}" for a in plan.header.voxel_size]
    return sizes[0] if len(set(sizes)) == 1 else " x ".join(sizes)


def _limits(plan: TomogramPlan, recipe: Recipe) -> str:
    """Where a tomogram is fitted and labelled, if not everywhere."""
    entry, windows, depth = plan.entry, recipe.windows, plan.header.shape[0]
    parts = []
    if (windows.lower, windows.upper) != (0, depth):
        parts.append(f"fit z {windows.lower}-{windows.upper - 1}")
    if entry.limits_prediction:
        last = entry.prediction_upper_z_slice_limit
        first = entry.prediction_lower_z_slice_limit or 0
        parts.append(f"label z {first}-{(depth if last is None else last) - 1}")
    if entry.mask is not None:
        parts.append("mask")
    parts += ["mask for fitting"] * (entry.mask_for_fitting is not None)
    parts += ["mask for output"] * (entry.mask_for_output is not None)
    return ", ".join(parts)


def _to_do(plan: TomogramPlan) -> str:
    """What is left to do of a tomogram, or that it was done earlier."""
    if plan.is_done:
        return "done earlier"
    parts = [mode.mode for mode in plan.pending]
    if any(picking.earlier is None for picking in plan.picking):
        parts.append("particles")
    if plan.lacks_page or not parts:
        parts.append("report")
    return ", ".join(parts)


def _slices(first: int, end: int) -> str:
    """z-slices from ``first`` to ``end``, exclusive."""
    return f"z-slices {first}-{end - 1} ({end - first} slices)"
