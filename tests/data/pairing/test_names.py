import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoseg.data.pairing.names import names_alike, site_of, subjects_by_name


@pytest.mark.parametrize(
    ("places", "subjects"),
    [
        (["sub-9709Ses1/anat/sub-9709Ses1_T2w", "sub-9709Ses2/anat/sub-9709Ses2_T2w"], ["sub-9709", "sub-9709"]),
        (["sub-01/ses-2/sub-01_ses-2_T2w", "sub-02/ses-1/sub-02_ses-1_T2w"], ["sub-01", "sub-02"]),
        (["TCGA_CS_4941_19960909/TCGA_CS_4941_19960909_1", "TCGA_HT_A616_1/TCGA_HT_A616_1_2"],
         ["TCGA_CS_4941", "TCGA_HT_A616"]),
        (["site1-sc01-image", "site1-sc02-image", "site2-sc01-image"], ["site1-sc01", "site1-sc02", "site2-sc01"]),
        (["5_t2_slice1", "5_t2_slice10", "57_t2_slice1"], ["5", "5", "57"]),
        (["anna/t1", "bert/t1"], ["anna", "bert"]),
        (["hippocampus_001", "hippocampus_003"], ["hippocampus_001", "hippocampus_003"]),
        (["1", "2", "10"], ["1", "2", "10"]),
        (["leg_slice1", "leg_slice2"], ["leg", "leg"]),
        (["p1/ses1/s1", "p1/ses2/s1", "p2/ses1/s1"], ["p1", "p1", "p2"]),
        (["t1/p1", "t2/p1", "t1/p2"], ["p1", "p1", "p2"]),
        (["left/p1", "right/p1", "left/p2"], ["p1", "p1", "p2"]),
        (["110_t1_slice5", "110_t2_slice5", "5_t2_slice5"], ["110", "110", "5"]),
        (["sub-01_T1w", "sub-01_T2w", "sub-02_T1w", "phantom"], ["sub-01", "sub-01", "sub-02", "phantom"]),
        (["p1_left", "p1_right", "p2_left"], ["p1", "p1", "p2"]),
        (["p1_baseline", "p1_followup"], ["p1", "p1"]),
        (["P1 (1)", "P1 (2)", "P2 (1)"], ["P1", "P1", "P2"]),
        (["p1-slice-01-of-20", "p1-slice-02-of-20", "p2-slice-01-of-20"], ["p1", "p1", "p2"]),
        (["sub-nurses1_T2", "sub-nurses2_T2"], ["sub-nurses1", "sub-nurses2"]),
    ],
)  # fmt: skip
def test_who_is_the_same_person(places, subjects):
    found, rule = subjects_by_name(places)
    assert list(found.values()) == subjects
    assert rule


@given(st.sets(st.from_regex(r"[a-z]{1,3}[_-]?[0-9]{1,3}", fullmatch=True), min_size=1, max_size=12))
def test_every_place_gets_one_subject_whatever_the_order(places):
    ordered = sorted(places)
    found, _ = subjects_by_name(ordered)
    again, _ = subjects_by_name(ordered[::-1])
    assert found == again
    assert set(found) == places
    assert all(found.values())


def test_the_site():
    assert site_of("site2-sc03-image") == "site2"
    assert site_of("sub-01_T2w") == ""


def test_names_that_differ_in_writing_only():
    assert list(names_alike({"a": "Sub_01", "b": "sub1", "c": "sub2"}).values()) == [["Sub_01", "sub1"]]
