"""From grey values to a tomogram that is ready for its workflows: one recipe for every use."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from picket_gpu.device.backend import Backend
from picket_gpu.device.operations import Array
from picket_gpu.errors import PicketError
from picket_gpu.method.beads import Beads, find_beads
from picket_gpu.method.labels import core, voxels_to_label
from picket_gpu.method.memory import MemoryPlan, plan_memory
from picket_gpu.method.padding import clear_of, find_padding, grey_limits, keep_all_but
from picket_gpu.method.preprocess import SLIVER, prepare
from picket_gpu.method.windows import WindowSet, centres_in, masked_windows
from picket_gpu.method.workflows import PreparedTomogram

# Of a voxel in host memory: a mask, and a mask for fitting with the numbers of its windows.
MASK_BYTES, CHOSEN_BYTES = 1, 5
STRONG_CLIP = 3.0  # limits gold to little more than what particles and noise have

Mask: TypeAlias = Callable[[], np.ndarray]  # reads bool, (z, y, x)


@dataclass(frozen=True)
class Recipe:
    """How a tomogram is prepared: padding, beads, masks, limits, clip, blur, scale.

    Attributes:
        windows: windows used for fitting, before masks.
        sigma: standard deviation of the blur in voxels.
        padding: "mask" leaves regions of one grey value out, "keep" uses them as data.
        beads: "mask" leaves gold beads and hot voxels out, "keep" uses them as data.
        clip: limit of grey values in robust standard deviations from the median; None for none.
        fitting_mask: reads the mask whose voxels are centres of the windows for fitting.
        output_mask: reads the mask whose voxels get labels.
        labelled_slices: first z-slice that gets labels, and the one after the last; None for no
            limit.
        outside_is_padding: whether voxels outside ``windows`` and ``fitting_mask`` are padding.
        label_bytes: bytes of labels and scores of a voxel that are in memory at a time.
        beside_labels: bytes that something else takes while labels are in memory.
        budget: memory for arrays on the device in bytes; None for the device's default.
        name: name of the tomogram in messages.
        output_mask_name: name of the mask in messages.
    """

    windows: WindowSet
    sigma: float = 2.0
    padding: Literal["mask", "keep"] = "mask"
    beads: Literal["mask", "keep"] = "mask"
    clip: float | None = None
    fitting_mask: Mask | None = None
    output_mask: Mask | None = None
    labelled_slices: tuple[int | None, int | None] = (None, None)
    outside_is_padding: bool = False
    label_bytes: int = 1
    beside_labels: int = 0
    budget: int | None = None
    name: str = "volume"
    output_mask_name: str = "mask"

    def memory(self, backend: Backend, excludes: bool = False) -> MemoryPlan:
        """Plan the memory that the workflows take.

        Args:
            excludes: whether padding or beads were found.

        Raises:
            PicketError: the budget is too small.
        """
        excludes = excludes or self.outside_is_padding
        labels = self.label_bytes
        if not backend.streams:  # masks are in host memory
            labels += MASK_BYTES * (self.output_mask is not None or excludes)
            labels += CHOSEN_BYTES * (self.fitting_mask is not None or excludes)
        return plan_memory(
            backend, self.windows, labels, self.budget, self.sigma, beside_labels=self.beside_labels
        )

    def check_labelled_slices(self) -> None:
        """Raise a PicketError if the z-slices to label lie outside of those that can be."""
        depth, half = self.windows.volume_shape[0], self.windows.side // 2
        lower, upper = self.labelled_slices
        for key, bound in (("lower", lower), ("upper", upper)):
            if bound is not None and bound > depth:
                raise PicketError(
                    f"{self.name}: prediction_{key}_z-slice_limit {bound} is outside the volume; "
                    f"use 0 to {depth}"
                )
        first, last = lower or 0, depth if upper is None else upper
        if max(first, half) >= min(last, depth - half):
            raise PicketError(
                f"{self.name}: no z-slice from prediction_lower_z-slice_limit {first} to "
                f"prediction_upper_z-slice_limit {last} can be labelled; use {half} to "
                f"{depth - half}"
            )

    def check_masks(self, fitting: np.ndarray | None, output: np.ndarray | None) -> None:
        """Raise a PicketError if masks leave nothing to fit or to label.

        Args:
            fitting, output: what ``fitting_mask`` and ``output_mask`` read; None for no mask. The
                latter is changed in place, and may be the same array.
        """
        if fitting is not None:
            centres_in(self.windows, fitting, self.name)
        if output is not None:
            self._to_label(None, output)

    def prepare(self, backend: Backend, voxels: Array) -> PreparedTomogram:
        """Prepare a tomogram.

        Call inside ``backend.exclusive()``.

        Args:
            voxels: grey values, (z, y, x), any real type, NumPy or CuPy.

        Raises:
            PicketError: a mask cannot be read, or nothing is left to fit or to label.
        """
        host = voxels if isinstance(voxels, np.ndarray) else backend.download(voxels)
        fitting = None if self.fitting_mask is None else self.fitting_mask()
        excluded, beads, warnings = self._excluded(host, fitting)
        clear = None if excluded is None else clear_of(excluded, self.windows.side)
        to_label = self._to_label(clear, None if self.output_mask is None else self.output_mask())
        windows = self._windows_to_fit(fitting, clear)
        del fitting, clear
        memory = self.memory(backend, excluded is not None)
        keep = None if excluded is None else keep_all_but(excluded, host)
        limits = None if self.clip is None else grey_limits(host, self.clip, excluded)
        volume = prepare(backend, voxels, self.sigma, memory, self.name, keep, limits)
        if volume.central < SLIVER:
            warnings.append(
                f"{self.name}: 99% of the voxels lie within {volume.central:.1%} of the grey-value "
                f"range, so the foreground may be a few outliers; {self._remedy_for_outliers}"
            )
        return PreparedTomogram(
            volume, windows, memory, to_label, self.name, beads, tuple(warnings)
        )

    @property
    def _remedy_for_outliers(self) -> str:
        """What is left to do."""
        if self.beads == "keep":
            return "set beads: mask to leave gold beads out"
        if self.clip is None or self.clip > STRONG_CLIP:
            return "set clip: 3 to limit them, or leave them out by a mask"
        return "leave them out by a mask"

    def _excluded(
        self, voxels: np.ndarray, fitting: np.ndarray | None
    ) -> tuple[np.ndarray | None, Beads | None, list[str]]:
        """Voxels that blur, fit and labels leave out, bool, (z, y, x), None for none; the beads
        among them; warnings."""
        excluded, warnings = None, []
        padding = find_padding(voxels) if self.padding == "mask" else None
        if padding is not None:
            excluded = padding.mask
            values = " and ".join(f"{value:.4g}" for value in padding.values)
            warnings.append(
                f"{self.name}: {padding.share:.1%} of the voxels are padding with the value "
                f"{values}; they are left out of fitting and labelling (padding: keep uses them "
                "as data)"
            )
        if self.outside_is_padding:
            outside = np.ones(voxels.shape, dtype=bool)
            outside[self.windows.lower : self.windows.upper] = False
            if fitting is not None:
                outside |= ~fitting
            excluded = outside if excluded is None else excluded | outside
        if excluded is not None and excluded.all():
            raise PicketError(f"{self.name}: contains padding only; set padding: keep")
        found = find_beads(voxels, excluded) if self.beads == "mask" else None
        if found is None:
            return excluded, None, warnings
        beads, mask = found
        warnings.append(
            f"{self.name}: {beads} left out of fitting, labelling and picking (beads: keep uses "
            "them as data)"
        )
        return mask if excluded is None else excluded | mask, beads, warnings

    def _to_label(self, clear: np.ndarray | None, mask: np.ndarray | None) -> np.ndarray | None:
        """Voxels that get labels, bool, (z, y, x) or (z, 1, 1); None for all.

        Args:
            clear: voxels away from what is excluded; None for all.
            mask: that of the output; changed in place.
        """
        shape, side = self.windows.volume_shape, self.windows.side
        wanted = voxels_to_label(shape, side, *self.labelled_slices, mask, self.output_mask_name)
        if clear is None:
            return wanted
        wanted = clear if wanted is None else clear & wanted
        if not core(wanted, side).any():
            raise PicketError(
                f"{self.name}: no voxel can be labelled, all are too close to "
                "padding; change the limits, or set padding: keep"
            )
        return wanted

    def _windows_to_fit(self, fitting: np.ndarray | None, clear: np.ndarray | None) -> WindowSet:
        """Windows whose centre is in the mask and that touch no excluded voxel."""
        if fitting is None and clear is None:
            return self.windows
        where = "in the mask" if clear is None else "away from padding"
        mask = fitting if clear is None else clear if fitting is None else fitting & clear
        assert mask is not None
        return masked_windows(self.windows, mask, self.name, where)
