"""Calling others over DICOM, by pynetdicom: C-FIND, C-GET and C-MOVE at a PACS, C-STORE at the platform's door.

What the other side sends is bounded as the listener bounds its peers: the size and time of a PDU, the length of an answer,
how many there are, and the time of it all. What comes by C-GET goes into the spool as it comes, unread. An answer to C-FIND
is read for the few values that were asked for, as plain text, and nothing of it is ever said.
"""

from __future__ import annotations

import socket
import ssl
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from functools import partial
from io import BytesIO
from typing import Any, Final, cast

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info
from pynetdicom import _config, evt
from pynetdicom._globals import MODE_REQUESTOR
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.presentation import PresentationContext, build_context, build_role
from pynetdicom.transport import T_CONNECT, AddressInformation

from readingroom.adapters.clock import SystemClock
from readingroom.adapters.collect_file import Bounds, Remote, SetUp, TlsFiles
from readingroom.adapters.collect_journal import AwaitingSpool
from readingroom.adapters.dicom_listener import (
    CIPHERS,
    HANDSHAKE_SECONDS,
    BoundedDimse,
    BoundedSocket,
    DataSet,
    stored,
)
from readingroom.adapters.spool import Arriving, Exhausted
from readingroom.application.ports_collect import Arrived
from readingroom.domain.collection import Content, Instance, Missing, Query, Question, Study
from readingroom.domain.deid.outcome import Reason
from readingroom.domain.deid.values import is_uid
from readingroom.domain.errors import Rejected, TryAgain, WrongSetUp
from readingroom.domain.peers import Limits

FIND: Final = "1.2.840.10008.5.1.4.1.2.2.1"  # Study Root, PS3.4 annex C
MOVE: Final = "1.2.840.10008.5.1.4.1.2.2.2"
GET: Final = "1.2.840.10008.5.1.4.1.2.2.3"
IMPLICIT: Final = "1.2.840.10008.1.2"
MOST_CONTEXTS: Final = 127  # of 128, PS3.8 section 9.3.2.2: one is for the question itself
ASSOCIATION_SECONDS: Final = 30.0  # for an association to be agreed to, and to be released
LARGEST_ANSWER: Final = 64 << 10
QUEUED: Final = 16  # messages of a C-GET that were not looked at yet
LONGEST_TEXT: Final = 64
_SYNTAXES: Final = (  # the encodings that archives hold, those that keep all pixels first
    *("1.2.840.10008.1.2.1", IMPLICIT, "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5"),
    *(f"1.2.840.10008.1.2.4.{last}" for last in (70, 57, 80, 90, 201, 202, 50, 51, 81, 91, 203)),
)
_CAPTURES: Final = tuple(
    f"1.2.840.10008.5.1.4.1.1.7{last}" for last in ("", ".2", ".4")
)  # secondary capture, any modality
_CLASSES: Final = {  # of images, where a PACS does not say them
    modality: tuple(f"1.2.840.10008.5.1.4.1.1.{last}" for last in classes.split())
    for modality, classes in {
        "CR": "1",
        "DX": "1.1 1.1.1",
        "MG": "1.2 1.2.1 13.1.3",
        "IO": "1.3 1.3.1",
        "CT": "2 2.1 2.2",
        "US": "6.1 3.1",
        "MR": "4 4.1 4.3 4.4",
        "XA": "12.1 12.1.1",
        "RF": "12.2 12.2.1",
        "NM": "20",
        "PT": "128 130 128.1",
    }.items()
}
_PENDING: Final = {0xFF00, 0xFF01}
_BUSY: Final = range(0xA700, 0xA800)  # out of resources
_ALL_FAILED: Final = 0xA702

_config.STORE_SEND_CHUNKED_DATASET = True  # the file's own bytes, not what pydicom makes of them
_config.LOG_RESPONSE_IDENTIFIERS = _config.LOG_REQUEST_IDENTIFIERS = (
    False  # to log them, the library would interpret all values
)


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """TLS as at the door. Raises `WrongSetUp` when a file is off."""
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(CIPHERS)
        context.load_cert_chain(files.certificate, files.key, password="")  # a locked key is an error, no question
        context.load_verify_locations(files.authority)
    except (OSError, ValueError) as error:
        raise WrongSetUp(
            what="the credentials of the collection",
            which=f"{files.certificate.name}, {files.key.name}, {files.authority.name}",
            why=f"they cannot be used ({type(error).__name__})",
            next_step="give PEM files: a certificate, its key, and the authority of the other side",
        ) from error
    return context


