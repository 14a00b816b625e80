"""A segmentation: a run's result, its line in run.json, and what its files say of it."""

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from inspect import Signature
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from picket_gpu.device.operations import Shape
from picket_gpu.errors import PicketError
from picket_gpu.files.filenames import ENDINGS, TomogramFiles
from picket_gpu.files.formats import FORMATS, Format, Readable
from picket_gpu.files.formats.hdf5 import HDF5
from picket_gpu.files.formats.mrc import IN_HEADER, MRC
from picket_gpu.files.formats.other import Other
from picket_gpu.files.lazy_volume import VolumeSelector
from picket_gpu.files.location import RecordedPlace, Url, absolute, name_in_lists
from picket_gpu.files.masks import Mask, RecordedMask
from picket_gpu.files.tomogram import TomogramHeader
from picket_gpu.method.clustering.gmm import TEMPERATURE
from picket_gpu.method.labels import FOREGROUND, UNLABELLED, core

Vector: TypeAlias = tuple[float, float, float]
UNKNOWN: Vector = (0.0, 0.0, 0.0)
NO_WINDOWS = 1  # as side: each voxel has a label by itself, also at the faces of the volume
# Attributes of HDF5 and Zarr files, by the field that they hold. The first ones have the names that
# PickET's step 2 reads.
_ATTRIBUTES = {
    "dataset_name": "dataset_name",
    "shape": "tomogram_shape",
    "voxel_size": "voxel_size",
    "neighborhood_size": "neighborhood_size",
    "lower_z_slice_limit": "z_lb_for_clusterer_fitting",
    "upper_z_slice_limit": "z_ub_for_clusterer_fitting",
    "max_num_neighborhoods_for_fitting": "max_num_neighborhoods_for_fitting",
    "mode": "fex_mode",
    "method": "clustering_method",
    "tomogram": "tomogram_as_given",
    "name": "tomogram_name",
    "dataset": "tomogram_dataset",
    "origin": "origin",
    "mask_for_fitting": "mask_for_fitting",
    "mask_for_output": "mask_for_output",
    "prediction_lower_z_slice_limit": "z_lb_for_prediction",
    "prediction_upper_z_slice_limit": "z_ub_for_prediction",
    "blur_sigma": "blur_sigma",
    "padding": "padding",
    "clip": "clip",
    "fingerprint": "fingerprint",
    "tomogram_digest": "tomogram_digest",
    "settings_digest": "settings_digest",
    "foreground_fraction": "share_of_label_1",
    "iterations": "iterations",
    "converged": "converged",
}
_FEATURE_SETTINGS = (
    "n_fft_subsets",
    "num_neighborhoods_subsets",
    "num_sinusoids",
    "num_parallel_filters",
    "num_output_features",
)
_FILLED_IN_BY_S2 = (
    "z_lb_for_particle_extraction",
    "z_ub_for_particle_extraction",
    "particle_cluster_id",
    "pex_mode",
    "pex_min_distance",
    "time_taken_for_s2",
    "timestamp_s2",
)
_SCORES = {
    "gmm": f"1 / (1 + exp(-log-odds of label 1 / {TEMPERATURE}))",
    "kmeans": "d0 / (d0 + d1), of the distances to the centres of labels 0 and 1",
}

_BY_SUFFIX: dict[str, type[Format]] = {
    ENDINGS[kind]: FORMATS[kind] for kind in ("hdf5", "mrc", "zarr")
}


