"""What could give a patient away, in the forms that people write it in. Templates of `hiding` name these facts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Final

from readingroom.domain.synth import words
from readingroom.domain.synth.population import Patient, Study
from readingroom.domain.synth.stream import Stream

NEUTRAL: Final = frozenset({"sex", "age", "vendor"})  # no identifier: not in the key
MONTHS: Final = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
                 "December")  # fmt: skip
_EPOCH: Final = date(1970, 1, 1)


def facts_of(patient: Patient, study: Study) -> Mapping[str, str]:
    """Everything about a patient in one study, by name."""
    chance = Stream(patient.nhs, "contact")
    house, street, town = chance.between(1, 99), chance.pick(words.STREETS), chance.pick(words.TOWNS)
    staff = Stream(study.centre.code, "staff", patient.number % 7)
    seen = study.when.date()
    return {
        **_names(patient),
        "sex": patient.sex,
        "age": f"{age_on(patient.born, seen):03d}Y",
        "nhs": patient.nhs,
        "nhs_spaced": f"{patient.nhs[:3]} {patient.nhs[3:6]} {patient.nhs[6:]}",
        "nhs_dashed": f"{patient.nhs[:3]}-{patient.nhs[3:6]}-{patient.nhs[6:]}",
        "patient_id": patient.id_at(study.centre),
        "other_id": f"{study.centre.code}K{patient.number:07d}",
        "address": f"{house} {street}, {town}",
        "postcode": f"ZZ99 {chance.between(1, 9)}{chance.pick('BDFGHJ')}{chance.pick('LNPQRS')}",
        "phone": f"01632 960{chance.below(1000):03d}",
        "mobile": f"07700 900{chance.below(1000):03d}",
        "email": f"{patient.given}.{patient.family}@example.org".lower(),
        "born": f"{patient.born:%Y%m%d}",
        "born_uk": f"{patient.born:%d/%m/%Y}",
        "born_words": _in_words(patient.born),
        "seen": f"{seen:%Y%m%d}",
        "seen_uk": f"{seen:%d/%m/%Y}",
        "seen_words": _in_words(seen),
        "seen_dotted": f"{seen:%Y.%m.%d}",
        "seen_epoch": str((seen - _EPOCH).days * 86_400),
        "accession": f"{study.centre.code}A{patient.number:07d}{study.number:03d}",
        "study_id": f"ST{patient.number:07d}{study.number:03d}",
        "vendor": study.maker.private,
        "hospital": study.centre.hospital,
        "station": f"{study.centre.code}MACHINE{1 + study.number % 3}",
        "operator_family": words.family_name(staff.below(480)),
        "operator_given": staff.pick(words.GIVEN["F"]),
        "physician_family": words.family_name(staff.below(480)),
        "physician_given": staff.pick(words.GIVEN["M"]),
    }


def _names(patient: Patient) -> dict[str, str]:
    family, given = patient.family, patient.given
    return {
        "family": family,
        "given": given,
        "natural": f"{given} {family}",
        "shouted": f"{family.upper()}, {given.upper()}",
        "joined": f"{family}{given}".lower(),
        "underscored": f"{family}_{given[0]}",
        "initialled": f"{given[0]}. {family}",
        "misspelled": f"{family[:-1]}{family[-1] * 2}",
        "greek": words.in_greek(family),
    }


def age_on(born: date, day: date) -> int:
    """Whole years."""
    return day.year - born.year - ((day.month, day.day) < (born.month, born.day))


def _in_words(day: date) -> str:
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"
