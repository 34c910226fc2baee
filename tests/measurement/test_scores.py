import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from autoseg.errors import DataError
from autoseg.files.nifti.volumes import read_nifti
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import LabelMap, SliceSource, Source
from autoseg.image.structures import Structure
from autoseg.measurement.scores import PixelScore, Score, score_pixels, score_slices, score_volume, scores_table

HEART = (Structure(1, "cavity"), Structure(2, "wall"))
AFFINE = affine_from_spacing((8.0, 2.0, 1.0))


def read_cord(folder, name):
    voxels, affine = read_nifti(folder / f"{name}.nii.gz")
    source = Source(case_id="cord", subject_id="S1", slice_spacing_source="header")
    return LabelMap((voxels > 0).astype(np.uint8), affine, (Structure(1, "cord"),), source=source)


def labels(voxels, *, affine=AFFINE, annotated=None, structures=HEART, spaced="header", levels=()):
    slices = tuple(SliceSource(Path(f"{place}.dcm"), level=level) for place, level in enumerate(levels))
    source = Source(case_id="case", subject_id="S1", slice_spacing_source=spaced, slices=slices)
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


def test_a_score_has_the_number_of_its_slice_also_on_a_part_of_a_stack():
    part = labels([[[0, 0]], [[1, 0]]])
    part = replace(part, source=replace(part.source, first_slice=4))
    (score,) = score_slices(part, part)
    assert (score.slice, score.slice_index) == (5, 1)
    table = scores_table([score])
    assert table["slice"].tolist() == [5]
    assert "slice_index" not in table
    # As a fold kept it before slices had numbers of their own.
    old = {name: value for name, value in asdict(score).items() if name != "slice"}
    assert Score(**old).slice == 2


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
    assert (score.hd95_mm, score.nsd, score.area_error_mm2) == (None, None, None)
    assert (score.dice, score.accuracy) == (pytest.approx(2 / 3), 0.5)


def test_precision_sensitivity_and_accuracy_beside_that_of_an_empty_answer():
    (score,) = score_slices(labels([[[1, 1, 1, 1, 0, 0, 0, 0, 0, 0]]]), labels([[[0, 1, 1, 1, 1, 1, 0, 0, 0, 0]]]))
    assert (score.precision, score.sensitivity) == (3 / 5, 3 / 4)
    assert score.accuracy == 0.7  # one missed, two invented of ten
    assert score.baseline_accuracy == 0.6
    assert score.slice_pixels == 10
    assert score.area_error_mm2 == 2.0


def test_precision_needs_a_prediction_and_sensitivity_a_reference():
    missed, invented = score_slices(labels([[[1, 0]], [[0, 0]]]), labels([[[0, 0]], [[1, 0]]]))
    assert math.isnan(missed.precision)
    assert missed.sensitivity == 0
    assert invented.precision == 0
    assert math.isnan(invented.sensitivity)
    assert (missed.hd95_mm, missed.nsd) == (invented.hd95_mm, invented.nsd) == (None, 0.0)


def test_distances_are_in_mm_along_rows_and_columns():
    across = score_slices(labels([[[1, 0, 0]]]), labels([[[0, 0, 1]]]))
    along = score_slices(labels([[[1], [0], [0]]]), labels([[[0], [0], [1]]]))
    assert [score.hd95_mm for score in (*across, *along)] == [2.0, 4.0]
    (score,) = score_slices(labels([[[1, 0, 0]]]), labels([[[0, 0, 1]]]), tolerance_mm=2.0)
    assert (score.nsd, score.nsd_tolerance_mm, score.mean_distance_mm) == (1.0, 2.0, 2.0)


def test_a_structure_is_scored_with_what_it_includes():
    cord = (Structure(1, "cord", includes=(2,)), Structure(2, "grey matter"))
    reference = labels([[[1, 2, 2, 1]]], structures=cord)
    outer, inner = score_slices(reference, labels([[[1, 1, 2, 1]]], structures=cord))
    assert (outer.name, outer.dice, outer.reference_mm2) == ("cord", 1.0, 8.0)
    assert (inner.name, inner.dice, inner.hd95_mm) == ("grey matter", pytest.approx(2 / 3), pytest.approx(0.95))
    with pytest.raises(DataError, match="'cord' includes label 2 in the reference and no label in the prediction"):
        score_slices(reference, labels([[[1, 1, 2, 1]]], structures=(Structure(1, "cord"), cord[1])))


def test_each_slice_keeps_its_level():
    reference = labels([[[1]], [[1]]], levels=("C2", "C2/3"))
    assert [score.level for score in score_slices(reference, reference)] == ["C2", "C2/3"]


