"""Who opted out, and which files are theirs. `data.md` section 11, `governance.md` section 10.

A person is found under every name they go by: an NHS number in any spelling, a hospital's own number, the study that two
numbers share. What is not certain is not used: a number that no answer covers is nobody's consent, so its files are held.
A status lives in the answers alone. Nothing here, and nothing that comes of it, keeps one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final

from readingroom.domain.deid.elements import Elements
from readingroom.domain.deid.identity import ISSUER, NOISE, PATIENT_ID, is_nhs_number
from readingroom.domain.deid.outcome import FileRejected, Reason
from readingroom.domain.deid.profile import normal
from readingroom.domain.errors import Refused, WrongSetUp

OTHER_IDS: Final = 0x00101000
IDENTIFIERS: Final = frozenset({PATIENT_ID, ISSUER, OTHER_IDS})
MOST_IDENTIFIERS: Final = 64  # of one file
LONGEST_IDENTIFIER: Final = 64  # characters: LO of PS3.5 section 6.2
OLDEST: Final = timedelta(days=7)  # of an answer: governance.md section 10
LOCAL: Final = "local:"  # what follows is a hospital's own number, whatever it looks like
STUDY: Final = "study:"  # what follows is a Study Instance UID
_WRITTEN: Final = re.compile(r"NHS(?:NO|NUMBER)?(?=[0-9])")
_NUMBER: Final = re.compile(r"[0-9 -]+")
_ANY, _NONE = "*", "?"  # of issuers; `normal` gives neither


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Names:
    """What a file goes by, as names or as tokens of them."""

    sought: frozenset[str] = frozenset()  # it is theirs if one of these is known to be
    told: frozenset[str] = frozenset()  # if it is theirs, these are known to be
    numbers: frozenset[str] = frozenset()  # NHS numbers among what is sought

    def known_as(self, token: Callable[[str], str]) -> Names:
        """The same, each name by its token."""
        parts = {"sought": self.sought, "told": self.told, "numbers": self.numbers}
        return Names(**{part: frozenset(map(token, names)) for part, names in parts.items()})

    def to_document(self) -> dict[str, list[str]]:
        """For the way from a child to its parent: of tokens."""
        return {"sought": sorted(self.sought), "told": sorted(self.told), "numbers": sorted(self.numbers)}

    def __repr__(self) -> str:
        return "Names(…)"


def names_from(document: Mapping[str, Sequence[str]]) -> Names:
    """What `to_document` made."""
    return Names(**{part: frozenset(document[part]) for part in ("sought", "told", "numbers")})


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class OptOuts:
    """What is known on the day of a run, as names or as tokens of them."""

    opted_out: frozenset[str] = frozenset()  # as `Names.told` has them
    asked: frozenset[str] | None = None  # NHS numbers that an answer covers; None: the nation was not asked

    def known_as(self, token: Callable[[str], str]) -> OptOuts:
        """The same, each name by its token."""
        asked = None if self.asked is None else frozenset(map(token, self.asked))
        return OptOuts(opted_out=frozenset(map(token, self.opted_out)), asked=asked)

    def __repr__(self) -> str:
        return "OptOuts(…)"


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Answer:
    """A question of a day and its answer: the numbers asked about, and those of them that did not opt out."""

    day: date
    asked: frozenset[str]
    free: frozenset[str]

    def __repr__(self) -> str:
        return f"Answer({self.day})"


NOBODY: Final = OptOuts()
NAMELESS: Final = Names()


def nhs_number(text: str) -> str | None:
    """The number of ten digits in a line, spaces and hyphens aside, or None. Modulus 11 is checked."""
    digits = text.replace(" ", "").replace("-", "")
    return digits if _NUMBER.fullmatch(text) and is_nhs_number(digits) else None


def names_of(given: str, issuer: str = "") -> Names:
    """The names of one identifier as a file gives it.

    An NHS number is one in any spelling. Two other numbers are one unless two issuers tell them apart; a word that stands
    for no number, such as UNKNOWN, is found if it is listed and links nothing.
    """
    digits = _digits(given)
    if is_nhs_number(digits):
        number = frozenset({f"nhs:{digits}"})
        return Names(sought=number, told=number, numbers=number)
    key = _key(given)
    if not key:
        return NAMELESS
    by = normal(issuer)
    sought = {f"{by}:{key}", f"{_NONE}:{key}"} if by else {f"{_ANY}:{key}"}
    told = {f"{by}:{key}" if by else f"{_NONE}:{key}", f"{_ANY}:{key}"}
    links = normal(given) not in NOISE and set(key) != {"0"}
    return Names(sought=frozenset(sought), told=frozenset(told) if links else frozenset())


def names_of_record(pseudonym: str) -> Names:
    """The same of a clinical record: one number, and no issuer, so it is found and leads to nobody else."""
    return replace(names_of(pseudonym), told=frozenset())


def names_in(elements: Elements, study: str) -> Names:
    """All names that an image gives its patient, at any depth, and its study, which has one patient.

    The caller has read the values of `IDENTIFIERS`. Raises `FileRejected` (over-limit) for more than any patient has.
    """
    found: list[tuple[str, str]] = []
    waiting = [elements]
    while waiting:
        level = waiting.pop()
        here = {element.tag: element.value for element in level if element.items is None and element.tag in IDENTIFIERS}
        issuer = _text(here.get(ISSUER, b""))
        found += [(each, issuer) for each in _text(here.get(PATIENT_ID, b"")).split("\\") if each]
        found += [(each, "") for each in _text(here.get(OTHER_IDS, b"")).split("\\") if each]
        if len(found) > MOST_IDENTIFIERS:
            raise FileRejected(Reason.OVER_LIMIT)
        waiting += [item for element in level for item in element.items or ()]
    names = [names_of(given.strip(), issuer) for given, issuer in found]
    if study:
        of_study = frozenset({f"{STUDY}{study}"})
        names.append(Names(sought=of_study, told=of_study))
    return joined(names)


def joined(names: Iterable[Names]) -> Names:
    """What several identifiers of one file say together."""
    every = list(names)
    return Names(
        sought=frozenset().union(*(each.sought for each in every)),
        told=frozenset().union(*(each.told for each in every)),
        numbers=frozenset().union(*(each.numbers for each in every)),
    )


def listed(line: str) -> frozenset[str] | None:
    """The names of one line of a local list, or None for what is no identifier.

    Ten digits that fail the check are a mistyped NHS number, unless `local:` says that a hospital gave them. A hospital's
    number is meant under any issuer.
    """
    given = line.removeprefix(LOCAL).strip()
    if not given.isascii() or not given.isprintable() or len(given) > LONGEST_IDENTIFIER or not normal(given):
        return None
    digits = _digits(given)
    if is_nhs_number(digits):
        return frozenset({f"nhs:{digits}"})
    if digits.isdigit() and len(digits) == 10 and not line.startswith(LOCAL):
        return None
    return frozenset({f"{_ANY}:{_key(given)}", f"{_NONE}:{_key(given)}"})


def opt_outs_of(answers: Iterable[Answer], local: Set[str], today: date) -> OptOuts:
    """What these answers and a local list say today. Of several answers about a number, the newest counts.

    An answer lists who did not opt out, so who was asked about and is absent did. One that is too old says nothing any
    more; when none is young enough, raises `Refused`, and `WrongSetUp` for one of a day that is to come.
    """
    every = sorted(answers, key=lambda answer: answer.day)
    if every and every[-1].day > today:
        raise WrongSetUp(
            what="opt-outs",
            which=f"the answer of {every[-1].day}",
            why="that day is to come",
            next_step="give the pair the day on which the question was asked",
        )
    fresh = [answer for answer in every if today - answer.day <= OLDEST]
    if every and not fresh:
        raise Refused(
            what="opt-outs",
            which=f"the answer of {every[-1].day}",
            why=f"it is older than {OLDEST.days} days",
            next_step="ask again: readingroom cohort ask-opt-outs IN_DIR --opt-outs DIR",
        )
    latest: dict[str, bool] = {}
    for answer in fresh:
        latest.update((number, number in answer.free) for number in answer.asked)
    out = {f"nhs:{number}" for number, free in latest.items() if not free}
    asked = frozenset(f"nhs:{number}" for number in latest) if fresh else None
    return OptOuts(opted_out=frozenset(local | out), asked=asked)


def barred(files: Mapping[str, Names], opt_outs: OptOuts) -> dict[str, Reason]:
    """Files of those who opted out, and of those about whom nobody asked: of every file that their names lead to."""
    unasked: set[str] = set()
    if opt_outs.asked is not None:
        numbers = {number for names in files.values() for number in names.numbers}
        unasked = numbers - opt_outs.asked - opt_outs.opted_out
    unknown = dict.fromkeys(_reached(files, unasked), Reason.OPT_OUT_UNKNOWN)
    return unknown | dict.fromkeys(_reached(files, opt_outs.opted_out), Reason.OPTED_OUT)


def of_studies(files: Mapping[str, Names], studies: Set[str], token: Callable[[str], str]) -> set[str]:
    """The files of studies, by their UIDs. Their names are tokens; they lead to nothing else of a patient."""
    known = {token(f"{STUDY}{study}") for study in studies}
    return {path for path, names in files.items() if names.sought & known}


def _reached(files: Mapping[str, Names], known: Set[str]) -> set[str]:
    """The files that are theirs whose names are known, and by what those tell, all others of theirs."""
    seekers: dict[str, list[str]] = {}
    if known:
        for path, names in files.items():
            for name in names.sought:
                seekers.setdefault(name, []).append(path)
    waiting = [name for name in seekers if name in known]
    found: set[str] = set()
    while waiting:
        for path in seekers.pop(waiting.pop(), ()):
            if path not in found:
                found.add(path)
                waiting += files[path].told
    return found


def _digits(given: str) -> str:
    """What would be the digits of an NHS number: `NHS No 943 476 5919` and `9434765919^^^NHS` are written for one."""
    return _WRITTEN.sub("", normal(given.partition("^")[0]).replace(" ", ""))


def _key(given: str) -> str:
    """In what two spellings of a hospital's number agree."""
    return "".join(c for c in given.casefold() if c.isalnum()) or given.strip()


def _text(value: bytes) -> str:
    return value.strip(b" \0").decode("utf-8", "surrogateescape")
