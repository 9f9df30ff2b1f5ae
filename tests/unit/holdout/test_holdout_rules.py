"""The split's rules: people are disjoint, decided once, in any order, whatever merges and whenever it is stopped."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readingroom.domain.door import token
from readingroom.domain.errors import Refused, WrongSetUp
from readingroom.domain.holdout import Ledger, Original, Rule, Side, Split, SplitKey, ledger_from, split
from readingroom.domain.opt_out import Names, joined, names_of, names_of_record

KEY = SplitKey(bytes(range(32)))
NUMBERS = ("9991246924", "9992148578", "9994509233")
CENTRES = ("ABC", "LMN", "XYZ")


def known(names: Names) -> Names:
    return names.known_as(lambda name: token(name, KEY.names))


def image(*ids: str, study: str = "", centre: str = "ABC", issuer: str = "", released: bool = False) -> Original:
    names = [names_of(given, issuer) for given in ids]
    if study:
        names.append(Names(sought=frozenset({f"study:{study}"}), told=frozenset({f"study:{study}"})))
    return Original(names=known(joined(names)), centre=centre, released=released)


def record(pseudonym: str, centre: str = "ABC") -> Original:
    return Original(names=known(names_of_record(pseudonym)), centre=centre)


def rule(share: int = 20, *centres: str) -> Rule:
    return Rule(key=KEY, share=share, centres=frozenset(centres))


def apply(originals: dict[str, Original], done: Split) -> dict[str, Original]:
    """Where everything lies after a split."""
    moved = {
        place: replace(original, side=done.moves.get(place, original.side)) for place, original in originals.items()
    }
    return {place: original for place, original in moved.items() if original.side is not Side.APART}


# What happens to a landing: images and records of a few people under several names come, and splits of changing rules,
# of which some are killed after the ledger is kept and some originals moved.
IDS = st.sampled_from([*NUMBERS, "RXH1", "RXH2", "RXH3", "UNKNOWN"])
IMAGES = st.builds(
    lambda ids, study, centre, issuer: image(*ids, study=study, centre=centre, issuer=issuer),
    st.lists(IDS, min_size=1, max_size=2),
    st.sampled_from(["1", "2", "3", "4", "5"]),
    st.sampled_from(CENTRES),
    st.sampled_from(["", "A", "B"]),
)
ARRIVALS = st.one_of(IMAGES, st.builds(record, st.sampled_from([*NUMBERS, "RXH1", "RXH2"]), st.sampled_from(CENTRES)))
SPLITS = st.tuples(st.integers(0, 100), st.sets(st.sampled_from(CENTRES), max_size=2), st.integers(0, 8) | st.none())
EVENTS = st.lists(st.one_of(ARRIVALS, SPLITS), max_size=14)


@dataclass
class World:
    """Three stores, the ledger, and what projects were ever given. A move copies first and removes afterwards."""

    landing: dict[str, Original] = field(default_factory=dict)
    holdout: dict[str, Original] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    given: set[str] = field(default_factory=set)

    def all(self) -> dict[str, Original]:
        here = {f"landing/{place}": original for place, original in self.landing.items()}
        there = {f"holdout/{place}": replace(each, side=Side.HOLDOUT) for place, each in self.holdout.items()}
        return here | there

    def split(self, by: Rule, killed_after: int | None) -> bool:
        done = split(self.ledger, self.all(), by)
        self.ledger = ledger_from(json.loads(json.dumps(done.ledger.to_document(KEY))), KEY)
        steps = [(place, side, step) for place, side in done.moves.items() for step in ("copy", "remove")]
        for place, side, step in steps[:killed_after]:
            store, name = place.split("/")
            source = self.landing if store == "landing" else self.holdout
            if step == "copy" and side is Side.HOLDOUT:
                self.holdout[name] = source[name]
            elif step == "remove":
                del source[name]
        return killed_after is None or killed_after >= len(steps)


def related(originals: dict[str, Original]) -> list[set[str]]:
    """People by another way than the rules': grown until nothing is added."""
    groups: list[set[str]] = [{place} for place in originals]

    def one(a: str, b: str) -> bool:
        x, y = originals[a].names, originals[b].names
        records = not x.told and not y.told and bool(x.sought & y.sought)
        return bool(x.told & y.sought or y.told & x.sought) or records

    while True:
        pairs = ((a, b) for a in groups for b in groups if a is not b)
        joining = next(((a, b) for a, b in pairs if any(one(x, y) for x in a for y in b)), None)
        if joining is None:
            break
        groups = [each for each in groups if each not in joining] + [joining[0] | joining[1]]
    return groups


@settings(max_examples=100, deadline=None)
@given(events=EVENTS)
def test_no_person_is_ever_on_both_sides_and_none_who_was_given_becomes_hold_out(events: list[object]) -> None:
    world, every, names = World(), dict[str, Original](), 0
    for event in [*events, (20, set(), None)]:
        if isinstance(event, Original):
            names += 1
            world.landing[str(names)] = every[str(names)] = event
            continue
        assert isinstance(event, tuple)
        share, centres, killed_after = event
        if not world.split(rule(share, *centres), killed_after):
            continue  # no project is given anything before a split is done
        world.given |= set(world.landing)
        for person in related(every):
            assert not (person & set(world.landing) and person & set(world.holdout))
            assert not (person & world.given and person & set(world.holdout))
        assert not any(original.centre in world.ledger.centres for original in world.landing.values())


