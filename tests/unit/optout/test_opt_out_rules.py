"""Who is found under which name, and what follows for which file. `data.md` section 11."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readingroom.domain.deid.elements import Element
from readingroom.domain.deid.identity import is_nhs_number
from readingroom.domain.deid.outcome import FileRejected, Reason
from readingroom.domain.errors import Refused, WrongSetUp
from readingroom.domain.opt_out import (
    MOST_IDENTIFIERS,
    NOBODY,
    Answer,
    Names,
    OptOuts,
    barred,
    joined,
    listed,
    names_from,
    names_in,
    names_of,
    nhs_number,
    opt_outs_of,
)
from tests.unit.optout.people import ONE, THREE, TWO, opted_out, spaced

TODAY = date(2026, 3, 9)
OUT, HELD = Reason.OPTED_OUT, Reason.OPT_OUT_UNKNOWN
SPELLINGS = (ONE, spaced(ONE), f" {ONE} ", ONE[:3] + "-" + ONE[3:6] + "-" + ONE[6:], f"{ONE}^^^NHS^NH", f"NHS {spaced(ONE)}",
             f"NHS No. {ONE}", f"nhs number: {spaced(ONE)}", f"NHS{ONE}", f"{ONE[:3]}.{ONE[3:6]}.{ONE[6:]}")  # fmt: skip
LOCAL_SPELLINGS = ("RXH0012345", "rxh0012345", "RXH 0012345", "RXH-0012345", " RXH/0012345")


def of(*identifiers: str | tuple[str, str], study: str = "") -> Names:
    """The names of a file that gives these identifiers, each alone or with its issuer."""
    said = [names_of(each) if isinstance(each, str) else names_of(*each) for each in identifiers]
    key = frozenset({f"study:{study}"}) if study else frozenset()
    return joined([*said, Names(sought=key, told=key)])


@pytest.mark.parametrize("written", SPELLINGS)
def test_an_nhs_number_is_found_in_any_spelling(written: str) -> None:
    assert barred({"f": of(written)}, opted_out(ONE)) == {"f": OUT}
    assert barred({"f": of(ONE)}, opted_out(written)) == {"f": OUT}
    assert barred({"f": of(TWO)}, opted_out(written)) == {}


@pytest.mark.parametrize("written", LOCAL_SPELLINGS)
def test_a_hospitals_number_is_found_in_any_spelling_and_under_any_issuer(written: str) -> None:
    for said in ("RXH0012345", ("RXH0012345", "RXH"), (written, "Another")):
        assert barred({"f": of(said)}, opted_out(written)) == {"f": OUT}
    assert barred({"f": of("RXH0012346")}, opted_out(written)) == {}


# what two files say, and whether the second goes when the first one's NHS number is listed
LINKS: dict[str, tuple[Names, Names, bool]] = {
    "another patient": (of(ONE, "H1"), of("H2"), False),
    "the same local number": (of(ONE, "H1"), of("H1"), True),
    "the same, otherwise spelled": (of(ONE, "H-1"), of("h1"), True),
    "of the same issuer": (of(ONE, ("H1", "A")), of(("H1", "A")), True),
    "of another issuer": (of(ONE, ("H1", "A")), of(("H1", "B")), False),
    "of an issuer, and of none": (of(ONE, ("H1", "A")), of("H1"), True),
    "of no issuer, and of one": (of(ONE, "H1"), of(("H1", "B")), True),
    "the same study": (of(ONE, study="1.2"), of("H9", study="1.2"), True),
    "another study": (of(ONE, study="1.2"), of("H9", study="1.3"), False),
    "a word for no number": (of(ONE, "UNKNOWN"), of("UNKNOWN"), False),
    "noughts": (of(ONE, "0000000"), of("0000000"), False),
    "a study named like a number": (of(ONE, study="H9"), of("H9"), False),
    "letters of another script": (of(ONE, "Ω1"), of("Ω2"), False),
    "the same in another script": (of(ONE, "Ω1"), of("Ω1"), True),
    "signs alone": (of(ONE, "--"), of("//"), False),
    "nothing": (of(ONE, ""), of(""), False),
}


@pytest.mark.parametrize("name", sorted(LINKS))
def test_other_names_of_the_same_person_let_nothing_through(name: str) -> None:
    first, second, goes = LINKS[name]
    for files in ({"a": first, "b": second}, {"b": second, "a": first}):
        assert barred(files, opted_out(ONE)) == {"a": OUT, **({"b": OUT} if goes else {})}


def test_names_lead_on_however_many_files_lie_between() -> None:
    files = {f"{number}": of(f"H{number}", f"H{number + 1}") for number in range(500)}
    files["last"] = of("H500", study="1.2")
    files["beyond"] = of("K1", study="1.2")
    files["other"] = of("K2", study="1.3")
    assert barred(files, opted_out("H0")).keys() == files.keys() - {"other"}
    assert barred(files, opted_out("K1")).keys() == files.keys() - {"other"}
    assert barred(files, NOBODY) == {}


# who is meant, what was asked, what is listed → the answer to a file
GRID: dict[str, tuple[Names, OptOuts, Reason | None]] = {
    "nobody asked, nobody listed": (of(ONE), NOBODY, None),
    "asked and free": (of(ONE), opted_out(asked=(ONE,)), None),
    "asked, not free": (of(ONE), OptOuts(opted_out=frozenset({f"nhs:{ONE}"}), asked=frozenset({f"nhs:{ONE}"})), OUT),
    "not asked": (of(ONE), opted_out(asked=(TWO,)), HELD),
    "nothing asked": (of(ONE), opted_out(asked=()), HELD),
    "asked and free, but listed": (of(ONE), opted_out(ONE, asked=(ONE,)), OUT),
    "not asked, but listed": (of(ONE), opted_out(ONE, asked=(TWO,)), OUT),
    "one number free, one not asked": (of(ONE, TWO), opted_out(asked=(ONE,)), HELD),
    "one number not asked, one listed": (of(ONE, TWO), opted_out(TWO, asked=()), OUT),
    "a local number, nobody asks about it": (of("H1"), opted_out(asked=(ONE,)), None),
    "a local number that is listed": (of("H1"), opted_out("H1", asked=()), OUT),
    "a number that fails the check is a local one": (of("9991246925"), opted_out(asked=()), None),
    "and may be listed as such": (of("9991246925"), opted_out("local:999 124 6925"), OUT),
    "ten times a digit is no number": (of("1111111111"), opted_out(asked=()), None),
    "no name at all": (Names(), opted_out(ONE, asked=()), None),
}


@pytest.mark.parametrize("name", sorted(GRID))
def test_the_grid(name: str) -> None:
    names, opt_outs, wanted = GRID[name]
    assert barred({"f": names}, opt_outs) == ({"f": wanted} if wanted else {})


def test_of_a_person_about_whom_nobody_asked_everything_is_held() -> None:
    files = {"a": of(ONE, "H1"), "b": of("H1", study="1.2"), "c": of(TWO, study="1.2"), "d": of(THREE)}
    found = barred(files, opted_out(asked=(TWO, THREE)))
    assert found == dict.fromkeys("abc", HELD)
    assert barred(files, opted_out(TWO, asked=(THREE,))) == dict.fromkeys("abc", OUT)


SMALL = st.builds(
    of,
    st.sampled_from([ONE, TWO, spaced(TWO), "H1", "h-1", "H2", ("H1", "A"), ("H1", "B"), "UNKNOWN"]),
    st.sampled_from([THREE, "H3", ("H2", "A"), "", "0"]),
    study=st.sampled_from(["", "1.1", "1.2", "1.3"]),
)


@given(
    files=st.lists(SMALL, max_size=7).flatmap(
        lambda found: st.tuples(st.just(found), st.permutations(range(len(found))))
    ),
    out=st.sets(st.sampled_from([ONE, TWO, "H1", "H3"])),
    asked=st.none() | st.sets(st.sampled_from([ONE, TWO, THREE])).map(tuple),
)
def test_no_order_matters_and_tokens_answer_as_names_do(
    files: tuple[list[Names], Sequence[int]], out: set[str], asked: tuple[str, ...] | None
) -> None:
    names, order = files
    opt_outs = opted_out(*out, asked=asked)
    answer = barred({str(number): each for number, each in enumerate(names)}, opt_outs)
    assert barred({str(number): names[number] for number in order}, opt_outs) == answer
    token = "<{}>".format
    ways = (names_from(each.known_as(token).to_document()) for each in names)
    assert barred({str(number): each for number, each in enumerate(ways)}, opt_outs.known_as(token)) == answer
    for number, each in enumerate(names):  # whoever is let in shares no name with whoever is not
        if str(number) not in answer:
            assert not any(each.sought & names[int(gone)].told for gone in answer)
            assert not each.sought & opt_outs.opted_out


@given(digits=st.integers(0, 999_999_999).map(lambda number: f"{number:09d}"))
def test_of_ten_numbers_that_begin_alike_one_at_most_is_an_nhs_number(digits: str) -> None:
    found = [f"{digits}{last}" for last in range(10) if nhs_number(f"{digits}{last}")]
    assert len(found) <= 1
    for number in found:
        assert (10 * int(number[0]) + sum(int(d) * (10 - at) for at, d in enumerate(number) if at)) % 11 == 0
        assert nhs_number(f" {spaced(number)}") == number


@pytest.mark.parametrize(
    "line", ["", "999124692", "99912469244", "9991246925", "9991246924x", "９９９１２４６９２４", "1111111111"]
)
def test_what_is_no_nhs_number_is_none(line: str) -> None:
    assert nhs_number(line) is None


@pytest.mark.parametrize(
    "line", ["9991246925", "999 124 6925", "NHS 999-124-6925", "--", "local:", "Ω", "a\tb", "x" * 65, "a\0b"]
)
def test_a_line_of_the_local_list_that_is_no_identifier_or_a_mistyped_number_is_none(line: str) -> None:
    assert listed(line) is None


def test_a_local_list_may_name_what_links_nothing() -> None:
    assert barred({"a": of("UNKNOWN"), "b": of(("unknown", "A")), "c": of("NONE")}, opted_out("Unknown")).keys() == {
        "a",
        "b",
    }


def answer(days: int, asked: str, free: str) -> Answer:
    numbers = {"1": ONE, "2": TWO, "3": THREE}
    day = TODAY - timedelta(days=days)
    return Answer(day=day, asked=frozenset(numbers[c] for c in asked), free=frozenset(numbers[c] for c in free))


# answers by their age → who is out, who is covered
ANSWERS: dict[str, tuple[list[Answer], str, str]] = {
    "of today": ([answer(0, "12", "1")], "2", "12"),
    "seven days old": ([answer(7, "12", "2")], "1", "12"),
    "nobody is free": ([answer(0, "12", "")], "12", "12"),
    "everybody is": ([answer(0, "12", "12")], "", "12"),
    "the newest counts": ([answer(3, "12", "12"), answer(1, "2", "")], "2", "12"),
    "also when it frees": ([answer(1, "2", "2"), answer(3, "12", "1")], "", "12"),
    "what is too old counts no more": ([answer(8, "3", ""), answer(1, "1", "1")], "", "1"),
    "a question of nobody": ([answer(0, "", "")], "", ""),
}


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_absent_from_an_answer_that_covers_a_number_means_opted_out(name: str) -> None:
    answers, out, covered = ANSWERS[name]
    numbers = {"1": f"nhs:{ONE}", "2": f"nhs:{TWO}", "3": f"nhs:{THREE}"}
    for order in (answers, answers[::-1]):
        found = opt_outs_of(order, {"*:h1"}, TODAY)
        assert found.opted_out == {"*:h1", *(numbers[c] for c in out)}
        assert found.asked == {numbers[c] for c in covered}


def test_without_an_answer_nobody_was_asked() -> None:
    assert opt_outs_of([], set(), TODAY) == NOBODY


def test_answers_that_are_all_too_old_refuse_the_run_and_one_of_a_day_to_come_is_wrong() -> None:
    with pytest.raises(Refused, match="older than 7 days") as refused:
        opt_outs_of([answer(8, "1", "1"), answer(20, "2", "2")], set(), TODAY)
    assert refused.value.exit_status == 3
    assert "2026-03-01" in str(refused.value)
    with pytest.raises(WrongSetUp, match="to come"):
        opt_outs_of([answer(0, "1", "1"), answer(-1, "1", "1")], set(), TODAY)


def element(tag: int, value: str = "", items: list[list[Element]] | None = None) -> Element:
    return Element(tag=tag, vr="LO", at=0, length=len(value), value=value.encode(), items=items)


def test_identifiers_count_at_any_depth_and_no_file_gives_more_than_any_patient_has() -> None:
    inner = [element(0x00100020, spaced(ONE)), element(0x00100021, "NHS")]
    other = element(0x00101002, items=[[element(0x00100020, "H1"), element(0x00100021, "A")], inner])
    deep = element(0x00081110, items=[[element(0x00081250, items=[[element(0x00100020, "H4")]])]])
    found = names_in([element(0x00100020, "H2 "), element(0x00101000, "H3\\H5"), other, deep], "1.2")
    assert found == of("H2", "H3", "H5", ("H1", "A"), ONE, "H4", study="1.2")
    many = element(0x00101002, items=[[element(0x00100020, f"H{number}")] for number in range(MOST_IDENTIFIERS + 1)])
    with pytest.raises(FileRejected, match="over-limit"):
        names_in([many], "1.2")


def test_names_and_numbers_show_themselves_to_nobody() -> None:
    shown = repr([of(ONE), opted_out(ONE, "H1"), answer(0, "1", "1")])
    assert not re.search(r"\d{10}|h1", shown)


def test_the_invented_numbers_are_numbers() -> None:
    assert all(is_nhs_number(number) for number in (ONE, TWO, THREE))
