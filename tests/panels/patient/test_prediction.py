"""Segmenting by a click: progress, stop, notes, and no result of another patient."""

import errno
import io
import os
import shutil
import subprocess
import threading
import zipfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from folders import add_stacks
from untrained import OF_9_MM, Fixed, chosen_model, untrained_model

from autoseg.data.codes import KEY
from autoseg.errors import OutputError
from autoseg.measurement.areas import measure_areas
from autoseg.panels.parts.values import ChosenModel, Patient
from autoseg.panels.patient import prediction as module
from autoseg.panels.patient import redrawn
from autoseg.panels.patient.areas import AreasPanel
from autoseg.panels.patient.light import GOES_ON, WITHHELD
from autoseg.panels.patient.prediction import OutputPanel, PredictionPanel
from autoseg.prediction.corrected import RunAsDrawn
from autoseg.prediction.ensemble import COPIES
from autoseg.prediction.run import Run
from autoseg.report import run_folder
from autoseg.words import GraveNote, ReadingNote


@pytest.fixture
def above(tmp_path):
    """What stands above the panel: a model and a patient."""
    return Fixed(chosen_model(tmp_path)), Fixed(Patient(add_stacks(tmp_path / "in"), ("a", "b")))


def run(panel, seconds=60):
    panel.button.click()
    panel.wait(seconds)
    return panel


def test_before_the_choice_it_says_what_is_missing(above, tmp_path):
    model, patient = Fixed(), Fixed()
    panel = PredictionPanel(model, patient, output=tmp_path / "out")
    assert panel.button.disabled
    assert "First choose a model and a patient" in panel.message.value
    model.value = above[0].value
    assert "First choose a patient" in panel.message.value
    patient.value = above[1].value
    assert not panel.button.disabled
    assert panel.message.value == ""


def test_a_click_segments_measures_and_shows(above, sample, tmp_path):
    above[1].value = Patient(sample / "test" / "dicoms", ("series-5",))
    panel = run(PredictionPanel(*above, output=tmp_path / "out"))
    assert panel.value.folder.parent == tmp_path / "out"
    assert panel.viewer in panel.shown.children
    assert "2 images, 20 slices" in panel.message.value
    assert "time points" in panel.notes.value
    assert not panel.button.disabled
    assert panel.stop_button.disabled
    assert panel.bar.layout.display == "none"


def test_progress_is_shown_by_series_and_slice(above, tmp_path, monkeypatch):
    panel, said = PredictionPanel(*above, output=tmp_path / "out"), []
    panel.message.observe(lambda change: said.append(change["new"]), "value")
    filled = []
    panel.bar.observe(lambda change: filled.append(change["new"]), "value")
    run(panel)
    assert any("Series 2 of 2, slice 4 of 4" in words for words in said)
    assert max(filled) > 0.9


def test_all_patients_of_the_folder_are_segmented_gone_on_with_and_not_named(above, tmp_path, monkeypatch):
    for name in ("annaquax", "bertaquax"):
        add_stacks(tmp_path / "study" / name)
    (tmp_path / "study" / "lostquax").mkdir()
    above[1].value = Patient(tmp_path / "study", ("whatever",))
    panel, said = PredictionPanel(*above, output=tmp_path / "out"), []
    panel.message.observe(lambda change: said.append(change["new"]), "value")
    tell = panel.progress
    monkeypatch.setattr(panel, "progress", lambda share: (tell(share), (share or 0) > 0.35 and panel.stop()))
    panel.all_button.click()
    panel.wait(60)
    assert "3 patients: 1 amber and 2 not segmented yet. Stopped" in panel.message.value
    monkeypatch.setattr(panel, "progress", tell)
    panel.all_button.click()
    panel.wait(60)
    assert "3 patients: 1 failed and 2 amber." in panel.message.value
    assert any("Patient 2 of 3: Series 1 of 2" in words for words in said)
    assert not any("annaquax" in words or "bertaquax" in words for words in said)
    (place,) = (tmp_path / "out").iterdir()
    assert str(place / "report.html") in panel.message.value
    report, *tables = (row.children[0] for row in panel.files.children)
    assert (report.name, report.make()) == (f"{place.name}_report.html", (place / "report.html").read_bytes())
    assert {"measurements.csv", "report.csv"} <= {table.description for table in tables}
    assert sorted(path.name for path in (place / "runs").iterdir()) == ["annaquax", "bertaquax"]
    assert panel.value is None
    assert not panel.button.disabled
    assert not panel.all_button.disabled
    assert panel.stop_button.disabled


