"""The tables of a comparison: by subject, by entry, and the differences between entries."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from autoseg.evaluation.comparison.entries import title_of
from autoseg.evaluation.crossvalidation import CrossValidation, FoldCost
from autoseg.measurement.scores import Score, scores_table
from autoseg.measurement.statistics import (
    bland_altman,
    bootstrap_interval,
    holm,
    mean_interval,
    mean_of_known,
    sign_flip_test,
)
from autoseg.measurement.summary import pool_subjects
from autoseg.training.finder import centreline_table

# The row over all structures, in the column `structure`.
MEAN = "mean"
SCORES = ("dice", "iou", "hd95_mm", "pixel_accuracy")
AREAS = ("mm2", "percent")
# Of a subject's structure, and of the mean over them.
OF_SUBJECT = ("dice", "iou", "hd95_mm", "area_error_mm2", "area_error_percent")
RANGED = ("training_seconds", "ms_per_slice", "peak_memory_mib")


def subjects_table(runs: Mapping[str, CrossValidation]) -> pd.DataFrame:
    """Give the scores of every subject by every entry: one row a structure, and one for their mean (label 0).

    `pixel_accuracy` of a structure is that on slices which show it, of the mean that of all classes on all slices;
    `baseline_accuracy` is what an answer without any structure has. The mean's other values are over the structures
    that the subject has; who has none, drawn or invented, has a row for the mean without a Dice.
    """
    return pd.DataFrame([row for entry, run in runs.items() for row in _rows_of_subjects(entry, run)])


def comparison_table(runs: Mapping[str, CrossValidation]) -> pd.DataFrame:
    """Put entries side by side over the same folds: one row an entry and structure, one for the mean (label 0).

    Scores are means over subjects with 95 % intervals over subjects; areas are biases over slices, in percent where
    there is a reference; costs are medians of the folds (of two the lower) with the least and the most of a fold.
    """
    subjects = subjects_table(runs)
    rows = [
        {"entry": entry, "title": title_of(entry)} | row | _costs(run)
        for entry, run in runs.items()
        if run.scores
        for row in _rows_of_entry(subjects[subjects["entry"] == entry], run.scores)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def differences_table(runs: Mapping[str, CrossValidation], derived: Mapping[str, str]) -> pd.DataFrame:
    """Compare entries in pairs, the better one first, by the Dice of the subjects that both have.

    `derived` learnt nothing themselves: they are compared with the entry that each is made of, or where that is ""
    with the best. `p_corrected` is for the pairs of the best entry with its rivals only.
    """
    subjects = subjects_table(runs)
    order = _ranked(subjects, list(runs))
    learnt = [entry for entry in order if entry not in derived]
    bases = {entry: base or learnt[0] for entry, base in derived.items() if learnt}
    rows = []
    for structure in dict.fromkeys(subjects["structure"] if len(subjects) else ()):
        own = _pairs(subjects, [*combinations(learnt, 2)], structure)
        for row, p in zip(own, holm([row["p"] for row in own[: len(learnt) - 1]]), strict=False):
            row["p_corrected"] = p  # the first pairs are the best entry's
        beside = [pair for pair in combinations(order, 2) if _is_derived(pair, bases)]
        rows += own + _pairs(subjects, beside, structure)
    return pd.DataFrame(rows, columns=DIFFERENCES)


def centrelines_table(runs: Mapping[str, CrossValidation]) -> pd.DataFrame:
    """Say how good the centrelines are around which entries saw a crop: one row a case and entry."""
    tables = []
    for entry, run in runs.items():
        scores = [score for fold in run.folds for score in fold.centrelines]
        if scores:
            table = centreline_table(scores)
            table.insert(0, "title", title_of(entry))
            table.insert(0, "entry", entry)
            tables.append(table)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _rows_of_subjects(entry: str, run: CrossValidation) -> Iterable[dict[str, Any]]:
    right = _pixel_accuracy(run)
    pooled = pool_subjects(run.scores)
    for subject in dict.fromkeys([*(score.subject_id for score in pooled), *right]):
        front = {"entry": entry, "title": title_of(entry), "subject_id": subject}
        own = [score for score in pooled if score.subject_id == subject]
        for score in own:
            yield (
                front
                | {"structure": score.name, "label": score.label, "n_slices": score.n}
                | {column: getattr(score, column) for column in OF_SUBJECT}
                | {"pixel_accuracy": score.accuracy, "baseline_accuracy": score.baseline_accuracy}
            )
        shown = {(score.case_id, score.slice_index) for score in run.scores if score.subject_id == subject}
        accuracy, baseline = right.get(subject, (math.nan, math.nan))
        yield (
            front
            | {"structure": MEAN, "label": 0, "n_slices": len(shown)}
            | {column: mean_of_known(getattr(score, column) for score in own) for column in OF_SUBJECT}
            | {"pixel_accuracy": accuracy, "baseline_accuracy": baseline}
        )


def _pixel_accuracy(run: CrossValidation) -> dict[str, tuple[float, float]]:
    """Give each subject's share of right pixels over all classes, and of background."""
    counts = scores_table([score for fold in run.folds for score in fold.pixels])
    if counts.empty:
        return {}
    sums = counts.groupby("subject_id", sort=False)[["right", "background", "pixels"]].sum().query("pixels > 0")
    shares = sums[["right", "background"]].div(sums["pixels"], axis="index")
    return {str(subject): (row["right"], row["background"]) for subject, row in shares.iterrows()}


