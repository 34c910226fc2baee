"""Measuring along the structures by a click, beside a cohort, with what is wrong in words."""

from dataclasses import replace

import numpy as np
import pytest
from cords import cylinder, grid, label_map, lumbosacral_cord
from untrained import Fixed

from autoseg.image.image import Image
from autoseg.measurement.morphometry import measure_morphometry, write_morphometry
from autoseg.panels.patient.morphometry import MorphometryPanel
from autoseg.prediction.run import Run


def run_of(folder, *label_maps):
    results = tuple((Image(np.zeros(m.shape, np.int16), m.affine, source=m.source), m) for m in label_maps)
    return Run(folder, results, (), None, (), ())


def cord(number=1, **source):
    mask, affine = lumbosacral_cord(tip_z_mm=-40.0 - number, spacing_mm=(2.0, 0.4, 0.4), scale=1 + number / 30)
    return label_map(mask, affine, case_id=f"cord {number}", subject_id=f"S{number}", **source)


@pytest.fixture
def run(tmp_path):
    (tmp_path / "run").mkdir()
    return run_of(tmp_path / "run", cord())


def shown(run, **more):
    panel = MorphometryPanel(Fixed(run), **{"is_open": True, **more})
    panel.wait(60)
    return panel


def test_folded_it_waits_and_unfolded_it_measures(run):
    panel = shown(run, is_open=False)
    assert (panel.value, panel.message.value) == (None, "")
    panel.fold.selected_index = 0
    panel.wait(60)
    assert panel.value.profiles[0].rows[0].name == "cord"
    assert "data:image/png" in panel.plot.value
    assert "Area across (mm²)" in panel.results.value
    assert "RL (mm)" in panel.results.value
    assert "SI (mm)" not in panel.results.value


def test_without_a_run_it_says_what_to_do(run):
    panel = shown(None)
    assert "First segment a patient" in panel.message.value
    prediction = Fixed(run)
    panel = MorphometryPanel(prediction, is_open=True)
    panel.wait(60)
    prediction.value = None
    assert panel.value is None
    assert panel.shown.children == ()
    assert panel.plot.value == ""


def test_the_enlargement_is_found_on_wish(run):
    panel = shown(run)
    assert "tip at" not in panel.plot.value
    panel.conus.value = True
    assert "cord: tip at" in panel.plot.value
    assert "mm long" in panel.plot.value


def test_a_cohort_gives_a_band_without_the_patient(run, tmp_path):
    for number in (1, 2, 3, 4):
        write_morphometry(tmp_path / "others" / str(number), measure_morphometry([cord(number)]))
    alone = shown(run).plot.value
    panel = shown(run, cohort=tmp_path / "others")
    assert set(panel.cohort["subject_id"]) == {"S1", "S2", "S3", "S4"}
    assert panel.plot.value != alone
    before = panel.plot.value
    panel.spread.value = "percentiles"
    assert panel.plot.value != before
    for align in ("share", "conus"):
        before = panel.plot.value
        panel.align.value = align
        assert panel.plot.value != before
        assert "data:image/png" in panel.plot.value


def test_a_folder_without_tables_is_a_sentence(run, tmp_path):
    (tmp_path / "empty").mkdir()
    panel = shown(run, cohort=tmp_path / "empty")
    assert "holds no morphometry_arc.csv" in panel.message.value
    assert panel.value is None


def test_the_curve_is_drawn_over_its_image_where_it_rises(tmp_path):
    panel = shown(run_of(tmp_path, cord(1), cord(2)))
    assert "The curve over the image" in panel.course.value
    assert "data:image/png" in panel.course.value
    before = panel.course.value
    panel.image.value = "cord 2"
    panel.wait(60)
    assert panel.course.value != before
    panel.along.value = "right-left"
    panel.wait(60)
    assert panel.course.value == ""
    assert "data:image/png" in panel.plot.value


def test_a_landmark_that_is_missing_is_said_and_the_tables_stay(tmp_path):
    affine, points = grid((3.0, 0.5, 0.5), (9, 9, 15))
    tube = label_map(cylinder(points, (0, 0, 1), (6, 4)), affine, case_id="tube")
    panel = shown(run_of(tmp_path, tube))
    panel.align.value = "conus"
    assert "Choose another landmark" in panel.plot.value
    assert panel.value is not None
    panel.align.value = "share"
    assert "data:image/png" in panel.plot.value


def test_the_image_can_be_chosen_and_sections_turned(tmp_path):
    panel = shown(run_of(tmp_path, cord(1), cord(2)))
    assert panel.image.options == ("cord 1", "cord 2")
    before = panel.plot.value
    panel.image.value = "cord 2"
    assert panel.plot.value != before
    panel.along.value = "right-left"
    panel.wait(60)
    assert panel.value.profiles[0].rows[0].along == "right-left"
    assert panel.image.value == "cord 2"


def test_what_cannot_be_measured_is_a_sentence(run):
    (image, label_map_) = run.results[0]
    single = replace(label_map_, voxels=label_map_.voxels[:1])
    panel = shown(replace(run, results=((replace(image, voxels=image.voxels[:1]), single),)))
    assert "is one slice" in panel.message.value
    assert panel.value is None


def test_tables_are_saved_beside_the_run_and_downloaded(run):
    panel = shown(run)
    panel.save_button.click()
    assert (run.folder / "morphometry" / "morphometry_arc.csv").is_file()
    assert "The tables are in" in panel.message.value
    panel.save_button.click()
    assert "exists already" in panel.message.value
    assert panel.value is not None
    for button in panel.downloads:
        saved = (run.folder / "morphometry" / button.name).read_bytes()
        assert button.make() == saved


def test_levels_stand_in_a_table(tmp_path):
    levels = ["L1"] * 20 + ["T12"] * 31
    panel = shown(run_of(tmp_path, cord(levels=levels)))
    assert "By level" in panel.results.value
    assert "T12" in panel.results.value
