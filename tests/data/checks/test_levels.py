import nibabel
import numpy as np
import pytest

from autoseg.data.cases import Reading, find_cases
from autoseg.data.checks import check_cases


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for k in (1, 2):
        for part, voxels in (
            ("image", rng.integers(0, 900, (12, 12, 4)).astype(np.int16)),
            ("mask-r1", np.ones((12, 12, 4), np.uint8)),
        ):
            nibabel.save(
                nibabel.Nifti1Image(voxels, np.diag([0.5, 0.5, 3, 1])), tmp_path / f"site1-sc0{k}-{part}.nii.gz"
            )
    return tmp_path


def levels(findings):
    return [finding for finding in findings if finding.kind == "levels"]


def test_levels_that_fit_are_no_finding(folder):
    (folder / "site1-sc01-levels.txt").write_text("0, 2\n1, 2/3\n2, 3\n3, -\n")
    assert levels(check_cases(find_cases(folder))) == []


def test_a_right_file_is_no_finding_either_where_only_slices_with_a_level_are_learnt_from(folder):
    (folder / "site1-sc01-levels.txt").write_text("0, -\n1, 2\n2, -\n3, 3\n")
    found = find_cases(folder, reading=Reading(only_levels=True))
    assert [case.slices for case in found.cases] == [(1, 2), (3, 4)]
    assert levels(check_cases(found)) == []


def test_unequal_lengths_are_a_finding(folder):
    (folder / "site1-sc02-levels.txt").write_text("0, 2\n1, 2/3\n2, 3\n")
    (finding,) = levels(check_cases(find_cases(folder)))
    assert finding.case_id == "site1-sc02"
    assert "3 slices" in finding.problem
    assert "has 4" in finding.problem


def test_a_file_that_is_no_level_file(folder):
    (folder / "site1-sc01-levels.txt").write_text("0, 2\nhello\n")
    (finding,) = levels(check_cases(find_cases(folder)))
    assert (finding.severity, finding.case_id) == ("error", "site1-sc01")
    assert "site1-sc01-levels.txt, line 2" in finding.problem
