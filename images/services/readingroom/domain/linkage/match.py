"""Which records of two sides are one person: exactly alike, one on each side, and nothing that speaks against it.

What is not certain is not joined: a token that stands twice on a side joins nobody. Nothing depends on an order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from readingroom.domain.linkage.tokens import Record, Side

SUPPRESS_TO: Final = 9  # counts up to it are not told: governance.md section 5
ROUND_TO: Final = 10  # all others are rounded, so that subtracting two of them tells nothing either


class Fate(StrEnum):
    """What became of one record. A record has one fate, so they add up to the side's whole."""

    NUMBER = "joined-by-number"
    DEMOGRAPHICS = "joined-by-demographics"
    DUPLICATE = "duplicate"  # another record of its own side is the same person
    AMBIGUOUS = "ambiguous"  # the other side has somebody alike, and it cannot be said who is who
    CONTRADICTING = "contradicting"  # demographics agree and numbers do not
    ALONE = "alone"
    UNUSABLE = "unusable"  # it has neither number nor demographics


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One person on both sides."""

    project: Record
    partner: Record
    by: Fate


@dataclass(frozen=True, kw_only=True)
class Matched:
    """The pairs, sorted by the project's stand-in, and how many records of each side had which fate."""

    pairs: tuple[Pair, ...]
    fates: Mapping[Side, Counter[Fate]]


class _Index:
    """The records of one side by their tokens."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.records = sorted(records)
        self.by_number: dict[str, list[Record]] = {}
        self.by_demographics: dict[str, list[Record]] = {}
        for record in self.records:
            if record.number:
                self.by_number.setdefault(record.number, []).append(record)
            if record.demographics:
                self.by_demographics.setdefault(record.demographics, []).append(record)


def match(project: Sequence[Record], partner: Sequence[Record]) -> Matched:
    """An equal number joins; else equal demographics do, where not both records have a number. One on each side, or nobody."""
    ours, theirs = _Index(project), _Index(partner)
    pairs, fates = [], {side: Counter[Fate]() for side in Side}
    for record in ours.records:
        fate = _fate(record, ours, theirs)
        fates[Side.PROJECT][fate] += 1
        if fate is Fate.NUMBER:
            pairs.append(Pair(project=record, partner=theirs.by_number[record.number or ""][0], by=fate))
        elif fate is Fate.DEMOGRAPHICS:
            pairs.append(Pair(project=record, partner=theirs.by_demographics[record.demographics or ""][0], by=fate))
    fates[Side.PARTNER].update(_fate(record, theirs, ours) for record in theirs.records)
    return Matched(pairs=tuple(pairs), fates=fates)


def shown(count: int) -> int | None:
    """A count as a report tells it: to the nearest ten, and None for what is fewer than ten, nobody included."""
    return None if count <= SUPPRESS_TO else (count + ROUND_TO // 2) // ROUND_TO * ROUND_TO


def _fate(record: Record, own: _Index, other: _Index) -> Fate:
    alike = other.by_number.get(record.number or "", [])
    twins = own.by_demographics.get(record.demographics or "", [])
    if record.number is None and record.demographics is None:
        return Fate.UNUSABLE
    if len(own.by_number.get(record.number or "", [])) > 1 or (record.number is None and len(twins) > 1):
        return Fate.DUPLICATE
    if alike:
        return Fate.NUMBER if len(alike) == 1 else Fate.AMBIGUOUS
    return _by_demographics(record, own, other)


def _by_demographics(record: Record, own: _Index, other: _Index) -> Fate:
    """The fate of a record whose number, if it has one, the other side does not know."""
    alike = other.by_demographics.get(record.demographics or "", [])
    if not alike:
        return Fate.ALONE
    if len(alike) > 1 or len(own.by_demographics[record.demographics or ""]) > 1:
        return Fate.AMBIGUOUS
    theirs = alike[0].number
    if theirs is None:
        return Fate.DEMOGRAPHICS
    if theirs in own.by_number or len(other.by_number[theirs]) > 1:
        return Fate.AMBIGUOUS  # that record is, or may be, somebody else's
    return Fate.CONTRADICTING if record.number else Fate.DEMOGRAPHICS
