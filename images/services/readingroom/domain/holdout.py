"""Who is kept apart to test models unseen, and on which side each original lies. `data.md` section 10.

Decided once for each person, under every name that landing and hold-out know them by; afterwards only the ledger says it.
A person seen at a held-out centre is hold-out, else by a keyed draw. Whoever may be in a cut never is: what a held-out
centre has of them goes to neither side. Names are tokens under the split's own key: without it nobody can work it out.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from readingroom.domain.deid.keys import KEY_BYTES
from readingroom.domain.errors import Refused, WrongSetUp
from readingroom.domain.opt_out import Names, joined

SPLIT_INPUT: Final = b"rr/holdout/v1/split"  # what Vault authenticates to make the split's key
SCHEMA: Final = "readingroom/holdout-ledger/v1"
_DRAWS: Final = 1 << 64


class Side(StrEnum):
    """Where an original lies: in landing, open to projects; in the hold-out's landing; or apart, for neither."""

    OPEN = "open"
    HOLDOUT = "holdout"
    APART = "apart"


class SplitKey:
    """The split's keys: one for tokens of names, one for the draw. They show themselves to nobody."""

    __slots__ = ("_draw", "names")

    def __init__(self, secret: bytes) -> None:
        """Raises `WrongSetUp` unless the secret has 32 bytes."""
        if len(secret) != KEY_BYTES:
            raise WrongSetUp(
                what="key file",
                why=f"it holds {len(secret)} bytes, and the split's key is {KEY_BYTES} random bytes",
                next_step="make one with: head -c 32 /dev/urandom > FILE",
            )
        self.names = hmac.digest(secret, b"rr/holdout/v1/names", hashlib.sha256)
        self._draw = hmac.digest(secret, b"rr/holdout/v1/draw", hashlib.sha256)

    def draws(self, person: str, share: int) -> bool:
        """Whether the draw makes a person hold-out, for a share in percent: `HMAC(key, person) < share`."""
        drawn = hmac.digest(self._draw, f"person:{person}".encode(), hashlib.sha256)
        return int.from_bytes(drawn[:8], "big") * 100 < share * _DRAWS

    def check(self) -> str:
        """What a ledger keeps, to be read with this key and no other."""
        return hmac.digest(self._draw, b"check", hashlib.sha256).hex()

    def __repr__(self) -> str:
        return "SplitKey(…)"


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Person:
    """One line of the ledger: every name a person has gone by, as tokens, and what they are: open or hold-out."""

    names: Names
    side: Side

    def __repr__(self) -> str:
        return "Person(…)"


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Ledger:
    """All that was ever decided: people, and the centres that are wholly kept apart."""

    people: tuple[Person, ...] = ()
    centres: frozenset[str] = frozenset()

    def to_document(self, key: SplitKey) -> dict[str, Any]:
        """As its file has it. The same ledger is always the same bytes."""
        people = [
            {"side": person.side, "sought": sorted(person.names.sought), "told": sorted(person.names.told)}
            for person in self.people
        ]
        return {
            "schema": SCHEMA,
            "key": key.check(),
            "centres": sorted(self.centres),
            "people": sorted(people, key=lambda line: (line["sought"], line["told"])),
        }

    def __repr__(self) -> str:
        return "Ledger(…)"


def ledger_from(document: Any, key: SplitKey) -> Ledger:
    """What `to_document` made.

    Raises `Refused` for another key, which would decide everybody anew; `ValueError` for anything else.
    """
    if not isinstance(document, dict) or document.keys() != {"schema", "key", "centres", "people"}:
        raise ValueError("no ledger")
    if document["schema"] != SCHEMA:
        raise ValueError("another schema")
    if not hmac.compare_digest(str(document["key"]), key.check()):
        raise Refused(
            what="hold-out",
            which="the key file",
            why="the ledger was written with another key, and everybody would be decided anew",
            next_step="give the key of the first split",
        )
    return Ledger(
        people=tuple(_person(line) for line in document["people"]), centres=frozenset(map(str, document["centres"]))
    )


def _person(line: Any) -> Person:
    if line.keys() != {"side", "sought", "told"} or line["side"] == Side.APART:
        raise ValueError("no person")
    return Person(names=Names(sought=frozenset(line["sought"]), told=frozenset(line["told"])), side=Side(line["side"]))


