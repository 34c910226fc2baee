"""Sides, names, places, sizes and gaps of structures, against the patient's axes and the other cases."""

from dataclasses import replace

import numpy as np
import pytest
from patients import STRUCTURES, cohort, of_kind, patient, renamed, with_labels

from autoseg.data.checks import check_images
from autoseg.data.repairs import apply_repairs, leave_out_slices, relabel
from autoseg.image.structures import Structure


def check(faulty, others, structures=STRUCTURES):
    return check_images([faulty, *others], structures)


# --- sides


@pytest.mark.parametrize("slices", [1, 6])
@pytest.mark.parametrize("calibrated", [True, False])
def test_left_and_right_exchanged(slices, calibrated):
    patients = cohort(6, slices=slices, calibrated=calibrated)
    faulty = with_labels(patients[0], renamed(a1=2, a2=1))
    (finding,) = of_kind(check(faulty, patients[1:]), "sides")
    assert (finding.severity, finding.case_id) == ("error", "case1")
    assert ("the patient's axes" in finding.problem) == calibrated
    assert finding.repairs == (relabel("case1", {1: 2, 2: 1}),)
    np.testing.assert_array_equal(apply_repairs(faulty.voxels, finding.repairs), patients[0].voxels)
    assert of_kind(check(faulty, patients[1:]), "permuted") == []


def test_one_case_alone_is_enough_where_the_patient_s_axes_are_known():
    faulty = with_labels(patient(1, slices=4), renamed(a1=2, a2=1))
    assert [f.case_id for f in of_kind(check(faulty, []), "sides")] == ["case1"]
    assert of_kind(check(patient(1, slices=4), []), "sides") == []


def test_sides_are_told_in_the_patient_not_on_the_screen():
    def turned(labelled):
        """Store the same patient with columns running to the right."""
        affine = labelled.image.affine.copy()
        affine[:3, 3] += affine[:3, 2] * (labelled.voxels.shape[2] - 1)
        affine[:3, 2] *= -1
        image = replace(labelled.image, voxels=labelled.image.voxels[..., ::-1], affine=affine)
        return replace(labelled, image=image, voxels=labelled.voxels[..., ::-1])

    patients = cohort(6)
    assert of_kind(check(turned(patients[0]), patients[1:]), "sides") == []
    swapped = with_labels(turned(patients[0]), renamed(a1=2, a2=1))
    assert len(of_kind(check(swapped, patients[1:]), "sides")) == 1


def test_a_repair_is_proposed_only_on_the_word_of_several_cases():
    for count, repairs in ((3, 0), (4, 1)):
        patients = cohort(count, slices=4)
        faulty = with_labels(patients[0], renamed(a1=2, a2=1))
        (finding,) = of_kind(check(faulty, patients[1:]), "sides")
        assert len(finding.repairs) == repairs
        assert ("keep the proposed repair" in finding.remedy) == bool(repairs)


def test_sides_on_some_slices_only_are_named_and_left_to_the_user():
    def swap(labels):
        labels[2:4] = renamed(a1=2, a2=1)(labels[2:4])
        return labels

    patients = cohort(5, slices=6)
    (finding,) = of_kind(check(with_labels(patients[0], swap), patients[1:]), "sides")
    assert "on slices 3, 4" in finding.problem
    assert finding.repairs == ()


def test_all_swapped_is_one_finding_about_the_table():
    patients = [with_labels(one, renamed(a1=2, a2=1)) for one in cohort(6)]
    (finding,) = of_kind(check_images(patients, STRUCTURES), "sides")
    assert len(finding.cases) == len(finding.repairs) == 6
    assert "structures.csv" in finding.remedy


# --- names