def test_stop_writes_nothing(above, tmp_path, monkeypatch):
    inside, go_on, real = threading.Event(), threading.Event(), module.segment_folder

    def slow(*arguments, on_progress, **more):
        def tell(progress):
            if progress.stage == "predicting":
                inside.set()
                go_on.wait(30)
            return on_progress(progress)

        return real(*arguments, on_progress=tell, **more)

    monkeypatch.setattr(module, "segment_folder", slow)
    panel = PredictionPanel(*above, output=tmp_path / "out")
    panel.button.click()
    assert inside.wait(30)
    assert panel.button.disabled
    panel.stop_button.click()
    go_on.set()
    panel.wait(60)
    assert panel.value is None
    assert "Stopped. Nothing was written." in panel.message.value
    assert not (tmp_path / "out").exists()
    assert not panel.button.disabled


@pytest.fixture
def held(above, tmp_path, monkeypatch):
    """Give a panel whose run waits, with all lights told and no slice segmented, until `go_on` is called."""
    inside, going, real = threading.Event(), threading.Event(), module.segment_folder

    def slow(*arguments, on_progress, **more):
        def tell(progress):
            stop = on_progress(progress)
            if progress.stage == "predicting":
                inside.set()
                going.wait(30)
            return stop or on_progress(progress)

        return real(*arguments, on_progress=tell, **more)

    monkeypatch.setattr(module, "segment_folder", slow)

    def begin(**changes):
        above[0].value = chosen_model(tmp_path, **changes)
        panel = PredictionPanel(*above, output=tmp_path / "out")
        panel.button.click()
        assert inside.wait(30)

        def go_on():
            going.set()
            panel.wait(60)

        return panel, go_on

    return begin


@pytest.mark.parametrize("then", ["goes on", "is stopped", "has another patient"])
def test_a_light_that_is_red_already_stands_there_while_the_run_goes_on(held, above, tmp_path, then):
    panel, go_on = held(trust=OF_9_MM)
    assert panel.children.index(panel.light) < panel.children.index(panel.bar)
    card = panel.light.box.value
    assert "Red: not suited to the model" in card
    assert "Red, a, b: Its pixels are 2 mm; the model learnt from 9" in card
    assert GOES_ON in card
    assert not panel.stop_button.disabled
    assert panel.light.button.layout.display == "none"  # there are no numbers yet
    if then == "is stopped":
        panel.stop_button.click()
    elif then == "has another patient":
        above[1].value = Patient(tmp_path)
    go_on()
    if then == "goes on":
        assert panel.value is not None
        assert WITHHELD in panel.light.box.value
        assert GOES_ON not in panel.light.box.value
    else:
        assert panel.light.box.value == ""
        assert not (tmp_path / "out").exists()


def test_a_light_that_may_become_worse_is_not_shown_beforehand(held):
    panel, go_on = held()  # a model that does not know what it learnt from is amber for all
    assert panel.light.box.value == ""
    go_on()
    assert "Amber" in panel.light.box.value


def test_another_patient_takes_the_old_result_away(above, sample, tmp_path):
    panel = run(PredictionPanel(*above, output=tmp_path / "out"))
    earlier = panel.value.folder
    above[1].value = Patient(sample / "train" / "dicoms")
    assert panel.value is None
    assert panel.shown.children == ()
    assert panel.notes.value == ""
    assert str(earlier) in panel.message.value
    assert earlier.is_dir()


def test_another_model_takes_the_old_result_away_too(above, tmp_path):
    panel = run(PredictionPanel(*above, output=tmp_path / "out"))
    above[0].value = None
    assert panel.value is None
    assert panel.shown.children == ()
    assert panel.button.disabled


