"""What is read of a submission, what is told of a run, and what many questions come to."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readingroom.adapters.json_schema import fault_in
from readingroom.domain.errors import Refused, TryAgain
from readingroom.domain.evaluation.answer import answered, bits, failed, hidden_of
from readingroom.domain.evaluation.budget import Spent, check_can_ask, left
from readingroom.domain.evaluation.figures import Judged
from readingroom.domain.evaluation.plan import plan_from
from readingroom.domain.evaluation.predictions import Reason, Unusable, largest, predictions_from
from tests.unit.evaluation.plans import ASKED, DOCUMENT, guesses, people, plan

CASES = frozenset({"0" * 16, "1" * 16})
GOOD = "case,a,b\n0000000000000000,0.5,1\n1111111111111111,0.25001,1e-3\n"
SCHEMA: Any = json.loads(
    (Path(__file__).parents[3] / "policies" / "schema" / "evaluation-report.schema.json").read_text()
)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def read(text: str | bytes) -> Mapping[str, Any]:
    content = text if isinstance(text, bytes) else text.encode()
    return predictions_from(content, ["a", "b"], CASES, 3)


def test_numbers_are_rounded_before_anybody_looks() -> None:
    assert read(GOOD) == {"0" * 16: [0.5, 1.0], "1" * 16: [0.25, 0.001]}
    assert read(GOOD.replace("\n", "\r\n")) == read(GOOD.rstrip("\n")) == read(GOOD)
    assert read(GOOD.replace("0.5,", "0.50000000001234567,")) == read(GOOD)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        GOOD.replace("case,a,b", "case,a,b,note"),
        GOOD.replace("case,a,b", "case,b,a"),
        GOOD.replace("0.5,", "nan,"),
        GOOD.replace("0.5,", "inf,"),
        GOOD.replace("0.5,", "-0.1,"),
        GOOD.replace("0.5,", "1.001,"),
        GOOD.replace("0.5,", "1e999,"),
        GOOD.replace("0.5,", ","),
        GOOD.replace("0.5,", " 0.5,"),
        GOOD.replace("0.5,", '"0.5",'),
        GOOD.replace("0.5,", "yes,"),
        GOOD.replace("0.5,", f"0.5{'0' * 40},"),
        GOOD.replace("0.5,", "٠.٥,"),
        GOOD.replace("0.5,1", "0.5"),
        GOOD.replace("0.5,1", "0.5,1,1"),
        GOOD + "2222222222222222,0,0\n",
        GOOD + "0000000000000000,0.5,1\n",
        GOOD + "\n",
        GOOD + "# done\n",
        GOOD.encode() + b"\xff",
        GOOD.encode().replace(b"\n", b"\x00\n"),
    ],
)
def test_whatever_is_not_as_asked_is_nothing(text: str | bytes) -> None:
    with pytest.raises(Unusable) as found:
        read(text)
    assert found.value.reason is Reason.MALFORMED


def test_a_case_left_out_is_nothing_too() -> None:
    with pytest.raises(Unusable) as found:
        read(GOOD.rsplit("\n", 2)[0])
    assert found.value.reason is Reason.INCOMPLETE


@given(st.binary(max_size=300) | st.text(alphabet="case,ab01.e-\n\r +", max_size=300).map(str.encode))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        found = read(content)
    except Unusable:
        return
    assert found.keys() == CASES
    assert all(0 <= number <= 1 for numbers in found.values() for number in numbers)


def test_more_bytes_than_predictions_can_have_are_not_looked_at() -> None:
    with pytest.raises(Unusable):
        read(b"case,a,b\n" * (largest(2, 2) // 9 + 1))


def report(number: int = 200, **changes: Any) -> dict[str, Any]:
    rows = people(number)
    made = answered(ASKED, plan(**changes), rows, guesses(rows))
    return json.loads(json.dumps(made))  # type: ignore[no-any-return]


def test_a_report_follows_its_schema_and_has_no_case_in_it() -> None:
    for made in (report(), report(groups={}), report(60), json.loads(json.dumps(failed(ASKED, Reason.FAILED)))):
        assert fault_in(made, SCHEMA) is None
    assert fault_in({**report(), "note": "x"}, SCHEMA) is not None
    assert fault_in({**report(), "outcome": "failed"}, SCHEMA) is not None
    assert not any(case in json.dumps(report()) for case in people(200))


def test_counts_are_rounded_down_and_a_row_without_an_answer_is_no_case() -> None:
    rows = people(200)
    positives = sum(row["status"] == "1" for row in rows.values())
    silent = {f"{case:016x}": {"status": "", "sex": "F", "age": "50"} for case in range(900, 950)}
    made = answered(ASKED, plan(), {**rows, **silent}, guesses(rows))
    overall = made["tasks"]["covid"]["overall"]
    assert overall["positives"] == positives // 10 * 10
    assert overall["negatives"] == (200 - positives) // 10 * 10
    assert overall["cases"] == overall["positives"] + overall["negatives"]


groups = st.dictionaries(
    st.sampled_from(["", "a", "b", "c", "d"]),
    st.tuples(st.integers(0, 30), st.integers(0, 30)),
    min_size=1,
).map(lambda each: {name: [Judged(0, True)] * p + [Judged(0, False)] * n for name, (p, n) in each.items()})


@given(groups)
def test_a_shown_group_is_large_and_what_is_hidden_is_nobody_or_large_together(found: dict[str, list[Judged]]) -> None:
    hidden = hidden_of(found, 10)

    def least(cases: list[Judged]) -> int:
        return min(sum(case.positive for case in cases), sum(not case.positive for case in cases))

    assert all(least(cases) >= 10 for name, cases in found.items() if name not in hidden)
    assert "" not in found or "" in hidden
    together = [case for name in hidden for case in found[name]]
    assert not together or least(together) >= 10 or hidden == found.keys()


def test_a_small_group_takes_another_one_with_it() -> None:
    rows = people(300)
    for number, row in enumerate(rows.values()):
        row["sex"] = "F" if number < 12 else "M"
    found = answered(ASKED, plan(), rows, guesses(rows))["tasks"]["covid"]["groups"]["sex"]
    assert found == {"F": {"hidden": True}, "M": {"hidden": True}}


def test_groups_by_bounds_have_each_number_once() -> None:
    ages = plan().groupings[1]
    assert ages.levels() == ["below 40", "40 to 59", "60 and over"]
    assert [ages.level({"age": age}) for age in ("0", "39", "40", "59", "60", "90")] == [
        "below 40", "below 40", "40 to 59", "40 to 59", "60 and over", "60 and over",
    ]  # fmt: skip
    assert [ages.level({"age": age}) for age in ("", "x", "-1", "²", "4.5")] == [None] * 5


def test_a_plan_that_contradicts_itself_is_none() -> None:
    both = {"covid": {**DOCUMENT["tasks"]["covid"], "negative": ["0", "1"]}}
    for changes in ({"tasks": both}, {"groups": {"age": {"column": "age", "bounds": [60, 40]}}}):
        with pytest.raises(ValueError, match=r"tasks\.|groups\."):
            plan_from({**DOCUMENT, **changes}, "1" * 64)


def told(made: Any) -> list[Any]:
    """Every value of a report that may differ from run to run."""
    if isinstance(made, dict):
        return [leaf for key, value in sorted(made.items()) if not key.endswith("sha256") for leaf in told(value)]
    return [leaf for value in made for leaf in told(value)] if isinstance(made, list) else [made]


def test_there_are_no_more_answers_than_the_bits_say() -> None:
    """Counted where it can be: one task, nothing but the overall figures, of two kinds of cases ten each."""
    small = plan(groups={}, telling={"smallest": 10, "blur": 5, "step": 0.5})
    rows = {f"{case:016x}": {"status": str(case % 2)} for case in range(20)}
    chance = random.Random(1)  # noqa: S311 (made-up cases)
    seen = set()
    for _ in range(3000):
        scores = {case: [chance.choice((0.0, 0.4, 0.6, chance.random(), 1.0))] for case in rows}
        seen.add(json.dumps(told(answered(ASKED, small, rows, scores))))
    assert len(seen) > 3
    assert math.log2(len(seen) + len(Reason)) <= bits(small)


def test_the_labels_cannot_be_asked_out_one_by_one_or_in_halves() -> None:
    """Whoever asks all he may, each time about another half of the cases, knows little more than by guessing."""
    rows = people(400, share=0.5)
    budget = plan(budget={**DOCUMENT["budget"], "queries_in_all": 8, "bits_per_case": 0.25}).budget
    asking = plan(groups={}, telling={"smallest": 10, "blur": 5, "step": 0.02})
    names = sorted(rows)
    chance = random.Random(2)  # noqa: S311 (made-up cases)
    belief = dict.fromkeys(names, 0.0)
    spent: list[Spent] = []
    while left(budget, spent, NOW, bits(asking), len(rows)).in_all:
        spent.append(Spent(question=f"{len(spent):064x}", at=NOW, bits=bits(asking)))
        chosen = set(chance.sample(names, len(names) // 2))
        made = answered(ASKED, asking, rows, {name: [1.0 if name in chosen else 0.0] for name in names})
        more = made["tasks"]["covid"]["overall"]["auroc"]["value"] - 0.5
        for name in names:
            belief[name] += more if name in chosen else -more
    right = sum((belief[name] > 0) == (rows[name]["status"] == "1") for name in names)
    assert 1 <= len(spent) <= 8
    assert right / len(names) <= 0.5 + math.sqrt(sum(each.bits for each in spent) * math.log(2) / 2 / len(names)) + 0.02


def asked(number: int, *, hours: int = 1, cost: float = 10) -> list[Spent]:
    return [
        Spent(question=f"{place:064x}", at=NOW - timedelta(hours=hours * (place + 1)), bits=cost)
        for place in range(number)
    ]


def test_a_budget_is_of_days_of_all_and_of_bits() -> None:
    budget = plan().budget  # 2 in 30 days, 3 in all, 1 bit a case
    check_can_ask(budget, asked(1), NOW, 10, 100)
    with pytest.raises(Refused, match="none is left for now"):
        check_can_ask(budget, asked(2), NOW, 10, 100)
    check_can_ask(budget, asked(2, hours=24 * 30), NOW, 10, 100)
    with pytest.raises(Refused, match="nothing is left"):
        check_can_ask(budget, asked(3, hours=24 * 30), NOW, 10, 100)
    with pytest.raises(Refused, match="nothing is left"):
        check_can_ask(budget, asked(1), NOW, 10, 19)
    with pytest.raises(TryAgain, match="clock"):
        check_can_ask(budget, asked(1, hours=-1), NOW, 10, 100)


@given(st.lists(st.integers(0, 100), max_size=30), st.floats(1, 50), st.integers(1, 500))
def test_no_order_of_days_gives_more_than_the_plan(days: list[int], cost: float, cases: int) -> None:
    budget = plan().budget
    spent: list[Spent] = []
    for day in sorted(days):
        now = NOW + timedelta(days=day)
        try:
            check_can_ask(budget, spent, now, cost, cases)
        except Refused:
            continue
        spent.append(Spent(question="", at=now, bits=cost))
    assert len(spent) <= 3
    assert sum(each.bits for each in spent) <= cases + 1e-6
    for first, third in zip(spent, spent[2:], strict=False):
        assert third.at - first.at >= timedelta(days=30)
