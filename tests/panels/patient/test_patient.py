"""Choosing a patient's folder, series and millimetres, by clicks."""

import threading

import cv2
import numpy as np
import pydicom
import pytest
from folders import add_two_sizes
from untrained import Fixed, chosen_model

from autoseg.data.patients import Candidate
from autoseg.files.dicom.phantoms import Phantom, write_phantom
from autoseg.files.dicom.records import quiet
from autoseg.panels.parts.values import Patient
from autoseg.panels.patient import patient as module
from autoseg.panels.patient.patient import HEADINGS, PatientPanel, describe_candidate, lay_row
from autoseg.report.figures.slices import encode_picture


def write(folder, uid="1.2.3", description="T1", *, spacing=True, kind=None):
    for path in write_phantom(folder, Phantom("leg", rows=40, columns=20, pixel_spacing_mm=(1.0, 2.0))):
        with quiet():
            dataset = pydicom.dcmread(path)
            dataset.SeriesInstanceUID, dataset.SeriesDescription = uid, description
            dataset.PatientName, dataset.PatientID = "Doe^Jane", "ID4711"
            if kind:
                dataset.ImageType = kind
            if not spacing:
                del dataset.PixelSpacing
            dataset.save_as(path)


def opened(*arguments, **more):
    panel = PatientPanel(*arguments, **more)
    panel.wait(60)
    return panel


def words(widget):
    """All that a panel shows, as one text."""
    shown = getattr(widget, "value", "")
    shown = shown if isinstance(shown, str) else ""
    shown += getattr(widget, "description", "")
    return shown + " ".join(words(child) for child in getattr(widget, "children", ()))


def choose(panel, folder):
    panel.chooser.choose(folder)
    panel.wait(60)


def test_without_a_folder_it_says_what_to_do():
    panel = opened()
    assert panel.value is None
    assert "Choose the folder" in panel.message.value
    assert panel.type_button.layout.display == "none"


def test_the_only_series_is_ticked_and_handed_on(tmp_path):
    write(tmp_path)
    panel = opened(None, tmp_path)
    assert panel.value == Patient(tmp_path, ("series-1",))
    assert panel.boxes["series-1"].value
    assert "data:image/png;base64" in words(panel)
    for shown in ("T1", "MR", "40 × 20, 1 × 2 mm", "axial"):
        assert shown in words(panel)


def test_no_name_and_no_id_stands_on_the_page(tmp_path):
    write(tmp_path)
    panel = opened(None, tmp_path)
    assert "Doe" not in words(panel.series)
    assert "4711" not in words(panel.series)