def test_a_cleaning_that_is_chosen_counts_and_takes_the_earlier_result_away(above, tmp_path):
    panel = run(PredictionPanel(*above, output=tmp_path / "out"))
    assert panel.value.model == "heart"
    panel.cleaning.erosions.value = 2  # without effect as long as the model's own is chosen
    assert panel.value is not None
    panel.cleaning.choice.value = True
    assert panel.value is None
    assert "The cleaning was changed" in panel.message.value
    panel.cleaning.holes.value = True
    assert run(panel).value.model == "heart, 2 erosions, holes filled"


def test_a_patient_changed_during_the_run_gets_no_result_of_the_other(above, sample, tmp_path, monkeypatch):
    inside, go_on, real = threading.Event(), threading.Event(), module.segment_folder

    def late(*arguments, **more):
        run = real(*arguments, **more)
        inside.set()
        go_on.wait(30)
        return run

    monkeypatch.setattr(module, "segment_folder", late)
    panel = PredictionPanel(*above, output=tmp_path / "out")
    panel.button.click()
    assert inside.wait(60)
    above[1].value = Patient(sample / "train" / "dicoms")
    go_on.set()
    panel.wait(60)
    assert panel.value is None
    assert panel.shown.children == ()
    assert "changed during the run" in panel.message.value
    assert not panel.button.disabled


def test_a_damaged_slice_is_named_and_the_others_are_measured(above, sample, tmp_path):
    patient = tmp_path / "patient"
    shutil.copytree(sample / "test" / "dicoms", patient)
    broken = sorted(patient.iterdir())[3]
    broken.write_bytes(broken.read_bytes()[:50_000])
    above[1].value = Patient(patient)
    panel = run(PredictionPanel(*above, output=tmp_path / "out"))
    assert "19 slices" in panel.message.value
    assert f"{broken.name} was left out" in panel.notes.value.split("<details")[0]
    assert "Left alone: 1 file." in panel.notes.value


def test_a_folder_that_went_away_is_a_sentence(above, tmp_path):
    above[1].value = Patient(tmp_path / "gone")
    panel = run(PredictionPanel(*above, output=tmp_path / "out"))
    assert panel.value is None
    assert "does not exist" in panel.message.value
    assert not panel.button.disabled
    assert panel.bar.layout.display == "none"


