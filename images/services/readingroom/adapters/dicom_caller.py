"""Calling others over DICOM, by pynetdicom: an association that we ask for, and what is asked over it.

What the other side sends is bounded as the listener bounds its peers: the size and time of a PDU, the length of an answer,
how many there are, and the time of it all. What comes by C-GET goes into the spool as it comes, unread.
"""

from __future__ import annotations

import socket
import ssl
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final, cast

from pydicom.dataset import Dataset
from pynetdicom import _config, evt
from pynetdicom._globals import MODE_REQUESTOR
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.presentation import build_context, build_role
from pynetdicom.transport import T_CONNECT, AddressInformation

from readingroom.adapters import mutual_tls
from readingroom.adapters.collect_file import Remote, TlsFiles
from readingroom.adapters.dicom_listener import (
    HANDSHAKE_SECONDS,
    BoundedDimse,
    BoundedSocket,
    DataSet,
    stored,
)
from readingroom.adapters.spool import Arriving, Exhausted
from readingroom.domain.errors import TryAgain, WrongSetUp
from readingroom.domain.peers import Limits

FIND: Final = "1.2.840.10008.5.1.4.1.2.2.1"  # Study Root, PS3.4 annex C
MOVE: Final = "1.2.840.10008.5.1.4.1.2.2.2"
GET: Final = "1.2.840.10008.5.1.4.1.2.2.3"
ASSOCIATION_SECONDS: Final = 30.0  # for an association to be agreed to, and to be released
LARGEST_ANSWER: Final = 64 << 10
QUEUED: Final = 16  # messages of a C-GET that were not looked at yet

_config.STORE_SEND_CHUNKED_DATASET = True  # the file's own bytes, not what pydicom makes of them
_config.LOG_REQUEST_IDENTIFIERS = False
_config.LOG_RESPONSE_IDENTIFIERS = False  # to log them, the library would interpret every value


class Ended(Exception):
    """The association ended before the answer did; by us, if it was too much."""


class TooMuch(Ended):
    """The other side sent more than it may."""


