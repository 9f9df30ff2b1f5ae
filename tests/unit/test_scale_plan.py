"""The scale plan: nothing gets lost, more workers are never later, and its page says what the script says now."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from readingroom.domain.errors import WrongSetUp
from tests.bench.scale.__main__ import HERE, made
from tests.bench.scale.plan import HOUR, POLICIES, YEAR_WEEKS, plan_from
from tests.bench.scale.simulate import Shard, shards_of, simulate, waiting

PLAN = plan_from()
README = (HERE.parents[2] / "README.md").read_text(encoding="utf-8")

gaps = st.lists(st.tuples(st.floats(0, 5 * HOUR), st.floats(1, 9 * HOUR)), min_size=1, max_size=40)
stops = st.tuples(st.floats(0, 20 * HOUR), st.floats(0, 20 * HOUR)).map(lambda pair: (pair[0], sum(pair)))


def shards(told: list[tuple[float, float]]) -> list[Shard]:
    found, now = [], 0.0
    for gap, seconds in told:
        now += gap
        found.append(Shard(arrived=now, instances=len(found) + 1, megabytes=1.0, seconds=seconds))
    return found


@given(gaps, st.integers(1, 6), st.integers(1, 6), stops)
def test_more_workers_are_never_later(
    told: list[tuple[float, float]], workers: int, more: int, stop: tuple[float, float]
) -> None:
    work = shards(told)
    few, many = simulate(work, workers, stop), simulate(work, workers + more, stop)
    assert all(one.began >= other.began for one, other in zip(few, many, strict=True))


@given(gaps, st.integers(1, 6), stops)
def test_each_shard_is_done_once_after_it_came_by_no_more_workers_than_there_are_and_none_begins_in_the_stop(
    told: list[tuple[float, float]], workers: int, stop: tuple[float, float]
) -> None:
    done = simulate(work := shards(told), workers, stop)
    assert [each.shard for each in done] == work
    for each in done:
        assert each.began >= each.shard.arrived
        assert each.ended == each.began + each.shard.seconds
        assert not stop[0] <= each.began < stop[1]
        assert sum(other.began <= each.began < other.ended for other in done) <= workers


@given(gaps, st.integers(1, 6))
def test_what_arrived_waits_or_is_done_and_in_the_end_nothing_waits(
    told: list[tuple[float, float]], workers: int
) -> None:
    done = simulate(shards(told), workers)
    hours = int(max(each.ended for each in done) // HOUR) + 2
    queue = waiting(done, hours)
    for hour in range(hours):
        arrived = sum(each.shard.instances for each in done if int(each.shard.arrived // HOUR) <= hour)
        ended = sum(each.shard.instances for each in done if int(each.ended // HOUR) + 1 <= hour)
        assert queue[hour] == arrived - ended
    assert queue[-1] == 0


def test_a_backlog_of_equal_shards_ends_when_arithmetic_says() -> None:
    work = [Shard(arrived=0.0, instances=1, megabytes=1.0, seconds=10.0)] * 25
    assert max(each.ended for each in simulate(work, 4)) == 70.0


@pytest.mark.parametrize("scenario", PLAN.scenarios, ids=lambda scenario: scenario.name)
def test_every_study_of_the_plan_is_in_one_shard_within_its_bounds(scenario: Any) -> None:
    work = shards_of(PLAN, scenario)
    times = (scenario.weeks or YEAR_WEEKS) / YEAR_WEEKS
    expected = {kind: int(count * times) for kind, count in scenario.studies.items()}
    assert sum(shard.instances for shard in work) == sum(
        count * PLAN.modalities[kind].instances for kind, count in expected.items()
    )
    assert sum(shard.megabytes for shard in work) == pytest.approx(
        sum(count * PLAN.modalities[kind].megabytes for kind, count in expected.items())
    )
    assert max(shard.instances for shard in work) <= PLAN.value("engine", "shard_instances")
    assert max(shard.megabytes for shard in work) <= PLAN.value("engine", "shard_megabytes") + 1e-6
    assert [shard.arrived for shard in work] == sorted(shard.arrived for shard in work)


def test_the_page_and_the_picture_are_what_the_plan_gives_now() -> None:
    for name, text in made().items():
        assert (HERE / name).read_text(encoding="utf-8") == text, f"{name} is stale: run make plan"


def test_what_counts_as_measured_here_is_what_the_readme_says_was_measured() -> None:
    match = re.search(r"(\d+) instances a second with one job, (\d+)\s+with two", README)
    assert match
    assert [int(each) for each in match.groups()] == [PLAN.value("engine", "slices"), PLAN.value("engine", "two_jobs")]
    assert "tests/bench/scale/README.md" in README


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(more=1),
        lambda d: d["engine"].update(gpu=d["engine"]["films"]),
        lambda d: d["engine"]["slices"].update(basis="guessed"),
        lambda d: d["engine"]["slices"].pop("source"),
        lambda d: d["engine"]["slices"].update(value=0),
        lambda d: d["scenarios"]["national"].update(at_once=True),
        lambda d: d["scenarios"]["nccid"].pop("at_once"),
        lambda d: d["week"]["hours"].append(1),
    ],
)
def test_a_plan_that_is_off_is_refused(change: Callable[[dict[str, Any]], None], tmp_path: Path) -> None:
    document = yaml.safe_load((POLICIES / "scale" / "plan.yaml").read_text(encoding="utf-8"))
    change(document)
    file = tmp_path / "plan.yaml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    with pytest.raises(WrongSetUp, match="scale plan"):
        plan_from(file)
