"""Intervals of new areas from what models keep of their errors: of slices, means and volumes."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from folders import add_stacks
from untrained import untrained_model

from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import LabelMap, Source
from autoseg.image.structures import Structure
from autoseg.measurement.areas import MM2, PIXELS, Measurement, measure_areas
from autoseg.model.model import load_model, save_model
from autoseg.model.postprocess import StructurePostprocess, the_same_for_all
from autoseg.model.trust import Calibration, Errors, How, Trust, trust_from_dict, trust_to_dict
from autoseg.prediction.intervals import about_intervals, add_intervals, patient_intervals
from autoseg.prediction.run import segment_folder
from autoseg.report.area_tables import image_groups

STRUCTURES = (Structure(1, "cavity"), Structure(2, "myocardium"))
QUANTITIES = {
    "found": (10.0, 0.1),
    "beside": (1.0, 0.0),
    "empty": (1.0, 0.0),
    "mean": (0.0, 0.1),
    "volume": (0, 0.2),
}


def calibration(patients=9, *, how=How.FOLDS, unit=MM2, names=("cavity", "myocardium"), size=1.0, more=()):
    """Give one whose patients' errors are `size` times what was to be expected, half of them too large."""
    scores = tuple((-size, size) for _ in range(patients))
    errors = [
        Errors(name, what, base, share, 0.0, scores) for name in names for what, (base, share) in QUANTITIES.items()
    ]
    return Calibration(how.value, "2026-03-01", patients, unit, names, (*errors, *more), 0.9, (0.91,) * len(names))


def model(*args, **changes):
    kept = calibration(*args, **changes)
    return untrained_model(trust=Trust(calibration=kept))


def measured(sizes=(0, 100, 50, 0, 0), *, spacing=(5.0, 2.0, 2.0), single=False):
    """Give the rows of a stack, or of a series of single slices, whose cavity has so many pixels on its slices."""
    voxels = np.zeros((len(sizes), 20, 20), np.uint8)
    for index, size in enumerate(sizes):
        voxels[index, 1:-1, 1:-1] = (np.arange(18 * 18) < size).reshape(18, 18)  # nothing at the edge
    known = {"spacing_source": "header", "slice_spacing_source": "header"} if spacing else {}
    affine = affine_from_spacing(spacing) if spacing else None
    parts = [("heart", voxels, affine)]
    if single:
        parts = [(f"s{n}", voxels[n : n + 1], affine.copy()) for n in range(len(sizes))]
        for place, (_, _, own) in enumerate(parts):
            own[:3, 3] += place * own[:3, 0]
    return [
        row
        for case_id, part, own in parts
        for row in measure_areas(
            LabelMap(part, own, STRUCTURES, source=Source(case_id=case_id, subject_id="7", **known))
        )
    ]


def cavity(rows):
    return [row for row in rows if row.name == "cavity"]


def test_a_slice_has_an_interval_of_base_and_share():
    rows = add_intervals((model(),), tuple(measured()))
    found = cavity(rows)[1]
    # 100 pixels of 4 mm²: 10 mm² and a tenth of the area.
    assert (found.area_low_mm2, found.area_high_mm2) == pytest.approx((350, 450))
    assert (found.interval_level, found.interval_basis) == (0.9, "by patient")
    assert found.pixel_count_low is None is found.pixel_count_high


def test_where_nothing_was_found_the_area_lies_between_0_and_what_was_missed():
    more = [Errors("cavity", "beside", 1.0, 0.0, 0.0, ((70.0,),) * 9)]
    kept = calibration()
    kept = replace(kept, errors=(*(one for one in kept.errors if one.quantity != "beside"), *more))
    rows = cavity(add_intervals((untrained_model(trust=Trust(calibration=kept)),), tuple(measured())))
    assert [(row.area_low_mm2, row.area_high_mm2) for row in (rows[0], rows[3], rows[4])] == [
        (0, 70),
        (0, 70),
        (0, 1),
    ]


@pytest.mark.parametrize(
    ("patients", "how", "basis"),
    [
        (9, How.FOLDS, "by patient"),
        (8, How.FOLDS, "assumes a distribution"),
        (4, How.FOLDS, None),
        (9, How.VALIDATION, "by patient"),
        (8, How.VALIDATION, None),
    ],
)
def test_with_few_patients_an_interval_assumes_a_distribution_or_is_none(patients, how, basis):
    rows = cavity(add_intervals((model(patients, how=how),), tuple(measured())))
    assert rows[1].interval_basis == (basis or "")
    assert (rows[1].area_low_mm2 is None) == (basis is None)
    words = about_intervals((model(patients, how=how),))
    assert ("assume a distribution" in words) == (basis == "assumes a distribution")
    assert words.startswith("No intervals") == (basis is None)
    if patients < 9:
        assert f"{9 - patients} more" in words
    assert "distribution" not in about_intervals((model(9, how=how),))


