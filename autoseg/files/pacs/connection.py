"""Connections to a PACS, kept in a file of the user's own; their secrets lie in the system's keyring only."""

from __future__ import annotations

import json
import os
import re
import ssl
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from urllib.parse import urlsplit

from autoseg.errors import OutputError, PacsError, ReadError
from autoseg.files.atomic import one_step
from autoseg.files.own_folder import own_folder
from autoseg.files.records import write_record

PLACE = "AUTOSEG_CONNECTIONS"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
EXTRA = (
    "'pip install \"autoseg[pacs]\"' installs what is needed (in a copy of autoseg: 'pip install -c "
    "constraints.txt pynetdicom dicomweb-client keyring')"
)


@dataclass(frozen=True)
class Connection:
    """How a PACS is reached: a `url` for DICOMweb; or for DICOM's own protocol (DIMSE) host, port and AE titles.

    `has_secret` says that the keyring has a password for `user`, or without a user a token (DICOMweb only).
    `own_port` is where this computer receives what a PACS sends on request (C-MOVE), if the PACS knows it by
    `own_ae_title`; 0 for nowhere. `ca_file` is the hospital's certificate, where the system does not know it.
    """

    name: str
    url: str = ""
    host: str = ""
    port: int = 104
    ae_title: str = ""
    own_ae_title: str = "AUTOSEG"
    own_port: int = 0
    tls: bool = False
    ca_file: str = ""
    user: str = ""
    has_secret: bool = False

    def __post_init__(self) -> None:
        wanted = {"str": str, "int": int, "bool": bool}
        for one in fields(self):
            if type(value := getattr(self, one.name)) is not wanted[str(one.type)]:
                raise PacsError(f"The connection {self.name} has {value!r} in place of its {one.name}.")
        problem = self._problem()
        if problem:
            raise PacsError(f"The connection {self.name or '(without a name)'} cannot be used: {problem}")

    def _problem(self) -> str:
        if not re.fullmatch(r"[\w.-]{1,40}", self.name):
            return "its name is to have 1 to 40 letters, digits, points or hyphens."
        if bool(self.url) == bool(self.host):
            return "give either a URL (DICOMweb), or a host with port and AE title (DICOM)."
        if self.url:
            try:
                parts = urlsplit(self.url)
            except ValueError:
                return f"{self.url} is no URL such as https://pacs.hospital.org/dicom-web."
            if parts.scheme not in ("http", "https") or not parts.hostname:
                return f"{self.url} is no URL such as https://pacs.hospital.org/dicom-web."
            if parts.username or parts.password:
                return (
                    "the URL holds a user or a password. Give the user by itself; the password will be asked for."
                )
            return ""
        for title, whose in ((self.ae_title, "the PACS"), (self.own_ae_title, "this computer")):
            if not re.fullmatch(r"[ -\[\]-~]{1,16}", title) or not title.strip():
                return f"the AE title of {whose} is to have 1 to 16 letters; ask who runs the PACS for it."
        if not 0 < self.port < 2**16 or not 0 <= self.own_port < 2**16:
            return "ports are numbers from 1 to 65535."
        if self.has_secret and not self.user:
            return "in DICOM a password needs a user; tokens are for DICOMweb."
        return ""

    @property
    def place(self) -> str:
        """The address for sentences: the URL, or host and port."""
        return self.url or f"{self.host}:{self.port}"

    @property
    def is_encrypted(self) -> bool:
        """Whether others on the network cannot read along."""
        return self.url.startswith("https:") if self.url else self.tls

    @property
    def is_here(self) -> bool:
        """Whether the PACS is on this computer."""
        return (urlsplit(self.url).hostname if self.url else self.host) in LOOPBACK

    @property
    def words(self) -> str:
        """Name, kind, address, user and whether it is encrypted, in one line."""
        who = f", user {self.user}" if self.user else ", with a token" if self.has_secret else ""
        way = "DICOMweb" if self.url else f"DICOM, AE title {self.ae_title}, calling as {self.own_ae_title}"
        return f"{self.name}: {self.place} ({way}{who}, {'' if self.is_encrypted else 'NOT '}encrypted)"


