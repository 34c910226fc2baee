"""Where a run went: its files, opening the folder, everything as a zip."""

import io
import shutil
import subprocess
import zipfile

import pytest
from untrained import Fixed

from autoseg.panels.patient.prediction import OutputPanel
from autoseg.report import run_folder


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
    for words in ("areas.csv", "The areas in mm²", "overlays/", "measurements.csv"):
        assert words in panel.table.value


def test_the_zip_holds_every_file(run):
    panel = OutputPanel(Fixed(run))
    assert panel.download.name == f"{run.folder.name}.zip"
    with zipfile.ZipFile(io.BytesIO(panel.pack())) as archive:
        names = archive.namelist()
        assert archive.read(f"{run.folder.name}/areas.csv") == (run.folder / "areas.csv").read_bytes()
    assert len(names) == sum(path.is_file() for path in run.folder.rglob("*"))


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
