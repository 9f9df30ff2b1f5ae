"""What a value must be to stay, per VR (`data.md` 6.4). Each function gives the bytes to write, or None: it may not stay.

Nothing is corrected on the way: digits are kept as they are, and what is not exactly right goes.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from datetime import date, timedelta
from itertools import zip_longest
from typing import Final

from readingroom.domain.deid.elements import WORD
from readingroom.domain.deid.identity import Known
from readingroom.domain.deid.profile import Rule, Vocabulary, folded, normal

_GRAMMAR: Final = {
    "IS": re.compile(r"[+-]?[0-9]{1,12}"),
    "DS": re.compile(r"[+-]?(?:[0-9]{1,24}(?:\.[0-9]{0,24})?|\.[0-9]{1,24})(?:[eE][+-]?[0-9]{1,3})?"),
    "TM": re.compile(r"(?:[01][0-9]|2[0-3])(?:[0-5][0-9](?:(?:[0-5][0-9]|60)(?:\.[0-9]{1,6})?)?)?"),
    "UI": re.compile(r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))+"),
}
_DT: Final = re.compile(r"([0-9]{8})((?:[0-9]{2}){0,3}(?:(?<=[0-9]{14})\.[0-9]{1,6})?)([+-][0-9]{4})?")
_AGE: Final = re.compile(r"([0-9]{3})([DWMY])")
_NUMBERS: Final = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}
OLDEST: Final = 90  # PS3.15 and the usual practice: from here on an age says who somebody is
_DAYS: Final = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}


def split(value: bytes) -> list[str] | None:
    """The values of a text element, trimmed, or None if they are not plain ASCII."""
    try:
        whole = value.rstrip(b" \0").decode("ascii")
    except UnicodeDecodeError:
        return None
    return [part.strip(" ") for part in whole.split("\\")] if whole else []


def kept(rule: Rule, vr: str, value: bytes, known: Known) -> bytes | None:
    """A value that stays as it is: on its list, or a number, time or UID that follows its grammar and its range."""
    if vr in _NUMBERS:
        return _binary(rule, vr, value, known)
    parts = split(value)
    if not parts or not rule.count.allows(len(parts)):
        return None
    match vr:
        case "CS":
            return _code_string(rule, parts)
        case "IS" | "DS":
            right = all(_is_number(rule, vr, part) and not known.is_number_of_theirs(part) for part in parts)
        case "TM":
            right = all(_GRAMMAR["TM"].fullmatch(part) and not known.is_number_of_theirs(part) for part in parts)
        case "UI":  # a prefix of the registry is not enough
            right = bool(rule.values) and all(part in rule.values[0] for part in parts)
        case _:
            right = False
    return "\\".join(parts).encode("ascii") if right else None


def _code_string(rule: Rule, parts: list[str]) -> bytes | None:
    """Each value that its place allows; another leaves its place to the dummy, or empty."""
    if not rule.values:
        return None
    places = [rule.values[min(place, len(rule.values) - 1)] for place in range(len(parts))]
    rows = zip_longest(parts, places, rule.dummy[: len(parts)], fillvalue="")
    stay = [part if not part or part in allowed else dummy for part, allowed, dummy in rows]
    return "\\".join(stay).rstrip("\\").encode("ascii") or None


def _is_number(rule: Rule, vr: str, part: str) -> bool:
    return bool(_GRAMMAR[vr].fullmatch(part)) and _in_range(rule, float(part))


def _binary(rule: Rule, vr: str, value: bytes, known: Known) -> bytes | None:
    number, rest = divmod(len(value), WORD[vr])
    if rest or not number or not rule.count.allows(number):
        return None
    found = struct.unpack(f"<{number}{_NUMBERS[vr]}", value)
    right = all(_in_range(rule, each) and not known.is_number_of_theirs(_plain(each)) for each in found)
    return value if right else None


def terms(value: bytes, vocabulary: Vocabulary, known: Known) -> bytes | None:
    """The terms of our vocabulary that a text holds, in its order and our spelling; everything else goes.

    The longest term wins, so that an eponym stays as a whole. A single word that is also a word of this patient's name
    or number goes; as part of a longer term it stays, because that term would stand there for any patient.
    """
    words = normal(value.decode("ascii", "replace")).split()
    found: list[str] = []
    place = 0
    while place < len(words):
        for length in range(min(vocabulary.longest, len(words) - place), 0, -1):
            form = " ".join(words[place : place + length])
            if form in vocabulary.terms and (length > 1 or form not in known.words):
                found.append(vocabulary.terms[form])
                place += length
                break
        else:
            place += 1
    return " ".join(found)[:64].strip().encode("ascii") or None


def whole_terms(rule: Rule, value: bytes, vocabulary: Vocabulary) -> bytes | None:
    """Each value of a text, if the whole of it is one term; in our spelling."""
    parts = [vocabulary.whole.get(folded(part), "") for part in split(value) or []]
    right = parts and all(parts) and rule.count.allows(len(parts))
    return "\\".join(parts).encode("ascii") if right else None


def mapped_uids(value: bytes, uid: Callable[[str], str]) -> bytes | None:
    """Every UID becomes its stand-in, registered ones too."""
    parts = split(value)
    if not parts or any(len(part) > 64 or not _GRAMMAR["UI"].fullmatch(part) for part in parts):
        return None
    return "\\".join(uid(part) for part in parts).encode("ascii")


def is_uid(text: str) -> bool:
    """Whether a UID is well formed: PS3.5 section 9.1."""
    return len(text) <= 64 and bool(_GRAMMAR["UI"].fullmatch(text))


def shifted(vr: str, value: bytes, days: int) -> bytes | None:
    """Dates move back by whole days; what is not exactly one valid date each is lost. Zone offsets go.

    A DT with an offset of its own is not the study's time: without knowing the study's it is lost, too.
    """
    moved = [_shifted_one(vr, part, days) for part in split(value) or []]
    return "\\".join(part or "" for part in moved).encode("ascii") if moved and all(moved) else None


def _shifted_one(vr: str, part: str, days: int) -> str | None:
    if vr == "DA":
        return _moved(part, days)
    match = _DT.fullmatch(part)
    moved = _moved(match.group(1), days) if match and not match.group(3) else None
    clock = match.group(2) if match else ""
    if moved is None or (clock and not _GRAMMAR["TM"].fullmatch(clock)):
        return None
    return moved + clock


def _moved(part: str, days: int) -> str | None:
    found = day(part)
    try:
        return f"{found - timedelta(days=days):%Y%m%d}" if found and found.year > 1000 else None
    except OverflowError:
        return None


def day(text: str) -> date | None:
    """A DICOM date, if it is exactly one."""
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:])) if re.fullmatch("[0-9]{8}", text) else None
    except ValueError:
        return None


def capped_age(value: bytes) -> bytes | None:
    """An age as it is, and 90 years for anybody of 90 or more."""
    match = _AGE.fullmatch((split(value) or [""])[0])
    if not match:
        return None
    years = int(match.group(1)) * _DAYS[match.group(2)]
    return b"090Y" if years >= OLDEST else match.group(0).encode("ascii")


def age_between(born: date, seen: date) -> bytes | None:
    """The age in years that two true dates give, capped."""
    years = seen.year - born.year - ((seen.month, seen.day) < (born.month, born.day))
    return f"{min(years, OLDEST):03d}Y".encode("ascii") if 0 <= years <= 130 else None


def _in_range(rule: Rule, number: float) -> bool:
    return rule.range is not None and math.isfinite(number) and rule.range[0] <= number <= rule.range[1]


def _plain(number: float) -> str:
    return str(number) if isinstance(number, int) else repr(number)
