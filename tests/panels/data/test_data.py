"""The data panel: a folder is chosen, read, checked, mended and planned for, by clicks."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from folders import add_subject, change_label

from autoseg.data.cases import Reading
from autoseg.data.repairs import add_repair, leave_out
from autoseg.files.dicom.phantoms import SHAPES, Shape
from autoseg.panels.data.data import IMAGES, READING, DataPanel
from autoseg.panels.parts.values import Data
from autoseg.panels.training.settings import SettingsPanel

BERT = (
    Shape(1, "ellipse", (-18.3, 11.7), (11.0, 16.0)),
    Shape(2, "ellipse", (16.2, 9.9), (14.0, 12.0), 70.0),
    Shape(3, "rectangle", (4.1, -20.6), (24.5, 8.3), -10.0),
)
CARL = (
    Shape(1, "ellipse", (-14.0, 8.0), (15.0, 11.0)),
    Shape(2, "ellipse", (12.0, 13.0), (10.0, 14.0), 20.0),
    Shape(3, "rectangle", (2.0, -17.0), (20.0, 12.0), -25.0),
)


@pytest.fixture
def folder(tmp_path):
    add_subject(tmp_path / "train", "Anna", slices=3)
    add_subject(tmp_path / "train", "Bert", slices=3, origin_mm=(0.0, 0.0, 0.0), slope=2.0, shapes=BERT)
    return tmp_path / "train"


def opened(folder, **options):
    panel = DataPanel(folder, **options)
    panel.wait(60)
    return panel


def page(panel):
    """Give all that stands on the page as one text, without pictures."""
    seen, queue = [], [panel]
    while queue:
        widget = queue.pop()
        queue += getattr(widget, "children", ())
        # Of what can be chosen the page gets the words only.
        value = "_options_labels" if hasattr(widget, "_options_labels") else "value"
        shown = [getattr(widget, name, "") for name in (value, "description", "tooltip")]
        shown = [word for words in shown for word in (words if isinstance(words, tuple) else [words])]
        seen += [words for words in shown if isinstance(words, str)]
    return re.sub(r"base64,[\w+/=]*", "", " ".join(seen))


def test_a_good_folder_gives_cases_findings_and_a_plan(folder):
    panel = opened(folder)
    assert isinstance(panel.value, Data)
    assert len(panel.value.cases.cases) == 6
    assert panel.value.findings == ()
    assert len(panel.value.plan.validation_subjects) == 1
    assert "6 images of 2 patients, every one with labels. Found by: same name" in panel.found.value
    assert "Nothing is wrong" in panel.findings.overview.value
    assert panel.message.value == ""


def test_who_cancels_another_choice_keeps_the_folder_and_the_settings_typed_for_it(folder):
    panel = opened(folder)
    settings = SettingsPanel(panel, folder=folder)
    settings.amount.value = "7"
    before = panel.value, settings.value
    assert settings.value.settings.minutes == 7
    for click in (panel.chooser.change, panel.chooser.up, panel.chooser.keep):
        click.click()
        panel.wait(60)
        settings.wait(60)
        assert "6 images of 2 patients" in page(panel)
        assert (panel.value, settings.value) == before
        assert settings.amount.value == "7"


def test_no_patient_is_named_unless_asked_for(folder):
    panel = opened(folder)
    panel.sections[IMAGES].selected_index = 0
    assert "patient 1 (image 2)" in panel.findings.strip.table.value
    assert "_02" not in panel.findings.strip.table.value
    assert "Anna" not in page(panel)
    panel.show_ids.value = True
    assert "Anna_02.dcm" in panel.findings.strip.table.value
    assert panel.value is not None
    assert "Anna" in page(opened(folder, show_ids=True))


def test_errors_must_be_mended_first_and_a_click_mends(folder):
    for name, turn in (("Cleo", 4.0), ("Dora", 8.0)):  # a repair needs several others that look alike
        alike = tuple(replace(shape, angle_deg=shape.angle_deg + turn) for shape in SHAPES)
        add_subject(folder, name, slices=3, shapes=alike)
    change_label(folder, "Anna_02", lambda labels: np.where(labels == 2, 9, labels))
    panel = opened(folder, structures={1: "psoas", 2: "disc", 3: "fat"})
    assert panel.value is None
    assert "One error must be mended before training" in panel.message.value
    (row,) = [row for row in panel.findings.rows if row.finding.severity == "error"]
    row.press("Mend: values are renamed: 9 becomes 2")
    panel.findings.use()
    panel.wait(60)
    assert isinstance(panel.value, Data)
    assert "patient 1 (image 2): values are renamed" in page(panel)
    panel.findings.made.children[1].children[0].click()
    panel.wait(60)
    assert panel.value is None


SHORT = re.compile(r"(?<![A-Za-z0-9])(q7|z9|k3)(?![A-Za-z0-9])")


def test_ids_of_two_letters_are_hidden_whole_in_every_sentence_and_shown_when_asked_for(tmp_path):
    """Copies, wrong sizes, unknown values, damaged, lonely and left-out files; paths, buttons, pictures, undo."""
    folder = tmp_path / "train"
    for number, subject in enumerate(("q7", "z9", "k3")):
        turned = tuple(replace(shape, angle_deg=shape.angle_deg + 4.0 * number) for shape in SHAPES)
        add_subject(folder, subject, slices=4, shapes=turned)
    shutil.copy(folder / "labels" / "q7_01.npy", folder / "labels" / "z9_01.npy")
    for name, change in (("k3_01", lambda labels: labels[:-3]), ("k3_02", lambda labels: labels + 6)):
        change_label(folder, name, change)
    (folder / "labels" / "q7_04.npy").write_bytes(b"damaged")
    (folder / "labels" / "z9_04.npy").unlink()
    copied = pydicom.dcmread(folder / "dicoms" / "q7_01.dcm")
    copied.PatientID, copied.SOPInstanceUID = "z9", "1.2.3"
    copied.save_as(folder / "dicoms" / "z9_01.dcm")
    add_repair(folder, leave_out("k3_03"))
    panel = opened(folder, unlabelled="skip", structures={1: "psoas", 2: "disc", 3: "fat"})
    panel.sections[IMAGES].selected_index = 0
    assert {"twins", "subjects", "shape", "values", "unreadable"} <= {
        row.finding.kind for row in panel.findings.rows
    }
    hidden = page(panel).replace(str(folder), "")
    assert SHORT.findall(hidden) == []
    assert "and are of patient 2, patient 3" in hidden
    assert "patient 1: the case is left out" in hidden
    assert not re.search(r"patient \d+[_/]|[\ue000\ue001]", hidden)
    panel.show_ids.value = True
    shown = page(panel)
    assert {*SHORT.findall(shown)} == {"q7", "z9", "k3"}
    assert "and are of q7, z9" in shown
    assert "\ue000" not in shown


def test_a_folder_that_cannot_be_read_names_its_files_only_when_asked(folder):
    shutil.copy(folder / "labels" / "Anna_01.npy", folder / "labels" / "Cleo_99.npy")
    panel = opened(folder)
    assert panel.value is None
    assert "There is 1 label file (…)" in panel.message.value
    assert "Cleo" not in page(panel)
    panel.show_ids.value = True
    assert "Cleo_99.npy" in panel.message.value


def test_names_that_are_kept_are_read_again(folder):
    panel = opened(folder, structures={1: "a", 2: "b", 3: "c"})
    panel.structures.rows[0].name.value = "psoas"
    panel.structures.keep_button.click()
    panel.wait(60)
    assert panel.value.cases.structures[0].name == "psoas"
    assert [row.name.value for row in panel.structures.rows] == ["psoas", "b", "c"]
    assert "Kept beside your data" in panel.structures.message.value


def test_patients_set_aside_are_not_planned_with(folder):
    add_subject(folder, "Carl", slices=3, origin_mm=(9.0, 0.0, 0.0), slope=3.0, shapes=CARL)
    panel = opened(folder)
    panel.set_aside.boxes["Carl"].value = True
    panel.set_aside.freeze_button.click()
    panel.wait(60)
    assert json.loads((folder / "test_subjects.json").read_text())["subjects"] == ["Carl"]
    assert "Carl" not in panel.value.plan.validation_subjects


def test_another_way_of_reading_reads_again(folder):
    panel = opened(folder, reading=Reading(plane="axial"))
    assert panel.value.cases.cases[0].reading == Reading(plane="axial")
    panel.how.plane.value = ""
    panel.wait(60)
    assert panel.value.cases.cases[0].reading == Reading()
    panel.how.spacing[0].value = "x"
    panel.wait(60)
    assert panel.value is None
    assert "Correct first how the files are to be read" in panel.message.value
    panel.how.spacing[0].value = ""
    panel.wait(60)
    assert panel.value is not None


def test_an_image_without_a_label_is_left_out_if_wanted(folder):
    (folder / "labels" / "Anna_02.npy").unlink()
    panel = opened(folder)
    assert panel.value is None
    assert "There is 1 image (…)" in panel.message.value
    assert panel.above.children == (panel.show_ids,)
    assert panel.sections[READING].layout.display != "none"
    assert panel.below.children == ()
    assert panel.remedy.children == (panel.leave_out,)  # beside the sentence
    panel.leave_out.value = True
    panel.wait(60)
    assert panel.how.value.unlabelled == "skip"
    assert panel.remedy.children == ()
    assert len(panel.value.cases.cases) == 5
    assert "1 file was left alone" in panel.found.value
    assert len(opened(folder, unlabelled="skip").value.cases.cases) == 5


def test_an_empty_folder_and_one_that_is_not_there(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    panel = opened(folder)
    panel.choose(tmp_path / "empty")
    panel.wait(60)
    assert panel.value is None
    assert "it holds nothing" in panel.message.value
    assert "Traceback" not in panel.message.value
    assert "6 images" not in page(panel)  # nothing of the folder before
    panel.choose(folder)
    panel.wait(60)
    assert panel.value is not None


def test_a_corrupt_file_is_a_finding_with_its_buttons(folder):
    (folder / "structures.csv").write_text("label,name\n1,psoas\n2,disc\n3,fat\n")
    path = folder / "labels" / "Anna_02.npy"
    path.write_bytes(path.read_bytes()[:300])
    panel = opened(folder)
    (row,) = [row for row in panel.findings.rows if row.finding.severity == "error"]
    assert row.finding.kind == "unreadable"
    row.press("Leave this image out")
    assert panel.value is None  # until the answer is used
    panel.findings.use()
    panel.wait(60)
    assert len(panel.value.cases.cases) == 5


def test_what_cannot_be_planned_is_said_and_the_folder_stays_on_the_page(folder, monkeypatch):
    from autoseg.errors import DataError

    def refuse(*_, **__):
        raise DataError("Nobody is left to learn from.")

    monkeypatch.setattr("autoseg.panels.data.data.plan_settings", refuse)
    panel = opened(folder)
    assert panel.value is None
    assert "Nobody is left" in panel.message.value
    assert "6 images of 2 patients" in panel.found.value


def test_a_folder_that_vanished_since(folder):
    panel = opened(folder)
    shutil.rmtree(folder)
    panel.read()
    panel.wait(60)
    assert panel.value is None
    assert 'role="alert"' in panel.message.value
    assert "6 images" not in page(panel)


def test_the_sample(sample, tmp_path):
    shutil.copytree(sample / "train", tmp_path / "train")
    panel = opened(tmp_path / "train")
    assert [row.name.value for row in panel.structures.rows] == ["cavity", "myocardium"]
    assert panel.value is not None
    assert "SCD" not in page(panel)


def test_nifti_files_of_a_public_set(shared_data, tmp_path):
    shutil.copytree(shared_data / "cord-gm-t2star-bids", tmp_path / "bids")
    panel = opened(tmp_path / "bids", unlabelled="skip")
    assert panel.value is not None, panel.message.value
    assert [row.value for row in panel.structures.rows] == [value for value, _ in panel.value.cases.values]
    before = panel.value.cases.structures
    panel.structures.rows[0].name.value = "spinal cord"
    panel.structures.keep_button.click()
    panel.wait(60)
    after = panel.value.cases.structures
    assert [s.includes for s in after] == [s.includes for s in before]
    assert after[0].name == "spinal cord"
    assert "sub-9" not in page(panel)


def test_choosing_begins_where_it_was_told(tmp_path):
    (tmp_path / "conus").mkdir()
    panel = DataPanel(start=tmp_path)
    panel.chooser.wait(60)
    assert panel.value is None
    assert panel.chooser.folder == tmp_path
    assert [line.split(" — ")[0] for line, _ in panel.chooser.list.options] == ["conus"]
