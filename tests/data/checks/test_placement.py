"""Labels beside their image: each symmetry, shift and order of slices is found, with the repair that undoes it."""

from dataclasses import replace

import numpy as np
import pytest
from patients import STRUCTURES, cohort, patient, with_labels, with_voxels

from autoseg.data.checks import check_images
from autoseg.data.checks.edges import TURNS, fit_edges
from autoseg.data.repairs import apply_repairs, shift_slices, turn_slices

SQUARE = slice(8, 80)


def square(labelled):
    """Cut the patient to 72 × 72 pixels, which has all eight symmetries."""
    cut = with_voxels(labelled, lambda voxels: voxels[..., SQUARE])
    return with_labels(cut, lambda labels: labels[..., SQUARE])


def check(faulty, others):
    findings = check_images([faulty, *others], STRUCTURES)
    return [f for f in findings if f.kind in ("turned", "shifted", "unrelated", "blank", "order")]


def test_clean_patients_have_no_finding():
    for slices in (1, 6):
        assert check_images(cohort(slices=slices), STRUCTURES) == ()


@pytest.mark.parametrize("symmetry", TURNS)
def test_each_turn_is_found_and_undone(symmetry):
    patients = [square(one) for one in cohort(6)]
    faulty = with_labels(patients[0], lambda labels: turn_slices(labels, symmetry))
    (finding,) = check(faulty, patients[1:])
    assert (finding.severity, finding.kind, finding.case_id) == ("warning", "turned", "case1")
    assert finding.repairs[0].words.removeprefix("the labels are ") in finding.problem
    np.testing.assert_array_equal(apply_repairs(faulty.voxels, finding.repairs), patients[0].voxels)


def test_a_shift_is_found_and_undone_to_the_pixel():
    patients = cohort(6)
    faulty = with_labels(patients[0], lambda labels: shift_slices(labels, (5, -4)))
    (finding,) = check(faulty, patients[1:])
    assert (finding.severity, finding.kind) == ("warning", "shifted")
    assert "5 pixels up and 4 pixels to the right" in finding.problem
    np.testing.assert_array_equal(apply_repairs(faulty.voxels, finding.repairs), patients[0].voxels)


def test_a_shift_is_undone_to_where_the_others_are_drawn():
    """Everybody is drawn a pixel too low here: the one that was moved lies as the others do afterwards."""
    patients = [with_labels(one, lambda labels: shift_slices(labels, (1, 0))) for one in cohort(6)]
    faulty = with_labels(patients[0], lambda labels: shift_slices(labels, (5, -4)))
    (finding,) = check(faulty, patients[1:])
    np.testing.assert_array_equal(apply_repairs(faulty.voxels, finding.repairs), patients[0].voxels)


def test_few_other_cases_are_no_word_for_a_repair():
    for count in (3, 4):
        patients = cohort(count)
        faulty = with_labels(patients[0], lambda labels: shift_slices(labels, (5, -4)))
        for finding in check(faulty, patients[1:]):
            assert len(finding.repairs) == (count == 4)


def test_a_tight_crop_of_a_thin_structure_is_left_where_it_is():
    """A cord in brighter fluid, cut to a few pixels around: the fluid's outer edge is the steeper one."""
    rows, columns = np.mgrid[:26, :26]
    cases = []
    for number in range(1, 7):
        rng = np.random.default_rng(number)
        apart = np.hypot(rows - 13 - rng.uniform(-1, 1), columns - 13 - rng.uniform(-1, 1))
        voxels = rng.normal(0, 6, (5, 26, 26)) + 60.0 * (apart < 8) - 25.0 * (apart < 4)
        labels = np.repeat((apart < 4)[None], 5, axis=0).astype(np.uint8)
        one = patient(number)
        image = replace(one.image, voxels=voxels.astype(np.float32))
        cases.append(replace(one, image=image, voxels=labels))
    assert [f.kind for f in check_images(cases, STRUCTURES[:1]) if f.kind in ("shifted", "turned")] == []


