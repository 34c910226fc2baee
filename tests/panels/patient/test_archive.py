"""Series from a real Orthanc and results into it, from the page."""

from types import SimpleNamespace

import pytest
from orthanc import PASSWORD, own_keyring
from structure_sets import the_image
from untrained import Fixed, untrained_model

from autoseg.files.dicom.phantoms import Phantom, write_phantom
from autoseg.files.pacs.connection import keep_connection
from autoseg.panels.patient.archive import NOTHING_WRITTEN, SET_UP, FetchPanel, SendPanel
from autoseg.panels.patient.patient import PatientPanel
from autoseg.panels.patient.prediction import OutputPanel
from autoseg.prediction.run import segment_folder


@pytest.fixture
def connected(archive, monkeypatch):
    monkeypatch.setattr("autoseg.files.pacs.transfer.WAITS_S", (0.0, 0.0))
    keep_connection(archive.web, secret=PASSWORD)
    return archive


def unfolded(panel):
    panel.fold.selected_index = 0
    return panel


def words_of(panel):
    return str([getattr(one, "value", "") for one in panel.inside.children])


def test_without_an_archive_it_is_said_how_one_is_set_up(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOSEG_CONNECTIONS", str(tmp_path / "connections.json"))
    panel = unfolded(FetchPanel(tmp_path))
    assert SET_UP[:40] in words_of(panel)
    panel.get()
    assert "not set up any more" in panel.message.value


def test_a_patient_comes_from_the_archive_and_is_chosen(connected, tmp_path):
    connected.put(*write_phantom(tmp_path / "phantom", Phantom("axial", rows=16, columns=12)))
    patient = PatientPanel()
    fetch = patient.fetch
    fetch._root = tmp_path / "got"
    unfolded(fetch)
    fetch.search()
    fetch.wait(60)
    assert "All of an archive would be too much" in fetch.message.value
    fetch.asked["patient_id"].value = "phan*"
    fetch.search()
    fetch.wait(60)
    [(words, series)] = fetch.series.options
    assert words.startswith("patient 1, ")
    assert "phantom" not in words
    fetch.show_ids.value = True
    assert fetch.series.options[0][0].startswith("phantom")
    fetch.get()
    assert "No series is chosen" in fetch.message.value
    fetch.series.value = [series]
    fetch.get()
    fetch.wait(60)
    assert fetch.value == tmp_path / "got" / "patient_1", fetch.message.value
    patient.wait(60)
    assert patient.chooser.value == fetch.value
    assert "patient_2" not in fetch.into.value
    assert fetch.stop_button.disabled


def test_a_stopped_get_leaves_nothing_half_and_a_wrong_password_is_said(connected, tmp_path, monkeypatch):
    connected.put(*write_phantom(tmp_path / "phantom", Phantom("axial", rows=16, columns=12)))
    fetch = unfolded(FetchPanel(tmp_path / "got"))
    fetch.asked["patient_id"].value = "phantom"
    fetch.search()
    fetch.wait(60)
    fetch.series.index = (0,)
    monkeypatch.setattr(fetch, "_stopped", SimpleNamespace(is_set=lambda: True, clear=lambda: None))
    fetch.get()
    fetch.wait(60)
    assert "Stopped" in fetch.message.value
    assert fetch.value is None
    assert not list((tmp_path / "got").rglob("*.dcm"))
    own_keyring(monkeypatch)
    fetch.search()
    fetch.wait(60)
    assert "--password" in fetch.message.value
    assert not fetch.search_button.disabled


def test_results_are_shown_before_they_are_sent(connected, tmp_path):
    the_image(tmp_path / "scanner", "knee")
    run = segment_folder(untrained_model(), tmp_path / "scanner", output=tmp_path / "out", look=False)
    output = OutputPanel(Fixed(run))
    panel = unfolded(output.archive)
    assert NOTHING_WRITTEN[:30] in words_of(panel)
    output.write_dicom()
    output.wait(120)
    panel.plan()
    panel.wait(60)
    assert "phantom" not in panel.planned.value
    assert "SEG" in panel.planned.value
    assert not connected.instances()
    panel.send_button.click()
    panel.wait(60)
    assert panel.value is not None, panel.message.value
    assert len(connected.instances()) == len(panel.value.outcomes) > 2
    connected.stop(at_once=True)
    try:
        panel.send_button.click()
        panel.wait(60)
        assert not panel.value.of("sent")
        assert "Send again for the rest" in panel.message.value
    finally:
        connected.start()


def test_another_run_takes_the_plan_away():
    panel = SendPanel()
    panel.planned.value = "of another run"
    panel.show(None)
    panel.plan()
    assert panel.planned.value == ""
    assert panel.send_button.disabled is False
    panel.send()
    assert panel.value is None