def test_a_full_disk_is_a_sentence_and_leaves_no_folder_and_no_old_result(above, tmp_path, monkeypatch):
    panel = run(PredictionPanel(*above, output=tmp_path / "out"))

    def full(path, *arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("autoseg.report.export.write_gif", full)
    run(panel)
    assert "No space left" in panel.message.value
    assert "Traceback" not in panel.message.value
    assert panel.value is None
    assert panel.shown.children == ()
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_two_clicks_are_one_run(above, tmp_path):
    panel = PredictionPanel(*above, output=tmp_path / "out")
    panel.segment()
    panel.segment()
    panel.wait(60)
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_many_notes_on_reading_unfold_and_what_is_grave_stays_in_sight():
    """By what kind of note each is: not by its words."""

    def noted(*notes):
        return module.describe_notes(Run(None, (), (), pd.DataFrame(), tuple(notes), ()))

    few, many = ([ReadingNote(f"s-{n}: x") for n in range(count)] for count in (3, 5))
    assert "<details" not in noted(*few)
    shown = noted(*many, GraveNote("s-1: y"), "z")
    assert "5 notes on how the series were read." in shown
    plain = shown.split("<details")[0]
    assert "s-1: y" in plain
    assert "z" in plain
    assert "s-0: x" not in plain
    assert plain.count("⚠") == 1


def test_a_model_that_is_changed_while_the_result_is_drawn_takes_it_away(above, tmp_path, monkeypatch):
    drawing, go_on, real = threading.Event(), threading.Event(), module.SliceViewer

    def slow(*arguments, **more):
        drawing.set()
        go_on.wait(1)
        return real(*arguments, **more)

    monkeypatch.setattr(module, "SliceViewer", slow)
    panel = PredictionPanel(*above, output=tmp_path / "out")
    panel.button.click()
    assert drawing.wait(30)
    above[0].value = chosen_model(tmp_path)
    go_on.set()
    panel.wait(60)
    assert panel.value is None
    assert panel.viewer is None
    assert not panel.shown.children
    assert "was changed" in panel.message.value


# --- several models, copies


def test_nobody_has_to_decide_on_copies(above, tmp_path):
    panel = PredictionPanel(*above, output=tmp_path / "out")
    assert panel.copies.value == "none"
    assert panel.more.selected_index is None
    assert {value for _, value in panel.copies.options} == set(COPIES)
    assert [f"({len(COPIES[value])} × the time)" in words for words, value in panel.copies.options[1:]] == [
        True
    ] * 4
    assert run(panel).value.model == "heart"


def test_chosen_copies_are_taken_and_their_cost_is_told(above, tmp_path):
    panel = PredictionPanel(*above, output=tmp_path / "out")
    assert "computed once. Worth a try with what was chosen above: turned copies." in panel.cost.value
    panel.copies.value = "turned"
    assert "computed 4 times. Training saw such copies too." in panel.cost.value
    assert run(panel).value.model == "heart, turned copies"
    panel.copies.value = "left-right"
    assert panel.value is None
    assert "The choice of copies was changed" in panel.message.value
    assert "never met left-right copies" in panel.cost.value
    assert "never met left-right copies" in run(panel).notes.value


def test_slices_are_judged_unless_somebody_is_in_a_hurry(above, tmp_path, monkeypatch):
    asked, real = [], module.segment_folder

    def noted(*arguments, look, **more):
        asked.append(look)
        return real(*arguments, look=look, **more)

    monkeypatch.setattr(module, "segment_folder", noted)
    panel = run(PredictionPanel(*above, output=tmp_path / "out"))
    panel.judges.value = False
    assert panel.value is None
    assert "Whether slices are judged was changed" in panel.message.value
    run(panel)
    assert asked == [True, False]


def test_copies_can_be_given(above, tmp_path):
    panel = PredictionPanel(*above, output=tmp_path / "out", copies="turned")
    assert panel.more.selected_index == 0
    assert run(panel).value.model == "heart, turned copies"


def test_several_models_are_taken_together(above, tmp_path):
    first = above[0].value
    other = ChosenModel(replace(untrained_model(spacing_mm=9.0), name="other"), tmp_path / "other.pt")
    above[0].value = replace(first, others=(other,))
    panel = PredictionPanel(*above, output=tmp_path / "out")
    assert "computed 2 times" in panel.cost.value
    assert run(panel).value.model == "heart + other"


def test_copies_changed_during_a_run_leave_no_result(above, tmp_path, monkeypatch):
    inside, go_on, real = threading.Event(), threading.Event(), module.segment_folder

    def late(*arguments, **more):
        run = real(*arguments, **more)
        inside.set()
        go_on.wait(30)
        return run

    monkeypatch.setattr(module, "segment_folder", late)
    panel = PredictionPanel(*above, output=tmp_path / "out")
    panel.button.click()
    assert inside.wait(60)
    panel.copies.value = "turned"
    go_on.set()
    panel.wait(60)
    assert panel.value is None
    assert "The choice of copies was changed during the run" in panel.message.value


# --- where a run went: its files, opening the folder, everything as a zip


@pytest.fixture
def no_screen(monkeypatch):
    monkeypatch.setattr(run_folder.sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "JUPYTERHUB_SERVICE_PREFIX", "SSH_CONNECTION"):
        monkeypatch.delenv(name, raising=False)


def test_without_a_run_it_says_what_to_do():
    panel = OutputPanel(Fixed())
    assert "First segment a patient" in panel.message.value
    assert panel.body.children == ()


def test_files_are_listed_with_what_they_are(run):
    panel = OutputPanel(Fixed(run))
    assert panel.value == run.folder
    rows = {row.children[0].description: row.children for row in panel.files.children}
    assert {"areas.csv", "overlays/", "measurements.csv"} <= set(rows)
    file, said = rows["areas.csv"]
    assert "one column a structure in mm² (or pixels)" in said.value
    assert (file.name, file.make()) == (f"{run.folder.name}_areas.csv", (run.folder / "areas.csv").read_bytes())
    pictures = rows["overlays/"][0]
    assert pictures.name == f"{run.folder.name}_overlays.zip"
    with zipfile.ZipFile(io.BytesIO(pictures.make())) as archive:
        assert len(archive.namelist()) == len(list((run.folder / "overlays").iterdir()))


def test_results_of_other_times_are_listed_as_such_until_there_is_one_of_now(run):
    prediction = Fixed()
    prediction.output = run.folder.parent
    panel = OutputPanel(prediction)
    words, *rows = panel.body.children
    assert "Not of what is chosen above" in words.value
    (file,) = [row.children[0] for row in rows if row.children[0].description == run.folder.name]
    assert file.name == f"{run.folder.name}_areas.xlsx"
    assert file.make() == (run.folder / "areas.xlsx").read_bytes()
    assert panel.value is None
    prediction.value = run
    assert words not in panel.body.children


def test_the_zip_holds_every_file(run):
    panel = OutputPanel(Fixed(run))
    assert panel.download.name == f"{run.folder.name}.zip"
    with zipfile.ZipFile(io.BytesIO(panel.pack())) as archive:
        names = archive.namelist()
        assert archive.read(f"{run.folder.name}/areas.csv") == (run.folder / "areas.csv").read_bytes()
    assert len(names) == sum(path.is_file() for path in run.folder.rglob("*"))


def test_the_report_is_a_page_and_a_pdf_that_name_nobody_unless_that_is_ticked(tmp_path):
    run = module.segment_folder(untrained_model(), add_stacks(tmp_path / "in"), output=tmp_path, only=("a",))
    run = replace(run, measurements=tuple(replace(row, subject_id="P7711") for row in run.measurements))
    panel = OutputPanel(Fixed(run), Fixed())
    assert panel.page.name == f"{run.folder.name}_report.html"
    page = panel.make_page().decode()
    assert page.startswith("<!DOCTYPE html>")
    assert "Areas of patient 1" in page
    assert "P7711" not in page
    panel.ids.value = True
    pdf = panel.make_pdf()
    assert pdf.startswith(b"%PDF-")
    assert b"Areas of P7711" in pdf  # its title
    shutil.rmtree(run.folder)
    ((message, _),) = panel.page.pieces()
    assert "no run.json" in message["failed"]


def test_the_model_goes_to_other_programs_at_a_click_and_never_over_an_earlier_one(run, tmp_path, monkeypatch):
    import dataclasses

    class Chosen(Fixed):
        model = Fixed(None)

    written = []

    def write(model, folder, *, model_file):
        folder.mkdir()
        written.append((model.name, folder.name, model_file.name))

    monkeypatch.setattr("autoseg.panels.patient.prediction.write_onnx", write)
    (tmp_path / "run").mkdir()
    chosen = Chosen(dataclasses.replace(run, folder=tmp_path / "run"))
    panel = OutputPanel(chosen)
    panel.onnx_button.click()
    panel.wait(60)
    assert "No model is chosen any more" in panel.message.value
    model = untrained_model()
    other = ChosenModel(dataclasses.replace(model, name="other"), tmp_path / "other_2.pt")
    chosen.model.value = ChosenModel(model, tmp_path / "disc_9.pt", (other,))
    for _ in range(2):
        panel.onnx_button.click()
        panel.wait(60)
        assert "own answers" in panel.told.value
        assert not panel.onnx_button.disabled
    names = ["disc_9_onnx", "other_2_onnx", "disc_9_onnx_2", "other_2_onnx_2"]
    assert [folder for _, folder, _ in written] == names
    assert written[1] == ("other", "other_2_onnx", "other_2.pt")
    assert [row.children[0].description for row in panel.files.children][-4:] == names
    settings = dataclasses.replace(
        model.settings, preprocess=dataclasses.replace(model.settings.preprocess, clahe=True)
    )
    refused = ChosenModel(dataclasses.replace(model, settings=settings), tmp_path / "clahe_1.pt")
    chosen.model.value = ChosenModel(model, tmp_path / "disc_9.pt", (refused,))
    panel.onnx_button.click()
    panel.wait(60)
    assert "cannot be exported: it equalises the contrast" in panel.message.value
    assert len(written) == len(names)  # not one of them


def test_dicom_objects_and_copies_that_can_leave_are_written_at_a_click_and_listed(run, tmp_path, monkeypatch):
    import dataclasses

    folder = shutil.copytree(run.folder, tmp_path / "run")
    image, found = run.results[0]
    small = dataclasses.replace(found, voxels=found.voxels.copy())
    small.voxels[:] = 0
    small.voxels[2:4, 90:100, 80:100] = 1
    rows = tuple(measure_areas(small, image=image))
    one = dataclasses.replace(run, folder=folder, results=((image, small),), measurements=rows)
    panel = OutputPanel(Fixed(one))
    panel.dicom_button.click()
    panel.wait(60)
    assert "written, read back and compared" in panel.told.value
    assert "dicom/" in [row.children[0].description for row in panel.files.children]
    assert not panel.dicom_button.disabled
    assert {path.name.rpartition("_")[2] for path in (folder / "dicom").iterdir()} == {
        *("SEG.dcm", "SR.dcm", "RTSTRUCT.dcm", "SC.dcm")
    }
    monkeypatch.setenv(KEY, str(tmp_path / "own" / "key.csv"))
    panel.leave_button.click()
    panel.wait(60)
    assert "written, read back and compared" in panel.told.value  # still
    assert "copied to leaving" in panel.told.value
    assert "burnt into its pixels" in panel.told.value  # the report's pages
    assert "leaving/" in [row.children[0].description for row in panel.files.children]
    copies = [path.read_bytes() for path in (folder / "leaving").rglob("*.dcm")]
    assert len(copies) == len({one.path for one in image.source.slices}) + 3
    assert panel.value == folder.resolve()
    with zipfile.ZipFile(io.BytesIO(panel.pack())) as archive:
        assert any("/leaving/" in name for name in archive.namelist())
    assert not any(image.source.subject_id.encode() in one for one in copies)


def test_where_there_is_no_screen_the_button_is_off_and_says_why(run, no_screen):
    panel = OutputPanel(Fixed(run))
    assert panel.open_button.disabled
    assert "no screen" in panel.reason.value
    panel.open_in_window()
    assert "cannot be opened" in panel.message.value


def test_with_a_screen_a_click_opens_the_folder(run, monkeypatch, no_screen):
    opened = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_: opened.append(command))
    panel = OutputPanel(Fixed(run))
    assert not panel.open_button.disabled
    panel.open_button.click()
    assert opened == [["xdg-open", str(run.folder)]]