def test_numbers_exchanged():
    patients = cohort(8)
    faulty = with_labels(patients[0], renamed(a1=3, a3=1))
    names = tuple(Structure(label, name) for label, name in ((1, "kidney A"), (2, "kidney B"), (3, "spine")))
    (finding,) = of_kind(check(faulty, patients[1:], names), "permuted")
    assert (finding.severity, finding.case_id) == ("warning", "case1")
    assert "kidney A (1) looks like spine (3)" in finding.problem
    np.testing.assert_array_equal(apply_repairs(faulty.voxels, finding.repairs), patients[0].voxels)


def test_of_few_cases_nobody_knows_what_is_usual():
    patients = cohort(3)
    findings = check(with_labels(patients[0], renamed(a1=3, a3=1)), patients[1:])
    assert of_kind(findings, "permuted") == []


# --- places and sizes


def test_a_structure_much_larger_than_elsewhere():
    def grow(labels):
        labels[0, 40:70, 20:66] = 3
        return labels

    patients = cohort(8)
    (finding,) = of_kind(check(with_labels(patients[0], grow), patients[1:]), "area")
    assert (finding.severity, finding.case_id) == ("warning", "case1")
    assert "spine is" in finding.problem
    assert "times as large" in finding.problem


def test_a_structure_elsewhere():
    def move(labels):
        labels[labels == 3] = 0
        labels[0, 2:12, 36:52] = 3
        return labels

    patients = cohort(8)
    findings = of_kind(check(with_labels(patients[0], move), patients[1:]), "position")
    assert {finding.case_id for finding in findings} == {"case1"}
    assert any("spine lies" in finding.problem for finding in findings)


def test_what_usually_touches_and_lies_apart():
    def shell(labels):
        """Draw a rind around the spine."""
        grown = np.pad(labels[0], 3)
        near = np.any([np.roll(grown, (i, j), (0, 1)) == 3 for i in (-3, 0, 3) for j in (-3, 0, 3)], axis=0)[
            3:-3, 3:-3
        ]
        labels[0][near & (labels[0] == 0)] = 4
        return labels

    def beside(labels):
        rind = labels == 4
        labels[rind] = 0
        labels[np.roll(rind, (0, 16), (1, 2)) & (labels == 0)] = 4
        return labels

    patients = [with_labels(one, shell) for one in cohort(8)]
    names = (*STRUCTURES, Structure(4, "rind"))
    findings = check(with_labels(patients[0], beside), patients[1:], names)
    finding = of_kind(findings, "apart")[0]
    assert (finding.severity, finding.cases) == ("warning", ("case1",))
    assert "spine and rind" in finding.problem
    assert "annotated.csv" in finding.remedy
    assert of_kind(check_images(patients, names), "apart") == []


# --- gaps


def without_kidney(*indices):
    def remove(labels):
        for index in indices:
            labels[index][labels[index] == 1] = 0
        return labels

    return remove


def test_missing_in_the_middle_of_a_volume():
    patients = cohort(5, slices=7)
    (finding,) = of_kind(check(with_labels(patients[0], without_kidney(3, 4)), patients[1:]), "gap")
    assert (finding.severity, finding.case_id, finding.slice_index) == ("warning", "case1", 3)
    assert "kidney left is missing in the middle of case1: on slice 4, slice 5" in finding.problem
    assert finding.repairs == (leave_out_slices("case1", [3, 4], of=7),)


