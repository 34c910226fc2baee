"""Sentences are for people: with a placeholder in place of every one, the panels of a patient do the same."""

import dataclasses
import threading

import nibabel
import numpy as np
import pytest
from cords import label_map, lumbosacral_cord
from folders import add_stacks
from tubes import cropping, make_tube
from untrained import Fixed, chosen_model, untrained_model

from autoseg.errors import AutosegError
from autoseg.files.nifti.volumes import write_nifti
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure
from autoseg.measurement.areas import Measurement
from autoseg.model.model import TrainedModel
from autoseg.panels.parts.values import ChosenModel, Patient
from autoseg.panels.patient import centreline, corrections, expert, morphometry, patient, prediction
from autoseg.panels.patient.corrections import ALL, CorrectionsPanel
from autoseg.prediction.run import RunProgress, segment_folder
from autoseg.words import GraveNote

SAID = "…"
# What the panels get their sentences from.
SOURCES = {
    patient: ("find_patient", "suggest_series", "check_typed", "read_numbers"),
    centreline: ("find_patient_centrelines", "check_on"),
    prediction: ("segment_folder", "unseen_note", "why_not_openable"),
    morphometry: ("measure_morphometry", "describe_enlargement"),
    corrections: ("run_to_correct", "read_kit", "read_correction", "read_corrections", "keep_corrections"),
    expert: ("compare_with_expert",),
}
DATA = (Image, LabelMap, Measurement, Structure, TrainedModel)