class Subject(BaseModel):
    """A tomogram as it is segmented: its file, its geometry, and the settings that prepare it.

    Lengths are in angstrom, z-slices counted from 0, upper limits exclusive. None stands for no
    limit, and for what a file of the original PickET does not say.

    Attributes:
        directory: directory of the files.
        index: index of the tomogram in ``inputs``, from 0.
        tomogram: file or URL of the tomogram, as in the configuration.
        name: name in reports.
        dataset_name: name of the dataset.
        dataset: path of the array in the tomogram's file.
        shape: voxels, (z, y, x).
        voxel_size: (z, y, x); 0.0 if unknown.
        origin: centre of the first voxel, (x, y, z).
        centre: where RELION counts coordinates from, (z, y, x) in voxels; None for half the voxels.
        neighborhood_size: side of a neighborhood in voxels; `NO_WINDOWS` for a segmentation by
            another program.
        max_num_neighborhoods_for_fitting: greatest number of neighborhoods used for fitting.
        seed: random seed.
        blur_sigma: standard deviation of the blur in voxels.
        padding, beads: "mask" or "keep".
        clip: limit of grey values in robust standard deviations.
        lower_z_slice_limit, upper_z_slice_limit: z-slices used for fitting.
        prediction_lower_z_slice_limit, prediction_upper_z_slice_limit: z-slices that get labels.
        mask_for_fitting, mask_for_output: masks.
        outside_is_padding: whether voxels outside the z-slices and the mask count as padding.
        warnings: what is odd about the tomogram, a line each.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    # run.json has these in its configuration.
    directory: Path = Field(exclude=True)
    index: int = Field(ge=0, exclude=True)
    tomogram: RecordedPlace = Field(exclude=True)
    name: str = Field(exclude=True)
    dataset_name: str = Field(exclude=True)
    dataset: str | None = Field(None, exclude=True)
    shape: Shape = Field(exclude=True)
    voxel_size: Vector = Field(UNKNOWN, exclude=True)
    origin: Vector = Field(UNKNOWN, exclude=True)
    centre: Vector | None = Field(None, exclude=True)
    neighborhood_size: int = Field(ge=NO_WINDOWS, exclude=True)
    max_num_neighborhoods_for_fitting: int | None = Field(None, exclude=True)
    seed: int = Field(0, exclude=True)
    blur_sigma: float = Field(2.0, ge=0, le=100, exclude=True)
    padding: Literal["mask", "keep"] = Field("mask", exclude=True)
    beads: Literal["mask", "keep"] = Field("mask", exclude=True)
    clip: float | None = Field(None, ge=1, le=1000, exclude=True)
    lower_z_slice_limit: int | None = Field(None, exclude=True)
    upper_z_slice_limit: int | None = Field(None, exclude=True)
    prediction_lower_z_slice_limit: int | None = Field(None, exclude=True)
    prediction_upper_z_slice_limit: int | None = Field(None, exclude=True)
    mask_for_fitting: RecordedMask | None = Field(None, exclude=True)
    mask_for_output: RecordedMask | None = Field(None, exclude=True)
    outside_is_padding: bool = Field(False, exclude=True)
    warnings: tuple[str, ...] = Field((), exclude=True)

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        # A run makes these; help() need not list their fields twice.
        cls.__signature__ = Signature()

    @property
    def fields(self) -> dict[str, Any]:
        """Fields of the tomogram alone."""
        return {name: getattr(self, name) for name in Subject.model_fields}

    def place_of(self, name: str) -> Path:
        """Path of a file by its name relative to the directory, which may lead out of it."""
        return Path(os.path.normpath(self.directory / name))

    @property
    def run_name(self) -> str:
        """Name in RELION and copick: as set, else the file name less its ending."""
        return name_in_lists(self.name, self.tomogram)

    @property
    def selector(self) -> VolumeSelector:
        """Which volume of the tomogram's file."""
        return VolumeSelector(dataset=self.dataset, shape=self.shape)

    @property
    def is_scaled(self) -> bool:
        """Whether the voxel size is known."""
        return min(self.voxel_size) > 0

    def angstrom(self, points: np.ndarray, zero: Sequence[float] = (0, 0, 0)) -> np.ndarray:
        """Points (n, 3), (z, y, x) in voxels, from such a point: (x, y, z) in angstrom, float64.

        Voxels of an unknown size count as 1 angstrom.
        """
        size = self.voxel_size if self.is_scaled else (1.0, 1.0, 1.0)
        lengths: np.ndarray = (points - np.array(zero)) * np.array(size)
        return lengths[:, ::-1]

    @property
    def relion_centre(self) -> Vector:
        """Where RELION counts coordinates from, (z, y, x) in voxels; `STAR` says why."""
        z, y, x = self.shape
        return (z / 2, y / 2, x / 2) if self.centre is None else self.centre

    def in_file(self, points: np.ndarray) -> np.ndarray:
        """The same in the frame of the tomogram's file, which includes its origin."""
        places: np.ndarray = self.angstrom(points) + np.array(self.origin)
        return places


