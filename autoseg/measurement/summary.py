"""Scores summed up: over the slices of a subject, then over subjects, with intervals and area agreement."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from autoseg.errors import DataError
from autoseg.image.image import LabelMap
from autoseg.measurement.scores import Score, accuracy_ratios, overlap_ratios, score_slices
from autoseg.measurement.statistics import (
    FEWEST_FOR_INTERVAL,
    bland_altman,
    bootstrap_interval,
    icc_agreement,
    mean_of_known,
    within_target_cv,
)
from autoseg.words import counted, natural

WITH_INTERVAL = ("dice", "iou", "hd95_mm", "nsd", "area_error_percent", "total_area_error_percent")
WITHOUT_INTERVAL = ("mean_distance_mm", "precision", "sensitivity", "accuracy", "baseline_accuracy")


@dataclass(frozen=True)
class SubjectScore:
    """One structure over all slices of one subject on which it was drawn or predicted.

    - dice = 2 sum(n(R and P)) / (sum(n(R)) + sum(n(P))), pooled over the slices; iou, precision, sensitivity,
      accuracy and baseline_accuracy likewise
    - mean_slice_dice: mean of the slices' dice
    - hd95_mm, mean_distance_mm: mean of the slices', over those that show it in both; nsd: over all `n`
    - area_error_percent: mean of the slices' errors, over the `n_reference` slices that have a reference area
    - area_error_mm2: mean of the slices' errors, over all `n`
    - total_area_error_percent = 100 (sum(P mm²) - sum(R mm²)) / sum(R mm²); from pixels if uncalibrated
    - n: slices counted; those that lack the structure in both are not
    - n_missed: slices on which it was drawn and not predicted; n_invented: predicted and not drawn

    Values are NaN where nothing was counted for them.
    """

    subject_id: str
    label: int
    name: str
    dice: float
    iou: float
    mean_slice_dice: float
    precision: float
    sensitivity: float
    accuracy: float
    baseline_accuracy: float
    hd95_mm: float
    nsd: float
    nsd_tolerance_mm: float
    mean_distance_mm: float
    area_error_percent: float
    area_error_mm2: float
    total_area_error_percent: float
    reference_mm2: float | None
    predicted_mm2: float | None
    n: int
    n_reference: int
    n_missed: int
    n_invented: int


def score_subject(pairs: Iterable[tuple[LabelMap, LabelMap]], *, tolerance_mm: float = 1.0) -> list[SubjectScore]:
    """Pool the scores of one subject's images, structure by structure."""
    pairs = list(pairs)
    subjects = sorted({reference.source.subject_id for reference, _ in pairs})
    if len(subjects) > 1:
        raise DataError(f"The label maps belong to several patients ({', '.join(subjects)}); score each alone.")
    names = _names(
        (s.label, s.name) for reference, _ in pairs for s in reference.structures if reference.is_annotated(s.label)
    )
    scores = [
        score
        for reference, predicted in pairs
        for score in score_slices(reference, predicted, tolerance_mm=tolerance_mm)
    ]
    return [
        _pool(subjects[0], label, names[label], [score for score in scores if score.label == label])
        for label in sorted(names)
    ]


def pool_subjects(scores: Sequence[Score]) -> list[SubjectScore]:
    """Pool the slices of each subject, structure by structure."""
    names = _names((score.label, score.name) for score in scores)
    groups: dict[tuple[str, int], list[Score]] = {}
    for score in scores:
        groups.setdefault((score.subject_id, score.label), []).append(score)
    order = list(dict.fromkeys(score.subject_id for score in scores))
    ordered = sorted(groups.items(), key=lambda item: (order.index(item[0][0]), item[0][1]))
    return [_pool(subject, label, names[label], group) for (subject, label), group in ordered]


def summarise(scores: Sequence[Score], *, by_level: bool = False) -> pd.DataFrame:
    """Sum up the scores of all subjects, one row a structure.

    Means are over subjects, each of which counts once however many slices it has, and their 95 % intervals are
    bootstrapped over subjects (`bootstrap_interval`; none with one or two, as the column `interval` says).
    Nothing is counted for a slice that lacks the structure in both reference and prediction.

    Parameters
    ----------
    scores : sequence of Score
        Of one model, every slice once; from `score_slices`.
    by_level : bool
        Give one row for each vertebral level of each structure; slices without one come first.

    Returns
    -------
    pandas.DataFrame
        Empty without a score; otherwise with the columns

        - label, name, level (only `by_level`), n_subjects, n_slices, n_missed and n_invented (of `SubjectScore`)
        - dice, iou, hd95_mm, nsd, area_error_percent, total_area_error_percent: means over subjects of the fields
          of `SubjectScore`, each followed by `_low` and `_high`, the ends of its interval; nsd_tolerance_mm;
          interval, in words
        - mean_distance_mm, precision, sensitivity, accuracy, baseline_accuracy: means over subjects
        - dice_pooled, iou_pooled: of the pixels of all subjects together
        - reference_mm2, predicted_mm2: mean area on a slice
        - area_bias_mm2, area_limit_low_mm2, area_limit_high_mm2: bias and 95 % limits of agreement of the area on
          a slice (`bland_altman` with subjects), over all n_slices, an absent structure having the area 0
        - icc_slices, icc_subjects: ICC(2,1) (`icc_agreement`) of areas on slices, and of the subjects' mean areas
        - cv_percent: `within_target_cv` of the area, over the slices that show the structure in both

        Columns in mm² are NaN unless all slices are calibrated; ICC and CV are then of pixel counts.

    Raises
    ------
    DataError
        If one label has two names.
    """
    _names((score.label, score.name) for score in scores)
    groups: dict[tuple[int, str], list[Score]] = {}
    for score in scores:
        groups.setdefault((score.label, score.level if by_level else ""), []).append(score)
    ordered = sorted(groups.items(), key=lambda item: (item[0][0], natural(item[0][1])))
    table = pd.DataFrame([{"level": level, **_sum_up(group)} for (_, level), group in ordered])
    if table.empty:
        return table
    front = ["label", "name", *(["level"] if by_level else [])]
    return table[[*front, *(column for column in table.columns if column not in ("label", "name", "level"))]]