class _Link(BoundedSocket):
    """A connection that is made when the library asks for it: TLS included, and within a time."""

    def __init__(self, association: _Call, remote: Remote) -> None:
        super().__init__(association, client_socket=socket.socket())  # a placeholder: none is bound before it is needed
        cast("socket.socket", self.socket).close()
        self._remote, self._is_connected = remote, False
        association.dul.event_queue.get()  # the placeholder's "connected"
        self._ready.clear()

    def connect(self, primitive: T_CONNECT) -> None:
        """See `AssociationSocket`."""
        association = cast("_Call", self.assoc)
        try:
            link = socket.create_connection((self._remote.host, self._remote.port), HANDSHAKE_SECONDS)
            association.secured = link
            if self._remote.tls:
                association.secured = client_context(self._remote.tls).wrap_socket(
                    link, server_hostname=self._remote.tls.name
                )
            self.socket, self._is_connected = association.secured, True
        except (OSError, ValueError, WrongSetUp) as error:
            association.failure = type(error).__name__
        primitive.result = "Evt2" if self._is_connected else "Evt17"
        self.provider_queue.put(primitive)
        self._ready.set()


class _Answers(BoundedDimse):
    """Messages of the other side, so many and no more."""

    def __init__(self, association: _Call, most: int) -> None:
        super().__init__(association)
        self._left, self._queued = most, QUEUED if association.arriving else most

    def crowded(self) -> bool:
        """See `BoundedDimse`."""
        self._left -= 1
        return self._left < 0 or self.msg_queue.qsize() > self._queued

    def give_up(self) -> None:
        """See `BoundedDimse`; whoever waits for a message waits no longer."""
        super().give_up()
        self.msg_queue.put((None, None))

    def data_set(self, message: DIMSEMessage) -> DataSet:
        """See `BoundedDimse`."""
        return _Answer(message, cast("_Call", self.assoc))


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


class _Call(Association):
    """An association that we ask for."""

    def __init__(self, entity: ApplicationEntity, remote: Remote, limits: Limits, arriving: Arriving | None) -> None:
        super().__init__(entity, MODE_REQUESTOR)
        self.limits, self.arriving = limits, arriving
        self.secured = cast("socket.socket", None)
        self.failure = ""
        self.deadline = time.monotonic() + limits.association_seconds
        self.dul.daemon = True
        self.set_socket(_Link(self, remote))
        self.acceptor.ae_title = remote.ae_title
        nowhere = AddressInformation("127.0.0.1", 0)  # `_Link` knows where
        self.acceptor.address_info = self.requestor.address_info = nowhere
        self.requestor.ae_title = entity.ae_title
        self.requestor.maximum_length = limits.pdu_bytes
        self.requestor.implementation_class_uid = entity.implementation_class_uid
        self.requestor.implementation_version_name = entity.implementation_version_name
        self.bind(evt.EVT_C_STORE, stored)

    def end(self) -> None:
        """Closed, whatever the other side does."""
        for close in (partial(self.secured.shutdown, socket.SHUT_RDWR), self.secured.close) if self.secured else ():
            with suppress(OSError):
                close()
        self.dul.kill_dul()
        self.dul.join()
        self.kill()
        if self.is_alive():
            self.join()


@contextmanager
def _called(  # noqa: PLR0913 (what an association is made of)
    title: str,
    remote: Remote,
    proposed: Sequence[PresentationContext],
    *,
    limits: Limits,
    seconds: float,
    most: int,
    arriving: Arriving | None = None,
) -> Iterator[_Call]:
    """An association that is established; released at the end, or cut off by an error.

    The other side sends at most so many messages, each within so many seconds. Raises `TryAgain` when it is away or wants no
    association.
    """
    warnings.simplefilter("ignore")  # pydicom's hold what the other side sent
    entity = ApplicationEntity(ae_title=title)
    entity.dimse_timeout = entity.network_timeout = seconds
    entity.acse_timeout = min(seconds, ASSOCIATION_SECONDS)
    call = _Call(entity, remote, limits, arriving)
    call.dimse = _Answers(call, most)
    for number, context in enumerate(proposed):
        context.context_id = 2 * number + 1
    call.requestor.requested_contexts = list(proposed)
    for uid in {str(context.abstract_syntax) for context in proposed if context.scp_role}:
        call.requestor.add_negotiation_item(build_role(uid, scp_role=True))
    try:
        call.request()
        if not call.is_established:
            rejected = "it wants no association with us" if call.is_rejected else "it cannot be reached"
            raise TryAgain(
                what=f"calling {remote.ae_title}",
                why=rejected + (f" ({call.failure})" if call.failure else ""),
                next_step="see to the network, AE titles and certificates, then run the same command again",
            )
        call.start()
        yield call
        call.release()
    finally:
        call.end()


