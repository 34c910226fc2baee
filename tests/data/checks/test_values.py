"""Values: without a name, smeared by smoothing or JPEG, rare; the repair that is proposed for each."""

import cv2
import numpy as np
import pytest
from patients import STRUCTURES, cohort, of_kind, patient, renamed, with_labels

from autoseg.data.checks import check_images
from autoseg.data.checks.facts import find_rims
from autoseg.data.repairs import apply_repairs
from autoseg.image.structures import Structure

GREY = (Structure(29, "kidney left"), Structure(150, "kidney right"), Structure(76, "spine"))
TO_GREY = renamed(a1=29, a2=150, a3=76)


def the_finding(labelled, kind, structures=STRUCTURES, others=()):
    (finding,) = of_kind(check_images([labelled, *others], structures), kind)
    return finding


def test_another_numbering_is_told_by_what_looks_alike_in_several_others_not_by_its_order():
    labelled, *others = cohort(5)
    faulty = with_labels(labelled, renamed(a1=255, a2=85, a3=170))
    assert the_finding(faulty, "values").repairs == ()
    assert the_finding(faulty, "values", others=others[:2]).repairs == ()
    finding = the_finding(faulty, "values", others=others)
    assert finding.severity == "error"
    assert finding.slice_index == 0
    np.testing.assert_array_equal(apply_repairs(faulty.voxels, finding.repairs), labelled.voxels)


def test_one_unknown_value_takes_the_one_name_that_is_absent():
    labelled, *others = cohort(5)
    faulty = with_labels(labelled, renamed(a3=255))
    finding = the_finding(faulty, "values", others=others)
    np.testing.assert_array_equal(apply_repairs(faulty.voxels, finding.repairs), labelled.voxels)


def test_a_surplus_value_goes_to_the_background():
    def stray(labels):
        labels[0, :4, :4] = 77
        return labels

    labelled = patient(1)
    finding = the_finding(with_labels(labelled, stray), "values")
    np.testing.assert_array_equal(apply_repairs(stray(labelled.voxels.copy()), finding.repairs), labelled.voxels)


def test_of_a_surplus_structure_nobody_knows_what_it_is():
    def other(labels):
        labels[0, 5:40, 5:15][labels[0, 5:40, 5:15] == 0] = 77
        return labels

    labelled, *others = cohort(5)
    assert the_finding(with_labels(labelled, other), "values", others=others).repairs == ()


# --- inside out

ONE = (Structure(1, "kidneys"),)


def kidneys(count=6, **arguments):
    return [with_labels(one, lambda labels: (labels > 0).astype(np.uint8)) for one in cohort(count, **arguments)]


def inside_out(labelled):
    return with_labels(labelled, lambda labels: 1 - labels)


@pytest.mark.parametrize("slices", [1, 5])
def test_a_mask_inside_out_is_found_and_mended_on_the_word_of_the_others(slices):
    patients = kidneys(slices=slices)
    findings = check_images([inside_out(patients[0]), *patients[1:]], ONE)
    (finding,) = of_kind(findings, "inverted")
    assert (finding.severity, finding.case_id, finding.label) == ("warning", "case1", 1)
    np.testing.assert_array_equal(apply_repairs(1 - patients[0].voxels, finding.repairs), patients[0].voxels)
    assert of_kind(check_images(patients, ONE), "inverted") == []


def test_one_mask_inside_out_by_itself_is_only_asked_about():
    finding = the_finding(inside_out(kidneys(1)[0]), "inverted", ONE)
    assert finding.repairs == ()
    assert "0 for the background" in finding.remedy


def test_all_masks_inside_out_are_one_finding_with_a_repair_for_each():
    patients = kidneys()
    (finding,) = of_kind(check_images([inside_out(one) for one in patients], ONE), "inverted")
    assert len(finding.cases) == len(finding.repairs) == 6
    assert "On 6 cases kidneys lies all round" in finding.problem


def test_a_structure_that_fills_a_tight_crop_is_not_inside_out():
    full = with_labels(kidneys(1)[0], np.ones_like)
    assert of_kind(check_images([full], ONE), "inverted") == []


def test_a_jpeg_s_values_are_recognised_and_the_nearest_names_proposed():
    labelled = with_labels(patient(1), TO_GREY)
    file = cv2.imencode(".jpg", labelled.voxels[0], [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    faulty = with_labels(labelled, lambda labels: cv2.imdecode(file, cv2.IMREAD_GRAYSCALE)[None])
    finding = the_finding(faulty, "rims", GREY)
    assert "JPEG" in finding.cause
    mended = apply_repairs(faulty.voxels, finding.repairs)
    assert set(np.unique(mended)) <= {0, 29, 76, 150}
    assert (mended != labelled.voxels).mean() < 0.01


def smooth(labels):
    small = cv2.resize(labels[0].astype(np.float32), None, fx=0.7, fy=0.7, interpolation=cv2.INTER_LINEAR)
    return np.rint(cv2.resize(small, labels.shape[:0:-1], interpolation=cv2.INTER_LINEAR))[None].astype(np.uint8)


def test_smoothing_makes_rims_without_a_name():
    finding = the_finding(
        with_labels(patient(1), lambda labels: smooth(renamed(a1=85, a2=170, a3=255)(labels))), "rims"
    )
    assert "smoothed" in finding.cause


def test_smoothing_makes_rims_that_have_a_name():
    findings = of_kind(check_images([with_labels(patient(1), smooth)], STRUCTURES), "rims")
    assert {finding.severity for finding in findings} == {"warning"}
    assert any("kidney left" in finding.problem for finding in findings)
    assert of_kind(check_images([patient(1)], STRUCTURES), "rims") == []


def test_a_thin_structure_between_two_others_is_no_rim_where_these_touch_as_well():
    labels = np.zeros((1, 30, 30), dtype=np.int32)
    labels[0, 5:25, 5:25] = 3
    labels[0, 5:7, 5:12] = 2
    assert find_rims(labels, (1, 2, 3), np.array([0]))[2].between < 0.5


def test_a_rare_structure_can_be_cleared():
    def stray(labels):
        labels[0, 2, 2:5] = 4
        return labels

    patients = cohort(8)
    patients[2] = with_labels(patients[2], stray)
    (finding,) = of_kind(check_images(patients, (*STRUCTURES, Structure(4, "liver"))), "rare")
    assert (finding.severity, finding.case_id) == ("warning", "case3")
    assert "3 pixels in 8 cases" in finding.problem
    assert not (apply_repairs(patients[2].voxels, finding.repairs) == 4).any()


def test_values_beyond_a_byte_and_below_zero_are_listed():
    faulty = with_labels(patient(1), lambda labels: np.where(labels == 3, 65535, labels.astype(np.int32) * -1))
    finding = the_finding(faulty, "values")
    assert "-2" in finding.problem
    assert "65535" in finding.problem
