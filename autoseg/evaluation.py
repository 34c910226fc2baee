"""Agreement of predicted labels with a reference: Dice, IoU and the error of the area."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
import pandas as pd

from autoseg.errors import DataError
from autoseg.image import LabelMap


@dataclass(frozen=True)
class Score:
    """One structure on one slice; areas are None without calibration, the error without a reference area.

    With n(.) the number of pixels and the sets R (reference) and P (predicted):

    - dice = 2 n(R and P) / (n(R) + n(P))
    - iou = n(R and P) / n(R or P)
    - area_error_percent = 100 (n(P) - n(R)) / n(R)
    """

    case_id: str
    subject_id: str
    slice_index: int
    label: int
    name: str
    dice: float
    iou: float
    reference_pixels: int
    predicted_pixels: int
    overlap_pixels: int
    reference_mm2: float | None
    predicted_mm2: float | None
    area_error_percent: float | None


@dataclass(frozen=True)
class SubjectScore:
    """One structure over all slices of one subject on which it was drawn or predicted.

    - dice = 2 sum(n(R and P)) / (sum(n(R)) + sum(n(P))), pooled over the slices; iou likewise
    - mean_slice_dice: mean of the slices' dice
    - area_error_percent: mean of the slices' errors, over the `n_reference` slices that have a reference area
    - total_area_error_percent = 100 (sum(P mm²) - sum(R mm²)) / sum(R mm²); from pixels if uncalibrated
    - n: slices counted; those that lack the structure in both are not

    Values are NaN where nothing was counted for them.
    """

    subject_id: str
    label: int
    name: str
    dice: float
    iou: float
    mean_slice_dice: float
    area_error_percent: float
    total_area_error_percent: float
    reference_mm2: float | None
    predicted_mm2: float | None
    n: int
    n_reference: int


def score_slices(reference: LabelMap, predicted: LabelMap) -> list[Score]:
    """Score every slice and every structure that was drawn in the reference.

    A structure that was not drawn is missing, not absent: no score is counted for it. One that is absent from
    the slice in both label maps is not counted either. Absent in one of them only, its Dice and IoU are 0.

    Parameters
    ----------
    reference, predicted : LabelMap
        On the same grid, shape (slices, rows, columns); structures are matched by label.

    Returns
    -------
    list of Score
        Ordered by slice and then by label; empty if nothing was drawn or predicted.

    Raises
    ------
    DataError
        If the grids differ, or one label has two names.

    Examples
    --------
    >>> from autoseg.structures import Structure
    >>> reference = LabelMap(np.array([[[1, 1, 0]]]), structures=(Structure(1, "disc"),))
    >>> predicted = LabelMap(np.array([[[1, 0, 0]]]), structures=(Structure(1, "disc"),))
    >>> (score,) = score_slices(reference, predicted)
    >>> round(score.dice, 3), score.iou, score.area_error_percent
    (0.667, 0.5, -50.0)
    """
    _check_comparable(reference, predicted)
    pixel_mm2 = None if reference.affine is None else reference.pixel_mm2
    source, scores = reference.source, []
    drawn = sorted((s for s in reference.structures if reference.is_annotated(s.label)), key=lambda s: s.label)
    for index in range(reference.shape[0]):
        for structure in drawn:
            wanted = reference.voxels[index] == structure.label
            found = predicted.voxels[index] == structure.label
            r, p, both = (int(np.count_nonzero(mask)) for mask in (wanted, found, wanted & found))
            if r + p == 0:
                continue
            scores.append(
                Score(
                    case_id=source.case_id,
                    subject_id=source.subject_id,
                    slice_index=index,
                    label=structure.label,
                    name=structure.name,
                    dice=2 * both / (r + p),
                    iou=both / (r + p - both),
                    reference_pixels=r,
                    predicted_pixels=p,
                    overlap_pixels=both,
                    reference_mm2=None if pixel_mm2 is None else r * pixel_mm2,
                    predicted_mm2=None if pixel_mm2 is None else p * pixel_mm2,
                    area_error_percent=100 * (p - r) / r if r else None,
                )
            )
    return scores


def score_subject(pairs: Iterable[tuple[LabelMap, LabelMap]]) -> list[SubjectScore]:
    """Pool the scores of one subject's images, structure by structure.

    Parameters
    ----------
    pairs : iterable of (LabelMap, LabelMap)
        (reference, predicted), all of the same subject.

    Returns
    -------
    list of SubjectScore
        One per structure that was drawn in any reference, by label; n is 0 where it never occurred.

    Raises
    ------
    DataError
        If the pairs belong to several subjects, the grids of a pair differ, or one label has two names.
    """
    pairs = list(pairs)
    subjects = sorted({reference.source.subject_id for reference, _ in pairs})
    if len(subjects) > 1:
        raise DataError(f"The label maps belong to several subjects ({', '.join(subjects)}); score each alone.")
    names: dict[int, str] = {}
    for reference, _ in pairs:
        for s in reference.structures:
            if reference.is_annotated(s.label) and names.setdefault(s.label, s.name) != s.name:
                raise DataError(f"Label {s.label} is called both {names[s.label]!r} and {s.name!r}.")
    scores = [score for reference, predicted in pairs for score in score_slices(reference, predicted)]
    return [
        _pool(subjects[0], label, names[label], [score for score in scores if score.label == label])
        for label in sorted(names)
    ]


def scores_table(scores: Sequence[Score] | Sequence[SubjectScore]) -> pd.DataFrame:
    """Give the scores as a table: one row each, columns named like the dataclass's fields."""
    kind = type(scores[0]) if scores else Score
    return pd.DataFrame([asdict(score) for score in scores], columns=[field.name for field in fields(kind)])


