"""Figures beside other tools' (`judged.json`), intervals that hold what they promise, and no case that moves a figure alone."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readingroom.domain.evaluation import figures
from readingroom.domain.evaluation.figures import STEPS, Judged

JUDGED: Any = json.loads(Path(__file__).with_name("judged.json").read_text())


def cases(scores: list[float], labels: list[int]) -> list[Judged]:
    return [Judged(score, bool(label)) for score, label in zip(scores, labels, strict=True)]


@pytest.mark.parametrize("judged", JUDGED["sets"], ids=lambda each: f"{len(each['scores'])} cases")
def test_figures_are_those_of_scikit_learn(judged: Any) -> None:
    found = cases(judged["scores"], judged["labels"])
    assert figures.auroc(found) == pytest.approx(judged["auroc"], abs=1e-12)
    assert figures.brier(found) == pytest.approx(judged["brier"], abs=1e-12)
    assert figures.sensitivity(found, 0.5) == pytest.approx(judged["sensitivity"], abs=1e-12)
    assert figures.specificity(found, 0.5) == pytest.approx(judged["specificity"], abs=1e-12)
    assert figures.in_the_large(found) == pytest.approx(
        (sum(judged["scores"]) - sum(judged["labels"])) / len(found), abs=1e-12
    )


@pytest.mark.parametrize("judged", JUDGED["wilson"], ids=lambda each: f"{each['count']} of {each['of']}")
def test_wilsons_interval_is_that_of_statsmodels(judged: Any) -> None:
    assert figures.wilson(judged["count"] / judged["of"], judged["of"]) == pytest.approx(judged["interval"], abs=1e-9)


def test_the_interval_of_an_area_is_that_of_the_papers_own_example() -> None:
    low, high = figures.hanley_mcneil(0.893, 51, 58)  # their table: 0.893, standard error 0.032
    assert (high - low) / (2 * figures.Z) == pytest.approx(0.0325, abs=0.0005)


def test_ninety_five_in_a_hundred_told_intervals_hold_the_truth() -> None:
    chance = random.Random(5)  # noqa: S311 (made-up cases)
    held = dict.fromkeys(("auroc", "sensitivity", "brier", "large"), 0)
    runs = 400
    for _ in range(runs):
        # A positive is above a negative but when both lie between 0.5 and 0.75, and then half the time.
        found = [Judged(0.5 + chance.random() / 2, True) for _ in range(60)]
        found += [Judged(chance.random() * 0.75, False) for _ in range(60)]
        step = figures.step_for(60, 5, 0.02)
        area = figures.area_told(figures.auroc(found), step, 60, 60)
        share = figures.share_told(figures.sensitivity(found, 0.6), step, 60)
        score = figures.share_told(figures.brier(found), step, 120)
        large = figures.difference_told(figures.in_the_large(found), step, 120, score)
        held["auroc"] += area.low <= 1 - 1 / 12 <= area.high
        held["sensitivity"] += share.low <= 0.8 <= share.high
        held["brier"] += score.low <= (1 / 12 + 0.75**2 / 3) / 2 <= score.high
        held["large"] += large.low <= (0.75 + 0.375 - 1) / 2 <= large.high
    assert min(held.values()) >= 0.94 * runs, held


labelled = st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=20, max_size=60).filter(
    lambda each: 10 <= sum(label for _, label in each) <= len(each) - 10
)


@given(labelled, st.data())
def test_no_case_moves_a_figure_by_more_than_a_step(drawn: list[tuple[int, bool]], data: st.DataObject) -> None:
    before = [Judged(score / 20, label) for score, label in drawn]
    place = data.draw(st.integers(0, len(before) - 1))
    other = Judged(data.draw(st.integers(0, 20)) / 20, before[place].positive)
    after = [*before[:place], other, *before[place + 1 :]]
    least = min(sum(case.positive for case in before), sum(not case.positive for case in before))
    step = figures.step_for(least, 5, 0.01)
    for figure in (figures.auroc, figures.brier, figures.in_the_large):
        was, becomes = figure(before), figure(after)
        assert abs(was - becomes) <= step / 5 + 1e-9
        assert abs(figures.stepped(was, step) - figures.stepped(becomes, step)) <= step + 1e-9


@given(st.floats(0, 1), st.sampled_from(STEPS), st.integers(10, 5000))
def test_what_is_told_is_within_half_a_step_and_inside_its_interval(exact: float, step: float, count: int) -> None:
    for told in (figures.share_told(exact, step, count), figures.area_told(exact, step, count, count)):
        assert abs(told.value - exact) <= step / 2 + 1e-9
        assert told.low <= exact + 1e-9
        assert told.high >= exact - 1e-9
        assert 0 <= told.low <= told.high <= 1
    again = figures.share_told(figures.share_told(exact, step, count).value, step, count)
    assert again == figures.share_told(exact, step, count)  # the interval is of what is told, not of the exact figure


def test_a_single_case_that_is_picked_out_is_not_seen() -> None:
    for label in (True, False):
        found = [Judged(0.0, each) for each in [True] * 40 + [False] * 60] + [Judged(1.0, label)]
        step = figures.step_for(40, 5, 0.01)
        assert figures.stepped(figures.sensitivity(found, 0.5), step) == 0
        assert figures.stepped(figures.specificity(found, 0.5), step) == 1
        for finest in STEPS:
            assert figures.area_told(figures.auroc(found), max(step, finest), 40, 60).value == 0.5


def test_steps_grow_as_groups_shrink() -> None:
    assert [figures.step_for(least, 5, 0.02) for least in (5000, 250, 249, 100, 50, 25, 10)] == [
        0.02, 0.02, 0.05, 0.05, 0.1, 0.2, 0.5,
    ]  # fmt: skip
