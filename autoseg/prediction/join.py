"""Where two models meet along the body, and how much each counts where."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from autoseg.errors import DataError, GeometryError
from autoseg.image.geometry import nearest_axes
from autoseg.image.image import Image, LabelMap

HEAD = 2  # the patient axis that points to the head
AXIS_WORDS = ("slices", "rows", "columns")


@dataclass(frozen=True)
class Join:
    """Where two models meet in an image.

    `at_mm` is the height of the join in the patient (towards the head), `blend_mm` the height over which the
    probabilities go over from one to the other, its middle at `at_mm`. `axis` is the image's axis that runs along
    the body (0 slices, 1 rows, 2 columns); `heights_mm` are the heights of the places along it, `upper_shares` the
    upper model's share there, 0 to 1.
    """

    upper: str
    lower: str
    at_mm: float
    blend_mm: float
    axis: int
    heights_mm: tuple[float, ...]
    upper_shares: tuple[float, ...]

    def model_at(self, index: int) -> str:
        """Give the name of the model that a place along the axis comes from, or of both."""
        share = self.upper_shares[index]
        return self.upper if share == 1 else self.lower if share == 0 else f"{self.upper} + {self.lower}"

    @property
    def words(self) -> str:
        """Where the models meet, as a sentence; places along the axis count from 0, as in the tables."""
        kinds = {"above": 1.0, "below": 0.0}
        spans = {}
        for word, share in kinds.items():
            mine = [number for number, one in enumerate(self.upper_shares) if one == share]
            spans[word] = f"{AXIS_WORDS[self.axis]} {mine[0]} to {mine[-1]}" if mine else "nothing"
        blended = f", blended over {self.blend_mm:g} mm" if self.blend_mm else ""
        return (
            f"{self.upper} above and {self.lower} below z = {self.at_mm:.1f} mm{blended}: {spans['above']} come "
            f"from {self.upper} alone, {spans['below']} from {self.lower} alone (counted from 0)."
        )

    def as_plain(self) -> dict[str, Any]:
        """Give the join as plain values, for run.json."""
        return {
            "upper": self.upper,
            "lower": self.lower,
            "at_mm": round(self.at_mm, 4),
            "blend_mm": self.blend_mm,
            "along": AXIS_WORDS[self.axis],
            "heights_mm": [round(height, 3) for height in self.heights_mm],
            "upper_shares": [round(share, 4) for share in self.upper_shares],
        }


def plan_join(
    image: Image,
    *,
    names: tuple[str, str] = ("upper", "lower"),
    at_mm: float | None = None,
    at_slice: int | None = None,
    at_level: str | None = None,
    blend_mm: float = 0.0,
) -> Join:
    """Work out where two models meet in an image, and how much each counts where.

    Parameters
    ----------
    image, at_mm, at_slice, at_level, blend_mm
        As of `combine`.
    names : tuple of str
        Of the upper and of the lower model.

    Raises
    ------
    DataError, GeometryError
        As `combine` does.

    Examples
    --------
    Five axial slices 4 mm apart, blended over 8 mm:

    >>> from autoseg.image.geometry import affine_from_spacing
    >>> image = Image(np.zeros((5, 8, 8)), affine_from_spacing((4, 1, 1)))
    >>> plan_join(image, at_mm=8, blend_mm=8).upper_shares
    (0.0, 0.0, 0.5, 1.0, 1.0)
    """
    if sum(given is not None for given in (at_mm, at_slice, at_level)) != 1:
        raise DataError("Say once where the models meet: at_mm, at_slice or at_level.")
    if not (math.isfinite(blend_mm) and blend_mm >= 0):
        raise DataError(f"blend_mm is {blend_mm}; give the millimetres over which the models blend, 0 or more.")
    axis, heights = heights_mm(image)
    half = abs(heights[1] - heights[0]) / 2 if len(heights) > 1 else 0.0
    if at_mm is None:
        at_mm = _lowest_of(image, axis, heights, at_slice, at_level) - half
    low, high = float(heights.min()) - half, float(heights.max()) + half
    if not low < at_mm < high:
        raise DataError(
            f"{image.source.name} reaches from z = {low:.1f} to {high:.1f} mm, and the models would meet at "
            f"{at_mm:.1f} mm. Choose a place within the image, or segment it with one model."
        )
    # A hair above and below is on the join: heights come from single precision headers.
    above = np.round(heights - at_mm, 4)
    shares = (above >= 0).astype(np.float64) if blend_mm == 0 else np.clip(above / blend_mm + 0.5, 0, 1)
    places = tuple(heights.tolist()), tuple(shares.tolist())
    return Join(names[0], names[1], float(at_mm), float(blend_mm), axis, *places)


def heights_mm(image: Image) -> tuple[int, npt.NDArray[np.float64]]:
    """Give the image's axis that runs most nearly along the body, and the height (z) of every place along it.

    Of an oblique image the height is that of the middle of each slice (or row, or column).

    Raises
    ------
    GeometryError
        If millimetres, or the distance between slices, are unknown.
    """
    affine = image.calibrated_affine
    axis = nearest_axes(affine).index(HEAD)
    if axis == 0 and image.shape[0] > 1 and image.source.slice_spacing_source == "none" and image.source.slices:
        raise GeometryError(
            f"{image.source.name}: the distance between its slices is unknown, so they have no heights at which "
            "two models could meet."
        )
    middle = (np.array(image.shape) - 1) / 2
    middle[axis] = 0
    start = affine[HEAD, :3] @ middle + affine[HEAD, 3]
    return axis, start + affine[HEAD, axis] * np.arange(image.shape[axis])


def _lowest_of(
    image: Image, axis: int, heights: npt.NDArray[np.float64], at_slice: int | None, at_level: str | None
) -> float:
    """Give the height of the lowest slice that is the upper model's."""
    if axis != 0:
        raise DataError(
            f"{image.source.name}: the body runs along its {AXIS_WORDS[axis]}, so no slice parts above from below. "
            "Give the height (at_mm)."
        )
    if at_slice is not None:
        if not 0 <= at_slice < len(heights):
            raise DataError(f"{image.source.name} has the slices 0 to {len(heights) - 1}, and no {at_slice}.")
        return float(heights[at_slice])
    levels = [place.level for place in image.source.slices]
    mine = [heights[n] for n, level in enumerate(levels) if level and level.casefold() == str(at_level).casefold()]
    if not mine:
        known = ", ".join(dict.fromkeys(level for level in levels if level)) or "none"
        raise DataError(f"{image.source.name} has no slice of the level {at_level!r}. Its levels: {known}.")
    return float(min(mine))


def section_pixel_mm2(grid: Image | LabelMap, axis: int) -> float:
    """Give the area in mm² of one voxel on a section across an axis."""
    steps = np.delete(grid.calibrated_affine[:3, :3], axis, axis=1)
    return float(np.linalg.norm(np.cross(steps[:, 0], steps[:, 1])))