@settings(max_examples=60, deadline=None)
@given(arrivals=st.lists(ARRIVALS, max_size=10), shuffled=st.data(), shares=st.tuples(*[st.integers(0, 100)] * 2))
def test_order_does_not_matter_and_another_share_concerns_new_people(
    arrivals: list[Original], shuffled: st.DataObject, shares: tuple[int, int]
) -> None:
    originals = {str(number): original for number, original in enumerate(arrivals)}
    done = split(Ledger(), originals, rule(shares[0], "XYZ"))
    mixed = shuffled.draw(st.permutations(list(originals.items())))
    other = split(Ledger(), dict(mixed), rule(shares[0], "XYZ"))
    assert other.moves == done.moves
    assert other.ledger.to_document(KEY) == done.ledger.to_document(KEY)
    again = split(done.ledger, apply(originals, done), rule(shares[1]))
    assert again.moves == {}
    assert again.ledger.to_document(KEY) == done.ledger.to_document(KEY)
    assert again.new == {Side.HOLDOUT: 0, Side.OPEN: 0}


def test_the_draw_takes_its_share() -> None:
    originals = {str(number): image(f"RXH{number}", study=str(number)) for number in range(2000)}
    assert split(Ledger(), originals, rule(0)).moves == {}
    assert len(split(Ledger(), originals, rule(100)).moves) == 2000
    assert 330 < len(split(Ledger(), originals, rule(20)).moves) < 470
    less, more = (set(split(Ledger(), originals, rule(share)).moves) for share in (20, 30))
    assert less < more
    other = Rule(key=SplitKey(b"o" * 32), share=20)
    assert len(less & set(split(Ledger(), originals, other).moves)) < 130  # another key, other people


def test_many_names_do_not_make_hold_out_likelier() -> None:
    originals = {str(n): image(*(f"RXH{n}-{m}" for m in range(9)), study=str(n)) for n in range(2000)}
    assert 330 < len(split(Ledger(), originals, rule(20)).moves) < 470


def test_a_person_seen_at_a_held_out_centre_is_hold_out_everywhere() -> None:
    originals = {
        "here": image(NUMBERS[0], study="1"),
        "there": image(NUMBERS[0], study="2", centre="XYZ"),
        "record": record(NUMBERS[0], centre="LMN"),
        "else": image(NUMBERS[1], study="3"),
    }
    done = split(Ledger(), originals, rule(0, "XYZ"))
    assert done.moves == dict.fromkeys(("here", "there", "record"), Side.HOLDOUT)
    assert done.new == {Side.HOLDOUT: 1, Side.OPEN: 1}


def test_whoever_was_given_to_a_project_is_open_and_a_held_out_centres_studies_go_to_neither() -> None:
    originals = {
        "here": image(NUMBERS[0], study="1", released=True),
        "there": image(NUMBERS[0], study="2", centre="XYZ"),
        "only": image(NUMBERS[1], study="3", centre="XYZ", released=True),
    }
    done = split(Ledger(), originals, rule(100, "XYZ"))
    assert done.moves == {"there": Side.APART, "only": Side.APART}
    late = {"late": image(NUMBERS[1], study="4"), "there": image(NUMBERS[0], study="5", centre="XYZ")}
    assert split(done.ledger, late, rule(100)).moves == {"there": Side.APART}  # a centre once held out stays so


def test_two_who_prove_to_be_one_leave_the_hold_out_if_a_project_may_have_either() -> None:
    first = split(Ledger(), {"a": image("RXH1", study="1")}, rule(100))
    second = split(first.ledger, {"b": image("RXH2", study="2")}, rule(0))
    assert {person.side for person in second.ledger.people} == {Side.HOLDOUT, Side.OPEN}
    lies = {
        "a": replace(image("RXH1", study="1"), side=Side.HOLDOUT),
        "b": image("RXH2", study="2"),
        "both": image("RXH1", "RXH2", study="3"),
    }
    third = split(second.ledger, lies, rule(100))
    assert third.moves == {"a": Side.APART}
    assert [person.side for person in third.ledger.people] == [Side.OPEN]


def test_a_record_alone_is_decided_once_and_its_images_follow() -> None:
    done = split(Ledger(), {"r": record("RXH1")}, rule(0))
    later = {"r": record("RXH1"), "again": record("rxh-1"), "image": image("RXH1", study="1", issuer="A")}
    assert split(done.ledger, later, rule(100)).moves == {}
    assert len(split(Ledger(), later, rule(100)).ledger.people) == 1


def test_a_word_for_no_number_makes_nobody_one_person() -> None:
    originals = {str(number): image("UNKNOWN", study=str(number)) for number in range(5)}
    assert len(split(Ledger(), originals, rule()).ledger.people) == 5


def test_a_ledger_is_read_with_its_own_key_and_tells_nothing() -> None:
    done = split(Ledger(), {"a": image(NUMBERS[0], study="1")}, rule(100, "XYZ"))
    document = done.ledger.to_document(KEY)
    assert NUMBERS[0] not in json.dumps(document)
    assert "nhs" not in json.dumps(document)
    assert "RXH" not in repr(done.ledger) + repr(done.ledger.people) + repr(KEY)
    with pytest.raises(Refused, match="another key"):
        ledger_from(document, SplitKey(b"o" * 32))
    wrong = [{}, {**document, "more": 1}, {**document, "schema": "v0"}, {**document, "people": [{"side": "open"}]}]
    apart = {"side": "apart", "sought": [], "told": []}
    for off in [*wrong, {**document, "people": [apart]}, [], None]:
        with pytest.raises(ValueError, match=r"no ledger|another schema|no person"):
            ledger_from(off, KEY)
    with pytest.raises(WrongSetUp, match="31 bytes"):
        SplitKey(b"x" * 31)
