"""What an image says of its patient: for records, which have no issuer, and may have neither age nor sex."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from readingroom.domain.deid.elements import Elements, find, text
from readingroom.domain.deid.identity import BIRTH_DATE, STUDY_DATE
from readingroom.domain.deid.values import age_between, capped_age, day

AGE: Final = 0x00101010
SEX: Final = 0x00100040
_PER_YEAR: Final = {b"Y": 1, b"M": 12, b"W": 53, b"D": 366}


@dataclass(frozen=True, kw_only=True)
class Imaged:
    """Age in whole years, capped, and sex (F or M); None and empty where the image does not say."""

    age: int | None
    sex: str


@dataclass(frozen=True, kw_only=True)
class Bearer:
    """A patient whom an image names: the stand-in, that without an issuer, the days of the shift, and what the image says."""

    patient: str
    alias: str
    days: int
    says: Imaged


def imaged(elements: Elements) -> Imaged:
    """What one image says. PS3.3 C.7.1.1 and C.7.2.2."""
    sex = text(find(elements, SEX))
    return Imaged(age=_age(elements), sex=sex if sex in {"F", "M"} else "")


def _age(elements: Elements) -> int | None:
    """The age, or what the true dates give; `000Y` is how scanners write that they do not know."""
    element = find(elements, AGE)
    age = capped_age(element.value) if element and element.items is None else None
    born, seen = (day(text(find(elements, tag))) for tag in (BIRTH_DATE, STUDY_DATE))
    if age is None and born and seen:
        age = age_between(born, seen)
    if age is None or age == b"000Y":
        return None
    return int(age[:3]) // _PER_YEAR[age[3:]]
