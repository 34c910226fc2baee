"""Series out of a real Orthanc and files into it, by both of its protocols."""

import errno
import os
import threading
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import orthanc
import pytest
import requests
from orthanc import USER, own_keyring
from pydicom import dcmread

from autoseg.errors import OutputError, PacsError, PacsGoneError
from autoseg.files.dicom.phantoms import Phantom, write_phantom
from autoseg.files.pacs.asked import FoundSeries, Wanted
from autoseg.files.pacs.transfer import (
    TransferProgress,
    _Received,
    check_connection,
    get_series,
    plan_sending,
    search,
    send,
)

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


def test_a_wrong_password_is_said_with_the_remedy(archive, phantom, monkeypatch, tmp_path):
    own_keyring(monkeypatch).set_password("autoseg orthanc-web", USER, "wrong")
    with pytest.raises(PacsError, match=f"{archive.http}.*401.*{USER}.*keyring.*--password"):
        search(archive.web, Wanted(patient_id="phantom"))
    sent = send(plan_sending(archive.web, phantom))
    assert [one.state for one in sent.outcomes] == ["failed"] * len(phantom)
    own_keyring(monkeypatch)
    with pytest.raises(PacsError, match=r"no password.*--password"):
        search(archive.web, Wanted(patient_id="phantom"))


def test_an_unknown_computer_is_not_let_in(archive, phantom):
    archive.put(*phantom)
    with pytest.raises(
        PacsError,
        match=rf"127\.0\.0\.1:{archive.dicom} \(ORTHANC\).*STRANGER.*ask who runs the PACS whether it knows",
    ):
        search(replace(archive.dimse, own_ae_title="STRANGER"), Wanted(patient_id="phantom"))


def test_where_it_may_not_get_the_archive_sends(tmp_path_factory, phantom, tmp_path):
    if word := orthanc.missing_orthanc()[1]:
        pytest.skip(word)
    with orthanc.running(tmp_path_factory.mktemp("no_get"), allow_get=False) as archive:
        archive.put(*phantom)
        (series,) = search(archive.dimse, Wanted(patient_id="phantom"))
        with pytest.raises(PacsError, match=r"does not let AUTOSEG get.*--own-port"):
            get_series(replace(archive.dimse, own_port=0), [series], tmp_path / "patient")
        (folder,) = get_series(archive.dimse, [series], tmp_path / "patient").folders
    assert len(list(folder.iterdir())) == len(phantom)


@pytest.mark.parametrize("way", WAYS)
def test_stopped_nothing_half_is_left(archive, phantom, tmp_path, way):
    connection = getattr(archive, way)
    archive.put(*phantom)
    found = search(connection, Wanted(patient_id="phantom"))
    stopped = get_series(connection, found, tmp_path / "new", on_progress=lambda one: one.done == 1)
    assert stopped.is_stopped
    assert not list((tmp_path / "new").iterdir())
    archive.empty()
    sent = send(plan_sending(connection, phantom), on_progress=lambda one: one.done == 1)
    assert [one.state for one in sent.outcomes] == ["sent", *["not sent"] * (len(phantom) - 1)]
    assert archive.instances() == {sent.outcomes[0].file.sop_uid}


@pytest.mark.parametrize("way", WAYS)
def test_a_full_disk_leaves_nothing_and_says_so(archive, phantom, tmp_path, monkeypatch, way):
    archive.put(*phantom)
    found = search(getattr(archive, way), Wanted(patient_id="phantom"))

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr("pydicom.dataset.Dataset.save_as", full)
    with pytest.raises(OutputError, match="No space left"):
        get_series(getattr(archive, way), found, tmp_path / "new")
    monkeypatch.undo()
    assert not list((tmp_path / "new").iterdir())


# pynetdicom forgets to close a socket on which nobody answered.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("way", WAYS)
def test_an_archive_that_goes_and_comes_back(tmp_path_factory, phantom, tmp_path, monkeypatch, way):
    if word := orthanc.missing_orthanc()[1]:
        pytest.skip(word)
    with orthanc.running(tmp_path_factory.mktemp("gone")) as archive:
        own_keyring(monkeypatch, archive)
        connection = getattr(archive, way)
        archive.put(*phantom)
        found = search(connection, Wanted(patient_id="phantom"))
        gone = []

        def leave(progress):
            if progress.done == 1 and not gone:
                gone.append(archive.stop(at_once=True))

        if way == "web":  # all of the stream may have come already
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("autoseg.files.pacs.web.WebSession._next", _broken_after_one())
                whole = get_series(connection, found, tmp_path / "again")
            assert len(list(whole.folders[0].iterdir())) == len(phantom)
        archive.empty()
        sent = send(plan_sending(connection, phantom), on_progress=leave)
        assert [one.state for one in sent.outcomes] == ["sent", "failed", *["not sent"] * (len(phantom) - 2)]
        assert connection.place in sent.outcomes[1].why
        with pytest.raises(PacsGoneError, match=r"does not answer.*try again"):
            get_series(connection, found, tmp_path / "new")
        assert not (tmp_path / "new").exists() or not list((tmp_path / "new").iterdir())
        archive.start()
        rest = send(plan_sending(connection, [one.file.path for one in sent.of("failed", "not sent")]))
        assert {one.state for one in rest.outcomes} == {"sent"}
        assert len(archive.instances()) == len(phantom)