def _sum_up(scores: Sequence[Score]) -> dict[str, Any]:
    """Give one row of the summary."""
    subjects = pool_subjects(scores)
    enough = len(subjects) >= FEWEST_FOR_INTERVAL
    row: dict[str, Any] = {
        "label": scores[0].label,
        "name": scores[0].name,
        "n_subjects": len(subjects),
        "n_slices": len(scores),
        "n_missed": sum(subject.n_missed for subject in subjects),
        "n_invented": sum(subject.n_invented for subject in subjects),
    }
    for field in WITH_INTERVAL:
        values = [getattr(subject, field) for subject in subjects]
        low, high = bootstrap_interval(values) or (math.nan, math.nan)
        row |= {field: mean_of_known(values), f"{field}_low": low, f"{field}_high": high}
    row["nsd_tolerance_mm"] = scores[0].nsd_tolerance_mm
    row["interval"] = (
        f"95 %, bootstrap over {len(subjects)} patients"
        if enough
        else f"none: {counted(len(subjects), 'patient')}, {FEWEST_FOR_INTERVAL} are needed"
    )
    row |= {field: mean_of_known(getattr(subject, field) for subject in subjects) for field in WITHOUT_INTERVAL}
    pooled = _pool("", scores[0].label, scores[0].name, scores)
    return row | {"dice_pooled": pooled.dice, "iou_pooled": pooled.iou} | _area_agreement(scores)


def _area_agreement(scores: Sequence[Score]) -> dict[str, float]:
    """Give the columns that compare areas."""
    is_calibrated = all(score.reference_mm2 is not None for score in scores)
    unit = "mm2" if is_calibrated else "pixels"
    areas = np.array(
        [[getattr(score, f"{whose}_{unit}") for whose in ("reference", "predicted")] for score in scores], float
    )
    owners = [score.subject_id for score in scores]
    means = [areas[np.array(owners) == owner].mean(axis=0) for owner in dict.fromkeys(owners)]
    found = bland_altman(areas[:, 0], areas[:, 1], subjects=owners)
    millimetres = {
        "reference_mm2": float(areas[:, 0].mean()),
        "predicted_mm2": float(areas[:, 1].mean()),
        "area_bias_mm2": found.bias,
        "area_limit_low_mm2": found.lower,
        "area_limit_high_mm2": found.upper,
    }
    return (millimetres if is_calibrated else dict.fromkeys(millimetres, math.nan)) | {
        "icc_slices": icc_agreement(areas),
        "icc_subjects": icc_agreement(means),
        "cv_percent": within_target_cv(areas[(areas > 0).all(axis=1)]),
    }


def _pool(subject_id: str, label: int, name: str, scores: Sequence[Score]) -> SubjectScore:
    r, p, both, pixels = (
        sum(getattr(score, f"{what}_pixels") for score in scores)
        for what in ("reference", "predicted", "overlap", "slice")
    )
    reference_mm2, predicted_mm2 = (
        _total(score.reference_mm2 for score in scores),
        _total(score.predicted_mm2 for score in scores),
    )
    if reference_mm2 is None or predicted_mm2 is None:
        whole, error = r, p - r
    else:
        whole, error = reference_mm2, predicted_mm2 - reference_mm2
    return SubjectScore(
        subject_id=subject_id,
        label=label,
        name=name,
        **overlap_ratios(r, p, both),
        **accuracy_ratios(r, p, both, pixels),
        mean_slice_dice=mean_of_known(score.dice for score in scores),
        hd95_mm=mean_of_known(score.hd95_mm for score in scores),
        nsd=mean_of_known(score.nsd for score in scores),
        nsd_tolerance_mm=scores[0].nsd_tolerance_mm if scores else math.nan,
        mean_distance_mm=mean_of_known(score.mean_distance_mm for score in scores),
        area_error_percent=mean_of_known(score.area_error_percent for score in scores),
        area_error_mm2=mean_of_known(score.area_error_mm2 for score in scores),
        total_area_error_percent=100 * error / whole if whole else math.nan,
        reference_mm2=reference_mm2,
        predicted_mm2=predicted_mm2,
        n=len(scores),
        n_reference=sum(score.reference_pixels > 0 for score in scores),
        n_missed=sum(score.predicted_pixels == 0 for score in scores),
        n_invented=sum(score.reference_pixels == 0 for score in scores),
    )


def _total(areas_mm2: Iterable[float | None]) -> float | None:
    areas = list(areas_mm2)
    known = [area for area in areas if area is not None]
    return sum(known) if len(known) == len(areas) else None


def _names(pairs: Iterable[tuple[int, str]]) -> dict[int, str]:
    """Give each label's name; a DataError where it has two."""
    names: dict[int, str] = {}
    for label, name in pairs:
        if names.setdefault(label, name) != name:
            raise DataError(f"Label {label} is called both {names[label]!r} and {name!r}.")
    return names
