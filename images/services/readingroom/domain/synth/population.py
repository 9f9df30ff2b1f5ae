"""Patients and their studies, one after another: what comes later needs nothing of what came before.

A third is positive; the number of studies is geometric with mean 2.8. `data.md` section 13.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from readingroom.domain.synth import words
from readingroom.domain.synth.centres import BY_LABEL, Centre, Maker
from readingroom.domain.synth.plans import Design
from readingroom.domain.synth.stream import Stream

MOST_PATIENTS: Final = 900_000  # the range of test numbers holds 909,000 valid ones
MEAN_STUDIES: Final = 28  # tenths
FIRST_DAY: Final = date(2020, 2, 1)
LAST_START: Final = 400  # days after it
_RANGE: Final = 1_000_000
_STEP: Final = 618_033  # no common factor with the range: every number comes once


@dataclass(frozen=True, kw_only=True)
class Study:
    """One visit to a machine."""

    number: int
    kind: str  # film | ct | mr | mg | us
    when: datetime
    centre: Centre
    maker: Maker
    uid: str


@dataclass(frozen=True, kw_only=True, repr=False)
class Patient:
    """Somebody who is not."""

    number: int
    nhs: str
    sex: str
    born: date
    family: str
    given: str
    positive: bool
    centres: tuple[Centre, ...]
    studies: tuple[Study, ...]
    opted_out: str  # "", before or after release

    def __repr__(self) -> str:
        return f"Patient({self.number})"

    def id_at(self, centre: Centre) -> str:
        """By what number images and clinical record of that centre know the patient: PatientID and `Pseudonym`."""
        if centre.local_ids:
            return f"{centre.code}H{self.number:07d}"
        return f"{self.nhs[:3]} {self.nhs[3:6]} {self.nhs[6:]}" if centre.spaced_ids else self.nhs


def population(seed: int, patients: int, design: Design) -> Iterator[Patient]:
    """So many patients, in order."""
    numbers = _nhs_numbers(seed)
    for number in range(1, patients + 1):
        yield _patient(Stream(seed, "patient", number), number, next(numbers), design)


def _nhs_numbers(seed: int) -> Iterator[str]:
    """Valid numbers of the test range, each once, in an order of the seed's own."""
    start = Stream(seed, "nhs").below(_RANGE)
    for place in range(_RANGE):
        nine = f"999{(start + place * _STEP) % _RANGE:06d}"
        digit = words.check_digit(nine)
        if digit < 10:
            yield f"{nine}{digit}"


def _patient(stream: Stream, number: int, nhs: str, design: Design) -> Patient:
    positive = stream.chance(1, 3)
    centres = [stream.weighted(BY_LABEL[positive])]
    if stream.chance(design.rates.two_centres):
        second = stream.weighted(BY_LABEL[positive])
        centres += [second] if second not in centres else []
    sex = stream.pick(("F", "M"))
    age = stream.between(18, 84) if stream.chance(930) else stream.between(85, 103)
    first = FIRST_DAY + timedelta(days=stream.below(LAST_START))
    fate = stream.below(1000)
    before, after = design.rates.opted_out_before, design.rates.opted_out_after
    return Patient(
        number=number,
        nhs=nhs,
        sex=sex,
        born=first - timedelta(days=age * 365 + age // 4 + stream.below(364)),
        family=words.family_name(stream.below(480)),
        given=stream.pick(words.GIVEN[sex]),
        positive=positive,
        centres=tuple(centres),
        studies=tuple(_studies(stream, number, centres, first, design)),
        opted_out="before" if fate < before else "after" if fate < before + after else "",
    )


def _studies(stream: Stream, patient: int, centres: list[Centre], first: date, design: Design) -> Iterator[Study]:
    """At two centres, the first study is at the first and the last at the second."""
    many = max(stream.geometric(MEAN_STUDIES), len(centres))
    day = first
    for number in range(1, many + 1):
        centre = centres[-1] if number == many else centres[0]
        when = datetime(day.year, day.month, day.day, stream.between(7, 21), stream.below(60), stream.below(60))  # noqa: DTZ001 (a ward's clock: DICOM times have no zone)
        yield Study(
            number=number,
            kind=stream.weighted(design.mix),
            when=when,
            centre=centre,
            maker=stream.weighted(centre.makers),
            uid=f"2.999.{centre.number}.{when:%Y%m%d}.{int(f'{when:%H%M%S}')}.{patient}.{number}",
        )
        day += timedelta(days=stream.between(1, 12))
