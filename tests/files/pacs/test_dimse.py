"""What archives that offer less are asked by DICOM's own protocol."""

import socket

import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from autoseg.errors import PacsError
from autoseg.files.pacs.asked import FoundSeries
from autoseg.files.pacs.connection import Connection
from autoseg.files.pacs.dimse import MOVE, DimseSession, _Incoming


def test_what_is_encrypted_does_not_come_another_way():
    session = DimseSession(Connection("ward", host="127.0.0.1", ae_title="PACS", own_port=11199, tls=True))
    with pytest.raises(PacsError, match=r"would not be encrypted.*allow C-GET for AUTOSEG"):
        session._move(Dataset(), _Incoming({}, lambda write: False), "no C-GET")


def test_an_archive_that_only_moves_is_asked_to():
    asked = []

    def move(event):
        asked.append(event.identifier.SeriesInstanceUID)
        yield None, None

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        own_port = free.getsockname()[1]
    archive = AE(ae_title="PACS")
    archive.add_supported_context(MOVE)
    server = archive.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_MOVE, move)])
    port = server.socket.getsockname()[1]
    series = FoundSeries("", "", "1.2", "", "", "1.2.3", "1", "MR", "", 1)
    session = DimseSession(Connection("ward", host="127.0.0.1", port=port, ae_title="PACS", own_port=own_port))
    try:
        with pytest.raises(PacsError, match="did not send to AUTOSEG at port"):
            session.get(series, {"1.2.3.4": ""}, lambda write: False, is_all=True)
    finally:
        session.close()
        server.shutdown()
    assert asked == ["1.2.3"]


def test_classes_that_are_not_said_are_the_usual_ones():
    ultrasound = str(uid.UltrasoundImageStorage)

    def classes(*kinds):
        return _Incoming(dict(enumerate(kinds)), lambda write: False).classes

    assert classes(ultrasound) == [ultrasound]
    assert classes(ultrasound, "")[:2] == [ultrasound, uid.MRImageStorage]