def test_a_scout_is_not_ticked_and_the_reason_is_said_but_it_can_be(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b", "1.2.4", "survey")
    panel = opened(None, tmp_path)
    assert panel.ticked == ("series-1",)
    assert "series-1-2 is not: A localiser" in words(panel)
    panel.boxes["series-1-2"].value = True
    assert panel.value.only == ("series-1", "series-1-2")


def test_a_refused_series_tells_why_and_cannot_be_ticked(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b", "1.2.4", kind=["ORIGINAL", "PRIMARY", "MOSAIC"])
    panel = opened(None, tmp_path)
    assert panel.boxes["series-1-2"].disabled
    assert "series-1-2 cannot be segmented" in words(panel)
    panel.tick(["series-1", "series-1-2"])
    assert panel.value.only == ("series-1",)


def test_nothing_ticked_is_nothing_handed_on(tmp_path):
    write(tmp_path)
    panel = opened(None, tmp_path)
    panel.boxes["series-1"].value = False
    assert panel.value is None
    assert "Tick what to segment" in panel.message.value


def test_a_silent_header_asks_for_the_field_of_view_and_checks_it_at_once(tmp_path):
    write(tmp_path, spacing=False)
    panel = opened(None, tmp_path)
    assert panel.value == Patient(tmp_path, ("series-1",))
    assert "Type the field of view" in panel.message.value
    assert "areas are in pixels" in panel.message.value
    assert panel.fields.layout.display == ""
    panel.pixel.value = "0.5 x 0.25"
    assert panel.value == Patient(tmp_path, ("series-1",), pixel_spacing_mm=(0.5, 0.25))
    assert "a pixel is 0.5 × 0.25 mm." in panel.check.value
    panel.pixel.value = ""
    panel.field_of_view.value = "80 x 60"
    assert panel.value == Patient(tmp_path, ("series-1",), (80.0, 60.0))
    assert "a pixel is 2 × 3 mm" in panel.check.value
    panel.matrix.value = "32 x 16"
    assert panel.value.matrix_size == (32, 16)
    assert "acquisition&#x27;s" in panel.check.value
    panel.field_of_view.value = "80"
    assert panel.value is None
    assert "Type two numbers" in panel.message.value
    panel.field_of_view.value = "a lot"
    assert "is not understood" in panel.message.value


def test_a_model_that_sees_images_in_their_size_needs_the_millimetres(tmp_path):
    write(tmp_path, spacing=False)
    model = Fixed(chosen_model(tmp_path))
    panel = opened(model, tmp_path)
    assert panel.value is None
    assert "this model sees images in their size" in panel.message.value
    panel.field_of_view.value = "80 x 60"
    assert panel.value == Patient(tmp_path, ("series-1",), (80.0, 60.0))


def test_images_of_several_sizes_have_a_field_of_view_each(tmp_path):
    for name, shape in (("a", (30, 20)), ("b", (60, 40))):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full(shape, 7, np.uint8))
    panel = opened(None, tmp_path)
    assert [box.description for box in panel.by_size.children] == ["… of 30 × 20 pixels", "… of 60 × 40 pixels"]
    panel.by_size.children[1].value = "90 x 60"
    assert panel.value == Patient(tmp_path, ("a", "b"), {(60, 40): (90.0, 60.0)})
    assert "The file of a does not tell the size of a pixel" in panel.message.value
    panel.by_size.children[0].value = "60 x 40"
    assert panel.value.field_of_view_mm == {(30, 20): (60.0, 40.0), (60, 40): (90.0, 60.0)}
    assert "does not tell" not in panel.message.value
    panel.tick(["b"])
    assert panel.by_size.children == ()


def test_header_against_typed_waits_for_a_choice_and_asks_again_for_other_numbers(tmp_path):
    write(tmp_path)
    panel = opened(None, tmp_path)
    assert panel.fields.layout.display == "none"
    panel.type_button.value = True
    assert panel.fields.layout.display == ""
    panel.field_of_view.value = "80 x 40"
    assert panel.value is None
    assert "Choose which to use" in panel.message.value
    assert "100.0 % larger" in panel.check.value
    assert panel.prefer.layout.display == ""
    panel.prefer.value = "typed"
    assert panel.value == Patient(tmp_path, ("series-1",), (80.0, 40.0), None, "typed")
    panel.field_of_view.value = "40 x 80"
    assert panel.value is None
    panel.field_of_view.value = "40 x 40"
    assert panel.value == Patient(tmp_path, ("series-1",), (40.0, 40.0))
    assert panel.prefer.layout.display == "none"


def test_another_folder_clears_what_was_typed(tmp_path):
    write(tmp_path / "silent", spacing=False)
    write(tmp_path / "other", "1.2.9", spacing=False)
    panel = opened(None, tmp_path / "silent", field_of_view_mm=(80, 40))
    assert panel.value.field_of_view_mm == (80.0, 40.0)
    choose(panel, tmp_path / "other")
    assert panel.field_of_view.value == ""
    assert panel.value == Patient(tmp_path / "other", ("series-1",))
    assert panel.found.folder == tmp_path / "other"


def test_arguments_choose_what_clicks_would(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b", "1.2.4", "T2")
    panel = opened(None, tmp_path, only=["series-1-2"], field_of_view_mm=(80, 40), matrix_size=40, prefer="header")
    assert panel.value == Patient(tmp_path, ("series-1-2",), (80.0, 40.0), 40, "header")


def test_a_wrong_folder_is_a_sentence_and_takes_the_last_one_away(tmp_path):
    write(tmp_path / "a")
    (tmp_path / "empty").mkdir()
    panel = opened(None, tmp_path / "a")
    choose(panel, tmp_path / "empty")
    assert panel.value is None
    assert "is empty" in panel.message.value
    assert "Traceback" not in panel.message.value
    assert panel.boxes == {}


@pytest.mark.parametrize(("name", "ticked"), [("All", 4), ("None", 0)])
def test_many_series_are_ticked_at_once(tmp_path, name, ticked):
    for number in range(4):
        write(tmp_path / str(number), f"1.2.{number + 3}", f"T{number}")
    panel = opened(None, tmp_path)
    assert panel.ticked == ()
    buttons = {button.description: button for button in panel.series.children[-2].children}
    buttons["All"].click()
    buttons[name].click()
    assert len(panel.ticked) == ticked


def test_the_models_channels_are_looked_for_where_there_is_no_dicom(tmp_path):
    import cv2
    import numpy as np

    for name in ("p1_T1w", "p1_T2w"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((30, 20), np.uint8))
    model = Fixed()
    panel = opened(model, tmp_path, field_of_view_mm=(60, 40))
    assert panel.value.only == ("p1_T1w", "p1_T2w")
    model.value = chosen_model(tmp_path, channels=("T1w", "T2w"))
    panel.wait(60)
    assert panel.ticked == ("p1",)


def test_a_folder_that_is_given_up_while_it_is_read_is_not_shown(tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    write(tmp_path / "one")
    reading, go_on, real = threading.Event(), threading.Event(), module.find_patient

    def slow(folder, **more):
        if folder.name == "one":
            reading.set()
            go_on.wait(30)
        return real(folder, **more)

    monkeypatch.setattr(module, "find_patient", slow)
    panel = opened()
    panel.chooser.choose(tmp_path / "one")
    assert reading.wait(30)
    panel.chooser.choose(tmp_path / "other")
    go_on.set()
    panel.wait(60)
    assert panel.value is None
    assert panel.found is None
    assert not panel.boxes


def test_many_silent_files_are_named_in_part(tmp_path):
    for number in range(6):
        cv2.imwrite(str(tmp_path / f"p{number}.png"), np.full((30, 20), number, np.uint8))
    panel = opened(folder=tmp_path)
    assert "The files of p0, p1, p2 and 3 more do not tell the size of a pixel" in panel.message.value


def test_images_of_another_kind_than_the_model_learnt_are_not_ticked(tmp_path):
    write(tmp_path / "scan")
    model = Fixed(chosen_model(tmp_path, origin={"modalities": ["CT"]}))
    panel = opened(model, tmp_path / "scan")
    assert panel.value is None
    assert "learnt from CT images" in words(panel)
    model.value = chosen_model(tmp_path, origin={"modalities": ["MR"]})
    panel.wait(60)
    assert panel.value is not None


# --- one series as a row of the page


def test_a_row_tells_the_header_in_words_and_units():
    row = describe_candidate(
        Candidate(
            "series-2",
            "T1 <axial>",
            "MR",
            256,
            192,
            (0.5, 0.75),
            4.0,
            20,
            3,
            "axial",
            "2024-02-29",
            png=encode_picture(np.zeros((2, 2, 3), np.uint8), "png"),
        )
    )
    for words in ("T1 &lt;axial&gt;", "256 × 192, 0.5 × 0.75 mm", "20 × 3 times, every 4 mm", "2024-02-29"):
        assert words in row
    assert 'alt="Middle slice of series-2"' in row


def test_unknown_millimetres_and_doubts_are_said():
    row = describe_candidate(Candidate("s", rows=9, columns=9, slices=1, doubt="A screenshot.", notes="Odd."))
    assert "mm unknown" in row
    assert "A screenshot. Odd." in row
    assert "every" not in row
    assert describe_candidate(Candidate("s", doubt="A scout.", notes="A scout. Odd.")).count("A scout.") == 1


def test_a_refused_series_tells_why():
    assert "s cannot be segmented: it is a mosaic." in describe_candidate(Candidate("s", refusal="it is a mosaic."))


def test_the_headings_have_the_columns_of_a_row():
    row = describe_candidate(Candidate("s", rows=1, columns=1, slices=1))
    assert row.count("overflow-wrap") == lay_row(HEADINGS).count("overflow-wrap") == len(HEADINGS)


def test_a_long_name_can_be_read_whole_in_its_row():
    long = "subject57_t2_SPACE_slice55"
    assert long in describe_candidate(Candidate(long, rows=3, columns=3))
    assert "series-1" not in describe_candidate(Candidate("series-1", rows=3, columns=3))


def test_headers_with_two_sizes_of_a_voxel_are_answered_by_a_click(tmp_path):
    folder = add_two_sizes(tmp_path, 2) / "images"
    panel = opened(None, folder)
    assert panel.value is None
    assert "by its sform and 0.5 × 0.5 × 4 mm by its pixdim" in words(panel)
    panel.answer_sizes("pixdim")
    panel.wait(60)
    assert panel.value == Patient(folder, ("p0", "p1"))
    assert panel.found.candidates[0].spacing_mm == (0.5, 0.5)


def test_one_time_point_can_be_marked_and_none_marked_means_all(tmp_path):
    write_phantom(tmp_path, Phantom("cine", rows=40, columns=20, moments=3))
    panel = opened(None, tmp_path)
    assert panel.value == Patient(tmp_path, ("series-1",))
    marks = panel.moments["series-1"]
    assert marks.options == ("series-1_t01", "series-1_t02", "series-1_t03")
    marks.value = ("series-1_t02",)
    assert panel.value == Patient(tmp_path, ("series-1_t02",))
    panel.boxes["series-1"].value = False
    assert panel.value is None
    panel.tick(["series-1_t01", "series-1_t03"])
    assert panel.value == Patient(tmp_path, ("series-1_t01", "series-1_t03"))
    panel.tick(["series-1"])
    assert panel.value == Patient(tmp_path, ("series-1",))


def test_a_time_point_is_chosen_by_argument(tmp_path):
    write_phantom(tmp_path, Phantom("cine", rows=40, columns=20, moments=3))
    assert opened(None, tmp_path, only=["series-1_t03"]).value == Patient(tmp_path, ("series-1_t03",))