class NotAgreed(Exception):
    """The other side did not agree to what is asked of it."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What the other side may cost."""

    limits: Limits
    seconds: float  # until its next message
    messages: int


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A class and the encoding to propose for it. `sent_to_us`: as what comes by C-GET."""

    uid: str
    syntax: str
    sent_to_us: bool = False


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """TLS as at the door. Raises `WrongSetUp` when a file is off."""
    return mutual_tls.client_context(files.certificate, files.key, files.authority, "the credentials of the collection")


class _Link(BoundedSocket):
    """A connection that is made when the library asks for it: TLS included, and within a time."""

    def __init__(self, call: Call, remote: Remote) -> None:
        super().__init__(call, client_socket=call.secured)
        self._remote, self._is_connected = remote, False
        call.dul.event_queue.get()  # "connected", which it is not yet
        self._ready.clear()

    def connect(self, primitive: T_CONNECT) -> None:
        """See `AssociationSocket`."""
        call = cast("Call", self.assoc)
        call.secured.close()
        try:
            call.secured = socket.create_connection((self._remote.host, self._remote.port), HANDSHAKE_SECONDS)
            if tls := self._remote.tls:
                call.secured = client_context(tls).wrap_socket(call.secured, server_hostname=tls.name)
            self.socket, self._is_connected = call.secured, True
        except (OSError, ValueError, WrongSetUp) as error:
            call.failure = type(error).__name__
        primitive.result = "Evt2" if self._is_connected else "Evt17"
        self.provider_queue.put(primitive)
        self._ready.set()


class _Answers(BoundedDimse):
    """Messages of the other side, so many and no more."""

    def __init__(self, call: Call, most: int) -> None:
        super().__init__(call)
        self._left, self._queued = most, QUEUED if call.arriving else most

    def crowded(self) -> bool:
        """See `BoundedDimse`."""
        self._left -= 1
        return self._left < 0 or self.msg_queue.qsize() > self._queued

    def give_up(self) -> None:
        """See `BoundedDimse`; whoever waits for a message waits no longer."""
        cast("Call", self.assoc).too_much = True
        super().give_up()
        self.msg_queue.put((None, None))

    def data_set(self, message: DIMSEMessage) -> DataSet:
        """See `BoundedDimse`."""
        return _Answer(message, cast("Call", self.assoc))


class _Answer(DataSet):
    """The identifier of an answer, kept in memory; instances go into the spool."""

    def write(self, piece: Any) -> int:
        """See `BytesIO`."""
        if self._association.arriving is not None:
            return super().write(piece)
        self.of_another(piece)
        return len(piece)

    def of_another(self, piece: bytes) -> None:
        """See `DataSet`."""
        if self.tell() + len(piece) > LARGEST_ANSWER:
            raise Exhausted
        BytesIO.write(self, piece)


class Call(Association):
    """An association that we ask for."""

    def __init__(self, entity: ApplicationEntity, remote: Remote, terms: Terms, arriving: Arriving | None) -> None:
        super().__init__(entity, MODE_REQUESTOR)
        self.limits, self.arriving = terms.limits, arriving
        self.secured: socket.socket = socket.socket()  # until there is one that is connected
        self.failure, self.too_much = "", False
        self.deadline = time.monotonic() + terms.limits.association_seconds
        self.dul.daemon = True
        self.dimse = _Answers(self, terms.messages)
        self.set_socket(_Link(self, remote))
        self.acceptor.ae_title = remote.ae_title
        nowhere = AddressInformation("127.0.0.1", 0)  # `_Link` knows where
        self.acceptor.address_info = self.requestor.address_info = nowhere
        self.requestor.ae_title = entity.ae_title
        self.requestor.maximum_length = terms.limits.pdu_bytes
        self.requestor.implementation_class_uid = entity.implementation_class_uid
        self.requestor.implementation_version_name = entity.implementation_version_name
        self.bind(evt.EVT_C_STORE, stored)

    def find(self, identifier: Dataset) -> Iterator[tuple[int, Dataset | None]]:
        """Statuses and answers of C-FIND. Raises `Ended`, `TooMuch`."""
        with self._asking():
            for status, answer in self.send_c_find(identifier, FIND):
                yield self._code(status), answer

    def retrieve(self, identifier: Dataset, destination: str | None) -> Iterator[tuple[int, int]]:
        """Statuses of C-MOVE to a destination, else of C-GET, and how many instances failed. Raises `Ended`, `NotAgreed`."""
        with self._asking():
            answers = (
                self.send_c_move(identifier, destination, MOVE) if destination else self.send_c_get(identifier, GET)
            )
            for status, _ in answers:
                yield self._code(status), int(status.get("NumberOfFailedSuboperations") or 0)

    def store(self, path: str) -> tuple[int, str]:
        """The status of C-STORE, and the comment on it. Raises `Ended`, `NotAgreed`."""
        with self._asking():
            status = self.send_c_store(path)
            return self._code(status), str(status.get("ErrorComment", ""))

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """The library's errors as ours."""
        try:
            yield
        except RuntimeError as error:
            raise Ended from error
        except ValueError as error:
            raise NotAgreed from error

    def _code(self, status: Dataset) -> int:
        if (code := status.get("Status")) is None:
            raise TooMuch if self.too_much else Ended
        return int(code)

    def end(self) -> None:
        """Closed, whatever the other side does."""
        with suppress(OSError):
            self.secured.shutdown(socket.SHUT_RDWR)
        self.secured.close()
        self.dul.kill_dul()
        self.dul.join()
        self.kill()
        if self.is_alive():
            self.join()


@contextmanager
def calling(
    title: str, remote: Remote, kinds: Sequence[Kind], terms: Terms, arriving: Arriving | None = None
) -> Iterator[Call]:
    """An association that is established; released at the end, or cut off by an error.

    Raises `TryAgain` when the other side is away or wants none.
    """
    warnings.simplefilter("ignore")  # pydicom's hold what the other side sent
    entity = ApplicationEntity(ae_title=title)
    entity.dimse_timeout = entity.network_timeout = terms.seconds
    entity.acse_timeout = min(terms.seconds, ASSOCIATION_SECONDS)
    call = Call(entity, remote, terms, arriving)
    proposed = [build_context(kind.uid, kind.syntax) for kind in kinds]
    for number, (context, kind) in enumerate(zip(proposed, kinds, strict=True)):
        context.context_id = 2 * number + 1
        if kind.sent_to_us:
            context.scu_role, context.scp_role = False, True
    call.requestor.requested_contexts = proposed
    for uid in sorted({kind.uid for kind in kinds if kind.sent_to_us}):
        call.requestor.add_negotiation_item(build_role(uid, scp_role=True))
    try:
        call.request()
        if not call.is_established:
            why = "it wants no association with us" if call.is_rejected else "no association came about"
            raise TryAgain(
                what=f"calling {remote.ae_title}",
                why=why + (f" ({call.failure})" if call.failure else ""),
                next_step="see to the network, AE titles and certificates, then run the same command again",
            )
        call.start()
        yield call
        call.release()
    finally:
        call.end()
