"""Slices that are kept to be looked at: one slice alone, with what was drawn and what was predicted on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from autoseg.image.image import Image, LabelMap
from autoseg.measurement.scores import Score


@dataclass(frozen=True, eq=False)
class WorstSlice:
    """One structure on one slice that went badly: its score, and that slice alone of image, reference, prediction.

    `number` is the place of its case among the validation cases, from 1, for titles without names.
    """

    score: Score
    number: int
    image: Image
    reference: LabelMap
    predicted: LabelMap


@dataclass(frozen=True, eq=False)
class SideBySide:
    """One slice, alone, as every entry segmented it. `number` is its case's place, for titles without names.

    `slice_index` is its place in the case, and its number for people stands in `image`. `dice` is of all structures
    of the slice together, by entry.
    """

    case_id: str
    number: int
    slice_index: int
    image: Image
    reference: LabelMap
    predicted: Mapping[str, LabelMap]
    dice: Mapping[str, float]

    @property
    def slice(self) -> int:
        """The slice's number for people, from 1 in its whole stack."""
        return self.image.slice_number(0)


def slice_title(one: WorstSlice, names: bool = True) -> tuple[str, str, str]:
    """Give three lines on a scored slice: which it is, the structure with its Dice, both areas.

    With `names` False the case is called by its number, as where no patient's name may be seen.
    """
    score = one.score
    case = score.case_id if names else f"image {one.number}"
    if not score.predicted_pixels:
        how = "missed"
    elif not score.reference_pixels:
        how = "predicted, but not drawn here"
    else:
        how = f"Dice {score.dice:.2f}"
    if score.predicted_mm2 is None or score.reference_mm2 is None:
        areas = f"{score.predicted_pixels:,} pixels (drawn: {score.reference_pixels:,})"
    else:
        areas = f"{score.predicted_mm2:,.0f} mm² (drawn: {score.reference_mm2:,.0f} mm²)"
    return f"{case}, slice {score.slice}", f"{score.name}: {how}", areas