class CalledPacs:
    """See the port `Pacs`."""

    def __init__(self, set_up: SetUp, spool: AwaitingSpool | None) -> None:
        """Without a spool it only asks."""
        self._title, self._pacs, self._bounds = set_up.ae_title, set_up.pacs, set_up.bounds
        self._listen, self._spool = set_up.listen, spool
        if self._pacs.tls:
            client_context(self._pacs.tls)

    def studies(self, query: Query) -> Sequence[Study]:
        """See the port."""
        wanted = {
            "StudyDate": query.day.strftime("%Y%m%d") if query.day else "",
            "ModalitiesInStudy": query.modality,
            "AccessionNumber": query.accession,
        }
        with self._calling(FIND) as call:
            return [
                Study(
                    uid=answer["StudyInstanceUID"],
                    day=_day(answer["StudyDate"]),
                    accession=answer["AccessionNumber"],
                    modalities=frozenset(filter(None, answer["ModalitiesInStudy"].split("\\"))),
                )
                for answer in self._find(call, "STUDY", wanted, "StudyInstanceUID")
                if is_uid(answer["StudyInstanceUID"])
            ]

    def content(self, study: Study, question: Question) -> Content:
        """See the port."""
        found: dict[str, Instance] = {}
        differing = odd = 0
        with self._calling(FIND) as call:
            above = {"StudyInstanceUID": study.uid}
            wanted = {"Modality": "", "NumberOfSeriesRelatedInstances": ""}
            for series in self._find(call, "SERIES", {**above, **wanted}, "SeriesInstanceUID"):
                uid = series["SeriesInstanceUID"]
                if not is_uid(uid) or not series["Modality"] or series["StudyInstanceUID"] not in {"", study.uid}:
                    odd += 1
                elif series["Modality"] in question.modalities:
                    listed, strange = self._instances(call, study.uid, series)
                    count = series["NumberOfSeriesRelatedInstances"].strip()
                    differing += count.isdecimal() and int(count) != len(listed)
                    odd += strange + len(listed.keys() & found.keys())
                    found.update(listed)
        return Content(instances=tuple(found[uid] for uid in sorted(found)), differing=differing, odd=odd)

    def _instances(self, call: _Call, study: str, series: dict[str, str]) -> tuple[dict[str, Instance], int]:
        found, odd = dict[str, Instance](), 0
        above = {"StudyInstanceUID": study, "SeriesInstanceUID": series["SeriesInstanceUID"]}
        for answer in self._find(call, "IMAGE", {**above, "SOPClassUID": ""}, "SOPInstanceUID"):
            uid, fits = answer["SOPInstanceUID"], all(answer[key] in {"", value} for key, value in above.items())
            if not is_uid(uid) or not fits:
                odd += 1
            else:
                found[uid] = Instance(
                    uid=uid,
                    series=series["SeriesInstanceUID"],
                    modality=series["Modality"],
                    sop_class=answer["SOPClassUID"],
                )
        return found, odd

    def retrieve(self, study: Study, instances: Sequence[Instance]) -> None:
        """See the port."""
        spool = cast("AwaitingSpool", self._spool)
        spool.await_(instance.uid for instance in instances)
        wanted = Dataset()
        wanted.QueryRetrieveLevel = "IMAGE"
        wanted.StudyInstanceUID, wanted.SeriesInstanceUID = study.uid, instances[0].series
        wanted.SOPInstanceUID = [instance.uid for instance in instances]
        try:
            if self._listen:
                with self._calling(MOVE) as call:
                    self._status(call.send_c_move(wanted, self._title, MOVE))
            else:
                arriving = spool.begin("", SystemClock().now())
                try:
                    with self._calling(GET, self._kinds(instances), arriving) as call:
                        self._status(call.send_c_get(wanted, GET))
                finally:
                    arriving.end()
        finally:
            spool.await_(())
        if spool.was_full():
            raise TryAgain(
                what="the journal",
                why="this machine has no room for what the PACS sends",
                next_step="make room or raise spool_bytes, then run the same command again: it goes on from here",
            )

    def _kinds(self, instances: Sequence[Instance]) -> Iterator[PresentationContext]:
        """Each class in each encoding by itself, so that the PACS sends it as it has it; as many as fit.

        Where the PACS does not say the class, those that its modality has, first in the plain encodings.
        """
        known = {instance.sop_class for instance in instances if instance.sop_class}
        for modality in {instance.modality for instance in instances if not instance.sop_class}:
            known.update(_CLASSES.get(modality, ()), _CAPTURES)
        kinds = [(uid, syntax) for syntax in _SYNTAXES for uid in sorted(known) if is_uid(uid)]
        for uid, syntax in kinds[:MOST_CONTEXTS]:
            context = build_context(uid, syntax)
            context.scu_role, context.scp_role = False, True
            yield context

    @contextmanager
    def _calling(
        self, model: str, kinds: Iterable[PresentationContext] = (), arriving: Arriving | None = None
    ) -> Iterator[_Call]:
        with _called(
            self._title,
            self._pacs,
            [build_context(model, [IMPLICIT]), *kinds],
            limits=self._bounds.limits,
            seconds=self._bounds.answer_seconds,
            most=2 * self._bounds.answers,
            arriving=arriving,
        ) as call:
            yield call

    def _find(self, call: _Call, level: str, wanted: dict[str, str], unique: str) -> list[dict[str, str]]:
        """The answers, each with what was asked. Raises `TryAgain` when the PACS is busy, `Rejected` for no answer."""
        asked = Dataset()
        asked.QueryRetrieveLevel = level
        keys = [*wanted, unique]
        for keyword in keys:
            setattr(asked, keyword, wanted.get(keyword, ""))
        found: list[dict[str, str]] = []
        if not call.is_established:
            raise _no_answer("the association ended")
        for status, answer in call.send_c_find(asked, FIND):
            code = status.get("Status")
            if code in _PENDING and isinstance(answer, Dataset):
                found.append({keyword: _text(answer, keyword) for keyword in keys})
                if len(found) > self._bounds.answers:
                    raise _no_answer(f"it has more than {self._bounds.answers} parts")
            elif code in _BUSY:
                raise self._busy()
            elif code != 0x0000:
                raise _no_answer("the association ended" if code is None else f"status {code:04X}")
        return found

    def _status(self, answers: Iterator[tuple[Dataset, Dataset | None]]) -> None:
        """To the end of a retrieve. What did not come is seen elsewhere; only a busy PACS is told apart.

        Of its "out of resources" one also says that all instances failed (PS3.4 table C.4-2): then it tried.
        """
        for status, _ in answers:
            code = status.get("Status")
            if code in _BUSY and not (code == _ALL_FAILED and status.get("NumberOfFailedSuboperations")):
                raise self._busy()

    def _busy(self) -> TryAgain:
        return TryAgain(
            what=f"asking {self._pacs.ae_title}",
            why="it says it is out of resources",
            next_step="run the same command again later: it goes on from here",
        )


