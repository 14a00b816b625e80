"""PickET's step 2 from its parameter file to files."""

from pathlib import Path

from picket_gpu.config.s2 import load_s2_config
from picket_gpu.console import SILENT, Reporter
from picket_gpu.run.outputs import check_directory
from picket_gpu.run.repick import describe
from picket_gpu.run.s2_plan import plan_s2


def pick_by_s2(
    config: Path,
    *,
    voxel_size: float | None = None,
    overwrite: bool = False,
    reporter: Reporter = SILENT,
) -> list[Path]:
    """Pick what PickET's S2 parameter file says: every input by every mode.

    Files are those of PickET, in ``output_dir/dataset_name/predicted_particles/``, and coordinates
    in angstrom beside them where the voxel size is known; see `picket_gpu.run.s2_plan` for names
    that PickET would give to several. Coordinates in YAML are the nearest voxels, where PickET cuts
    fractions off.

    Args:
        config: the YAML file.
        voxel_size: angstrom, of all axes, instead of what files say.
        overwrite: pick again what is there, and replace what was made otherwise.
        reporter: is told of each result.

    Returns:
        The YAML files.

    Raises:
        PicketError: the file or a segmentation is unusable.
    """
    size = None if voxel_size is None else (voxel_size, voxel_size, voxel_size)
    loaded = load_s2_config(config)
    check_directory(loaded.directory, f"{config}: output_dir")
    paths = []
    for plan in plan_s2(loaded, f"{config}: ", size, overwrite):
        result = plan.pick()
        for warning in (*plan.found.warnings, *result.warnings):
            reporter.line(f"warning: {warning}")
        told = result.picking
        count, threshold, candidates = told.picked, told.threshold, told.candidates
        reporter.line(describe(plan.files, count, threshold, candidates, result.earlier))
        paths.append(plan.files["yaml"])
    return paths
