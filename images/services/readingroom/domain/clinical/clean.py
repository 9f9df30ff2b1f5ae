"""One record as one row: each column by its rule, dates moved by the days of the patient's images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from readingroom.domain.clinical.cells import NOTHING, How, Read, Sender, Value, read
from readingroom.domain.clinical.dates import nearest
from readingroom.domain.clinical.policy import ASSUMED_SUFFIX, DATE_SUFFIX, UNCLEAR_SUFFIX, Column, Policy, Type
from readingroom.domain.clinical.record import Record
from readingroom.domain.deid.identity import digits_in, is_number_of
from readingroom.domain.deid.keys import Pseudonyms
from readingroom.domain.deid.profile import normal

_FIELD: Final = frozenset({Type.AGE, Type.NUMBER, Type.CODE, Type.TRUTH, Type.DATE})


@dataclass(frozen=True, kw_only=True)
class Person:
    """Who a row is about, as the images know them: their stand-in, and by how many days their dates move back."""

    patient: str
    days: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """A cleaned record. It holds what may leave, and how each column came about."""

    values: Mapping[str, Value]
    how: Mapping[str, How]
    unknown: int


def clean(record: Record, person: Person, policy: Policy, pseudonyms: Pseudonyms) -> Row:
    """The row of one record; columns that no field fills are left to who sees all records of the patient."""
    centre = _centre(record, policy)
    own = digits_in([record.pseudonym.encode("utf-8")])
    sender = Sender(units=policy.centres.get(centre, {}), is_theirs=lambda number: is_number_of(number, own))
    cells, how, conflict = fields_of(record, sender, person.days, policy)
    values: dict[str, Value] = {"conflict": conflict}
    for column in policy.columns:
        match column.type:
            case Type.PATIENT:
                values[column.name] = person.patient
            case Type.CENTRE:
                values[column.name] = pseudonyms.centre(centre) if centre else None
    return Row(values=values | cells, how=how, unknown=record.unknown)


def fields_of(
    record: Record, sender: Sender, days: int, policy: Policy
) -> tuple[dict[str, Value], dict[str, How], bool]:
    """The cells of all columns that a field fills, how each came about, and whether spellings of one disagree."""
    reads: dict[str, Read] = {}
    conflict = False
    for column in policy.columns:
        if column.type in _FIELD:
            reads[column.name], doubt = _best(column, record, policy, sender)
            conflict = conflict or doubt
    certain = {day for each in reads.values() for day in _certain(each)}
    values: dict[str, Value] = {}
    for column in policy.columns:
        if column.name in reads:
            values |= _cells(column, reads[column.name], certain, days, policy)
    return values, {name: each.how for name, each in reads.items()}, conflict


def _centre(record: Record, policy: Policy) -> str:
    """The centre's name in one spelling, which goes no further than a stand-in; empty if it says that it is unknown."""
    column = next(column.name for column in policy.columns if column.type is Type.CENTRE)
    given = (value for layer in record.layers for value in layer.get(column, ()) if isinstance(value, str | int))
    names = (normal(str(value)) for value in given if str(value).strip().casefold() not in policy.missing)
    return next((name for name in names if name), "")


def _best(column: Column, record: Record, policy: Policy, sender: Sender) -> tuple[Read, bool]:
    """What the topmost layer says that says something, by its best spelling; and whether its spellings disagree."""
    worst = NOTHING
    for layer in record.layers:
        found = [read(column, value, policy, sender) for value in layer.get(column.name, ())]
        saying = [each for each in found if each.value is not None or each.days]
        if saying:
            return saying[0], len({(each.value, frozenset(each.days)) for each in saying}) > 1
        worst = next((each for each in found if each.how is How.UNMAPPED), worst)
    return worst, False


def _certain(found: Read) -> Iterator[date]:
    if len(found.days) == 1:
        yield found.days[0]
    if found.beside is not None:
        yield found.beside


def _cells(column: Column, found: Read, certain: set[date], days: int, policy: Policy) -> dict[str, Any]:
    """The cells of one column: its own, and those of its companions."""
    if column.type is Type.DATE:
        decided = found.days[0] if len(found.days) == 1 else nearest(found.days, certain, policy.window)
        day = decided or (found.days[0] if found.days else None)
        assumed = (decided is None) if day else None
        return {column.name: _moved(day, days), column.name + ASSUMED_SUFFIX: assumed}
    cells: dict[str, Any] = {column.name: found.value}
    if column.dated:
        cells[column.name + DATE_SUFFIX] = _moved(found.beside, days)
    if len(column.units) > 1:
        cells[column.name + UNCLEAR_SUFFIX] = found.unclear if found.how is not How.NULL else None
    return cells


def _moved(day: date | None, days: int) -> str | None:
    return (day - timedelta(days=days)).isoformat() if day else None
