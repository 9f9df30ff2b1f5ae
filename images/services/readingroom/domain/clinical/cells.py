"""What one value becomes under the rule of its column. Nothing is guessed: what a rule does not name is null.

A value comes as JSON gives it. What goes out is a number, a code of the policy, days, a truth value, or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from typing import Any, Final, TypeAlias

from readingroom.domain.clinical.dates import days_of, is_plain
from readingroom.domain.clinical.policy import Column, Policy, Type, Unit
from readingroom.domain.deid.profile import folded

Value: TypeAlias = "str | int | float | bool | None"

_DATED: Final = re.compile(r"\[([^\[\]]*)\]\s*-\s*(\S.*)")  # `[137/91] - 2020-06-02`
_AMOUNT: Final = re.compile(r"([+-]?\d{1,12}(?:\.\d{1,12})?|\.\d{1,12})\s?(\S{0,12}(?: \S{1,12})?)", re.ASCII)
_PAIR: Final = re.compile(r"(\d{1,3})\s?/\s?(\d{1,3})", re.ASCII)
_WHOLE: Final = re.compile(r"(\d{1,3})(?:\.0{1,6})?", re.ASCII)
_NUMBERED: Final = re.compile(r"(\d{1,3})\s*[-:;,.(\u2013]\s*\D.*", re.ASCII)  # `5 - …`
# Ethnic category of the NHS data dictionary with a local second character; two letters where the census has them.
_LETTERED: Final = re.compile(r"([A-Z])(?:\d|(?<=[CGLPS])[A-Z])?(?:\s*[-:;,.(\u2013].*)?", re.ASCII)


class How(StrEnum):
    """How a cell came about."""

    OK = "ok"  # as it was sent
    REPAIRED = "repaired"  # sent in another form, unit or place
    NULL = "null"  # nothing was sent, or that nothing is known
    UNMAPPED = "unmapped"  # something was sent of which nothing may stay


@dataclass(frozen=True, kw_only=True)
class Read:
    """What was read out of one value."""

    how: How
    value: Value = None
    days: tuple[date, ...] = ()  # of a date column: what it can mean
    beside: date | None = None  # the day written beside a value
    unclear: bool = False  # two units were possible


@dataclass(frozen=True, kw_only=True, repr=False)
class Sender:
    """What the rules may know of who sent a value: the units of the centre, and whether a number identifies the patient."""

    units: Mapping[str, str]
    is_theirs: Callable[[str], bool]


NOTHING: Final = Read(how=How.NULL)
UNMAPPED: Final = Read(how=How.UNMAPPED)


def read(column: Column, given: Any, policy: Policy, sender: Sender) -> Read:
    """One value by the rule of its column."""
    text = _text(given)
    if text is None or (isinstance(given, bool) and column.type not in {Type.TRUTH, Type.CODE}):
        return NOTHING if given is None else UNMAPPED
    word = folded(text)
    if (word in policy.missing and word not in column.words) or _plain(word) in column.missing:
        return NOTHING
    if column.type is Type.NUMBER:
        return _number(column, text, policy, sender)
    return _RULES[column.type](column, text, policy)


def _text(given: Any) -> str | None:
    """A scalar as a text in one spacing."""
    if isinstance(given, bool):
        return "1" if given else "0"
    return " ".join(str(given).split()) if isinstance(given, str | int | float) else None


def _plain(word: str) -> str:
    """A whole number without its `.0`; any other word as it is."""
    match = _WHOLE.fullmatch(word)
    return match.group(1) if match else word


def _truth(_: Column, text: str, policy: Policy) -> Read:
    word = folded(text)
    said = policy.truth.get(_plain(word))
    return UNMAPPED if said is None else Read(how=_how(word in {"0", "1"}), value=said)


def _code(column: Column, text: str, _: Policy) -> Read:
    """A code of the column, or a word for one; behind a code there may be a comment, which goes."""
    word = _plain(folded(text))
    found = column.words.get(word)
    if found is None and column.comments:
        pattern = _NUMBERED if column.comments == "number" else _LETTERED
        match = pattern.fullmatch(text)
        found = column.words.get(folded(match.group(1))) if match else None
    return UNMAPPED if found is None else Read(how=_how(text == found), value=found)


def _date(column: Column, text: str, policy: Policy) -> Read:
    match = _DATED.fullmatch(text)
    text = match.group(2) if match else text
    days = days_of(text, policy.window, day_first=column.day_first)
    plain = match is None and len(days) == 1 and is_plain(text)
    return Read(how=_how(plain), days=days) if days else UNMAPPED


def _age(column: Column, text: str, _: Policy) -> Read:
    """Whole years, the last ones as one: from there on an age says who somebody is."""
    match = _AMOUNT.fullmatch(text)
    years = Decimal(match.group(1)).to_integral_value(ROUND_FLOOR) if match else Decimal(-1)
    if match is None or match.group(2) or not column.low <= years <= column.high:
        return UNMAPPED
    value = min(int(years), column.cap)
    return Read(how=_how(text == str(value)), value=value)


_RULES: Final = {Type.TRUTH: _truth, Type.CODE: _code, Type.DATE: _date, Type.AGE: _age}


def _number(column: Column, text: str, policy: Policy, sender: Sender) -> Read:
    """A number in the column's unit. A date beside it is read even where the number is not."""
    match = _DATED.fullmatch(text)
    amount = match.group(1).strip() if match else text
    days = days_of(match.group(2), policy.window, day_first=True) if match and column.dated else ()
    beside = days[0] if len(days) == 1 else None
    if column.part and (pair := _PAIR.fullmatch(amount)):
        amount = pair.group(column.part)
    values, plain = _values(column, amount, sender)
    if len(values) != 1:
        return Read(how=How.UNMAPPED, beside=beside, unclear=len(values) > 1)
    return Read(how=_how(plain and text == amount), value=_written(values.pop(), column), beside=beside)


def _values(column: Column, amount: str, sender: Sender) -> tuple[set[Decimal], bool]:
    """What an amount can be in the column's unit, and whether it came in that unit."""
    word = folded(amount)
    if word in column.named:
        return {column.named[word]}, False
    match = _AMOUNT.fullmatch(amount)
    if match is None or sender.is_theirs(match.group(1)):
        return set(), False
    number, beside = Decimal(match.group(1)), folded(match.group(2))
    if beside:
        units = [unit for unit in column.units if beside in unit.words]
    else:
        units = [unit for unit in column.units if unit.name == sender.units.get(column.name)]
        units = units if units and _in_unit(number, units[0]) is not None else list(column.units)
    found = {unit.name: value for unit in units if (value := _in_unit(number, unit)) is not None}
    return set(found.values()), not beside and set(found) == {column.unit}


def _in_unit(number: Decimal, unit: Unit) -> Decimal | None:
    """A number of that unit in the column's own, if it can be one."""
    if not unit.low <= number <= unit.high:
        return None
    return unit.table.get(f"{number.normalize():f}") if unit.table else number * unit.factor


def _written(number: Decimal, column: Column) -> int | float:
    """Rounded, so that digits behind the point hide nothing."""
    rounded = number.quantize(Decimal(1).scaleb(-column.decimals), ROUND_HALF_EVEN) + 0  # no minus before nothing
    return float(rounded) if column.decimals else int(rounded)


def _how(as_sent: bool) -> How:
    return How.OK if as_sent else How.REPAIRED