def _pool(subject_id: str, label: int, name: str, scores: Sequence[Score]) -> SubjectScore:
    r, p, both = (
        sum(getattr(score, f"{what}_pixels") for score in scores) for what in ("reference", "predicted", "overlap")
    )
    errors = [score.area_error_percent for score in scores if score.area_error_percent is not None]
    reference_mm2, predicted_mm2 = (
        _total(s.reference_mm2 for s in scores),
        _total(s.predicted_mm2 for s in scores),
    )
    if reference_mm2 is None or predicted_mm2 is None:
        total_error = _ratio(100 * (p - r), r)
    else:
        total_error = _ratio(100 * (predicted_mm2 - reference_mm2), reference_mm2)
    return SubjectScore(
        subject_id=subject_id,
        label=label,
        name=name,
        dice=_ratio(2 * both, r + p),
        iou=_ratio(both, r + p - both),
        mean_slice_dice=_ratio(sum(score.dice for score in scores), len(scores)),
        area_error_percent=_ratio(sum(errors), len(errors)),
        total_area_error_percent=total_error,
        reference_mm2=reference_mm2,
        predicted_mm2=predicted_mm2,
        n=len(scores),
        n_reference=len(errors),
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _total(areas_mm2: Iterable[float | None]) -> float | None:
    areas = list(areas_mm2)
    known = [area for area in areas if area is not None]
    return sum(known) if len(known) == len(areas) else None


def _check_comparable(reference: LabelMap, predicted: LabelMap) -> None:
    if not reference.same_grid(predicted):
        raise DataError(
            f"{reference.source.name}: the reference {reference!r} and the prediction {predicted!r} lie on "
            "different grids. Predict on the image on which the reference was drawn."
        )
    names = {structure.label: structure.name for structure in reference.structures}
    for structure in predicted.structures:
        if names.get(structure.label, structure.name) != structure.name:
            raise DataError(
                f"{reference.source.name}: label {structure.label} is {names[structure.label]!r} in the "
                f"reference and {structure.name!r} in the prediction. Give both the same structures table."
            )
