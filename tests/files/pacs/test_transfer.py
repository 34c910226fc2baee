"""Series out of a real Orthanc and files into it, by both of its protocols."""

import numpy as np
import pytest
from pydicom import dcmread

from autoseg.files.dicom.phantoms import Phantom, write_phantom
from autoseg.files.pacs.asked import Wanted
from autoseg.files.pacs.transfer import check_connection, get_series, plan_sending, search, send

WAYS = ("web", "dimse")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr("autoseg.files.pacs.transfer.WAITS_S", (0.0, 0.0))


@pytest.fixture
def phantom(tmp_path):
    return write_phantom(tmp_path / "phantom", Phantom("axial", rows=16, columns=12))


@pytest.mark.parametrize("way", WAYS)
def test_what_was_sent_is_found_and_comes_back_to_the_bit(archive, phantom, tmp_path, way):
    connection = getattr(archive, way)
    check_connection(connection)
    sending = plan_sending(connection, [phantom[0].parent])
    assert f"{len(phantom)} files of 1 patient" in sending.words
    assert connection.place in sending.words
    sent = send(sending)
    assert [one.state for one in sent.outcomes] == ["sent"] * len(phantom)
    assert archive.instances() == {dcmread(path).SOPInstanceUID for path in phantom}

    (series,) = search(connection, Wanted(patient_id="phantom"))
    assert (series.modality, series.description, series.instances) == ("MR", "axial", len(phantom))
    told = []
    fetched = get_series(connection, [series], tmp_path / "patient", on_progress=lambda one: told.append(one.done))
    (folder,) = fetched.folders
    assert told == list(range(len(phantom) + 1))
    found = {one.SOPInstanceUID: one for one in map(dcmread, folder.iterdir())}
    for path in phantom:
        one = dcmread(path)
        assert np.array_equal(found[one.SOPInstanceUID].pixel_array, one.pixel_array)
    assert get_series(connection, [series], tmp_path / "patient").earlier == (folder,)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["Doe^John", "doe^*", "*John H?nry", "Doe^J*", "No*"])
def test_names_are_found_by_a_part_of_them(archive, phantom, way, name):
    dataset = dcmread(phantom[0])
    dataset.PatientName = "Doe^John Henry"
    dataset.save_as(phantom[0])
    archive.put(phantom[0])
    found = search(getattr(archive, way), Wanted(patient_name=name))
    assert len(found) == (name not in ("No*", "Doe^John"))