def _rows_of_entry(own: pd.DataFrame, scores: Sequence[Score]) -> list[dict[str, Any]]:
    """Give a row a structure, and one for the mean over structures, from the table by subject and the scores."""
    named = sorted({(score.label, score.name) for score in scores})
    rows = []
    for label, name in [*named, (0, MEAN)]:
        mine = [score for score in scores if name == MEAN or score.label == label]
        # The areas of several structures have no mean.
        areas = _areas(mine) if len(named) == 1 or name != MEAN else {}
        shown = len({(score.case_id, score.slice_index) for score in mine})
        counted = _counted(own[own["label"] == label])
        rows.append({"structure": name, "label": label} | counted | {"n_slices": shown} | areas)
    return rows


def _counted(rows: pd.DataFrame) -> dict[str, Any]:
    """Give the means over subjects with their intervals."""
    scored = int(rows["dice"].notna().sum())
    values: dict[str, Any] = {"n_subjects": scored, "baseline_accuracy": mean_of_known(rows["baseline_accuracy"])}
    for column in SCORES:
        values |= _with_ends(column, mean_of_known(rows[column]), bootstrap_interval(rows[column]))
    return values


def _areas(scores: Sequence[Score]) -> dict[str, float]:
    """Give bias and limits of agreement of a structure's areas, in mm² and in percent."""
    found: dict[str, float] = {}
    table = scores_table(scores)
    for unit in AREAS:
        errors = table[["subject_id", f"area_error_{unit}"]].set_axis(["subject", "error"], axis=1)
        # Without a reference area there is no percentage; without calibration of all, no mm².
        known = errors.dropna() if unit == "percent" or errors["error"].notna().all() else errors[:0]
        values = known["error"].to_numpy(dtype=np.float64)
        agreed = bland_altman(np.zeros(len(values)), values, subjects=known["subject"].tolist())
        by_subject = known.astype({"error": float}).groupby("subject", sort=False)["error"]
        found |= _with_ends(f"area_bias_{unit}", agreed.bias, mean_interval(by_subject.sum(), by_subject.count()))
        found |= {f"area_limit_low_{unit}": agreed.lower, f"area_limit_high_{unit}": agreed.upper}
    return found


def _costs(run: CrossValidation) -> dict[str, float]:
    costs: dict[str, float] = {}
    for name in (field.name for field in fields(FoldCost)):
        known = [value for fold in run.folds if not math.isnan(value := getattr(fold.cost, name))]
        costs[name] = statistics.median_low(known) if known else math.nan
        if name in RANGED:
            costs[f"{name}_low"], costs[f"{name}_high"] = min(known, default=math.nan), max(known, default=math.nan)
    return costs


def _is_derived(pair: tuple[str, str], bases: Mapping[str, str]) -> bool:
    """Tell whether one of a pair is made of the other."""
    return bases.get(pair[0]) == pair[1] or bases.get(pair[1]) == pair[0]


def _pairs(subjects: pd.DataFrame, pairs: Sequence[tuple[str, str]], structure: str) -> list[dict[str, Any]]:
    rows = []
    dice = dice_of(subjects, structure)
    for entry, other in pairs:
        difference = (dice[entry] - dice[other]).dropna()  # by subject
        rows.append(
            {"entry": entry, "other": other, "structure": structure, "n_subjects": len(difference)}
            | _with_ends("dice_difference", mean_of_known(difference), bootstrap_interval(difference))
            | {"p": sign_flip_test(difference), "p_corrected": math.nan}
        )
    return rows


def dice_of(subjects: pd.DataFrame, structure: str) -> pd.DataFrame:
    """Give the Dice by subject and entry; 1 for who left empty what is empty where others invented something."""
    entries = list(dict.fromkeys(subjects["entry"]))
    rows = subjects[subjects["structure"] == structure]
    dice = rows.pivot(index="subject_id", columns="entry", values="dice").reindex(columns=entries)
    dice = dice.dropna(how="all")
    # What is drawn has a score by all who were tested there.
    tested = pd.crosstab(subjects["subject_id"], subjects["entry"]).reindex(index=dice.index, columns=entries)
    return dice.mask(dice.isna() & (tested > 0), 1.0)


def _ranked(subjects: pd.DataFrame, entries: list[str]) -> list[str]:
    """Give the entries with a score, the best first, by the subjects that all of them have."""
    if not len(subjects):
        return []
    dice = dice_of(subjects, MEAN).dropna(axis="columns", how="all")
    shared = dice.dropna()
    means = (shared if len(shared) else dice).mean()
    return sorted((entry for entry in entries if entry in means), key=lambda entry: -means[entry])


