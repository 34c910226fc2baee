"""Images and label maps: objects that are valid once built."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self, cast

import numpy as np
import numpy.typing as npt

from autoseg.errors import DataError, GeometryError, LabelError
from autoseg.image.geometry import (
    Affine,
    check_affine,
    pixel_area_mm2,
    same_grid,
    slice_positions_mm,
    spacing_from_affine,
)
from autoseg.image.structures import Structure, check_structures, check_values, label_list, name_list, voxels_of

SpacingSource = Literal["header", "typed", "none"]


@dataclass(frozen=True)
class SliceSource:
    """Where one slice was read from: the file, its frame (0 in a single-frame file), its SOP instance UID.

    `level` is the vertebral or spinal level that somebody assigned to it ("2", "2/3"), or empty. Where codes stand
    for patients, `origin` is where it was read from in truth; it is for comparing, and is never shown or written.
    """

    path: Path
    frame: int = 0
    sop_uid: str = ""
    level: str = ""
    origin: SliceSource | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Acquisition:
    """How an image was taken, in DICOM's words; empty or None where its files do not say.

    `sequence` is the kind of MR sequence (ScanningSequence: "SE", "GR", "EP", "IR"), `repetition_ms` and `echo_ms`
    are RepetitionTime and EchoTime; `contrast` tells whether a contrast agent is named.
    """

    sequence: str = ""
    repetition_ms: float | None = None
    echo_ms: float | None = None
    contrast: bool | None = None


@dataclass(frozen=True)
class Source:
    """Where an image was read from, so that every number can be traced to a file.

    `slices` has one entry per slice, or is empty for an image made in memory. `case_id` is free of patient
    names. `spacing_source` tells whether the pixel size was in the header, typed by the user, or is unknown;
    `slice_spacing_source` the same of the distance between slices. Where that is unknown the affine's slice
    step is only a placeholder, and tables leave slice positions empty. `is_placed` is False where nothing tells
    how the slices lie in the patient: they were taken as axial, and left and right are a guess. `notes` are
    sentences on what went wrong while the files were read. `modality` is DICOM's word for the machine ("MR",
    "CT"), or empty. `first_slice` is the number of the first slice, from 1: more than 1 where slices were cut out
    of a stack. `acquisition` tells how it was taken.
    """

    case_id: str = "image"
    subject_id: str = ""
    series_uid: str = ""
    spacing_source: SpacingSource = "none"
    slice_spacing_source: SpacingSource = "none"
    slices: tuple[SliceSource, ...] = ()
    notes: tuple[str, ...] = ()
    modality: str = ""
    first_slice: int = 1
    is_placed: bool = True
    acquisition: Acquisition = Acquisition()  # it never changes

    @property
    def name(self) -> str:
        """A short name for messages: the first file, or the case."""
        return str(self.slices[0].path) if self.slices else self.case_id


class _Grid:
    """What images and label maps share: a shape in space and perhaps millimetres."""

    voxels: npt.NDArray[np.generic]
    affine: Affine | None
    source: Source

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows, columns (without the channels)."""
        slices, rows, columns = self.voxels.shape[-3:]
        return slices, rows, columns

    @property
    def calibrated_affine(self) -> Affine:
        """The affine; a GeometryError where the image has no known pixel size."""
        if self.affine is None:
            raise GeometryError(
                f"{self.source.name} has no pixel spacing in its header, so nothing on it can be measured in "
                "millimetres. Type the field of view in mm, or the size of a pixel (on the command line "
                "--field-of-view-mm or --pixel-spacing-mm)."
            )
        return self.affine

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance in mm between slices, rows, columns; a GeometryError without calibration."""
        return spacing_from_affine(self.calibrated_affine)

    @property
    def pixel_mm2(self) -> float:
        """Area of one pixel in mm²; a GeometryError without calibration."""
        return pixel_area_mm2(self.calibrated_affine)

    @property
    def slice_positions_mm(self) -> npt.NDArray[np.float64]:
        """Position of every slice along the slice normal in mm, shape (slices,)."""
        return slice_positions_mm(self.calibrated_affine, self.shape[0])

    def slice_number(self, index: int) -> int:
        """Give the number of a slice wherever it is shown or written: from 1, in its whole stack."""
        return self.source.first_slice + index

    def say_slice(self, index: int) -> str:
        """Say which slice of how many this is; of a part of a stack, from which to which its slices are."""
        number, first, last = (self.slice_number(n) for n in (index, 0, self.shape[0] - 1))
        if first == 1:
            return f"slice {number} of {last}"
        return f"slice {number}" + (f" ({first} to {last})" if last > first else "")

    @property
    def known_positions_mm(self) -> npt.NDArray[np.float64] | None:
        """Position of every slice in mm; None where it is not known, though a single slice needs no distance."""
        is_known = self.source.slice_spacing_source != "none" or (self.shape[0] == 1 and self.source.is_placed)
        return self.slice_positions_mm if is_known and self.affine is not None else None

    def same_grid(self, other: Image | LabelMap) -> bool:
        """Tell whether the other has the same voxels in the same places."""
        return same_grid((self.shape, self.affine), (other.shape, other.affine))

    def one_slice(self, index: int) -> Self:
        """Give one slice alone, in its place; a copy, so that the rest of the scan can be forgotten."""
        part = slice(index, index + 1)
        changes: dict[str, Any] = {
            name: values[..., part, :, :].copy()
            for name in ("voxels", "shares")
            if (values := getattr(self, name, None)) is not None
        }
        if self.affine is not None:
            changes["affine"] = self.affine.copy()
            changes["affine"][:3, 3] += index * self.affine[:3, 0]
        source = replace(self.source, slices=self.source.slices[part], first_slice=self.slice_number(index))
        return cast(Self, replace(cast(Any, self), source=source, **changes))

    def _check_grid(self, kind: str) -> None:
        if min(self.voxels.shape) == 0:
            raise DataError(f"{self.source.name}: the {kind} is empty, shape {self.voxels.shape}.")
        if self.affine is not None:
            object.__setattr__(self, "affine", check_affine(self.affine))
        if self.source.slices and len(self.source.slices) != self.shape[0]:
            raise DataError(
                f"{self.source.name}: {self.shape[0]} slices but {len(self.source.slices)} slice sources."
            )


@dataclass(frozen=True, eq=False)
class Image(_Grid):
    """Intensities on a grid: one slice, a stack of slices, or several channels of it.

    Parameters
    ----------
    voxels : (slices, rows, columns) or (channels, slices, rows, columns) ndarray
        Intensities, any real type; rescale slope and intercept are applied.
    affine : (4, 4) ndarray or None
        Index (slice, row, column) to patient coordinates in mm; None where the pixel size is unknown.
    channels : tuple of str
        One name per channel.
    source : Source
        The files behind it.
    """

    voxels: npt.NDArray[np.generic]
    affine: Affine | None = None
    channels: tuple[str, ...] = ("image",)
    source: Source = field(default_factory=Source)

    def __post_init__(self) -> None:
        if self.voxels.ndim not in (3, 4):
            raise DataError(
                f"{self.source.name}: an image has the axes (slice, row, column), with channels in front where "
                f"there are several; this one has shape {self.voxels.shape}."
            )
        count = self.voxels.shape[0] if self.voxels.ndim == 4 else 1
        if len(self.channels) != count:
            raise DataError(
                f"{self.source.name}: the names {', '.join(self.channels)} do not fit its channels, of which there "
                f"are {count}."
            )
        self._check_grid("image")

    @property
    def channel_voxels(self) -> npt.NDArray[np.generic]:
        """The voxels with their channel axis, shape (channels, slices, rows, columns)."""
        return self.voxels if self.voxels.ndim == 4 else self.voxels[None]

    @property
    def non_finite_count(self) -> int:
        """Number of values that are NaN or infinite; 0 in an image of integers."""
        return int((~np.isfinite(self.voxels)).sum()) if self.voxels.dtype.kind == "f" else 0

    def __repr__(self) -> str:
        return f"Image({self.source.case_id}: {_describe(self)})"


@dataclass(frozen=True, eq=False)
class LabelMap(_Grid):
    """Which structure each voxel belongs to.

    Parameters
    ----------
    voxels : (slices, rows, columns) ndarray of integers
        0 is background; every other value is the label of one of `structures`.
    affine : (4, 4) ndarray or None
        As the image's.
    structures : tuple of Structure
        Every structure that could have been drawn.
    annotated : frozenset of int, optional
        Labels that were drawn on this image. A structure left out here is *missing*, not absent: nothing is
        known of it. By default all of `structures`.
    source : Source
    shares : (structures, slices, rows, columns) ndarray of float32, optional
        Where several raters drew: the share of them, 0 to 1, who gave each voxel to each structure.
    """

    voxels: npt.NDArray[np.integer]
    affine: Affine | None = None
    structures: tuple[Structure, ...] = ()
    annotated: frozenset[int] | None = None
    source: Source = field(default_factory=Source)
    shares: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.voxels.ndim != 3 or self.voxels.dtype.kind not in "iub":
            raise LabelError(
                f"{self.source.name}: a label map holds integers with the axes (slice, row, column); this one "
                f"has shape {self.voxels.shape} and type {self.voxels.dtype}."
            )
        object.__setattr__(self, "structures", tuple(self.structures))
        check_structures(self.structures)
        known = {structure.label: structure.name for structure in self.structures}
        check_values(self.voxels, known, name=self.source.name)
        annotated = frozenset(known) if self.annotated is None else frozenset(self.annotated)
        if annotated - set(known):
            raise LabelError(
                f"{self.source.name}: annotated is {label_list(sorted(annotated - set(known)))} without "
                f"a name. Known: {name_list(known)}."
            )
        object.__setattr__(self, "annotated", annotated)
        if self.shares is not None and self.shares.shape != (len(self.structures), *self.voxels.shape):
            raise LabelError(
                f"{self.source.name}: the raters' shares have the shape {self.shares.shape}, not "
                f"{(len(self.structures), *self.voxels.shape)} (structures, slices, rows, columns)."
            )
        self._check_grid("label map")

    def mask(self, label: int) -> npt.NDArray[np.bool_]:
        """Give the voxels of one structure and of what it includes, boolean, shape (slices, rows, columns)."""
        structure = next((one for one in self.structures if one.label == label), None)
        return self.voxels == label if structure is None else voxels_of(structure, self.voxels)

    def is_annotated(self, label: int) -> bool:
        """Tell whether this structure was drawn here; if not, it is missing rather than absent."""
        return self.annotated is not None and label in self.annotated

    def on_grid_of(self, image: Image) -> LabelMap:
        """Give the label map the image's affine and source; LabelError, which names both, where shapes differ."""
        if self.shape != image.shape:
            raise LabelError(
                f"{self.source.name} has the shape {self.shape} (slices, rows, columns) but its image "
                f"{image.source.name} has {image.shape}. Draw or save the label on the image's own grid; "
                "autoseg does not stretch labels."
            )
        return replace(self, affine=image.affine, source=image.source)

    def __repr__(self) -> str:
        names = ", ".join(f"{s.label} {s.name}" for s in self.structures)
        return f"LabelMap({self.source.case_id}: {_describe(self)}; {names})"


def _describe(grid: Image | LabelMap) -> str:
    slices, rows, columns = grid.shape
    size = f"{slices} slice{'s' if slices != 1 else ''} of {rows} × {columns}"
    if grid.affine is None:
        return f"{size}, pixel size unknown"
    between_slices, between_rows, between_columns = grid.spacing_mm
    return f"{size}, {between_rows:.4g} × {between_columns:.4g} mm, slices every {between_slices:.4g} mm"
