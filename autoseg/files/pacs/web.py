"""DICOMweb: QIDO-RS to search, WADO-RS to get, STOW-RS to send."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import requests
from dicomweb_client.api import DICOMwebClient
from pydicom import dcmwrite
from pydicom.dataset import Dataset

from autoseg.errors import PacsError, PacsGoneError
from autoseg.files.dicom.records import PYDICOM_ERRORS, FileDataset, quiet, text_of
from autoseg.files.pacs.asked import FoundSeries, Level, Take, ToSend, Write, fits
from autoseg.files.pacs.connection import Connection, secret_of, trusting

CONNECT_S, ANSWER_S = 10, 60
PAGE = 200  # of what is found, at once
AS_STORED = (("application/dicom", "*"),)
DENIED, NOT_FOUND, CONFLICT, TOO_LARGE, FULL = (401, 403), 404, 409, 413, 507
# What a gateway says while the PACS behind it does not answer.
AWAY = (429, 502, 503, 504)


class _Session(requests.Session):
    """Asks with * and ? and commas as they are, which a URL may hold; some servers do not decode them."""

    def request(self, method: Any, url: Any, *args: Any, **more: Any) -> requests.Response:
        """Send a request."""
        for code, letter in (("%2A", "*"), ("%3F", "?"), ("%2C", ",")):
            url = url.replace(code, letter)
        if self.verify is not True:  # else a certificate that the environment names would count in its place
            more.setdefault("verify", self.verify)
        return super().request(method, url, *args, **more)


class _Bearer(requests.auth.AuthBase):
    """Gives a token, whatever a .netrc says."""

    def __init__(self, token: str) -> None:
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


class WebSession:
    """Requests to one DICOMweb server."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        session = _Session()
        session.trust_env = not connection.is_here  # no proxy is between, and no .netrc has another password
        if connection.has_secret and connection.user:
            session.auth = (connection.user, secret_of(connection))
        elif connection.has_secret:
            session.auth = _Bearer(secret_of(connection))
        if connection.ca_file:
            trusting(connection)  # requests would say of a file that is none what nobody understands
            session.verify = connection.ca_file
        self.session = session
        url = connection.url.rstrip("/")
        self.client = DICOMwebClient(url, session, permissive_uid=True, timeout=(CONNECT_S, ANSWER_S))
        self.client.set_http_retry_params(retry=False)  # whoever calls tries again

    def check(self) -> None:
        """Ask for one study."""
        with self._explained("search"):
            self.client.search_for_studies(limit=1)

    def find(self, level: Level, keys: Mapping[str, str]) -> Iterator[Dataset]:
        """Search with QIDO-RS, until the server has no more."""
        found = False
        for one in self._rows(level, keys):
            found = True
            yield one
        unread = {key: re.sub(r"[^\w*?,.:-]", "?", value, flags=re.ASCII) for key, value in keys.items()}
        changed = [key for key in keys if unread[key] != keys[key]]
        if not found and changed:  # some servers do not decode what a URL must not hold as it is
            for one in self._rows(level, unread):
                if all(fits(keys[key], text_of(one, key)) for key in changed):
                    yield one

    def _rows(self, level: Level, keys: Mapping[str, str]) -> Iterator[Dataset]:
        above = {"STUDY": (), "SERIES": ("StudyInstanceUID",)}.get(level, ("StudyInstanceUID", "SeriesInstanceUID"))
        filters = {key: value for key, value in keys.items() if value and key not in above}
        places = [keys[key] for key in above]
        kinds: dict[str, Any] = {"STUDY": self.client.search_for_studies, "SERIES": self.client.search_for_series}
        ask, seen, offset = kinds.get(level, self.client.search_for_instances), set[str](), 0
        while True:
            more: dict[str, Any] = {
                "search_filters": filters,
                "fields": list(keys),
                "limit": PAGE,
                "offset": offset,
            }
            with self._explained("search"), quiet():
                page = ask(*places, **more)
                marks = [json.dumps(row, sort_keys=True) for row in page]
                # A server that does not know of pages gives the first one again.
                new = {
                    mark: Dataset.from_json(row) for mark, row in zip(marks, page, strict=True) if mark not in seen
                }
            if not new:
                return
            seen.update(new)
            offset += len(page)
            yield from new.values()

    def get(self, series: FoundSeries, instances: Mapping[str, str], take: Take, *, is_all: bool) -> None:
        """Get with WADO-RS: the series in one stream, or single instances where some of it are asked for."""
        place = (series.study_uid, series.series_uid)
        with self._explained("give images"):
            if is_all:
                coming = self.client.iter_series(*place, media_types=AS_STORED)
            else:
                coming = (self.client.retrieve_instance(*place, one, media_types=AS_STORED) for one in instances)
            while (dataset := self._next(coming)) is not None:
                if str(dataset.get("SOPInstanceUID", "")) in instances and take(_writing(dataset)):
                    break

    def _next(self, coming: Iterator[Dataset]) -> Dataset | None:
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of servers that leave out the envelope of a single instance
            return next(coming, None)

    def send(self, file: ToSend, dataset: FileDataset, more: Sequence[ToSend]) -> str:
        """Send with STOW-RS, one file a request, so that the answer is of this file."""
        try:
            with quiet():
                dcmwrite(BytesIO(), dataset)
        except PYDICOM_ERRORS as error:
            raise PacsError(
                f"{file.path.name} cannot be sent as it is ({type(error).__name__}: {error})."
            ) from error
        with self._explained(f"take {file.path.name}"), quiet():
            try:
                answer = self.client.store_instances([dataset])
            except KeyError:  # an answer that does not say of what kind it is
                answer = Dataset()
        failed = answer.get("FailedSOPSequence") or ()
        if failed:
            code = int(failed[0].get("FailureReason") or 0)
            raise PacsError(
                f"{self.connection.place} refuses to take {file.path.name} (reason {code:04X}). Ask who runs the "
                "PACS."
            )
        stored = answer.get("ReferencedSOPSequence") or ()
        if not any(str(one.get("ReferencedSOPInstanceUID", "")) == file.sop_uid for one in stored):
            self._look_for(file)
        codes = [int(one.get("WarningReason") or 0) for one in stored]
        return ", ".join(f"status {code:04X}" for code in codes if code)

    def _look_for(self, file: ToSend) -> None:
        """Make sure that a file is there of which the server did not say that it keeps it."""
        keys = {"StudyInstanceUID": file.study_uid, "SeriesInstanceUID": file.series_uid}
        rows = self._rows("IMAGE", {**keys, "SOPInstanceUID": file.sop_uid})
        if not any(text_of(one, "SOPInstanceUID") == file.sop_uid for one in rows):
            raise PacsError(
                f"{self.connection.place} did not say that it keeps {file.path.name}, and does not find it. Ask "
                "who runs the PACS."
            )

    def close(self) -> None:
        """Close what is open."""
        self.session.close()

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Say in words what went wrong with a request."""
        place = self.connection.place
        try:
            yield
        except requests.exceptions.HTTPError as error:
            code = 0 if error.response is None else error.response.status_code
            if code in AWAY:
                raise PacsGoneError(f"{place} is busy or away (HTTP {code}). Try again later.") from error
            raise PacsError(f"{place} refuses to {what} (HTTP {code}): {self._remedy(code)}") from error
        except requests.exceptions.SSLError as error:
            raise PacsError(
                f"{place} is not trusted: its certificate is unknown to this computer, has expired or is of "
                "another name. Give the hospital's certificate (--ca-file), or ask who runs the PACS."
            ) from error
        except requests.exceptions.JSONDecodeError as error:
            raise PacsError(f"{place} does not answer as DICOMweb does. Check the URL.") from error
        except requests.exceptions.RequestException as error:
            raise PacsGoneError(
                f"{place} does not answer ({type(error).__name__}). Check the address, and that the PACS runs and "
                "this computer may reach it; then try again."
            ) from error
        except OSError:
            raise  # of this computer's disk
        except PYDICOM_ERRORS as error:
            raise PacsGoneError(
                f"What {place} sent is no whole DICOM file ({type(error).__name__}). Try again; if it stays so, "
                "ask who runs the PACS."
            ) from error

    def _remedy(self, code: int) -> str:
        own = self.connection
        if code in DENIED:
            who = f"user {own.user} with the password" if own.user else "the token" if own.has_secret else "nobody"
            return (
                f"{who} in the keyring is not let in. In a terminal 'autoseg pacs {own.name} --password' asks for "
                "it anew; or ask who runs the PACS for the right to do this."
                if own.has_secret
                else f"it wants a user. In a terminal 'autoseg pacs {own.name} --user YOU' sets one up."
            )
        words = {
            NOT_FOUND: "there is nothing of this name. Check the URL; it often ends with /dicom-web.",
            CONFLICT: "it does not take this file as it is. Ask who runs the PACS.",
            TOO_LARGE: "the file is too large for it. Ask who runs the PACS to allow more.",
            FULL: "its disk is full. Ask who runs the PACS.",
        }
        return words.get(code, "try again later, or ask who runs the PACS.")


def _writing(dataset: Dataset) -> Write:
    def write(path: Path) -> None:
        with quiet():
            dataset.save_as(path, enforce_file_format=True)

    return write