def test_a_volume_is_scored_in_three_dimensions():
    (score,) = score_volume(labels([[[1, 0]], [[1, 0]], [[0, 0]]]), labels([[[1, 0]], [[1, 0]], [[1, 0]]]))
    assert (score.name, score.n_slices) == ("cavity", 3)
    assert (score.dice, score.iou) == (pytest.approx(0.8), pytest.approx(2 / 3))
    assert (score.precision, score.sensitivity) == (pytest.approx(2 / 3), 1.0)
    # The third slice, 8 mm on, is the only one off; the 95th percentile of 0, 0 and 8 lies at 0.95 x 2.
    assert score.hd95_mm == pytest.approx(0.9 * 8)
    assert (score.nsd, score.mean_distance_mm) == (pytest.approx(4 / 5), pytest.approx(8 / 5))
    assert (score.reference_mm3, score.predicted_mm3, score.volume_error_percent) == (32.0, 48.0, 50.0)


def test_one_slice_is_no_volume_and_an_absent_structure_no_row():
    assert score_volume(labels([[[1]]]), labels([[[1]]])) == []
    assert score_volume(labels([[[0]], [[0]]]), labels([[[0]], [[0]]])) == []
    assert score_volume(labels([[[1]], [[1]]], annotated={2}), labels([[[1]], [[1]]])) == []


def test_a_volume_missed_as_a_whole():
    (score,) = score_volume(labels([[[1]], [[1]]]), labels([[[0]], [[0]]]))
    assert (score.dice, score.nsd, score.hd95_mm, score.volume_error_percent) == (0.0, 0.0, None, -100.0)


@pytest.mark.parametrize("change", [{"spaced": "none"}, {"affine": None}])
def test_without_a_distance_between_slices_there_is_no_distance_in_the_volume(change):
    reference = labels([[[1]], [[1]]], **change)
    (score,) = score_volume(reference, reference)
    assert score.dice == 1.0
    assert (score.hd95_mm, score.nsd, score.reference_mm3) == (None, None, None)


def test_a_tilted_gantry_keeps_the_outline_on_slices_but_has_no_surface():
    tilted = AFFINE.copy()
    tilted[1, 0] = 2.0  # each slice lies 2 mm further back
    reference = labels([[[1]], [[1]]], affine=tilted)
    (score,) = score_volume(reference, reference)
    assert (score.hd95_mm, score.reference_mm3) == (None, pytest.approx(2 * 2 * 8))
    assert [score.hd95_mm for score in score_slices(reference, reference)] == [0.0, 0.0]


def test_the_table_has_the_fields_as_columns():
    pair = labels([[[1, 0]], [[0, 0]]]), labels([[[1, 0]], [[0, 0]]])
    assert scores_table(score_slices(*pair))["dice"].tolist() == [1.0]
    assert scores_table(score_volume(*pair))["reference_mm3"].tolist() == [16.0]
    assert "dice" in scores_table([]).columns


def test_an_automatic_cord_segmentation_against_the_manual_one(shared_data):
    folder = shared_data / "cord-sct-testing" / "t2"
    manual, automatic = (read_cord(folder, name) for name in ("t2_seg-manual", "t2_seg-deepseg_sc-3d"))
    (whole,) = score_volume(manual, automatic)
    slices = score_slices(manual, automatic)
    overlap, total = manual.mask(1) & automatic.mask(1), manual.mask(1).sum() + automatic.mask(1).sum()
    assert whole.dice == pytest.approx(2 * overlap.sum() / total)
    assert whole.dice == pytest.approx(0.981, abs=5e-4)
    assert sum(score.overlap_pixels for score in slices) == overlap.sum()
    # Pixels of 1 mm, and surfaces that are never more than one of them apart.
    assert (whole.hd95_mm, whole.nsd) == (1.0, 1.0)


def test_right_pixels_are_counted_over_all_classes():
    found = score_pixels(labels([[[0, 0, 1, 1, 2, 2]]]), labels([[[0, 1, 1, 2, 2, 2]]]))
    assert found == PixelScore("case", "S1", pixels=6, right=4, background=2)


def test_what_was_not_drawn_is_background_in_both():
    reference = labels([[[0, 0, 1, 1]]], annotated=frozenset({1}))
    found = score_pixels(reference, labels([[[2, 2, 1, 2]]]))
    assert (found.right, found.background, found.pixels) == (3, 2, 4)
    nothing = score_pixels(labels([[[0, 0, 0, 0]]], annotated=frozenset()), labels([[[2, 2, 1, 2]]]))
    assert (nothing.right, nothing.background, nothing.pixels) == (0, 0, 0)


def test_an_undrawn_structure_inside_another_counts_as_that_one():
    cord = (Structure(1, "cord", includes=(2,)), Structure(2, "grey"))
    reference = labels([[[0, 1, 1, 1]]], structures=cord, annotated=frozenset({1}))
    found = score_pixels(reference, labels([[[2, 2, 1, 0]]], structures=cord))
    assert (found.right, found.background) == (2, 1)
