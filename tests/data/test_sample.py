"""The sample data in the repository: real, complete, small, and labelled as their tables say."""

import csv
import re

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from autoseg.data.cases import find_cases, read_case
from autoseg.data.checks import check_cases
from autoseg.files.labels import read_label_file

SUBJECTS = {"train": {"SCD0000101", "SCD0000201", "SCD0000401", "SCD0000501"}, "test": {"SCD0000301"}}
# Its outer contours lie beside the heart and were left out (README of the sample).
DISPLACED = "SCD0000501"
COUNTS = {"train": 76, "test": 20}
SIDES = pytest.mark.parametrize("side", ["train", "test"])


@SIDES
def test_pairs_subjects_and_names(sample, side):
    found = find_cases(sample / side)
    assert len(found.cases) == COUNTS[side]
    assert {case.subject_id for case in found.cases} == SUBJECTS[side]
    assert found.skipped == ()
    assert [(s.label, s.name) for s in found.structures] == [(1, "cavity"), (2, "myocardium")]
    for case in found.cases:
        assert re.fullmatch(r"SCD0000\d01_\d{3}", case.case_id)
        assert case.case_id.startswith(case.subject_id)
        assert case.image_path.stem == case.label_path.stem == case.case_id


@SIDES
def test_labels_are_named_and_as_annotated_says(sample, side):
    found = find_cases(sample / side)
    for case in found.cases:
        image, label_map = read_case(case, found.structures)
        assert image.shape == label_map.shape == (1, 256, 256)
        assert set(np.unique(label_map.voxels)) - {0} == case.annotated
        assert image.affine is not None


def test_the_myocardium_counts_as_drawn_on_37_of_96(sample):
    cases = [case for side in SUBJECTS for case in find_cases(sample / side).cases]
    assert sum(2 in case.annotated for case in cases) == 37
    assert not any(2 in case.annotated for case in cases if case.subject_id == DISPLACED)
    assert all(1 in case.annotated for case in cases)


@SIDES
def test_nothing_is_found_wrong(sample, side):
    problems = [finding.problem for finding in check_cases(find_cases(sample / side))]
    assert all("of one patient (SCD0000301)" in problem for problem in problems)
    assert len(problems) == (side == "test")


def test_it_is_small(sample):
    assert sum(path.stat().st_size for path in sample.rglob("*") if path.is_file()) <= 14_000_000


def test_it_gives_credit(sample):
    text = (sample / "README.md").read_text(encoding="utf-8")
    for words in ("CC0", "Radau", "Sunnybrook", "10380/3070"):
        assert words in text


@SIDES
def test_every_myocardium_lies_around_its_cavity(sample, side):
    found = find_cases(sample / side)
    for case in found.cases:
        _, label_map = read_case(case, found.structures)
        cavity, myocardium = label_map.mask(1)[0], label_map.mask(2)[0]
        border = binary_dilation(cavity) & ~cavity
        if 2 in case.annotated:
            assert (border & myocardium).sum() >= 0.8 * border.sum(), case.case_id


def test_it_is_the_source_but_for_the_displaced_contours(sample, shared_data):
    source = shared_data / "cardiac-sunnybrook-dicom"
    with (source / "link.csv").open(encoding="utf-8") as file:
        assert {row["patient_id"] for row in csv.DictReader(file)} == set.union(*SUBJECTS.values())
    for path in sample.glob("*/dicoms/*.dcm"):
        subject, number = path.stem.split("_")
        original = source / "dicoms" / subject / f"{int(number)}.dcm"
        assert path.read_bytes() == original.read_bytes()
        labels = read_label_file(path.parents[1] / "labels" / f"{path.stem}.png")
        expected = read_label_file(source / "labels_npy" / subject / f"{int(number)}.npy")
        if subject == DISPLACED:
            expected = np.where(expected == 2, 0, expected)
        np.testing.assert_array_equal(labels, expected)
