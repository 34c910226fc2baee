"""Images: on another grid than their labels, broken, of another range, twice, one person under two names."""

from dataclasses import replace

import numpy as np
import pytest
from patients import STRUCTURES, cohort, of_kind, patient, with_labels, with_voxels

from autoseg.data.checks import check_images
from autoseg.data.checks.facts import usual
from autoseg.data.repairs import apply_repairs
from autoseg.image.image import Source


def findings_of(kind, labelled):
    return of_kind(check_images(labelled, STRUCTURES), kind)


@pytest.mark.parametrize("change", [lambda a: a[:, :-1], lambda a: a[:, ::2, ::2]])
def test_another_shape(change):
    (finding,) = findings_of("shape", [with_labels(patient(1), change), patient(2)])
    assert (finding.severity, finding.case_id, finding.repairs) == ("error", "case1", ())
    assert "own grid" in finding.remedy


@pytest.mark.parametrize("change", [lambda a: a.swapaxes(1, 2), lambda a: np.rot90(a, 1, (1, 2))])
def test_rows_and_columns_exchanged_are_recognised_and_the_repair_fits(change):
    labelled = patient(1, slices=3)
    faulty = with_labels(labelled, change)
    (finding,) = findings_of("shape", [faulty, patient(2)])
    np.testing.assert_array_equal(apply_repairs(faulty.voxels, finding.repairs), labelled.voxels)


def test_a_label_file_with_another_geometry():
    labelled = patient(1, slices=3)
    own = labelled.image.affine
    moved = own.copy()
    moved[0, 3] += 12
    for affine, words in (
        (own * [1, 1, 1.5, 1], "5 × 1.5 × 2.25 mm"),
        (own * [1, -1, 1, 1], "axes that point elsewhere"),
        (moved, "12 mm away"),
    ):
        (finding,) = findings_of("grid", [replace(labelled, label_affine=affine)])
        assert finding.severity == "warning"
        assert words in finding.problem
    assert findings_of("grid", [replace(labelled, label_affine=own)]) == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_number(value):
    def spoil(voxels):
        voxels[0, 30, 30:33] = value
        return voxels

    (finding,) = findings_of("broken", [with_voxels(patient(1), spoil), patient(2)])
    assert finding.severity == "error"
    assert "3 pixels" in finding.problem


def test_another_range_of_intensities():
    patients = cohort(6)
    patients[3] = with_voxels(patients[3], lambda voxels: voxels * 1000)
    (finding,) = findings_of("range", patients)
    assert (finding.severity, finding.case_id) == ("warning", "case4")


def test_a_mixture_of_ranges_is_a_note():
    patients = [with_voxels(one, lambda voxels, n=n: voxels * 40 ** (n % 2)) for n, one in enumerate(cohort(9))]
    assert [finding.severity for finding in findings_of("range", patients)] == ["note"]


def test_the_same_image_under_two_subjects():
    copied = replace(patient(1), case=replace(patient(2).case, case_id="copy", subject_id="somebody"))
    (finding,) = findings_of("twins", [*cohort(4), copied])
    assert (finding.severity, set(finding.cases)) == ("error", {"case1", "copy"})
    assert "identical pixels, and are of somebody, subject1" in finding.problem


def alike(number, subject, factor):
    """Give patient 1 again, saved in another way under another name."""
    rng = np.random.default_rng(number)

    def change(voxels):
        return np.rint(voxels * factor + rng.normal(0, 1, voxels.shape) + 40)

    like = with_voxels(patient(1), change)
    return replace(like, case=replace(patient(2).case, case_id=f"copy{number}", subject_id=subject))


def test_images_that_look_alike_are_asked_about_and_no_error():
    (finding,) = findings_of("twins", [*cohort(4), alike(1, "somebody", 0.7)])
    assert (finding.severity, set(finding.cases)) == ("warning", {"case1", "copy1"})
    assert "2 images of 2 patients look alike" in finding.problem
    assert "subjects.csv" in finding.remedy


def test_many_that_look_alike_are_one_finding_with_its_group():
    copies = [alike(number, f"other{number}", 0.7 + number / 20) for number in range(1, 6)]
    (finding,) = findings_of("twins", [*cohort(4), *copies])
    assert set(finding.cases) == {"case1", *(f"copy{number}" for number in range(1, 6))}
    assert "6 images of 6 patients" in finding.problem


def test_two_groups_are_two_findings():
    second = with_voxels(patient(2), lambda voxels: np.rint(voxels * 0.6))
    second = replace(second, case=replace(patient(2).case, case_id="second", subject_id="another"))
    findings = findings_of("twins", [*cohort(4), alike(1, "somebody", 0.7), second])
    assert {frozenset(finding.cases) for finding in findings} == {
        frozenset({"case1", "copy1"}),
        frozenset({"case2", "second"}),
    }