class CalledDoor:
    """See the port `Destination`: the network door."""

    def __init__(self, title: str, door: Remote, bounds: Bounds) -> None:
        self._title, self._door, self._bounds = title, door, bounds
        if door.tls:
            client_context(door.tls)

    def deliver(self, instances: Sequence[Arrived]) -> Iterator[tuple[str, str]]:
        """See the port. One association, so that a study is a batch; more where it holds more kinds than one can agree on."""
        kinds: dict[tuple[str, str], list[Arrived]] = {}
        for each in instances:
            meta = read_file_meta_info(each.path)
            kinds.setdefault((str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)), []).append(each)
        todo = sorted(kinds)
        for at in range(0, len(todo), MOST_CONTEXTS):
            part = todo[at : at + MOST_CONTEXTS]
            proposed = [build_context(uid, [syntax]) for uid, syntax in part]
            limits, seconds = Limits(), self._bounds.answer_seconds
            with _called(self._title, self._door, proposed, limits=limits, seconds=seconds, most=1 << 30) as call:
                for kind in part:
                    yield from self._send(call, kinds[kind])

    def _send(self, call: _Call, instances: Sequence[Arrived]) -> Iterator[tuple[str, str]]:
        for each in instances:
            if not call.is_established:
                raise self._away("the association ended")
            try:
                status = call.send_c_store(each.path)
            except ValueError:  # the door did not agree to this kind
                yield each.uid, Missing.REFUSED.value
                continue
            code, comment = status.get("Status"), str(status.get("ErrorComment", ""))
            if code is None:
                raise self._away("no answer came")
            if code in _BUSY and comment != Reason.OVER_LIMIT:
                raise self._away("it says it is out of resources")
            refused = comment if comment in set(Reason) else Missing.REFUSED.value
            yield each.uid, "" if code == 0x0000 else refused

    def _away(self, why: str) -> TryAgain:
        return TryAgain(
            what=f"sending to {self._door.ae_title}",
            why=why,
            next_step="run the same command again later: it goes on from here",
        )


def _text(answer: Dataset, keyword: str) -> str:
    """A value as the PACS sent it, if it is short plain text; else nothing."""
    tag = tag_for_keyword(keyword)
    raw = answer.get_item(tag) if tag is not None else None
    value = getattr(raw, "value", None)
    if not isinstance(value, bytes) or len(value) > 16 * LONGEST_TEXT:
        return ""
    try:
        return value.decode("ascii").strip(" \0")
    except UnicodeDecodeError:
        return ""


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(f"{text[:4]}-{text[4:6]}-{text[6:]}") if len(text) == 8 else None
    except ValueError:
        return None


def _no_answer(why: str) -> Rejected:
    return Rejected(what="an answer of the PACS", why=why, next_step="have the site see to its PACS")
