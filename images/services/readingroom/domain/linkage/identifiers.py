"""What two sides must write alike before it is hashed: an NHS number whose check digit holds; family name, birth date and sex."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import date
from typing import Final

from readingroom.domain.deid.identity import NOISE

SEXES: Final = frozenset({"F", "M"})
FIRST_BIRTH: Final = date(1900, 1, 2)  # systems write the day before for a birth date that nobody knows
SHORTEST_NAME: Final = 2  # letters


@dataclass(frozen=True, kw_only=True, repr=False)
class Demographics:
    """Family name in one spelling, birth date and sex: all three, or there is none."""

    family: str
    born: date
    sex: str

    def __repr__(self) -> str:
        return "Demographics(…)"


def demographics(name: str, born: date | None, sex: str) -> Demographics | None:
    """The three together, or None where one is missing or stands for nothing. `name` is the family name alone."""
    family = family_name(name)
    if len(family) < SHORTEST_NAME or family.upper() in NOISE:
        return None
    if born is None or born < FIRST_BIRTH or sex not in SEXES:
        return None
    return Demographics(family=family, born=born, sex=sex)


def family_name(given: str) -> str:
    """Letters alone, without case, accents, spaces, hyphens and apostrophes: `O'Brien-Lloyd` is `obrienlloyd`.

    No letter is transliterated, and no name is thought to sound like another: what is not the same is not joined.
    """
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", given).casefold())
    return "".join(letter for letter in folded if letter.isalpha())
