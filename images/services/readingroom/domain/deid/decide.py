"""One answer for each element, at every depth: what no rule allows is removed (`data.md` 6.1).

Pure: (element, rule, keys, known identifiers) → what to write. The input is never changed; what is written starts from
nothing. PS3.15 Annex E, Basic Application Level Confidentiality Profile, and the options that the profile names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from readingroom.domain.deid import values
from readingroom.domain.deid.elements import PIXEL_DATA, Element, Elements, Written, find, text
from readingroom.domain.deid.identity import BIRTH_DATE, STUDY_DATE, Known
from readingroom.domain.deid.keys import Pseudonyms
from readingroom.domain.deid.outcome import FileRejected, Reason
from readingroom.domain.deid.profile import Do, Otherwise, Profile, Rule

CODE_VALUE: Final = 0x00080100
CODE_SCHEME: Final = 0x00080102
CODE_MEANING: Final = 0x00080104
REMOVE: Final = "remove"
PATIENT: Final = "patient"
TERMS: Final = "terms"


@dataclass(frozen=True, kw_only=True, repr=False)
class Context:
    """What every rule may need to know."""

    profile: Profile
    pseudonyms: Pseudonyms
    identity: str
    known: Known
    swapped: bool = False  # the file was big-endian: an UN value in it cannot be read again as a number


@dataclass(kw_only=True)
class Decided:
    """What to write, what was done how often, and why: places and rules, never a value."""

    written: list[Written] = field(default_factory=list)
    actions: Counter[str] = field(default_factory=Counter)
    explained: list[dict[str, str]] = field(default_factory=list)


def decide(elements: Elements, context: Context) -> Decided:
    """The whole data set but its pixels. Raises `FileRejected` when something essential has nothing left."""
    decided = Decided()
    rules = context.profile.elements
    written = _with_age(_level(elements, rules, context, decided, ""), elements, context, decided)
    decided.written = _with_patient(written, context, decided)
    if not _complete(decided.written, rules):
        raise FileRejected(Reason.MALFORMED)
    return decided


def _level(
    elements: Elements, rules: Mapping[int, Rule], context: Context, decided: Decided, place: str
) -> list[Written]:
    """One level: the top one, or an item."""
    answers: list[tuple[Element, Rule, Written | None, str]] = []
    for element in elements:
        if element.tag == PIXEL_DATA and not place:
            continue  # pixels have a way of their own
        rule = rules.get(element.tag)
        if rule is None:
            _note(decided, place, element, REMOVE, "", "not listed")
        else:
            answers.append((element, rule, *_one(element, rule, context, decided, place)))
    there = _there(new for _, _, new, _ in answers if new)
    written: list[Written] = []
    for element, rule, new, why in answers:
        if new is not None and rule.needs <= there:
            written.append(new)
            _note(decided, place, element, rule.do, rule.name, why)
        else:
            _note(decided, place, element, REMOVE, rule.name, why if new is None else "what it needs may not stay")
    return written


def _there(written: Iterable[Written]) -> set[int]:
    """The tags of what holds anything."""
    return {each.tag for each in written if each.value or each.items}


def _complete(written: list[Written], rules: Mapping[int, Rule]) -> bool:
    """Whether all that is required at a level is there."""
    there = _there(written)
    return all(tag in there for tag, rule in rules.items() if rule.required)


def _one(element: Element, rule: Rule, context: Context, decided: Decided, place: str) -> tuple[Written | None, str]:
    vr = element.vr if element.vr in rule.vrs else rule.vrs[0]
    if element.vr not in rule.vrs and (element.vr != "UN" or context.swapped or element.items is not None):
        new = _instead(element, rule, vr) if element.value or element.items else None
        return new, "another VR than the dictionary's"
    if rule.do is Do.EMPTY:
        return Written(element.tag, vr), "rule"
    if rule.do in {Do.RECURSE, Do.CODE}:
        new = _sequence(element, rule, context, decided, place)
        return (new, "rule") if new else (_instead(element, rule, vr), "no item may stay")
    value = _value(element, rule, vr, context)
    if value is not None:
        return Written(element.tag, vr, value), "rule"
    return _instead(element, rule, vr), "nothing of the value may stay"


def _instead(element: Element, rule: Rule, vr: str) -> Written | None:
    """What stands where nothing of an element may stay. PS3.15 table E.1-1: D a dummy, Z a dummy or nothing, X removed.

    An element that held nothing stays empty. Raises `FileRejected` where only a false value could stand.
    """
    if element.items is None and not element.value:
        return Written(element.tag, vr)
    if rule.dummy:
        return Written(element.tag, vr, "\\".join(rule.dummy).encode("ascii"))
    if rule.otherwise is Otherwise.REJECT:
        raise FileRejected(Reason.MALFORMED)
    return Written(element.tag, vr) if rule.otherwise is Otherwise.EMPTY else None


def _sequence(element: Element, rule: Rule, context: Context, decided: Decided, place: str) -> Written | None:
    items: list[list[Written]] = []
    for number, item in enumerate(element.items or [], 1):
        if rule.do is Do.CODE:
            code = _code(item, rule, context)
            items += [code] if code else []
        else:
            inner = _level(item, rule.items, context, decided, f"{place}{element.tag:08X}[{number}].")
            items += [inner] if _complete(inner, rule.items) else []
    return Written(element.tag, "SQ", items=items) if any(items) else None


def _code(item: Elements, rule: Rule, context: Context) -> list[Written] | None:
    """A code pair of our list, with the meaning that our list gives it."""
    pair = text(find(item, CODE_VALUE)), text(find(item, CODE_SCHEME))
    meaning = context.profile.codes[rule.list].get(pair)
    if meaning is None:
        return None
    return [
        Written(CODE_VALUE, "SH", pair[0].encode("ascii")),
        Written(CODE_SCHEME, "SH", pair[1].encode("ascii")),
        Written(CODE_MEANING, "LO", meaning.encode("ascii")),
    ]


def _value(element: Element, rule: Rule, vr: str, context: Context) -> bytes | None:
    """What is written in place of a value, or None: nothing of it may stay."""
    new: bytes | None = None
    match rule.do:
        case Do.KEEP:
            new = values.kept(rule, vr, element.value, context.known)
        case Do.VOCABULARY if rule.of == TERMS:
            new = values.terms(element.value, context.profile.vocabularies[rule.list], context.known)
        case Do.VOCABULARY:
            new = values.whole_terms(rule, element.value, context.profile.vocabularies[rule.list])
        case Do.MAP_UID:
            new = values.mapped_uids(element.value, context.pseudonyms.uid)
        case Do.SHIFT_DATE:
            new = values.shifted(vr, element.value, context.pseudonyms.days(context.identity))
        case Do.CAP_AGE:
            new = values.capped_age(element.value)
        case Do.PSEUDONYM:
            new = _pseudonym(element, rule, context)
        case Do.CONSTANT:
            new = rule.constant.encode("ascii")
    return new


def _pseudonym(element: Element, rule: Rule, context: Context) -> bytes | None:
    if rule.of == PATIENT:
        return context.pseudonyms.patient(context.identity).encode("ascii")
    value = element.value.strip(b" \0").decode("utf-8", "surrogateescape")
    return context.pseudonyms.code(rule.of, value, context.identity).encode("ascii") if value else None


def _with_age(written: list[Written], elements: Elements, context: Context, decided: Decided) -> list[Written]:
    """An age that is not there is worked out from the true dates, which go."""
    rule = next(((tag, rule) for tag, rule in context.profile.elements.items() if rule.do is Do.CAP_AGE), None)
    if rule is None or any(each.tag == rule[0] and each.value for each in written):
        return written
    born, seen = (values.day(text(find(elements, tag))) for tag in (BIRTH_DATE, STUDY_DATE))
    age = values.age_between(born, seen) if born and seen else None
    if age is None:
        return written
    decided.actions[Do.CAP_AGE] += 1
    decided.explained.append({"path": f"{rule[0]:08X}", "vr": "AS", "action": Do.CAP_AGE, "rule": rule[1].name,
                              "reason": "worked out from dates that go"})  # fmt: skip
    return sorted([each for each in written if each.tag != rule[0]] + [Written(rule[0], "AS", age)], key=_tag)


def _with_patient(written: list[Written], context: Context, decided: Decided) -> list[Written]:
    """The patient's stand-in is written wherever the profile wants it, even where name or number was absent or mistyped."""
    there = {each.tag for each in written}
    added: list[Written] = []
    for tag, rule in context.profile.elements.items():
        if rule.do is Do.PSEUDONYM and rule.of == PATIENT and tag not in there:
            added.append(Written(tag, rule.vrs[0], context.pseudonyms.patient(context.identity).encode("ascii")))
            decided.actions[Do.PSEUDONYM] += 1
            decided.explained.append({"path": f"{tag:08X}", "vr": rule.vrs[0], "action": Do.PSEUDONYM, "rule": rule.name,
                                      "reason": "absent or mistyped"})  # fmt: skip
    return sorted([*written, *added], key=_tag)


def _tag(written: Written) -> int:
    return written.tag


def _note(decided: Decided, place: str, element: Element, action: str, rule: str, reason: str) -> None:
    decided.actions[action] += 1
    decided.explained.append(
        {"path": f"{place}{element.tag:08X}", "vr": element.vr, "action": action, "rule": rule, "reason": reason}
    )