def test_it_grows_small_before_its_ends_and_may_be_missing_there():
    def ends(labels):
        for index in (1, 5):
            rows, columns = np.nonzero(labels[index] == 1)
            labels[index][rows[len(rows) // 2 :], columns[len(rows) // 2 :]] = 0
        return without_kidney(0, 6)(labels)

    patients = cohort(5, slices=7)
    assert of_kind(check(with_labels(patients[0], ends), patients[1:]), "gap") == []


def test_cut_off_at_its_usual_size_where_all_others_have_it_up_to_the_ends():
    patients = cohort(5, slices=7)

    def cut(labels):
        labels = without_kidney(0, 1, 6)(labels)
        labels[6, 0, 0] = 1  # a slip is no drawing
        return labels

    (finding,) = of_kind(check(with_labels(patients[0], cut), patients[1:]), "gap")
    assert (finding.severity, finding.case_id, finding.slice_index, finding.beside) == (
        "warning",
        "case1",
        0,
        ("case1", 2),
    )
    assert (
        "kidney left is cut off on case1: it is not drawn on slice 1, slice 2, slice 7, though" in finding.problem
    )
    assert "both ends of the stack in 4 of 4 others" in finding.problem


def test_where_it_ends_in_others_too_it_may_end_anywhere():
    patients = cohort(5, slices=7)
    shorter = [with_labels(one, without_kidney(6)) for one in patients[1:]]
    assert of_kind(check(with_labels(patients[0], without_kidney(0, 1, 6)), shorter), "gap") == []


def test_missing_on_a_single_slice_among_a_subject_s_others_whatever_their_order():
    own = [patient(number, subject="Anna", place=number) for number in (3, 1, 2)]
    own[2] = with_labels(own[2], without_kidney(0))
    (finding,) = of_kind(check_images([*own, *cohort(4)[3:], patient(9)], STRUCTURES), "gap")
    assert (finding.cases, finding.repairs) == (("case2",), ())
    assert "middle of Anna: on" in finding.problem


def test_of_two_phases_at_one_place_one_is_enough():
    own = [patient(number, subject="Anna", place=place) for number, place in ((1, 0), (2, 1), (3, 1), (4, 2))]
    own[1] = with_labels(own[1], without_kidney(0))
    assert of_kind(check_images(own, STRUCTURES), "gap") == []


def test_what_comes_and_goes_everywhere_is_a_note():
    patients = [with_labels(one, without_kidney(1, 3, 5)) for one in cohort(5, slices=7)]
    findings = of_kind(check_images(patients, STRUCTURES), "gap")
    assert [finding.severity for finding in findings] == ["note"] * 5


def test_the_neighbour_is_shown_beside_the_gap():
    patients = cohort(5, slices=7)
    (finding,) = of_kind(check(with_labels(patients[0], without_kidney(3, 4)), patients[1:]), "gap")
    assert (finding.label, finding.beside) == (1, ("case1", 2))


def test_pictures_without_positions_follow_each_other_by_their_names():
    own = [patient(number, subject="Anna", calibrated=False) for number in (9, 10, 11)]
    own[1] = with_labels(own[1], without_kidney(0))
    (finding,) = of_kind(check_images([own[2], own[0], own[1]], STRUCTURES), "gap")
    assert (finding.severity, finding.cases) == ("warning", ("case10",))
    assert finding.beside[0] in ("case9", "case11")


def test_forgotten_in_several_patients_is_asked_of_each():
    patients = [with_labels(one, without_kidney(3)) for one in cohort(5, slices=7)]
    findings = of_kind(check_images(patients, STRUCTURES), "gap")
    assert [finding.severity for finding in findings] == ["warning"] * 5


def test_every_third_slice_drawn_is_said_once_a_volume():
    def thin(labels):
        labels[[0, 1, 3, 4, 6, 7]] = 0
        return labels

    patients = cohort(4, slices=9)
    (finding,) = of_kind(check(with_labels(patients[0], thin), patients[1:]), "gap")
    assert (finding.severity, finding.case_id, finding.slice_index) == ("warning", "case1", 3)
    assert "only one slice in 3 has drawings (3 slices from 3 to 9)" in finding.problem
    assert finding.repairs == (leave_out_slices("case1", [0, 1, 3, 4, 6, 7], of=9),)


def test_what_was_not_drawn_is_no_gap():
    labelled = with_labels(patient(1, slices=7), without_kidney(3))
    undrawn = replace(labelled, case=replace(labelled.case, annotated=frozenset({2, 3})))
    findings = check_images([undrawn, *cohort(5, slices=7)[1:]], STRUCTURES)
    assert of_kind(findings, "gap") == []
