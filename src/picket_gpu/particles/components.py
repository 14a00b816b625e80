"""``method: components``: one particle for each connected component of a label."""

import numpy as np
from scipy import ndimage

from picket_gpu.particles.instances import picks_by_size, z_slices
from picket_gpu.particles.picks import Picks


def components(
    labels: np.ndarray,
    label: int = 1,
    *,
    least_voxels: int = 1,
    lower: int | None = None,
    upper: int | None = None,
) -> Picks:
    """The centroid of every component of voxels with ``label`` that are joined through faces.

    What ``connected_component_labeling`` of PickET's step 2 computes, before it cuts coordinates
    to whole numbers. Takes 5 bytes a voxel beside ``labels``.

    Args:
        labels: (z, y, x) integers.
        least_voxels: smallest component that is picked; PickET picks single voxels.
        lower: first z-slice to pick in, from 0; None for the first.
        upper: z-slice after the last to pick in; None for the end. PickET counts its upper limit
            in: give that plus 1.

    Returns:
        Picks, the largest component first, equally large ones in the order of their first voxels. A
        height is the component's voxels as a share of the largest component's.

    Raises:
        ValueError: no z-slice is left between the limits.
    """
    slices = z_slices(len(labels), lower, upper)
    numbered, count = ndimage.label(labels[slices] == label)
    return picks_by_size(numbered, count, slices.start, least_voxels)
