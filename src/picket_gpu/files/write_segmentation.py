"""All files of one segmentation."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from picket_gpu.files.filenames import TomogramFiles
from picket_gpu.files.provenance import Provenance
from picket_gpu.files.tomogram import TomogramHeader
from picket_gpu.files.writers.copick import write_copick
from picket_gpu.files.writers.hdf5 import write_hdf5
from picket_gpu.files.writers.mrc import write_mrc, write_scores
from picket_gpu.files.writers.omezarr import write_zarr, write_zarr_scores


def write_segmentation(
    files: TomogramFiles,
    workflow: tuple[str, str],
    labels: np.ndarray,
    scores: np.ndarray | None,
    header: TomogramHeader,
    attributes: Mapping[str, Any],
    provenance: Provenance,
) -> None:
    """Write every kind of file that is wanted, in a directory that is there.

    Args:
        files: of the tomogram.
        workflow: feature mode and clustering method.
        labels: int8, (z, y, x), -1 where there is no label.
        scores: float16, (z, y, x); None where none were asked for.
        header: geometry of the tomogram.
        attributes: what HDF5 and Zarr files say of themselves, beside ``provenance``.
        provenance: of the segmentation, for all kinds.
    """
    details = {**attributes, **provenance.attributes}
    notes = provenance.mrc_labels
    for kind, path in files.of(*workflow).items():
        if kind == "hdf5":
            write_hdf5(path, labels, scores, details)
        elif kind == "mrc":
            write_mrc(path, labels, header, notes)
        elif kind == "zarr":
            write_zarr(path, labels, header, details)
        elif kind == "copick" and files.copick is not None:
            write_copick(files.copick, path, labels, header, details)
        elif kind == "score" and scores is not None:
            write_scores(path, scores, header, notes)
        elif scores is not None:
            write_zarr_scores(path, scores, header, details)
