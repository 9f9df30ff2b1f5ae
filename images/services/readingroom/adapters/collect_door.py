"""The network door as the other side of a collection: C-STORE over TLS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydicom.filereader import read_file_meta_info

from readingroom.adapters.collect_file import Bounds, Remote
from readingroom.adapters.collect_pacs import BUSY, MOST_KINDS
from readingroom.adapters.dicom_caller import Call, Ended, Kind, NotAgreed, Terms, calling, client_context
from readingroom.application.ports_collect import Arrived
from readingroom.domain.collection import Missing
from readingroom.domain.deid.outcome import Reason
from readingroom.domain.errors import TryAgain
from readingroom.domain.peers import Limits


class CalledDoor:
    """See the port `Destination`: the network door."""

    def __init__(self, title: str, door: Remote, bounds: Bounds) -> None:
        self._title, self._door, self._bounds = title, door, bounds
        if door.tls:
            client_context(door.tls)

    def deliver(self, instances: Sequence[Arrived]) -> Iterator[tuple[str, str]]:
        """See the port. One association, so that a study is a batch; more where it holds more kinds than one can agree on."""
        by_kind: dict[tuple[str, str], list[Arrived]] = {}
        for each in instances:
            meta = read_file_meta_info(each.path)
            by_kind.setdefault((str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)), []).append(each)
        kinds = [Kind(uid=uid, syntax=syntax) for uid, syntax in sorted(by_kind)]
        terms = Terms(limits=Limits(), seconds=self._bounds.answer_seconds, messages=2 * len(instances))
        for at in range(0, len(kinds), MOST_KINDS):
            part = kinds[at : at + MOST_KINDS]
            with calling(self._title, self._door, part, terms) as call:
                for kind in part:
                    for each in by_kind[kind.uid, kind.syntax]:
                        yield each.uid, self._answer(call, each)

    def _answer(self, call: Call, instance: Arrived) -> str:
        try:
            code, comment = call.store(instance.path)
        except NotAgreed:
            return Missing.REFUSED
        except Ended as error:
            raise self._away("the association ended") from error
        if code == 0x0000:
            return ""
        if code in BUSY and comment != Reason.OVER_LIMIT:
            raise self._away("it says it is out of resources")
        return comment if comment in set(Reason) else Missing.REFUSED

    def _away(self, why: str) -> TryAgain:
        return TryAgain(
            what=f"sending to {self._door.ae_title}",
            why=why,
            next_step="run the same command again later: it goes on from here",
        )
