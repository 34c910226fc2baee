import math
from pathlib import Path

import numpy as np
import pytest

from autoseg.errors import DataError
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import LabelMap, SliceSource, Source
from autoseg.image.structures import Structure
from autoseg.measurement.scores import score_slices, scores_table
from autoseg.measurement.summary import pool_subjects, score_subject, summarise

HEART = (Structure(1, "cavity"), Structure(2, "wall"))
AFFINE = affine_from_spacing((8.0, 2.0, 1.0))


def labels(voxels, *, affine=AFFINE, annotated=None, structures=HEART, subject="S1", levels=()):
    slices = tuple(SliceSource(Path(f"{place}.dcm"), level=level) for place, level in enumerate(levels))
    source = Source(case_id="case", subject_id=subject, slices=slices)
    return LabelMap(np.asarray(voxels, np.uint8), affine, structures, annotated, source)


def score_row(reference, predicted, **source):
    """Score one slice that holds so many pixels of the cavity, the smaller within the larger."""
    width = max(reference, predicted, 20)
    maps = (labels([[[1] * n + [0] * (width - n)]], **source) for n in (reference, predicted))
    return score_slices(*maps)


def test_a_subject_pools_its_slices_by_pixels():
    first = labels([[[1] * 8 + [0] * 2]]), labels([[[1] * 8 + [0] * 2]])  # Dice 1
    second = labels([[[1, 1] + [0] * 8]]), labels([[[0, 0, 1, 1, 1] + [0] * 5]])  # Dice 0, area + 50 %
    cavity, wall = score_subject([first, second])
    assert cavity.dice == pytest.approx(2 * 8 / (10 + 11))
    assert cavity.iou == pytest.approx(8 / 13)
    assert cavity.mean_slice_dice == pytest.approx(0.5)
    assert cavity.area_error_percent == pytest.approx(25.0)
    assert cavity.total_area_error_percent == pytest.approx(10.0)
    assert (cavity.reference_mm2, cavity.predicted_mm2) == (20.0, 22.0)
    assert (cavity.n, cavity.n_reference) == (2, 2)
    assert wall.n == 0
    assert math.isnan(wall.dice)
    assert math.isnan(wall.area_error_percent)


def test_a_slice_with_a_false_alarm_counts_for_dice_but_has_no_relative_error():
    (cavity, _) = score_subject([(labels([[[1, 1]], [[0, 0]]]), labels([[[1, 1]], [[1, 1]]]))])
    assert (cavity.n, cavity.n_reference) == (2, 1)
    assert cavity.dice == pytest.approx(4 / 6)
    assert (cavity.area_error_percent, cavity.total_area_error_percent) == (0.0, 100.0)


def test_only_slices_on_which_it_was_drawn_are_pooled():
    drawn = labels([[[2, 2, 0]]]), labels([[[2, 2, 0]]])
    not_drawn = labels([[[1, 0, 0]]], annotated={1}), labels([[[1, 2, 2]]])
    _, wall = score_subject([drawn, not_drawn])
    assert (wall.n, wall.dice) == (1, 1.0)


def test_subjects_are_not_mixed():
    one, other = labels([[[1, 0]]]), labels([[[1, 0]]], subject="S2")
    with pytest.raises(DataError, match="several patients"):
        score_subject([(one, one), (other, other)])


def test_without_millimetres_a_subject_has_the_error_of_its_pixels():
    pair = labels([[[1, 1]]], affine=None), labels([[[1, 0]]], affine=None)
    (cavity, _) = score_subject([pair])
    assert (cavity.reference_mm2, cavity.total_area_error_percent) == (None, -50.0)
    assert math.isnan(cavity.hd95_mm)
    assert math.isnan(cavity.area_error_mm2)


def test_missed_and_invented_slices_are_counted_and_have_no_distance():
    reference = labels([[[1, 1, 0]], [[1, 0, 0]], [[0, 0, 0]], [[0, 0, 0]]])
    predicted = labels([[[0, 1, 1]], [[0, 0, 0]], [[1, 0, 0]], [[0, 0, 0]]])
    (cavity, _) = score_subject([(reference, predicted)])
    assert (cavity.n, cavity.n_reference, cavity.n_missed, cavity.n_invented) == (3, 2, 1, 1)
    assert cavity.hd95_mm == pytest.approx(0.95)  # of 0 and 1 mm, on the first slice alone
    assert cavity.nsd == pytest.approx(1 / 3)  # 1, 0 and 0
    assert (cavity.precision, cavity.sensitivity) == (1 / 3, 1 / 3)
    assert cavity.accuracy == pytest.approx(5 / 9)
    assert cavity.baseline_accuracy == pytest.approx(6 / 9)
    assert cavity.area_error_mm2 == pytest.approx(0.0)  # 0, -2 and +2


def test_pooling_the_slices_gives_what_scoring_the_subject_gives():
    maps = [labels([[[1, 2, 0]], [[1, 1, 2]]], subject=subject) for subject in ("S2", "S1")]
    scores = [score for one in maps for score in score_slices(one, maps[0])]
    pooled = pool_subjects(scores)
    assert [(score.subject_id, score.name) for score in pooled] == [
        ("S2", "cavity"),
        ("S2", "wall"),
        ("S1", "cavity"),
        ("S1", "wall"),
    ]
    assert pooled[:2] == score_subject([(maps[0], maps[0])])
    assert pool_subjects([]) == []
    assert score_subject([]) == []
    assert scores_table(pooled)["n"].tolist() == [2, 2, 2, 2]


