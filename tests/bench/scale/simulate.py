"""Shards in a queue before workers: a deterministic simulation, event by event. Pure.

First come, first served; a shard is work for one core, as the Indexed Job gives each shard to one pod. A shard that is restarted
runs twice. While all stop, none begins; what has begun goes on. Nothing is drawn by chance: the same plan gives the same figures.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.bench.scale.plan import HOUR, YEAR_WEEKS, Plan, Scenario


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Whole studies that one worker takes."""

    arrived: float  # seconds after the beginning
    instances: int
    megabytes: float
    seconds: float  # of one core


@dataclass(frozen=True, kw_only=True)
class Done:
    """A shard with when it began and ended."""

    shard: Shard
    began: float
    ended: float


def shards_of(plan: Plan, scenario: Scenario) -> list[Shard]:
    """All work of a scenario: studies in groups that end before they grow over a shard's bounds; one study may be larger."""
    most, largest = plan.value("engine", "shard_instances"), plan.value("engine", "shard_megabytes")
    every = round(1 / plan.value("engine", "restarted"))
    found: list[Shard] = []
    for arrived, studies in _arrivals(plan, scenario):
        instances, megabytes, seconds = 0, 0.0, 0.0
        for kind in studies:
            study = plan.modalities[kind]
            if instances and (instances + study.instances > most or megabytes + study.megabytes > largest):
                found.append(_shard(arrived, instances, megabytes, seconds, again=not (len(found) + 1) % every))
                instances, megabytes, seconds = 0, 0.0, 0.0
            instances += study.instances
            megabytes += study.megabytes
            seconds += study.seconds
        if instances:
            found.append(_shard(arrived, instances, megabytes, seconds, again=not (len(found) + 1) % every))
    return found


def simulate(shards: Sequence[Shard], workers: int, stop: tuple[float, float] = (0.0, 0.0)) -> list[Done]:
    """Each shard goes to the worker that is free first."""
    free = [0.0] * workers
    done = []
    for shard in shards:
        began = max(shard.arrived, heapq.heappop(free))
        if stop[0] <= began < stop[1]:
            began = stop[1]
        done.append(Done(shard=shard, began=began, ended=began + shard.seconds))
        heapq.heappush(free, done[-1].ended)
    return done


def waiting(done: Sequence[Done], hours: int) -> list[int]:
    """Instances that arrived and are not done, at each full hour."""
    change = [0] * (hours + 1)
    for each in done:
        for moment, count in ((each.shard.arrived, each.shard.instances), (each.ended, -each.shard.instances)):
            change[min(hours, int(moment // HOUR) + (count < 0))] += count
    total, found = 0, []
    for count in change:
        total += count
        found.append(total)
    return found[:hours]


def _arrivals(plan: Plan, scenario: Scenario) -> Iterator[tuple[float, list[str]]]:
    """Studies by the hour, at its end; kinds spread evenly through each other, as a day's work is."""
    if not scenario.weeks:
        yield 0.0, _mixed(scenario.studies)
        return
    weights = plan.weights() * scenario.weeks
    total = sum(weights)
    here = {kind: studies * scenario.weeks // YEAR_WEEKS for kind, studies in scenario.studies.items()}
    sent = dict.fromkeys(here, 0)
    passed = 0
    for hour, weight in enumerate(weights, 1):
        passed += weight
        now = {kind: studies * passed // total - sent[kind] for kind, studies in here.items()}
        sent = {kind: sent[kind] + now[kind] for kind in here}
        yield hour * HOUR, _mixed(now)


def _mixed(studies: Mapping[str, int]) -> list[str]:
    """As many of each kind, evenly through each other."""
    places = [((number + 0.5) / count, kind) for kind, count in studies.items() for number in range(count)]
    return [kind for _, kind in sorted(places)]


def _shard(arrived: float, instances: int, megabytes: float, seconds: float, *, again: bool) -> Shard:
    return Shard(arrived=arrived, instances=instances, megabytes=megabytes, seconds=seconds * (1 + again))
