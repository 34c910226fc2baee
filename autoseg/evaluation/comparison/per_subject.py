"""One row a subject, one column an entry: every subject once, none left out, outliers marked."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from autoseg.evaluation.comparison.tables import MEAN, dice_of, title_of

# Iglewicz and Hoaglin 1993, "How to detect and handle outliers": of a modified z-score beyond this.
CUTOFF = 3.5
# The median absolute deviation of a normal distribution is this part of its standard deviation; where it is 0,
# because most values are alike, the mean absolute deviation is taken, with its own factor (the same book).
MEDIAN_FACTOR, MEAN_FACTOR = 0.6745, 0.7979
FEWEST = 5
STATISTICS = {"minimum": "min", "maximum": "max", "mean": "mean", "median": "median"}


def per_subject_table(subjects: pd.DataFrame, structure: str = MEAN) -> pd.DataFrame:
    """Give the Dice of every subject by every entry, and then minimum, maximum, mean and median over all of them.

    Parameters
    ----------
    subjects : DataFrame
        From `subjects_table`.
    structure : str
        Name of a structure, or "mean" for the mean over structures.

    Returns
    -------
    DataFrame
        subject_id, one column an entry, and `outlier`: the titles of the entries in which the subject is one
        (`find_outliers`), or empty. Outliers are in all four last rows.
    """
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

    Parameters
    ----------
    dice : DataFrame
        One row a subject, one column an entry; NaN where there is no score.

    Returns
    -------
    DataFrame of bool
        Of the same rows and columns.

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
                f"{len(low)} of {dice[entry].count()} subjects with {title_of(entry)} (Dice {shown}; median "
                f"{dice[entry].median():.2f})"
            )
    if not words:
        return ""
    return (
        f"Unusually low beside the others (robust z-score below −{CUTOFF:g}): {'; '.join(words)}. They "
        "are in every figure here; per_subject.csv says who they are. Look at them before you trust a mean."
    )