def mute(value):
    """Replace every sentence in what a function gives, down to the fields of its dataclasses."""
    if isinstance(value, str):
        return type(value)(SAID) if " " in value else value
    if isinstance(value, tuple | list):
        return type(value)(mute(one) for one in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, DATA):
        own = {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
        return dataclasses.replace(value, **{name: mute(one) for name, one in own.items()})
    return value


@pytest.fixture(autouse=True)
def _no_sentences(monkeypatch):
    for module, names in SOURCES.items():
        for name in names:
            real = getattr(module, name)
            monkeypatch.setattr(module, name, lambda *given, real=real, **more: mute(real(*given, **more)))
    for kind in (AutosegError, RunProgress):
        monkeypatch.setattr(kind, "__str__", lambda _: SAID)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return add_stacks(tmp_path_factory.mktemp("in"))


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    return segment_folder(untrained_model(), folder, output=tmp_path_factory.mktemp("out"))


def ready(panel):
    panel.wait(60)
    return panel


def is_seen(widget):
    return widget.layout.display != "none"


def test_a_patient_is_chosen(folder, tmp_path):
    panel = ready(patient.PatientPanel(None, folder))
    assert panel.value == Patient(folder, ("a", "b"))
    panel.tick([])
    assert panel.value is None
    panel.tick(["b"])
    panel.type_button.value = True
    panel.field_of_view.value = "8O"
    assert panel.value is None
    panel.field_of_view.value = "90"
    assert (panel.value, is_seen(panel.prefer)) == (None, True)
    panel.prefer.value = "typed"
    assert panel.value == Patient(folder, ("b",), 90.0, None, "typed")
    panel.chooser.choose(tmp_path)
    assert ready(panel).value is None


def test_a_run_is_made_stopped_and_taken_back(folder, tmp_path, monkeypatch):
    above = Fixed(chosen_model(tmp_path)), Fixed(Patient(folder))
    panel = prediction.PredictionPanel(*above, output=tmp_path / "out")
    panel.button.click()
    assert ready(panel).value.folder.is_dir()
    assert SAID in panel.notes.value
    inside, go_on, real = threading.Event(), threading.Event(), prediction.segment_folder

    def slow(*given, **more):
        inside.set()
        go_on.wait(30)
        return real(*given, **more)

    monkeypatch.setattr(prediction, "segment_folder", slow)
    panel.button.click()
    assert inside.wait(30)
    panel.stop_button.click()
    go_on.set()
    assert ready(panel).value is None
    assert len(list((tmp_path / "out").iterdir())) == 1
    above[1].value = None
    assert panel.button.disabled


def test_what_is_grave_stays_in_sight(run):
    noted = dataclasses.replace(run, notes=(GraveNote(SAID),))
    assert "⚠" in prediction.describe_notes(noted)
    assert "⚠" not in prediction.describe_notes(run)


def test_a_centreline_is_clicked(tmp_path):
    write_nifti(tmp_path / "in" / "tube7.nii.gz", make_tube(7)[0])
    chosen = ChosenModel(cropping(finder=False), tmp_path / "cord.pt")
    panel = centreline.CentrelinePanel(Fixed(chosen), Fixed(Patient(tmp_path / "in")), output=tmp_path)
    ready(panel)
    panel.click(4, 20, 20)
    assert panel.value is None
    panel.click(20, 20, 20)
    assert set(panel.value.curves) == {"tube7"}
    assert panel.save().is_file()
    panel.click(999, 20, 20)
    assert len(panel.points) == 2
    panel.remove_all()
    assert panel.value is None
    above = Fixed(chosen_model(tmp_path))
    assert not centreline.CentrelinePanel(above, panel.patient).found


def test_corrections_go_out_come_back_are_kept_and_replaced_only_if_asked(run, tmp_path):
    panel = CorrectionsPanel(Fixed(run), output=run.folder.parent, keep_in=tmp_path / "kept", by="AB")
    panel.write_button.click()
    kit = ready(panel).kit
    assert kit.folder.parent == run.folder
    for number in (1, 2):
        path = kit.folder / kit.cases[0].labels_name
        picture = nibabel.load(path)
        voxels = np.asarray(picture.dataobj).copy()
        voxels[:9, :9, number] = number
        nibabel.save(nibabel.Nifti1Image(voxels, picture.affine), path)
        panel.read_button.click()
        assert any(one.is_changed for one in ready(panel).value.corrections)
        panel.checked.value = ALL
        panel.keep_button.click()
        ready(panel)
        assert is_seen(panel.replace_button) == (number == 2)
        if number == 1:
            assert panel.value.kept
    assert not panel.value.kept
    panel.replace_button.click()
    assert ready(panel).value.kept
    panel.slices.value, panel.checked.value = "none of them", corrections.SOME
    panel.keep_button.click()
    assert ready(panel).value.corrections  # what was read is not lost


def test_a_cord_is_measured_along_its_curve(run):
    mask, affine = lumbosacral_cord(spacing_mm=(4.0, 0.8, 0.8))
    cord = label_map(mask, affine, case_id="back", subject_id="007")
    results = ((Image(mask.astype(np.int16), affine, source=cord.source), cord),)
    made = dataclasses.replace(run, results=results)
    panel = ready(morphometry.MorphometryPanel(Fixed(made), is_open=True))
    panel.conus.value = True
    assert panel.value.profiles
    assert "data:image/png" in panel.plot.value
    panel.along.value = "right-left"
    assert ready(panel).fold.selected_index == 0


def test_labels_of_another_patient_are_no_fault_where_nobody_chose_them(run, tmp_path):
    for kind, value in (("images", 9.0), ("labels", 1)):
        voxels = np.full((4, 40, 40), value, np.float32 if kind == "images" else np.uint8)
        grid = affine_from_spacing((5.0, 2.0, 2.0))
        one = Image(voxels, grid) if kind == "images" else LabelMap(voxels, grid, (Structure(1, "cavity"),))
        write_nifti(tmp_path / kind / "other.nii.gz", one)
    panel = ready(expert.ExpertPanel(Fixed(run), tmp_path))
    assert panel.value is None
    assert 'role="alert"' not in panel.message.value
    panel = ready(expert.ExpertPanel(Fixed(run)))
    panel.chooser.choose(tmp_path)
    assert 'role="alert"' in ready(panel).message.value
