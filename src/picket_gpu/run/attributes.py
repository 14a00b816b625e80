"""What files say of their segmentation, by the names that PickET's next step (S2) reads."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from picket_gpu.config.s1 import S1Config
from picket_gpu.files.location import Location, absolute
from picket_gpu.method.clustering.gmm import TEMPERATURE
from picket_gpu.method.workflows import Segmentation
from picket_gpu.run.plan import TomogramPlan

# What a score is, by the clustering method.
SCORES = {
    "gmm": f"1 / (1 + exp(-log-odds of label 1 / {TEMPERATURE}))",
    "kmeans": "d0 / (d0 + d1), of the distances to the centres of labels 0 and 1",
}


def attributes(
    config: S1Config, plan: TomogramPlan, result: Segmentation, warnings: Iterable[str]
) -> dict[str, Any]:
    """What HDF5 and Zarr files say of one segmentation."""
    entry, header = plan.entry, plan.header
    features, labels = result.timings["features"], result.timings["labels"]
    clustering = result.timings["clustering"] + labels
    return {
        "dataset_name": config.dataset_name,
        "tomogram_path": str(absolute(entry.tomogram)),
        "tomogram_shape": header.shape,
        "voxel_size": header.voxel_size,
        "neighborhood_size": config.neighborhood_size,
        "z_lb_for_clusterer_fitting": entry.lower_z_slice_limit,
        "z_ub_for_clusterer_fitting": entry.upper_z_slice_limit,
        "max_num_neighborhoods_for_fitting": config.max_num_neighborhoods_for_fitting,
        "fex_mode": result.mode.mode,
        "fex_n_fft_subsets": getattr(result.mode, "n_fft_subsets", None),
        "fex_num_neighborhoods_subsets": getattr(result.mode, "num_neighborhoods_subsets", None),
        "fex_num_sinusoids": getattr(result.mode, "num_sinusoids", None),
        "fex_num_parallel_filters": getattr(result.mode, "num_parallel_filters", None),
        "fex_num_output_features": getattr(result.mode, "num_output_features", None),
        "clustering_method": result.method,
        "time_taken_for_fex": features,
        "time_taken_for_clustering": clustering,
        "time_taken_for_s1": features + clustering,
        "timestamp_s1": datetime.now(UTC).isoformat(timespec="seconds"),
        # S2 fills these in.
        "z_lb_for_particle_extraction": None,
        "z_ub_for_particle_extraction": None,
        "particle_cluster_id": None,
        "pex_mode": None,
        "pex_min_distance": None,
        "time_taken_for_s2": None,
        "timestamp_s2": None,
        # Added by picket_gpu.
        "tomogram_as_given": str(entry.tomogram),
        "tomogram_name": entry.label,
        "tomogram_dataset": entry.dataset,
        "origin": header.place,  # x, y, z
        "mask_for_fitting": _text(entry.fitting_mask),
        "mask_for_output": _text(entry.output_mask),
        "z_lb_for_prediction": entry.prediction_lower_z_slice_limit,
        "z_ub_for_prediction": entry.prediction_upper_z_slice_limit,
        "blur_sigma": config.blur_sigma,
        "particle_score_is": SCORES[result.method] if result.scores is not None else None,
        "padding": config.padding,
        "clip": config.clip,
        "warnings": "\n".join(warnings) or None,
    }


def _text(where: Location | None) -> str | None:
    return None if where is None else str(where)
