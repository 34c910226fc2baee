"""Agreement of predicted labels with a reference: overlap, outlines and the error of the area or volume."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from autoseg.errors import DataError
from autoseg.image.geometry import slice_distance_mm
from autoseg.image.image import LabelMap
from autoseg.image.structures import Structure, label_list
from autoseg.measurement.surfaces import Mask, SurfaceAgreement, compare_surfaces

# Half a degree: beyond, distances along the axes are no longer those in the patient.
SKEWED = 0.01


@dataclass(frozen=True)
class Score:
    """One structure on one slice that shows it in the reference, in the prediction or in both.

    With n(.) the number of pixels and the sets R (reference), P (predicted) and A (all of the slice):

    - dice = 2 n(R and P) / (n(R) + n(P))
    - iou = n(R and P) / n(R or P)
    - precision = n(R and P) / n(P), NaN where nothing was predicted
    - sensitivity = n(R and P) / n(R), NaN without a reference
    - accuracy = share of pixels that both call the structure or both call something else; baseline_accuracy
      = 1 - n(R) / n(A) is what an empty answer gets
    - hd95_mm, nsd (at nsd_tolerance_mm) and mean_distance_mm as in `SurfaceAgreement`; None without calibration
    - area_error_percent = 100 (n(P) - n(R)) / n(R), None without a reference area; area_error_mm2 = P mm² - R mm²

    Areas are None without calibration. `level` is the slice's, where levels are known. `slice` is the slice's
    number for people, from 1 (`Image.slice_number`), and `slice_index` its place in the voxels, from 0; of a score
    that was kept before there were such numbers only the place is known. Where the structure `touches_edge` in
    either, areas are at least so large, and their error is that of what is seen.
    """

    case_id: str
    subject_id: str
    slice_index: int
    level: str
    label: int
    name: str
    dice: float
    iou: float
    precision: float
    sensitivity: float
    accuracy: float
    baseline_accuracy: float
    hd95_mm: float | None
    nsd: float | None
    nsd_tolerance_mm: float
    mean_distance_mm: float | None
    reference_pixels: int
    predicted_pixels: int
    overlap_pixels: int
    slice_pixels: int
    reference_mm2: float | None
    predicted_mm2: float | None
    area_error_mm2: float | None
    area_error_percent: float | None
    slice: int = 0
    touches_edge: bool = False

    def __post_init__(self) -> None:
        if not self.slice:
            object.__setattr__(self, "slice", self.slice_index + 1)


@dataclass(frozen=True)
class VolumeScore:
    """One structure in one stack of slices as a whole, with the formulas of `Score` over its voxels.

    The distances are those between the surfaces in 3-D; they and the volumes are None where the distance between
    slices is unknown, the distances also where the axes are not at right angles (a tilted gantry).
    `n_slices` shows the structure in the reference, in the prediction or in both.
    """

    case_id: str
    subject_id: str
    label: int
    name: str
    n_slices: int
    dice: float
    iou: float
    precision: float
    sensitivity: float
    hd95_mm: float | None
    nsd: float | None
    nsd_tolerance_mm: float
    mean_distance_mm: float | None
    reference_mm3: float | None
    predicted_mm3: float | None
    volume_error_percent: float | None


@dataclass(frozen=True)
class PixelScore:
    """All classes of one image together: how many pixels have the right one, of `pixels` counted.

    `background` pixels are background in the reference: so many an answer without any structure has right.
    """

    case_id: str
    subject_id: str
    pixels: int
    right: int
    background: int


def score_slices(reference: LabelMap, predicted: LabelMap, *, tolerance_mm: float = 1.0) -> list[Score]:
    """Score every slice and every structure that was drawn in the reference.

    A structure that was not drawn is missing, not absent: no score is counted for it. One that is absent from
    the slice in both label maps is not counted either. Absent in one of them only, its Dice, IoU and surface Dice
    are 0, and distances have no value. A structure that includes others is scored with them.

    Parameters
    ----------
    reference, predicted : LabelMap
        On the same grid, shape (slices, rows, columns); structures are matched by label.
    tolerance_mm : float
        How far an outline may lie off and still count as right in `nsd`, mm.

    Returns
    -------
    list of Score
        Ordered by slice and then by label; empty if nothing was drawn or predicted.

    Raises
    ------
    DataError
        If the grids differ, one label has two names, or includes different structures.

    Examples
    --------
    >>> from autoseg.image.structures import Structure
    >>> reference = LabelMap(np.array([[[1, 1, 0]]]), structures=(Structure(1, "disc"),))
    >>> predicted = LabelMap(np.array([[[1, 0, 0]]]), structures=(Structure(1, "disc"),))
    >>> (score,) = score_slices(reference, predicted)
    >>> round(score.dice, 3), score.iou, score.area_error_percent
    (0.667, 0.5, -50.0)
    """
    source = reference.source
    spacing_mm = _spacing_mm(reference, first_axis=1)
    pixel_mm2 = None if reference.affine is None else reference.pixel_mm2
    masks = _masks(reference, predicted)
    scores = []
    for index in range(reference.shape[0]):
        for structure, wanted, found in ((s, of_r[index], of_p[index]) for s, of_r, of_p in masks):
            (r, p, both), agreement = _compare(wanted, found, spacing_mm, tolerance_mm)
            if r + p == 0:
                continue
            scores.append(
                Score(
                    case_id=source.case_id,
                    subject_id=source.subject_id,
                    slice_index=index,
                    level=source.slices[index].level if source.slices else "",
                    label=structure.label,
                    name=structure.name,
                    **agreement,
                    **accuracy_ratios(r, p, both, wanted.size),
                    reference_pixels=r,
                    predicted_pixels=p,
                    overlap_pixels=both,
                    slice_pixels=wanted.size,
                    reference_mm2=None if pixel_mm2 is None else r * pixel_mm2,
                    predicted_mm2=None if pixel_mm2 is None else p * pixel_mm2,
                    area_error_mm2=None if pixel_mm2 is None else (p - r) * pixel_mm2,
                    area_error_percent=100 * (p - r) / r if r else None,
                    slice=reference.slice_number(index),
                    touches_edge=touches_edge(wanted) or touches_edge(found),
                )
            )
    return scores


def score_volume(reference: LabelMap, predicted: LabelMap, *, tolerance_mm: float = 1.0) -> list[VolumeScore]:
    """Score a stack of slices as a volume, structure by structure, with distances between surfaces in 3-D.

    A single slice is no volume and gives no score.
    """
    source = reference.source
    masks = _masks(reference, predicted)
    spaced = source.slice_spacing_source != "none" and reference.affine is not None
    spacing_mm = _spacing_mm(reference, first_axis=0) if spaced else None
    voxel_mm3 = reference.pixel_mm2 * slice_distance_mm(reference.calibrated_affine) if spaced else None
    scores = []
    for structure, wanted, found in masks if reference.shape[0] > 1 else ():
        (r, p, _), agreement = _compare(wanted, found, spacing_mm, tolerance_mm)
        if r + p == 0:
            continue
        scores.append(
            VolumeScore(
                case_id=source.case_id,
                subject_id=source.subject_id,
                label=structure.label,
                name=structure.name,
                n_slices=int((wanted | found).any(axis=(1, 2)).sum()),
                **agreement,
                reference_mm3=None if voxel_mm3 is None else r * voxel_mm3,
                predicted_mm3=None if voxel_mm3 is None else p * voxel_mm3,
                volume_error_percent=100 * (p - r) / r if r else None,
            )
        )
    return scores


def score_pixels(reference: LabelMap, predicted: LabelMap) -> PixelScore:
    """Count the pixels with the right class; a structure that was not drawn is what includes it, or background.

    Examples
    --------
    >>> reference = LabelMap(np.array([[[0, 0, 0, 1]]]), structures=(Structure(1, "disc"),))
    >>> found = score_pixels(reference, LabelMap(np.array([[[0, 1, 0, 1]]]), structures=reference.structures))
    >>> found.right, found.background, found.pixels
    (3, 3, 4)
    """
    drawn = [structure for structure, _, _ in _masks(reference, predicted)]
    counted_as = {inner: s.label for s in drawn for inner in s.includes} | {s.label: s.label for s in drawn}
    table = np.array([counted_as.get(label, 0) for label in range(256)])
    wanted, found = table[reference.voxels], table[predicted.voxels]
    counts = (wanted.size, int((wanted == found).sum()), int((wanted == 0).sum())) if drawn else (0, 0, 0)
    return PixelScore(reference.source.case_id, reference.source.subject_id, *counts)


def scores_table(scores: Sequence[Any]) -> pd.DataFrame:
    """Give the scores as a table: one row each, columns named like the dataclass's fields.

    Slices have the numbers that people know (`slice`), and not their places in the voxels.
    """
    kind = type(scores[0]) if scores else Score
    columns = [field.name for field in fields(kind)]
    if "slice_index" in columns:
        columns.remove("slice")
        columns[columns.index("slice_index")] = "slice"
    return pd.DataFrame([asdict(score) for score in scores], columns=columns)


def touches_edge(mask: npt.NDArray[np.bool_]) -> bool:
    """Tell whether a pixel of a mask (rows, columns) lies on the border of the image."""
    return bool(mask[[0, -1]].any() or mask[:, [0, -1]].any())


def overlap_ratios(reference: int, predicted: int, overlap: int) -> dict[str, float]:
    """Give dice, iou, precision and sensitivity, as in `Score`, from the three numbers of pixels."""
    return {
        "dice": _ratio(2 * overlap, reference + predicted),
        "iou": _ratio(overlap, reference + predicted - overlap),
        "precision": _ratio(overlap, predicted),
        "sensitivity": _ratio(overlap, reference),
    }


def accuracy_ratios(reference: int, predicted: int, overlap: int, pixels: int) -> dict[str, float]:
    """Give accuracy and baseline_accuracy, as in `Score`, from the numbers of pixels and of all of them."""
    return {
        "accuracy": _ratio(pixels - reference - predicted + 2 * overlap, pixels),
        "baseline_accuracy": _ratio(pixels - reference, pixels),
    }


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _compare(
    wanted: Mask, found: Mask, spacing_mm: Sequence[float] | None, tolerance_mm: float
) -> tuple[tuple[int, int, int], dict[str, Any]]:
    """Give the pixels of reference, prediction and both, and the columns that slices and volumes share."""
    r, p, both = (int(np.count_nonzero(mask)) for mask in (wanted, found, wanted & found))
    surface = SurfaceAgreement(None, None, None)
    if spacing_mm is not None:
        surface = compare_surfaces(wanted, found, spacing_mm=spacing_mm, tolerance_mm=tolerance_mm)
    return (r, p, both), overlap_ratios(r, p, both) | asdict(surface) | {"nsd_tolerance_mm": tolerance_mm}


def _spacing_mm(grid: LabelMap, *, first_axis: int) -> tuple[float, ...] | None:
    """Give the spacing from that axis on; None without calibration or where the axes are skewed."""
    if grid.affine is None:
        return None
    steps = grid.affine[:3, first_axis:3]
    lengths = np.linalg.norm(steps, axis=0)
    cosines = (steps / lengths).T @ (steps / lengths)
    if np.abs(cosines - np.eye(len(lengths))).max() > SKEWED:
        return None
    return tuple(lengths.tolist())


def _masks(reference: LabelMap, predicted: LabelMap) -> list[tuple[Structure, Mask, Mask]]:
    """Give each structure that was drawn, by label, with its masks in the reference and in the prediction."""
    name = reference.source.name
    if not reference.same_grid(predicted):
        raise DataError(
            f"{name}: the reference {reference!r} and the prediction {predicted!r} lie on "
            "different grids. Predict on the image on which the reference was drawn."
        )
    known = {structure.label: structure for structure in reference.structures}
    for other in predicted.structures:
        mine = known.get(other.label, other)
        if mine.name != other.name:
            raise DataError(
                f"{name}: label {other.label} is {mine.name!r} in the reference and {other.name!r} in the "
                "prediction. Give both the same structures table."
            )
        if set(mine.includes) != set(other.includes):
            raise DataError(
                f"{name}: {other.name!r} includes {label_list(sorted(mine.includes))} in the reference and "
                f"{label_list(sorted(other.includes))} in the prediction. Give both the same structures table."
            )
    drawn = sorted((s for s in reference.structures if reference.is_annotated(s.label)), key=lambda s: s.label)
    return [(s, reference.mask(s.label), predicted.mask(s.label)) for s in drawn]