def test_structures_of_which_too_few_are_known_are_named():
    few = [Errors("cavity", "found", 1.0, 0.1, 0.0, ((1.0,),) * count) for count in (5, 2)]
    kept = replace(
        calibration(12), errors=tuple(one for one in calibration(12).errors if one.structure != "cavity")
    )
    some, none = (
        about_intervals((untrained_model(trust=Trust(calibration=replace(kept, errors=(*kept.errors, one)))),))
        for one in few
    )
    assert some.startswith(kept.words)
    assert "intervals of cavity assume a distribution" in some
    assert "4 more" in some
    assert "No intervals of cavity" in none
    assert "7 more" in none


def test_a_validation_says_that_it_also_chose_the_epoch_and_folds_do_not():
    assert "by whom some of the model was chosen" in about_intervals((model(12, how=How.VALIDATION),))
    words = about_intervals((model(12),))
    assert "12 patients (2026-03-01)" in words
    assert "91 %" in words
    assert "chose" not in words


def test_another_level_needs_other_patients():
    rows = tuple(measured())
    assert cavity(add_intervals((model(4),), rows, level=0.8))[1].interval_level == 0.8
    few = cavity(add_intervals((model(18, how=How.VALIDATION),), rows, level=0.95))
    assert few[1].interval_level is None


def test_of_several_models_the_widest_counts_and_all_must_know():
    rows = tuple(measured())
    narrow, wide, unknown = model(), model(size=2.0), untrained_model()
    found = cavity(add_intervals((narrow, wide), rows))[1]
    assert (found.area_low_mm2, found.area_high_mm2) == pytest.approx((300, 500))
    assert add_intervals((narrow, unknown), rows) == rows
    assert patient_intervals((narrow, unknown), rows) == ()
    assert "One of the models" not in about_intervals((narrow, wide))
    assert "one of the models" in about_intervals((narrow, unknown))
    # One assumes a distribution: so does what they say together.
    assert cavity(add_intervals((narrow, model(5)), rows))[1].interval_basis == "assumes a distribution"


def test_pixels_of_unknown_size_have_an_interval_in_pixels_and_only_from_errors_in_pixels():
    rows = tuple(measured(spacing=None))
    found = cavity(add_intervals((model(unit=PIXELS),), rows))[1]
    assert (found.pixel_count_low, found.pixel_count_high) == pytest.approx((80, 120))
    assert found.area_low_mm2 is None
    assert cavity(add_intervals((model(unit=MM2),), rows))[1].interval_level is None
    # Where the size of a pixel is known errors in pixels are enlarged like the area.
    found = cavity(add_intervals((model(unit=PIXELS),), tuple(measured())))[1]
    assert (found.area_low_mm2, found.area_high_mm2) == pytest.approx((320, 480))


def test_a_structure_that_nobody_drew_has_none():
    rows = add_intervals((model(names=("cavity",)),), tuple(measured()))
    assert {row.name for row in rows if row.interval_level is not None} == {"cavity"}


def test_an_expected_dice_widens_the_interval_where_it_told():
    doubted = Errors("cavity", "found", 0.0, 0.0, 1.0, ((-1.0, 1.0),) * 9)
    wise = model(more=(doubted,))
    rows = tuple(measured())
    sure, unsure = (tuple(replace(row, expected_dice=dice) for row in rows) for dice in (0.95, 0.6))
    high = [cavity(add_intervals((wise,), each))[1].area_high_mm2 for each in (sure, unsure, rows)]
    # Without an expected Dice the errors without a doubt count.
    assert high == pytest.approx([420, 560, 450])


def test_mean_and_volume_have_theirs_also_where_slices_are_flagged():
    rows = tuple(replace(row, flags="fragmented") for row in measured())
    rows = add_intervals((model(),), rows)
    (one,) = patient_intervals((model(),), rows)
    assert (one.subject_id, one.image) in image_groups(rows)
    assert (one.label, one.name, one.unit, one.level, one.basis) == (1, "cavity", MM2, 0.9, "by patient")
    # The mean of 400 and 200 mm², a tenth of it; 3,000 mm³ and a fifth; nothing is known of the largest.
    assert (one.mean_low, one.mean_high) == pytest.approx((270, 330))
    assert (one.volume_low_mm3, one.volume_high_mm3) == pytest.approx((2400, 3600))
    assert one.max_low is None is one.max_high


