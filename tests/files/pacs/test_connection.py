"""Connections as plain values, and where their secrets go."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import keyring.core
import pytest
from keyring.backends.fail import Keyring as NoKeyring
from orthanc import own_keyring

from autoseg.errors import PacsError, ReadError
from autoseg.files.pacs.connection import (
    Connection,
    connections_path,
    find_connection,
    keep_connection,
    read_connections,
    remove_connection,
    secret_of,
)
from autoseg.files.pacs.transfer import check_connection

DIMSE = Connection("old", host="10.1.2.3", ae_title="PACS")


@pytest.fixture(autouse=True)
def _own_file(monkeypatch, tmp_path):
    monkeypatch.setenv("AUTOSEG_CONNECTIONS", str(tmp_path / "own" / "connections.json"))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"url": "pacs.org/dicom-web"}, "is no URL"),
        ({"url": "https://anna:secret@pacs.org/dicom-web"}, "holds a user or a password"),
        ({"url": "https://pacs.org", "host": "pacs.org"}, "either a URL"),
        ({}, "either a URL"),
        ({"host": "pacs.org"}, "AE title of the PACS"),
        ({"host": "pacs.org", "ae_title": "LONGER THAN IT MAY"}, "1 to 16 letters"),
        ({"host": "pacs.org", "ae_title": "A", "port": 70000}, "1 to 65535"),
        ({"host": "pacs.org", "ae_title": "A", "port": "104"}, "in place of its port"),
        ({"host": "pacs.org", "ae_title": "A", "has_secret": True}, "needs a user"),
    ],
)
def test_what_cannot_be_a_connection_is_none(values, words):
    with pytest.raises(PacsError, match=words) as told:
        Connection("ward", **values)
    assert "ward" in str(told.value)


def test_connections_are_kept_without_their_secrets(monkeypatch):
    memory = own_keyring(monkeypatch)
    web = Connection("ward", url="https://pacs.org/dicom-web", user="anna", has_secret=True)
    keep_connection(web, secret="hush")
    keep_connection(DIMSE)
    assert read_connections() == (DIMSE, web)
    assert "hush" not in connections_path().read_text(encoding="utf-8")
    assert secret_of(find_connection("ward")) == "hush"
    remove_connection("ward")
    assert read_connections() == (DIMSE,)
    assert not memory.kept
    with pytest.raises(PacsError, match=r"no connection ward\. There are: old"):
        find_connection("ward")


def test_without_a_keyring_a_password_is_kept_nowhere(monkeypatch):
    monkeypatch.setattr(keyring.core, "_keyring_backend", NoKeyring())
    web = Connection("ward", url="https://pacs.org/dicom-web", user="anna", has_secret=True)
    with pytest.raises(PacsError, match=r"keyring.*cannot be used.*nowhere else"):
        keep_connection(web, secret="hush")
    assert not connections_path().exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"connections": [{"name": "a", "port": "x"}]}'])
def test_a_damaged_file_is_said(content):
    connections_path().parent.mkdir()
    connections_path().write_text(content, encoding="utf-8")
    with pytest.raises(ReadError, match=r"connections\.json.*Mend it"):
        read_connections()


def test_a_token_goes_to_its_server_alone(monkeypatch):
    heard = []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self):
            heard.append((self.path, self.headers["Authorization"]))
            body = json.dumps([]).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/dicom+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        own_keyring(monkeypatch).set_password("autoseg ward", "token", "hush")
        try:
            url = f"http://127.0.0.1:{server.server_port}/web"
            check_connection(Connection("ward", url=url, has_secret=True))
        finally:
            server.shutdown()
            thread.join()
    assert heard == [("/web/studies?limit=1", "Bearer hush")]


@pytest.mark.parametrize(
    "there", [{"url": "https://127.0.0.1:9/web"}, {"host": "127.0.0.1", "ae_title": "A", "tls": True}]
)
def test_a_certificate_that_is_none_is_said(tmp_path, there):
    (tmp_path / "hospital.pem").write_text("no certificate", encoding="utf-8")
    for name in ("hospital.pem", "none.pem"):
        with pytest.raises(PacsError, match=f"{name} cannot be used as the certificate of .*127.0.0.1"):
            check_connection(Connection("ward", ca_file=str(tmp_path / name), **there))
