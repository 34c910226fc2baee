"""The table of areas, the slice behind a cell, plots and the table by patient."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from lit import lit
from untrained import Fixed

from autoseg.measurement.areas import Measurement
from autoseg.measurement.tissue import measure_tissue
from autoseg.panels.parts.viewer import SliceViewer
from autoseg.panels.patient.areas import AreasPanel, describe_patients, table_html
from autoseg.report import area_tables
from autoseg.report.area_tables import patients_table


def shown(run, **more):
    panel = AreasPanel(Fixed(run), **more)
    panel.wait(60)
    return panel


def test_without_a_run_it_says_what_to_do():
    panel = shown(None)
    assert "First segment a patient" in panel.message.value
    assert panel.value is None


def test_table_plots_and_patients_are_shown(run):
    panel = shown(run)
    assert panel.value is run
    assert panel.table in panel.body.children
    assert "data:image/png" in panel.plots.value
    assert "patient 1" in panel.patients.value
    assert "Volume (ml)" in panel.patients.value


def test_a_cell_leads_to_its_slice_and_structure(run):
    panel = shown(run)
    assert panel.viewer is None
    panel.select("series-5_t02", 3, 2)
    assert panel.viewer in panel.look.children
    assert (panel.viewer.image_index, panel.viewer.slice_index, panel.viewer.highlight) == (1, 3, 2)
    row = next(r for r in run.measurements if (r.case_id, r.slice_index, r.label) == ("series-5_t02", 3, 2))
    assert f"{row.pixel_count:,}" in panel.table.explanation
    first = panel.viewer
    panel.select("series-5_t01", 0, 1)
    assert panel.viewer is first
    assert (first.image_index, first.slice_index, first.highlight) == (0, 0, 1)


def test_a_cell_leads_the_predictions_viewer_too(run):
    prediction = Fixed(run)
    prediction.viewer = SliceViewer(run.results, run.measurements)
    panel = AreasPanel(prediction)
    panel.wait(60)
    panel.table.selected = {"case_id": "series-5_t02", "slice_index": 3, "label": 2}
    for viewer in (prediction.viewer, panel.viewer):
        assert (viewer.image_index, viewer.slice_index, viewer.highlight) == (1, 3, 2)


def test_downloads_are_the_files_of_the_run(run):
    panel = shown(run)
    for name in ("areas.csv", "areas.xlsx"):
        assert panel.table.files[f"{run.folder.name}_{name}"]() == (run.folder / name).read_bytes()


def test_a_cell_that_is_not_there_is_a_sentence(run):
    panel = shown(run)
    panel.select("series-5_t02", 99, 1)
    assert "has no area" in panel.message.value


def test_patients_are_numbered_until_ids_are_asked_for(run):
    panel = shown(run)
    assert "SCD0000301" not in panel.patients.value
    panel.ids.value = True
    panel.wait(60)
    assert "SCD0000301" in panel.patients.value
    assert "SCD0000301" in shown(run, show_ids=True).patients.value


def test_a_run_that_is_taken_back_takes_its_areas_away(run):
    prediction = Fixed(run)
    panel = AreasPanel(prediction)
    panel.wait(60)
    panel.select("series-5_t01", 0, 1)
    prediction.value = None
    assert panel.body.children == ()
    assert panel.look.children == ()
    assert panel.value is None
    panel.select("series-5_t01", 0, 1)
    assert panel.viewer is None


def test_one_image_has_its_volume_in_ml_too(run):
    alone = dataclasses.replace(
        run, results=run.results[:1], measurements=[r for r in run.measurements if r.case_id == "series-5_t01"]
    )
    page = describe_patients(alone)
    (volume, _) = patients_table(alone.measurements)["volume_at_least_ml"]
    assert "Volume (ml)" in page
    assert f">at least {volume:,.2f} (cut off)<" in page  # drawn on the first and the last slice
    assert "may go on there" in page
    assert "By level" not in page


def test_means_and_volumes_have_their_interval_and_the_light_of_their_image(run, monkeypatch):
    monkeypatch.setattr(Measurement, "is_cut_off", False)  # an untrained model draws everywhere
    monkeypatch.setattr(area_tables, "is_volume_cut_off", lambda rows: False)
    page = describe_patients(lit(run, "amber", "green"))
    assert page.count("(410.0–520.0)</div>") == 4
    assert page.count("(31.25–42.50)</div>") == 4
    assert "in parentheses: its 90 % interval" in page
    assert (page.count(">amber<"), page.count(">green<")) == (2, 2)
    assert "(410" not in describe_patients(run)


def test_brightness_is_shown_and_fat_by_the_channel_that_is_chosen(run):
    image, labels = run.results[0]
    rng = np.random.default_rng(0)
    voxels = np.where(rng.random(image.shape) < 0.25, 300.0, 100.0) + rng.normal(0, 10, image.shape)
    bright = dataclasses.replace(image, voxels=voxels)
    tissue = measure_tissue(labels, bright)
    panel = shown(dataclasses.replace(run, results=((bright, labels),), tissue=tissue))
    page = panel.tissue.shown.value
    assert "Hounsfield" in page
    assert page.count("<tr>") == 1 + 2  # two structures
    assert [one.name for one in panel.tissue.files.children] == [f"{run.folder.name}_intensities.csv"]
    panel.tissue.estimate.value = image.channels[0]
    panel.wait(60)
    assert "An estimate, no fat fraction" in panel.tissue.shown.value
    whole = [row for row in panel.tissue.found.estimates if row.slice is None]
    assert [row.fat_share_estimate_percent for row in whole] == pytest.approx([25, 25], abs=2)
    assert b"threshold_intensity" in panel.tissue.files.children[1].make()


def test_levels_are_shown_with_patients_by_number(run):
    levels = [dataclasses.replace(row, level="L3") for row in run.measurements]
    page = describe_patients(dataclasses.replace(run, measurements=levels))
    assert "By level" in page
    assert ">L3<" in page
    assert "SCD0000301" not in page


def test_a_table_shows_numbers_with_units_and_nothing_as_a_dash():
    import pandas as pd

    page = table_html(pd.DataFrame({"<b>": ["a & b"], "mm²": [1234.56], "n": [3], "SD": [float("nan")]}))
    assert "&lt;b&gt;" in page
    assert "a &amp; b" in page
    assert "1,234.6" in page
    assert ">3<" in page
    assert ">–<" in page


def test_a_small_table_rounds_as_the_large_one():
    assert ">113.3<" in table_html(pd.DataFrame({"Mean area (mm²)": [113.25]}))