def _with_ends(name: str, value: float, interval: tuple[float, float] | None) -> dict[str, float]:
    low, high = interval or (math.nan, math.nan)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _ends(*names: str) -> list[str]:
    return [f"{name}{end}" for name in names for end in ("", "_low", "_high")]


COLUMNS = [
    *("entry", "title", "structure", "label", "n_subjects", "n_slices"),
    *_ends("dice", "iou", "hd95_mm"),
    *(c for u in AREAS for c in (*_ends(f"area_bias_{u}"), f"area_limit_low_{u}", f"area_limit_high_{u}")),
    *(*_ends("pixel_accuracy"), "baseline_accuracy", "parameters", "multiply_adds", "epochs"),
    *_ends(*RANGED),
]
DIFFERENCES = ["entry", "other", "structure", "n_subjects", *_ends("dice_difference"), "p", "p_corrected"]


# --- one row a subject, one column an entry: every subject once, none left out, outliers marked

# Iglewicz and Hoaglin 1993, "How to detect and handle outliers": of a modified z-score beyond this.
CUTOFF = 3.5
# The median absolute deviation of a normal distribution is this part of its standard deviation; where it is 0,
# because most values are alike, the mean absolute deviation is taken, with its own factor (the same book).
MEDIAN_FACTOR, MEAN_FACTOR = 0.6745, 0.7979
FEWEST = 5
STATISTICS = {"minimum": "min", "maximum": "max", "mean": "mean", "median": "median"}


def per_subject_table(subjects: pd.DataFrame, structure: str = MEAN) -> pd.DataFrame:
    """Give the Dice of every subject by every entry; below, minimum, maximum, mean and median over all."""
    if subjects.empty:
        return pd.DataFrame(columns=["subject_id", "outlier"])
    dice = dice_of(subjects, structure)
    outliers = find_outliers(dice)
    rows = dice.copy()
    rows["outlier"] = [
        ", ".join(title_of(entry) for entry, out in zip(outliers.columns, row, strict=True) if out)
        for row in outliers.to_numpy()
    ]
    last = pd.DataFrame({entry: dice[entry].agg(list(STATISTICS.values())) for entry in dice})
    last = last.set_axis(list(STATISTICS))
    last["outlier"] = ""
    return pd.concat([rows, last]).rename_axis("subject_id").reset_index()


def find_outliers(dice: pd.DataFrame) -> pd.DataFrame:
    """Mark the subjects that are far below what is usual in a column.

    Their modified z-score, 0.6745 (value − median) / (median absolute deviation), lies below −3.5 (Iglewicz and
    Hoaglin 1993). With fewer than five subjects none is marked.

    Examples
    --------
    >>> scores = pd.DataFrame({"unet": [0.90, 0.91, 0.89, 0.92, 0.90, 0.35]})
    >>> find_outliers(scores)["unet"].tolist()
    [False, False, False, False, False, True]
    """
    marked = {entry: modified_z(dice[entry].to_numpy(dtype=float)) < -CUTOFF for entry in dice}
    return pd.DataFrame(marked, index=dice.index, columns=dice.columns)


def outliers_of(subjects: pd.DataFrame, entry: str) -> list[str]:
    """Name the subjects that are outliers in an entry's mean over structures (`find_outliers`)."""
    if subjects.empty:
        return []
    dice = dice_of(subjects, MEAN)
    return [str(who) for who in dice.index[find_outliers(dice[[entry]])[entry]]] if entry in dice else []


def modified_z(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Give how far each value lies from the median, in robust standard deviations; 0 where there are too few."""
    known = values[np.isfinite(values)]
    if len(known) < FEWEST:
        return np.zeros(len(values))
    apart = known - np.median(known)
    spread, factor = float(np.median(np.abs(apart))), MEDIAN_FACTOR
    if spread < 1e-9:
        spread, factor = float(np.mean(np.abs(apart))), MEAN_FACTOR
    if spread < 1e-9:
        return np.zeros(len(values))
    return np.nan_to_num(factor * (values - np.median(known)) / spread)


def tell_outliers(subjects: pd.DataFrame, structure: str = MEAN) -> str:
    """Say in a sentence how many subjects are outliers with which entries; "" without any.

    No subject is named: per_subject.csv says who they are.
    """
    if subjects.empty:
        return ""
    dice = dice_of(subjects, structure)
    marked = find_outliers(dice)
    words = []
    for entry in map(str, dice.columns):
        low = dice[entry][marked[entry]]
        if len(low):
            shown = ", ".join(f"{value:.2f}" for value in sorted(low))
            words.append(
                f"{len(low)} of {dice[entry].count()} patients with {title_of(entry)} (Dice {shown}; median "
                f"{dice[entry].median():.2f})"
            )
    if not words:
        return ""
    return (
        f"Unusually low beside the others (robust z-score below −{CUTOFF:g}): {'; '.join(words)}. They "
        "are in every figure here; per_subject.csv says who they are. Look at them before you trust a mean."
    )
