"""`autoseg pacs`, `fetch` and `send` with a real Orthanc."""

import json
import subprocess
import sys

import keyring
import pytest
from orthanc import PASSWORD, USER
from pydicom import dcmread

from autoseg.cli import main
from autoseg.data.codes import keep_without_ids
from autoseg.files.dicom.phantoms import Phantom, write_phantom
from autoseg.files.pacs.connection import connections_path


@pytest.fixture
def connected(archive, monkeypatch):
    monkeypatch.setattr("autoseg.files.pacs.transfer.WAITS_S", (0.0, 0.0))
    monkeypatch.setattr("autoseg.cli.archive.getpass", lambda prompt: PASSWORD)
    assert main(["pacs", "orthanc-web", "--url", archive.web.url, "--user", USER, "--check"]) == 0
    return archive


@pytest.fixture
def phantom(tmp_path):
    return write_phantom(tmp_path / "phantom", Phantom("axial", rows=16, columns=12))


def test_the_password_is_in_no_file(connected, capsys):
    assert main(["pacs"]) == 0
    assert f"user {USER}" in capsys.readouterr().out
    kept = connections_path().read_text(encoding="utf-8")
    assert json.loads(kept)["connections"][0]["user"] == USER
    assert PASSWORD not in kept
    assert main(["pacs", "orthanc-web", "--remove"]) == 0
    assert main(["fetch", "orthanc-web", "--patient", "phantom"]) == 1
    assert "There is none yet" in capsys.readouterr().err


def test_a_series_goes_there_and_back(connected, phantom, tmp_path, capsys):
    assert main(["send", "orthanc-web", str(phantom[0].parent)]) == 1
    assert "nobody can be asked" in capsys.readouterr().err
    assert not connected.instances()
    assert main(["send", "orthanc-web", str(phantom[0].parent), "--yes"]) == 0
    assert f"{len(phantom)} files of {len(phantom)} sent to {connected.web.url}" in capsys.readouterr().out
    assert main(["fetch", "orthanc-web", "--patient", "phan*", "--into", str(tmp_path / "new")]) == 0
    assert "Got:" in capsys.readouterr().out
    assert len(list((tmp_path / "new").rglob("*.dcm"))) == len(phantom)


def test_another_address_is_not_given_the_password_unasked(connected, monkeypatch):
    asked = []
    monkeypatch.setattr("autoseg.cli.archive.getpass", lambda prompt: asked.append(prompt) or "another")
    assert main(["pacs", "orthanc-web", "--port", "105"]) == 0
    assert not asked
    assert main(["pacs", "orthanc-web", "--url", "http://127.0.0.1:9/dicom-web"]) == 0
    assert len(asked) == 1
    assert keyring.get_password("autoseg orthanc-web", USER) == "another"
    assert main(["pacs", "orthanc-web", "--user", "bert"]) == 0
    assert keyring.get_password("autoseg orthanc-web", USER) is None
    assert main(["pacs", "orthanc-web", "--url", "https://[abc"]) == 1


def test_where_nobody_can_be_asked_for_a_password_it_is_a_sentence(connected, monkeypatch, capsys):
    def nobody(prompt):
        raise EOFError

    monkeypatch.setattr("autoseg.cli.archive.getpass", nobody)
    kept = connections_path().read_text(encoding="utf-8")
    assert main(["pacs", "orthanc-web", "--url", "http://127.0.0.1:9/dicom-web"]) == 1
    assert "nobody can be asked here" in capsys.readouterr().err
    assert connections_path().read_text(encoding="utf-8") == kept


def test_uids_that_are_not_as_they_should_be_come_without_a_word(archive, sample, tmp_path):
    archive.put(*sorted((sample / "test" / "dicoms").iterdir())[:2])
    # In a process of its own, for pytest has filters of its own.
    script = (
        "import sys; from autoseg.cli import main; from autoseg.files.pacs.connection import Connection, "
        "keep_connection; keep_connection(Connection('here', host='127.0.0.1', port=int(sys.argv[1]), "
        "ae_title='ORTHANC')); sys.exit(main(['fetch', 'here', '--patient', 'SCD*', '--into', sys.argv[2]]))"
    )
    command = [sys.executable, "-c", script, str(archive.dicom), str(tmp_path / "got")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list((tmp_path / "got").rglob("*.dcm"))) == 2


def test_what_is_marked_within_a_folder_is_sent_without_the_patient(connected, phantom, tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOSEG_PATIENT_KEY", str(tmp_path / "key" / "patient_key.csv"))
    keep_without_ids(phantom[0].parent)
    assert main(["send", "orthanc-web", str(tmp_path), "--yes"]) == 0
    (patient,) = connected.ask("/patients?expand")
    assert patient["MainDicomTags"]["PatientID"].startswith("P-")


def test_without_ids_nothing_of_the_patient_leaves_or_is_printed(connected, phantom, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AUTOSEG_PATIENT_KEY", str(tmp_path / "key" / "patient_key.csv"))
    connected.put(*phantom)
    new = tmp_path / "new"
    assert main(["fetch", "orthanc-web", "--patient", "phantom", "--into", str(new), "--without-ids"]) == 0
    told = capsys.readouterr().out
    assert "phantom" not in told
    assert "axial" not in told
    assert (new / "without_patient_ids.txt").is_file()
    connected.empty()
    assert main(["send", "orthanc-web", str(new), "--yes"]) == 0
    assert len(connected.instances()) == len(phantom)
    (patient,) = connected.ask("/patients?expand")
    assert patient["MainDicomTags"]["PatientID"].startswith("P-")
    assert not connected.instances() & {dcmread(path).SOPInstanceUID for path in phantom}