def test_no_place_is_proposed_at_which_labels_would_leave_the_image():
    labelled = with_labels(patient(1), lambda labels: shift_slices(labels, (0, 11)))
    there = np.flatnonzero(labelled.voxels[0].any(axis=0))
    fit = fit_edges(labelled.image.voxels, labelled.voxels, drawn=[0])
    reach = fit.moved.shape[-1] // 2
    inside = np.isfinite(fit.moved).any(axis=(0, 1))
    assert [step for step in range(-reach, reach + 1) if inside[step + reach]] == [
        step for step in range(-reach, reach + 1) if there[0] + step >= 0 and there[-1] + step < 88
    ]


def test_what_lies_closer_than_a_drawing_is_exact_is_no_finding():
    patients = cohort(6)
    assert check(with_labels(patients[0], lambda labels: shift_slices(labels, (1, -2))), patients[1:]) == []


def test_slices_of_one_subject_are_judged_together():
    own = [patient(number, subject="Anna", place=number) for number in (1, 2, 3, 4)]
    moved = [with_labels(one, lambda labels: shift_slices(labels, (0, 6))) for one in own]
    (finding,) = check(moved[0], [*moved[1:], *[patient(number) for number in range(5, 12)]])
    assert finding.cases == ("case1", "case2", "case3", "case4")
    assert "all 4 slices of Anna" in finding.problem
    assert [repair.case_id for repair in finding.repairs] == list(finding.cases)


def test_the_order_of_slices():
    # Along the body the patient moves to one side, as a spine does.
    def lean(array):
        return np.stack([np.roll(one, 2 * index, axis=1) for index, one in enumerate(array)])

    leaning = [with_labels(with_voxels(one, lean), lean) for one in cohort(5, slices=8)]
    (finding,) = check(with_labels(leaning[0], lambda labels: labels[::-1]), leaning[1:])
    assert (finding.severity, finding.kind) == ("warning", "order")
    assert "opposite order" in finding.problem


def test_labels_of_something_else():
    def elsewhere(labels):
        labels[:] = 0
        labels[0, 20:60:9, 10:70] = 1
        return labels

    patients = cohort(6)
    (finding,) = check(with_labels(patients[0], elsewhere), patients[1:])
    assert (finding.severity, finding.kind) == ("warning", "unrelated")
    assert "belongs to this image" in finding.remedy


@pytest.mark.parametrize("slices", [1, 6])
def test_labels_where_nothing_is_to_be_seen(slices):
    def blank(voxels):
        voxels[slices // 2] = voxels.min()
        return voxels

    patients = cohort(6, slices=slices)
    (finding,) = check(with_voxels(patients[0], blank), patients[1:])
    assert (finding.severity, finding.kind, finding.slice_index) == ("warning", "blank", slices // 2)
    assert ("slice 4 of case1" in finding.problem) == (slices == 6)


def test_the_score_asks_neither_for_bright_nor_for_dark():
    labelled = patient(1)
    fit = fit_edges(labelled.image.voxels, labelled.voxels, drawn=[0])
    inverse = fit_edges(-labelled.image.voxels, labelled.voxels, drawn=[0])
    assert inverse.as_it_is == pytest.approx(fit.as_it_is, rel=0.02)
    assert fit.as_it_is > 3
    assert max(map(abs, fit.best_shift[0])) <= 1


def test_large_images_are_made_smaller_and_shifts_are_told_in_their_own_pixels():
    labelled = patient(1)
    large = [array.repeat(8, axis=1).repeat(8, axis=2) for array in (labelled.image.voxels, labelled.voxels)]
    fit = fit_edges(large[0], shift_slices(large[1], (0, 32)), drawn=[0])
    assert fit.step == 2
    np.testing.assert_allclose(fit.best_shift[0], (0, -32), atol=4)


def test_without_labels_there_is_no_score():
    assert fit_edges(np.zeros((1, 9, 9)), np.zeros((1, 9, 9), np.uint8), drawn=[]) is None
