"""The table with a row a patient: all of them, outliers marked, and the four numbers over all."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
from comparisons import make_comparison, make_folds

from autoseg.panels.comparison.tables import MARK, NOBODY, TOO_FEW, per_subject_html

USUAL = [0.90, 0.91, 0.89, 0.92, 0.90, 0.35]


def rows_of(words):
    """Give the cells of the rows of the table's body."""
    body = words.partition("<tbody>")[2].partition("</tbody>")[0]
    rows = [re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row) for row in body.split("</tr>")[:-1]]
    return [[re.sub("<[^>]*>", "", cell).strip() for cell in row] for row in rows]


def test_every_patient_has_a_row_and_outliers_count_in_all_numbers():
    found = make_comparison({"original": make_folds(USUAL), "fine-tuned, exact centreline": make_folds([0.9] * 6)})
    names = {f"subject{k}": f"patient {k + 1}" for k in range(6)}
    words = per_subject_html(found, "mean", names, kind="scenario")
    table = {row[0]: row[1:] for row in rows_of(words)}
    dice = found.subjects.query("structure == 'mean' and entry == 'original'").set_index("subject_id")["dice"]
    assert list(table) == [*sorted(names.values()), "Minimum", "Maximum", "Mean", "Median"]
    for k in range(5):
        assert table[f"patient {k + 1}"][0] == f"{dice[f'subject{k}']:.3f}"
    assert table["patient 6"] == [f"{dice['subject5']:.3f} {MARK}", "0.900"]
    assert table["Mean"][0] == f"{np.mean(dice):.3f}"
    assert table["Median"][0] == f"{np.median(dice):.3f}"
    assert words.partition("</table>")[0].count(MARK) == 1
    assert "1 of 6 patients with original" not in words  # the comparison's notes say it
    assert f"{MARK} unusually low beside the others" in words
    assert "1 of 6 patients with original" in per_subject_html(replace(found, notes=()), "mean", names)
    assert "subject5" not in words
    assert "models that never saw them" in words


def test_names_are_shown_where_they_are_asked_for_and_nobody_is_marked_without_cause():
    found = make_comparison({"unet": make_folds([0.9, 0.8, 0.7])})
    words = per_subject_html(found)
    assert [row[0] for row in rows_of(words)][:3] == ["subject0", "subject1", "subject2"]
    assert MARK not in words
    assert TOO_FEW in words
    assert NOBODY in per_subject_html(make_comparison({"unet": make_folds([0.9, 0.8, 0.7, 0.75, 0.85])}))
    assert ">U-Net<" in words


def test_a_score_that_is_missing_is_a_dash_and_nothing_gives_nothing():
    found = make_comparison(
        {"unet": make_folds([0.9, None, 0.7, 0.8]), "resunet": make_folds([0.9, 0.8, 0.7, 0.6])}
    )
    table = {row[0]: row[1:] for row in rows_of(per_subject_html(found))}
    assert table["subject1"] == ["–", "0.800"]
    empty = make_comparison({"unet": []})
    assert isinstance(empty.subjects, pd.DataFrame)
    assert per_subject_html(empty) == ""
