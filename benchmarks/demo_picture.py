"""The README's picture: a slice of the demo tomogram and its six segmentations.

    python -m picket_gpu configs/demo.yaml
    python benchmarks/demo_picture.py

writes docs/demo.png from the files of that run.
"""

from pathlib import Path

import h5py
import matplotlib
import mrcfile
import numpy as np
from scipy import ndimage

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[1]
SLICE = 50


def labels(mode: str, method: str) -> np.ndarray:
    path = ROOT / "demo_output" / "demo" / f"segmentation_0_{mode}_{method}.h5"
    with h5py.File(path) as file:
        return file["segmentations/semantic_segmentation"][SLICE]


def main() -> None:
    volume = mrcfile.read(ROOT / "tests" / "data" / "hiv_vlp_40A.mrc").astype(np.float32)
    grey = ndimage.gaussian_filter(volume, 1)[SLICE]
    low, high = np.percentile(grey, (1, 99.5))
    figure, axes = plt.subplots(2, 4, figsize=(10, 5.3), layout="constrained")
    overlay = matplotlib.colors.ListedColormap(["#e8590c"])
    panels = [("tomogram", None), *[(m, "kmeans") for m in ("ffts", "gabor", "intensities")]]
    panels += [("", None), *[(m, "gmm") for m in ("ffts", "gabor", "intensities")]]
    for axis, (mode, method) in zip(axes.flat, panels, strict=True):
        axis.set_axis_off()
        if not mode:
            continue
        axis.imshow(grey, cmap="gray", vmin=low, vmax=high, origin="lower")
        axis.set_title("blurred slice" if method is None else f"{mode}, {method}", fontsize=11)
        if method:
            found = np.ma.masked_not_equal(labels(mode, method), 1)
            axis.imshow(found, cmap=overlay, alpha=0.55, origin="lower", interpolation="nearest")
    axes[0, 0].plot([8, 33], [8, 8], color="white", linewidth=3)  # 25 voxels of 4 nm
    axes[0, 0].text(20.5, 11, "100 nm", color="white", ha="center", fontsize=9)
    note = "HIV-1 virus-like particles\n101 x 135 x 135 voxels\nof 4 nm\n\nlabel 1 in orange"
    axes[1, 0].text(0.02, 0.5, note, va="center", fontsize=10, transform=axes[1, 0].transAxes)
    (ROOT / "docs").mkdir(exist_ok=True)
    figure.savefig(ROOT / "docs" / "demo.png", dpi=110)


if __name__ == "__main__":
    main()