def test_one_label_with_two_names_is_not_pooled():
    other = labels([[[1]]], structures=(Structure(1, "atrium"),))
    scores = score_slices(labels([[[1]]]), labels([[[1]]])) + score_slices(other, other)
    for sum_up in (pool_subjects, summarise):
        with pytest.raises(DataError, match="both 'cavity' and 'atrium'"):
            sum_up(scores)


def test_the_summary_is_of_subjects_not_of_slices():
    # A has one slice with Dice 1, B three with Dice 2 x 5 / 15.
    scores = score_row(10, 10, subject="A") + 3 * score_row(10, 5, subject="B")
    (row,) = summarise(scores).to_dict("records")
    assert (row["name"], row["n_subjects"], row["n_slices"]) == ("cavity", 2, 4)
    assert row["dice"] == pytest.approx((1 + 2 / 3) / 2)
    assert row["iou"] == pytest.approx(0.75)
    assert row["dice_pooled"] == pytest.approx(2 * 25 / 65)
    assert row["iou_pooled"] == pytest.approx(25 / 40)
    assert row["area_error_percent"] == row["total_area_error_percent"] == pytest.approx(-25.0)
    assert (row["precision"], row["sensitivity"]) == (1.0, 0.75)
    assert (row["accuracy"], row["baseline_accuracy"]) == (pytest.approx(0.875), 0.5)
    assert math.isnan(row["dice_low"])
    assert row["interval"] == "none: 2 patients, 3 are needed"


def test_the_interval_over_three_subjects_spans_their_mean():
    scores = [
        score for subject, n in zip("ABC", (10, 9, 8), strict=True) for score in score_row(10, n, subject=subject)
    ]
    (row,) = summarise(scores).to_dict("records")
    assert row["interval"] == "95 %, bootstrap over 3 patients"
    for field in ("dice", "iou", "hd95_mm", "nsd", "area_error_percent", "total_area_error_percent"):
        assert row[f"{field}_low"] <= row[field] <= row[f"{field}_high"]
    assert row["dice_low"] == pytest.approx(16 / 18)
    assert row["dice_high"] == 1.0


def test_areas_are_compared_in_mm2():
    # Differences of 2, 0, 4 and 2 pixels of 2 mm², one slice a subject.
    pairs = [(10, 12), (20, 20), (30, 34), (40, 42)]
    scores = [score for place, pair in enumerate(pairs) for score in score_row(*pair, subject=f"S{place}")]
    (row,) = summarise(scores).to_dict("records")
    assert (row["reference_mm2"], row["predicted_mm2"], row["area_bias_mm2"]) == (50.0, 54.0, 4.0)
    deviation = 2 * math.sqrt(8 / 3)
    assert row["area_limit_low_mm2"] == pytest.approx(4 - 1.96 * deviation)
    assert row["area_limit_high_mm2"] == pytest.approx(4 + 1.96 * deviation)
    # In pixels, with the means 11, 20, 32 and 41 (26 in all): MSR = 348, MSC = 8, MSE = 4 / 3.
    residual = 4 / 3
    expected = (348 - residual) / (348 + residual + 2 * (8 - residual) / 4)
    assert row["icc_slices"] == pytest.approx(expected)
    assert row["icc_subjects"] == pytest.approx(row["icc_slices"])
    relative = [(d / m) ** 2 / 2 for d, m in ((2, 11), (0, 20), (4, 32), (2, 41))]
    assert row["cv_percent"] == pytest.approx(100 * math.sqrt(sum(relative) / 4))


def test_without_millimetres_the_summary_has_ratios_only():
    scores = [score for n in (8, 10) for score in score_row(10, n, affine=None, subject=f"S{n}")]
    (row,) = summarise(scores).to_dict("records")
    assert row["area_error_percent"] == pytest.approx(-10.0)
    assert row["cv_percent"] > 0
    for column in ("reference_mm2", "area_bias_mm2", "area_limit_low_mm2", "hd95_mm", "nsd"):
        assert math.isnan(row[column])


def test_a_missed_slice_counts_for_the_bias_and_not_for_the_cv():
    scores = score_row(10, 10, subject="A") + score_row(10, 0, subject="B")
    (row,) = summarise(scores).to_dict("records")
    assert (row["n_missed"], row["area_bias_mm2"], row["cv_percent"]) == (1, -10.0, 0.0)


def test_structures_and_levels_have_rows_of_their_own():
    reference = labels([[[1, 2]], [[1, 0]], [[1, 0]]], levels=("C10", "C9", ""))
    scores = score_slices(reference, reference)
    assert summarise(scores)[["name", "n_slices"]].values.tolist() == [["cavity", 3], ["wall", 1]]
    by_level = summarise(scores, by_level=True)
    assert by_level[["name", "level"]].values.tolist() == [
        ["cavity", ""],
        ["cavity", "C9"],
        ["cavity", "C10"],
        ["wall", "C10"],
    ]
    assert summarise([]).empty
