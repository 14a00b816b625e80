"""Masks: which voxels of a volume belong to one, and what is odd about it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Annotated, Any, Self, TypeAlias

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from picket_gpu.device.operations import Shape
from picket_gpu.errors import PicketError
from picket_gpu.files.lazy_volume import LazyVolume, VolumeSelector
from picket_gpu.files.location import Location, Place, as_location, expanded
from picket_gpu.files.tomogram import open_checked, planes_in

FEW = 16  # values of both signs that exceed it are no labels
SOFT = 0.2  # of the greatest value: how far noise and resampling take the background of a mask
MOST = 0.99  # of a volume: a mask that covers more hardly changes anything


def _several(given: Any) -> Any:
    """One label stands for a list of one."""
    if isinstance(given, int):
        return (given,)
    if not isinstance(given, list | tuple):
        raise ValueError("must be a whole number, or a list of them")
    return given


_Label = Annotated[int, Field(ge=-(2**31), lt=2**31, strict=True)]
Labels = Annotated[
    tuple[_Label, ...],
    Field(min_length=1),
    BeforeValidator(_several),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer"},
                {"type": "array", "items": {"type": "integer"}, "minItems": 1},
            ]
        }
    ),
]


class Mask(BaseModel):
    """A mask: the path of a volume, or a mapping that also says which of its voxels belong to it.

    Where only a file is given it is written as that, a path.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Place = Field(
        description="File, directory or URL; {name} and {stem} in it stand for the tomogram's name "
        "and its file name without the ending"
    )
    dataset: str | None = Field(
        None,
        min_length=1,
        description="Path of the array in an HDF5 file or a Zarr group that holds several",
    )
    labels: Labels | None = Field(
        None, description="Values of the voxels that belong to the mask, a number or a list"
    )
    without: Labels | None = Field(
        None, description="Values of the voxels that do not; all others belong to the mask"
    )
    above: Annotated[float, Field(strict=True, allow_inf_nan=False)] | None = Field(
        None, description="Voxels above this value belong to the mask; default: 0"
    )

    @model_validator(mode="before")
    @classmethod
    def _by_its_file(cls, given: Any) -> Any:
        if isinstance(given, Mapping | Mask):
            return given
        if isinstance(given, str) and given.startswith("{"):  # as `text` has it, unless a name
            try:
                return dict(json.loads(given))
            except ValueError:
                pass
        return {"file": as_location(expanded(given) if isinstance(given, str) else given)}

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if sum(choice is not None for choice in (self.labels, self.without, self.above)) > 1:
            raise ValueError("labels, without and above exclude each other; use one of them")
        return self

    @model_serializer(mode="wrap")
    def _as_given(self, handler: SerializerFunctionWrapHandler) -> Any:
        fields = handler(self)
        return fields["file"] if self._is_file_alone else fields

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string", "minLength": 1}, handler(core_schema)]}

    @property
    def _is_file_alone(self) -> bool:
        choices = (self.dataset, self.labels, self.without, self.above)
        return all(choice is None for choice in choices)

    @property
    def text(self) -> str:
        """The mask in one line, from which it can be made again: a path or JSON."""
        if self._is_file_alone:
            return str(self.file)
        return json.dumps(self.model_dump(mode="json", exclude_none=True), ensure_ascii=False)

    def __str__(self) -> str:
        return str(self.file) if self.dataset is None else f"{self.file}, {self.dataset}"

    @property
    def rule(self) -> str:
        """Which voxels belong to it, in words."""
        if self.labels is not None:
            return f"{self} is {' or '.join(map(str, self.labels))}"
        if self.without is not None:
            return f"{self} is not {' or '.join(map(str, self.without))}"
        return f"{self} is above {self.above or 0:g}"

    def named(self, name: str, stem: str) -> "Mask":
        """The mask of a tomogram, with its name in place of {name} and {stem}."""
        filled = str(self.file).replace("{name}", name).replace("{stem}", stem)
        if filled == str(self.file):
            return self
        return self.model_copy(update={"file": as_location(filled)})


