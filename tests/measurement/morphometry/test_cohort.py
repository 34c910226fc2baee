"""A cohort's band: numbers worked out by hand on made-up tables."""

import numpy as np
import pandas as pd
import pytest
from cords import label_map, lumbosacral_cord

from autoseg.errors import DataError
from autoseg.measurement.morphometry import arc_table, cohort_band, measure_morphometry, places_along
from autoseg.measurement.morphometry.cohort import without_subject


def table(subject, values, *, start=0.0, case=None, levels=None):
    count = len(values)
    arc = start + np.arange(count, dtype=float)
    return pd.DataFrame(
        {
            "case_id": case or f"case-{subject}",
            "subject_id": subject,
            "label": 1,
            "name": "cord",
            "along": "superior-inferior",
            "arc_mm": arc,
            "arc_share": (arc - start) / (count - 1),
            "from_end_mm": arc - arc[-1],
            "level": levels or [""] * count,
            "area_corrected_mm2": np.array(values, float),
        }
    )


THREE = [table("A", [10, 20, 30]), table("B", [12, 24, 36, 48]), table("C", [20, 28, 45])]


def test_mean_sd_and_percentiles_place_by_place():
    band = cohort_band(THREE)
    assert band["place"].tolist() == [0, 1, 2]  # at 3 mm there is one person only
    assert band["n"].tolist() == [3, 3, 3]
    assert band["mean"].tolist() == [14, 24, 37]
    assert band["sd"].to_numpy() == pytest.approx([np.sqrt(28), 4, np.sqrt(57)])
    assert band["median"].tolist() == [12, 24, 36]
    assert band["p25"].to_numpy() == pytest.approx([11, 22, 33])
    assert band["p95"].to_numpy() == pytest.approx([12 + 0.9 * 8, 24 + 0.9 * 4, 36 + 0.9 * 9])
    assert cohort_band(pd.concat(THREE), fewest=1)["n"].tolist() == [3, 3, 3, 1]


def test_places_between_are_interpolated():
    band = cohort_band(THREE, step=0.5)
    assert band["place"].tolist() == [0, 0.5, 1, 1.5, 2]
    assert band["mean"].iloc[1] == pytest.approx((15 + 18 + 24) / 3)


@pytest.mark.parametrize(
    ("align", "places"),
    [("lowest", [0, 1, 2]), ("highest", [-2, -1, 0]), ("share", [0, 0.5, 1]), ("level 3", [-1.5, -0.5, 0.5])],
)
def test_places_are_counted_from_what_is_asked_for(align, places):
    one = table("A", [10, 20, 30], start=0.0, levels=["2", "3", "3"])
    assert places_along(one, align=align).tolist() == places


def test_by_share_long_and_short_people_meet_at_both_ends():
    band = cohort_band(THREE, align="share", step=0.5)
    assert band["place"].tolist() == [0, 0.5, 1]
    assert band["mean"].tolist() == pytest.approx([14, (20 + 30 + 28) / 3, (30 + 48 + 45) / 3])


def test_two_scans_of_one_person_count_once():
    again = table("A", [30, 40, 50], case="later")
    band = cohort_band([*THREE, again])
    assert band["n"].tolist() == [3, 3, 3]
    assert band["mean"].tolist() == pytest.approx([(20 + 12 + 20) / 3, (30 + 24 + 28) / 3, (40 + 36 + 45) / 3])


def test_blank_subjects_are_people_of_their_own():
    blank = [table("", values, case=f"image{place}") for place, values in enumerate(([1, 2], [3, 4], [5, 6]))]
    assert cohort_band(blank)["n"].tolist() == [3, 3]


def test_a_place_without_a_value_is_not_counted():
    holed = table("D", [10, np.nan, 30])
    assert cohort_band([*THREE, holed])["n"].tolist() == [4, 3, 4]


def test_cords_of_other_lengths_meet_at_tip_and_enlargement():
    people = []
    for number, tip in enumerate((-44.0, -40.0, -36.0)):
        mask, affine = lumbosacral_cord(tip_z_mm=tip, spacing_mm=(2.0, 0.3, 0.3))
        source = {"case_id": f"c{number}", "subject_id": f"S{number}"}
        people.append(arc_table(measure_morphometry([label_map(mask, affine, **source)])))
    for align, at in (("enlargement", 0.0), ("conus", 1.0)):
        band = cohort_band(people, align=align)
        peak = band.loc[band["mean"].idxmax(), "place"]
        assert peak == pytest.approx(at, abs=1.5 if align == "enlargement" else 0.06)
        near = band[(band["place"] - at).abs() < 0.1]
        assert (near["sd"] < 1.5).all()
    conus = cohort_band(people, align="conus")
    assert conus["place"].min() <= 0.01


def test_a_patient_is_not_held_against_himself():
    joined = pd.concat([*THREE, table("", [1, 2, 3], case="x")])
    left = without_subject(joined, table("B", [1, 2], case="another scan"))
    assert set(left["subject_id"]) == {"A", "C", ""}
    assert set(without_subject(joined, table("", [1, 2], case="x"))["subject_id"]) == {"A", "B", "C"}


def test_what_cannot_be_is_refused_in_words():
    with pytest.raises(DataError, match="no table for the cohort"):
        cohort_band([])
    with pytest.raises(DataError, match="measure is 'orientation_deg'; choose one of area"):
        cohort_band(THREE, measure="orientation_deg")
    with pytest.raises(DataError, match="no solidity"):
        cohort_band(THREE, measure="solidity")
    with pytest.raises(DataError, match="has 'psoas'; they name: cord"):
        cohort_band(THREE, name="psoas")
    with pytest.raises(DataError, match="step is 0"):
        cohort_band(THREE, step=0)
    with pytest.raises(DataError, match="step of 1e-09"):
        cohort_band(THREE, step=1e-9)
    with pytest.raises(DataError, match="align is 'tip'"):
        places_along(THREE[0], align="tip")
    with pytest.raises(DataError, match=r"case-A, cord: level '7' is not on it; known levels: none"):
        places_along(THREE[0], align="level 7")
    with pytest.raises(DataError, match="Choose another landmark"):
        cohort_band([t.assign(diameter_rl_mm=10.0) for t in THREE], align="conus")
    assert cohort_band(THREE[:2]).empty
