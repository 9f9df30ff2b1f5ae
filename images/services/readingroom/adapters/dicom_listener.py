"""C-STORE and C-ECHO over TLS, by pynetdicom; `dicom_caller` is the other module that imports it, and bounds peers alike.

It opens no data set: bytes go from the wire into the spool as they come, behind a file meta that says what the association
negotiated. PS3.15 section B.9 (TLS 1.2 or later, both sides with a certificate), PS3.8 (refusing an association), PS3.4
section B.2.3 and PS3.7 annex C (statuses). What pynetdicom leaves to its user is done here: a PDU has a largest size and a
time by which it must be whole, a handshake holds up nobody else, and a message begins only when the one before was taken.
"""

from __future__ import annotations

import hashlib
import logging
import socket
import ssl
import struct
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final, Protocol, cast

from pydicom._uid_dict import UID_dictionary
from pydicom.dataset import Dataset
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID
from pynetdicom import _config, evt, sop_class
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.acse import ACSE
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import A_ASSOCIATE, P_DATA
from pynetdicom.presentation import AllStoragePresentationContexts, PresentationContext, build_context
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.transport import AddressInformation, AssociationSocket, RequestHandler, ThreadedAssociationServer

from readingroom.adapters.clock import SystemClock
from readingroom.adapters.dicom.prescan import is_read
from readingroom.adapters.mutual_tls import CIPHERS
from readingroom.adapters.spool import Arriving, Exhausted, Incoming, SpoolFolder
from readingroom.domain.deid.outcome import Reason
from readingroom.domain.errors import ReadingRoomError, Refused, TryAgain, WrongSetUp
from readingroom.domain.peers import Caller, Limits, Peers

VERIFICATION: Final = "1.2.840.10008.1.1"
HANDSHAKE_SECONDS: Final = 10.0
END_SECONDS: Final = 5.0
LARGEST_COMMAND: Final = 64 << 10
LEAST_REQUEST: Final = 128 << 10  # an A-ASSOCIATE-RQ with 128 contexts
_STATUS: Final = {
    Reason.OVER_LIMIT: 0xA700,  # out of resources
    Reason.OUT_OF_SPACE: 0xA700,
    Reason.SOP_CLASS: 0x0122,  # not supported
    Reason.UID_MALFORMED: 0x0117,  # invalid instance
}
_TITLE_UNKNOWN, _CONGESTION, _LIMIT = (1, 1, 3), (2, 3, 1), (2, 3, 2)  # PS3.8 table 9-21

_config.LOG_HANDLER_LEVEL = "none"
logging.getLogger("pynetdicom").addHandler(logging.NullHandler())
logging.getLogger("pynetdicom").propagate = False  # its lines hold what peers sent


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """Files, read anew for each connection: a renewed certificate needs no restart."""

    certificate: Path
    key: Path
    authority: Path  # who may sign a peer's certificate

    def context(self) -> ssl.SSLContext:
        """TLS as BCP 195 says it. Raises `WrongSetUp` when a file is off."""
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers(CIPHERS)
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_cert_chain(self.certificate, self.key, password="")  # a locked key is an error, no question
            context.load_verify_locations(self.authority)
        except (OSError, ValueError) as error:
            raise WrongSetUp(
                what="the listener's credentials",
                which=f"{self.certificate.name}, {self.key.name}, {self.authority.name}",
                why=f"they cannot be used ({type(error).__name__})",
                next_step="give PEM files: a certificate, its key, and the authority of the peers",
            ) from error
        context.num_tickets = 0  # nobody resumes, and a ticket nobody reads can hold up a peer
        return context


