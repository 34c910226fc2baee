"""A stack cut across its slices: seen from the side, from the front or from above, in true proportions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from autoseg.image.image import Image, LabelMap
from autoseg.image.orientation import Plane, arrangement_for, plane_of
from autoseg.image.overlay import Rgb, display_scale, display_window, overlay_rgb

PLANES: tuple[Plane, ...] = ("sagittal", "coronal", "axial")
# A picture longer than this has larger pixels than its image.
MOST_PIXELS = 1200
# Axes whose cosine is below this count as perpendicular; it is an angle of half a degree.
UPRIGHT = 0.01


@dataclass(frozen=True, eq=False)
class Cuts:
    """A stack laid out along another plane: `image` and `label_map` hold the same voxels, in other order.

    `name` is the plane, or "cut 1" and "cut 2" where nothing says how the patient lies.
    """

    name: str
    image: Image
    label_map: LabelMap | None = None

    @property
    def is_upright(self) -> bool:
        """Whether rows and columns are perpendicular; in a stack of a tilted gantry they may not be."""
        _, rows, columns = self.image.calibrated_affine[:3, :3].T
        return bool(abs(rows @ columns) < UPRIGHT * np.linalg.norm(rows) * np.linalg.norm(columns))

    @property
    def fullest(self) -> int:
        """The cut that shows most of the structures; the middle one where there are none."""
        drawn = None if self.label_map is None else np.count_nonzero(self.label_map.voxels, axis=(1, 2))
        return self.image.shape[0] // 2 if drawn is None or not drawn.any() else int(drawn.argmax())


def cuts_of(image: Image, label_map: LabelMap | None = None) -> tuple[Cuts, ...]:
    """Give a stack along the two planes in which its slices do not lie; none where their distance is unknown.

    As radiologists look at them: head above, the patient's front or right on the left. No voxel is resampled.
    """
    if image.affine is None or image.shape[0] < 2 or image.source.slice_spacing_source == "none":
        return ()
    found = []
    others = [plane for plane in PLANES if plane != plane_of(image.affine)]
    for number, plane in enumerate(others, start=1):
        turn = arrangement_for(image.affine, image.shape, plane)
        affine = turn.affine(image.affine, image.shape)
        name = plane if image.affine is not None and image.source.is_placed else f"cut {number}"
        source = replace(image.source, case_id=f"{image.source.case_id}, {name}", slices=(), first_slice=1)
        voxels = turn.apply(image.channel_voxels[0])
        turned = replace(image, voxels=voxels, channels=image.channels[:1], affine=affine, source=source)
        labels = None
        if label_map is not None:
            drawn: Any = turn.apply(label_map.voxels)
            labels = replace(label_map, voxels=drawn, affine=affine, source=source, shares=None)
        found.append(Cuts(name, turned, labels))
    return tuple(found)


def draw_cut(cuts: Cuts, index: int | None = None, *, least: int = 512) -> Rgb:
    """Draw one cut with its structures on square pixels, so that a millimetre is as long in either direction.

    Thick slices are seen as what they are: blocks. By default it is the cut that shows most of the structures.
    """
    at = cuts.fullest if index is None else index
    rows, columns = _places(cuts.image)
    inside = (rows >= 0) & (columns >= 0)
    voxels = cuts.image.channel_voxels[0]
    window = display_window(voxels)
    intensities = np.where(inside, voxels[at][rows, columns], min(window))
    drawn = cuts.label_map
    labels = None if drawn is None else np.where(inside, drawn.voxels[at][rows, columns], 0)
    structures = () if drawn is None else drawn.structures
    scale = display_scale(rows.shape, least=least)
    return overlay_rgb(intensities, labels, structures, window=window, scale=scale)


def _places(image: Image) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Give the row and column that stands at each pixel of a picture with square pixels; −1 where there is none."""
    _, count, wide = image.shape
    _, row_step, column_step = image.calibrated_affine[:3, :3].T
    column_mm = float(np.linalg.norm(column_step))
    along = column_step / column_mm
    shift_mm = float(row_step @ along)  # of each row beside the one above it: 0 unless the gantry was tilted
    row_mm = float(np.linalg.norm(row_step - shift_mm * along))
    first_mm, last_mm = sorted((0.0, shift_mm * (count - 1)))
    size_mm = (count * row_mm, wide * column_mm + last_mm - first_mm)
    pixel_mm = max(min(row_mm, column_mm), max(size_mm) / MOST_PIXELS)
    high, broad = (max(1, round(mm / pixel_mm)) for mm in size_mm)
    rows = np.minimum(((np.arange(high) + 0.5) * pixel_mm / row_mm).astype(np.intp), count - 1)
    across_mm = (np.arange(broad) + 0.5) * pixel_mm + first_mm
    columns = np.floor((across_mm[None] - shift_mm * rows[:, None]) / column_mm).astype(np.intp)
    outside = (columns < 0) | (columns >= wide)
    return np.where(outside, -1, rows[:, None]), np.where(outside, -1, columns)
