"""The partner's table: what of a row may go on, and what it is once the project's side opens it.

The partner cleans a row by the policy, and the project's side checks every cell by the same policy, since it takes nobody's
word. A cell is a number, a code, a date moved by the days of the patient's images, a truth value, or null.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from readingroom.domain.clinical.cells import How, Sender, Value, read
from readingroom.domain.clinical.clean import fields_of
from readingroom.domain.clinical.dates import days_of
from readingroom.domain.clinical.policy import Column, Kind, Policy, TableColumn, Window
from readingroom.domain.clinical.record import Record as Fields
from readingroom.domain.deid.identity import digits_in, is_nhs_number, is_number_of
from readingroom.domain.errors import Refused
from readingroom.domain.linkage.identifiers import FIRST_BIRTH, Demographics, demographics
from readingroom.domain.linkage.match import Fate

PATIENT: Final = "patient"
LINKED_BY: Final = "linked_by"
JOINED: Final = {
    "number": (Fate.NUMBER, "the NHS number is the same"),
    "demographics": (Fate.DEMOGRAPHICS, "family name, birth date and sex are the same"),
}
CODE_OF: Final = {fate: code for code, (fate, _) in JOINED.items()}


@dataclass(frozen=True, kw_only=True)
class LinkedPolicy:
    """The rules of one external table: which fields identify, whether demographics may join, and what its columns are."""

    name: str
    sha256: str
    by_demographics: bool
    number: str  # field of the NHS number
    family: str = ""
    born: str = ""
    day_first: bool = True
    sex: Column | None = None
    cells: Policy  # whose window is that of the columns, never of birth dates

    def fields(self) -> Iterator[str]:
        """Every field that the partner's table must have."""
        yield self.number
        if self.sex is not None:
            yield from (self.family, self.born, self.sex.name)
        yield from self.cells.headers

    def table(self) -> list[TableColumn]:
        """The columns of the joined table."""
        codes = {code: meaning for code, (_, meaning) in JOINED.items()}
        return [
            TableColumn(name=PATIENT, kind=Kind.CODE, meaning="Patient's stand-in in this project."),
            TableColumn(name=LINKED_BY, kind=Kind.CODE, codes=codes, meaning="What the two records have in common."),
            *self.cells.table(),
        ]


@dataclass(frozen=True, kw_only=True, repr=False)
class Offered:
    """One row of the partner: whom it is about, and its cleaned cells with true dates."""

    number: str | None
    said: Demographics | None
    cells: Mapping[str, Value]

    def __repr__(self) -> str:
        return "Offered(…)"


def offered(row: Mapping[str, str], policy: LinkedPolicy) -> Offered:
    """A row by its rules. A number that names the patient stays in no cell."""
    given = row[policy.number]
    digits = "".join(given.replace("-", "").split())
    number = digits if is_nhs_number(digits) else None
    own = digits_in([given.encode("utf-8", "surrogateescape")])
    columns = policy.cells.headers
    layer = {columns[field][0]: (value,) for field, value in row.items() if field in columns}
    sender = Sender(units={}, is_theirs=lambda number: is_number_of(number, own))
    cells, _, _ = fields_of(Fields(pseudonym="", layers=(layer,), unknown=0), sender, 0, policy.cells)
    return Offered(number=number, said=_said(row, policy, sender), cells=cells)


def linked_row(patient: str, by: str, cells: object, days: int, policy: LinkedPolicy) -> dict[str, Value]:
    """The row of a patient. Raises `Refused` where one cell is not what its column allows: then nothing of it is believed."""
    columns = list(policy.cells.table())
    if not isinstance(cells, Mapping) or set(cells) != {column.name for column in columns}:
        raise _off("its columns are not those of the policy")
    exact = {column.name: column.decimals for column in policy.cells.columns}
    values: dict[str, Value] = {PATIENT: patient, LINKED_BY: by}
    for column in columns:
        value = cells[column.name]
        if value is not None and not _allowed(column, value, exact.get(column.name, 0), policy.cells.window):
            raise _off(f"{column.name} holds what the policy does not allow")
        moved = column.kind is Kind.DATE and value is not None
        values[column.name] = (date.fromisoformat(value) - timedelta(days=days)).isoformat() if moved else value
    return values


def check_fields(header: Collection[str], policy: LinkedPolicy) -> None:
    """Each field of the policy stands once in the table's header. Raises `Refused` otherwise; a field is named, no value is."""
    every = list(header)
    if lacking := [field for field in policy.fields() if every.count(field) != 1]:
        raise Refused(
            what="the partner's table",
            which=f"column {lacking[0]!r}",
            why="it is not there once, and the policy names it",
            next_step="correct the table's header, or the policy on both sides",
        )


def _said(row: Mapping[str, str], policy: LinkedPolicy, sender: Sender) -> Demographics | None:
    if policy.sex is None:
        return None
    window = Window(earliest=FIRST_BIRTH, latest=policy.cells.window.latest, slack=0)
    born = days_of(" ".join(row[policy.born].split()), window, day_first=policy.day_first)
    sex = read(policy.sex, row[policy.sex.name], policy.cells, sender)
    said = str(sex.value) if sex.how is not How.NULL else ""
    return demographics(row[policy.family], born[0] if born else None, said)


def _allowed(column: TableColumn, value: Any, decimals: int, window: Window) -> bool:
    match column.kind:
        case Kind.TRUTH:
            return isinstance(value, bool)
        case Kind.CODE:
            return isinstance(value, str) and value in column.codes
        case Kind.DATE:
            return isinstance(value, str) and _is_day(value, window)
    if isinstance(value, bool) or not isinstance(value, int if column.kind is Kind.WHOLE else float):
        return False
    low, high = column.low, column.high
    exact = math.isfinite(value) and value == round(value, decimals)
    return exact and (low is None or low <= value) and (high is None or value <= high)


def _is_day(text: str, window: Window) -> bool:
    try:
        return len(text) == 10 and window.earliest <= date.fromisoformat(text) <= window.latest
    except ValueError:
        return False


def _off(why: str) -> Refused:
    return Refused(
        what="a row of the partner", why=why, next_step="ask the partner to offer its table again under the same policy"
    )