def test_what_is_cut_off_has_no_interval_and_no_part_in_that_of_the_mean():
    rows = [replace(row, touches_edge=row.pixel_count == 50) for row in measured()]
    rows = add_intervals((model(),), tuple(rows))
    assert [row.interval is None for row in cavity(rows)] == [False, False, True, False, False]
    (one,) = patient_intervals((model(),), rows)
    assert (one.mean_low, one.mean_high) == pytest.approx((360, 440))
    assert one.volume_low_mm3 is None
    # On the first slice: the areas are whole, the volume may go on.
    at_end = add_intervals((model(),), tuple(measured((100, 50, 0))))
    (one,) = patient_intervals((model(),), at_end)
    assert (one.mean_low, one.volume_low_mm3) == (pytest.approx(270), None)


def test_single_slices_of_a_patient_have_a_mean_together():
    rows = measured(single=True)
    cases = [tuple(row for row in rows if row.case_id == case) for case in dict.fromkeys(r.case_id for r in rows)]
    (one,) = patient_intervals((model(),), [row for case in cases for row in add_intervals((model(),), case)])
    assert (one.mean_low, one.mean_high) == pytest.approx((270, 330))


def test_images_without_intervals_have_none_of_their_means():
    assert patient_intervals((model(),), measured()) == ()


@pytest.fixture
def nothing_cut_off(monkeypatch):
    """An untrained model draws everywhere, up to all edges."""
    monkeypatch.setattr(Measurement, "is_cut_off", False)


@pytest.mark.usefixtures("nothing_cut_off")
def test_a_run_carries_them_and_says_what_they_rest_on(tmp_path):
    run = segment_folder(model(), add_stacks(tmp_path / "in"), output=tmp_path)
    found = [row for row in run.measurements if row.pixel_count]
    assert found
    assert all(row.area_low_mm2 <= row.area_mm2 <= row.area_high_mm2 for row in found)
    known = {(one.subject_id, one.image) for one in run.patient_intervals}
    assert known == set(image_groups(run.measurements))
    assert run.about_intervals == model().trust.calibration.words


# --- in a model's file


def test_a_calibration_is_kept_in_the_models_file(tmp_path):
    kept = model(more=(Errors("cavity", "max", 1.0, 0.5, 0.25, ((1.0, -2.0), (0.5,))),))
    path = save_model(kept, tmp_path / "heart.pt")
    assert load_model(path).trust.calibration == kept.trust.calibration
    plain = json.loads(json.dumps(trust_to_dict(kept.trust)))
    assert trust_from_dict(plain) == kept.trust


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values["errors"][0].update(base=math.nan),
        lambda values: values["errors"][0].update(share=-1.0),
        lambda values: values["errors"][0].update(scores=[[1.0], []]),
        lambda values: values["errors"][0].update(scores=[["1"]]),
        lambda values: values["errors"][0].update(quantity="colour"),
        lambda values: values["errors"][0].pop("scores"),
        lambda values: values["errors"].append(3),
        lambda values: values.update(coverage=[0.9]),
        lambda values: values.update(how="guessed"),
        lambda values: values.update(level=2.0),
        lambda values: values.update(who="Smith"),
    ],
)
def test_what_cannot_be_a_calibration_is_told_in_words(change):
    values = json.loads(json.dumps(trust_to_dict(Trust(calibration=calibration()))))
    change(values["calibration"])
    with pytest.raises(ValueError, match=r"calibration|errors"):
        trust_from_dict(values)


@pytest.mark.usefixtures("nothing_cut_off")
def test_areas_of_a_typed_cleaning_have_no_interval_of_the_models_own(tmp_path):
    add_stacks(tmp_path / "in")
    post = StructurePostprocess(erosions=1)
    runs = {}
    for own in (StructurePostprocess(), post):
        kept = replace(model(), postprocess=the_same_for_all(own, STRUCTURES))
        runs[own.erosions] = segment_folder(kept, tmp_path / "in", output=tmp_path / "out", postprocess=post)
    other, same = runs[0], runs[1]
    assert {row.interval_level for row in other.measurements} == {None}
    assert not other.patient_intervals
    assert "another one was chosen" in other.about_intervals
    assert any(row.interval_level == 0.9 for row in same.measurements)
