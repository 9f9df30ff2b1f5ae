"""The rules of the clinical table, frozen: made from a resolved document, which is what is hashed and what children get.

`adapters.clinical_policy` makes the document from the YAML files. What it does not name is not in the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from readingroom.domain.deid.profile import folded, normal

PRESENT: Final = "present"
FLAGS: Final = ("positive", "conflict", "age_from_image", "sex_from_image")  # columns that no field fills
DATE_SUFFIX: Final = "_date"
UNCLEAR_SUFFIX: Final = "_unclear"
ASSUMED_SUFFIX: Final = "_assumed"


class Type(StrEnum):
    """What a column is made of."""

    PATIENT = "patient"
    CENTRE = "centre"
    FLAG = "flag"
    AGE = "age"
    NUMBER = "number"
    CODE = "code"
    TRUTH = "truth"
    DATE = "date"


class Kind(StrEnum):
    """What a cell is, if it is not null."""

    CODE = "code"
    WHOLE = "whole"
    NUMBER = "number"
    TRUTH = "truth"
    DATE = "date"


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A unit in which a value may come: by a factor, or by a table of what is given for what."""

    name: str
    low: Decimal
    high: Decimal
    factor: Decimal
    table: Mapping[str, Decimal]
    words: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Column:
    """What one field of the template becomes."""

    name: str
    type: Type
    meaning: str
    unit: str = ""
    low: Decimal = Decimal(0)
    high: Decimal = Decimal(0)
    cap: int = 0
    decimals: int = 0
    dated: bool = False
    part: int = 0
    units: tuple[Unit, ...] = ()
    named: Mapping[str, Decimal] = field(default_factory=dict)
    codes: Mapping[str, str] = field(default_factory=dict)  # code → meaning
    words: Mapping[str, str] = field(default_factory=dict)  # word → code
    missing: frozenset[str] = frozenset()
    comments: str = ""
    day_first: bool = False


@dataclass(frozen=True, kw_only=True)
class TableColumn:
    """One column of the table as it is written."""

    name: str
    kind: Kind
    meaning: str
    unit: str = ""
    low: Decimal | None = None
    high: Decimal | None = None
    codes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Window:
    """Days that a date of the collection can have, and how far around a patient's own dates still counts as near."""

    earliest: date
    latest: date
    slack: int


@dataclass(frozen=True, kw_only=True)
class Policy:
    """All rules of the table."""

    sha256: str
    window: Window
    missing: frozenset[str]
    truth: Mapping[str, bool]
    columns: tuple[Column, ...]
    headers: Mapping[str, tuple[str, int]]  # normalised header → column, and how far down its list of spellings
    centres: Mapping[str, Mapping[str, str]]  # normalised name → column → unit
    together: tuple[Mapping[str, str | bool], ...]
    order: tuple[tuple[str, str], ...]

    def table(self) -> Iterator[TableColumn]:
        """The columns of the table in their order, each with its companions behind it."""
        for column in self.columns:
            yield TableColumn(
                name=column.name,
                kind=_kind(column),
                meaning=column.meaning,
                unit=column.unit,
                low=column.low if column.type in {Type.AGE, Type.NUMBER} else None,
                high=(Decimal(column.cap) if column.cap else column.high) if column.unit else None,
                codes=column.codes,
            )
            if column.dated:
                yield TableColumn(
                    name=column.name + DATE_SUFFIX, kind=Kind.DATE, meaning=f"Date sent beside {column.name}."
                )
            if len(column.units) > 1:
                meaning = f"Two units were possible for {column.name}, which is null."
                yield TableColumn(name=column.name + UNCLEAR_SUFFIX, kind=Kind.TRUTH, meaning=meaning)
            if column.type is Type.DATE:
                meaning = f"Day and month of {column.name} could be either way round; the template's order was taken."
                yield TableColumn(name=column.name + ASSUMED_SUFFIX, kind=Kind.TRUTH, meaning=meaning)


def _kind(column: Column) -> Kind:
    match column.type:
        case Type.AGE:
            return Kind.WHOLE
        case Type.NUMBER:
            return Kind.NUMBER if column.decimals else Kind.WHOLE
        case Type.TRUTH | Type.FLAG:
            return Kind.TRUTH
        case Type.DATE:
            return Kind.DATE
    return Kind.CODE


def policy_from(document: Mapping[str, Any], sha256: str) -> Policy:
    """The policy of a resolved document."""
    window = document["window"]
    return Policy(
        sha256=sha256,
        window=Window(
            earliest=date.fromisoformat(window["earliest"]),
            latest=date.fromisoformat(window["latest"]),
            slack=window["slack"],
        ),
        missing=_words(document["missing"]),
        truth={folded(word): said == "true" for said, words in document["truth"].items() for word in words},
        columns=tuple(_column(name, each) for name, each in document["columns"]),
        headers={
            normal(header): (name, rank)
            for name, each in document["columns"]
            for rank, header in enumerate(each.get("fields", ()))
        },
        centres={normal(centre): dict(units) for centre, units in document["centres"].items()},
        together=tuple(each["together"] for each in document["contradictions"] if "together" in each),
        order=tuple((each["order"][0], each["order"][1]) for each in document["contradictions"] if "order" in each),
    )


def _column(name: str, given: Mapping[str, Any]) -> Column:
    low, high = given.get("range", (0, 0))
    codes = given.get("codes", {})
    alone = {given["unit"]: {"factor": 1, "range": (low, high)}} if "unit" in given else {}
    return Column(
        name=name,
        type=Type(given["type"]),
        meaning=given["meaning"],
        unit=given.get("unit", ""),
        low=_exact(low),
        high=_exact(high),
        cap=given.get("cap", 0),
        decimals=given.get("decimals", 0),
        dated=given.get("dated", False),
        part=given.get("part", 0),
        units=tuple(_unit(unit, each) for unit, each in given.get("units", alone).items()),
        named={folded(word): _exact(value) for word, value in given.get("named", {}).items()},
        codes={code: each["meaning"] for code, each in codes.items()},
        words={folded(code): code for code in codes}
        | {folded(word): code for code, each in codes.items() for word in each["words"]},
        missing=_words(given.get("missing", ())),
        comments=given.get("comments", ""),
        day_first=given.get("order") == "day-first",
    )


def _unit(name: str, given: Mapping[str, Any]) -> Unit:
    low, high = given["range"]
    return Unit(
        name=name,
        low=_exact(low),
        high=_exact(high),
        factor=_exact(given.get("factor", 1)),
        table={amount: _exact(value) for amount, value in given.get("table", {}).items()},
        words=_words([name, *given.get("words", ())]),
    )


def _words(words: Any) -> frozenset[str]:
    return frozenset(folded(word) for word in words)


def _exact(number: float) -> Decimal:
    return Decimal(str(number))