class Segmentation(Subject):
    """Segmentation of one tomogram by one workflow, with the settings that made it.

    Attributes beside those of `Subject`:
        mode: feature mode.
        method: clustering method.
        features: settings of the feature mode.
        scored: whether scores were saved.
        reused: whether an earlier run made the segmentation.
        fingerprint: digest of everything that the labels depend on.
        tomogram_digest: digest of the grey values; None in files of earlier versions.
        settings_digest: digest of all else that the labels depend on, but for paths and times.
        files: names of the files, relative to ``directory``.
        foreground_fraction: fraction of the labelled voxels with label 1, 0 to 1.
        iterations: number of iterations of the clustering method.
        converged: whether the clustering method met its stopping rule.
        passes: mean number of times that the features of a neighborhood were computed.
        timings: seconds per stage: ``features``, ``clustering``, ``labels``, ``files``, and
            ``volume`` for reading and preparing the tomogram, which its workflows share.
    """

    model_config = ConfigDict(
        json_schema_extra={"description": "Segmentation of one tomogram by one workflow"}
    )

    mode: str = Field(exclude=True)
    features: dict[str, Any] = Field({}, exclude=True)
    scored: bool = Field(False, exclude=True)
    reused: bool = Field(False, exclude=True)
    method: str = Field(description="Clustering method")
    fingerprint: str = Field(description="Digest of everything that the labels depend on")
    tomogram_digest: str | None = Field(None, exclude=True)
    settings_digest: str | None = Field(None, exclude=True)
    files: list[str] = Field(
        description="Files of the segmentation, relative to the directory of this record"
    )
    foreground_fraction: float | None = Field(
        None,
        alias="share",
        description="Foreground fraction: labelled voxels with label 1, 0 to 1",
    )
    iterations: int | None = Field(
        None, description="Number of iterations of the clustering method"
    )
    converged: bool | None = Field(
        None, description="Whether the clustering method met its stopping rule"
    )
    passes: float | None = Field(
        None, description="Mean number of times that the features of a neighborhood were computed"
    )
    timings: dict[str, float] = Field({}, alias="seconds", description="Seconds per stage")

    @property
    def path(self) -> Path:
        """The file that is read back: HDF5 if it was saved."""
        return self.place_of(self.files[0])

    @property
    def workflow(self) -> tuple[str, str]:
        """Feature mode and clustering method."""
        return self.mode, self.method

    @property
    def seconds(self) -> float:
        """Seconds for this segmentation, without stage ``volume``, which workflows share."""
        return sum(seconds for stage, seconds in self.timings.items() if stage != "volume")

    @property
    def labels(self) -> np.ndarray:
        """Labels, int8, (z, y, x): 1 foreground, 0 background, -1 unlabelled.

        Each access reads the file, because the labels of many tomograms do not fit in memory.
        """
        return read_labels(self.path, self.neighborhood_size)

    @property
    def scores(self) -> np.ndarray:
        """Scores, float16, (z, y, x), 0 to 1: how certain it is that a voxel is foreground.

        Each access reads the file.

        Raises:
            PicketError: no scores were saved.
        """
        scores = read_scores(self.path)
        if scores is None:
            raise PicketError(f"{self.path}: contains no scores; run again with scores: true")
        return scores

    @property
    def attributes(self) -> dict[str, Any]:
        """What HDF5 and Zarr files say of the segmentation; MRC files keep seven of these."""
        features = self.timings.get("features", 0.0)
        return {
            "tomogram_path": str(absolute(self.tomogram)),
            **{attribute: _plain(getattr(self, field)) for field, attribute in _ATTRIBUTES.items()},
            **{f"fex_{setting}": self.features.get(setting) for setting in _FEATURE_SETTINGS},
            "time_taken_for_fex": features,
            "time_taken_for_clustering": self.seconds - features,
            "time_taken_for_s1": self.seconds,
            "timestamp_s1": datetime.now(UTC).isoformat(timespec="seconds"),
            **dict.fromkeys(_FILLED_IN_BY_S2),
            "particle_score_is": _SCORES.get(self.method) if self.scored else None,
            "warnings": "\n".join(self.warnings) or None,
            # Files of earlier versions have none, nor do others where they change nothing.
            **({} if self.centre is None else {"centre": self.centre}),
            **({"outside_is_padding": True} if self.outside_is_padding else {}),
            **({"beads": "keep"} if self.beads == "keep" else {}),
        }

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any], **known: Any) -> Self:
        """The segmentation that a file describes.

        Args:
            attributes: as `read_attributes` returns them.
            known: fields that are known otherwise, which win.

        Raises:
            ValueError: a value is impossible (a `pydantic.ValidationError`), or one is missing.
        """
        fields = {
            field: attributes[attribute]
            for field, attribute in _ATTRIBUTES.items()
            if attribute in attributes
        }
        fields["features"] = {
            setting: attributes[f"fex_{setting}"]
            for setting in _FEATURE_SETTINGS
            if f"fex_{setting}" in attributes
        }
        if "time_taken_for_s1" in attributes:
            fields["timings"] = {"all stages, earlier": attributes["time_taken_for_s1"]}
        fields["warnings"] = str(attributes.get("warnings", "")).splitlines()
        fields["outside_is_padding"] = bool(attributes.get("outside_is_padding", False))
        fields["beads"] = attributes.get("beads", "mask")
        fields["centre"] = attributes.get("centre")
        if "fingerprint" not in attributes:  # PickET takes padding and beads as data
            fields["padding"] = fields["beads"] = "keep"
        return cls.model_validate(fields | known)


