"""A real Orthanc on the loopback, in a folder of its own."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from base64 import b64encode
from contextlib import contextmanager
from pathlib import Path

import keyring.core
from keyring.backend import KeyringBackend
from keyring.errors import PasswordDeleteError

from autoseg.files.pacs.connection import Connection

PLUGINS = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
USER, PASSWORD = "anna", "not a secret"


def missing_orthanc():
    program = shutil.which(
        "Orthanc", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    )
    if program is None or not PLUGINS.is_file():
        return "", "Orthanc and its plug-in for DICOMweb are not installed (apt install orthanc orthanc-dicomweb)"
    return program, ""


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Orthanc:
    """A running Orthanc: connections to it, and what it has by its own way of telling (REST)."""

    def __init__(self, folder, *, allow_get=True):
        self.folder = folder
        self.http, self.dicom, self.own = free_ports(3)
        self.config = folder / "orthanc.json"
        known = {"AET": "AUTOSEG", "Host": "127.0.0.1", "Port": self.own, "AllowGet": allow_get}
        self.config.write_text(
            json.dumps(
                {
                    "StorageDirectory": str(folder / "db"),
                    "IndexDirectory": str(folder / "db"),
                    "HttpPort": self.http,
                    "DicomPort": self.dicom,
                    "DicomAet": "ORTHANC",
                    "DicomModalities": {"autoseg": known},
                    "DicomAlwaysAllowFind": False,
                    "RemoteAccessAllowed": False,
                    "AuthenticationEnabled": True,
                    "RegisteredUsers": {USER: PASSWORD},
                    "Plugins": [str(PLUGINS)],
                    "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
                    "StorageCompression": False,
                    "OverwriteInstances": True,
                }
            ),
            encoding="utf-8",
        )
        self.process = None

    def start(self):
        program, _ = missing_orthanc()
        with (self.folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen([program, str(self.config)], stdout=log, stderr=log, cwd=self.folder)
        for _ in range(200):
            try:
                self.ask("/system")
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError((self.folder / "log.txt").read_text(encoding="utf-8")[-2000:])

    def stop(self, *, at_once=False):
        if self.process is not None:
            self.process.kill() if at_once else self.process.terminate()
            self.process.wait(20)
            self.process = None

    def ask(self, path, *, data=None, method=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", data=data, method=method)
        request.add_header("Authorization", "Basic " + b64encode(f"{USER}:{PASSWORD}".encode()).decode())
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=20) as answer:
            return json.loads(answer.read() or b"null")

    def put(self, *paths):
        for path in paths:
            self.ask("/instances", data=Path(path).read_bytes())

    def empty(self):
        for one in self.ask("/patients"):
            self.ask(f"/patients/{one}", method="DELETE")

    def instances(self):
        """All SOP instance UIDs."""
        return {one["MainDicomTags"]["SOPInstanceUID"] for one in self.ask("/instances?expand")}

    @property
    def web(self):
        url = f"http://127.0.0.1:{self.http}/dicom-web"
        return Connection("orthanc-web", url=url, user=USER, has_secret=True)

    @property
    def dimse(self):
        return Connection("orthanc", host="127.0.0.1", port=self.dicom, ae_title="ORTHANC", own_port=self.own)


class Memory(KeyringBackend):
    """A keyring that is forgotten."""

    priority = 1

    def __init__(self):
        self.kept = {}

    def get_password(self, service, username):
        return self.kept.get((service, username))

    def set_password(self, service, username, password):
        self.kept[service, username] = password

    def delete_password(self, service, username):
        if self.kept.pop((service, username), None) is None:
            raise PasswordDeleteError("not there")


def own_keyring(monkeypatch, archive=None):
    """Let this test have a keyring of its own, in which an archive's password lies."""
    memory = Memory()
    monkeypatch.setattr(keyring.core, "_keyring_backend", memory)
    if archive is not None:
        memory.set_password("autoseg orthanc-web", USER, PASSWORD)
    return memory


@contextmanager
def running(folder, **options):
    archive = Orthanc(folder, **options)
    try:
        archive.start()
        yield archive
    finally:
        archive.stop(at_once=True)