def test_a_run_that_is_taken_back_takes_its_files_away(run):
    prediction = Fixed(run)
    panel = OutputPanel(prediction)
    prediction.value = None
    assert panel.body.children == ()
    assert panel.value is None


def test_a_folder_that_was_deleted_is_a_sentence(run, tmp_path):
    import dataclasses

    panel = OutputPanel(Fixed(dataclasses.replace(run, folder=tmp_path / "gone")))
    assert "not there any more" in panel.message.value


# --- outlines that a person corrects in the viewer


def test_outlines_are_corrected_measured_and_handed_on(above, tmp_path):
    panel = run(PredictionPanel(*above, output=tmp_path / "out"))
    below, made = OutputPanel(panel), panel.value
    areas = {(row.case_id, row.slice_index, row.label): row.pixel_count for row in made.measurements}
    assert panel.measure_button.disabled
    panel.correct_button.click()
    assert "Say who corrects" in panel.message.value
    assert panel.value is made  # the result is not lost
    panel.by.value = "AB"
    panel.correct_button.click()
    assert panel.correct_button.disabled
    name, (_, labels) = made.results[0][0].source.case_id, made.results[0]
    rows, columns = labels.shape[1:]
    everywhere = {"image": 0, "slice": 1, "label": 1, "tool": "polygon", "number": 1}
    everywhere["points"] = [[-1, -1], [-1, columns], [rows, columns], [rows, -1]]
    held = labels.voxels.copy()
    panel.viewer._handle_custom_msg({"draw": everywhere}, [])
    panel.measure_button.click()
    panel.wait(60)
    now = panel.value
    assert now.before is made
    assert now.folder == made.folder / "corrected"
    found = {(row.case_id, row.slice_index, row.label): row.pixel_count for row in now.measurements}
    assert found.pop((name, 1, 1)) == rows * columns
    assert found.pop((name, 1, 2)) == 0
    assert found.items() <= areas.items()
    assert np.array_equal(made.results[0][1].voxels, held)  # what the model drew
    assert panel.viewer.references[0] is made.results[0][1]
    assert "All below is of the corrected outlines" in panel.message.value
    assert below.value == now.folder.resolve()
    assert b"Corrected by hand" in below.make_page()
    # Taken back altogether, it is the run of the model again.
    panel.correct_button.click()
    panel.viewer._handle_custom_msg({"draw": {**everywhere, "tool": "restore"}}, [])
    panel.measure_button.click()
    panel.wait(60)
    assert panel.value is made
    assert not now.folder.exists()