class Listener:
    """Listens from `start` to `stop`. `peers` is asked for each association, so who is taken off the list is out at once."""

    def __init__(
        self,
        spool: SpoolFolder,
        peers: Callable[[], Peers],
        credentials: Credentials | None,
        say: Callable[[str], None],
    ) -> None:
        """Without credentials in plain DICOM: for the archive of a site, on the site's own network."""
        self.spool, self.peers, self.credentials, self.say = spool, peers, credentials, say
        self.limits = spool.limits
        self._lock = threading.Lock()
        self._of_a_peer: Counter[str] = Counter()
        self._last_refusal = 0.0
        self._untold = 0
        self._server: _Server | None = None

    def start(self, address: str, port: int) -> int:
        """Begins, and says on which port. Raises `WrongSetUp` when the credentials or the address are off."""
        if self.credentials:
            self.credentials.context()
        warnings.simplefilter("ignore")  # pydicom's hold what peers sent
        entity = ApplicationEntity(ae_title=self.peers().ae_title)
        entity.require_called_aet = True
        entity.maximum_associations = self.limits.associations
        entity.maximum_pdu_size = self.limits.pdu_bytes
        entity.network_timeout = entity.acse_timeout = self.limits.idle_seconds
        try:
            self._server = _Server(self, entity, (address, port))
        except OSError as error:
            raise WrongSetUp(
                what="the listener",
                which=f"{address}:{port}",
                why=f"it cannot listen there ({error.strerror or type(error).__name__})",
                next_step="give another address or port",
            ) from error
        entity._servers.append(self._server)  # noqa: SLF001 (where its own `shutdown` looks for it)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        return int(self._server.server_address[1])

    def stop(self) -> None:
        """Takes no more. Associations under way are aborted; what was acknowledged is in the spool."""
        if self._server is None:
            return
        self._server.shutdown()
        active = cast("list[_Association]", self._server.active_associations)
        for association in active:
            association.abort(block=False)
        until = time.monotonic() + END_SECONDS
        for association in active:
            association.join(max(0.0, until - time.monotonic()))
            if association.is_alive():
                association.cut()
                association.join()

    def refused(self, why: str) -> None:
        """Told at most once a second: whoever knocks without end must not fill a log."""
        with self._lock:
            now = time.monotonic()
            if now - self._last_refusal < 1:
                self._untold += 1
                return
            more = f" (and {self._untold} before it)" if self._untold else ""
            self._last_refusal, self._untold = now, 0
        self.say(f"refused: {why}{more}")

    def enter(self, title: str) -> None:
        """A peer has one association more. Raises `TryAgain` when it has as many as it may."""
        with self._lock:
            if self._of_a_peer[title] >= self.limits.associations_of_a_peer:
                raise TryAgain(what="an association", which=title, why="the peer has too many", next_step="end one")
            self._of_a_peer[title] += 1

    def leave(self, title: str) -> None:
        """A peer has one association less."""
        with self._lock:
            self._of_a_peer[title] -= 1


class _Server(ThreadedAssociationServer):
    """Accepts; a thread of each connection does the rest. Twice as many connections as associations, so that a peer too
    many is told so rather than cut off.
    """

    daemon_threads = True

    def __init__(self, listener: Listener, entity: ApplicationEntity, address: tuple[str, int]) -> None:
        self.listener = listener
        self._free = threading.BoundedSemaphore(2 * listener.limits.associations)
        handlers: Any = [(evt.EVT_C_STORE, stored)]
        super().__init__(entity, address, entity.ae_title, contexts(), None, handlers, _Connection)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is room for a connection at all."""
        if free := self._free.acquire(blocking=False):
            return free
        self.listener.refused("a connection, too many are open")
        return False

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """TLS, then the association, until its end: the place is free again whatever happens."""
        try:
            request.settimeout(HANDSHAKE_SECONDS)
            if not request.recv(1, socket.MSG_PEEK):  # hung up without a word, as a kubelet that asks whether we listen
                self.shutdown_request(request)
                return
            credentials = self.listener.credentials
            secured = credentials.context().wrap_socket(request, server_side=True) if credentials else request
            self.finish_request(secured, client_address)
        except (OSError, ValueError, ReadingRoomError) as error:
            self.listener.refused(f"a connection, no TLS as required ({type(error).__name__})")
            self.shutdown_request(request)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Without the traceback of the library's own."""
        self.listener.refused("a connection, it failed at once")


class _Connection(RequestHandler):
    """Makes the association of a connection and stays until it is over."""

    def handle(self) -> None:
        """See `socketserver`."""
        association = _Association(self)
        association.start()
        association.join()


