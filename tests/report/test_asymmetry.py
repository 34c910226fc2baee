"""Left beside right, against numbers worked out by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest

from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import LabelMap, Source
from autoseg.image.structures import Structure
from autoseg.measurement.areas import measure_areas
from autoseg.report.asymmetry import asymmetry_table

PSOAS = (Structure(1, "psoas left"), Structure(2, "Right psoas"), Structure(3, "disc"))


def person(subject, left, right):
    """Slices with so many pixels of 4 mm² of either psoas."""
    voxels = np.zeros((len(left), 8, 22), np.uint8)
    for index, sizes in enumerate(zip(left, right, strict=True)):
        for label, size in enumerate(sizes, start=1):
            begin = 10 * label - 9
            voxels[index, 1:7, begin : begin + 9] = label * (np.arange(54) < size).reshape(6, 9)
    source = Source(subject, subject, spacing_source="header", slice_spacing_source="header")
    return measure_areas(LabelMap(voxels, affine_from_spacing((5.0, 2.0, 2.0)), PSOAS, source=source))


def test_a_pair_is_compared_on_the_slices_that_show_both():
    (row,) = asymmetry_table(person("p", [0, 30, 20, 9, 0], [0, 20, 20, 0, 0])).to_dict("records")
    assert (row["patient"], row["structure"], row["slices"]) == ("patient 1", "psoas", 2)
    # 200 against 160 mm²: 40 of 180. One by one 10 of 25 pixels and none.
    assert row["asymmetry_percent"] == pytest.approx(100 * 40 / 180)
    assert row["sd_asymmetry_percent"] == pytest.approx(math.sqrt(2) * 20)
    assert row["volume_asymmetry_percent"] == pytest.approx(100 * 19 / 49.5)
    assert "cohort_n" not in row


def test_what_is_cut_off_is_compared_with_nothing():
    rows = person("p", [0, 30, 20, 0], [0, 20, 20, 0])
    cut = [replace(row, touches_edge=row.slice == 2 and row.label == 2) for row in rows]
    (row,) = asymmetry_table(cut).to_dict("records")
    assert (row["slices"], row["asymmetry_percent"]) == (1, 0.0)
    assert math.isnan(row["volume_asymmetry_percent"])
    (row,) = asymmetry_table(person("p", [0, 9], [0, 0])).to_dict("records")
    assert (row["slices"], math.isnan(row["asymmetry_percent"])) == (0, True)


def test_the_range_is_that_of_the_others_where_there_are_enough():
    people = [row for n in range(6) for row in person(f"p{n}", [0, 20 + n, 0], [0, 20, 0])]
    table = asymmetry_table(people, cohort=people).set_index("subject_id")
    assert table["cohort_n"].tolist() == [5] * 6
    last = table.loc["p5"]
    assert (last["cohort_lowest_percent"], last["cohort_highest_percent"]) == pytest.approx((0, 100 * 4 / 22))
    assert table.loc["p0", "cohort_lowest_percent"] == pytest.approx(100 / 20.5)
    few = [row for row in people if row.subject_id != "p5"]
    assert "cohort_n" not in asymmetry_table(few, cohort=few)
    assert asymmetry_table([row for row in people if row.name == "disc"]).empty
