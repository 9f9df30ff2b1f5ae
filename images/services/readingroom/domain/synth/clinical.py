"""The record beside the images, and the dirt that centres put into it. `data.md` sections 1 and 5.

A record is first made clean, then some of its cells are spoiled; each spoiled one gets a line of the key that says what
the cleaned table must hold: `becomes`, with dates still unshifted, or nothing where nothing can be read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Final, TypeAlias

from readingroom.domain.synth.centres import Centre
from readingroom.domain.synth.facts import age_on, facts_of
from readingroom.domain.synth.key import Class, Entry, Must
from readingroom.domain.synth.plans import Rates
from readingroom.domain.synth.population import Patient, Study
from readingroom.domain.synth.stream import Stream

Cell: TypeAlias = "str | int | float | None"
EXCEL: Final = date(1899, 12, 30)  # day 0 of a spreadsheet
OTHER: Final = "OtherDataSources"
SEGMENTATION: Final = "SegmentationData"
MARKER: Final = "SyntheticData"
DATES: Final = ("Date of Positive Covid Swab", "Date of admission", "Date of ITU admission", "Date last known alive")


@dataclass(frozen=True, kw_only=True)
class Dirt:
    """One way to spoil a cell: another header, another text, or another place."""

    fault: str
    header: str
    text: str = ""  # {value}, {day} (the cell as a date) and facts stand in braces
    as_header: str = ""
    nested: bool = False
    becomes: Cell = "as it was"
    of: Callable[[Any], Cell] | None = None  # what it becomes, worked out of what it was
    hides: str = ""  # the fact that the text holds and that must go


def percent(fraction: float) -> int:
    """As the table has it."""
    return round(fraction * 100)


AS_IT_WAS: Final = "as it was"
DIRT: Final = (
    Dirt(fault="misspelled header", header="Date of Positive Covid Swab", as_header="Date of Positve Covid Swab"),
    Dirt(fault="double space in a header", header="Respiratory rate on admission", as_header="Respiratory  rate on admission"),
    Dirt(fault="header of the second film", header="CXR severity 2", as_header="CXR severity 3"),
    Dirt(fault="nested data", header="CXR severity", nested=True),
    Dirt(fault="value and date in one cell", header="Systolic BP", text="[{value}/91] - {seen_iso}"),
    Dirt(fault="text and date in one cell", header="PMH CVS disease", text="[{natural} has angina] - {seen_iso}", becomes=None,
         hides="natural"),
    Dirt(fault="two-digit year", header="Date of admission", text="{day:%d/%m/%y}"),
    Dirt(fault="spreadsheet day", header="Date last known alive", text="{serial}"),
    Dirt(fault="a dot for nothing", header="Date of ITU admission", text=".", becomes=None),
    Dirt(fault="code with letters", header="Death", text="{value}es", of=bool),
    Dirt(fault="code with a comment", header="Smoking history", text="{value} - as told by {initialled}", hides="initialled"),
    Dirt(fault="words for a code", header="1st RT-PCR result", text="RNA DETECTED", becomes=1),
    Dirt(fault="letter for a code", header="ITU admission", text="t", becomes=True),
    Dirt(fault="99 for unknown", header="PMH hypertension", text="99", becomes=None),
    Dirt(fault="not recorded", header="Temperature on admission", text="not recorded", becomes=None),
    Dirt(fault="percent for a fraction", header="FiO2", text="{percent}%", of=percent),
    Dirt(fault="colour of a valve", header="FiO2", text="white valve", becomes=28),
    Dirt(fault="another unit", header="PaO2", text="{mmhg} mmHg"),
    Dirt(fault="age with decimals", header="Age", text="{value}.889"),
    Dirt(fault="ethnic sub-code", header="Ethnicity", text="{value}1 - any other", becomes=AS_IT_WAS),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Spoiled:
    """A record, and what the key says of it."""

    document: Mapping[str, Any]
    entries: tuple[Entry, ...]


def record(patient: Patient, centre: Centre, studies: tuple[Study, ...], rates: Rates, stream: Stream) -> Spoiled:
    """The record of one patient at one centre. `studies` are those seen there, one at least."""
    first = studies[0]
    head = {MARKER: "YES", "Pseudonym": patient.id_at(centre), "SubmittingCentre": centre.hospital}
    facts = facts_of(patient, first)
    entries = [
        Entry(kind=Class.CLINICAL, fault=fault, where=where, was=was, must=Must.REMOVED)
        for fault, where, was in (
            ("pseudonym of the centre", "Pseudonym", head["Pseudonym"]),
            ("name of the centre", "SubmittingCentre", centre.hospital),
        )
    ]
    if not patient.positive:
        day = first.when.date()
        status: dict[str, Cell] = {"SwabStatus": "Negative", "SwabDate": _written(day, centre)}
        return Spoiled(document={**head, **status, **_person(patient, day)}, entries=tuple(entries))
    clean = _clean(patient, studies, stream)
    document: dict[str, Any] = {name: _written(value, centre) for name, value in clean.items()}
    spoiled: set[str] = set()
    for dirt in DIRT:
        value = clean[dirt.header]
        if dirt.header not in spoiled and value is not None and stream.chance(rates.clinical_dirt):
            spoiled.add(dirt.header)
            entries += _spoil(document, dirt, value, facts, first.when.date())
    return Spoiled(document={**head, **document}, entries=tuple(entries))


def _person(patient: Patient, day: date) -> dict[str, Cell]:
    return {"Age": age_on(patient.born, day), "Sex": {"F": 0, "M": 1}[patient.sex]}


def _clean(patient: Patient, studies: tuple[Study, ...], stream: Stream) -> dict[str, Cell | date]:
    first, last = studies[0].when.date(), studies[-1].when.date()
    itu, dead = stream.chance(150), stream.chance(180)
    return {
        "Date of Positive Covid Swab": first - timedelta(days=1),
        "Date of admission": first,
        "1st RT-PCR result": 1,
        **_person(patient, first),
        "Ethnicity": stream.pick("ABCDEFGHJKLMNPRSZ"),
        "PMH hypertension": stream.below(2),
        "PMH CVS disease": stream.below(5),
        "Smoking history": stream.below(3),
        "Respiratory rate on admission": stream.between(12, 40),
        "Heart rate on admission": stream.between(50, 140),
        "Temperature on admission": stream.between(355, 400) / 10,
        "Systolic BP": stream.between(90, 180),
        "FiO2": stream.pick((0.21, 0.24, 0.28, 0.35, 0.4, 0.6)),
        "PaO2": stream.between(70, 140) / 10,
        "CRP on admission": stream.between(1, 300),
        "WCC on admission": stream.between(20, 200) / 10,
        "Lymphocyte count on admission": stream.between(3, 40) / 10,
        "CXR severity": stream.between(1, 3),
        "CXR severity 2": stream.between(1, 3),
        "ITU admission": int(itu),
        "Date of ITU admission": first + timedelta(days=2) if itu else None,
        "Death": int(dead),
        "Date last known alive": last + timedelta(days=stream.below(20)),
        "Final COVID Status": "Positive",
    }


def _written(value: Cell | date, centre: Centre) -> Cell:
    """A date as the centre writes dates."""
    if isinstance(value, date):
        return f"{value:%m/%d/%Y}" if centre.us_dates else f"{value:%d/%m/%Y}"
    return value


def _spoil(
    document: dict[str, Any], dirt: Dirt, value: Cell | date, facts: Mapping[str, str], seen: date
) -> list[Entry]:
    """Spoils one cell in place and says what it was and must become."""
    number = value if isinstance(value, int | float) else 0
    words = {
        **facts,
        "value": value,
        "day": value if isinstance(value, date) else seen,
        "serial": (value - EXCEL).days if isinstance(value, date) else "",
        "seen_iso": seen.isoformat(),
        "percent": percent(number),
        "mmhg": round(number * 7.50062, 1),
    }
    written = dirt.text.format_map(words) if dirt.text else document[dirt.header]
    header = dirt.as_header or dirt.header
    del document[dirt.header]
    if dirt.nested:
        document[OTHER] = {SEGMENTATION: {header: written}}
    else:
        document[header] = written
    true = value.isoformat() if isinstance(value, date) else value
    entry = Entry(
        kind=Class.CLINICAL,
        fault=dirt.fault,
        where=f"{OTHER}.{SEGMENTATION}.{header}" if dirt.nested else header,
        was=str(written),
        must=Must.CLEANED,
        becomes=dirt.of(value) if dirt.of else true if dirt.becomes == AS_IT_WAS else dirt.becomes,
    )
    hidden = replace(entry, was=facts[dirt.hides], must=Must.REMOVED, becomes=None) if dirt.hides else None
    return [entry, hidden] if hidden else [entry]