class _Association(Association):
    """An association whose parts are bounded: see the classes below."""

    def __init__(self, connection: RequestHandler) -> None:
        server = cast("_Server", connection.server)
        super().__init__(connection.ae, MODE_ACCEPTOR)
        self.listener, self.arriving = server.listener, cast("Arriving | None", None)
        self.limits = self.listener.limits
        self._entered = cast("str | None", None)
        self.secured = cast("socket.socket", connection.request)
        self.deadline = time.monotonic() + self.limits.association_seconds
        self._server, self.name, self.dul.daemon = server, f"AcceptorThread-{id(self)}", True
        self.acse, self.dimse = _Acse(self), BoundedDimse(self)
        self.set_socket(BoundedSocket(self, client_socket=self.secured))
        self.acceptor.maximum_length = self.ae.maximum_pdu_size
        self.acceptor.ae_title = server.ae_title
        self.acceptor.address_info = connection.local
        self.acceptor.implementation_class_uid = self.ae.implementation_class_uid
        self.acceptor.implementation_version_name = self.ae.implementation_version_name
        self.acceptor.supported_contexts = server.contexts
        self.requestor.address_info = AddressInformation.from_tuple(connection.client_address)
        for event in evt._INTERVENTION_EVENTS:  # noqa: SLF001 (as the library's own handler does)
            handler = server.get_handlers(event)
            self.bind(event, *cast("tuple[Any, Any]", handler))

    def enter(self) -> None:
        """Finds out whose association it is, and a place for it. Raises `Refused`, `TryAgain`, `WrongSetUp` or `OSError`."""
        request = cast("A_ASSOCIATE", self.requestor.primitive)
        title, where = str(request.calling_ae_title).strip(), cast("AddressInformation", self.requestor.address_info)
        certificate = (isinstance(self.secured, ssl.SSLSocket) and self.secured.getpeercert(binary_form=True)) or b""
        peer = self.listener.peers().called_by(
            Caller(
                ae_title=title,
                fingerprint=hashlib.sha256(certificate).hexdigest(),
                address=where.address.removeprefix("::ffff:"),
            )
        )
        self.listener.enter(title)
        self._entered = title
        self.arriving = self.listener.spool.begin(peer.centre, SystemClock().now())

    def run_reactor(self) -> None:
        """Until the end; then what was acknowledged is handed on, whatever the end was."""
        try:
            super().run_reactor()
        except Exception as error:  # noqa: BLE001 (the edge of an association: whatever a peer did ends this one alone)
            self.listener.refused(f"the rest of an association, it failed ({type(error).__name__})")
        finally:
            self.cut()
            self.dul.kill_dul()
            self.dul.join()
            if self._entered is not None:
                self.listener.leave(self._entered)
            if self.arriving is not None:
                self._hand_on(self.arriving)

    def cut(self) -> None:
        """Ends the connection without a word."""
        with suppress(OSError):
            self.secured.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):
            self.secured.close()

    def _hand_on(self, arriving: Arriving) -> None:
        try:
            arriving.end()
        except OSError as error:
            self.listener.say(f"an association waits for the next start: the spool failed ({type(error).__name__})")
            return
        if arriving.kept or arriving.refused:
            name = f"{arriving.folder.name.lstrip('.')} of {arriving.folder.parent.name}"
            self.listener.say(f"{name}: {arriving.kept} objects came, {arriving.refused} refused")


class Bounded(Protocol):
    """What an association of either side knows of its bounds."""

    limits: Limits
    arriving: Arriving | None
    secured: socket.socket
    deadline: float  # of a clock that never goes back

    @property
    def accepted_contexts(self) -> list[PresentationContext]:
        """As the library's own."""
        ...


class BoundedSocket(AssociationSocket):
    """Reads no PDU that is too large, and waits for none longer than one may take."""

    def recv(self, nr_bytes: int) -> bytearray:
        """So many bytes, or fewer at the end. Raises `OSError` when the time is over.

        The head of a PDU that is too large comes out as that of no known type: the library answers that with A-ABORT.
        """
        association = cast("Bounded", self.assoc)
        limits, link = association.limits, association.secured
        until = min(time.monotonic() + limits.idle_seconds, association.deadline)
        read, at = bytearray(nr_bytes), 0
        while at < nr_bytes:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            link.settimeout(left)
            count = link.recv_into(memoryview(read)[at:])
            if not count:
                return read[:at]
            at += count
        if nr_bytes == 6 and struct.unpack_from(">L", read, 2)[0] > max(limits.pdu_bytes, LEAST_REQUEST):
            read[0] = 0
        return read

    def send(self, bytestream: bytes) -> None:
        """As long as receiving may take."""
        association = cast("Bounded", self.assoc)
        with suppress(OSError):
            association.secured.settimeout(association.limits.idle_seconds)
        super().send(bytestream)


class _Acse(ACSE):
    """Lets in known peers only. Whatever fails on the way lets nobody in."""

    def negotiate_association(self) -> None:
        """PS3.8 section 7.1.1.9: who is not known is told that the calling AE title is not, and no more."""
        association = cast("_Association", self.assoc)
        try:
            association.enter()
        except Refused as refused:
            self._reject(_TITLE_UNKNOWN, refused.why)
        except TryAgain as busy:
            self._reject(_LIMIT, busy.why)
        except (WrongSetUp, OSError) as error:
            self._reject(_CONGESTION, f"the file of peers or the spool cannot be used ({type(error).__name__})")
        else:
            super().negotiate_association()

    def _reject(self, words: tuple[int, int, int], why: str) -> None:
        self.send_reject(*words)
        self.assoc.kill()
        cast("_Association", self.assoc).listener.refused(f"an association, {why}")