def test_numbers_below_follow_strokes_and_say_where_they_do_not_yet(above, tmp_path, monkeypatch):
    """Table, means, plots and brightness are of what is drawn now; what needs a click says that it is not."""
    monkeypatch.setattr(redrawn, "PAUSE_S", 0.0)
    panel = run(PredictionPanel(*above, output=tmp_path / "out"))
    made, areas, below = panel.value, AreasPanel(panel), OutputPanel(panel)
    areas.wait(60)
    before = areas.patients.value, areas.plots.value, areas.tissue.shown.value
    held = {path: path.read_bytes() for path in made.folder.rglob("*") if path.is_file()}
    areas.select(name := made.results[0][0].source.case_id, 1, 1)
    panel.by.value = "AB"
    panel.correct()
    follows, go_on, real = panel.light.drawing, threading.Event(), RunAsDrawn.measure
    assert follows.redrawn is None  # nothing was drawn

    def measure(self):
        assert go_on.wait(60)
        return real(self)

    monkeypatch.setattr(RunAsDrawn, "measure", measure)
    rows, columns = made.results[0][1].shape[1:]
    everywhere = {"image": 0, "slice": 1, "label": 1, "tool": "polygon", "number": 1}
    everywhere["points"] = [[-1, -1], [-1, columns], [rows, columns], [rows, -1]]
    panel.viewer._handle_custom_msg({"draw": everywhere}, [])
    assert "follows as soon as you pause" in areas.drawn.value
    assert "is of those before" in below.children[0].value
    assert areas.look.children == ()  # a viewer of the outlines before
    go_on.set()
    follows.wait(60)
    areas.wait(60)
    assert "as they are drawn now" in areas.drawn.value
    found = {(row.case_id, row.slice_index, row.label): row for row in areas.table.measurements}
    assert found[name, 1, 1].pixel_count == rows * columns
    assert f"{rows * columns:,} pixels" in areas.table.explanation  # what was chosen stays chosen
    now = areas.patients.value, areas.plots.value, areas.tissue.shown.value
    assert all(one != other for one, other in zip(before, now, strict=True))
    assert areas.table.files == {}  # they are of the outlines before
    assert "is of those before" in below.children[0].value
    assert {path: path.read_bytes() for path in held} == held
    # They are the numbers that the files get.
    panel.measure_corrected()
    panel.wait(60)
    areas.wait(60)
    assert areas.table.measurements == tuple(found.values()) == panel.value.measurements
    assert (areas.patients.value, areas.plots.value, areas.tissue.shown.value) == now
    assert (areas.drawn.value, below.children[0].value, follows.redrawn) == ("", "", None)
    # Taken back, they are those of the model; and what fails is said.
    panel.correct()
    monkeypatch.setattr(RunAsDrawn, "measure", lambda _: 1 / 0)
    panel.viewer._handle_custom_msg({"draw": {**everywhere, "tool": "restore"}}, [])
    follows.wait(60)
    assert "could not be measured; they are saved." in areas.drawn.value
    assert "What went wrong: division by zero" in areas.drawn.value
    monkeypatch.setattr(RunAsDrawn, "measure", real)
    panel.viewer._handle_custom_msg({"draw": {**everywhere, "tool": "undo"}}, [])
    follows.wait(60)
    assert follows.redrawn is None
    areas.wait(60)
    assert areas.value is panel.value


def test_what_cannot_be_measured_is_said_and_the_result_stays(above, tmp_path, monkeypatch):
    panel = run(PredictionPanel(*above, output=tmp_path / "out"))
    made = panel.value
    panel.by.value = "AB"
    panel.correct()

    def full(*_, **__):
        raise OutputError("The disk is full.")

    monkeypatch.setattr(module, "correct_run", full)
    panel.measure_corrected()
    panel.wait(60)
    assert "The disk is full." in panel.message.value
    assert panel.value is made
    assert panel.viewer._drawn_images == len(made.results)  # drawing goes on
