"""Which day a text means. A text of two meanings gives both: who asks decides by what else is known of the patient."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Final

from readingroom.domain.clinical.policy import Window

_CLOCK: Final = r"(?:[ T]\d{1,2}:\d\d(?::\d\d(?:\.\d{1,9})?)?Z?)?"
_YEAR_FIRST: Final = re.compile(rf"(\d{{4}})-(\d{{1,2}})-(\d{{1,2}}){_CLOCK}", re.ASCII)
_YEAR_LAST: Final = re.compile(rf"(\d{{1,2}})([/.-])(\d{{1,2}})\2(\d{{4}}|\d\d){_CLOCK}", re.ASCII)
_NAMED: Final = re.compile(rf"(\d{{1,2}})[ -]([a-z]{{3,9}})[ -](\d{{4}}|\d\d){_CLOCK}", re.ASCII | re.IGNORECASE)
_COMPACT: Final = re.compile(r"(\d{4})(\d\d)(\d\d)", re.ASCII)
_SERIAL: Final = re.compile(r"(\d{5})(?:\.\d{1,12})?", re.ASCII)
_SERIAL_ZERO: Final = date(1899, 12, 30)  # of spreadsheets, whose 1900 had a 29 February
_MONTHS: Final = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
                  "november", "december")  # fmt: skip


def days_of(text: str, window: Window, *, day_first: bool) -> tuple[date, ...]:
    """The days inside the window that a text can mean: none, one, or two, the one in the given order first."""
    found: list[date] = []
    for day in _readings(text, day_first=day_first):
        if day is not None and window.earliest <= day <= window.latest and day not in found:
            found.append(day)
    return tuple(found)


def is_plain(text: str) -> bool:
    """Whether a text is a date as the template wants one: numbers and a whole year."""
    return bool(_YEAR_FIRST.fullmatch(text) or ((found := _YEAR_LAST.fullmatch(text)) and len(found.group(4)) == 4))


def nearest(days: tuple[date, ...], certain: Iterable[date], window: Window) -> date | None:
    """The one of several days that lies in the window of the patient's certain days; None if that does not decide."""
    known = sorted(certain)
    if not known:
        return None
    slack = timedelta(days=window.slack)
    inside = [day for day in days if known[0] - slack <= day <= known[-1] + slack]
    return inside[0] if len(inside) == 1 else None


def _readings(text: str, *, day_first: bool) -> list[date | None]:
    if match := _YEAR_FIRST.fullmatch(text) or _COMPACT.fullmatch(text):
        return [_day(*map(int, match.groups()))]
    if match := _SERIAL.fullmatch(text):
        return [_SERIAL_ZERO + timedelta(days=int(match.group(1)))]
    if match := _NAMED.fullmatch(text):
        return [_day(_year(match.group(3)), _month(match.group(2)), int(match.group(1)))]
    if match := _YEAR_LAST.fullmatch(text):
        first, second, year = int(match.group(1)), int(match.group(3)), _year(match.group(4))
        by_order = [_day(year, second, first), _day(year, first, second)]
        return by_order if day_first else by_order[::-1]
    return []


def _year(text: str) -> int:
    return int(text) + (2000 if len(text) == 2 else 0)


def _month(text: str) -> int:
    """January is 1; a word that begins no month, or is longer than it, is 0."""
    word = text.lower()
    return next((number for number, name in enumerate(_MONTHS, 1) if word in {name, name[:3]}), 0)


def _day(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None