class BoundedDimse(DIMSEServiceProvider):
    """Puts data sets into the spool as they come, and keeps one message at a time."""

    def crowded(self) -> bool:
        """Whether the next message may not begin yet."""
        return self.msg_queue.qsize() > 0

    def give_up(self) -> None:
        """The association is aborted."""
        self.dul.event_queue.put("Evt19")

    def data_set(self, message: DIMSEMessage) -> DataSet:
        """Where the data set of a message goes."""
        return DataSet(message, cast("Bounded", self.assoc))

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Part of a message. A peer that sends the next before the answer to the last but one, a command without end or
        more than an association may hold is aborted.
        """
        if self.message is None:
            if self.crowded():
                self.give_up()
                return
            self.message = DIMSEMessage()
            self.message.data_set = self.data_set(self.message)
        try:
            commands = sum(len(data) for _, data in primitive.presentation_data_value_list if data[0] & 1)
            if self.message.encoded_command_set.tell() + commands > LARGEST_COMMAND:
                raise Exhausted
            super().receive_primitive(primitive)
        except Exhausted:
            self.give_up()


class DataSet(BytesIO):
    """The data set of a message on its way into the spool; of a message that stores nothing it goes nowhere."""

    def __init__(self, message: DIMSEMessage, association: Bounded) -> None:
        super().__init__()
        self._message, self._association = message, association
        self._stores: bool | None = None
        self.incoming: Incoming | None = None

    def write(self, piece: Any) -> int:
        """See `BytesIO`."""
        if self._stores is None:
            self._stores = type(self._message).__name__ == "C_STORE_RQ"
            self.incoming = self._begin(cast("Arriving", self._association.arriving)) if self._stores else None
        if self.incoming is None:
            self.of_another(piece)
        else:
            self.incoming.write(piece)
        return len(piece)

    def of_another(self, piece: bytes) -> None:
        """Part of a message that stores nothing."""
        cast("Arriving", self._association.arriving).count(len(piece))

    def _begin(self, arriving: Arriving) -> Incoming | None:
        """None where the context was not accepted: the library ends the association then."""
        command = self._message.command_set
        accepted = {context.context_id: context for context in self._association.accepted_contexts}
        context = accepted.get(self._message.context_id)
        if context is None:
            return None
        said = [str(command.get(keyword, "")) for keyword in ("AffectedSOPClassUID", "AffectedSOPInstanceUID")]
        incoming = arriving.begin(said[1])
        if said[0] != context.abstract_syntax:
            incoming.refuse(Reason.SOP_CLASS)
        incoming.write(file_meta(said[0], said[1], str(context.transfer_syntax[0])))
        return incoming


def stored(event: evt.Event) -> Dataset:
    """Success is said only of what is on the disk."""
    data_set = cast("C_STORE", event.request).DataSet
    incoming = data_set.incoming if isinstance(data_set, DataSet) else None
    status = Dataset()
    status.Status = 0xC000  # cannot understand: no data set
    if incoming is not None:
        incoming.keep()
        status.Status = _STATUS[incoming.reason] if incoming.reason else 0x0000
        if incoming.reason:
            status.ErrorComment = incoming.reason.value
    return status


def file_meta(sop_class: str, instance: str, syntax: str) -> bytes:
    """Preamble and file meta information for a data set that came over the network: PS3.10 section 7.1.

    It names no sender, so that what is sent again, by whomever, has the same bytes.
    """
    uids = {0x0002: sop_class, 0x0003: instance, 0x0010: syntax, 0x0012: PYDICOM_IMPLEMENTATION_UID}
    meta = struct.pack("<HH2sHI", 2, 1, b"OB", 0, 2) + b"\0\1"
    for element, uid in uids.items():
        value = uid.encode("ascii", "replace")
        value += b"\0" * (len(value) % 2)
        meta += struct.pack("<HH2sH", 2, element, b"UI", len(value)) + value
    return bytes(128) + b"DICM" + struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(meta)) + meta


def contexts() -> list[PresentationContext]:
    """C-ECHO, and every kind of object in every encoding that the folder door reads, those that keep all pixels first."""
    registered = {uid: entry for uid, entry in UID_dictionary.items() if entry[1] == "SOP Class"}
    known = {str(context.abstract_syntax) for context in AllStoragePresentationContexts}
    for uid, entry in registered.items():
        if "ImageStorage" in entry[4] and uid not in known:
            sop_class.register_uid(uid, entry[4], StorageServiceClass)
            known.add(uid)
    syntaxes = [uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax" and is_read(uid)]
    plain = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]
    return [
        build_context(VERIFICATION, plain),
        *(build_context(uid, [*plain, *(each for each in syntaxes if each not in plain)]) for uid in sorted(known)),
    ]
