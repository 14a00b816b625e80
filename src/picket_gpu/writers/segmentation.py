"""All files of one segmentation, and what they say of how it was made."""

from datetime import UTC, datetime
from typing import Any

from picket_gpu.config import S1Config
from picket_gpu.location import Location
from picket_gpu.plan import TomogramPlan
from picket_gpu.stamp import Stamp
from picket_gpu.workflows import Segmentation
from picket_gpu.writers.copick import write_copick
from picket_gpu.writers.hdf5 import write_hdf5
from picket_gpu.writers.mrc import write_mrc, write_scores
from picket_gpu.writers.omezarr import write_zarr, write_zarr_scores


def write_segmentation(
    config: S1Config, plan: TomogramPlan, result: Segmentation, stamp: Stamp
) -> None:
    """Write the files that the configuration wants, in a directory that is there."""
    labels, scores, header = result.labels, result.scores, plan.header
    details = attributes(config, plan, result, stamp)
    for kind, path in plan.files.of(result.mode.mode, result.method).items():
        if kind == "hdf5":
            write_hdf5(path, labels, scores, details)
        elif kind == "mrc":
            write_mrc(path, labels, header, stamp)
        elif kind == "zarr":
            write_zarr(path, labels, header, details)
        elif kind == "copick" and plan.files.copick is not None:
            write_copick(plan.files.copick, path, labels, header, details)
        elif kind == "score" and scores is not None:
            write_scores(path, scores, header, stamp)
        elif scores is not None:
            write_zarr_scores(path, scores, header, details)


def attributes(
    config: S1Config, plan: TomogramPlan, result: Segmentation, stamp: Stamp
) -> dict[str, Any]:
    """What HDF5 and Zarr files say, by the names that the next step of the method (S2) reads."""
    entry, header = config.inputs[plan.index], plan.header
    features, labels = result.timings["features"], result.timings["labels"]
    clustering = result.timings["clustering"] + labels
    return {
        "dataset_name": config.dataset_name,
        "tomogram_path": str(entry.tomogram),
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
        "tomogram_name": entry.label,
        "tomogram_dataset": entry.dataset,
        "origin": header.origin,  # x, y, z
        "mask_for_fitting": _text(entry.fitting_mask),
        "mask_for_output": _text(entry.output_mask),
        "z_lb_for_prediction": entry.prediction_lower_z_slice_limit,
        "z_ub_for_prediction": entry.prediction_upper_z_slice_limit,
        "blur_sigma": config.blur_sigma,
        **stamp.attributes,
    }


def _text(where: Location | None) -> str | None:
    return None if where is None else str(where)
