"""Profiles along a structure, with the cohort's band: what is drawn is what the tables hold."""

import numpy as np
import pandas as pd
import pytest
from cords import cylinder, grid, label_map, lumbosacral_cord

from autoseg.errors import DataError
from autoseg.image.overlay import hex_colour
from autoseg.image.structures import Structure
from autoseg.measurement.morphometry import arc_table, cohort_band, locate_enlargement, measure_morphometry
from autoseg.report.figures.morphometry import show_morphometry


def table_of(subject, radius, **more):
    affine, points = grid((3.0, 0.5, 0.5), (9, 9, 15))
    mask = cylinder(points, (0, 0, 1), (radius, radius * 0.7))
    source = {"case_id": f"case {subject}", "subject_id": subject, **more}
    return arc_table(measure_morphometry([label_map(mask, affine, **source)]))


@pytest.fixture(scope="module")
def cohort():
    return pd.concat([table_of(f"S{number}", 5 + number / 2) for number in range(4)])


def legend(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_each_measure_has_a_panel_with_the_head_upwards():
    table = table_of("A", 6)
    figure = show_morphometry(table, structures=(Structure(1, "cord", colour=(255, 0, 0)),))
    words = [ax.get_xlabel().replace("\n", " ") for ax in figure.axes]
    assert words == [
        "area across the curve (mm²)", "anteroposterior diameter (mm)", "right-left diameter (mm)", "eccentricity",
        "orientation (°)", "solidity",
    ]  # fmt: skip
    line = figure.axes[0].lines[0]
    assert np.asarray(line.get_xdata()) == pytest.approx(table["area_corrected_mm2"].to_numpy())
    assert np.asarray(line.get_ydata()).tolist() == table["arc_mm"].tolist()
    assert line.get_color() == hex_colour((255, 0, 0))
    assert "above the lowest section (mm)" in figure.axes[0].get_ylabel()
    assert legend(figure) == ["cord"]
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_the_band_is_the_cohorts(cohort):
    figure = show_morphometry(table_of("A", 6), cohort=cohort, measures=["area_corrected_mm2", "orientation_deg"])
    area, orientation = figure.axes
    band = cohort_band(cohort)
    assert np.asarray(area.lines[0].get_xdata()) == pytest.approx(band["mean"].to_numpy())
    (filled,) = area.collections
    edges = filled.get_paths()[0].vertices[:, 0]
    assert edges.min() == pytest.approx((band["mean"] - band["sd"]).min())
    assert edges.max() == pytest.approx((band["mean"] + band["sd"]).max())
    assert not orientation.collections
    assert legend(figure)[1:] == ["cohort, mean (n = 4)", "cohort, mean ± SD"]
    percentiles = show_morphometry(table_of("A", 6), cohort=cohort, spread="percentiles")
    assert legend(percentiles)[2] == "cohort, 5th to 95th percentile"
    drawn = percentiles.axes[0].collections[0].get_paths()[0].vertices[:, 0]
    assert drawn.max() == pytest.approx(band["p95"].max())


def test_too_few_people_give_no_band(cohort):
    figure = show_morphometry(table_of("A", 6), cohort=cohort[cohort["subject_id"] < "S2"])
    assert legend(figure) == ["cord"]


def test_levels_stand_at_their_places():
    figure = show_morphometry(table_of("A", 6, levels=["3"] * 4 + ["2"] * 7))
    beside = figure.axes[-1].child_axes[0]
    assert [label.get_text() for label in beside.get_yticklabels()] == ["3", "2"]
    assert beside.get_yticks()[0] == pytest.approx(5, abs=0.6)


def test_landmarks_are_lines():
    table = arc_table(measure_morphometry([label_map(*lumbosacral_cord())]))
    found = locate_enlargement(table)
    figure = show_morphometry(table, landmarks=found, measures=["area_corrected_mm2"])
    heights = [np.asarray(line.get_ydata())[0] for line in figure.axes[0].lines[1:]]
    assert heights == pytest.approx([found.tip.arc_mm, found.largest.arc_mm])


def test_what_cannot_be_drawn_is_a_sentence():
    table = table_of("A", 6)
    with pytest.raises(DataError, match="nothing to draw"):
        show_morphometry(table[:0])
    with pytest.raises(DataError, match="of 2 images"):
        show_morphometry(pd.concat([table, table_of("B", 6)]))
    with pytest.raises(DataError, match="none of psoas; it names: cord"):
        show_morphometry(table, structures=(Structure(1, "psoas"),))
    with pytest.raises(DataError, match="none of the measures"):
        show_morphometry(table, measures=["diameter_si_mm"])
    with pytest.raises(DataError, match="spread is 'range'"):
        show_morphometry(table, spread="range")


def test_a_structure_that_runs_front_to_back_says_so():
    affine, points = grid((0.5, 1.0, 0.5), (8, 24, 8))
    mask = np.hypot(points[0], points[2]) <= 4
    figure = show_morphometry(arc_table(measure_morphometry([label_map(mask, affine)])))
    assert figure.axes[0].get_ylabel() == "distance from the foremost section (mm)"


def test_the_word_of_a_light_stands_above_the_figure():
    table = arc_table(measure_morphometry([label_map(*lumbosacral_cord())]))
    for light, words in (("red", "RED: not suited to the model"), ("green", "")):
        assert show_morphometry(table.assign(suitability=light)).get_suptitle() == words
