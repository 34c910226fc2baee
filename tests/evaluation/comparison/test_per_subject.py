"""Every subject once, none left out, outliers marked by robust statistics: against hand-counted numbers."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from autoseg.evaluation.comparison.tables import (
    CUTOFF,
    find_outliers,
    modified_z,
    per_subject_table,
    tell_outliers,
)

GOOD = [0.90, 0.91, 0.89, 0.92, 0.88, 0.90]


def _subjects(scores):
    rows = [
        {"entry": entry, "subject_id": f"s{number}", "structure": "mean", "dice": dice}
        for entry, values in scores.items()
        for number, dice in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_every_subject_stands_once_and_is_in_the_four_last_rows():
    table = per_subject_table(_subjects({"unet": [*GOOD, 0.30], "resunet": [*GOOD, 0.85]}))
    assert table["subject_id"].tolist() == [*(f"s{n}" for n in range(7)), "minimum", "maximum", "mean", "median"]
    assert table["unet"].tolist()[-4:] == pytest.approx([0.30, 0.92, 5.70 / 7, 0.90])
    assert table["outlier"].tolist() == ["", "", "", "", "", "", "U-Net", "", "", "", ""]


def test_the_z_score_is_the_book_s():
    values = np.array([*GOOD, 0.30])
    expected = 0.6745 * (values - np.median(values)) / stats.median_abs_deviation(values)
    assert modified_z(values) == pytest.approx(expected)
    assert (find_outliers(pd.DataFrame({"a": values}))["a"] == (expected < -CUTOFF)).all()


def test_who_is_better_than_the_others_is_no_outlier():
    assert not find_outliers(pd.DataFrame({"a": [*[0.3] * 6, 0.31, 0.95]})).to_numpy().any()


def test_alike_values_and_few_subjects_mark_nobody_for_nothing():
    assert modified_z(np.full(9, 0.7)).tolist() == [0.0] * 9
    assert modified_z(np.array([0.9, 0.9, 0.1])).tolist() == [0.0] * 3
    # Most alike, one far below: the mean deviation tells it.
    assert find_outliers(pd.DataFrame({"a": [*[0.9] * 9, 0.2]}))["a"].tolist() == [*[False] * 9, True]
    assert not np.isnan(modified_z(np.array([np.nan, *GOOD]))).any()


def test_the_sentence_counts_and_names_nobody():
    words = tell_outliers(_subjects({"unet": [*GOOD, 0.30], "resunet": [*GOOD, 0.85]}))
    assert "1 of 7 patients with U-Net (Dice 0.30; median 0.90)" in words
    assert "ResUNet" not in words
    assert "s6" not in words
    assert tell_outliers(_subjects({"unet": GOOD})) == ""
