"""The PACS of a site: what it has by C-FIND, and what it sends by C-GET or C-MOVE.

An answer is read for the few values that were asked for, as short plain text, and nothing of it is ever said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Final, cast

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from readingroom.adapters.clock import SystemClock
from readingroom.adapters.collect_file import SetUp
from readingroom.adapters.collect_journal import AwaitingSpool
from readingroom.adapters.dicom_caller import (
    FIND,
    GET,
    MOVE,
    Call,
    Ended,
    Kind,
    NotAgreed,
    Terms,
    TooMuch,
    calling,
    client_context,
)
from readingroom.adapters.spool import Arriving
from readingroom.domain.collection import Content, Instance, Query, Question, Study
from readingroom.domain.deid.values import is_uid
from readingroom.domain.errors import Rejected, TryAgain, WrongSetUp

IMPLICIT: Final = "1.2.840.10008.1.2"
MOST_KINDS: Final = 127  # of 128 contexts, PS3.8 section 9.3.2.2: one is for the question itself
LONGEST_TEXT: Final = 1024
_SYNTAXES: Final = (  # the encodings that archives hold, those that keep all pixels first
    *("1.2.840.10008.1.2.1", IMPLICIT, "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5"),
    *(f"1.2.840.10008.1.2.4.{last}" for last in (70, 57, 80, 90, 201, 202, 50, 51, 81, 91, 203)),
)
_ROOT: Final = "1.2.840.10008.5.1.4.1.1."
_CAPTURES: Final = ("7", "7.2", "7.4")  # secondary capture, of any modality
_IMAGES: Final = {  # the classes of a modality, where a PACS does not say them
    "CR": ("1",),
    "DX": ("1.1", "1.1.1"),
    "MG": ("1.2", "1.2.1", "13.1.3"),
    "IO": ("1.3", "1.3.1"),
    "CT": ("2", "2.1", "2.2"),
    "US": ("6.1", "3.1"),
    "MR": ("4", "4.1", "4.3", "4.4"),
    "XA": ("12.1", "12.1.1"),
    "RF": ("12.2", "12.2.1"),
    "NM": ("20",),
    "PT": ("128", "130", "128.1"),
}
_PENDING: Final = {0xFF00, 0xFF01}
BUSY: Final = range(0xA700, 0xA800)  # out of resources
_ALL_FAILED: Final = 0xA702


class CalledPacs:
    """See the port `Pacs`."""

    def __init__(self, set_up: SetUp, spool: AwaitingSpool | None) -> None:
        """Without a spool it only asks."""
        self._title, self._pacs, self._bounds = set_up.ae_title, set_up.pacs, set_up.bounds
        self._moves, self._spool = set_up.listen is not None, spool
        if self._pacs.tls:
            client_context(self._pacs.tls)

    def studies(self, query: Query) -> Sequence[Study]:
        """See the port."""
        wanted = {
            "StudyDate": query.day.strftime("%Y%m%d") if query.day else "",
            "ModalitiesInStudy": query.modality,
            "AccessionNumber": query.accession,
        }
        with self._calling(Kind(uid=FIND, syntax=IMPLICIT)) as call:
            return [
                Study(
                    uid=answer["StudyInstanceUID"] if is_uid(answer["StudyInstanceUID"]) else "",
                    day=_day(answer["StudyDate"]),
                    accession=answer["AccessionNumber"],
                    modalities=frozenset(filter(None, answer["ModalitiesInStudy"].split("\\"))),
                )
                for answer in self._find(call, "STUDY", wanted, "StudyInstanceUID")
            ]

    def content(self, study: Study, question: Question) -> Content:
        """See the port."""
        found: dict[str, Instance] = {}
        differing = odd = 0
        with self._calling(Kind(uid=FIND, syntax=IMPLICIT)) as call:
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

    def _instances(self, call: Call, study: str, series: dict[str, str]) -> tuple[dict[str, Instance], int]:
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
        wanted = Dataset()
        wanted.QueryRetrieveLevel = "IMAGE"
        wanted.StudyInstanceUID, wanted.SeriesInstanceUID = study.uid, instances[0].series
        wanted.SOPInstanceUID = [instance.uid for instance in instances]
        with spool.awaiting(instance.uid for instance in instances):
            if self._moves:
                with self._calling(Kind(uid=MOVE, syntax=IMPLICIT)) as call:
                    self._retrieved(call, wanted, self._title)
            else:
                arriving = spool.begin("", SystemClock().now())
                try:
                    with self._calling(Kind(uid=GET, syntax=IMPLICIT), *kinds_of(instances), arriving=arriving) as call:
                        self._retrieved(call, wanted, None)
                finally:
                    arriving.end()
        if spool.was_full():
            raise TryAgain(
                what="the journal",
                why="this machine has no room for what the PACS sends",
                next_step="make room or raise spool_bytes, then run the same command again: it goes on from here",
            )

    def _retrieved(self, call: Call, wanted: Dataset, destination: str | None) -> None:
        """To the end. What did not come is seen elsewhere; only a busy PACS is told apart.

        Of its "out of resources" one also says that all instances failed (PS3.4 table C.4-2): then it tried.
        """
        try:
            for code, failed in call.retrieve(wanted, destination):
                if code in BUSY and not (code == _ALL_FAILED and failed):
                    raise self._away("it says it is out of resources")
        except Ended:
            return
        except NotAgreed as error:
            raise WrongSetUp(
                what=f"asking {self._pacs.ae_title}",
                why="it does not do C-GET",
                next_step="have it know us as a destination of C-MOVE, and say where we listen in the set-up",
            ) from error

    @contextmanager
    def _calling(self, *kinds: Kind, arriving: Arriving | None = None) -> Iterator[Call]:
        bounds = self._bounds
        terms = Terms(limits=bounds.limits, seconds=bounds.answer_seconds, messages=2 * bounds.answers)
        with calling(self._title, self._pacs, kinds, terms, arriving) as call:
            yield call

    def _find(self, call: Call, level: str, wanted: dict[str, str], unique: str) -> list[dict[str, str]]:
        """The answers, each with what was asked. Raises `TryAgain` when the PACS is busy or gone, `Rejected` for no answer."""
        asked = Dataset()
        asked.QueryRetrieveLevel = level
        keys = [*wanted, unique]
        for keyword in keys:
            setattr(asked, keyword, wanted.get(keyword, ""))
        found: list[dict[str, str]] = []
        try:
            for code, answer in call.find(asked):
                if code in _PENDING and answer is not None:
                    found.append({keyword: _text(answer, keyword) for keyword in keys})
                    if len(found) > self._bounds.answers:
                        raise TooMuch
                elif code in BUSY:
                    raise self._away("it says it is out of resources")
                elif code != 0x0000:
                    raise _no_answer(f"status {code:04X}")
        except TooMuch as error:
            raise _no_answer("it is larger than the set-up allows") from error
        except Ended as error:
            raise self._away("the association ended") from error
        return found

    def _away(self, why: str) -> TryAgain:
        return TryAgain(
            what=f"asking {self._pacs.ae_title}",
            why=why,
            next_step="run the same command again later: it goes on from here",
        )


def kinds_of(instances: Sequence[Instance]) -> list[Kind]:
    """Each class in each encoding by itself, so that the PACS sends it as it has it; as many as fit.

    Where the PACS does not say the class, those that its modality has. Plain encodings come first.
    """
    known = {instance.sop_class for instance in instances if is_uid(instance.sop_class)}
    for modality in {instance.modality for instance in instances if not instance.sop_class}:
        known.update(f"{_ROOT}{last}" for last in (*_IMAGES.get(modality, ()), *_CAPTURES))
    kinds = [Kind(uid=uid, syntax=syntax, sent_to_us=True) for syntax in _SYNTAXES for uid in sorted(known)]
    return kinds[:MOST_KINDS]


def _text(answer: Dataset, keyword: str) -> str:
    """A value as the PACS sent it, if it is short plain text; else nothing."""
    tag = tag_for_keyword(keyword)
    raw = answer.get_item(tag) if tag is not None else None
    value = getattr(raw, "value", None)
    if not isinstance(value, bytes) or len(value) > LONGEST_TEXT:
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
