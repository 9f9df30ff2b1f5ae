"""Who the patient is, and what must not be seen again: identifiers, harvested from the file they stand in.

Nothing harvested here is stored or printed. Matching is by bytes and by digits, so a character set that nobody can
decode hides nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from readingroom.domain.deid.elements import Elements, all_of, find, text
from readingroom.domain.deid.outcome import FileRejected, Reason
from readingroom.domain.deid.profile import normal

PATIENT_ID: Final = 0x00100020
ISSUER: Final = 0x00100021
BIRTH_DATE: Final = 0x00100030
STUDY_DATE: Final = 0x00080020

# Elements whose value identifies a person, a place or an order, besides every PN, UI, DA and DT. PS3.6.
IDENTIFYING: Final = frozenset({
    0x00080050, 0x00080080, 0x00080081, 0x00080092, 0x00080094, 0x00081010, 0x00081040, 0x00100020, 0x00100021,
    0x00101000, 0x00101040, 0x00101050, 0x00101090, 0x00102150, 0x00102152, 0x00102154, 0x00102155, 0x00181000,
    0x00181002, 0x00181004, 0x00181005, 0x00181008, 0x0018700A, 0x00200010, 0x00321033, 0x00321034, 0x00380010,
    0x00380011, 0x00380060, 0x00380061, 0x00380300, 0x00400009, 0x00400010, 0x00400011, 0x00400241, 0x00400242,
    0x00400243, 0x00400253, 0x00401001, 0x00401101, 0x00401102, 0x00401103, 0x00402016, 0x00402017, 0x00402008,
    0x00402009, 0x00402010,
})  # fmt: skip
# Elements that name people, whatever VR they were sent with.
NAMES: Final = frozenset({
    0x00080090, 0x0008009C, 0x00081048, 0x00081050, 0x00081060, 0x00081070, 0x00100010, 0x00101001, 0x00101005, 0x00101060,
    0x00102297, 0x00321032, 0x00400006, 0x0040A075, 0x0040A123, 0x00402008,
})  # fmt: skip
NOISE: Final = frozenset(
    {"", "UNKNOWN", "ANONYMOUS", "ANONYMIZED", "NONE", "NULL", "NAME", "PATIENT", "TEST", "HOSPITAL"}
)
_NUMBER_APART: Final = re.compile(rb"[0-9]+(?:[ -][0-9]+)*")
SHORTEST_WORD: Final = 5  # characters of a word of an address or a place that is looked for by itself
SHORTEST_ALONE: Final = 4  # digits that, standing alone in a number, count as an identifier
SHORTEST_INSIDE: Final = 6  # digits that count wherever they stand within a number


@dataclass(frozen=True, kw_only=True, repr=False)
class Known:
    """Identifiers of one file."""

    words: frozenset[str]  # of people's names and of identifiers, normalised
    digits: frozenset[str]
    values: frozenset[bytes]  # as they stand in the file, trimmed; every component of a name apart
    uids: frozenset[bytes]
    dates: frozenset[bytes]

    def __repr__(self) -> str:
        return "Known(…)"

    def is_number_of_theirs(self, number: str) -> bool:
        """Whether a number is, or contains, an identifier of this patient."""
        return is_number_of(number, self.digits)


def is_number_of(number: str, identifiers: frozenset[str]) -> bool:
    """Whether a number is, or contains, one of these identifiers, as `digits_in` gives them."""
    found = "".join(c for c in number if c.isdigit())
    return any(
        (len(digits) >= SHORTEST_ALONE and digits == found.lstrip("0"))
        or (len(digits) >= SHORTEST_INSIDE and digits in found)
        for digits in identifiers
    )


def known_from(elements: Elements, registered: frozenset[str]) -> Known:
    """Harvests the identifiers of a file: at any depth, in any encoding. `registered` are UIDs of the standard."""
    names: set[bytes] = set()
    values: set[bytes] = set()
    uids: set[bytes] = set()
    dates: set[bytes] = set()
    for element in all_of(elements):
        if element.items is not None or not element.value:
            continue
        parts = [part.strip(b" \0") for part in element.value.split(b"\\")]
        if element.vr == "PN" or element.tag in NAMES:
            names.update(_components(parts))
        elif element.tag in IDENTIFYING:
            values.update(parts)
            values.update(word for part in parts for word in part.split() if len(word) >= SHORTEST_WORD)
        elif element.vr == "UI":
            uids.update(part for part in parts if part.decode("ascii", "replace") not in registered)
        elif element.vr in {"DA", "DT"}:
            dates.update(part[:8] for part in parts)
    values = {value for value in values | names if normal(value.decode("ascii", "replace")) not in NOISE}
    return Known(
        words=_words(names | _identifiers(elements)),
        digits=digits_in(values),
        values=frozenset(value for value in values if len(value) > 1),
        uids=frozenset(uid for uid in uids if uid),
        dates=frozenset(date for date in dates if len(date) == 8 and date.isdigit()),
    )


def identity_of(elements: Elements) -> str:
    """The patient, as pseudonyms know them: an NHS number whose check digit holds, else issuer and local id.

    An unverified number never shares a namespace with a verified one. Raises `FileRejected` when there is none.
    """
    return identity_from(_given(elements), text(find(elements, ISSUER)))


def without_issuer(elements: Elements) -> str:
    """The same as a clinical record has it, which names no issuer."""
    return identity_from(_given(elements), "")


def identity_from(given: str, issuer: str) -> str:
    """The same from an identifier as an image or a clinical record gives it. Raises `FileRejected` when that is none."""
    if not normal(given) and not any(ord(c) > 127 for c in given):
        raise FileRejected(Reason.IDENTITY_MISSING)
    compact = given.replace(" ", "").replace("-", "")
    if is_nhs_number(compact):
        return f"nhs:{compact}"
    return f"local:{issuer}:{given.strip()}"


def is_nhs_number(text: str) -> bool:
    """Ten digits, the last one the check digit of the others (modulus 11)."""
    if not re.fullmatch(r"[0-9]{10}", text) or len(set(text)) == 1:
        return False
    check = 11 - sum(int(digit) * (10 - place) for place, digit in enumerate(text[:9])) % 11
    return check % 11 == int(text[9]) and check != 10


def _given(elements: Elements) -> str:
    element = find(elements, PATIENT_ID)
    return element.value.strip(b" \0").decode("utf-8", "surrogateescape") if element else ""


def _identifiers(elements: Elements) -> set[bytes]:
    element = find(elements, PATIENT_ID)
    return {element.value} if element else set()


def _components(parts: Iterable[bytes]) -> set[bytes]:
    return {piece.strip() for part in parts for piece in re.split(rb"[\^=]", part) if len(piece.strip()) > 1}


def _words(values: Iterable[bytes]) -> frozenset[str]:
    words = {word for value in values for word in normal(value.decode("ascii", "replace")).split()}
    return frozenset(word for word in words if len(word) > 1) - NOISE


def digits_in(values: Iterable[bytes]) -> frozenset[str]:
    """The numbers in some values that are long enough to identify somebody."""
    found = {
        re.sub(rb"[ -]", b"", run).decode("ascii").lstrip("0")
        for value in values
        for run in _NUMBER_APART.findall(value)
    }
    return frozenset(digits for digits in found if len(digits) >= SHORTEST_ALONE)
