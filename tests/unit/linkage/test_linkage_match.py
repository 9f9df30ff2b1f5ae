"""Who is joined: exactly alike, one on each side, and nothing that speaks against it; in any order, each record counted once."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readingroom.domain.linkage.match import Fate, Pair, match, shown
from readingroom.domain.linkage.tokens import Record, Side

token = st.none() | st.sampled_from("abcd")
people = st.lists(st.tuples(token, token), max_size=7)


def side(*told: tuple[str | None, str | None], name: str = "P") -> list[Record]:
    return [Record(reference=f"{name}{at}", number=n, demographics=d) for at, (n, d) in enumerate(told)]


def fates(
    ours: list[tuple[str | None, str | None]], theirs: list[tuple[str | None, str | None]]
) -> tuple[list[str], dict[Fate, int], dict[Fate, int]]:
    found = match(side(*ours), side(*theirs, name="Q"))
    joined = [f"{pair.project.reference}-{pair.partner.reference}" for pair in found.pairs]
    return joined, dict(found.fates[Side.PROJECT]), dict(found.fates[Side.PARTNER])


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        # a number joins, whatever the demographics say: people marry
        ([("1", "x")], [("1", "y")], (["P0-Q0"], {Fate.NUMBER: 1}, {Fate.NUMBER: 1})),
        # without a number on one side, demographics join
        ([(None, "x")], [("1", "x")], (["P0-Q0"], {Fate.DEMOGRAPHICS: 1}, {Fate.DEMOGRAPHICS: 1})),
        ([("1", "x")], [(None, "x")], (["P0-Q0"], {Fate.DEMOGRAPHICS: 1}, {Fate.DEMOGRAPHICS: 1})),
        ([(None, "x")], [(None, "x")], (["P0-Q0"], {Fate.DEMOGRAPHICS: 1}, {Fate.DEMOGRAPHICS: 1})),
        # two numbers that differ are two people, whatever they are called
        ([("1", "x")], [("2", "x")], ([], {Fate.CONTRADICTING: 1}, {Fate.CONTRADICTING: 1})),
        # twice on one side: nobody is joined
        ([("1", "x")], [("1", "x"), ("1", "y")], ([], {Fate.AMBIGUOUS: 1}, {Fate.DUPLICATE: 2})),
        ([("1", "x"), ("1", "y")], [("1", "x")], ([], {Fate.DUPLICATE: 2}, {Fate.AMBIGUOUS: 1})),
        ([(None, "x")], [(None, "x"), (None, "x")], ([], {Fate.AMBIGUOUS: 1}, {Fate.DUPLICATE: 2})),
        # one who is joined by number is nobody else's by demographics
        (
            [("1", "x"), (None, "x")],
            [("1", "x")],
            (["P0-Q0"], {Fate.NUMBER: 1, Fate.DUPLICATE: 1}, {Fate.NUMBER: 1}),
        ),
        (
            [("1", "z"), (None, "x")],
            [("1", "x")],
            (["P0-Q0"], {Fate.NUMBER: 1, Fate.AMBIGUOUS: 1}, {Fate.NUMBER: 1}),
        ),
        # a duplicate is nobody's by demographics either
        ([(None, "x")], [("1", "x"), ("1", "y")], ([], {Fate.AMBIGUOUS: 1}, {Fate.DUPLICATE: 2})),
        ([("1", "x")], [("2", "y")], ([], {Fate.ALONE: 1}, {Fate.ALONE: 1})),
        ([(None, None)], [("1", None)], ([], {Fate.UNUSABLE: 1}, {Fate.ALONE: 1})),
    ],
)
def test_the_rule(
    ours: list[tuple[str | None, str | None]],
    theirs: list[tuple[str | None, str | None]],
    expected: tuple[list[str], dict[Fate, int], dict[Fate, int]],
) -> None:
    assert fates(ours, theirs) == expected


@given(people, people, st.randoms(use_true_random=False))
def test_order_changes_nothing_every_record_has_one_fate_and_sides_may_be_exchanged(
    ours: list[tuple[str | None, str | None]], theirs: list[tuple[str | None, str | None]], chance: st.DataObject
) -> None:
    one, two = side(*ours), side(*theirs, name="Q")
    found = match(one, two)
    assert sum(found.fates[Side.PROJECT].values()) == len(one)
    assert sum(found.fates[Side.PARTNER].values()) == len(two)
    chance.shuffle(one)  # type: ignore[attr-defined]
    chance.shuffle(two)  # type: ignore[attr-defined]
    again, turned = match(one, two), match(two, one)
    assert (again.pairs, again.fates) == (found.pairs, found.fates)
    assert {(pair.partner, pair.project) for pair in turned.pairs} == {(p.project, p.partner) for p in found.pairs}
    assert turned.fates[Side.PROJECT] == found.fates[Side.PARTNER]


@given(people, people)
def test_nobody_is_joined_twice_and_what_is_joined_is_alike(
    ours: list[tuple[str | None, str | None]], theirs: list[tuple[str | None, str | None]]
) -> None:
    found = match(side(*ours), side(*theirs, name="Q"))
    for place in ("project", "partner"):
        assert max(Counter(getattr(pair, place) for pair in found.pairs).values(), default=1) == 1
    assert all(_alike(pair) for pair in found.pairs)
    joined = sum(found.fates[Side.PROJECT][fate] for fate in (Fate.NUMBER, Fate.DEMOGRAPHICS))
    assert joined == sum(found.fates[Side.PARTNER][fate] for fate in (Fate.NUMBER, Fate.DEMOGRAPHICS))
    assert joined == len(found.pairs)


def _alike(pair: Pair) -> bool:
    one, other = pair.project, pair.partner
    if pair.by is Fate.NUMBER:
        return one.number is not None and one.number == other.number
    return (
        one.demographics is not None and one.demographics == other.demographics and None in {one.number, other.number}
    )


def test_a_report_tells_no_count_under_ten_and_no_exact_one() -> None:
    assert [shown(count) for count in (0, 1, 9, 10, 14, 15, 1234)] == [None, None, None, 10, 10, 20, 1230]
