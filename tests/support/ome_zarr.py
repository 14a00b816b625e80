"""An OME-Zarr of several levels."""

import numpy as np
import zarr

SHAPE = (18, 20, 22)
DATA = np.random.default_rng(0).integers(-900, 900, SHAPE).astype(np.int16)


def multiscale(path, version, factor=1.0, unit="angstrom", axes="zyx"):
    """An OME-Zarr of three levels; translation and scale in ``unit`` times ``factor``."""
    extra = len(axes) - 3
    group = zarr.open_group(path, mode="w", zarr_format={"0.4": 2, "0.5": 3}[version])
    datasets = []
    for level in range(3):
        step = 2**level
        data = DATA[::step, ::step, ::step].reshape(
            (1,) * extra + DATA[::step, ::step, ::step].shape
        )
        group.create_array(str(level), data=data, chunks=(1,) * extra + (4, 8, 8))
        scale = [1.0] * extra + [10.0 * step * factor] * 3
        shift = [0.0] * extra + [3.0 * factor, 2.0 * factor, 1.0 * factor]
        steps = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": shift}]
        datasets.append({"path": str(level), "coordinateTransformations": steps})
    units = {} if unit is None else {"unit": unit}
    named = [{"name": a, "type": "space", **units} if a in "zyx" else {"name": a} for a in axes]
    image = {"axes": named, "datasets": datasets}
    if version == "0.5":
        group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
    else:
        group.attrs["multiscales"] = [image | {"version": "0.4"}]
    return path
