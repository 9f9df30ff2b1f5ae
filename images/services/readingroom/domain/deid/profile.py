"""The rules of a run, frozen: made from a resolved profile document, which is what is hashed and what children get.

A resolved document names tags, not keywords, and holds its vocabularies; `adapters.policy_files` makes it from the YAML
files. Nothing here is optional in meaning: what a document does not say is not allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any


class Do(StrEnum):
    """What may happen to an element that is listed. One that is not listed is removed."""

    KEEP = "keep"
    VOCABULARY = "vocabulary"
    CODE = "code"
    MAP_UID = "map-uid"
    SHIFT_DATE = "shift-date"
    CAP_AGE = "cap-age"
    PSEUDONYM = "pseudonym"
    CONSTANT = "constant"
    EMPTY = "empty"
    RECURSE = "recurse"


class Otherwise(StrEnum):
    """What happens when nothing of a value may stay."""

    DROP = "drop"
    EMPTY = "empty"
    REJECT = "reject"  # the file: no honest dummy exists


class TextGate(StrEnum):
    """When pixels are looked at for text: each image, or those that give a reason. There is no `never`."""

    ALWAYS = "always"
    SUSPECT = "suspect"


@dataclass(frozen=True, kw_only=True)
class Look:
    """What counts as a stroke, and how many rows of strokes, of ten, count as a word."""

    share: float  # of the picture's range
    times: float  # what nine of ten places around do at most
    rows: tuple[int, ...]  # at full size, at half and at a quarter; 0: not looked at


@dataclass(frozen=True, kw_only=True)
class Count:
    """How many values an element may have (VM of PS3.6): `2-2n` is low 2, high None, step 2."""

    low: int
    high: int | None
    step: int = 1

    def allows(self, number: int) -> bool:
        """Whether that many values are right."""
        return number >= self.low and (self.high is None or number <= self.high) and number % self.step == 0


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What happens to one element."""

    do: Do
    vrs: tuple[str, ...]  # the dictionary's; the first is written
    count: Count
    name: str  # its keyword, for the explain log
    required: bool = False  # nothing left, or absent: the file is rejected
    otherwise: Otherwise = Otherwise.DROP
    dummy: tuple[str, ...] = ()  # what stands in for a value that may not stay, place by place
    needs: frozenset[int] = frozenset()  # elements of the same level without which this one says nothing
    range: tuple[float, float] | None = None
    values: tuple[frozenset[str], ...] = ()  # of each position; the last stands for all that follow
    list: str = ""
    of: str = ""
    constant: str = ""
    items: Mapping[int, Rule] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Terms as we spell them: by their normalised form, for texts, and by their folded form, for whole values."""

    terms: Mapping[str, str]
    longest: int  # words of the longest term
    whole: Mapping[str, str]

    @classmethod
    def from_terms(cls, terms: list[str]) -> Vocabulary:
        """A vocabulary of these spellings."""
        by_form = {normal(term): term for term in terms}
        longest = max((len(form.split()) for form in by_form), default=0)
        return cls(terms=by_form, longest=longest, whole={folded(term): term for term in terms})


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One modality's rules."""

    name: str
    sop_classes: frozenset[str]
    transfer_syntaxes: frozenset[str]
    options: tuple[tuple[str, str], ...]  # code of PS3.16 CID 7050, meaning
    text_gate: TextGate
    looks: tuple[Look, ...]
    elements: Mapping[int, Rule]
    vocabularies: Mapping[str, Vocabulary]
    codes: Mapping[str, Mapping[tuple[str, str], str]]  # list → (value, scheme) → meaning
    faces: frozenset[str]  # normalised words of body regions that show a face


@dataclass(frozen=True, kw_only=True)
class ProfileSet:
    """The profile of a run: which rules serve which SOP class. `name` and `sha256` stand in the manifest."""

    name: str
    sha256: str
    profiles: tuple[Profile, ...]
    doubtful: frozenset[str]  # SOP classes of images that nobody vouches for: held, never looked at

    def serving(self, sop_class: str) -> Profile | None:
        """The rules for that SOP class, if it is accepted."""
        return next((profile for profile in self.profiles if sop_class in profile.sop_classes), None)


@lru_cache(maxsize=4096)
def normal(text: str) -> str:
    """The form in which terms are compared: upper case, one space for whatever is no letter or digit."""
    return " ".join("".join(c if c.isascii() and c.isalnum() else " " for c in text.upper()).split())


def folded(text: str) -> str:
    """The form in which whole values are compared: case and runs of space do not count, punctuation does."""
    return " ".join(text.casefold().split())


def profile_set(document: Mapping[str, Any], sha256: str) -> ProfileSet:
    """The profile of a run, from its resolved document."""
    return ProfileSet(
        name=document["profile"],
        sha256=sha256,
        profiles=tuple(_profile(each) for each in document["profiles"]),
        doubtful=frozenset(document["doubtful"]),
    )


def _profile(document: Mapping[str, Any]) -> Profile:
    lists = document["vocabularies"]
    return Profile(
        name=document["profile"],
        sop_classes=frozenset(document["sop_classes"]),
        transfer_syntaxes=frozenset(document["transfer_syntaxes"]),
        options=tuple((code, meaning) for code, meaning in document["options"]),
        text_gate=TextGate(document["text_gate"]),
        looks=tuple(Look(**{**each, "rows": tuple(each["rows"])}) for each in document["looks"]),
        elements=_rules(document["elements"], lists),
        vocabularies={name: Vocabulary.from_terms(each["terms"]) for name, each in lists.items() if "terms" in each},
        codes={
            name: {(value, scheme): meaning for value, scheme, meaning in each["codes"]}
            for name, each in lists.items()
            if "codes" in each
        },
        faces=frozenset(normal(word) for word in document["faces"]),
    )


def _rules(document: Mapping[str, Any], lists: Mapping[str, Any]) -> dict[int, Rule]:
    return {int(tag, 16): _rule(each, lists) for tag, each in document.items()}


def _rule(document: Mapping[str, Any], lists: Mapping[str, Any]) -> Rule:
    low, high, step = document["count"]
    bounds = document.get("range")
    return Rule(
        do=Do(document["do"]),
        vrs=tuple(document["vr"]),
        count=Count(low=low, high=high, step=step),
        name=document["name"],
        required=document.get("required", False),
        otherwise=Otherwise(document.get("else", "drop")),
        dummy=tuple(document.get("dummy", ())),
        needs=frozenset(int(tag, 16) for tag in document.get("needs", ())),
        range=(bounds[0], bounds[1]) if bounds else None,
        values=tuple(
            frozenset(lists[each]["terms"] if isinstance(each, str) else each) for each in document.get("values", ())
        ),
        list=document.get("list", ""),
        of=document.get("of", ""),
        constant=document.get("constant", ""),
        items=_rules(document.get("items", {}), lists),
    )