def _broken_after_one():
    """Let the first stream break behind one instance, as where a network goes."""
    given = []

    def one_next(self, coming):
        if len(given) == 1:
            given.append(None)
            raise requests.exceptions.ChunkedEncodingError("gone")
        given.append(next(coming, None))
        return given[-1]

    return one_next


def test_what_is_no_dicom_file_is_told_before(archive, phantom, tmp_path):
    (phantom[0].parent / "notes.txt").write_text("x" * 200, encoding="utf-8")
    sending = plan_sending(archive.dimse, [phantom[0].parent])
    assert sending.left_out == (("no DICOM file", 1),)
    (tmp_path / "none").mkdir()
    with pytest.raises(PacsError, match=f"no DICOM file to send to 127.0.0.1:{archive.dicom}"):
        plan_sending(archive.dimse, [tmp_path / "none"])


def test_an_archive_is_not_asked_for_all_it_has(archive):
    with pytest.raises(PacsError, match="Say what to search for"):
        search(archive.web, Wanted(modality="MR"))


def test_series_of_one_name_have_a_folder_each(archive, phantom, tmp_path):
    write_phantom(tmp_path / "later", Phantom("axial", rows=16, columns=12))
    later = sorted((tmp_path / "later").iterdir())
    for number, path in enumerate(later):
        dataset = dcmread(path)
        dataset.SeriesInstanceUID, dataset.StudyInstanceUID = "1.2.3.4", "1.2.3"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.4.{number + 1}"
        dataset.save_as(path)
    archive.put(*phantom, *later)
    found = search(archive.web, Wanted(patient_id="phantom"))
    (first,) = get_series(archive.web, found[:1], tmp_path / "got").folders
    again = get_series(archive.web, found, tmp_path / "got")
    assert again.earlier == (first,)
    assert again.folders == (first.with_name(f"{first.name}_2"),)
    coded = [get_series(archive.web, [one], tmp_path / "coded", named=False).folders[0].name for one in found]
    assert coded == ["series_001", "series_002"]


def test_a_folder_holds_one_patient_and_a_disk_that_is_too_small_is_said_before(
    archive, phantom, tmp_path, monkeypatch
):
    archive.put(*phantom)
    (series,) = search(archive.web, Wanted(patient_id="phantom"))
    write_phantom(tmp_path / "got" / "of_another", Phantom("coronal", rows=16, columns=12))
    for path in (tmp_path / "got" / "of_another").iterdir():
        dataset = dcmread(path)
        dataset.PatientID = "somebody else"
        dataset.save_as(path)
    with pytest.raises(PacsError, match="holds series of another patient"):
        get_series(archive.web, [series], tmp_path / "got")
    monkeypatch.setattr("autoseg.files.room.free_bytes", lambda folder: 10)
    with pytest.raises(OutputError, match=rf"On the disk of {tmp_path / 'new'} 1 kB are free"):
        get_series(archive.web, [series], tmp_path / "new")
    assert not list((tmp_path / "new").iterdir())


def test_images_that_come_from_two_sides_at_once_are_all_kept(phantom, tmp_path):
    wanted = {dcmread(path).SOPInstanceUID: "" for path in phantom}
    series = FoundSeries(*[""] * 5, dcmread(phantom[0]).SeriesInstanceUID, *[""] * 3, len(phantom))
    progress = TransferProgress("got", 0, len(phantom))
    (tmp_path / "into").mkdir()
    incoming = _Received(tmp_path / "into", tmp_path / "at_last", series, wanted, progress, None)
    together = threading.Barrier(2, timeout=0.5)

    def write(source, path):
        with suppress(threading.BrokenBarrierError):
            together.wait()  # both choose a name before either writes, unless one waits for the other
        path.write_bytes(source.read_bytes())

    both = [threading.Thread(target=incoming.take, args=(partial(write, path),)) for path in phantom[:2]]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert {dcmread(path).SOPInstanceUID for path in (tmp_path / "into").iterdir()} == set(incoming.files)
    assert len(incoming.files) == 2