# Of a file that tells of a mask: what is there is no longer what a user writes.
RecordedMask: TypeAlias = Annotated[
    Mask,
    BeforeValidator(
        lambda told: (
            {"file": as_location(told)}
            if isinstance(told, str) and not told.startswith("{")
            else told
        )
    ),
]


@dataclass(frozen=True)
class MaskContent:
    """A mask that was read.

    Attributes:
        voxels: which voxels belong to it, bool, (z, y, x).
        warnings: what is odd about it, a line each, with its name.
    """

    voxels: np.ndarray
    warnings: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Digest of the voxels, 32 hexadecimal digits, which copies of a mask share."""
        return hashlib.sha256(self.voxels.data).hexdigest()[:32]


def open_mask(
    where: Mask | Location, shape: Shape, storage_options: Mapping[str, Any] | None = None
) -> LazyVolume:
    """Open a mask without reading it, and check its shape.

    Raises:
        PicketError: the mask cannot be read, or has another shape.
    """
    mask = _as_mask(where)
    volume = open_checked(
        mask.file,
        VolumeSelector(
            mask.dataset, shape=shape, storage_options=storage_options or {}, kind="mask"
        ),
    )
    if volume.shape != shape:
        raise PicketError(
            f"{mask}: the mask has {volume.shape} voxels (z, y, x), but the tomogram has "
            f"{shape}; use a mask of the same shape{_likely(volume.shape, shape)}"
        )
    return volume


def _likely(shape: tuple[int, ...], wanted: Shape) -> str:
    """Why a mask has another shape than the tomogram, if that is likely; else nothing."""
    if sorted(shape) == sorted(wanted):
        return " (this one seems to have its axes in another order than z, y, x)"
    for one, other, what in ((wanted, shape, "binned"), (shape, wanted, "unbinned")):
        factor = round(one[0] / other[0])
        if factor > 1 and all(abs(n / factor - m) < 1 for n, m in zip(one, other, strict=True)):
            return f" (this one seems to be {what} by {factor})"
    return ""


def read_mask(
    where: Mask | Location, shape: Shape, storage_options: Mapping[str, Any] | None = None
) -> np.ndarray:
    """Read a mask, bool, (z, y, x): see `examine_mask`."""
    return examine_mask(where, shape, storage_options).voxels


def examine_mask(
    where: Mask | Location,
    shape: Shape,
    storage_options: Mapping[str, Any] | None = None,
    may_be_empty: bool = False,
) -> MaskContent:
    """Read a mask, true where the volume has the chosen values, else where it is above 0.

    IMOD's bytes count as IMOD shows them.

    Args:
        where: the mask, or path or URL of one.
        shape: required shape.
        storage_options: options for the protocol of a URL.
        may_be_empty: whether 0 everywhere is no error.

    Raises:
        PicketError: the mask cannot be read, has another shape, or is empty.
    """
    mask = _as_mask(where)
    volume = open_mask(mask, shape, storage_options)
    zero, values = int(volume.zero), _Values(mask)
    inside = np.empty(shape, dtype=bool)
    for place, block in planes_in(mask.file, volume):
        values.add(block, zero, inside[place])
    if may_be_empty and values.are_zero:
        return MaskContent(inside, ())
    return MaskContent(inside, (*_named(mask, volume.warnings), *values.checked(volume, inside)))


class _Values:
    """What the values of a mask are, block by block."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._low, self._high = inf, -inf
        self._is_whole = True
        self._between = 0  # voxels without a whole number
        self._found: set[int] = set()

    def add(self, block: np.ndarray, zero: int, inside: np.ndarray) -> None:
        """Take a block in, and fill in which of its voxels belong to the mask."""
        mask = self._mask
        chosen = mask.labels if mask.labels is not None else mask.without
        if chosen is None:
            np.greater(block, (mask.above or 0) + zero, out=inside)
        else:
            inside[...] = False
            for label in chosen:
                here = block == label + zero
                if here.any():
                    self._found.add(label)
                    inside |= here
            if mask.without is not None:
                np.logical_not(inside, out=inside)
                if block.dtype.kind == "f":
                    inside &= np.isfinite(block)
        self._low = min(self._low, float(np.fmin.reduce(block, axis=None)) - zero)
        self._high = max(self._high, float(np.fmax.reduce(block, axis=None)) - zero)
        if block.dtype.kind == "f" and (self._is_whole or chosen is not None):
            whole = block == np.rint(block)
            self._is_whole = self._is_whole and bool(whole.all())
            self._between += int(np.count_nonzero(np.isfinite(block) & ~whole))

    @property
    def are_zero(self) -> bool:
        """Whether there is no other value than 0."""
        return self._low == self._high == 0

    @property
    def _limited(self) -> str:
        """The mask with a limit that tells its background, as a parameter file has it."""
        middle = (self._low + self._high) / 2
        limit = 0.5 if self._low < 0.5 < self._high <= 1 + SOFT else middle
        return f"{{file: {self._mask.file}, above: {limit:.3g}}}"

    @property
    def _text(self) -> str:
        low, high = self._low, self._high
        return f"value {low:g}" if low == high else f"values {low:g} to {high:g}"

    def checked(self, volume: LazyVolume, inside: np.ndarray) -> list[str]:
        """What is odd, a line each.

        Raises:
            PicketError: no voxel belongs to the mask, or its sign is unclear.
        """
        mask, count = self._mask, int(np.count_nonzero(inside))
        chosen = mask.labels or mask.without
        if not count and chosen is None:
            remedy = "save it as 0 and 1" if mask.above is None else "choose a lower limit"
            raise PicketError(
                f"{mask}: the mask is empty ({self._text}, voxels above {mask.above or 0:g} belong "
                f"to it); {remedy}"
            )
        if not count:
            limit = f", or a limit ({self._limited})" if self._between else ""
            raise PicketError(
                f"{mask}: the mask is empty where {mask.rule} ({self._text}); choose other labels"
                f"{limit}"
            )
        if volume.sign_unclear and self._low < 0 and max(-self._low, self._high) > FEW:
            raise PicketError(
                f"{mask}: the mask has signed bytes from {self._low:g} to {self._high:g}, which "
                "may be unsigned; save it as 0 and 1"
            )
        odd = []
        if missing := [str(label) for label in chosen or () if label not in self._found]:
            odd.append(f"the mask has no voxel of {', '.join(missing)} ({self._text})")
        if chosen is not None and self._between:
            odd.append(
                f"the mask has {self._between:,} voxels between labels ({self._text}); choose a "
                f"limit in place of labels ({self._limited})"
            )
        few = self._is_whole and max(-self._low, self._high) <= FEW
        if chosen is None and mask.above is None and self._low < 0 and not few:
            if not self._is_whole and -self._low <= SOFT * self._high:
                odd.append(
                    f"the mask has {self._text}, and what is above 0 belongs to it; choose a limit "
                    f"({self._limited})"
                )
            else:
                odd.append(
                    f"the mask has {self._text}, as tomograms have; check that it is the right file"
                )
        if (left := inside.size - count) == 0 or (
            mask.without is None and count > MOST * inside.size
        ):
            odd.append(self._covering(left, inside.size))
        return _named(mask, odd)

    def _covering(self, left: int, count: int) -> str:
        """That the mask changes nothing, or hardly anything.

        Args:
            left: number of voxels that do not belong to it, of ``count``.
        """
        what = f"all but {left:,} of {count:,} voxels" if left else "the whole volume"
        if self._low == self._high:
            remedy = "it changes nothing; check that it is the right file"
        elif self._mask.labels or self._mask.without or self._mask.above is not None:
            remedy = "check the values that were chosen"
        elif self._is_whole and (self._low, self._high) == (0, 1):
            remedy = "check that it is the right file"
        elif self._is_whole and self._high <= FEW:
            labels = f"{{file: {self._mask.file}, labels: {max(1, self._low):g}}}"
            remedy = f"save it as 0 and 1, or choose labels ({labels})"
        else:
            labels = "labels, or " if self._is_whole else ""
            remedy = f"save it as 0 and 1, or choose {labels}a limit ({self._limited})"
        return f"the mask covers {what} ({self._text}); {remedy}"


def _named(mask: Mask, warnings: Any) -> list[str]:
    return [f"{mask}: {warning}" for warning in warnings]


def _as_mask(where: Mask | Location) -> Mask:
    return where if isinstance(where, Mask) else Mask(file=where)