def _plain(value: Any) -> Any:
    """A field as an attribute: a location or a mask as text."""
    if isinstance(value, Mask):
        return value.text
    return str(value) if isinstance(value, Path | Url) else value


def write_segmentation(
    files: TomogramFiles,
    workflow: tuple[str, str],
    labels: np.ndarray,
    scores: np.ndarray | None,
    header: TomogramHeader,
    attributes: Mapping[str, Any],
) -> None:
    """Write a segmentation in every wanted format, into a directory that exists.

    Args:
        files: names of the tomogram's files.
        workflow: feature mode and clustering method.
        labels: int8, (z, y, x): 1 foreground, 0 background, -1 unlabelled.
        scores: float16, (z, y, x), 0 to 1; None for no scores.
        header: geometry of the tomogram.
        attributes: how the segmentation was made, under PickET's names, with all of
            `picket_gpu.files.formats.mrc.IN_HEADER`; MRC stores only those and `DIGESTS`.
    """
    for kind, path in files.of(*workflow).items():
        if kind in FORMATS:  # which write the files of scores too
            FORMATS[kind].write(path, labels, scores, header, attributes)


def read_labels(path: Path, side: int) -> np.ndarray:
    """Labels from a file of any format, int8, (z, y, x), -1 where a voxel has no label.

    Only HDF5 stores which voxels have no label inside the volume: in the other formats, voxels
    outside a mask for the output are 0 like the background.

    Args:
        side: side of a window in voxels. Voxels within half of it of the volume's edge have no
            label; PickET itself may store 1 there.
    """
    stored = _format_of(path).read_labels(path)
    if side == NO_WINDOWS:
        return stored.astype(np.int8, copy=False)
    labels = np.full(stored.shape, UNLABELLED, dtype=np.int8)
    core(labels, side)[...] = core(stored, side)
    return labels


def read_hdf5_labels(path: Path) -> np.ndarray:
    """Labels as an HDF5 file stores them, integers, (z, y, x)."""
    return HDF5.read_labels(path)


def read_foreground(path: Path) -> np.ndarray:
    """Where a file of any format has label 1, bool, (z, y, x)."""
    return np.asarray(_format_of(path).read_labels(path) == FOREGROUND)


def has_scores(path: Path) -> bool:
    """Whether scores were saved with the labels in ``path``."""
    return _format_of(path).has_scores(path)


def read_scores(path: Path) -> np.ndarray | None:
    """Scores saved with the labels in ``path``, float16, (z, y, x); None if there are none."""
    return _format_of(path).read_scores(path) if has_scores(path) else None


def read_attributes(path: Path) -> dict[str, Any]:
    """How a segmentation was made, as plain Python values under PickET's names.

    Values None, which HDF5 stores as the text "None", are left out. An MRC file has at most
    `IN_HEADER` and `DIGESTS` of `picket_gpu.files.formats.mrc`.

    Raises:
        OSError, KeyError, ValueError, TypeError: the HDF5 or Zarr file is damaged, or is no
            segmentation.
    """
    attributes = _BY_SUFFIX.get(path.suffix, MRC).read_attributes(path)
    plain = {name: _python(value) for name, value in attributes.items()}
    return {name: value for name, value in plain.items() if value not in (None, "None")}


def read_own_attributes(path: Path) -> dict[str, Any] | None:
    """As `read_attributes`; None if ``path`` does not exist, or picket_gpu did not write it.

    Raises:
        PermissionError: there is no permission to read it.
    """
    try:
        attributes = read_attributes(path)
    except PermissionError:
        raise PermissionError(f"{path}: no permission to read it; change its permissions") from None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return attributes if attributes.keys() >= {*IN_HEADER} else None


def is_of_another_program(path: Path) -> bool:
    """Whether a file that exists is no segmentation by S1, though it may be one."""
    return _format_of(path) is Other


def _format_of(path: Path) -> type[Readable]:
    """The format of a file."""
    known = _BY_SUFFIX.get(path.suffix)
    return known if known is not None and (not path.exists() or known.is_ours(path)) else Other


def _python(value: Any) -> Any:
    """A NumPy value as one of Python's."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value
