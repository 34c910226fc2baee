import math

import numpy as np
import pytest

from autoseg.errors import DataError
from autoseg.evaluation import score_slices, score_subject, scores_table
from autoseg.geometry import affine_from_spacing
from autoseg.image import LabelMap, Source
from autoseg.structures import Structure

HEART = (Structure(1, "cavity"), Structure(2, "wall"))
AFFINE = affine_from_spacing((8.0, 2.0, 1.0))


def labels(voxels, *, affine=AFFINE, annotated=None, structures=HEART, subject="S1"):
    source = Source(case_id="case", subject_id=subject)
    return LabelMap(np.asarray(voxels, np.uint8), affine, structures, annotated, source)


def test_scores_of_a_slice_are_those_of_the_formulas():
    (score,) = score_slices(labels([[[1, 1, 1, 1, 0, 0]]]), labels([[[0, 1, 1, 1, 1, 1]]]))
    assert score.dice == pytest.approx(2 * 3 / (4 + 5))
    assert score.iou == pytest.approx(3 / 6)
    assert (score.reference_mm2, score.predicted_mm2) == (8.0, 10.0)
    assert score.area_error_percent == pytest.approx(25.0)
    assert (score.case_id, score.subject_id, score.slice_index, score.name) == ("case", "S1", 0, "cavity")


def test_absent_in_both_is_not_counted_and_in_one_is_0():
    reference = labels([[[0, 0]], [[1, 0]], [[0, 0]]])
    predicted = labels([[[0, 0]], [[0, 0]], [[0, 1]]])
    missed, invented = score_slices(reference, predicted)
    assert (missed.slice_index, missed.dice, missed.iou, missed.area_error_percent) == (1, 0.0, 0.0, -100.0)
    assert (invented.slice_index, invented.dice, invented.area_error_percent) == (2, 0.0, None)


def test_a_structure_that_was_not_drawn_is_left_out():
    scores = score_slices(labels([[[1, 0]]], annotated={1}), labels([[[1, 2]]]))
    assert [score.name for score in scores] == ["cavity"]


def test_other_grids_and_other_names_are_refused():
    with pytest.raises(DataError, match="different grids"):
        score_slices(labels([[[1, 0]]]), labels([[[1, 0, 0]]]))
    with pytest.raises(DataError, match="different grids"):
        score_slices(labels([[[1, 0]]]), labels([[[1, 0]]], affine=affine_from_spacing((8.0, 2.0, 1.1))))
    other = labels([[[1, 0]]], structures=(Structure(1, "atrium"),))
    with pytest.raises(DataError, match="'cavity' in the reference and 'atrium' in the prediction"):
        score_slices(labels([[[1, 0]]]), other)


def test_without_millimetres_there_are_scores_but_no_areas():
    (score,) = score_slices(labels([[[1, 1]]], affine=None), labels([[[1, 0]]], affine=None))
    assert (score.reference_mm2, score.predicted_mm2, score.area_error_percent) == (None, None, -50.0)
    (pooled, _) = score_subject([(labels([[[1, 1]]], affine=None), labels([[[1, 0]]], affine=None))])
    assert (pooled.reference_mm2, pooled.total_area_error_percent) == (None, -50.0)


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
    with pytest.raises(DataError, match="several subjects"):
        score_subject([(one, one), (other, other)])


def test_the_table_has_the_fields_as_columns():
    pair = labels([[[1, 0]]]), labels([[[1, 0]]])
    assert scores_table(score_slices(*pair))["dice"].tolist() == [1.0]
    assert scores_table(score_subject([pair]))["n"].tolist() == [1, 0]
    assert "dice" in scores_table([]).columns
    assert score_subject([]) == []