def connections_path() -> Path:
    """Give the file of connections: AUTOSEG_CONNECTIONS, or one in the user's own folder."""
    named = os.environ.get(PLACE)
    return Path(named).expanduser() if named else own_folder() / "connections.json"


def read_connections() -> tuple[Connection, ...]:
    """Read all connections that were kept, in order of their names."""
    path = connections_path()
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["connections"]
        return tuple(sorted((Connection(**row) for row in rows), key=lambda one: one.name))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, TypeError, KeyError, PacsError) as error:
        raise ReadError(
            f"{path} cannot be read as connections to a PACS ({error}). Mend it, or delete it and set the "
            "connections up anew."
        ) from error


def find_connection(name: str) -> Connection:
    """Give the connection of a name; PacsError with those that there are, if it is none of them."""
    known = read_connections()
    for one in known:
        if one.name == name:
            return one
    there = f"There are: {', '.join(one.name for one in known)}." if known else "There is none yet."
    raise PacsError(
        f"There is no connection {name}. {there} In a terminal 'autoseg pacs NAME --help' tells how to set one up."
    )


def keep_connection(connection: Connection, *, secret: str = "") -> None:
    """Keep a connection in place of an earlier one of its name; its password or token goes to the keyring."""
    if connection.has_secret and secret:
        _in_keyring(connection, "set_password", secret)
    for earlier in read_connections():
        is_other = not connection.has_secret or earlier.user != connection.user
        if earlier.name == connection.name and earlier.has_secret and is_other:
            _in_keyring(earlier, "delete_password")
    _write([*(one for one in _others(connection.name)), connection])


def remove_connection(name: str) -> None:
    """Forget a connection, and its password or token in the keyring."""
    connection = find_connection(name)
    if connection.has_secret:
        _in_keyring(connection, "delete_password")
    _write(_others(name))


def secret_of(connection: Connection) -> str:
    """Give the password or token of a connection from the keyring; "" where it has none."""
    if not connection.has_secret:
        return ""
    secret = _in_keyring(connection, "get_password")
    if not secret:
        raise PacsError(
            f"The keyring of this computer has no password or token for the connection {connection.name} "
            f"({connection.place}). In a terminal 'autoseg pacs {connection.name} --password' asks for it again."
        )
    return str(secret)


def trusting(connection: Connection) -> ssl.SSLContext:
    """Give what encrypts, and trusts the hospital's certificate, or those that the system trusts."""
    try:
        return ssl.create_default_context(cafile=connection.ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise PacsError(
            f"{connection.ca_file} cannot be used as the certificate of {connection.place} ({error}). Choose a PEM "
            "file (--ca-file)."
        ) from error


def _others(name: str) -> list[Connection]:
    return [one for one in read_connections() if one.name != name]


def _write(connections: Sequence[Connection]) -> None:
    path = connections_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path.parent} cannot be made: {error.strerror or error}.") from error
    with one_step(path.parent):
        write_record(path, {"connections": [asdict(one) for one in connections]})


def _in_keyring(connection: Connection, what: str, *words: str) -> str | None:
    """Ask the system's keyring, which this computer may not have."""
    try:
        import keyring
        from keyring.errors import KeyringError, PasswordDeleteError
    except ImportError:
        raise PacsError(f"Passwords are kept in the system's keyring. {EXTRA}.") from None
    try:
        return getattr(keyring, what)(f"autoseg {connection.name}", connection.user or "token", *words)
    except PasswordDeleteError:  # it was not there
        return None
    except (KeyringError, RuntimeError, OSError) as error:
        raise PacsError(
            f"The keyring of this computer cannot be used ({type(error).__name__}), so the password or token of "
            f"{connection.name} ({connection.place}) can be neither kept nor read; autoseg writes it nowhere else. "
            "Unlock the keyring, or on a server without one set one up (such as 'keyrings.cryptfile')."
        ) from error
