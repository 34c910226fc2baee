"""DICOM's own protocol (DIMSE): C-ECHO, C-FIND, C-GET, C-MOVE to this computer where C-GET is refused, C-STORE."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from pydicom import uid
from pydicom.dataset import Dataset
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import UserIdentityNegotiation
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind as FIND,
)
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelGet as GET,
)
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelMove as MOVE,
)
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from autoseg.errors import PacsError, PacsGoneError
from autoseg.files.dicom.records import PYDICOM_ERRORS, FileDataset, quiet
from autoseg.files.pacs.asked import FoundSeries, Level, Take, ToSend
from autoseg.files.pacs.connection import Connection, secret_of, trusting

CONNECT_S, ANSWER_S = 10, 60
# How DICOM files may be packed; each is offered by itself, so that a PACS sends a file as it has it.
SYNTAXES = (
    uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.JPEGLosslessSV1, uid.JPEGLossless,
    uid.JPEG2000Lossless, uid.JPEG2000, uid.JPEGLSLossless, uid.JPEGLSNearLossless, uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit, uid.RLELossless, uid.DeflatedExplicitVRLittleEndian,
)  # fmt: skip
# What a PACS is asked for where it does not tell of what kind its files are.
USUAL = (
    uid.MRImageStorage, uid.CTImageStorage, uid.EnhancedMRImageStorage, uid.EnhancedCTImageStorage,
    uid.SegmentationStorage, uid.RTStructureSetStorage, uid.PositronEmissionTomographyImageStorage,
    uid.SecondaryCaptureImageStorage, uid.EnhancedSRStorage, uid.Comprehensive3DSRStorage,
)  # fmt: skip
PLAIN = (uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian)
# A connection can have 128 offers.
MOST_OFFERS = 126
TAKEN, REFUSED, UNKNOWN_CLASS = 0x0000, 0xA700, 0x0122
PENDING = (0xFF00, 0xFF01)


class DimseSession:
    """Associations with one PACS: one at a time, made anew where other kinds of files come to be sent or got."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.association: Association | None = None
        self.offers: set[tuple[str, str]] = set()

    def check(self) -> None:
        """Ask for an echo."""
        status = self._associated([build_context(Verification)]).send_c_echo()
        self._code(status)

    def find(self, level: Level, keys: Mapping[str, str]) -> Iterator[Dataset]:
        """Search with C-FIND; keys without a value come back with one."""
        query = _query(level, keys)
        association = self._associated([build_context(FIND)])
        for status, found in association.send_c_find(query, FIND):
            code = self._code(status)
            if code in PENDING and found is not None:
                yield found
            elif code:
                raise PacsError(self._refused("search", status))

    def get(self, series: FoundSeries, instances: Mapping[str, str], take: Take, *, is_all: bool) -> None:
        """Get with C-GET; where the PACS refuses that, with C-MOVE to a port of this computer."""
        query = _query(
            "SERIES" if is_all else "IMAGE",
            {"StudyInstanceUID": series.study_uid, "SeriesInstanceUID": series.series_uid},
        )
        if not is_all:
            query.SOPInstanceUID = list(instances)
        incoming = _Incoming(instances, take)
        classes = incoming.classes[: MOST_OFFERS // len(SYNTAXES)]
        offers = [build_context(GET), *(build_context(one, each) for one in classes for each in SYNTAXES)]
        roles = [build_role(one, scp_role=True) for one in classes]
        association, refused = None, "it does not offer C-GET"
        try:
            association = self._associated(offers, roles, [(evt.EVT_C_STORE, incoming.store)])
        except PacsGoneError:
            raise
        except PacsError:
            if self.association is None or self.association.is_rejected:
                raise
        if association is not None and any(one.abstract_syntax == GET for one in association.accepted_contexts):
            try:
                refused = self._receive(association.send_c_get(query, GET), incoming)
            except PacsGoneError:
                if incoming.count:
                    raise
                self.check()  # some say no to C-GET by hanging up
                refused = "it ends the connection at C-GET"
            if incoming.count or not refused:
                return
        self._move(query, incoming, refused)

    def _move(self, query: Dataset, incoming: _Incoming, refused: str) -> None:
        """Let the PACS send to this computer."""
        own = self.connection
        if own.tls:
            raise PacsError(
                f"{own.place} ({own.ae_title}) does not let {own.own_ae_title} get images ({refused}), and what it "
                "would send by itself (C-MOVE) would not be encrypted on its way here. Ask who runs the PACS to "
                f"allow C-GET for {own.own_ae_title}."
            )
        if not own.own_port:
            raise PacsError(
                f"{own.place} ({own.ae_title}) does not let {own.own_ae_title} get images ({refused}). Ask who "
                f"runs the PACS to allow C-GET for {own.own_ae_title}; or to know {own.own_ae_title} with this "
                "computer's address and a port (C-MOVE), and give that port ('autoseg pacs NAME --own-port')."
            )
        host = AE(ae_title=own.own_ae_title)
        host.require_called_aet, host.require_calling_aet = True, [own.ae_title]
        host.maximum_associations = 2
        contexts = [build_context(one, list(SYNTAXES)) for one in incoming.classes]
        try:
            server = host.start_server(
                ("127.0.0.1" if own.is_here else "", own.own_port),
                block=False,
                contexts=contexts,
                evt_handlers=[(evt.EVT_C_STORE, incoming.store)],
            )
        except OSError as error:
            raise PacsError(
                f"Port {own.own_port} of this computer cannot be used to receive from {own.place} "
                f"({error.strerror or error}). Wait until another program has ended that uses it, or ask for "
                "another."
            ) from error
        try:
            association = self._associated([build_context(MOVE)])
            refused = self._receive(association.send_c_move(query, own.own_ae_title, MOVE), incoming)
        finally:
            if server is not None:
                server.shutdown()
        if refused and not incoming.count:
            raise PacsError(
                f"{own.place} ({own.ae_title}) did not send to {own.own_ae_title} at port {own.own_port} of this "
                f"computer ({refused}). Ask who runs the PACS whether it knows {own.own_ae_title} with this "
                "computer's address and that port, and whether a firewall is between."
            )

    def _receive(self, answers: Iterator[tuple[Dataset, Dataset | None]], incoming: _Incoming) -> str:
        """Wait until all has come; say why the PACS refused, "" where it did not."""
        try:
            for status, _ in answers:
                if incoming.is_ended or incoming.problem is not None:
                    self._drop()
                    break
                code = self._code(status)
                if code not in PENDING:
                    return _words(status) if code else ""
        except BaseException:  # nobody waits for what is still on its way, least of all after Ctrl+C
            self._drop()
            raise
        if incoming.problem is not None:
            raise incoming.problem
        return ""

    def send(self, file: ToSend, dataset: FileDataset, more: Sequence[ToSend]) -> str:
        """Send with C-STORE."""
        association = self.association
        if (
            association is None
            or not association.is_established
            or (file.sop_class, file.syntax) not in self.offers
        ):
            pairs = list(dict.fromkeys((one.sop_class, one.syntax) for one in (file, *more)))[: MOST_OFFERS // 2]
            kinds = dict.fromkeys(one for one, syntax in pairs if syntax in PLAIN)
            offers = [build_context(one, syntax) for one, syntax in pairs if syntax not in PLAIN]
            association = self._associated([*offers, *(build_context(one, list(PLAIN)) for one in kinds)])
            self.offers = set(pairs)
        try:
            with quiet():
                status = association.send_c_store(dataset)
        except ValueError as error:
            if not any(one.abstract_syntax == file.sop_class for one in association.accepted_contexts):
                raise PacsError(
                    f"{self.connection.place} does not take {_name(file.sop_class)}, packed as "
                    f"{_name(file.syntax)}. Ask who runs the PACS whether it can."
                ) from error
            raise PacsError(
                f"{file.path.name} cannot be sent as it is ({type(error).__name__}: {error})."
            ) from error
        except PYDICOM_ERRORS as error:
            raise PacsError(
                f"{file.path.name} cannot be sent as it is ({type(error).__name__}: {error})."
            ) from error
        code = self._code(status)
        if code >> 12 == 0xB:
            return _words(status)
        if code:
            raise PacsError(self._refused(f"take {file.path.name}", status))
        return ""

    def close(self) -> None:
        """Release the association."""
        association, self.association, self.offers = self.association, None, set()
        if association is not None and association.is_established:
            with suppress(OSError, RuntimeError):
                association.release()

    def _drop(self) -> None:
        association, self.association, self.offers = self.association, None, set()
        if association is not None and association.is_established:
            with suppress(OSError, RuntimeError):
                association.abort()

    def _associated(
        self,
        contexts: list[PresentationContext],
        roles: Sequence[Any] = (),
        handlers: Sequence[Any] = (),
    ) -> Association:
        """Open a new association; PacsGoneError where nobody answers, PacsError where we are not let in."""
        self.close()
        own = self.connection
        entity = AE(ae_title=own.own_ae_title)
        entity.connection_timeout = entity.acse_timeout = CONNECT_S
        entity.dimse_timeout = entity.network_timeout = ANSWER_S
        extra = [*roles, *self._identity()]
        self.association = entity.associate(
            own.host,
            own.port,
            contexts,
            own.ae_title,
            ext_neg=extra,
            tls_args=self._tls(),
            evt_handlers=list(handlers),
        )
        if self.association.is_established:
            return self.association
        if not self.association.is_rejected:
            if self.association.acceptor.primitive is not None:  # it answered, and offers nothing of what we ask
                raise PacsError(
                    f"{own.place} ({own.ae_title}) offers none of what is needed "
                    f"({_name(contexts[0].abstract_syntax)}). Ask who runs the PACS to allow it."
                )
            raise PacsGoneError(self._gone())
        answer = self.association.acceptor.primitive
        why = answer.reason_str.rstrip(".").lower() if answer is not None else "without a reason"
        raise PacsError(
            f"{own.place} rejects the connection ({why}): it was called as {own.ae_title} by {own.own_ae_title}"
            f"{f', user {own.user}' if own.user else ''}. Check these names and the password with who runs the "
            "PACS."
        )

    def _identity(self) -> list[UserIdentityNegotiation]:
        own = self.connection
        if not own.user:
            return []
        identity = UserIdentityNegotiation()
        identity.user_identity_type = 2 if own.has_secret else 1
        identity.primary_field = own.user.encode()
        if own.has_secret:
            identity.secondary_field = secret_of(own).encode()
        return [identity]

    def _tls(self) -> tuple[ssl.SSLContext, str] | None:
        own = self.connection
        return (trusting(own), own.host) if own.tls else None

    def _code(self, status: Dataset) -> int:
        """Give the number of an answer; PacsGoneError where there is none."""
        if "Status" not in status:
            own = self.connection
            raise PacsGoneError(
                f"{own.place} ({own.ae_title}) ended the connection in place of an answer: it is away, or does not "
                f"allow this to {own.own_ae_title}. Try again; if it stays so, ask who runs the PACS whether it "
                f"knows {own.own_ae_title}."
            )
        return int(status.Status)

    def _gone(self) -> str:
        own = self.connection
        secure = " (encrypted; is the certificate the right one?)" if own.tls else ""
        return (
            f"{own.place} ({own.ae_title}) does not answer{secure}. Check address and port, and that the PACS runs "
            "and this computer may reach it; then try again."
        )

    def _refused(self, what: str, status: Dataset) -> str:
        own = self.connection
        return f"{own.place} ({own.ae_title}) refuses to {what}: {_words(status)}. Ask who runs the PACS."


class _Incoming:
    """Instances that a PACS sends: only those that were asked for, until somebody ends it."""

    def __init__(self, instances: Mapping[str, str], take: Take) -> None:
        self.instances, self.take = instances, take
        self.count, self.is_ended = 0, False
        self.problem: Exception | None = None

    @property
    def classes(self) -> list[str]:
        """The SOP classes that will come; where the PACS does not tell all of them, also those that are usual."""
        told = sorted(set(self.instances.values()) - {""})
        return list(dict.fromkeys([*told, *USUAL])) if "" in self.instances.values() else told

    def store(self, event: evt.Event) -> int:
        """Take one (pynetdicom would hide what goes wrong here)."""
        if self.is_ended or self.problem is not None:
            return REFUSED
        request: Any = event.request
        if str(request.AffectedSOPInstanceUID) not in self.instances:
            return UNKNOWN_CLASS
        try:
            encoded = event.encoded_dataset()
            self.is_ended = self.take(lambda path: path.write_bytes(encoded))
        except Exception as error:  # raised again by `_receive`, in the thread that waits
            self.problem = error
            return REFUSED
        self.count += 1
        return TAKEN


def _query(level: Level, keys: Mapping[str, str]) -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel = level
    query.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in keys.items():
        setattr(query, keyword, value or None if keyword.startswith("NumberOf") else value)
    return query


def _words(status: Dataset) -> str:
    """Say what a PACS answered: its own comment, or the number that the standard has for it."""
    comment = str(status.get("ErrorComment") or "").strip(" \0")
    return f"{comment + ', ' if comment else ''}status {status.Status:04X}"


def _name(code: Any) -> str:
    name = uid.UID(str(code)).name
    return str(name)