@dataclass(frozen=True, kw_only=True, slots=True)
class Original:
    """One original: whose, of which centre, on which side it lies, and whether a project was given it already."""

    names: Names
    centre: str
    side: Side = Side.OPEN
    released: bool = False


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How new people are decided: the key, the share in percent, the centres that are wholly kept apart."""

    key: SplitKey
    share: int
    centres: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Split:
    """What a split comes to: the ledger that is to be kept first, and then the originals that change sides."""

    ledger: Ledger
    moves: Mapping[str, Side]
    new: Mapping[Side, int] = field(default_factory=dict)  # people who were decided now


def split(ledger: Ledger, originals: Mapping[str, Original], rule: Rule) -> Split:
    """Decides about everybody, in any order alike. Who is in the ledger stays what they are.

    Two people of the ledger who prove to be one are open if either was: a project may have them.
    """
    centres = ledger.centres | rule.centres
    moves: dict[str, Side] = {}
    people: list[Person] = []
    new = dict.fromkeys((Side.HOLDOUT, Side.OPEN), 0)
    for known, places in _persons(ledger.people, originals):
        theirs = [originals[place] for place in places]
        names = joined([*(person.names for person in known), *(original.names for original in theirs)])
        side = _side({person.side for person in known}, theirs, names, rule, centres)
        people.append(Person(names=names, side=side))
        new[side] += not known
        for place in places:
            target = _place(side, originals[place], centres)
            if target is not originals[place].side:
                moves[place] = target
    return Split(ledger=Ledger(people=tuple(people), centres=centres), moves=moves, new=new)


def _side(before: set[Side], theirs: Sequence[Original], names: Names, rule: Rule, centres: frozenset[str]) -> Side:
    if Side.OPEN in before or any(original.released for original in theirs):
        return Side.OPEN
    if before or any(original.centre in centres for original in theirs):
        return Side.HOLDOUT
    # Any one name would do; an NHS number is the one that stays the same. The draw does not depend on how many there are.
    person = min(names.numbers or names.told or names.sought)
    return Side.HOLDOUT if rule.key.draws(person, rule.share) else Side.OPEN


def _place(side: Side, original: Original, centres: frozenset[str]) -> Side:
    """Whoever is open has nothing in the hold-out, and nothing of a held-out centre with the projects."""
    if side is Side.HOLDOUT:
        return Side.HOLDOUT
    return Side.APART if original.side is Side.HOLDOUT or original.centre in centres else Side.OPEN


def _persons(known: Sequence[Person], originals: Mapping[str, Original]) -> Iterator[tuple[list[Person], list[str]]]:
    """People of the ledger and originals, by person: one tells a name that another is found by, and so on.

    Further than an opt-out goes: there a clinical record leads to nobody, here whatever it leads to must stay together.
    """
    nodes: list[tuple[Names, Person | None, str]] = [(person.names, person, "") for person in known]
    nodes += [(original.names, None, place) for place, original in originals.items()]
    tellers: dict[str, list[int]] = {}
    seekers: dict[str, list[int]] = {}
    for number, (names, _, _) in enumerate(nodes):
        # Who tells nothing is a record: two of one pseudonym are of one person all the same.
        for name in names.told or {f"record:{name}" for name in names.sought}:
            tellers.setdefault(name, []).append(number)
        for name in names.sought if names.told else names.sought | {f"record:{name}" for name in names.sought}:
            seekers.setdefault(name, []).append(number)
    found: dict[int, tuple[list[Person], list[str]]] = {}
    leader = _leaders(len(nodes), ([*tellers[name], *seekers[name]] for name in tellers.keys() & seekers.keys()))
    for number, (_, person, place) in enumerate(nodes):
        people, places = found.setdefault(leader[number], ([], []))
        if person is not None:
            people.append(person)
        else:
            places.append(place)
    yield from found.values()


def _leaders(count: int, groups: Iterable[Sequence[int]]) -> list[int]:
    """For each of these numbers one that stands for all that groups join it to."""
    above = list(range(count))

    def top(number: int) -> int:
        while above[number] != number:
            above[number] = above[above[number]]
            number = above[number]
        return number

    for first, *others in groups:
        for other in others:
            above[top(other)] = top(first)
    return [top(number) for number in range(count)]
