"""What a bounded child does for the quality report: a file becomes classes and truth values, and tokens of the run.

No value of a file leaves the child: a modality is one of the standard's terms, a maker one of our list, a date a month.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from readingroom.adapters.clinical_json import record_in
from readingroom.adapters.dicom.dictionary import vr_of
from readingroom.adapters.dicom.prescan import Scan, prescan
from readingroom.adapters.dicom.source import Source
from readingroom.domain.clinical.clean import Person, clean
from readingroom.domain.clinical.policy import ASSUMED_SUFFIX, UNCLEAR_SUFFIX, Policy, Window, policy_from
from readingroom.domain.clinical.record import Sort
from readingroom.domain.deid.elements import Element, text
from readingroom.domain.deid.identity import PATIENT_ID, STUDY_DATE, identity_from, without_issuer
from readingroom.domain.deid.instance import UIDS
from readingroom.domain.deid.keys import Pseudonyms, PurposeKeys
from readingroom.domain.deid.outcome import FileHeld, FileRejected
from readingroom.domain.deid.profile import Vocabulary, folded
from readingroom.domain.deid.values import day
from readingroom.domain.door import token
from readingroom.domain.quality import ABSENT, FIELDS, MODALITIES, OTHER, OUTSIDE, UNREADABLE

Document = Mapping[str, Any]
MODALITY: Final = 0x00080060
MAKER: Final = 0x00080070
LONGEST: Final = 256  # bytes of an element that is looked at; a longer one is filled
_READ: Final = (MODALITY, MAKER, STUDY_DATE, PATIENT_ID, UIDS["study"])
_NOBODY: Final = Person(patient="", days=0)


def factory(setup: Document) -> Callable[[Document, Sequence[int]], Document]:
    """For `adapters.bounded`. `setup`: the run's key, the rules of the clinical table, and the makers."""
    key = bytes.fromhex(setup["key"])
    policy = policy_from(setup["clinical"], "")
    makers = Vocabulary.from_terms(setup["makers"])
    pseudonyms = Pseudonyms(PurposeKeys.from_secret(key), "quality")  # a centre's stand-in, which nobody reads

    def look(document: Document, descriptors: Sequence[int]) -> Document:
        try:
            if document["sort"] is None:
                return _image(prescan(Source(descriptors[0]), vr_of), policy.window, makers, key)
            return _record(descriptors[0], document["sort"], policy, pseudonyms, key)
        except (FileRejected, FileHeld):
            return {}

    return look


def _image(scan: Scan, window: Window, makers: Vocabulary, key: bytes) -> Document:
    found = {element.tag: _valued(scan, element) for element in scan.elements if element.tag in _WANTED}
    modality, maker = text(found.get(MODALITY)), text(found.get(MAKER))
    filled = sum((_is_filled(found.get(each.tag))) << place for place, each in enumerate(FIELDS))
    return {
        "study": token(text(found.get(UIDS["study"])), key),
        "patient": token(without_issuer(list(found.values())), key),
        "modality": modality if modality in MODALITIES else OTHER if modality else ABSENT,
        "maker": makers.whole.get(folded(maker), OTHER) if maker else ABSENT,
        "month": _month(text(found.get(STUDY_DATE)), window),
        "filled": filled,
    }


_WANTED: Final = frozenset({*_READ, *(each.tag for each in FIELDS)})


def _valued(scan: Scan, element: Element) -> Element:
    if element.items is None:
        element.value = scan.source.take(element.at, min(element.length, LONGEST))
    return element


def _is_filled(element: Element | None) -> bool:
    return element is not None and bool(element.items or element.value.strip(b" \0"))


def _month(said: str, window: Window) -> str:
    found = day(said)
    if found is None:
        return UNREADABLE if said else ABSENT
    return f"{found:%Y-%m}" if window.earliest <= found <= window.latest else OUTSIDE


def _record(descriptor: int, sort: str, policy: Policy, pseudonyms: Pseudonyms, key: bytes) -> Document:
    found = record_in(descriptor, Sort(sort), policy)
    if found is None:
        return {}
    row = clean(found[0], _NOBODY, policy, pseudonyms)
    true = [name for name, value in row.values.items() if value is True]
    return {
        "patient": token(identity_from(found[0].pseudonym, ""), key),
        "how": dict(row.how),
        "unclear": [name.removesuffix(UNCLEAR_SUFFIX) for name in true if name.endswith(UNCLEAR_SUFFIX)],
        "assumed": [name.removesuffix(ASSUMED_SUFFIX) for name in true if name.endswith(ASSUMED_SUFFIX)],
        "conflict": bool(row.values["conflict"]),
        "unknown": row.unknown,
    }