def test_one_slice_of_many_that_looks_alike_is_a_note():
    one, two = patient(1, slices=6), patient(2, slices=6)

    def top(voxels):
        voxels[5] = np.rint(one.image.voxels[5] * 0.7 + 40)
        return voxels

    (finding,) = findings_of("twins", [one, with_voxels(two, top), patient(3, slices=6)])
    assert (finding.severity, set(finding.cases)) == ("note", {"case1", "case2"})
    assert "top of a head" in finding.cause


def test_a_slice_with_the_same_pixels_is_an_error():
    one, two = patient(1, slices=4), patient(2, slices=4)

    def share(voxels):
        voxels[0] = one.image.voxels[2]
        return voxels

    (finding,) = findings_of("twins", [one, with_voxels(two, share), patient(3, slices=4)])
    assert (finding.severity, set(finding.cases)) == ("error", {"case1", "case2"})
    assert "share slices with identical pixels" in finding.problem


def test_an_image_that_shows_nothing():
    patients = cohort(4)
    patients[1] = with_voxels(patients[1], lambda voxels: voxels * 0 + 7)
    (finding,) = findings_of("constant", patients)
    assert (finding.severity, finding.case_id) == ("warning", "case2")
    assert findings_of("range", patients) == []
    assert findings_of("constant", cohort(4)) == []


@pytest.mark.parametrize(("count", "severity"), [(4, "warning"), (1, "note")])
def test_channels_that_are_the_same(count, severity):
    def with_channels(labelled, is_filled):
        one = labelled.image.voxels
        other = one if is_filled else one[..., ::-1]
        image = replace(labelled.image, voxels=np.stack([one, other]), channels=("T1", "FLAIR"))
        return replace(labelled, image=image)

    patients = [with_channels(one, number < count) for number, one in enumerate(cohort(4))]
    (finding,) = findings_of("channels", patients)
    assert (finding.severity, len(finding.cases)) == (severity, count)
    assert "T1 and FLAIR are the same pixel by pixel" in finding.problem


def test_neighbouring_slices_of_one_subject_are_alike_by_nature():
    own = [replace(patient(1), case=replace(patient(1).case, case_id=f"slice{n}")) for n in range(3)]
    like = [with_voxels(one, lambda voxels, n=n: voxels + n) for n, one in enumerate(own)]
    assert findings_of("twins", [*like, patient(2)]) == []


@pytest.mark.parametrize(
    "names",
    [("sub-07ses1", "sub-07ses2"), ("P-0012", "p12"), ("leg 3 visit 1", "leg 3 visit 2"), ("A_7_pre", "A_7_post")],
)
def test_one_subject_under_two_names(names):
    patients = [*[patient(n, subject=name) for n, name in enumerate(names, start=1)], patient(5), patient(6)]
    (finding,) = findings_of("subjects", patients)
    assert finding.severity == "warning"
    assert finding.cases == ("case1", "case2")
    assert all(name in finding.problem for name in names)


@pytest.mark.parametrize(
    "names", [("SCD0000101", "SCD0000201"), ("hippocampus_001", "hippocampus_007"), ("a1", "a2")]
)
def test_different_numbers_are_different_people(names):
    assert findings_of("subjects", [patient(n, subject=name) for n, name in enumerate(names)]) == []


def test_a_series_under_two_subjects():
    def of_series(labelled):
        source = Source(case_id=labelled.case.case_id, series_uid="1.2.3")
        return replace(labelled, image=replace(labelled.image, source=source))

    (finding,) = findings_of("subjects", [of_series(patient(1)), of_series(patient(2)), patient(3)])
    assert finding.severity == "error"
    assert "share a DICOM study or series" in finding.problem


def test_what_is_usual_stands_firm_against_a_few_odd_ones():
    middle, deviation = usual(np.array([[1.0, np.nan], [1.1, np.nan], [0.9, np.nan], [900.0, np.nan]]), least=0.05)
    assert middle[0] == pytest.approx(1.05)
    assert deviation[0] < 0.3
    assert np.isnan(middle[1])


def test_one_picture_of_many_that_looks_like_another_patients_is_a_note():
    pictures = [patient(10 * one + number, subject=f"subject{one}") for one in (1, 2) for number in range(5)]
    copied = with_voxels(pictures[0], lambda voxels: np.rint(voxels * 0.7 + 40))
    pictures[7] = replace(copied, case=pictures[7].case)
    (finding,) = findings_of("twins", pictures)
    assert (finding.severity, finding.cases) == ("note", ("case10", "case22"))


def test_a_channel_that_shows_nothing_is_a_note():
    def without_second(labelled):
        one = labelled.image.voxels
        image = replace(labelled.image, voxels=np.stack([one, one * 0]), channels=("T1", "FLAIR"))
        return replace(labelled, image=image)

    (finding,) = findings_of("constant", [without_second(one) for one in cohort(3)])
    assert finding.severity == "note"
    assert "case1 (FLAIR)" in finding.problem
